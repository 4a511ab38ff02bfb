"""Item2vec: vectors of items from what is touched one after the other, learned online, one step per pair.

Idea: items are alike that stand beside the same others, as words are: skip-gram with negative sampling (Mikolov et
al., NeurIPS 2013; Barkan and Koenigstein, 2016). Each pair of the trail (features/histories.py) is two steps of
logistic regression as it is folded, one from each side: the ``inward`` vector of the one is drawn towards the
``outward`` vector of the other and away from those of ``NEGATIVES`` items that others touched lately. The step size
never falls, so vectors follow a drifting taste; nothing is ever trained in the background.

Why it is state: vectors are folded like every count, so replay = live (law L1), a person who is erased is gone from
them with the next rebuild (L8), and a snapshot holds them. All chance comes from ``clock``, the number of steps so far:
a step's negatives, and the first numbers of a new vector, are a hash of it. It counts what was folded, not batches, log
offsets or ids, which is what makes any batching, and a log that never held the erased person, give the same bytes.

Negatives come from ``ring``, the last ``RING`` items that followed another: drawing from it is drawing by popularity of
the moment. The same ring is what is proposed from, so a request costs the same for any catalogue, reads vectors as they
are now, and needs no index of vectors that move at every event. What did not follow anything lately is not proposed.

    score(c) = cosine(sum_j weight_j inward_j, inward_c) over the ``NEWEST`` items j that the shopper touched

Layout: ``inward``, ``outward`` float32 [items, DIM], ``ring`` int32 [RING], ``clock`` int64 [2]: steps, and items that
entered the ring. Cost: 0.6 us a pair, at most ``WINDOW`` pairs an event; a request ~70 us. Memory: 256 bytes an item.
Not for: items that nobody touched lately, nor for the order of items (gru4rec, sasrec).
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numba import njit

from endcap.batches import EventBatch
from endcap.blocks import grown
from endcap.candidates import Candidates, add
from endcap.topn import LIMIT, N_SIZES, RowMap, best, key_id, key_score
from endcap.types import F4, I2, I4, I8, Arrays, Interest

DIM = 32
WINDOW = 5  # positive interactions between the two items of a pair, at the most
GAP_S = 86_400
RATE = 0.05  # step size of neighbours; it falls linearly with their distance
NEGATIVES = 5
RING = 8_192
NEWEST = 3  # items of the shopper that a request reads
STEPS, ENTERED = 0, 1  # places in ``clock``
LARGEST = 6.0  # logits beyond are certain


@njit(cache=True, nogil=True)
def mixed(x: int) -> int:
    """A number that says nothing about x (splitmix64), not negative."""
    z = np.uint64(x) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((z ^ (z >> np.uint64(31))) >> np.uint64(1))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def dot(a: F4, b: F4) -> float:
    """Sum of products, in vectors."""
    total = np.float32(0.0)
    for d in range(a.shape[0]):
        total += a[d] * b[d]
    return float(total)


@njit(cache=True, nogil=True)
def begin(row: F4, number: int) -> None:
    """Small numbers for a new vector, from a hash."""
    for d in range(row.shape[0]):
        row[d] = np.float32((mixed(number * 1_048_576 + d) % 65_536 / 65_536.0 - 0.5) / row.shape[0])


@njit(cache=True, nogil=True, error_model="numpy")
def pull(a: F4, b: F4, wanted: float, rate: float, grad: F4) -> None:
    """One step of logistic regression: ``b`` moves, what ``a`` shall move is added to ``grad``."""
    x = min(LARGEST, max(-LARGEST, dot(a, b)))
    g = np.float32((wanted - 1.0 / (1.0 + math.exp(-x))) * rate)
    for d in range(a.shape[0]):
        grad[d] += g * b[d]
        b[d] += g * a[d]


@njit(cache=True, nogil=True, error_model="numpy")
def learn(
    earlier: I4, later: I4, gap_s: I4, distance: I2, inward: F4, outward: F4, ring: I4, clock: I8, grad: F4
) -> None:
    """Take one step for each pair that is near enough, in order."""
    for p in range(earlier.shape[0]):
        if distance[p] > WINDOW or gap_s[p] > GAP_S:
            continue
        rate = RATE * (WINDOW + 1 - distance[p]) / WINDOW
        held = min(clock[ENTERED], RING)
        for way in range(2):
            a, b = (earlier[p], later[p]) if way == 0 else (later[p], earlier[p])
            number = clock[STEPS]
            clock[STEPS] += 1
            if inward[a, 0] == 0.0:
                begin(inward[a], number)
            grad[:] = 0.0
            pull(inward[a], outward[b], 1.0, rate, grad)
            for k in range(NEGATIVES if held else 0):
                c = ring[mixed(number * NEGATIVES + k) % held]
                if c != a and c != b:
                    pull(inward[a], outward[c], 0.0, rate, grad)
            for d in range(grad.shape[0]):
                inward[a, d] += grad[d]
        if distance[p] == 1:
            ring[clock[ENTERED] % RING] = later[p]
            clock[ENTERED] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def retrieve(
    seeds: I4, weight: F4, n_seeds: int, inward: F4, ring: I4, held: int, limit: int,
    slots: I4, stamp: int, x: F4, ids: I4, scores: F4, tally: I4, heap: I8,
    column: int, into_items: I4, into_score: F4, into_seeds: I4, into_stamp: I4, into_row: I4, into_head: I8,
) -> None:  # fmt: skip
    """One query from seeds to candidates; seeds themselves are not proposed."""
    x[:] = 0.0
    for j in range(n_seeds):
        if seeds[j] < inward.shape[0] and weight[j] > 0.0:
            slots[seeds[j], 0] = stamp
            for d in range(x.shape[0]):
                x[d] += weight[j] * inward[seeds[j], d]
    length = math.sqrt(dot(x, x))
    if length == 0.0:
        return
    n = 0
    for k in range(held):
        item = ring[k]
        if slots[item, 0] != stamp:
            slots[item, 0] = stamp
            own = math.sqrt(dot(inward[item], inward[item]))
            ids[n], scores[n] = item, dot(x, inward[item]) / (own * length)
            n += 1
    size = best(ids, scores, n, limit, tally, heap)
    for h in range(size):
        item = key_id(heap[h])
        why, strongest = -1, 0.0
        for j in range(n_seeds):
            if seeds[j] < inward.shape[0]:
                part = weight[j] * dot(inward[seeds[j]], inward[item])
                if part > strongest:
                    why, strongest = j, part
        add(item, column, key_score(heap[h]), why,
            into_items, into_score, into_seeds, into_stamp, into_row, into_head)  # fmt: skip


class Trail(Protocol):
    """What a batch's interactions follow."""

    @property
    def earlier(self) -> I4: ...
    @property
    def later(self) -> I4: ...
    @property
    def gap_s(self) -> I4: ...
    @property
    def distance(self) -> I2: ...


