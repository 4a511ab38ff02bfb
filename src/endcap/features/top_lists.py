"""Top lists: the 256 strongest items of every kind of popularity, always sorted, always exact.

Idea: popularity keys only grow (see ``counters``), so an item that gains moves up its lists by one insertion step and
no list ever has to be searched anew. Whether an item is in a full list follows from comparing its old key with the
last entry; where it stands, from a binary search for that key. A query then reads its candidates from the front.

Order: higher key first; of equal keys the smaller dense id. The twin in the tests sorts all keys and compares.

Lists: 12 global ones (action group x half-life), one per hour of day, per device, per region and per category. A
category's list holds the items whose leaf or top category it is. Regions and categories get a row at their first event.

Layout: ``items`` int32 [rows, 256], ``keys`` float64 [rows, 256], ``length`` int32 [rows]; ``region_row`` and
``category_row`` map to rows, -1 = none. Cost: 3 KB per list; about 50 ns per list that an event moves.

When not to use it: for lists deeper than 256, or under arbitrary filters; those score candidates one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from endcap.blocks import grown
from endcap.types import DEVICES, F8, I4, Arrays

DEPTH = 256
N_GROUPS = 3
N_HALF_LIVES = 4
FIRST_HOUR = N_GROUPS * N_HALF_LIVES
FIRST_DEVICE = FIRST_HOUR + 24
N_FIXED = FIRST_DEVICE + len(DEVICES)


@njit(cache=True, nogil=True, inline="always")
def is_before(key: float, item: int, other_key: float, other: int) -> bool:
    """The order of a list."""
    return key > other_key or (key == other_key and item < other)


@njit(cache=True, nogil=True, inline="always")
def place(row: int, item: int, old: float, new: float, items: I4, keys: F8, length: I4) -> None:
    """``item`` goes from key ``old`` (-inf = it had none) to the greater key ``new`` in one list."""
    n = length[row]
    if n == DEPTH and not is_before(new, item, keys[row, n - 1], items[row, n - 1]):
        return
    if n > 0 and old > -np.inf and not is_before(keys[row, n - 1], items[row, n - 1], old, item):
        low, high = 0, n - 1  # it is in the list: find its place
        while low < high:
            middle = (low + high) >> 1
            if is_before(keys[row, middle], items[row, middle], old, item):
                low = middle + 1
            else:
                high = middle
        at = low
    elif n < DEPTH:
        at = n
        length[row] = n + 1
    else:
        at = n - 1  # the last one goes
    while at > 0 and is_before(new, item, keys[row, at - 1], items[row, at - 1]):
        keys[row, at] = keys[row, at - 1]
        items[row, at] = items[row, at - 1]
        at -= 1
    keys[row, at] = new
    items[row, at] = item


@njit(cache=True, nogil=True, inline="always")
def place_listed(
    item: int, leaf: int, top: int, old: float, new: float, rows: I4, items: I4, keys: F8, length: I4
) -> None:
    """``place`` in the lists of an item's categories, each once."""
    if leaf >= 0:
        place(rows[leaf], item, old, new, items, keys, length)
    if top >= 0 and top != leaf:
        place(rows[top], item, old, new, items, keys, length)


@njit(cache=True, nogil=True)
def relist(
    moved: I4, leaf: I4, top: I4, key: F8, listed: I4, category_row: I4, items: I4, keys: F8, length: I4
) -> None:
    """Items changed category: put them in the lists of the new one and make those of the old one anew.

    Only items with a key are in lists. Cost: one pass over all items if any list lost one.
    """
    stale = np.zeros(length.shape[0], np.uint8)
    for m in range(moved.shape[0]):
        i = moved[m]
        if key[i] > -np.inf and (listed[i, 0] != leaf[i] or listed[i, 1] != top[i]):
            for c in range(2):
                if listed[i, c] >= 0:
                    stale[category_row[listed[i, c]]] = 1
            listed[i, 0], listed[i, 1] = leaf[i], top[i]
            place_listed(i, leaf[i], top[i], -np.inf, key[i], category_row, items, keys, length)
    if not stale.any():
        return
    for row in range(stale.shape[0]):
        if stale[row]:
            length[row] = 0
            for k in range(DEPTH):
                keys[row, k], items[row, k] = -np.inf, -1
    for i in range(key.shape[0]):
        for c in range(2):
            own = listed[i, c]
            if own >= 0 and key[i] > -np.inf and stale[category_row[own]] and (c == 0 or own != listed[i, 0]):
                place(category_row[own], i, -np.inf, key[i], items, keys, length)


