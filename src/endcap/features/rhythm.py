"""Rhythm: how people come back to an item, how steadily it is asked for, and how long it has been around.

Idea: some items are looked at once and never again, others are compared over days, reloaded at once, or bought every
month. Per item, decayed counts say which: interactions, those by a shopper who had touched it before, those that
directly followed themselves, purchases, repeated purchases with the time between them, impressions. Counts of days give
how even the demand is.

Layout: one row per item: ``sums`` float32 [N_SUMS] as of ``at_s`` uint32, half-life 14 days; ``last_s`` uint32; ``day``
int32 (number of the running day), ``today`` float32, and ``daily`` float32 [2], running means of a day's count and of
its square over about ten days. Cost: 52 bytes per item; ~20 ns per event, ~2 us per 150 rows. Late events add at their
own, smaller worth.

Columns (float32): see ``COLUMNS``; features 7, 8, 24 (the part that needs impressions) and 26 to 28 of the usual sets.
Not for: counts that must add up.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from endcap.batches import UNCLEAN, EventBatch
from endcap.blocks import Blocks, grown
from endcap.types import ACTION_CODE, ACTION_WEIGHT, F4, I1, I2, I4, I8, U1, U4, Arrays

COLUMNS: tuple[str, ...] = (
    "return_rate",  # share of interactions by a shopper who had touched the item before, shrunk
    "again_rate",  # share of interactions that directly followed one with the same item, shrunk
    "rebuy_rate",  # share of purchases by a shopper who had bought it before, shrunk
    "rebuy_due",  # log days since this shopper bought it minus the usual time between purchases, 0 = not applicable
    "seen_per_shown",  # interactions per impression, shrunk
    "day_spread",  # standard deviation of a day's count / (its mean + 1)
    "item_age",  # log(1 + hours since first seen or published)
    "neighbours",  # items it is seen together with, as far as the list goes, 0..1
    "quiet",  # log(1 + seconds since anybody's last interaction with it)
)
EVENTS, RETURNS, AGAINS, BUYS, REBUYS, GAPS, SHOWN, N_SUMS = range(8)
# One item's numbers stand side by side: a random item costs one cache miss, not six.
ROW = np.dtype([
    ("sums", np.float32, (N_SUMS,)), ("daily", np.float32, (2,)), ("today", np.float32), ("at_s", np.uint32),
    ("last_s", np.uint32), ("day", np.int32),
])  # fmt: skip
HALF_LIFE_S = 1_209_600.0
DAY_S = 86_400
KEEP = 0.9  # of the running means per day
SESSION_S = 1_800
PRIOR = 10.0
RETURN_RATE, AGAIN_RATE, REBUY_RATE, SEEN_RATE = 0.2, 0.1, 0.1, 0.05
LN2 = math.log(2.0)
IMPRESSION, PURCHASE = ACTION_CODE["impression"], ACTION_CODE["purchase"]


class Trail(Protocol):
    """What a batch's interactions follow; see features/histories.py."""

    @property
    def again_s(self) -> I4: ...
    @property
    def again_step(self) -> I2: ...
    @property
    def rebuy_s(self) -> I4: ...


class Shelves(Protocol):
    """When items appeared."""

    published_ms: I8
    first_seen_s: U4


@njit(cache=True, nogil=True)
def turn_day(i: int, now: int, day: I4, today: F4, daily: F4) -> None:
    """Close the days before ``now``: the last one with its count, those without events with nothing."""
    passed = now - day[i]
    if passed <= 0:
        return
    if day[i] > 0:
        count = today[i]
        daily[i, 0] = KEEP * daily[i, 0] + (1.0 - KEEP) * count
        daily[i, 1] = KEEP * daily[i, 1] + (1.0 - KEEP) * count * count
        empty = KEEP ** (passed - 1)
        daily[i, 0] *= empty
        daily[i, 1] *= empty
    day[i], today[i] = now, 0.0


