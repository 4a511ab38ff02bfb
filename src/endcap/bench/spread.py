"""Medians with their spread, and how they are printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What a part is asked to do. ``say`` takes lines for people."""

    items: int = 100_000
    quick: bool = False
    huge: bool = False
    say: Say = print


def percentile(values: Sequence[float], q: float) -> float:
    """The q-th percentile (0..100), NaN for nothing."""
    return float(np.percentile(np.asarray(values, np.float64), q)) if len(values) else float("nan")


def spread(values: Sequence[float], digits: int = 1) -> str:
    """``median (p10 .. p90)`` of repeated measurements."""
    middle, low, high = (percentile(values, q) for q in (50, 10, 90))
    return f"{middle:,.{digits}f} ({low:,.{digits}f} .. {high:,.{digits}f})"


@dataclass(slots=True)
class Figures:
    """The result of one part: flat figures for machines, and the bars they are held against.

    ``bars`` maps a key to (least or most, bar): ("min", 0.25) or ("max", 3.0).
    """

    part: str
    values: dict[str, Any] = field(default_factory=dict)
    bars: dict[str, tuple[str, float]] = field(default_factory=dict)

    def missed(self) -> list[str]:
        """Keys whose figure is on the wrong side of its bar."""
        return [
            key
            for key, (kind, bar) in self.bars.items()
            if key in self.values and not (self.values[key] >= bar if kind == "min" else self.values[key] <= bar)
        ]

    def table(self) -> list[str]:
        """One line per figure, with its bar and whether it holds."""
        lines = []
        missed = set(self.missed())
        for key, value in self.values.items():
            if isinstance(value, dict | list):
                continue
            text = f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1000 else str(value)
            if isinstance(value, float) and abs(value) >= 1000:
                text = f"{value:,.0f}"
            note = ""
            if key in self.bars:
                kind, bar = self.bars[key]
                sign = ">=" if kind == "min" else "<="
                note = f"   bar {sign} {bar:,g}: {'MISSED' if key in missed else 'holds'}"
            lines.append(f"  {key:<24} {text:>14}{note}")
        return lines
