"""Vectors: one vector per item, and the search for the items that a query vector points at.

Idea: whatever a model has learned of an item ends as a short vector; finding candidates is then one product of a query
vector with all of them and a selection of the best. Up to ``EXACT`` rows all are read. Above it faiss first reads all
rows as codes of four bits a number, sixteen products at a time by table look-up in registers (quicker ADC: Andre,
Kermarrec, Le Scouarnec, VLDB 2015; Douze et al., The Faiss library, 2024), and the best ``READ`` times as many as are
wanted are scored again with their true numbers. Above ``LISTED`` rows codes lie in lists by nearest centre, of which a
share is read. Rows that came after the last coding lie at the end and are read exactly, so a new item is found at once.

Why codes and not lists of bytes (an inverted file with eight bits a number) from the start: at 100,000 rows these find
97 % of the true best only by reading a third or more of everything, for trained factors and for texts alike; codes read
everything in less time and need no tuning (docs/benchmarks.md).

Layout, one row per item that has a vector: ``unit`` float32 [rows, dim] (length 1, or zeros), ``scale`` float32 [rows]
(the vector is scale x unit), ``item_of`` int32 [rows], -1 = given up; ``row_of`` int32 by dense item id, -1 = no
vector. Codes: dim / 2 bytes a row. All of it is a cache of what was put; the same puts give the same answers.

Cost: 64 dimensions on one core: see docs/benchmarks.md. Memory: 264 bytes a row, with codes 296. Not for: a few known
items, which need no search (see features/likeness.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from threadpoolctl import threadpool_limits

from endcap.blocks import grown
from endcap.candidates import Candidates, add
from endcap.errors import ConfigError
from endcap.topn import LIMIT, N_SIZES, best, key_id, key_score, ranked
from endcap.types import F4, I4, I8

EXACT = 8_192  # rows up to which all are read as they are
LISTED = 250_000  # rows from which on codes lie in lists
ROWS_OF_A_LIST = 1_000
PROBED = 0.65  # share of the lists that is read
READ, READ_LISTED = 6, 12  # rows scored again for each that is wanted; with lists
LEAST_READ = 200
TAIL = 1_024  # rows outside of the codes before they are coded too
GROWTH = 4  # codes are fitted anew when there are so many times the rows
FITTED = 8_192  # rows that codes are fitted on
ROWS_A_CENTRE = 40  # rows that a list's centre is fitted on


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def dot(a: F4, b: F4) -> float:
    """Sum of products, in vectors."""
    total = np.float32(0.0)
    for d in range(a.shape[0]):
        total += a[d] * b[d]
    return float(total)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def score_rows(
    x: F4, shift: float, unit: F4, scale: F4, item_of: I4, first: int, last: int, ids: I4, scores: F4, n: int
) -> int:
    """Append (item, scale x unit . x + shift) of the rows from ``first`` to before ``last``; returns the new length."""
    for r in range(first, last):
        total = np.float32(0.0)
        for d in range(x.shape[0]):
            total += unit[r, d] * x[d]
        ids[n], scores[n] = item_of[r], scale[r] * total + np.float32(shift)
        n += 1
    return n


@njit(cache=True, nogil=True)
def score_some(x: F4, shift: float, rows: I8, unit: F4, scale: F4, item_of: I4, ids: I4, scores: F4) -> int:
    """Write (item, scale x unit . x + shift) of ``rows`` that hold an item (-1 = none); returns how many."""
    n = 0
    for k in range(rows.shape[0]):
        r = rows[k]
        if r >= 0 and item_of[r] >= 0:
            ids[n], scores[n] = item_of[r], scale[r] * dot(unit[r], x) + np.float32(shift)
            n += 1
    return n


@njit(cache=True, nogil=True)
def best_seed(row: int, unit: F4, share: F4, base: F4, base_rows: I4, seed_of: I4, n: int) -> int:
    """The seed that speaks most for a row: the largest of share[j] x base[base_rows[j]] . unit[row]."""
    strongest = -np.inf
    found = -1
    for j in range(n):
        part = share[j] * dot(base[base_rows[j]], unit[row])
        if part > strongest:
            strongest, found = part, seed_of[j]
    return found


@njit(cache=True, nogil=True)
def is_among(item: int, seeds: I4, n_seeds: int) -> bool:
    """Whether an item is one of the seeds."""
    for j in range(n_seeds):  # noqa: SIM110  # numba has no generators
        if seeds[j] == item:
            return True
    return False


@njit(cache=True, nogil=True)
def propose(
    heap: I8, size: int, limit: int, seeds: I4, n_seeds: int, row_of: I4, unit: F4,
    share: F4, base: F4, base_rows: I4, seed_of: I4, n_base: int,
    column: int, into_items: I4, into_score: F4, into_seeds: I4, into_stamp: I4, into_row: I4, into_head: I8,
) -> None:  # fmt: skip
    """Propose the ``limit`` best of the heap that are no seeds, each with the seed that speaks most for it."""
    found = 0
    order = np.sort(heap[:size])
    for h in range(size - 1, -1, -1):
        item = key_id(order[h])
        if found < limit and item < into_stamp.shape[0] and not is_among(item, seeds, n_seeds):
            why = best_seed(row_of[item], unit, share, base, base_rows, seed_of, n_base)
            add(item, column, key_score(order[h]), why,
                into_items, into_score, into_seeds, into_stamp, into_row, into_head)  # fmt: skip
            found += 1


class Codes:
    """The first ``n`` rows as codes, in faiss."""

    __slots__ = ("_answer", "_index", "_pointers", "_scores", "_x", "fitted", "n", "read")

    def __init__(self, vectors: F4) -> None:
        """Fit to ``vectors`` [n, dim] and hold them. The same vectors give the same codes."""
        try:
            import faiss
        except ImportError as missing:
            raise ConfigError("searching many vectors needs faiss; install it with: pip install faiss-cpu") from missing
        n, dim = vectors.shape
        lists = n // ROWS_OF_A_LIST if n > LISTED else 0
        name = f"IVF{lists},PQ{dim}x4fsr" if lists else f"PQ{dim}x4fs"
        made: Any = faiss.index_factory
        self._index = made(dim, name, faiss.METRIC_INNER_PRODUCT)
        self.n = self.fitted = 0
        self.read = READ_LISTED if lists else READ
        rows = np.random.default_rng(0).permutation(n)[: max(FITTED, lists * ROWS_A_CENTRE)]
        with threadpool_limits(1):
            self._index.train(vectors[rows])
        if lists:
            self._index.nprobe = max(1, round(PROBED * lists))
        self.add(vectors)
        self.fitted = n
        self._x: F4 = np.zeros((1, dim), np.float32)
        self._make_room(LEAST_READ)

    def copy(self) -> Codes:
        """The same codes, to be added to by itself; takes as long as copying their bytes."""
        from faiss import clone_index

        other = Codes.__new__(Codes)
        other._index, other._x = clone_index(self._index), np.zeros_like(self._x)
        other.n, other.fitted, other.read = self.n, self.fitted, self.read
        other._make_room(LEAST_READ)
        return other

    def add(self, vectors: F4) -> None:
        """Hold more rows behind those held."""
        with threadpool_limits(1):
            self._index.add(vectors)
        self.n += vectors.shape[0]

    def _make_room(self, most: int) -> None:
        from faiss import swig_ptr

        self._answer: I8 = np.zeros(most, np.int64)
        self._scores: F4 = np.zeros(most, np.float32)
        self._pointers: tuple[Any, ...] = tuple(swig_ptr(array) for array in (self._x, self._scores, self._answer))

    def search(self, x: F4, most: int) -> I8:
        """About the best ``most`` rows for x, -1 = none: a view that the next call overwrites."""
        if self._answer.shape[0] < most:
            self._make_room(most)
        self._x[0] = x
        query, scores, answer = self._pointers
        self._index.search_c(1, query, most, scores, answer)
        return self._answer[:most]


def coded(vectors: F4) -> Codes | None:
    """Codes for vectors [n, dim], or None when so few are read as they are; a second or more for 100,000."""
    return Codes(np.ascontiguousarray(vectors, np.float32)) if vectors.shape[0] > EXACT else None


class ItemVectors:
    """Vectors of items by dense id. ``unit`` and ``row_of`` are public: kernels take them by name."""

    __slots__ = ("_codes", "_dead", "_heap", "_ids", "_scores", "_tally", "item_of", "longest", "moves", "n", "row_of",
                 "scale", "unit", "version")  # fmt: skip

    def __init__(self, dim: int = 0) -> None:
        self._tally: I4 = np.zeros(N_SIZES, np.int32)
        self._heap: I8 = np.zeros(LIMIT, np.int64)
        self.version = 0  # goes up when an answer may have changed
        self.moves = 0  # times that rows moved, for whoever keeps anything by row
        self.clear(dim)

    def clear(self, dim: int) -> None:
        """No vectors, and from now on ones of ``dim`` numbers. The object stays the same, for others hold it."""
        self.n = 0
        self.version += 1
        self.unit: F4 = np.zeros((0, dim), np.float32)
        self.scale: F4 = np.zeros(0, np.float32)
        self.item_of: I4 = np.zeros(0, np.int32)
        self.row_of: I4 = np.zeros(0, np.int32)
        self._codes: Codes | None = None
        self._dead = 0  # rows given up
        self.longest = 0.0  # of all vectors put so far
        self._ids: I4 = np.zeros(0, np.int32)
        self._scores: F4 = np.zeros(0, np.float32)

    def put(self, items: I4, vectors: F4) -> None:
        """Set the vectors [n, dim] of distinct items [n]. Rows may move.

        A row that is coded is given up for one at the end, which is read as it is.
        """
        if items.shape[0] == 0:
            return
        self.version += 1
        self.row_of = grown(self.row_of, int(items.max()) + 1, -1)
        rows = self.row_of[items]
        coded = (rows >= 0) & (rows < self.coded)
        self.scale[rows[coded]] = 0.0
        self.item_of[rows[coded]] = -1
        self._dead += int(coded.sum())
        fresh = np.flatnonzero((rows < 0) | coded)
        rows[fresh] = self.n + np.arange(fresh.shape[0])
        self.n += fresh.shape[0]
        self.unit, self.scale = grown(self.unit, self.n, 0), grown(self.scale, self.n, 0)
        self.item_of = grown(self.item_of, self.n, -1)
        length = np.linalg.norm(vectors, axis=1).astype(np.float32)
        self.unit[rows] = vectors / np.maximum(length, np.float32(1e-12))[:, None]
        self.scale[rows] = length
        self.longest = max(self.longest, float(length.max()))
        self.row_of[items], self.item_of[rows] = rows, items
        if self.n > EXACT and self.n - self.coded > TAIL:
            self._encode()

    def hold(self, items: I4, vectors: F4, codes: Codes | None) -> None:
        """Nothing but the vectors [n, dim] of items [n], -1 = of nobody; ``codes`` are ``coded(vectors)``."""
        self.clear(vectors.shape[1])
        known = np.flatnonzero(items >= 0)
        if codes is None:
            self.put(items[known], vectors[known])
            return
        length = np.linalg.norm(vectors, axis=1).astype(np.float32)
        self.unit = (vectors / np.maximum(length, np.float32(1e-12))[:, None]).astype(np.float32)
        self.scale, self.longest = length, float(length.max())
        self.n, self.item_of = items.shape[0], items.astype(np.int32)
        self.row_of = np.full(int(items.max()) + 1, -1, np.int32)
        self.row_of[items[known]] = known
        self.scale[items < 0] = 0.0
        self._dead = self.n - known.shape[0]
        self._codes = codes.copy()

    @property
    def coded(self) -> int:
        """Rows that searches read as codes first; the others are read as they are."""
        return self._codes.n if self._codes is not None else 0

    def _encode(self) -> None:
        """Code the rows at the end; all anew when many were given up, or there are many more than at the last fit."""
        if self._dead > self.n // 4:
            self._close_gaps()
        codes = self._codes
        if codes is None or self.n > GROWTH * codes.fitted or (codes.fitted <= LISTED < self.n):
            self._codes = Codes(self.unit[: self.n] * self.scale[: self.n, None])
        else:
            codes.add(self.unit[codes.n : self.n] * self.scale[codes.n : self.n, None])

    def _close_gaps(self) -> None:
        """Drop the rows that were given up, and the codes with them."""
        self.moves += 1
        live = np.flatnonzero(self.item_of[: self.n] >= 0)
        self.unit, self.scale, self.item_of = self.unit[live], self.scale[live], self.item_of[live]
        self.n, self._dead, self._codes = live.shape[0], 0, None
        self.row_of[self.item_of] = np.arange(self.n, dtype=np.int32)

    def row(self, item: int) -> int:
        """Row of an item, -1 when it has no vector."""
        return int(self.row_of[item]) if 0 <= item < self.row_of.shape[0] else -1

    def known(self, items: I4) -> I4:
        """Rows of items [n], -1 for those without a vector."""
        rows = np.full(items.shape[0], -1, np.int32)
        inside = (items >= 0) & (items < self.row_of.shape[0])
        rows[inside] = self.row_of[items[inside]]
        return rows

    def _best(self, x: F4, most: int, shift: float = 0.0) -> int:
        """Put the ``most`` best of the rows that are read into the heap, as score + shift > 0; returns how many."""
        most, first, read = min(most, LIMIT), 0, 0
        wide = 0 if self._codes is None else max(LEAST_READ, self._codes.read * most)
        size = self.n - self.coded + wide
        if self._scores.shape[0] < size:
            self._ids, self._scores = grown(self._ids, size, 0), grown(self._scores, size, 0)
        if self._codes is not None:
            first, rows = self._codes.n, self._codes.search(x, wide)
            read = score_some(x, shift, rows, self.unit, self.scale, self.item_of, self._ids, self._scores)
        read = score_rows(x, shift, self.unit, self.scale, self.item_of, first, self.n, self._ids, self._scores, read)
        return int(best(self._ids, self._scores, read, most, self._tally, self._heap))

    def retrieve(
        self, x: F4, seeds: I4, n_seeds: int, share: F4, base: F4, base_rows: I4, seed_of: I4, n_base: int,
        into: Candidates, column: int, n: int,
    ) -> None:  # fmt: skip
        """Propose the ``n`` items that x points at, without the seeds.

        Who gets the credit: x = sum over j < n_base of share[j] base[base_rows[j]], and ``seed_of[j]`` is the place of
        that part's item among the seeds.
        """
        propose(
            self._heap, self._best(x, n + n_seeds), n, seeds, n_seeds, self.row_of, self.unit,
            share, base, base_rows, seed_of, n_base,
            column, into.items, into.score, into.seeds, into.stamp, into.row_of, into.head,
        )  # fmt: skip

    def nearest(self, x: F4, n: int, but: int, floor: float) -> tuple[I4, F4]:
        """(items, scores) of the ``n`` best, best first, without item ``but`` and scores less than ``floor``.

        Scores may be negative where ``floor`` is; they are then right to 1e-7 of the largest possible one.
        """
        shift = self.longest * float(np.linalg.norm(x)) * 1.001 if floor < 0.0 else 0.0
        items, scores = ranked(self._heap, self._best(x, n + 1, shift))
        scores = scores - np.float32(shift)
        keep = np.flatnonzero((items != but) & (scores >= floor))[:n]
        return items[keep], scores[keep]

    def become(self, other: ItemVectors) -> None:
        """Take over everything another one holds; the object stays the same, for others hold it."""
        for name in ("n", "unit", "scale", "item_of", "row_of", "_codes", "_dead", "longest"):
            setattr(self, name, getattr(other, name))
        self.version += 1
