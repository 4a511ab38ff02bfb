"""Item-item collaborative filtering: what goes together with the shopper's own items, from live co-visitation counts.

Idea: each seed j of the interest votes for the neighbours c in its co-visitation list (Linden, Smith, York 2003). Two
views of the same counts, both faded to the query's time t and shrunk by ``SHRINK`` so that one chance pair of two rare
items is no certainty:

    cosine(j, c)      = W(j, c) / sqrt((mass(j) + SHRINK) (mass(c) + SHRINK))      Sarwar et al. 2001
    conditional(c|j)  = W(j, c) / (mass(j) + SHRINK)                               Deshpande & Karypis 2004

* ``covisit``: cosine over "touched close in time" plus conditional over "the next step".
* ``bought_together``: conditional over "looked at j, bought c" plus conditional over "bought both".

    score(c) = sum over seeds of weight(j) x (first view + second view)

For ``bought_together`` weight(j) is the interest's own. For ``covisit`` it is ``RECENCY`` to the power of the seed's
rank, the newest 1: what was done with an item says what to do with that item, its rank says what comes next (recall of
48 candidates on three shop logs: .082 to .109, .405 to .418, .350 to .412). Items that the query itself names (a
product page, a cart) dominate: the other seeds then count ``BESIDE`` of their weight. They are never proposed
themselves. A score depends on the shopper, the item and the counts, not on the other candidates (law L5).

Layout: reads ``Covisit``'s blocks (``other``, ``weight`` [4 channels], ``at_s``) and ``mass``; owns only scratch. Pairs
are first listed, which reads memory with many fetches in flight, then added up per item.

Cost: the newest 20 seeds x at most 64 neighbours, ~15 us. When not to use it: for items without any event (content
does that), or when order over several steps matters (session-kNN).
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Protocol

import numpy as np
from numba import njit

from endcap.blocks import Blocks
from endcap.candidates import Candidates, add
from endcap.prefetch import prefetch
from endcap.topn import LIMIT, N_SIZES, RowMap, best, key_id, key_score, ranked
from endcap.types import F4, I4, I8, U4, Interest

SEEDS = 20  # newest seeds that vote
RECENCY = 0.65  # weight of a seed beside the one touched right after it
SHRINK = 2.0  # events that a count must stand out from
FAINT = 0.05  # seeds weaker than this share of the strongest are not read: an old view beside a running session
AHEAD = 2  # seeds whose neighbours the memory is asked for before they are read
BESIDE = 0.2  # weight of the shopper's other seeds where the query names items
VIEW_VIEW, NEXT, TO_BUY, BUY_BUY = 0, 1, 2, 3  # channels of the co-visitation counts
STEPS = 256  # places per half-life in the table of faded values: error below 0.14 %
FADES: F4 = np.exp2(-(np.arange(STEPS * 16) + 0.5) / STEPS).astype(np.float32)
BY_RANK: F4 = np.concatenate([np.ones(SEEDS), RECENCY ** np.arange(SEEDS)]).astype(np.float32)
PACE_BITS = 32  # an age in seconds times ``pace``, shifted right by this, is a place in the table
ITEM, SEED = 0, 1  # columns of the list of pairs
RANK = 1  # of the table of items, beside ITEM: place among the selected, -1 = none
INVERSE, TOTAL = 2, 3  # of the sums, after both views' votes: 1 / sqrt(mass + SHRINK), score


class Neighbours(Protocol):
    """Co-visitation counts; see features/covisit.py."""

    blocks: Blocks
    other: I4
    weight: F4
    at_s: U4
    mass: F4
    mass_at_s: U4
    half_life_s: float


@njit(cache=True, nogil=True)
def fade(age_s: int, pace: int, fades: F4) -> float:
    """2^-(age / half-life), from the table; 1 for an age below 0."""
    return fades[np.uint64(min(max((age_s * pace) >> PACE_BITS, 0), fades.shape[0] - 1))]  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def shrunk_mass(item: int, channel: int, t_s: int, mass: F4, mass_at_s: U4, pace: int, fades: F4) -> float:
    """How often the item took part in the channel, faded to now, plus ``SHRINK``."""
    i = np.uint64(item)
    faded = fade(t_s - int(np.int64(mass_at_s[i])), pace, fades)
    return mass[i, np.uint64(channel)] * faded + np.float32(SHRINK)  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def ask_for(seed: int, start: I8, length: I4, other: I4, weight: F4, at_s: U4) -> None:
    """Let the memory bring a seed's neighbours."""
    base = start[seed]
    for k in range(0, length[seed], 4):
        prefetch(weight, base + k)
        if k % 16 == 0:
            prefetch(other, base + k)
            prefetch(at_s, base + k)


