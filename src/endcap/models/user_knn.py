"""User-user collaborative filtering: what shoppers with a similar history wanted.

Idea (Resnick et al. 1994; Herlocker et al. 1999): the shopper's newest items name other recent shoppers; those who
share the most telling items are neighbours; the neighbours' own newest items are the candidates.

    overlap(u)    = sum over shared seeds of strength(seed) x IDF(seed), strength = weight / (weight + 1)
    similarity(u) = overlap / sqrt(seeds x length of u's history) x shared / (shared + SHRINK)
    score(i)      = sum over the k nearest of similarity x the strongest of (action weight x recency) on i

A neighbour's seven cart additions of one item count once. Recency is 1 / (1 + age / 14 d), which costs one division.
An item is proposed only when at least two neighbours have it, so no single person's history can be read off a slate.
The shrinking term is Herlocker's significance weighting: agreement on one item says little.

Layout: per item a block of the most recent distinct users, newest last (``posting`` at most), and how often a user was
added, for IDF (a user who comes back after being pushed out counts again). Neighbours' items are read from the rings of
``Histories``. Cost: 20 seeds x 64 users, then 40 rings x ``TAIL`` entries. Memory: 4 to 8 bytes per posting, 20 per
item.

When not to use it: for shoppers without a history, or in shops where almost nobody comes back (session-kNN).
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numba import njit

from endcap.batches import UNCLEAN, EventBatch
from endcap.blocks import Blocks, grown, take
from endcap.candidates import Candidates, add
from endcap.config import UserKnnConfig
from endcap.prefetch import prefetch
from endcap.topn import LIMIT, N_SIZES, RowMap, best, key_id, key_score, ranked
from endcap.types import ACTION_WEIGHT, F4, I1, I4, I8, MAX_SEEDS, U1, U4, Arrays, Interest

FAINT = 0.05  # seeds weaker than this share of the strongest are not read
SHRINK = 2.0  # shared items at which agreement is half trusted
TAIL = 32  # newest ring entries of a neighbour that are read
RECENCY_S = 14 * 86_400.0
ANONYMITY = 2  # neighbours that must have an item
ITEM, OWNERS, LAST = 0, 1, 2  # columns of the table of items: how many neighbours have it, the last of them
TOTAL, HELD = 0, 1  # of its sums: score so far, what the last neighbour added
ID, SHARED = 0, 1  # columns of the table of users


class Rings(Protocol):
    """The last interactions of every user; see features/histories.py."""

    blocks: Blocks
    item: I4
    at_s: U4
    action: I1


# ---------------------------------------------------------------- fold


@njit(cache=True, nogil=True)
def post(
    item: int, user: int, max_cap: int, start: I8, length: I4, cap: I4, pool: I4, count: I4,
    tail: I8, free: I8, n_free: I8,
) -> bool:  # fmt: skip
    """Make the user the item's newest. False: the pool is full and nothing has changed."""
    base, n = start[item], length[item]
    at = n - 1
    while at >= 0 and pool[base + at] != user:
        at -= 1
    if at < 0:
        if n < max_cap:
            if n == cap[item]:
                fresh = take(start, cap, item, tail, free, n_free, pool.shape[0])
                if fresh < 0:
                    return False
                for k in range(n):
                    pool[fresh + k] = pool[base + k]
                start[item] = base = fresh
            length[item] = n = n + 1
            at = n - 1
        else:
            at = 0  # the oldest goes
        count[item] += 1
    for k in range(at, n - 1):
        pool[base + k] = pool[base + k + 1]
    pool[base + n - 1] = user
    return True


