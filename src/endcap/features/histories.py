"""Histories: the last 64 interactions of every user, and the trail a new one leaves.

Idea: everything personal starts from a short, time-ordered list per user. ``fold`` adds each clean interaction to its
user's list and, while that list is in cache, writes down which earlier items it follows: the ``Trail``. Co-visitation
and popularity fold the trail and never walk histories themselves.

What enters: rows with a user, an item, an action that says something about interest (``ACTION_WEIGHT`` not 0, negatives
too), and no ``UNCLEAN`` flag.

What is paired: a new positive interaction with the user's earlier positive ones, newest first, at most ``tail`` of
them, other items only, within ``window_h``; two purchases within ``buy_window_d``. An item the user came back to is
paired once as bought and once as not bought, at its newest occurrence: a reload is not a second vote. An interaction
that arrives late is paired with what precedes it in time, and pushes nothing out of order.

Layout: ``blocks`` by user, pools ``item`` int32, ``at_s`` uint32, ``action`` int8, sorted by time within a block, ties
in log order; a full block drops its oldest entry. Cost: 9 bytes per entry held, 24 per user; O(64) per event.

When not to use it: as an archive. The log is the archive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from endcap.batches import UNCLEAN, EventBatch
from endcap.blocks import Blocks, give, grown, take
from endcap.config import CovisitConfig
from endcap.types import ACTION_CODE, ACTION_GROUP, ACTION_WEIGHT, I1, I2, I4, I8, U1, U4, Arrays

CAPACITY = 64
PURCHASE = ACTION_CODE["purchase"]
REFUSALS = (ACTION_CODE["hide"], ACTION_CODE["dislike"])
ONCE_PER_S = 3_600  # popularity counts a shopper once per item and action group in this time
FULL_POOL, FULL_TRAIL = 1, 2  # what ran out

# The trail's columns per pair, in the order in which the kernel takes them.
PAIR_COLUMNS: dict[str, Any] = {
    "earlier": np.int32, "later": np.int32, "gap_s": np.int32, "distance": np.int16,
    "earlier_action": np.int8, "later_action": np.int8, "at_s": np.uint32,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trail:
    """What a batch's interactions follow. Views of scratch memory: valid until the next fold."""

    earlier: I4  # [p] item
    later: I4  # [p] item
    gap_s: I4  # [p] seconds between them, never negative
    distance: I2  # [p] 1 = directly before
    earlier_action: I1  # [p]
    later_action: I1  # [p]
    at_s: U4  # [p] time of the later event
    first: U1  # [rows of the batch] 1 = this shopper did not do this to this item within the last hour
    again_s: I4  # [rows] seconds since this shopper's last positive interaction with this very item, -1 = none known
    again_step: I2  # [rows] how many positive interactions ago that was, 1 = directly before, 0 = none known
    rebuy_s: I4  # [rows] of purchases: seconds since the shopper last bought this item, -1 = never or no purchase

    def __len__(self) -> int:
        return int(self.earlier.shape[0])


@njit(cache=True, nogil=True)
def put(
    at: int, u: int, item: int, at_s: int, action: int, start: I8, length: I4, items: I4, times: U4, actions: I1
) -> None:
    """Insert an entry at place ``at`` of a block that has room, or of a full one after dropping its oldest."""
    base, n = start[u], length[u]
    if n < CAPACITY:
        for k in range(base + n, base + at, -1):
            items[k], times[k], actions[k] = items[k - 1], times[k - 1], actions[k - 1]
        length[u] = n + 1
    else:
        at -= 1
        for k in range(base, base + at):
            items[k], times[k], actions[k] = items[k + 1], times[k + 1], actions[k + 1]
    items[base + at], times[base + at], actions[base + at] = item, at_s, action


@njit(cache=True, nogil=True)
def wipe(base: int, n: int, items: I4, times: U4, actions: I1) -> None:
    """Memory that no list uses holds nothing of anybody."""
    for k in range(base, base + n):
        items[k], times[k], actions[k] = 0, 0, 0


@njit(cache=True, nogil=True)
def make_room(
    u: int, start: I8, length: I4, cap: I4, items: I4, times: U4, actions: I1, tail: I8, free: I8, n_free: I8
) -> bool:
    """Give user ``u`` a block of twice the size. False: the pool is full and nothing has changed."""
    place = take(start, cap, u, tail, free, n_free, items.shape[0])
    if place < 0:
        return False
    old = start[u]
    for k in range(length[u]):
        items[place + k], times[place + k], actions[place + k] = items[old + k], times[old + k], actions[old + k]
    wipe(old, length[u], items, times, actions)
    start[u] = place
    return True


@njit(cache=True, nogil=True)
def is_first(at_s: int, item: int, group: int, base: int, n: int, items: I4, times: U4, actions: I1) -> int:
    """1 when none of the block's entries is of this item and action group and less than an hour away."""
    for k in range(base + n - 1, base - 1, -1):
        away = at_s - np.int64(times[k])
        if away >= ONCE_PER_S:
            break
        if items[k] == item and ACTION_GROUP[actions[k]] == group and away > -ONCE_PER_S:
            return 0
    return 1