@njit(cache=True, nogil=True, error_model="numpy")
def list_pairs(
    seeds: I4, strength: F4, n_seeds: int, n_context: int, t_s: int, first: int, second: int, parts: F4, cosine: bool,
    start: I8, length: I4, other: I4, weight: F4, at_s: U4, mass: F4, mass_at_s: U4, pace: int, fades: F4,
    pairs: I4, votes: F4,
) -> int:  # fmt: skip
    """Write (neighbour, seed) to ``pairs`` and both views' votes to ``votes``; returns how many.

    With ``cosine`` the first view still lacks the neighbour's own mass. Unsigned indices, and no branch in the inner
    loop, let the compiler make vectors of it.
    """
    strongest = np.float32(0.0)
    for j in range(n_seeds):
        strongest = max(strongest, strength[j])
        prefetch(start, seeds[j])
        prefetch(mass, seeds[j])
        prefetch(mass_at_s, seeds[j])
    for j in range(min(AHEAD, n_seeds)):
        ask_for(seeds[j], start, length, other, weight, at_s)
    n = 0
    for j in range(n_seeds):
        if j + AHEAD < n_seeds:
            ask_for(seeds[j + AHEAD], start, length, other, weight, at_s)
        if strength[j] < FAINT * strongest:
            continue
        share = strength[j] * (BESIDE if j >= n_context > 0 else 1.0)
        own = shrunk_mass(seeds[j], first, t_s, mass, mass_at_s, pace, fades)
        by_first = np.float32(share * parts[0] / (math.sqrt(own) if cosine else own))
        own = shrunk_mass(seeds[j], second, t_s, mass, mass_at_s, pace, fades)
        by_second = np.float32(share * parts[1] / own)
        for k in range(length[seeds[j]]):
            at, p = np.uint64(start[seeds[j]] + k), np.uint64(n + k)
            faded = fade(t_s - int(np.int64(at_s[at])), pace, fades)
            votes[p, 0] = by_first * faded * weight[at, np.uint64(first)]
            votes[p, 1] = by_second * faded * weight[at, np.uint64(second)]
            pairs[p, ITEM], pairs[p, SEED] = other[at], j
        n += length[seeds[j]]
    return n


@njit(cache=True, nogil=True)
def add_up(
    pairs: I4, votes: F4, n: int, slots: I4, stamp: int, mass: F4, mass_at_s: U4, table: I4, sums: F4
) -> int:  # fmt: skip
    """Sum the votes per item; returns the number of items. Leaves (row, seed) in ``pairs``, without empty votes."""
    for p in range(n):  # many fetches in flight, before steps that wait for each other
        prefetch(slots, pairs[p, ITEM])
        prefetch(mass, pairs[p, ITEM])
        prefetch(mass_at_s, pairs[p, ITEM])
    n_rows = 0
    for p in range(n):
        item = np.uint64(pairs[p, ITEM])
        if slots[item, 0] != stamp:
            if votes[p, 0] + votes[p, 1] <= 0.0:
                pairs[p, ITEM] = 0
                continue
            slots[item, 0], slots[item, 1] = stamp, n_rows
            table[n_rows, ITEM], table[n_rows, RANK] = pairs[p, ITEM], -1
            sums[n_rows, 0] = 0.0
            sums[n_rows, 1] = 0.0
            n_rows += 1
        row = np.uint64(slots[item, 1])
        sums[row, 0] += votes[p, 0]
        sums[row, 1] += votes[p, 1]
        pairs[p, ITEM] = row
    return n_rows