@njit(cache=True, nogil=True)
def fold_users(
    begin: int, users: I4, items: I4, actions: I1, flags: U1, weights: F4, max_cap: int, known: I8,
    start: I8, length: I4, cap: I4, pool: I4, count: I4, tail: I8, free: I8, n_free: I8,
) -> int:  # fmt: skip
    """Learn events ``begin``..; returns the index at which the pool was full, the batch's length when done."""
    for e in range(begin, items.shape[0]):
        if users[e] < 0 or items[e] < 0 or flags[e] & UNCLEAN or weights[actions[e]] <= 0:
            continue
        if not post(items[e], users[e], max_cap, start, length, cap, pool, count, tail, free, n_free):
            return e
        known[0] = max(known[0], users[e] + 1)
    return len(items)


@njit(cache=True, nogil=True)
def rename(
    anon: int, user: int, ring_start: int, ring_length: int, ring_item: I4, start: I8, length: I4, pool: I4
) -> None:
    """In the lists of the items of anon's ring, put the user in anon's place, or drop anon where the user stands."""
    for r in range(ring_start, ring_start + ring_length):
        item = ring_item[r]
        base, n = start[item], length[item]
        of_anon = of_user = -1
        for k in range(n):
            if pool[base + k] == anon:
                of_anon = k
            elif pool[base + k] == user:
                of_user = k
        if of_anon < 0:
            continue
        pool[base + of_anon] = user
        if of_user >= 0:  # keep the newer of the two places
            for k in range(min(of_anon, of_user), n - 1):
                pool[base + k] = pool[base + k + 1]
            length[item] = n - 1


# ---------------------------------------------------------------- read


@njit(cache=True, nogil=True, error_model="numpy")
def count_users(
    seeds: I4, weight: F4, n_seeds: int, own: int, everyone: float, start: I8, length: I4, pool: I4, count: I4,
    slots: I4, stamp: int, met: I4, users: I4, overlap: F4,
) -> int:  # fmt: skip
    """Users who share seeds into ``users`` (id, shared) and ``overlap``; returns how many."""
    strongest = np.float32(0.0)
    for j in range(n_seeds):
        strongest = max(strongest, weight[j])
        prefetch(start, seeds[j])
        prefetch(count, seeds[j])
    for j in range(n_seeds):
        for k in range(0, length[seeds[j]], 16):
            prefetch(pool, start[seeds[j]] + k)
    n = 0
    touched = 0
    for j in range(n_seeds):
        if weight[j] < FAINT * strongest:
            continue
        for k in range(length[seeds[j]]):
            user = pool[np.uint64(start[seeds[j]] + k)]
            met[np.uint64(n + k), 0], met[np.uint64(n + k), 1] = user, j
            touched ^= slots[np.uint64(user), 0]  # only to have the slot near
        n += length[seeds[j]]
    met[n, 0] = touched  # one row past the end: keeps the touching from being removed as useless
    n_users = 0
    value = np.float32(0.0)
    last = -1
    for p in range(n):
        user, j = np.uint64(met[p, 0]), met[p, 1]
        if j != last:
            last = j
            rarity = max(0.0, everyone - math.log(max(1, count[seeds[j]])))
            value = np.float32(weight[j] / (weight[j] + 1.0) * rarity)
        if slots[user, 0] != stamp:
            slots[user, 0], slots[user, 1] = stamp, n_users
            users[n_users, ID], users[n_users, SHARED] = met[p, 0], 0
            overlap[n_users] = 0.0
            n_users += 1
        row = np.uint64(slots[user, 1])
        users[row, SHARED] += 1
        overlap[row] += value
    if own >= 0 and slots[own, 0] == stamp:
        overlap[slots[own, 1]] = 0.0
    return n_users