class Item2vec:
    """The vectors and the source. State: ``arrays``; everything underscored is scratch."""

    name = "item2vec"

    def __init__(self, rows: RowMap | None = None) -> None:
        """``rows``: scratch that may be shared with the other sources of the same engine."""
        self.inward: F4 = np.zeros((0, DIM), np.float32)
        self.outward: F4 = np.zeros((0, DIM), np.float32)
        self.ring: I4 = np.zeros(RING, np.int32)
        self.clock: I8 = np.zeros(2, np.int64)
        self._map = rows or RowMap()
        self._grad: F4 = np.zeros(DIM, np.float32)
        self._x: F4 = np.zeros(DIM, np.float32)
        self._ids: I4 = np.zeros(RING, np.int32)
        self._scores: F4 = np.zeros(RING, np.float32)
        self._tally: I4 = np.zeros(N_SIZES, np.int32)
        self._heap: I8 = np.zeros(LIMIT, np.int64)

    def fold(self, _batch: EventBatch, trail: Trail) -> None:
        """Learn from what a clean batch's interactions follow."""
        learn(
            trail.earlier, trail.later, trail.gap_s, trail.distance, self.inward, self.outward, self.ring, self.clock,
            self._grad,
        )  # fmt: skip

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose the ``n`` items, touched lately, that are most like the shopper's newest."""
        held = min(int(self.clock[ENTERED]), RING)
        n_seeds = min(interest.n_seeds, NEWEST)
        if held == 0 or n_seeds == 0:
            return
        stamp = self._map.begin(self.inward.shape[0])
        retrieve(
            interest.seeds, interest.weight, n_seeds, self.inward, self.ring, held, min(n, LIMIT),
            self._map.slots, stamp, self._x, self._ids, self._scores, self._tally, self._heap,
            column, into.items, into.score, into.seeds, into.stamp, into.row_of, into.head,
        )  # fmt: skip

    def grow(self, _n_users: int, n_items: int) -> None:
        """Make room for dense ids below these."""
        self.inward, self.outward = grown(self.inward, n_items, 0.0), grown(self.outward, n_items, 0.0)

    def arrays(self, _n_users: int, n_items: int) -> Arrays:
        """The state as views."""
        return {
            "inward": self.inward[:n_items], "outward": self.outward[:n_items], "ring": self.ring, "clock": self.clock
        }  # fmt: skip

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self.inward, self.outward = (np.array(arrays[name], np.float32) for name in ("inward", "outward"))
        self.ring, self.clock = np.array(arrays["ring"], np.int32), np.array(arrays["clock"], np.int64)
