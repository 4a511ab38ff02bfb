"""Counters: how popular every item is, over four horizons, three kinds of action, and in the context at hand.

Idea: an exponentially decayed count is kept as one number that does not change while nothing happens,

    key = log2( sum_i w_i 2^(t_i / H) ),    value(t) = 2^(key - t / H),

so that keys of different items compare at any time, order of arrival does not matter (up to 1e-10), and sorted lists
stay sorted between events (forward decay: Cormode, Shkapenyuk, Srivastava, Xu 2009). An event at t with weight w makes
key = log2(2^key + 2^(t/H + log2 w)); an item nobody touched has key -inf.

What counts: clean events whose action says popularity (``ACTION_GROUP``), a shopper once per item, group and hour
(``Trail.first``). Per item: 3 groups (seen, wanted, bought; each event 1) x 4 half-lives, and one key of everything
weighted by ``ACTION_WEIGHT`` over 7 days. The latter also per context slice (local hour, device, region), and per
slice over all items, which gives lifts: is the item more popular at this hour than it is in general? ``tops`` keeps the
sorted lists.

Layout: ``key`` float64 [I, 3, 4], ``overall`` float64 [I] and the place of an item's slices stand in one row of two
cache lines; slices of an item in a block of pool columns ``slice``
int16 and ``slice_key`` float64 (an item seen in few contexts costs 4 entries; hash tables were slower to read, as
the slices of an item lie in one or two cache lines here). Cost: 136 bytes per item and 10 per item and slice; about
0.6 us per event.

When not to use it: as a count for accounting. It forgets on purpose.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from endcap.batches import UNCLEAN, EventBatch
from endcap.blocks import NO_PLACE, PLACE, Blocks, aligned, grown, take
from endcap.features.histories import Trail
from endcap.features.top_lists import FIRST_HOUR, TopLists, place, place_listed, relist
from endcap.prefetch import prefetch
from endcap.types import ACTION_GROUP, ACTION_WEIGHT, BOUGHT, DEVICES, F4, F8, I1, I2, I4, I8, SEEN, U1, WANTED, Arrays

GROUPS = ("seen", "wanted", "bought")
HORIZONS = ("1h", "6h", "1d", "7d")
HALF_LIVES_S: F8 = np.array([3_600.0, 21_600.0, 86_400.0, 604_800.0])
HOUR, DAY, WEEK = 0, 2, 3
WEEK_S = 604_800.0

# Slices of context: hours, then devices, then regions.
SLICE_DEVICE = 24
SLICE_REGION = SLICE_DEVICE + len(DEVICES)
MAX_SLICES = 2048  # blocks of slices grow up to this: hours, devices and 1,024 regions
MAX_REGIONS = MAX_SLICES - SLICE_REGION

COLUMNS: tuple[str, ...] = (
    *(f"pop_{group}_{horizon}" for group in GROUPS for horizon in HORIZONS),  # decayed count
    "trend_hour",  # -1..1: the last hour's rate against the last day's, shrunk; 0 = steady
    "trend_day",  # -1..1: the last day's rate against the last week's
    "wanted_rate",  # wanted per seen over a week, shrunk towards 0.05
    "bought_rate",  # bought per seen over a week, shrunk towards 0.02
    "lift_hour",  # -1..1: observed against expected count at this local hour, shrunk; 0 = as in general
    "lift_device",
    "lift_region",
)
N_COLUMNS = len(COLUMNS)
N_KEYS = OVERALL = 12
TREND, RATES, LIFTS = N_KEYS, N_KEYS + 2, N_KEYS + 4
TREND_PRIOR = 10.0  # events of steady traffic that a trend must outweigh
RATE_PRIOR = 20.0  # views
WANTED_RATE, BOUGHT_RATE = 0.05, 0.02
LIFT_PRIOR = 3.0  # weighted events

LOG_WEIGHT: F8 = np.log2(np.maximum(ACTION_WEIGHT, 1e-9), dtype=np.float64)  # by action; only positive ones count
LN2 = math.log(2.0)
ROW = np.dtype([("key", np.float64, (3, 4)), ("overall", np.float64), ("listed", np.int32, (2,)), ("place", PLACE)])
NO_ROW_YET = np.array((-np.inf, -np.inf, -1, NO_PLACE), ROW)
FULL_POOL, NO_ROW, MOVED = 1, 2, 3  # why a fold stopped


@njit(cache=True, nogil=True)
def plus(key: float, more: float) -> float:
    """log2(2^key + 2^more)."""
    high, low = max(key, more), min(key, more)
    if low < high - 64.0:
        return high
    return high + math.log1p(math.exp(LN2 * (low - high))) / LN2


@njit(cache=True, nogil=True)
def find_slice(wanted: int, row: I2) -> int:
    """The place of a slice in an item's block, -1 when absent."""
    target, found = np.int16(wanted), np.int16(-1)
    for k in range(np.int16(row.shape[0])):
        found = max(found, np.int16(k) if row[k] == target else np.int16(-1))
    return int(found)


