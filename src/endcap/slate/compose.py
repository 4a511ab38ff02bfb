"""Compose: from scored candidates to an ordered slate, by greedy maximal marginal relevance (MMR).

Idea: place after place, take the candidate with the largest ``(1 - diversity) * relevance - diversity * similarity``,
where relevance is its score over the best score and similarity is to the most similar item already placed: 0.6 for
the same leaf category, else 0.3 for the same top category, plus 0.2 for the same brand. One item of a group; at most
so many of a category and of a brand. Pins go to their places first and count in all of it.

Layout: candidates as parallel arrays by row; scratch by row. The rows form a heap by (score, smaller dense id),
popped only as far as needed: similarity never adds, so once the next relevance cannot beat the best value found, the
rest cannot either. Only the best ``DEPTH * n`` rows compete, unless caps have used them up. Ties are broken by score,
then by dense id, so equal input gives an equal slate.

A score that is not finite never takes a place (law L6); it is counted in ``n_nonfinite``. Caps are strict: a slate is
shorter rather than over a cap.

Cost: ~9 us for 24 of 150, ~6 us for 12. Carbonell & Goldstein, SIGIR 1998. Not for: whole-page layout across several
shelves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numba import njit

from endcap.blocks import grown
from endcap.types import F4, I4, I8, U1

SAME_LEAF, SAME_TOP, SAME_BRAND = 0.6, 0.3, 0.2
DEPTH = 6
NO_PINS: I4 = np.zeros(0, np.int32)
FREE, OUT = 0, 1
ITEM, GROUP, LEAF, TOP, BRAND, N_MET, N_LEAF, N_BRAND, STATE, N_COLUMNS = range(10)  # of the k-th best, in ``met``
N_PINNED, N_NONFINITE, N_ROWS, N_HEAP = 0, 1, 2, 3  # what the kernel's head counts


class Shelves(Protocol):
    """What the catalogue knows of items, by dense id."""

    group: I4
    category: I4
    top_category: I4
    brand: I4


@njit(cache=True, nogil=True, forceinline=True)
def sift(at: int, size: int, heap: I4, keys: I8) -> None:
    """Let the row at ``at`` sink to its place in the heap of ``size`` rows, the largest key on top."""
    row = heap[at]
    key = keys[row]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and keys[heap[child + 1]] > keys[heap[child]]:
            child += 1
        if keys[heap[child]] <= key:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = row


@njit(cache=True, nogil=True, forceinline=True)
def make_heap(items: I4, scores: F4, keep: U1, heap: I4, keys: I8, free: U1, head: I8) -> None:
    """Make the heap of the rows that may be placed and count the scores that are not finite.

    A key orders by score, then by smaller dense id: the score's bits, made monotone, above the id's complement.
    """
    bits = scores.view(np.int32)
    size = 0
    head[N_NONFINITE] = 0
    for row in range(items.shape[0]):
        free[row] = 0
        if keep[row] == 0:
            continue
        if not math.isfinite(scores[row]):
            head[N_NONFINITE] += 1
            continue
        free[row] = 1
        order = np.int64(bits[row])
        if order < 0:
            order = -(order & 0x7FFFFFFF)  # negative floats grow downwards; also makes -0 equal to 0
        keys[row] = (order << 32) + (0x7FFFFFFF - items[row])
        heap[size] = row
        size += 1
    for at in range(size // 2 - 1, -1, -1):
        sift(at, size, heap, keys)
    head[N_ROWS] = head[N_HEAP] = size


@njit(cache=True, nogil=True, forceinline=True)
def meet(k: int, n_chosen: int, placed: I4, category_cap: int, brand_cap: int, near: F4, met: I4) -> None:
    """Compare the k-th best with what was placed since; it goes out when its group is there or a cap is full."""
    own, group, category, top, brand = met[k, ITEM], met[k, GROUP], met[k, LEAF], met[k, TOP], met[k, BRAND]
    for c in range(met[k, N_MET], n_chosen):
        if own == placed[c, ITEM] or (group >= 0 and group == placed[c, GROUP]):
            met[k, STATE] = OUT
            return
        alike = 0.0
        if category >= 0 and category == placed[c, LEAF]:
            alike = SAME_LEAF
            met[k, N_LEAF] += 1
        elif top >= 0 and top == placed[c, TOP]:
            alike = SAME_TOP
        if brand >= 0 and brand == placed[c, BRAND]:
            alike += SAME_BRAND
            met[k, N_BRAND] += 1
        if alike > near[k]:
            near[k] = alike
    met[k, N_MET] = n_chosen
    if (category_cap > 0 and met[k, N_LEAF] >= category_cap) or (brand_cap > 0 and met[k, N_BRAND] >= brand_cap):
        met[k, STATE] = OUT


@njit(cache=True, nogil=True, forceinline=True)
def describe(item: int, group: I4, category: I4, top: I4, brand: I4, into: I4) -> None:
    """Copy what meetings compare next to one another: columns ITEM to BRAND."""
    into[ITEM] = item
    into[GROUP] = group[item]
    into[LEAF] = category[item]
    into[TOP] = top[item]
    into[BRAND] = brand[item]


@njit(cache=True, nogil=True)
def place_pins(
    pin_item: I4, pin_place: I4, items: I4, group: I4, category: I4, top: I4, brand: I4,
    free: U1, placed: I4, places: I4,
) -> int:  # fmt: skip
    """Put pins at their places or the next free one; caps do not hold back a pin, groups and repeats do."""
    n_chosen = 0
    for p in range(pin_item.shape[0]):
        for row in range(items.shape[0]):
            if items[row] != pin_item[p] or free[row] == 0:
                continue
            place = pin_place[p]
            while place < places.shape[0] and places[place] >= 0:
                place += 1
            repeated = False
            for c in range(n_chosen):
                same_group = group[items[row]] >= 0 and group[items[row]] == placed[c, GROUP]
                repeated = repeated or same_group or placed[c, ITEM] == items[row]
            if place < places.shape[0] and not repeated:
                free[row] = 0
                places[place] = row
                describe(items[row], group, category, top, brand, placed[n_chosen])
                n_chosen += 1
            break
    return n_chosen


@njit(cache=True, nogil=True, forceinline=True)
def pop(
    items: I4, group: I4, category: I4, top: I4, brand: I4, heap: I4, keys: I8, free: U1, near: F4, met: I4, head: I8
) -> None:
    """Take the best row off the heap; it stands behind the heap, so the k-th best is ``heap[n_rows - 1 - k]``."""
    k = head[N_ROWS] - head[N_HEAP]
    head[N_HEAP] -= 1
    row = heap[0]
    heap[0] = heap[head[N_HEAP]]
    heap[head[N_HEAP]] = row
    sift(0, head[N_HEAP], heap, keys)
    near[k] = 0.0
    met[k, :] = 0
    met[k, STATE] = FREE if free[row] != 0 else OUT
    describe(items[row], group, category, top, brand, met[k])


@njit(cache=True, nogil=True)
def compose_slate(
    items: I4, scores: F4, keep: U1, group: I4, category: I4, top: I4, brand: I4,
    diversity: float, category_cap: int, brand_cap: int, pin_item: I4, pin_place: I4,
    heap: I4, keys: I8, free: U1, near: F4, met: I4, placed: I4, places: I4, head: I8,
) -> int:  # fmt: skip
    """Fill ``places``, whose length is n, with rows; gives how many."""
    n = places.shape[0]
    places[:] = -1
    make_heap(items, scores, keep, heap, keys, free, head)
    scale = abs(float(scores[heap[0]])) if head[N_ROWS] > 0 else 0.0
    weight = (1.0 - diversity) / (scale if scale > 0.0 else 1.0)
    n_chosen = 0
    if pin_item.shape[0] > 0:
        n_chosen = place_pins(pin_item, pin_place, items, group, category, top, brand, free, placed, places)
    head[N_PINNED] = n_chosen
    for place in range(n):
        if places[place] >= 0:
            continue
        best = -1
        best_value = -np.inf
        k = 0
        while True:
            if k == head[N_ROWS] - head[N_HEAP]:  # every popped row is seen
                if head[N_HEAP] == 0 or (best >= 0 and k >= DEPTH * n):
                    break
                pop(items, group, category, top, brand, heap, keys, free, near, met, head)
            relevance = weight * scores[heap[head[N_ROWS] - 1 - k]]
            if best >= 0 and relevance <= best_value:
                break
            # what it has met so far already bounds its value, so most rows need not meet the newly placed
            if met[k, STATE] == FREE and (best < 0 or relevance - diversity * near[k] > best_value):
                meet(k, n_chosen, placed, category_cap, brand_cap, near, met)
                value = relevance - diversity * near[k]
                if met[k, STATE] == FREE and value > best_value:
                    best = k
                    best_value = value
            k += 1
        if best < 0:
            break
        met[best, STATE] = OUT
        places[place] = heap[head[N_ROWS] - 1 - best]
        placed[n_chosen, : BRAND + 1] = met[best, : BRAND + 1]
        n_chosen += 1
    filled = 0
    for place in range(n):  # a pin behind a place that could not be filled moves up
        if places[place] >= 0:
            places[filled] = places[place]
            filled += 1
    return filled


class Composer:
    """Composes slates. Owns scratch; one per engine."""

    def __init__(self, catalogue: Shelves) -> None:
        self._catalogue = catalogue
        self._heap: I4 = np.zeros(0, np.int32)
        self._keys: I8 = np.zeros(0, np.int64)
        self._free: U1 = np.zeros(0, np.uint8)
        self._near: F4 = np.zeros(0, np.float32)
        self._met: I4 = np.zeros((0, N_COLUMNS), np.int32)
        self._placed: I4 = np.zeros((256, BRAND + 1), np.int32)
        self._places: I4 = np.zeros(256, np.int32)
        self._head: I8 = np.zeros(4, np.int64)

    @property
    def n_nonfinite(self) -> int:
        """Candidates of the last slate whose score was NaN or infinite."""
        return int(self._head[N_NONFINITE])

    @property
    def n_pinned(self) -> int:
        """Pins that found a place in the last slate."""
        return int(self._head[N_PINNED])

    def compose(
        self, items: I4, scores: F4, keep: U1, n: int,
        *, diversity: float = 0.0, category_cap: int = 0, brand_cap: int = 0, pins: Sequence[tuple[int, int]] = (),
    ) -> I4:  # fmt: skip
        """Rows in slate order, at most ``n``: a view that the next call overwrites.

        ``items`` [m] dense ids, ``scores`` [m], ``keep`` [m] 1 = may be placed. ``diversity`` 0 (by score alone) to 1;
        caps 0 = none. ``pins``: (0-based place, dense id); skipped when no candidate, or when it may not be placed.
        """
        self._make_room(items.shape[0], n)
        have = self._catalogue
        pin_place, pin_item = np.array(pins, np.int32).T.copy() if pins else (NO_PINS, NO_PINS)
        filled = compose_slate(
            items, scores, keep, have.group, have.category, have.top_category, have.brand,
            diversity, category_cap, brand_cap, pin_item, pin_place,
            self._heap, self._keys, self._free, self._near, self._met, self._placed, self._places[:n], self._head,
        )  # fmt: skip
        return self._places[:filled]

    def _make_room(self, m: int, n: int) -> None:
        if m > self._heap.shape[0]:
            self._heap = grown(self._heap, m, 0)
            self._keys = grown(self._keys, m, 0)
            self._free = grown(self._free, m, 0)
            self._near = grown(self._near, m, 0)
            self._met = grown(self._met, m, 0)
        if n > self._places.shape[0]:
            self._places = grown(self._places, n, 0)
            self._placed = grown(self._placed, n, 0)
