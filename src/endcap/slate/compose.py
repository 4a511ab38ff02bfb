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

Cost: ~5 us for 24 of 150. Carbonell & Goldstein, SIGIR 1998. Not for: whole-page layout across several shelves.
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
FREE, PLACED, OUT = 0, 1, 2
N_PINNED, N_NONFINITE, N_ROWS, N_HEAP = 0, 1, 2, 3  # what the kernel's head counts


class Shelves(Protocol):
    """What the catalogue knows of items, by dense id."""

    group: I4
    category: I4
    top_category: I4
    brand: I4


@njit(cache=True, nogil=True)
def before(a: int, b: int, items: I4, scores: F4) -> bool:
    """Row a comes before row b by score, then by dense id."""
    return bool(scores[a] > scores[b] or (scores[a] == scores[b] and items[a] < items[b]))


@njit(cache=True, nogil=True)
def sift(at: int, size: int, heap: I4, items: I4, scores: F4) -> None:
    """Let the row at ``at`` sink to its place in the heap of ``size`` rows."""
    row = heap[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and before(heap[child + 1], heap[child], items, scores):
            child += 1
        if not before(heap[child], row, items, scores):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = row


@njit(cache=True, nogil=True)
def make_heap(items: I4, scores: F4, keep: U1, heap: I4, near: F4, met: I4, state: U1, like: I4, head: I8) -> None:
    """Make the heap of the rows that may be placed and count the scores that are not finite."""
    size = 0
    head[N_NONFINITE] = 0
    for row in range(items.shape[0]):
        state[row] = OUT
        if keep[row] == 0:
            continue
        if not math.isfinite(scores[row]):
            head[N_NONFINITE] += 1
            continue
        state[row] = FREE
        near[row] = 0.0
        met[row] = 0
        like[row, 0] = like[row, 1] = 0
        heap[size] = row
        size += 1
    for at in range(size // 2 - 1, -1, -1):
        sift(at, size, heap, items, scores)
    head[N_ROWS] = head[N_HEAP] = size


@njit(cache=True, nogil=True)
def meet(
    row: int, n_chosen: int, chosen: I4, items: I4, group: I4, category: I4, top: I4, brand: I4,
    category_cap: int, brand_cap: int, near: F4, met: I4, state: U1, like: I4,
) -> None:  # fmt: skip
    """Compare a row with the placed rows it has not met; it goes out when its group is there or a cap is full."""
    a = items[row]
    for k in range(met[row], n_chosen):
        b = items[chosen[k]]
        if a == b or (group[a] >= 0 and group[a] == group[b]):
            state[row] = OUT
            return
        alike = 0.0
        if category[a] >= 0 and category[a] == category[b]:
            alike = SAME_LEAF
            like[row, 0] += 1
        elif top[a] >= 0 and top[a] == top[b]:
            alike = SAME_TOP
        if brand[a] >= 0 and brand[a] == brand[b]:
            alike += SAME_BRAND
            like[row, 1] += 1
        if alike > near[row]:
            near[row] = alike
    met[row] = n_chosen
    if (category_cap > 0 and like[row, 0] >= category_cap) or (brand_cap > 0 and like[row, 1] >= brand_cap):
        state[row] = OUT


@njit(cache=True, nogil=True)
def place_pins(
    pin_item: I4, pin_place: I4, items: I4, group: I4, category: I4, top: I4, brand: I4,
    near: F4, met: I4, state: U1, like: I4, chosen: I4, places: I4,
) -> int:  # fmt: skip
    """Put pins at their places or the next free one; caps do not hold back a pin, groups and repeats do."""
    n_chosen = 0
    for p in range(pin_item.shape[0]):
        for row in range(items.shape[0]):
            if items[row] != pin_item[p] or state[row] != FREE:
                continue
            meet(row, n_chosen, chosen, items, group, category, top, brand, 0, 0, near, met, state, like)
            place = pin_place[p]
            while place < places.shape[0] and places[place] >= 0:
                place += 1
            if state[row] == FREE and place < places.shape[0]:
                state[row] = PLACED
                places[place] = row
                chosen[n_chosen] = row
                n_chosen += 1
            break
    return n_chosen


@njit(cache=True, nogil=True)
def pick(
    n_chosen: int, depth: int, weight: float, diversity: float, category_cap: int, brand_cap: int,
    items: I4, scores: F4, group: I4, category: I4, top: I4, brand: I4,
    heap: I4, near: F4, met: I4, state: U1, like: I4, chosen: I4, head: I8,
) -> int:  # fmt: skip
    """The row with the best marginal relevance, -1 when none is left."""
    best = -1
    best_value = -np.inf
    k = 0
    while True:
        if k == head[N_ROWS] - head[N_HEAP]:  # every popped row is seen: pop the best of the rest
            if head[N_HEAP] == 0 or (best >= 0 and k >= depth):
                return best
            head[N_HEAP] -= 1
            first = heap[0]
            heap[0] = heap[head[N_HEAP]]
            heap[head[N_HEAP]] = first
            sift(0, head[N_HEAP], heap, items, scores)
        row = heap[head[N_ROWS] - 1 - k]
        k += 1
        if best >= 0 and weight * scores[row] <= best_value:
            return best
        if state[row] != FREE:
            continue
        meet(row, n_chosen, chosen, items, group, category, top, brand, category_cap, brand_cap, near, met, state, like)
        value = weight * scores[row] - diversity * near[row]
        if state[row] == FREE and value > best_value:
            best = row
            best_value = value


@njit(cache=True, nogil=True)
def compose_slate(
    items: I4, scores: F4, keep: U1, group: I4, category: I4, top: I4, brand: I4,
    diversity: float, category_cap: int, brand_cap: int, pin_item: I4, pin_place: I4,
    heap: I4, near: F4, met: I4, state: U1, like: I4, chosen: I4, places: I4, head: I8,
) -> int:  # fmt: skip
    """Fill ``places``, whose length is n, with rows; gives how many."""
    n = places.shape[0]
    places[:] = -1
    make_heap(items, scores, keep, heap, near, met, state, like, head)
    scale = abs(float(scores[heap[0]])) if head[N_ROWS] > 0 else 0.0
    weight = (1.0 - diversity) / (scale if scale > 0.0 else 1.0)
    n_chosen = place_pins(
        pin_item, pin_place, items, group, category, top, brand, near, met, state, like, chosen, places
    )  # fmt: skip
    head[N_PINNED] = n_chosen
    for place in range(n):
        if places[place] >= 0:
            continue
        row = pick(
            n_chosen, DEPTH * n, weight, diversity, category_cap, brand_cap, items, scores, group, category, top, brand,
            heap, near, met, state, like, chosen, head,
        )  # fmt: skip
        if row < 0:
            break
        state[row] = PLACED
        places[place] = chosen[n_chosen] = row
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
        self._near: F4 = np.zeros(0, np.float32)
        self._met: I4 = np.zeros(0, np.int32)
        self._state: U1 = np.zeros(0, np.uint8)
        self._like: I4 = np.zeros((0, 2), np.int32)
        self._chosen: I4 = np.zeros(256, np.int32)
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
        pin_place, pin_item = np.array(pins, np.int32).reshape(-1, 2).T if pins else (NO_PINS, NO_PINS)
        filled = compose_slate(
            items, scores, keep, have.group, have.category, have.top_category, have.brand,
            diversity, category_cap, brand_cap, np.ascontiguousarray(pin_item), np.ascontiguousarray(pin_place),
            self._heap, self._near, self._met, self._state, self._like, self._chosen, self._places[:n], self._head,
        )  # fmt: skip
        return self._places[:filled]

    def _make_room(self, m: int, n: int) -> None:
        if m > self._heap.shape[0]:
            self._heap = grown(self._heap, m, 0)
            self._near = grown(self._near, m, 0)
            self._met = grown(self._met, m, 0)
            self._state = grown(self._state, m, 0)
            self._like = grown(self._like, m, 0)
        if n > self._places.shape[0]:
            self._places = grown(self._places, n, 0)
            self._chosen = grown(self._chosen, n, 0)