@njit(cache=True, nogil=True, error_model="numpy")
def nearest(
    seeds: I4, weight: F4, n_seeds: int, own: int, everyone: float, k: int, start: I8, length: I4, pool: I4, count: I4,
    ring_length: I4, slots: I4, stamp: int, met: I4, users: I4, similarity: F4, tally: I4, heap: I8,
) -> int:  # fmt: skip
    """The k most similar users as packed keys in ``heap``; returns how many. Ties go to the smaller id."""
    n_users = count_users(
        seeds, weight, n_seeds, own, everyone, start, length, pool, count, slots, stamp, met, users, similarity
    )
    for row in range(n_users):
        prefetch(ring_length, users[row, ID])
    for row in range(n_users):
        shared = np.float32(users[row, SHARED])
        held = ring_length[np.uint64(users[row, ID])]
        trust = shared / (shared + np.float32(SHRINK)) if held > 0 else np.float32(0.0)
        similarity[row] *= trust / np.sqrt(np.float32(max(1, held) * n_seeds))
    return best(users[:, ID], similarity, n_users, k, tally, heap)


@njit(cache=True, nogil=True, error_model="numpy")
def list_rings(
    heap: I8, n_near: int, t_s: int, weights: F4, ring_start: I8, ring_length: I4, ring_item: I4, ring_at_s: U4,
    ring_action: I1, slots: I4, near: I8, met: I4, values: F4,
) -> int:  # fmt: skip
    """The neighbours' newest items as (item, neighbour) in ``met`` and their worth in ``values``; returns how many.

    The rings are first located, then read, so that many fetches are in flight; slots are only touched.
    """
    for h in range(n_near):
        user = np.uint64(key_id(heap[h]))
        end = ring_start[user] + ring_length[user]
        near[h, 0], near[h, 1] = max(ring_start[user], end - TAIL), end
        for k in range(near[h, 0], end, 16):
            prefetch(ring_item, k)
            prefetch(ring_at_s, k)
        prefetch(ring_action, near[h, 0])
    n = 0
    touched = 0
    for h in range(n_near):
        similarity = np.float32(key_score(heap[h]))
        for k in range(near[h, 0], near[h, 1]):
            at, p = np.uint64(k), np.uint64(n)
            age_s = np.float32(max(0, t_s - int(np.int64(ring_at_s[at]))))
            recency = np.float32(RECENCY_S) / (np.float32(RECENCY_S) + age_s)
            values[p] = similarity * weights[np.uint64(ring_action[at])] * recency
            met[p, 0], met[p, 1] = ring_item[at], h
            touched ^= slots[np.uint64(ring_item[at]), 0]
            n += values[p] > 0.0
    met[n, 0] = touched  # one row past the end: keeps the touching from being removed as useless
    return n


@njit(cache=True, nogil=True)
def add_up(met: I4, values: F4, n: int, slots: I4, stamp: int, table: I4, sums: F4) -> int:
    """Sum each neighbour's strongest value per item into ``table`` (item, owners, last owner) and ``sums``; returns
    how many items."""
    n_rows = 0
    for p in range(n):
        item, neighbour, value = np.uint64(met[p, 0]), met[p, 1], values[p]
        if slots[item, 0] != stamp:
            slots[item, 0], slots[item, 1] = stamp, n_rows
            table[n_rows, ITEM], table[n_rows, OWNERS], table[n_rows, LAST] = met[p, 0], 0, -1
            sums[n_rows, TOTAL] = 0.0
            n_rows += 1
        row = np.uint64(slots[item, 1])
        if table[row, LAST] != neighbour:
            table[row, LAST] = neighbour
            table[row, OWNERS] += 1
            sums[row, TOTAL] += value
            sums[row, HELD] = value
        elif value > sums[row, HELD]:
            sums[row, TOTAL] += value - sums[row, HELD]
            sums[row, HELD] = value
    return n_rows