@njit(cache=True, nogil=True)
def fold(
    ts: I8, user: I4, item: I4, action: I1, flags: U1, again_s: I4, again_step: I2, rebuy_s: I4,
    sums: F4, at_s: U4, last_s: U4, day: I4, today: F4, daily: F4,
) -> None:  # fmt: skip
    """Fold a batch."""
    for e in range(ts.shape[0]):
        i, code = item[e], action[e]
        shown = code == IMPRESSION
        if user[e] < 0 or i < 0 or flags[e] & UNCLEAN or not (shown or ACTION_WEIGHT[code] > 0):
            continue
        t = ts[e] // 1000
        was = np.int64(at_s[i])
        one = 1.0
        if t > was:
            fade = math.exp(-LN2 * (t - was) / HALF_LIFE_S)
            for c in range(N_SUMS):
                sums[i, c] *= fade
            at_s[i] = t
        elif t < was:
            one = math.exp(-LN2 * (was - t) / HALF_LIFE_S)
        if shown:
            sums[i, SHOWN] += one
            continue
        last_s[i] = max(t, np.int64(last_s[i]))
        turn_day(i, t // DAY_S, day, today, daily)
        today[i] += 1.0
        sums[i, EVENTS] += one
        if again_s[e] >= 0:
            sums[i, RETURNS] += one
            if again_step[e] == 1 and again_s[e] <= SESSION_S:
                sums[i, AGAINS] += one
        if code == PURCHASE:
            sums[i, BUYS] += one
            if rebuy_s[e] >= 0:
                sums[i, REBUYS] += one
                sums[i, GAPS] += one * math.log1p(rebuy_s[e] / DAY_S)


@njit(cache=True, nogil=True)
def rate(part: float, whole: float, usual: float) -> float:
    """A share, shrunk towards the usual one."""
    return (part + PRIOR * usual) / (whole + PRIOR)


@njit(cache=True, nogil=True)
def read_rhythm(
    items: I4, t_s: int, bought_age: F4, sums: F4, at_s: U4, last_s: U4, daily: F4,
    published_ms: I8, first_seen_s: U4, length: I4, max_cap: int, out: F4,
) -> None:  # fmt: skip
    """out[r] = the columns of items[r]. ``bought_age`` [n]: log(1 + days since this shopper bought it), -1 = never."""
    for r in range(items.shape[0]):
        i = items[r]
        fade = math.exp(-LN2 * max(0, t_s - int(np.int64(at_s[i]))) / HALF_LIFE_S)
        events, buys = sums[i, EVENTS] * fade, sums[i, BUYS] * fade
        out[r, 0] = rate(sums[i, RETURNS] * fade, events, RETURN_RATE)
        out[r, 1] = rate(sums[i, AGAINS] * fade, events, AGAIN_RATE)
        out[r, 2] = rate(sums[i, REBUYS] * fade, buys, REBUY_RATE)
        out[r, 3] = 0.0
        if bought_age[r] >= 0.0 and sums[i, REBUYS] > 0.0:
            out[r, 3] = bought_age[r] - sums[i, GAPS] / sums[i, REBUYS]
        out[r, 4] = rate(events, sums[i, SHOWN] * fade, SEEN_RATE) if sums[i, SHOWN] > 0.0 else SEEN_RATE
        mean, square = daily[i, 0], daily[i, 1]
        out[r, 5] = math.sqrt(max(square - mean * mean, 0.0)) / (mean + 1.0)
        born_s = published_ms[i] // 1000 if published_ms[i] > 0 else np.int64(first_seen_s[i])
        out[r, 6] = math.log1p(max(0, t_s - born_s) / 3_600.0) if born_s > 0 else 0.0
        out[r, 7] = length[i] / max_cap
        out[r, 8] = math.log1p(max(0, t_s - int(np.int64(last_s[i]))))


class Rhythm:
    """Both halves."""

    __slots__ = ("_at_s", "_daily", "_day", "_last_s", "_rows", "_sums", "_today")

    def __init__(self) -> None:
        self._hold(np.zeros(0, ROW))

    def _hold(self, rows: NDArray[Any]) -> None:
        self._rows = rows
        self._sums: F4 = rows["sums"]
        self._daily: F4 = rows["daily"]
        self._today: F4 = rows["today"]
        self._at_s: U4 = rows["at_s"]
        self._last_s: U4 = rows["last_s"]
        self._day: I4 = rows["day"]

    def fold(self, batch: EventBatch, trail: Trail) -> None:
        """Learn from a clean batch and the trail that ``Histories`` made of it."""
        fold(
            batch.ts, batch.user, batch.item, batch.action, batch.flags, trail.again_s, trail.again_step, trail.rebuy_s,
            self._sums, self._at_s, self._last_s, self._day, self._today, self._daily,
        )  # fmt: skip

    def read(self, items: I4, t_s: int, bought_age: F4, shelves: Shelves, lists: Blocks, out: F4) -> None:
        """Fill ``out`` [n, len(COLUMNS)]. ``lists``: the blocks of the co-visitation counts, by item."""
        read_rhythm(
            items, t_s, bought_age, self._sums, self._at_s, self._last_s, self._daily,
            shelves.published_ms, shelves.first_seen_s, lists.length, lists.max_cap, out,
        )  # fmt: skip

    def shown(self, items: I4) -> F4:
        """How often each of ``items`` [m] was shown, faded."""
        shown: F4 = self._sums[items, SHOWN]
        return shown

    def all_shown(self) -> float:
        """Impressions of all items, each faded as of its own last event."""
        return float(self._sums[:, SHOWN].sum(dtype=np.float64))

    def grow(self, _n_users: int, n_items: int) -> None:
        """Make room for dense ids below these."""
        if n_items > self._rows.shape[0]:
            self._hold(grown(self._rows, n_items, np.zeros((), ROW)))

    def arrays(self, _n_users: int, n_items: int) -> Arrays:
        """The state as named arrays."""
        return {name: self._rows[name][:n_items] for name in ROW.names or ()}

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        rows = np.zeros(arrays["at_s"].shape[0], ROW)
        for name in ROW.names or ():
            rows[name] = arrays[name]
        self._hold(rows)
