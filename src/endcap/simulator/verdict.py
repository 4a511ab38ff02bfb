"""What a scenario came to: tables, curves and bars, for people, for machines and as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from endcap.evaluation import plots
from endcap.evaluation.report import STYLE

ALONE = STYLE + "svg{color-scheme:light dark;background:var(--page)}"


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise: ``value`` at least or at most ``bar``. Without a value nothing could be measured, and it is missed."""

    what: str
    value: float | None
    sign: str  # ">=" or "<="
    bar: float

    @property
    def holds(self) -> bool:
        if self.value is None:
            return False
        return self.value >= self.bar if self.sign == ">=" else self.value <= self.bar


@dataclass(frozen=True, slots=True)
class Curve:
    """Several figures over one axis."""

    name: str  # of the picture's file
    label: str
    xs: Sequence[float]
    x_names: Sequence[str]
    series: Sequence[tuple[str, Sequence[float]]]


@dataclass(slots=True)
class Verdict:
    """Figures of one scenario. Rows of ``table`` are a name and its values under ``head``."""

    scenario: str
    requests: int
    seed: int
    head: Sequence[str] = ()
    table: list[tuple[str, list[float]]] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Everything, with whether each bar holds."""
        return {
            "scenario": self.scenario, "requests": self.requests, "seed": self.seed,
            "head": self.head[0] if self.head else "",
            "rows": {name: dict(zip(self.head[1:], values, strict=True)) for name, values in self.table},
            "curves": {
                curve.name: {"x": list(curve.xs), **{name: list(values) for name, values in curve.series}}
                for curve in self.curves
            },
            "bars": [
                {"what": bar.what, "value": bar.value, "sign": bar.sign, "bar": bar.bar, "holds": bar.holds}
                for bar in self.bars
            ],
            "notes": self.notes, "seconds": self.seconds,
        }  # fmt: skip

    def pictures(self) -> Iterator[tuple[str, str]]:
        """(file name, SVG that stands alone) of every curve."""
        for curve in self.curves:
            drawn = plots.lines(curve.xs, curve.series, curve.x_names, curve.label)
            tag, rest = drawn.split(">", 1)
            yield (
                f"{curve.name}.svg",
                f'{tag} xmlns="http://www.w3.org/2000/svg"><style>{escape(ALONE)}</style>{rest}\n',
            )

    def draw(self, directory: Path) -> list[Path]:
        """Write the pictures; gives where."""
        directory.mkdir(parents=True, exist_ok=True)
        written = []
        for name, text in self.pictures():
            (directory / name).write_text(text, "utf-8")
            written.append(directory / name)
        return written