@njit(cache=True, nogil=True)
def retrieve_users(
    seeds: I4, weight: F4, n_seeds: int, n_context: int, own: int, t_s: int, everyone: float, k: int, limit: int,
    start: I8, length: I4, pool: I4, count: I4, weights: F4,
    ring_start: I8, ring_length: I4, ring_item: I4, ring_at_s: U4, ring_action: I1,
    user_slots: I4, user_stamp: int, slots: I4, stamp: int, met: I4, users: I4, similarity: F4, near: I8, values: F4,
    table: I4, sums: F4, tally: I4, heap: I8,
    column: int, into_items: I4, into_score: F4, into_seeds: I4, into_stamp: I4, into_row: I4, into_head: I8,
) -> None:  # fmt: skip
    """One query from seeds to candidates."""
    n_near = nearest(
        seeds, weight, n_seeds, own, everyone, k, start, length, pool, count, ring_length,
        user_slots, user_stamp, met, users, similarity, tally, heap,
    )  # fmt: skip
    n = list_rings(
        heap, n_near, t_s, weights, ring_start, ring_length, ring_item, ring_at_s, ring_action, slots, near, met, values
    )
    n_rows = add_up(met, values, n, slots, stamp, table, sums)
    for row in range(n_rows):
        if table[row, OWNERS] < ANONYMITY:
            sums[row, TOTAL] = 0.0
    for j in range(min(n_context, n_seeds)):
        if slots[seeds[j], 0] == stamp:
            sums[slots[seeds[j], 1], TOTAL] = 0.0
    size = best(table[:, ITEM], sums[:, TOTAL], n_rows, limit, tally, heap)
    for h in range(size):
        add(key_id(heap[h]), column, key_score(heap[h]), -1,
            into_items, into_score, into_seeds, into_stamp, into_row, into_head)  # fmt: skip


@njit(cache=True, nogil=True)
def own_seeds(base: int, n: int, most: int, weights: F4, ring_item: I4, ring_action: I1, seeds: I4, weight: F4) -> int:
    """The newest distinct items with positive actions of a ring, strongest action as weight; returns how many."""
    n_seeds = 0
    for k in range(base + n - 1, base - 1, -1):
        value = weights[ring_action[k]]
        if value <= 0.0:
            continue
        at = 0
        while at < n_seeds and seeds[at] != ring_item[k]:
            at += 1
        if at == n_seeds:
            if n_seeds == most:
                break
            seeds[at], weight[at] = ring_item[k], 0.0
            n_seeds += 1
        weight[at] = max(weight[at], value)
    return n_seeds