@njit(cache=True, nogil=True)
def blame(heap: I8, size: int, pairs: I4, votes: F4, n: int, slots: I4, table: I4, sums: F4, from_seed: I4) -> None:
    """Note for each selected item the seed that gave it the largest vote."""
    for h in range(size):
        row = slots[key_id(heap[h]), 1]
        table[row, RANK] = h
        sums[row, 0] = 0.0  # from here on the largest single vote
        from_seed[h] = -1
    for p in range(n):
        row = pairs[p, ITEM]
        if table[row, RANK] >= 0:
            vote = votes[p, 0] * sums[row, INVERSE] + votes[p, 1]
            if vote > sums[row, 0]:
                sums[row, 0] = vote
                from_seed[table[row, RANK]] = pairs[p, SEED]


@njit(cache=True, nogil=True, error_model="numpy")
def best_items(
    seeds: I4, strength: F4, n_seeds: int, n_context: int, t_s: int, first: int, second: int, parts: F4, cosine: bool,
    start: I8, length: I4, other: I4, weight: F4, at_s: U4, mass: F4, mass_at_s: U4, pace: int, fades: F4,
    slots: I4, stamp: int, pairs: I4, votes: F4, table: I4, sums: F4, limit: int, tally: I4, heap: I8, from_seed: I4,
) -> int:  # fmt: skip
    """Fill ``heap`` with the packed keys of the ``limit`` best items and ``from_seed`` with the seed that gave each
    the most; returns how many."""
    n = list_pairs(
        seeds, strength, n_seeds, n_context, t_s, first, second, parts, cosine,
        start, length, other, weight, at_s, mass, mass_at_s, pace, fades, pairs, votes,
    )  # fmt: skip
    n_rows = add_up(pairs, votes, n, slots, stamp, mass, mass_at_s, table, sums)
    for row in range(n_rows):
        sums[row, INVERSE] = 1.0
        if cosine:
            own = shrunk_mass(table[row, ITEM], first, t_s, mass, mass_at_s, pace, fades)
            sums[row, INVERSE] = np.float32(1.0) / np.sqrt(own)
        sums[row, TOTAL] = sums[row, 0] * sums[row, INVERSE] + sums[row, 1]
    for j in range(min(n_context, n_seeds)):
        if slots[seeds[j], 0] == stamp:
            sums[slots[seeds[j], 1], TOTAL] = 0.0
    size = best(table[:, ITEM], sums[:, TOTAL], n_rows, limit, tally, heap)
    blame(heap, size, pairs, votes, n, slots, table, sums, from_seed)
    return size


@njit(cache=True, nogil=True)
def retrieve_items(
    seeds: I4, strength: F4, n_seeds: int, n_context: int, t_s: int, first: int, second: int, parts: F4, cosine: bool,
    start: I8, length: I4, other: I4, weight: F4, at_s: U4, mass: F4, mass_at_s: U4, pace: int, fades: F4,
    slots: I4, stamp: int, pairs: I4, votes: F4, table: I4, sums: F4, limit: int, tally: I4, heap: I8, from_seed: I4,
    column: int, into_items: I4, into_score: F4, into_seeds: I4, into_stamp: I4, into_row: I4, into_head: I8,
) -> None:  # fmt: skip
    """One query from seeds to candidates."""
    size = best_items(
        seeds, strength, n_seeds, n_context, t_s, first, second, parts, cosine,
        start, length, other, weight, at_s, mass, mass_at_s, pace, fades,
        slots, stamp, pairs, votes, table, sums, limit, tally, heap, from_seed,
    )  # fmt: skip
    for h in range(size):
        add(key_id(heap[h]), column, key_score(heap[h]), from_seed[h],
            into_items, into_score, into_seeds, into_stamp, into_row, into_head)  # fmt: skip