@njit(cache=True, nogil=True, inline="always")
def add_slice(
    item: int, wanted: int, more: float, start: I8, length: I4, cap: I4, tail: I8, free: I8, n_free: I8,
    slices: I2, slice_key: F8, totals: F8,
) -> tuple[float, float]:  # fmt: skip
    """Count an event in one slice of an item; gives the key before and after. The pool has room."""
    totals[wanted] = plus(totals[wanted], more)
    base, n = start[item], length[item]
    at = find_slice(wanted, slices[base : base + n]) if n > 0 else -1
    if at >= 0:
        old = slice_key[base + at]
        slice_key[base + at] = plus(old, more)
        return old, slice_key[base + at]
    if n == cap[item]:
        fresh = take(start, cap, item, tail, free, n_free, slices.shape[0])
        for k in range(n):
            slices[fresh + k], slice_key[fresh + k] = slices[base + k], slice_key[base + k]
        start[item] = fresh
        base = fresh
    slices[base + n], slice_key[base + n] = wanted, more
    length[item] = n + 1
    return -np.inf, more


@njit(cache=True, nogil=True)
def fold(
    begin: int, ts: I8, item: I4, action: I1, hour: I1, device: I1, region: I2, flags: U1, first: U1,
    category: I4, top_category: I4, key: F8, overall: F8, listed: I4,
    start: I8, length: I4, cap: I4, tail: I8, free: I8, n_free: I8, slices: I2, slice_key: F8, totals: F8,
    tops: I4, top_keys: F8, top_length: I4, region_row: I4, category_row: I4, why: I8,
) -> int:  # fmt: skip
    """Fold rows from ``begin`` on. Gives the row it stopped at, nothing of it applied; ``why[0]`` says why."""
    for e in range(begin, ts.shape[0]):
        if not first[e] or flags[e] & UNCLEAN:
            continue
        i, g, r = item[e], ACTION_GROUP[action[e]], int(region[e])
        leaf, top = category[i], top_category[i]
        if r >= MAX_REGIONS:
            r = -1
        why[0] = 0
        if tail[0] + 3 * MAX_SLICES > slices.shape[0]:
            why[0] = FULL_POOL
        elif (
            (r >= 0 and (r >= region_row.shape[0] or region_row[r] < 0))
            or (leaf >= 0 and (leaf >= category_row.shape[0] or category_row[leaf] < 0))
            or (top >= 0 and (top >= category_row.shape[0] or category_row[top] < 0))
        ):
            why[0] = NO_ROW
        elif listed[i, 0] != leaf or listed[i, 1] != top:
            if overall[i] > -np.inf:
                why[0] = MOVED
            else:
                listed[i, 0], listed[i, 1] = leaf, top
        if why[0] > 0:
            return e

        t = float(ts[e] // 1000)
        for h in range(4):
            old = key[i, g, h]
            key[i, g, h] = plus(old, t / HALF_LIVES_S[h])
            place(g * 4 + h, i, old, key[i, g, h], tops, top_keys, top_length)
        more = t / WEEK_S + LOG_WEIGHT[action[e]]
        old = overall[i]
        overall[i] = plus(old, more)
        totals[MAX_SLICES] = plus(totals[MAX_SLICES], more)
        place_listed(i, leaf, top, old, overall[i], category_row, tops, top_keys, top_length)
        for c in range(3 if r >= 0 else 2):
            s = int(hour[e]) if c == 0 else SLICE_DEVICE + int(device[e]) if c == 1 else SLICE_REGION + r
            row = region_row[r] if c == 2 else FIRST_HOUR + s  # the lists of hours and devices stand like their slices
            was, now = add_slice(i, s, more, start, length, cap, tail, free, n_free, slices, slice_key, totals)
            place(row, i, was, now, tops, top_keys, top_length)
    return int(ts.shape[0])


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def value(key: float, now: float) -> float:
    """The decayed count behind a key, to 5e-9; ``now`` in half-lives.

    A polynomial of 2^fraction (least-squares on [0, 1]) times a power of two made from its exponent bits: ten times
    faster than exp, which would be the dearest part of a request, and without a branch or a table, so that a loop over
    keys becomes vector code.
    """
    away = min(max(key - now, -30.0), 63.0)
    whole = np.floor(away)
    f = away - whole
    power = np.int64(np.int64(np.int32(whole) + np.int32(1023)) << np.int64(52)).view(np.float64)
    count = power * (
        1.0000000044199475 + f * (0.6931469139660649 + f * (0.24023030828176534 + f * (
            0.05548215028456852 + f * (0.009679985254572771 + f * (0.0012437946385775525 + f * 0.00021683431246386688))
        )))
    )  # fmt: skip
    return count if away > -30.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def against(a: float, b: float, prior: float) -> float:
    """How a stands to b, shrunk: (a - b) / (a + b), a monotone function of log(a / b) that needs no logarithm."""
    return (a - b) / (a + b + 2.0 * prior)


@njit(cache=True, nogil=True)
def locate(
    items: I4, n: int, wanted: I4, key: F8, start: I8, length: I4, slices: I2, slice_key: F8, places: I8
) -> None:
    """Where the wanted slices of each item are: ``places`` [n, 3], -1 = the item has none.

    Asks for all memory that ``read`` needs, each kind for all items before the next that depends on it.
    """
    for k in range(n):
        prefetch(key, items[k])
        prefetch(start, items[k])  # the second line of the row
    for k in range(n):
        prefetch(slices, start[items[k]])
        if length[items[k]] > 32:
            prefetch(slices, start[items[k]] + 32)
    for k in range(n):
        base = start[items[k]]
        row = slices[base : base + length[items[k]]]
        for c in range(3):
            places[k, c] = -1
            if wanted[c] >= 0:
                at = find_slice(wanted[c], row)
                if at >= 0:
                    places[k, c] = base + at
                    prefetch(slice_key, base + at)


@njit(cache=True, nogil=True, error_model="numpy")
def read(
    items: I4,
    n: int,
    t: float,
    wanted: I4,
    keys: F8,
    slice_key: F8,
    totals: F8,
    places: I8,
    now: F8,
    count: F8,
    out: F4,
) -> None:
    """``COLUMNS`` of ``items[:n]`` at second ``t``. ``wanted``: three slices, -1 = unknown.

    ``keys`` [I, 16]: the items' rows as numbers, of which the first 12 are the keys and OVERALL is the overall key: the
    compiler knows where they are and makes vectors of the loop over them.
    """
    for q in range(N_KEYS):
        now[q] = t / HALF_LIVES_S[q % 4]
    week = t / WEEK_S
    share = np.zeros(3)
    everything = value(totals[MAX_SLICES], week)
    for c in range(3):
        if wanted[c] >= 0 and everything > 0.0:
            share[c] = value(totals[wanted[c]], week) / everything
    for k in range(n):
        i = np.uint64(items[k])
        for q in range(now.shape[0]):  # a length that the compiler knew would be too short for it to make vectors
            count[q] = value(keys[i, q], now[q])
            out[k, q] = count[q]
        lately = 24.0 * (count[HOUR] + count[4 + HOUR] + count[8 + HOUR])
        today = count[DAY] + count[4 + DAY] + count[8 + DAY]
        usual = (count[WEEK] + count[4 + WEEK] + count[8 + WEEK]) / 7.0
        out[k, TREND] = against(lately, today, TREND_PRIOR)
        out[k, TREND + 1] = against(today, usual, TREND_PRIOR)
        seen = count[4 * SEEN + WEEK] + RATE_PRIOR
        out[k, RATES] = min(1.0, (count[4 * WANTED + WEEK] + RATE_PRIOR * WANTED_RATE) / seen)
        out[k, RATES + 1] = min(1.0, (count[4 * BOUGHT + WEEK] + RATE_PRIOR * BOUGHT_RATE) / seen)
        whole = value(keys[i, OVERALL], week)
        for c in range(3):
            out[k, LIFTS + c] = 0.0
            if wanted[c] >= 0 and whole > 0.0:
                here = value(slice_key[places[k, c]], week) if places[k, c] >= 0 else 0.0
                out[k, LIFTS + c] = against(here, whole * share[c], LIFT_PRIOR)


class Counters:
    """Popularity of all items, and the lists of the most popular."""

    __slots__ = (
        "_count", "_listed", "_now", "_numbers", "_places", "_rows", "_slice", "_slice_key", "_totals", "_why",
        "blocks", "key", "overall", "tops",
    )  # fmt: skip

    key: F8
    overall: F8
    _listed: I4

    def __init__(self) -> None:
        self.tops = TopLists()
        self.blocks = Blocks(MAX_SLICES)
        self._hold(np.full(0, NO_ROW_YET))
        self._slice: I2 = np.zeros(1024, np.int16)
        self._slice_key: F8 = np.zeros(1024)
        self._totals: F8 = np.full(MAX_SLICES + 1, -np.inf)  # by slice; the last is everything
        self._why: I8 = np.zeros(1, np.int64)
        self._now: F8 = np.zeros(N_KEYS)
        self._count: F8 = np.zeros(N_KEYS)
        self._places: I8 = np.full((0, 3), -1, np.int64)

    def _hold(self, rows: NDArray[Any]) -> None:
        """Views of the items' rows, two cache lines each. ``_listed``: in whose categories' lists an item is."""
        self._rows = rows
        self._numbers = rows.view(np.float64).reshape(-1, ROW.itemsize // 8)
        self.key, self.overall, self._listed = rows["key"], rows["overall"], rows["listed"]
        self.blocks.hold(rows["place"])

    def fold(self, batch: EventBatch, trail: Trail, category: I4, top_category: I4) -> None:
        """Learn from a clean batch. ``category`` and ``top_category``: dense ids by item, -1 = none."""
        at, n, tops, blocks = 0, len(batch), self.tops, self.blocks
        while True:
            at = fold(
                at, batch.ts, batch.item, batch.action, batch.hour, batch.device, batch.region, batch.flags,
                trail.first, category, top_category, self.key, self.overall, self._listed,
                blocks.start, blocks.length, blocks.cap, blocks.tail, blocks.free, blocks.n_free,
                self._slice, self._slice_key, self._totals,
                tops.items, tops.keys, tops.length, tops.region_row, tops.category_row, self._why,
            )  # fmt: skip
            if at == n:
                return
            item = batch.item[at : at + 1]
            if self._why[0] == FULL_POOL:
                room = self._slice.shape[0] + 3 * MAX_SLICES
                self._slice, self._slice_key = grown(self._slice, room, 0), grown(self._slice_key, room, 0)
            elif self._why[0] == NO_ROW:
                tops.open_rows(batch.region[at : at + 1], np.concatenate([category[item], top_category[item]]))
            else:
                self.recategorise(item, category, top_category)

    def recategorise(self, items: I4, category: I4, top_category: I4) -> None:
        """``items`` may have changed category: move those that did to the lists of the new one."""
        self.tops.open_rows(items[:0], known_categories(items, self.overall, category, top_category))
        relist(
            items, category, top_category, self.overall, self._listed, self.tops.category_row,
            self.tops.items, self.tops.keys, self.tops.length,
        )  # fmt: skip

    def read(self, items: I4, t_s: int, hour: int, device: int, region: int, out: F4) -> None:
        """Fill ``out`` float32 [n, N_COLUMNS] for ``items`` at second ``t_s``; hour, device or region -1 = unknown."""
        wanted = np.array(
            [hour, SLICE_DEVICE + device if device >= 0 else -1, SLICE_REGION + region if region >= 0 else -1], np.int32
        )
        n = items.shape[0]
        self._places = grown(self._places, n, -1)
        blocks = self.blocks
        locate(items, n, wanted, self.key, blocks.start, blocks.length, self._slice, self._slice_key, self._places)
        read(
            items, n, float(t_s), wanted, self._numbers, self._slice_key, self._totals, self._places,
            self._now, self._count, out,
        )  # fmt: skip

    def grow(self, _n_users: int, n_items: int) -> None:
        """Make room for dense ids below these."""
        if n_items > self._rows.shape[0]:
            self._hold(grown(self._rows, n_items, NO_ROW_YET))

    def arrays(self, _n_users: int, n_items: int) -> Arrays:
        """The state as named arrays."""
        used = int(self.blocks.tail[0])
        return {
            **{f"blocks_{name}": array for name, array in self.blocks.arrays(n_items).items()},
            **{f"tops_{name}": array for name, array in self.tops.arrays().items()},
            "key": self.key[:n_items],
            "overall": self.overall[:n_items],
            "listed": self._listed[:n_items],
            "slice": self._slice[:used],
            "slice_key": self._slice_key[:used],
            "totals": self._totals,
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self.blocks.load({name[7:]: array for name, array in arrays.items() if name.startswith("blocks_")})
        self.tops.load({name[5:]: array for name, array in arrays.items() if name.startswith("tops_")})
        rows = aligned(arrays["overall"].shape, ROW)
        rows["key"], rows["overall"], rows["listed"] = arrays["key"], arrays["overall"], arrays["listed"]
        for name in PLACE.names or ():
            rows["place"][name] = arrays[f"blocks_{name}"]
        self._hold(rows)
        self._slice = np.array(arrays["slice"], np.int16)
        self._slice_key = np.array(arrays["slice_key"], np.float64)
        self._totals = np.array(arrays["totals"], np.float64)


def known_categories(items: I4, overall: F8, category: I4, top_category: I4) -> I4:
    """Leaf and top category of those ``items`` that have a popularity, in order, leaf first."""
    counted = items[overall[items] > -np.inf]
    return np.stack([category[counted], top_category[counted]], axis=1).reshape(-1)