class UserKnn:
    """The index and the source. State: ``arrays``; everything underscored is scratch."""

    name = "user_knn"

    def __init__(self, config: UserKnnConfig, histories: Rings, rows: RowMap | None = None) -> None:
        """``rows``: scratch over items that may be shared with the other sources of the same engine."""
        self.config = config
        self.blocks = Blocks(config.posting)
        self.pool: I4 = np.zeros(4096, np.int32)
        self.count: I4 = np.zeros(0, np.int32)
        self.known: I8 = np.zeros(1, np.int64)  # users so far, for IDF: the highest dense id met + 1
        self._rings = histories
        self._map = rows or RowMap()
        self._user_map = RowMap()
        self._seeds = min(config.seeds, MAX_SEEDS)
        n_near = min(config.k, LIMIT)
        n_items = n_near * TAIL + 1
        n_met = max(self._seeds * config.posting + 1, n_items)
        self._met: I4 = np.zeros((n_met, 2), np.int32)
        self._users: I4 = np.zeros((n_met, 2), np.int32)
        self._similarity: F4 = np.zeros(n_met, np.float32)
        self._near: I8 = np.zeros((n_near, 2), np.int64)
        self._values: F4 = np.zeros(n_items, np.float32)
        self._table: I4 = np.zeros((n_items, 3), np.int32)
        self._sums: F4 = np.zeros((n_items, 2), np.float32)
        self._tally: I4 = np.zeros(N_SIZES, np.int32)
        self._heap: I8 = np.zeros(LIMIT, np.int64)

    def grow(self, n_users: int, n_items: int) -> None:
        """Make room for item ids below n_items."""
        self.blocks.grow(n_items)
        self.count = grown(self.count, n_items, 0)

    def fold(self, batch: EventBatch) -> None:
        """Learn from cleaned events: rows with a user, an item, a positive action weight and no unclean flag."""
        blocks, done = self.blocks, 0
        while True:
            done = fold_users(
                done, batch.user, batch.item, batch.action, batch.flags, ACTION_WEIGHT, self.config.posting, self.known,
                blocks.start, blocks.length, blocks.cap, self.pool, self.count, blocks.tail, blocks.free, blocks.n_free,
            )  # fmt: skip
            if done == len(batch):
                return
            self.pool = grown(self.pool, self.pool.shape[0] + self.config.posting, 0)

    def merge(self, anon: int, user: int) -> None:
        """An anonymous id turned out to be a user. Call before ``Histories.merge``: anon's ring says where to look."""
        ring = self._rings.blocks
        rename(
            anon, user, int(ring.start[anon]), int(ring.length[anon]), self._rings.item,
            self.blocks.start, self.blocks.length, self.pool,
        )  # fmt: skip

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose the ``n`` best items of the ``k`` most similar shoppers; nothing when the session says enough."""
        n_seeds, enough = min(interest.n_seeds, self._seeds), self.config.session_enough
        if n_seeds == 0 or 0 < enough <= interest.n_session:
            return
        blocks, rings = self.blocks, self._rings
        user_stamp = self._user_map.begin(rings.blocks.start.shape[0])
        stamp = self._map.begin(blocks.start.shape[0])
        retrieve_users(
            interest.seeds, interest.weight, n_seeds, interest.n_context, interest.user, interest.t_s,
            math.log(self.known[0] + 1.0), min(self.config.k, LIMIT), min(n, LIMIT),
            blocks.start, blocks.length, self.pool, self.count, ACTION_WEIGHT,
            rings.blocks.start, rings.blocks.length, rings.item, rings.at_s, rings.action,
            self._user_map.slots, user_stamp, self._map.slots, stamp,
            self._met, self._users, self._similarity, self._near, self._values, self._table, self._sums,
            self._tally, self._heap,
            column, into.items, into.score, into.seeds, into.stamp, into.row_of, into.head,
        )  # fmt: skip

    def similar_users(self, user: int, n: int) -> tuple[I4, F4, I4]:
        """(users, similarities, numbers of shared items) of the ``n`` most similar users, best first."""
        blocks, rings = self.blocks, self._rings
        seeds, weight = np.zeros(self._seeds, np.int32), np.zeros(self._seeds, np.float32)
        n_seeds = own_seeds(
            int(rings.blocks.start[user]), int(rings.blocks.length[user]), self._seeds, ACTION_WEIGHT,
            rings.item, rings.action, seeds, weight,
        )  # fmt: skip
        stamp = self._user_map.begin(rings.blocks.start.shape[0])
        size = nearest(
            seeds, weight, n_seeds, user, math.log(self.known[0] + 1.0), min(n, LIMIT),
            blocks.start, blocks.length, self.pool, self.count, rings.blocks.length,
            self._user_map.slots, stamp, self._met, self._users, self._similarity, self._tally, self._heap,
        )  # fmt: skip
        users, similarity = ranked(self._heap, size)
        return users, similarity, self._users[self._user_map.slots[users, 1], SHARED]

    def arrays(self, n_users: int, n_items: int) -> Arrays:
        """The state as views."""
        named: Arrays = {f"posting_{key}": value for key, value in self.blocks.arrays(n_items).items()}
        return named | {
            "pool": self.pool[: int(self.blocks.tail[0])],
            "count": self.count[:n_items],
            "known": self.known,
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        prefix = "posting_"
        self.blocks.load({key[len(prefix) :]: value for key, value in arrays.items() if key.startswith(prefix)})
        self.pool, self.count = np.array(arrays["pool"]), np.array(arrays["count"])
        self.known = np.array(arrays["known"])
