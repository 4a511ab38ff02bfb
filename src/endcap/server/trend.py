"""How an experiment's differences came to be: a point now and then, one line each in ``experiments/NAME.jsonl``.

Idea: a confidence sequence is drawn over time, but the folded state knows today's only, and asking it costs a scan of
its rows. So a point is noted when the shoppers have grown by ``GROWTH`` since the last, or an hour after it when there
are new ones: close together at first, where much changes, and some thousands for an experiment of three months.

When not to use it: as results. Those come from the state; a lost line is a gap in a drawing.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from endcap.feedback.experiments import INTERLEAVED, Experiment
from endcap.feedback.interleaving import Preference
from endcap.feedback.scoreboard import Interval, VariantResult
from endcap.state import State

FOLDER = "experiments"
GROWTH, LEAST = 0.03, 20  # of shoppers
MIN_MS, MAX_MS = 60_000, 3_600_000
MOST_POINTS = 300  # in an answer


class Point(Struct, frozen=True, kw_only=True):
    """The differences to the first variant at one moment; of interleaving, the share of slates it won."""

    ts: int  # epoch ms
    units: int
    reward: dict[str, Interval]  # by variant, per slate
    clicks: dict[str, Interval]


class Points(Struct, frozen=True, kw_only=True):
    """An experiment's history, oldest first."""

    points: list[Point]


_decode = msgspec.json.Decoder(Point).decode


class Trend:
    """The histories of one data directory's experiments."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / FOLDER
        self._last: dict[str, tuple[int, int]] = {}  # time and units of the newest point

    def is_due(self, name: str, units: int, now: int) -> bool:
        """Whether a point belongs here. ``now`` is epoch ms."""
        if name not in self._last:
            points = self.read(name)
            self._last[name] = (points[-1].ts, points[-1].units) if points else (0, 0)
        ts, before = self._last[name]
        if units <= before or now - ts < MIN_MS:
            return False
        return now - ts >= MAX_MS or units - before >= max(LEAST, GROWTH * before)

    def note(self, name: str, point: Point) -> None:
        """Keep a point. ``OSError`` when that fails."""
        self._folder.mkdir(exist_ok=True)
        with self._path(name).open("ab") as file:
            file.write(msgspec.json.encode(point) + b"\n")
        self._last[name] = (point.ts, point.units)

    def read(self, name: str) -> list[Point]:
        """At most ``MOST_POINTS`` points, oldest first, with the newest; a line that a crash cut off is skipped."""
        try:
            lines = self._path(name).read_bytes().splitlines()
        except OSError:
            return []
        step = -(-len(lines) // MOST_POINTS) or 1
        points = []
        for line in lines[(len(lines) - 1) % step :: step] if lines else ():
            try:
                points.append(_decode(line))
            except msgspec.MsgspecError:
                continue
        return points

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"  # a name is letters, digits, _ . - only


def units_of(experiment: Experiment, state: State) -> int:
    """Shoppers that an experiment has seen: cheap, where its results are a scan."""
    names = [INTERLEAVED] if experiment.kind == "interleave" else list(experiment.variants)
    numbers = [state.labels.get(f"variant:{experiment.name}/{name}") for name in names]
    assigned = state.scoreboard.of_label["assigned"]
    return int(sum(assigned[number] for number in numbers if 0 <= number < assigned.shape[0]))


def point_of(found: dict[str, VariantResult] | Preference, units: int, now: int) -> Point:
    """The drawing's point of some results."""
    if isinstance(found, Preference):
        won = Interval(value=0.5 if found.share is None else found.share, low=found.low, high=found.high)
        return Point(ts=now, units=units, reward={INTERLEAVED: won}, clicks={})
    return Point(
        ts=now, units=units,
        reward={name: one.reward_difference for name, one in found.items() if one.reward_difference is not None},
        clicks={name: one.clicks_difference for name, one in found.items() if one.clicks_difference is not None},
    )  # fmt: skip
