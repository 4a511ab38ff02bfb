"""Scoreboard: per experiment, variant and unit what was shown and what it brought.

Idea: the randomised thing is the unit (a shopper), so totals are kept per unit and variant; a report sums them over
units, which gives a variance that is right however much the slates of one shopper depend on each other.

A unit that was seen in two variants of one experiment (a visitor who was hashed as anonymous, then logged in and was
hashed as a user) is a crossover: it belongs to neither variant and is left out of both, and counted. The sample ratio
check goes by where units were seen first, crossovers included, because who crosses over depends on the shares.

Layout: one row per (unit, variant): ``label``, ``user``, ``next`` int32 (a list per user, from ``head``), ``slates``,
``clicks`` int32, ``reward`` float64; by label int64 ``assigned`` (units seen first in it), ``newest_s`` and
``closed`` (1 = no room for more units). Places depend on the order of events alone (law L1).

Cost: 28 bytes per row, 4 per user; 0.25 us per outcome among a million shoppers, 6 ns for a slate of no experiment. At
most ``MAX_ROWS`` rows (59 MB): when they are full the variant that was not shown for longest is forgotten whole, with
its results; a single one that fills all takes no more units. A report scans all rows: some 50 ms per million.

When not to use it: as the record of an experiment that ended long ago. The log has it; replay it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from numba import njit

from endcap.batches import Outcomes, Records
from endcap.blocks import grown
from endcap.feedback.rewards import CLICK
from endcap.feedback.sequential import ALPHA, SRM_ALPHA, Sums, difference, evidence, p_value
from endcap.types import F4, F8, I1, I4, I8, Arrays

MAX_ROWS = 1 << 21
FIRST_ROWS = 1_024
LABEL = "variant:"
ROW_COLUMNS = ("label", "user", "next", "slates", "clicks", "reward")
LABEL_COLUMNS = ("assigned", "newest_s", "closed")


class Names(Protocol):
    """The dictionary of labels."""

    def __len__(self) -> int: ...
    def name(self, number: int) -> str: ...


class Interval(Struct, frozen=True, kw_only=True):
    """A difference and its confidence sequence; the ends are null while there is too little to say."""

    value: float
    low: float | None
    high: float | None


class VariantResult(Struct, frozen=True, kw_only=True):
    """What one variant brought. Differences are to the first variant, which has none."""

    units: int  # crossovers left out
    slates: int
    clicks: int
    reward: float
    reward_per_slate: float
    clicks_per_slate: float
    reward_difference: Interval | None = None
    clicks_difference: Interval | None = None


class Report(Struct, frozen=True, kw_only=True):
    """An experiment's results so far; valid at any time, however often it is read."""

    variants: list[VariantResult]  # in the order of the question
    assigned: list[int]  # units by the variant in which they were seen first
    crossovers: int  # units seen in more than one, left out
    sample_ratio_p: float  # always-valid p-value of the units' shares
    sample_ratio_alarm: bool  # p < 0.001: something decides who is counted; believe nothing below before it is found


@njit(cache=True, nogil=True)
def find(u: int, v: int, head: I4, label: I4, following: I4) -> int:
    """The row of a unit and a variant, -1 = none."""
    row = head[u]
    while row >= 0 and label[row] != v:
        row = following[row]
    return int(row)


