"""Candidates: the table that sources fill and the slate is composed from.

Layout: one row per distinct item, at most ``CAPACITY`` rows; ``score`` and ``seed`` have one column per source.
A source's score is on its own scale, 0 = not proposed by it; ``seed`` is the index (in ``Interest.seeds``) of the
shopper's own item that contributed most to that score, -1 = none.

``stamp``/``row_of`` map a dense item id to its row without clearing between queries: a stamp counts only if it equals
the current generation. One table per engine thread, reused for every query; it is scratch, not state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from endcap.blocks import grown
from endcap.types import F4, I4, I8

CAPACITY = 1024


@njit(cache=True, nogil=True)
def add(
    item: int, source: int, value: float, seed: int,
    items: I4, score: F4, seeds: I4, stamp: I4, row_of: I4, head: I8,
) -> None:  # fmt: skip
    """Propose one item. ``head`` is int64[2]: generation, number of rows. A full table ignores new items."""
    if stamp[item] != head[0]:
        row = head[1]
        if row >= items.shape[0]:
            return
        stamp[item] = head[0]
        row_of[item] = row
        items[row] = item
        for s in range(score.shape[1]):
            score[row, s] = 0.0
            seeds[row, s] = -1
        head[1] = row + 1
    else:
        row = row_of[item]
    if value > score[row, source]:
        score[row, source] = value
        seeds[row, source] = seed


@njit(cache=True, nogil=True)
def add_many(
    new: I4, values: F4, new_seeds: I4, n: int, source: int,
    items: I4, score: F4, seeds: I4, stamp: I4, row_of: I4, head: I8,
) -> None:  # fmt: skip
    """Propose ``new[:n]`` on behalf of one source."""
    for k in range(n):
        add(new[k], source, values[k], new_seeds[k], items, score, seeds, stamp, row_of, head)


@njit(cache=True, nogil=True)
def proposers(rows: I4, score: F4, out: I4) -> None:
    """out[k] = bit s is set when source s proposed row ``rows[k]``."""
    for k in range(rows.shape[0]):
        bits = 0
        for s in range(score.shape[1]):
            if score[rows[k], s] > 0.0:
                bits |= 1 << s
        out[k] = bits


class Candidates:
    """The table. ``sources`` names its columns in order."""

    __slots__ = ("_marks", "head", "items", "row_of", "score", "seeds", "sources", "stamp")

    def __init__(self, sources: tuple[str, ...]) -> None:
        self.sources = sources
        self.items: I4 = np.zeros(CAPACITY, np.int32)
        self.score: F4 = np.zeros((CAPACITY, max(1, len(sources))), np.float32)
        self.seeds: I4 = np.full((CAPACITY, max(1, len(sources))), -1, np.int32)
        self._mark(np.zeros((0, 2), np.int32))
        self.head: I8 = np.zeros(2, np.int64)

    def begin(self, n_items: int) -> None:
        """Start a query over a catalogue of n_items dense ids."""
        if self.stamp.shape[0] < n_items:
            self._mark(grown(self._marks, n_items, 0))
        if self.head[0] >= 2**31 - 2:
            self.stamp[:] = 0
            self.head[0] = 0
        self.head[0] += 1
        self.head[1] = 0

    def _mark(self, marks: I4) -> None:
        """Stamp and row of an item stand side by side: one cache miss for both."""
        self._marks, self.stamp, self.row_of = marks, marks[:, 0], marks[:, 1]

    def __len__(self) -> int:
        return int(self.head[1])

    def rows_of(self, items: Sequence[int]) -> list[int]:
        """The rows of those of these dense ids (-1 = unknown item) that were proposed."""
        known = self.stamp.shape[0]
        return [int(self.row_of[i]) for i in items if 0 <= i < known and self.stamp[i] == self.head[0]]

    def proposers(self, rows: I4) -> list[int]:
        """For each row the set of its sources as bits, source 0 the lowest."""
        out = np.empty(rows.shape[0], np.int32)
        proposers(rows, self.score, out)
        bits: list[int] = out.tolist()
        return bits

    def propose(self, source: int, new: I4, values: F4, seeds: I4 | None = None) -> None:
        """The Python way in, for sources without a kernel of their own."""
        if seeds is None:
            seeds = np.full(new.shape[0], -1, np.int32)
        add_many(new, values, seeds, new.shape[0], source,
                 self.items, self.score, self.seeds, self.stamp, self.row_of, self.head)  # fmt: skip