@njit(cache=True, nogil=True)
def look_back(
    e: int, item: int, action: int, at_s: int, base: int, at: int, items: I4, times: U4, actions: I1,
    again_s: I4, again_step: I2, rebuy_s: I4,
) -> None:  # fmt: skip
    """Note when the shopper last touched this item, and last bought it, among the ``at`` entries before."""
    steps = 0
    for k in range(base + at - 1, base - 1, -1):
        steps += ACTION_WEIGHT[actions[k]] > 0
        if items[k] != item or ACTION_WEIGHT[actions[k]] <= 0:
            continue
        if again_step[e] == 0:
            again_s[e], again_step[e] = at_s - np.int64(times[k]), steps
            if action != PURCHASE:
                return
        if actions[k] == PURCHASE:
            rebuy_s[e] = at_s - np.int64(times[k])
            return


@njit(cache=True, nogil=True)
def pair(
    p: int, item: int, action: int, at_s: int, base: int, at: int, items: I4, times: U4, actions: I1,
    windows: I8, earlier: I4, later: I4, gap_s: I4, distance: I2, earlier_action: I1, later_action: I1, trail_s: U4,
) -> int:  # fmt: skip
    """Write the pairs of an interaction with the ``at`` entries before it, from trail place ``p`` on; gives the end."""
    bought = action == PURCHASE
    window, buy_window, most = windows[0], windows[1], p + windows[2]
    begin = p
    steps = 0
    for k in range(base + at - 1, base - 1, -1):
        gap = at_s - np.int64(times[k])
        if p >= most or (gap > window and (not bought or gap > buy_window)):
            break
        if ACTION_WEIGHT[actions[k]] <= 0:
            continue
        steps += 1
        other_bought = actions[k] == PURCHASE
        if items[k] == item or (gap > window and not other_bought):
            continue
        seen = False
        for q in range(begin, p):
            seen |= earlier[q] == items[k] and (earlier_action[q] == PURCHASE) == other_bought
        if seen:
            continue
        earlier[p], later[p], gap_s[p], distance[p] = items[k], item, gap, steps
        earlier_action[p], later_action[p], trail_s[p] = actions[k], action, at_s
        p += 1
    return p


@njit(cache=True, nogil=True)
def fold(
    begin: int, ts: I8, user: I4, item: I4, action: I1, flags: U1, first: U1, again_s: I4, again_step: I2, rebuy_s: I4,
    start: I8, length: I4, cap: I4, tail: I8, free: I8, n_free: I8,
    items: I4, times: U4, actions: I1, count: I4, windows: I8, reached: I8,
    earlier: I4, later: I4, gap_s: I4, distance: I2, earlier_action: I1, later_action: I1, trail_s: U4,
) -> int:  # fmt: skip
    """Fold rows from ``begin`` on. Gives the row it stopped at; ``reached``: end of the trail, and what was full."""
    p = reached[0]
    reached[1] = 0
    for e in range(begin, ts.shape[0]):
        code = action[e]
        weight, group = ACTION_WEIGHT[code], ACTION_GROUP[code]
        u, i = user[e], item[e]
        if i < 0 or weight == 0 or flags[e] & UNCLEAN:
            continue
        if u < 0:
            first[e] = group >= 0  # nobody to compare with
            continue
        at_s = ts[e] // 1000
        if p + windows[2] > earlier.shape[0]:
            reached[0], reached[1] = p, FULL_TRAIL
            return e
        if (
            length[u] == cap[u]
            and cap[u] < CAPACITY
            and not make_room(u, start, length, cap, items, times, actions, tail, free, n_free)
        ):
            reached[0], reached[1] = p, FULL_POOL
            return e
        base, n = start[u], length[u]
        at = n
        while at > 0 and times[base + at - 1] > at_s:
            at -= 1
        if group >= 0:
            first[e] = is_first(at_s, i, group, base, n, items, times, actions)
        if weight > 0:
            look_back(e, i, code, at_s, base, at, items, times, actions, again_s, again_step, rebuy_s)
            p = pair(
                p, i, code, at_s, base, at, items, times, actions, windows,
                earlier, later, gap_s, distance, earlier_action, later_action, trail_s,
            )  # fmt: skip
        if at > 0 or n < CAPACITY:  # else it is older than everything in a full block
            put(at, u, i, at_s, code, start, length, items, times, actions)
        count[u] += 1
    reached[0] = p
    return int(ts.shape[0])


@njit(cache=True, nogil=True)
def join(
    anon: int, user: int, start: I8, length: I4, cap: I4, tail: I8, free: I8, n_free: I8,
    items: I4, times: U4, actions: I1, count: I4,
) -> bool:  # fmt: skip
    """Move the entries of ``anon`` into the block of ``user``. False: the pool is full, nothing has moved."""
    while cap[user] < min(CAPACITY, length[anon] + length[user]):
        if not make_room(user, start, length, cap, items, times, actions, tail, free, n_free):
            return False
    for k in range(start[anon], start[anon] + length[anon]):
        at = length[user]
        while at > 0 and times[start[user] + at - 1] > times[k]:
            at -= 1
        if at > 0 or length[user] < CAPACITY:
            put(at, user, items[k], times[k], actions[k], start, length, items, times, actions)
    wipe(start[anon], length[anon], items, times, actions)
    count[user] += count[anon]
    count[anon] = 0
    give(start, length, cap, anon, free, n_free)
    return True


