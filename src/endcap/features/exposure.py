"""Exposure: what a user was shown and did not touch.

Idea: an item shown again and again without a reaction should give way. Per user a short list of shown items holds a
count that fades with a half-life of one day; touching the item removes it. ``read`` turns the count into the fatigue
of each candidate.

Layout: ``blocks`` by user (up to 32 entries), pools ``item`` int32, ``at_s`` uint32 (when last shown), ``count``
float32 (as of ``at_s``). A full list drops the item that was not shown for longest, the first of equals. Cost: 12 bytes
per entry, 16 per user; O(32) per row.

When not to use it: as proof of what was shown. Impressions are in the log.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from endcap.batches import UNCLEAN, EventBatch
from endcap.blocks import Blocks, give, grown, take
from endcap.types import ACTION_CODE, ACTION_WEIGHT, F4, I1, I4, I8, U1, U4, Arrays

COLUMNS: tuple[str, ...] = ("fatigue",)  # impressions without a reaction, faded with a half-life of a day
N_COLUMNS = len(COLUMNS)
CAPACITY = 32
HALF_LIFE_S = 86_400.0
IMPRESSION = ACTION_CODE["impression"]
LN2 = math.log(2.0)


@njit(cache=True, nogil=True)
def faded(count: float, seconds: int) -> float:
    """A count after some time; never more than it was."""
    return count * math.exp(-LN2 * max(0, seconds) / HALF_LIFE_S)


@njit(cache=True, nogil=True)
def find(base: int, n: int, item: int, items: I4) -> int:
    """The pool place of an item in a block, -1 when absent."""
    for k in range(base, base + n):
        if items[k] == item:
            return k
    return -1


@njit(cache=True, nogil=True)
def show(
    u: int, item: int, at_s: int, more: float, start: I8, length: I4, cap: I4, tail: I8, free: I8, n_free: I8,
    items: I4, times: U4, counts: F4,
) -> None:  # fmt: skip
    """Count ``more`` impressions of an item. The pool has room for a new block."""
    k = find(start[u], length[u], item, items)
    if k >= 0:
        was_s = int(np.int64(times[k]))
        newest = max(was_s, at_s)
        counts[k] = faded(counts[k], newest - was_s) + faded(more, newest - at_s)
        times[k] = newest
        return
    n = length[u]
    if n == CAPACITY:
        k = start[u]
        for q in range(start[u] + 1, start[u] + n):
            if times[q] < times[k]:
                k = q
    else:
        if n == cap[u]:
            fresh = take(start, cap, u, tail, free, n_free, items.shape[0])
            for q in range(n):
                items[fresh + q], times[fresh + q] = items[start[u] + q], times[start[u] + q]
                counts[fresh + q] = counts[start[u] + q]
            start[u] = fresh
        k = start[u] + n
        length[u] = n + 1
    items[k], times[k], counts[k] = item, at_s, more


@njit(cache=True, nogil=True)
def fold(
    begin: int, ts: I8, user: I4, item: I4, action: I1, flags: U1,
    start: I8, length: I4, cap: I4, tail: I8, free: I8, n_free: I8, items: I4, times: U4, counts: F4,
) -> int:  # fmt: skip
    """Fold rows from ``begin`` on. Gives the row at which the pool was full, else the number of rows."""
    for e in range(begin, ts.shape[0]):
        u, i = user[e], item[e]
        if u < 0 or i < 0 or flags[e] & UNCLEAN:
            continue
        if action[e] == IMPRESSION:
            if tail[0] + CAPACITY > items.shape[0]:
                return e
            show(u, i, ts[e] // 1000, 1.0, start, length, cap, tail, free, n_free, items, times, counts)
        elif length[u] > 0 and ACTION_WEIGHT[action[e]] != 0:
            k = find(start[u], length[u], i, items)
            if k >= 0:
                length[u] -= 1
                for q in range(k, start[u] + length[u]):
                    items[q], times[q], counts[q] = items[q + 1], times[q + 1], counts[q + 1]
    return int(ts.shape[0])


@njit(cache=True, nogil=True)
def read(u: int, wanted: I4, t_s: int, start: I8, length: I4, items: I4, times: U4, counts: F4, out: F4) -> None:
    """Fatigue of each wanted item for user ``u`` at second ``t_s``."""
    for k in range(wanted.shape[0]):
        out[k, 0] = 0.0
        place = find(start[u], length[u], wanted[k], items)
        if place >= 0:
            out[k, 0] = faded(counts[place], t_s - int(np.int64(times[place])))


class Exposure:
    """Items shown to each user and not acted on."""

    __slots__ = ("at_s", "blocks", "count", "item")

    def __init__(self) -> None:
        self.blocks = Blocks(CAPACITY)
        self.item: I4 = np.zeros(1024, np.int32)
        self.at_s: U4 = np.zeros(1024, np.uint32)
        self.count: F4 = np.zeros(1024, np.float32)

    def fold(self, batch: EventBatch) -> None:
        """Learn from a clean batch: impressions add, any other sign of interest or disinterest removes."""
        at, n, blocks = 0, len(batch), self.blocks
        while True:
            at = fold(
                at, batch.ts, batch.user, batch.item, batch.action, batch.flags,
                blocks.start, blocks.length, blocks.cap, blocks.tail, blocks.free, blocks.n_free,
                self.item, self.at_s, self.count,
            )  # fmt: skip
            if at == n:
                return
            self._enlarge_pool()

    def merge(self, anon: int, user: int) -> None:
        """``anon`` turned out to be ``user``: what the one was shown, the other was shown."""
        blocks = self.blocks
        begin = int(blocks.start[anon])
        for k in range(begin, begin + int(blocks.length[anon])):
            if blocks.tail[0] + CAPACITY > self.item.shape[0]:
                self._enlarge_pool()
            show(
                user, int(self.item[k]), int(self.at_s[k]), float(self.count[k]),
                blocks.start, blocks.length, blocks.cap, blocks.tail, blocks.free, blocks.n_free,
                self.item, self.at_s, self.count,
            )  # fmt: skip
        give(blocks.start, blocks.length, blocks.cap, anon, blocks.free, blocks.n_free)

    def read(self, user: int, items: I4, t_s: int, out: F4) -> None:
        """Fill ``out`` float32 [n, 1]: how often each item was shown in vain, faded. Nobody (-1) gives zeros."""
        if user < 0:
            out[: items.shape[0]] = 0.0
        else:
            read(user, items, t_s, self.blocks.start, self.blocks.length, self.item, self.at_s, self.count, out)

    def _enlarge_pool(self) -> None:
        n = self.item.shape[0] + CAPACITY
        self.item, self.at_s, self.count = grown(self.item, n, 0), grown(self.at_s, n, 0), grown(self.count, n, 0)

    def grow(self, n_users: int, _n_items: int) -> None:
        """Make room for dense ids below these."""
        self.blocks.grow(n_users)

    def arrays(self, n_users: int, _n_items: int) -> Arrays:
        """The state as named arrays."""
        used = int(self.blocks.tail[0])
        return {
            **self.blocks.arrays(n_users),
            "item": self.item[:used],
            "at_s": self.at_s[:used],
            "count": self.count[:used],
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self.blocks.load(arrays)
        self.item = np.array(arrays["item"], np.int32)
        self.at_s = np.array(arrays["at_s"], np.uint32)
        self.count = np.array(arrays["count"], np.float32)