class TopLists:
    """The lists. Arrays are public: sources read them by row."""

    __slots__ = ("category_row", "items", "keys", "length", "n_rows", "region_row")

    def __init__(self) -> None:
        self.items: I4 = np.full((N_FIXED, DEPTH), -1, np.int32)
        self.keys: F8 = np.full((N_FIXED, DEPTH), -np.inf)
        self.length: I4 = np.zeros(N_FIXED, np.int32)
        self.region_row: I4 = np.full(0, -1, np.int32)
        self.category_row: I4 = np.full(0, -1, np.int32)
        self.n_rows = N_FIXED

    def row_global(self, group: int, half_life: int) -> int:
        """The list of an action group (SEEN, WANTED, BOUGHT) and a half-life index (1 h, 6 h, 1 d, 7 d)."""
        return group * N_HALF_LIVES + half_life

    def row_hour(self, hour: int) -> int:
        """The list of a local hour 0..23; -1 for any other number."""
        return FIRST_HOUR + hour if 0 <= hour < 24 else -1

    def row_device(self, device: int) -> int:
        """The list of a device code; -1 for an unknown one."""
        return FIRST_DEVICE + device if 0 <= device < len(DEVICES) else -1

    def row_region(self, region: int) -> int:
        """The list of a region number; -1 when nothing happened there."""
        return int(self.region_row[region]) if 0 <= region < self.region_row.shape[0] else -1

    def row_category(self, category: int) -> int:
        """The list of a leaf or top category; -1 when nothing happened in it."""
        return int(self.category_row[category]) if 0 <= category < self.category_row.shape[0] else -1

    def open_rows(self, regions: NDArray[Any], categories: NDArray[Any]) -> None:
        """Give a row to every region and category named here that has none, in the order given; -1 is skipped."""
        self.region_row = self._open(self.region_row, regions)
        self.category_row = self._open(self.category_row, categories)

    def _open(self, rows: I4, wanted: NDArray[Any]) -> I4:
        if wanted.shape[0] == 0:
            return rows
        rows = grown(rows, int(wanted.max()) + 1, -1)
        for number in wanted.tolist():
            if number >= 0 and rows[number] < 0:
                rows[number] = self.n_rows
                self.n_rows += 1
        if self.n_rows > self.length.shape[0]:
            self.items = grown(self.items, self.n_rows, -1)
            self.keys = grown(self.keys, self.n_rows, -np.inf)
            self.length = grown(self.length, self.n_rows, 0)
        return rows

    def arrays(self) -> Arrays:
        """The state as named arrays."""
        return {
            "items": self.items[: self.n_rows],
            "keys": self.keys[: self.n_rows],
            "length": self.length[: self.n_rows],
            "region_row": trimmed(self.region_row),
            "category_row": trimmed(self.category_row),
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self.items = np.array(arrays["items"], np.int32)
        self.keys = np.array(arrays["keys"], np.float64)
        self.length = np.array(arrays["length"], np.int32)
        self.region_row = np.array(arrays["region_row"], np.int32)
        self.category_row = np.array(arrays["category_row"], np.int32)
        self.n_rows = self.length.shape[0]


def trimmed(rows: I4) -> I4:
    """Without the -1 at the end, which only say how much room there is."""
    given = np.flatnonzero(rows >= 0)
    return rows[: int(given[-1]) + 1] if given.shape[0] else rows[:0]