class Histories:
    """The newest interactions of every user."""

    __slots__ = ("_reached", "_trail", "_windows", "action", "at_s", "blocks", "count", "item")

    def __init__(self, config: CovisitConfig) -> None:
        self.blocks = Blocks(CAPACITY)
        self.item: I4 = np.zeros(1024, np.int32)
        self.at_s: U4 = np.zeros(1024, np.uint32)
        self.action: I1 = np.zeros(1024, np.int8)
        self.count: I4 = np.zeros(0, np.int32)  # interactions ever, by user
        self._windows: I8 = np.array(
            [round(config.window_h * 3_600), round(config.buy_window_d * 86_400), min(config.tail, CAPACITY)], np.int64
        )
        self._reached: I8 = np.zeros(2, np.int64)
        self._trail: list[NDArray[Any]] = [np.zeros(1024, kind) for kind in PAIR_COLUMNS.values()]

    def fold(self, batch: EventBatch) -> Trail:
        """Learn from a clean batch; gives what its interactions follow."""
        n, at = len(batch), 0
        first = np.zeros(n, np.uint8)
        again_s, again_step, rebuy_s = np.full(n, -1, np.int32), np.zeros(n, np.int16), np.full(n, -1, np.int32)
        self._reached[0] = 0
        blocks, reached = self.blocks, self._reached
        while True:
            at = fold(
                at, batch.ts, batch.user, batch.item, batch.action, batch.flags, first, again_s, again_step, rebuy_s,
                blocks.start, blocks.length, blocks.cap, blocks.tail, blocks.free, blocks.n_free,
                self.item, self.at_s, self.action, self.count, self._windows, reached, *self._trail,
            )  # fmt: skip
            if at == n:
                break
            if reached[1] == FULL_POOL:
                self._enlarge_pool()
            else:
                self._trail = [grown(column, column.shape[0] + CAPACITY, 0) for column in self._trail]
        p = int(reached[0])
        pairs = {name: column[:p] for name, column in zip(PAIR_COLUMNS, self._trail, strict=True)}
        return Trail(first=first, again_s=again_s, again_step=again_step, rebuy_s=rebuy_s, **pairs)

    def merge(self, anon: int, user: int) -> None:
        """``anon`` turned out to be ``user``: one history in order of time, the user's own first among equal times."""
        blocks = self.blocks
        while not join(
            anon, user, blocks.start, blocks.length, blocks.cap, blocks.tail, blocks.free, blocks.n_free,
            self.item, self.at_s, self.action, self.count,
        ):  # fmt: skip
            self._enlarge_pool()

    def clear(self, user: int) -> None:
        """Forget what ``user`` did, in unused memory too."""
        blocks = self.blocks
        if user < self.count.shape[0]:
            wipe(int(blocks.start[user]), int(blocks.length[user]), self.item, self.at_s, self.action)
            give(blocks.start, blocks.length, blocks.cap, user, blocks.free, blocks.n_free)
            self.count[user] = 0

    def drop(self, user: int, items: I4) -> int:
        """Forget what ``user`` (-1 = nobody) did with ``items``, in unused memory too; gives how many entries went.

        What was hidden or disliked stays so: whoever wants less of a brand does not want its items back.
        """
        if not 0 <= user < self.count.shape[0]:
            return 0
        base, n = int(self.blocks.start[user]), int(self.blocks.length[user])
        if n == 0:
            return 0
        block = slice(base, base + n)
        kept = np.isin(self.action[block], REFUSALS) | ~np.isin(self.item[block], items)
        left = int(kept.sum())
        for column in (self.item, self.at_s, self.action):
            column[base : base + left] = column[block][kept]
        wipe(base + left, n - left, self.item, self.at_s, self.action)
        self.blocks.length[user] = left
        self.count[user] -= n - left
        return n - left

    def _enlarge_pool(self) -> None:
        n = self.item.shape[0] + CAPACITY
        self.item, self.at_s, self.action = grown(self.item, n, 0), grown(self.at_s, n, 0), grown(self.action, n, 0)

    def grow(self, n_users: int, _n_items: int) -> None:
        """Make room for dense ids below these."""
        self.blocks.grow(n_users)
        self.count = grown(self.count, n_users, 0)

    def arrays(self, n_users: int, _n_items: int) -> Arrays:
        """The state as named arrays."""
        used = int(self.blocks.tail[0])
        return {
            **self.blocks.arrays(n_users),
            "item": self.item[:used],
            "at_s": self.at_s[:used],
            "action": self.action[:used],
            "count": self.count[:n_users],
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self.blocks.load(arrays)
        self.item = np.array(arrays["item"], np.int32)
        self.at_s = np.array(arrays["at_s"], np.uint32)
        self.action = np.array(arrays["action"], np.int8)
        self.count = np.array(arrays["count"], np.int32)
