"""What an import found: the report that says whether a file was understood.

Counted while the records pass; nothing is read twice. Memory: the distinct ids, and 8 bytes per price and quantity for
the robust outlier counts at the end.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from endcap.events.adapters.chunks import Broken
from endcap.types import Ack, Interaction

EXAMPLES = 5  # per reason
OUTLIER_MADS = 8.0  # distance from the median of the logarithms, in robust standard deviations


@dataclass(slots=True)
class Spread:
    """The distribution of one positive number, by its logarithm."""

    logs: array[float] = field(default_factory=lambda: array("d"))

    def add(self, value: float) -> None:
        """Count one value; zero and below carry no logarithm and are left out."""
        if value > 0.0:
            self.logs.append(math.log(value))

    def summary(self) -> dict[str, Any]:
        """Count, least, median, largest, and how many lie implausibly far from the median."""
        logs = np.frombuffer(self.logs) if self.logs else np.zeros(0)
        if not logs.shape[0]:
            return {"n": 0}
        middle = float(np.median(logs))
        scale = 1.4826 * float(np.median(np.abs(logs - middle)))
        far = np.abs(logs - middle) > OUTLIER_MADS * max(scale, 0.1)  # 0.1: equal prices are no reason for alarm
        low, mid, high = (float(np.exp(v)) for v in (logs.min(), middle, logs.max()))
        return {
            "n": logs.shape[0],
            "min": float(f"{low:.6g}"),
            "median": float(f"{mid:.6g}"),
            "max": float(f"{high:.6g}"),
            "outliers": int(far.sum()),
        }


@dataclass(slots=True)
class DataQuality:
    """The report of one import. ``to_dict`` for JSON, ``to_text`` for people."""

    kind: str  # events or items
    files: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)  # field -> column as it was understood (last file)
    ignored: list[str] = field(default_factory=list)  # columns that no field took; of items they become attributes
    read: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # by code
    examples: dict[str, list[str]] = field(default_factory=dict)  # by code: "file:line message"
    types: dict[str, int] = field(default_factory=dict)
    first_ts: int | None = None  # epoch ms
    last_ts: int | None = None
    unordered: int = 0  # records older than the one before
    prices: Spread = field(default_factory=Spread)
    quantities: Spread = field(default_factory=Spread)
    users: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)  # ids of catalogue records, refused ones too
    told: Callable[[str, str, str], None] | None = None  # hears of every refusal: place, code, message

    @property
    def n_refused(self) -> int:
        """Records not taken, for whatever reason."""
        return sum(self.refused.values())

    def refuse(self, place: str, code: str, message: str) -> None:
        """Count one refusal; the first few of a code are kept as examples."""
        self.refused[code] = self.refused.get(code, 0) + 1
        kept = self.examples.setdefault(code, [])
        if len(kept) < EXAMPLES:
            kept.append(f"{place}: {message}")
        if self.told is not None:
            self.told(place, code, message)

    def broken(self, file: str, records: list[Broken]) -> None:
        """Count records that the reader could not split."""
        self.read += len(records)
        for record in records:
            self.refuse(f"{file}:{record.line}", record.code, record.message)

    def event(self, event: Interaction) -> None:
        """Count an event that is sent to the engine."""
        self.types[event.type] = self.types.get(event.type, 0) + 1
        if self.last_ts is None or self.first_ts is None:
            self.first_ts = self.last_ts = event.ts
        self.first_ts, self.last_ts = min(self.first_ts, event.ts), max(self.last_ts, event.ts)
        if event.price is not None:
            self.prices.add(event.price)
        self.quantities.add(event.quantity)
        if event.user_id or event.anon_id:
            self.users.add(event.user_id or f"anonymous:{event.anon_id}")
        if event.item_id:
            self.items.add(event.item_id)

    def answered(self, ack: Ack, places: list[str]) -> None:
        """Count the engine's answer to one chunk; ``places`` says where each of its records stood."""
        self.accepted += ack.accepted
        self.duplicates += ack.duplicates
        for refusal in ack.rejected:
            self.refuse(places[refusal.index], refusal.code, refusal.message)

    def advice(self) -> list[str]:
        """What a person should look at."""
        told = []
        if self.read and self.n_refused > self.read // 2:
            told.append("more than half of the records were refused: see the examples; is a column mapped wrongly?")
        if self.unordered > self.read // 100:
            told.append(
                f"{self.unordered:,} records are older than the one before them: sort the file by time, so that "
                f"sessions are found as they happened"
            )
        if self.duplicates:
            told.append(f"{self.duplicates:,} duplicates were left out (equal event_id, or equal content without one)")
        for name, spread in (("price", self.prices), ("quantity", self.quantities)):
            outliers = spread.summary().get("outliers", 0)
            if outliers:
                told.append(f"{outliers:,} implausible values of {name}: cleaning keeps them out of the statistics")
        return told

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "kind": self.kind,
            "files": self.files,
            "columns": self.columns,
            "other_columns": self.ignored,
            "read": self.read,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "refused": self.n_refused,
            "refused_by_code": self.refused,
            "examples": self.examples,
            "types": self.types,
            "first": iso(self.first_ts),
            "last": iso(self.last_ts),
            "unordered": self.unordered,
            "users": len(self.users),
            "items": len(self.items),
            "price": self.prices.summary(),
            "quantity": self.quantities.summary(),
            "advice": self.advice(),
        }

    def to_text(self, width: int = 100) -> str:
        """A table for a terminal."""
        from rich.console import Console
        from rich.table import Table

        table = Table(title=f"Import of {self.kind}", show_header=False, title_justify="left", min_width=40)
        for name, value in self._lines():
            table.add_row(name, value)
        console = Console(width=width, no_color=True, highlight=False)
        with console.capture() as captured:
            console.print(table)
            for code, lines in self.examples.items():
                console.print(f"refused as {code} ({self.refused[code]:,}), for example:", markup=False)
                for line in lines:
                    console.print(f"  {line}", markup=False)
            for told in self.advice():
                console.print(f"note: {told}", markup=False)
        return captured.get()

    def _lines(self) -> list[tuple[str, str]]:
        lines = [
            ("files", ", ".join(self.files)),
            ("columns", ", ".join(f"{name}={column}" for name, column in self.columns.items())),
            ("attributes" if self.kind == "items" else "not used", ", ".join(self.ignored) or "-"),
            ("read", f"{self.read:,}"),
            ("accepted", f"{self.accepted:,}"),
            ("duplicates", f"{self.duplicates:,}"),
            ("refused", f"{self.n_refused:,}"),
        ]
        if self.kind != "items":
            lines += [
                ("time", f"{iso(self.first_ts) or '-'} to {iso(self.last_ts) or '-'}"),
                ("users", f"{len(self.users):,}"),
                ("types", ", ".join(f"{name} {n:,}" for name, n in sorted(self.types.items())) or "-"),
            ]
        lines.append(("items", f"{len(self.items):,}"))
        for name, spread in (("price", self.prices), ("quantity", self.quantities)):
            s = spread.summary()
            if s["n"]:
                text = f"{s['min']:g} to {s['max']:g}, median {s['median']:g}, outliers {s['outliers']:,}"
                lines.append((name, text))
        return lines


def iso(ts: int | None) -> str | None:
    """A time for people, in UTC."""
    return None if ts is None else datetime.fromtimestamp(ts / 1000, UTC).isoformat(timespec="seconds")
