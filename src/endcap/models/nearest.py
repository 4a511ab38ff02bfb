"""Nearest: each item's nearest others, searched when first asked for and kept until a vector changes that.

Idea: the same items are looked at again and again, and their neighbours by content hardly ever change. A kept list
makes a request independent of the size of the catalogue. When vectors change, only the lists they touch are dropped:
those that hold the item, and those it would now enter.

Layout: a fixed number of slots with parallel rows ``item``, ``unit``, ``lists`` and ``cosines``, taken in turn. Cost: a
kept list ~1 us, a search as in models/vectors.py; a change one product with all kept units, ~0.1 ms. Memory: 650 bytes
a slot. All of it is a cache.

When not to use it: for query vectors that are the shopper's own; no two are alike.
"""

from __future__ import annotations

import numpy as np

from endcap.models.vectors import ItemVectors
from endcap.types import F4, I4

KEPT = 4_096  # lists
LENGTH = 48  # items of a list
MANY = 256  # changes at once from which on nothing is kept
NOBODY = -1
ROUNDING = np.float32(1e-5)  # two ways to multiply differ by less


class Nearest:
    """Lists of nearest items by cosine, at least ``floor``."""

    def __init__(self, vectors: ItemVectors, floor: float, kept: int = KEPT) -> None:
        self._vectors, self._floor, self._kept = vectors, floor, kept
        self.clear()

    def clear(self) -> None:
        """Keep nothing; also for vectors of another dimension."""
        dim = self._vectors.unit.shape[1]
        self._slot_of: dict[int, int] = {}
        self._next = 0
        self._item: I4 = np.full(self._kept, NOBODY, np.int32)
        self._unit: F4 = np.zeros((self._kept, dim), np.float32)
        self._lists: I4 = np.full((self._kept, LENGTH), NOBODY, np.int32)
        self._cosines: F4 = np.zeros((self._kept, LENGTH), np.float32)

    def of(self, item: int) -> tuple[I4, F4]:
        """(items, cosines), best first: views that a later call may overwrite. Empty when the item has no vector."""
        slot = self._slot_of.get(item)
        if slot is None:
            row = self._vectors.row(item)
            if row < 0 or self._vectors.scale[row] == 0.0:
                return self._lists[0, :0], self._cosines[0, :0]
            slot = self._search(item, row)
        size = LENGTH if self._lists[slot, -1] >= 0 else int(np.argmin(self._lists[slot]))
        return self._lists[slot, :size], self._cosines[slot, :size]

    def _search(self, item: int, row: int) -> int:
        slot = self._next
        self._next = (slot + 1) % self._kept
        self._drop(slot)
        unit = self._vectors.unit[row]
        items, cosines = self._vectors.nearest(unit, LENGTH, item, self._floor)
        self._item[slot], self._unit[slot] = item, unit
        self._lists[slot, : items.shape[0]], self._cosines[slot, : items.shape[0]] = items, cosines
        self._slot_of[item] = slot
        return slot

    def _drop(self, slot: int) -> None:
        self._slot_of.pop(int(self._item[slot]), None)
        self._item[slot] = NOBODY
        self._unit[slot] = 0.0
        self._lists[slot] = NOBODY
        self._cosines[slot] = 0.0

    def changed(self, items: I4, units: F4) -> None:
        """Forget what is no longer right after these items [n] got these unit vectors [n, dim]."""
        if not self._slot_of or items.shape[0] == 0:
            return
        if items.shape[0] > MANY:
            self.clear()
            return
        weakest = np.maximum(self._cosines[:, -1], self._floor) - ROUNDING
        enters = (units @ self._unit.T >= weakest).any(axis=0)
        holds = np.isin(self._lists, items).any(axis=1) | np.isin(self._item, items)
        for slot in np.flatnonzero((enters | holds) & (self._item >= 0)).tolist():
            self._drop(slot)