@njit(cache=True, nogil=True)
def fold(
    begin: int, slot: I4, place: I4, deed: I1, worth: F4, ts: I8, open_slates: Records,
    head: I4, label: I4, user: I4, following: I4, slates: I4, clicks: I4, reward: F8, n_rows: I8,
    family: I4, assigned: I8, newest_s: I8, closed: I8,
) -> int:  # fmt: skip
    """Fold outcomes from ``begin`` on. Gives the one for which there is no room, else their number."""
    for e in range(begin, slot.shape[0]):
        slate = open_slates[slot[e]]
        u = slate.user
        if u < 0 or slate.variants[0] < 0:
            continue
        wanted = 0
        for v in slate.variants:
            wanted += v >= 0 and closed[v] == 0 and find(u, v, head, label, following) < 0
        if place[e] < 0 and n_rows[0] + wanted > label.shape[0]:
            return e
        for v in slate.variants:
            if v < 0:
                break
            row = find(u, v, head, label, following)
            if place[e] >= 0:
                if row >= 0:
                    reward[row] += worth[e]
                    clicks[row] += deed[e] == CLICK
                continue
            newest_s[v] = max(newest_s[v], ts[e] // 1000)
            if row < 0:
                if closed[v] != 0:
                    continue
                other = head[u]
                while other >= 0 and family[label[other]] != family[v]:
                    other = following[other]
                assigned[v] += other < 0
                row = n_rows[0]
                n_rows[0] += 1
                label[row], user[row], following[row] = v, u, head[u]
                slates[row], clicks[row], reward[row] = 0, 0, 0.0
                head[u] = row
            slates[row] += 1
    return int(slot.shape[0])


class Scoreboard:
    """Totals per unit and variant, for every experiment."""

    __slots__ = ("_families", "_labels", "_max_rows", "_n_rows", "columns", "family", "head", "of_label")

    def __init__(self, labels: Names, max_rows: int = MAX_ROWS) -> None:
        """``labels``: the dictionary that knows "variant:EXPERIMENT/VARIANT" by number."""
        self._labels = labels
        self._max_rows = max_rows
        self._n_rows: I8 = np.zeros(1, np.int64)
        self.columns: Arrays = {name: np.zeros(0, np.float64 if name == "reward" else np.int32) for name in ROW_COLUMNS}
        self.of_label: Arrays = {name: np.zeros(0, np.int64) for name in LABEL_COLUMNS}
        self.family: I4 = np.zeros(0, np.int32)  # by label: a number for its experiment
        self._families: dict[str, int] = {}
        self.head: I4 = np.full(0, -1, np.int32)

    def fold(self, outcomes: Outcomes) -> None:
        """Learn from what a batch taught about slates."""
        self._know_labels()
        at, n = 0, len(outcomes)
        while at < n:
            columns, of_label = self.columns, self.of_label
            at = fold(
                at, outcomes.slot, outcomes.place, outcomes.deed, outcomes.reward, outcomes.ts,
                outcomes.slates, self.head,
                columns["label"], columns["user"], columns["next"], columns["slates"], columns["clicks"],
                columns["reward"], self._n_rows, self.family,
                of_label["assigned"], of_label["newest_s"], of_label["closed"],
            )  # fmt: skip
            if at < n:
                self._make_room(outcomes.slates["variants"][outcomes.slot[at]])

    def merge(self, anon: int, user: int) -> None:
        """``anon`` turned out to be ``user``: one unit from now on, in every variant that either was seen in."""
        columns = self.columns
        row = int(self.head[anon])
        self.head[anon] = -1
        while row >= 0:
            following = int(columns["next"][row])
            same = find(user, int(columns["label"][row]), self.head, columns["label"], columns["next"])
            if same >= 0:
                for name in ("slates", "clicks", "reward"):
                    columns[name][same] += columns[name][row]
                    columns[name][row] = 0
                columns["label"][row] = columns["user"][row] = columns["next"][row] = -1
            else:
                columns["user"][row], columns["next"][row] = user, self.head[user]
                self.head[user] = row
            row = following

    # ------------------------------------------------------------ read

    def report(self, labels: Sequence[int], weights: Sequence[float], planned: int) -> Report:
        """Results of the variants with these label ids (-1 = never shown), the first being what others differ from.

        ``weights``: the share of units each should have, sum 1. ``planned``: slates the experiment is planned for.
        """
        self._know_labels()
        used = {name: column[: int(self._n_rows[0])] for name, column in self.columns.items()}
        rows = [np.flatnonzero(used["label"] == one) if one >= 0 else np.zeros(0, np.int64) for one in labels]
        seen = np.zeros(self.head.shape[0], np.uint8)  # in how many of the variants, by user
        for mine in rows:
            seen[used["user"][mine]] += 1
        kept = [mine[seen[used["user"][mine]] == 1] for mine in rows]
        rewards = [Sums.of(used["slates"][mine], used["reward"][mine]) for mine in kept]
        clicks = [Sums.of(used["slates"][mine], used["clicks"][mine]) for mine in kept]
        alpha = ALPHA / max(1, len(labels) - 1)  # all comparisons together
        assigned = [int(self.of_label["assigned"][one]) if one >= 0 else 0 for one in labels]
        p = p_value(float(evidence(np.array(assigned, np.float64), np.array(weights, np.float64))))
        return Report(
            variants=[
                VariantResult(
                    units=int(reward.units),
                    slates=int(reward.slates),
                    clicks=int(click.reward),
                    reward=float(reward.reward),
                    reward_per_slate=float(reward.rate),
                    clicks_per_slate=float(click.rate),
                    reward_difference=interval(reward, rewards[0], planned, alpha) if at else None,
                    clicks_difference=interval(click, clicks[0], planned, alpha) if at else None,
                )
                for at, (reward, click) in enumerate(zip(rewards, clicks, strict=True))
            ],
            assigned=assigned,
            crossovers=int(np.count_nonzero(seen > 1)),
            sample_ratio_p=p,
            sample_ratio_alarm=p < SRM_ALPHA,
        )

    # ------------------------------------------------------------ room

    def _know_labels(self) -> None:
        """Give every label that is new its experiment's number and its counts."""
        known, n = self.family.shape[0], len(self._labels)
        if n == known:
            return
        fresh = []
        for number in range(known, n):
            experiment = self._labels.name(number).removeprefix(LABEL).rpartition("/")[0]
            fresh.append(self._families.setdefault(experiment, len(self._families)))
        self.family = np.concatenate([self.family, np.array(fresh, np.int32)])
        for name, counts in self.of_label.items():
            if counts.shape[0] < n:
                self.of_label[name] = np.concatenate([counts, np.zeros(n - counts.shape[0], np.int64)])

    def _make_room(self, wanted: I4) -> None:
        """Enlarge the rows; else close gaps; else forget the variant not shown for longest, never one of ``wanted``;
        else close the wanted ones to further units. One of these per call, as the kernel asks until it is content."""
        size = self.columns["label"].shape[0]
        label = self.columns["label"][: int(self._n_rows[0])]
        if size < self._max_rows:
            room = min(self._max_rows, max(FIRST_ROWS, size + size // 2))
            for name, column in self.columns.items():
                self.columns[name] = np.concatenate([column, np.zeros(room - size, column.dtype)])
            return
        if not (label < 0).any():
            candidates = np.setdiff1d(np.unique(label), wanted)
            if candidates.shape[0] == 0:
                self.of_label["closed"][wanted[wanted >= 0]] = 1
                return
            oldest = candidates[np.argmin(self.of_label["newest_s"][candidates])]
            label[label == oldest] = -1
            self.of_label["assigned"][oldest] = 0
        self._close_gaps()

    def _close_gaps(self) -> None:
        """Move rows together and build every user's list anew, in order of rows."""
        kept = np.flatnonzero(self.columns["label"][: int(self._n_rows[0])] >= 0)
        n = kept.shape[0]
        for column in self.columns.values():
            column[:n] = column[kept]
            column[n:] = 0
        self._n_rows[0] = n
        self.head[:] = -1
        chain(n, self.columns["user"], self.columns["next"], self.head)

    def grow(self, n_users: int, _n_items: int) -> None:
        """Make room for dense ids below these."""
        self.head = grown(self.head, n_users, -1)

    def arrays(self, n_users: int, _n_items: int) -> Arrays:
        """The state as named arrays."""
        self._know_labels()
        return {
            **{name: column[: int(self._n_rows[0])] for name, column in self.columns.items()},
            **self.of_label,
            "head": self.head[:n_users],
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self.columns = {name: np.array(arrays[name]) for name in ROW_COLUMNS}
        self.of_label = {name: np.array(arrays[name]) for name in LABEL_COLUMNS}
        self._n_rows[0] = self.columns["label"].shape[0]
        self.family, self._families = np.zeros(0, np.int32), {}
        self.head = np.array(arrays["head"], np.int32)


@njit(cache=True, nogil=True)
def chain(n: int, user: I4, following: I4, head: I4) -> None:
    """Lists of rows 0..n-1 per user; the newest row comes first."""
    for row in range(n):
        following[row] = head[user[row]]
        head[user[row]] = row


def interval(one: Sums, base: Sums, planned: int, alpha: float) -> Interval:
    """A difference for people and programs."""
    value, half = (float(number) for number in difference(one, base, float(planned), alpha))
    ends = (None, None) if half == np.inf else (value - half, value + half)
    return Interval(value=value, low=ends[0], high=ends[1])