class ItemItem:
    """What both sources share. A subclass names two channels and says whether the first is read as a cosine."""

    name: ClassVar[str]
    first: ClassVar[int]
    second: ClassVar[int]
    cosine: ClassVar[bool]
    by_rank: ClassVar[bool]

    def __init__(self, covisit: Neighbours, rows: RowMap | None = None) -> None:
        """``rows``: scratch that may be shared with the other sources of the same engine."""
        self._covisit = covisit
        self._map = rows or RowMap()
        self._pace = round(STEPS / covisit.half_life_s * 2**PACE_BITS)
        self._parts: F4 = np.ones(2, np.float32)
        self._heap: I8 = np.zeros(LIMIT, np.int64)
        self._tally: I4 = np.zeros(N_SIZES, np.int32)
        self._from_seed: I4 = np.zeros(LIMIT, np.int32)
        n = SEEDS * covisit.blocks.max_cap + 1
        self._pairs: I4 = np.zeros((n, 2), np.int32)
        self._votes: F4 = np.zeros((n, 2), np.float32)
        self._table: I4 = np.zeros((n, 2), np.int32)
        self._sums: F4 = np.zeros((n, 4), np.float32)

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose the ``n`` items that go best with the shopper's newest seeds."""
        n_seeds = min(interest.n_seeds, SEEDS)
        if n_seeds == 0:
            return
        of = self._covisit
        stamp = self._map.begin(of.blocks.start.shape[0])
        named = min(interest.n_context, SEEDS)
        retrieve_items(
            interest.seeds, BY_RANK[SEEDS - named :] if self.by_rank else interest.weight, n_seeds,
            interest.n_context, interest.t_s,
            self.first, self.second, self._parts, self.cosine,
            of.blocks.start, of.blocks.length, of.other, of.weight, of.at_s, of.mass, of.mass_at_s, self._pace, FADES,
            self._map.slots, stamp, self._pairs, self._votes, self._table, self._sums,
            min(n, LIMIT), self._tally, self._heap, self._from_seed,
            column, into.items, into.score, into.seeds, into.stamp, into.row_of, into.head,
        )  # fmt: skip


class CovisitSource(ItemItem):
    """Viewed together, and viewed next."""

    name = "covisit"
    first, second, cosine, by_rank = VIEW_VIEW, NEXT, True, True

    def similar(self, item: int, n: int, t_s: int, view: Literal["cosine", "conditional"] = "cosine") -> tuple[I4, F4]:
        """(items, scores) of the ``n`` nearest by one view, best first: cosine for substitutes, conditional for the
        step that shoppers take next. Empty arrays for an item without neighbours."""
        of = self._covisit
        parts = np.array([view == "cosine", view == "conditional"], np.float32)
        stamp = self._map.begin(of.blocks.start.shape[0])
        size = best_items(
            np.array([item], np.int32), np.ones(1, np.float32), 1, 0, t_s,
            self.first, self.second, parts, self.cosine,
            of.blocks.start, of.blocks.length, of.other, of.weight, of.at_s, of.mass, of.mass_at_s, self._pace, FADES,
            self._map.slots, stamp, self._pairs, self._votes, self._table, self._sums,
            min(n, LIMIT), self._tally, self._heap, self._from_seed,
        )  # fmt: skip
        return ranked(self._heap, size)


class BoughtTogetherSource(ItemItem):
    """Bought after looking at the seed, and bought beside it."""

    name = "bought_together"
    first, second, cosine, by_rank = TO_BUY, BUY_BUY, False, False
