"""Vectors: one vector per item, and the search for the items that a query vector points at.

Idea: whatever a model has learned of an item ends as a short vector; finding candidates is then one product of a query
vector with all of them and a selection of the best. Below ``EXACT`` rows nothing cleverer than reading them all is
quicker, and nothing else is exact. Above it rows lie sorted by cluster (k-means over the unit vectors), and only the
clusters whose centre the query points at are read: an inverted file, by layout. Rows that came later lie at the end
and are always read, so a new item is found at once.

Layout, one row per item that has a vector: ``unit`` float32 [rows, dim] (length 1, or zeros), ``scale`` float32 [rows]
(the vector is scale x unit), ``item_of`` int32 [rows]; ``row_of`` int32 by dense item id, -1 = no vector. ``centres``
float32 [clusters, dim], ``cluster_start`` int64 [clusters + 1].

Cost: 64 dimensions on one core, 6 ns a row and 3 ns to select: 0.25 ms for 30,000 rows; a tenth of that by clusters,
which find 97 % of the same items where products fall into kinds, 60 % among free texts. Memory: 264 bytes a row. Not
for: a few known items, which need no search (see features/likeness.py).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from endcap.blocks import grown
from endcap.candidates import Candidates, add
from endcap.topn import LIMIT, N_SIZES, best, key_id, key_score, ranked
from endcap.types import F4, I4, I8

EXACT = 50_000  # rows up to which all are read
MOST_CLUSTERS = 1_024
PROBED = 0.1  # share of the clusters that is read above it
PER_CLUSTER = 200  # rows of a cluster, about


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def dot(a: F4, b: F4) -> float:
    """Sum of products, in vectors."""
    total = np.float32(0.0)
    for d in range(a.shape[0]):
        total += a[d] * b[d]
    return float(total)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def score_rows(x: F4, unit: F4, scale: F4, item_of: I4, first: int, last: int, ids: I4, scores: F4, n: int) -> int:
    """Append (item, scale x unit . x) of the rows from ``first`` to before ``last``; returns the new length."""
    for r in range(first, last):
        total = np.float32(0.0)
        for d in range(x.shape[0]):
            total += unit[r, d] * x[d]
        ids[n], scores[n] = item_of[r], scale[r] * total
        n += 1
    return n


@njit(cache=True, nogil=True)
def search(
    x: F4, unit: F4, scale: F4, item_of: I4, n: int, centres: F4, cluster_start: I8, probed: int, near: F4,
    ids: I4, scores: F4,
) -> int:  # fmt: skip
    """Score the rows of the ``probed`` clusters nearest to x, and those behind the last; returns how many.

    Without clusters all rows are behind the last.
    """
    for c in range(centres.shape[0]):
        near[c] = dot(centres[c], x)
    size = 0
    for _ in range(probed):
        c = int(np.argmax(near))
        near[c] = -np.inf
        size = score_rows(x, unit, scale, item_of, int(cluster_start[c]), int(cluster_start[c + 1]), ids, scores, size)
    return int(score_rows(x, unit, scale, item_of, int(cluster_start[centres.shape[0]]), n, ids, scores, size))


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


class ItemVectors:
    """Vectors of items by dense id. ``unit`` and ``row_of`` are public: kernels take them by name."""

    __slots__ = ("_heap",
        "_ids", "_near", "_scores", "_tally", "centres", "cluster_start", "item_of", "n", "row_of", "scale",
                 "unit")  # fmt: skip

    def __init__(self, dim: int = 0) -> None:
        self._tally: I4 = np.zeros(N_SIZES, np.int32)
        self._heap: I8 = np.zeros(LIMIT, np.int64)
        self.clear(dim)

    def clear(self, dim: int) -> None:
        """No vectors, and from now on ones of ``dim`` numbers. The object stays the same, for others hold it."""
        self.n = 0
        self.unit: F4 = np.zeros((0, dim), np.float32)
        self.scale: F4 = np.zeros(0, np.float32)
        self.item_of: I4 = np.zeros(0, np.int32)
        self.row_of: I4 = np.zeros(0, np.int32)
        self.centres: F4 = np.zeros((0, dim), np.float32)
        self.cluster_start: I8 = np.zeros(1, np.int64)
        self._ids: I4 = np.zeros(0, np.int32)
        self._scores: F4 = np.zeros(0, np.float32)
        self._near: F4 = np.zeros(0, np.float32)

    def put(self, items: I4, vectors: F4) -> None:
        """Set the vectors [n, dim] of distinct items [n].

        A row that lies in a cluster is given up for one at the end: the new vector may belong elsewhere.
        """
        if items.shape[0] == 0:
            return
        self.row_of = grown(self.row_of, int(items.max()) + 1, -1)
        rows = self.row_of[items]
        sorted_in = (rows >= 0) & (rows < self.cluster_start[-1])
        self.scale[rows[sorted_in]] = 0.0
        self.item_of[rows[sorted_in]] = -1
        fresh = np.flatnonzero((rows < 0) | sorted_in)
        rows[fresh] = self.n + np.arange(fresh.shape[0])
        self.n += fresh.shape[0]
        self.unit, self.scale = grown(self.unit, self.n, 0), grown(self.scale, self.n, 0)
        self.item_of = grown(self.item_of, self.n, -1)
        length = np.linalg.norm(vectors, axis=1).astype(np.float32)
        self.unit[rows] = vectors / np.maximum(length, np.float32(1e-12))[:, None]
        self.scale[rows] = length
        self.row_of[items], self.item_of[rows] = rows, items

    def row(self, item: int) -> int:
        """Row of an item, -1 when it has no vector."""
        return int(self.row_of[item]) if 0 <= item < self.row_of.shape[0] else -1

    def known(self, items: I4) -> I4:
        """Rows of items [n], -1 for those without a vector."""
        rows = np.full(items.shape[0], -1, np.int32)
        inside = (items >= 0) & (items < self.row_of.shape[0])
        rows[inside] = self.row_of[items[inside]]
        return rows

    def _best(self, x: F4, most: int) -> int:
        """Put the ``most`` best of the rows that are read into the heap; returns how many."""
        if self._scores.shape[0] < self.n:
            self._ids, self._scores = np.zeros(self.unit.shape[0], np.int32), np.zeros(self.unit.shape[0], np.float32)
        n_clusters = self.centres.shape[0]
        read = search(
            x, self.unit, self.scale, self.item_of, self.n, self.centres, self.cluster_start,
            min(n_clusters, max(4, round(PROBED * n_clusters))), self._near, self._ids, self._scores,
        )  # fmt: skip
        return int(best(self._ids, self._scores, read, min(most, LIMIT), self._tally, self._heap))

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
        """(items, scores) of the ``n`` best, best first, without item ``but`` and scores less than ``floor``."""
        items, scores = ranked(self._heap, self._best(x, n + 1))
        keep = np.flatnonzero((items != but) & (scores >= floor))[:n]
        return items[keep], scores[keep]

    def become(self, other: ItemVectors) -> None:
        """Take over everything another one holds; the object stays the same, for others hold it."""
        for name in ("n", "unit", "scale", "item_of", "row_of", "centres", "cluster_start", "_near"):
            setattr(self, name, getattr(other, name))
        self._scores = np.zeros(0, np.float32)

    def cluster(self, centres: F4) -> None:
        """Sort the rows by their nearest centre, so that a search reads a few clusters only."""
        live = np.flatnonzero(self.item_of[: self.n] >= 0)
        nearest = np.concatenate(
            [np.argmax(self.unit[part] @ centres.T, axis=1) for part in np.array_split(live, 1 + live.shape[0] // 4096)]
        )
        order = live[np.argsort(nearest, kind="stable")]
        self.unit, self.scale, self.item_of = self.unit[order], self.scale[order], self.item_of[order]
        self.n = order.shape[0]
        self.row_of[self.item_of] = np.arange(self.n, dtype=np.int32)
        counts = np.bincount(nearest, minlength=centres.shape[0])
        self.centres = np.ascontiguousarray(centres, np.float32)
        self.cluster_start = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        self._near = np.zeros(centres.shape[0], np.float32)
        self._scores = np.zeros(0, np.float32)
