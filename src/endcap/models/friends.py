"""Friends: people you may know, and groups, from who follows whom.

Idea: two people who share a neighbour may know each other, and the fewer neighbours that neighbour has, the likelier
(Adamic and Adar, "Friends and neighbors on the Web", Social Networks 25, 2003):

    score(c) = sum over z in N(me) and N(c) of 1 / ln |N(z)|,        plus FOLLOWED for those who follow me already

A node is an item: a person, a group, an artist; N is who it follows and who follows it. So people are found through
common friends as well as through a common group, and groups through the friends who joined them.

A tie is FOLLOW or WALL. ``follow`` makes a FOLLOW, ``unfollow`` takes it back; ``hide`` or ``dislike`` of a person puts
up a WALL in its place, which ``like`` or ``follow`` by the same user takes down. ``barred`` tells whom a user must not
be shown: those they walled off and those who walled them off. Walls hold whatever else is thought of the event (late,
flood, machine); such a ``follow`` is not counted.

Layout: two families of lists, newest last: ``out`` by user (items) and ``into`` by item (users), each entry an id and a
kind. At most ``MOST`` entries a list: then the oldest FOLLOW makes room, a WALL only when there are walls alone. Read
are the newest ``NEAR`` of each of one's own lists and ``FAR`` of each neighbour's.

Cost: 5 bytes per entry, twice; 16 bytes per user and item. A request meets at most 65,536 neighbours of neighbours,
~0.3 ms; 20 us where everybody has a dozen friends. When not to use it: for people without a tie (kindred.py has those).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from endcap.batches import UNCLEAN, EventBatch
from endcap.blocks import Blocks, give, grown, take
from endcap.candidates import Candidates, add
from endcap.models.persons import Persons
from endcap.topn import LIMIT, N_SIZES, RowMap, best, key_id, key_score
from endcap.types import ACTION_CODE, ACTIONS, F4, I1, I4, I8, U1, Arrays, Interest

MOST = 16_384  # ties of one list, a power of two
NEAR, FAR = 128, 128  # newest ties read of one's own lists, and of a neighbour's
FOLLOWED = 1.0  # what it counts that the other follows already: as much as a common friend with e - 1 others
GONE, FOLLOW, WALL = 0, 1, 2
ROWS = 2 * NEAR * 2 * FAR
STEP = 4_096  # entries by which the pools grow

# What an action does to a tie: nothing, follow, take back, wall off, take the wall down.
NOTHING, TIES, LOOSENS, BARS, FORGIVES = range(5)
DEEDS: U1 = np.zeros(len(ACTIONS), np.uint8)
for _action, _deed in (
    ("follow", TIES), ("unfollow", LOOSENS), ("hide", BARS), ("dislike", BARS), ("like", FORGIVES),
):  # fmt: skip
    DEEDS[ACTION_CODE[_action]] = _deed


class Ties(NamedTuple):
    """The lists of one family, as kernels take them."""

    start: I8
    length: I4
    cap: I4
    ids: I4
    kinds: U1
    tail: I8
    free: I8
    n_free: I8


# ---------------------------------------------------------------- fold


@njit(cache=True, nogil=True)
def tie(owner: int, other: int, kind: int, ties: Ties) -> bool:
    """Make ``other`` the newest of the owner's list, as ``kind``. False: the pool is full and nothing has changed."""
    n = ties.length[owner]
    at = n - 1
    while at >= 0 and ties.ids[ties.start[owner] + at] != other:
        at -= 1
    if at < 0 and n == MOST:
        at = 0
        while at < n and ties.kinds[ties.start[owner] + at] == WALL:
            at += 1
        if at == n:
            at = 0
    elif at < 0:
        if n == ties.cap[owner]:
            fresh = take(ties.start, ties.cap, owner, ties.tail, ties.free, ties.n_free, ties.ids.shape[0])
            if fresh < 0:
                return False
            old = ties.start[owner]
            for k in range(n):
                ties.ids[fresh + k], ties.kinds[fresh + k] = ties.ids[old + k], ties.kinds[old + k]
                ties.ids[old + k], ties.kinds[old + k] = 0, GONE
            ties.start[owner] = fresh
        n += 1
        ties.length[owner] = n
        at = n - 1
    base = ties.start[owner]
    for k in range(base + at, base + n - 1):
        ties.ids[k], ties.kinds[k] = ties.ids[k + 1], ties.kinds[k + 1]
    ties.ids[base + n - 1], ties.kinds[base + n - 1] = other, kind
    return True


@njit(cache=True, nogil=True)
def untie(owner: int, other: int, kind: int, ties: Ties) -> None:
    """Take ``other`` out of the owner's list if it stands there as ``kind``."""
    base, n = ties.start[owner], ties.length[owner]
    for at in range(base, base + n):
        if ties.ids[at] == other and ties.kinds[at] == kind:
            for k in range(at, base + n - 1):
                ties.ids[k], ties.kinds[k] = ties.ids[k + 1], ties.kinds[k + 1]
            ties.ids[base + n - 1], ties.kinds[base + n - 1] = 0, GONE
            ties.length[owner] = n - 1
            return


@njit(cache=True, nogil=True)
def any_deed(actions: I1, deeds: U1) -> bool:
    """Whether any of the actions does something to ties: in a shop hardly one does."""
    found = False
    for e in range(actions.shape[0]):
        found |= deeds[actions[e]] != NOTHING
    return found


@njit(cache=True, nogil=True)
def fold_ties(begin: int, users: I4, items: I4, deeds: U1, out: Ties, into: Ties) -> int:
    """Apply deeds ``begin``..; returns the index at which a pool was full, their number when done."""
    for e in range(begin, users.shape[0]):
        user, item = users[e], items[e]
        if deeds[e] == TIES or deeds[e] == BARS:
            kind = FOLLOW if deeds[e] == TIES else WALL
            if not (tie(user, item, kind, out) and tie(item, user, kind, into)):
                return e
        elif deeds[e] != NOTHING:
            kind = FOLLOW if deeds[e] == LOOSENS else WALL
            untie(user, item, kind, out)
            untie(item, user, kind, into)
    return len(users)


# ---------------------------------------------------------------- read


@njit(cache=True, nogil=True)
def around(
    item: int, user: int, most: int, out: Ties, into: Ties, item_of: I4, mark: I8, stamp: int, found: I4, first: int
) -> int:
    """Distinct neighbours of a node, which is ``item``, ``user`` or both (-1 = not), into ``found[first:]``; returns
    where they end. A wall between two of them is no tie, whoever put it up."""
    n = first
    for pick in (WALL, FOLLOW):
        if user >= 0:
            end = out.start[user] + out.length[user]
            for k in range(end - 1, max(out.start[user], end - most) - 1, -1):
                other = out.ids[k]
                if out.kinds[k] == pick and mark[other] != stamp:
                    mark[other] = stamp
                    if pick == FOLLOW:
                        found[n] = other
                        n += 1
        if item >= 0:
            end = into.start[item] + into.length[item]
            for k in range(end - 1, max(into.start[item], end - most) - 1, -1):
                other = item_of[into.ids[k]]
                if into.kinds[k] == pick and other >= 0 and mark[other] != stamp:
                    mark[other] = stamp
                    if pick == FOLLOW:
                        found[n] = other
                        n += 1
    return n


@njit(cache=True, nogil=True)
def degree(item: int, user: int, n: int, most: int, out: Ties, into: Ties) -> int:
    """Neighbours of a node of which ``n`` distinct ones were read: more where a list is longer than was read."""
    if user >= 0 and out.length[user] > most:
        n = max(n, out.length[user])
    if into.length[item] > most:
        n = max(n, into.length[item])
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def retrieve_friends(
    me: int, user: int, limit: int, out: Ties, into: Ties, user_of: I4, item_of: I4, mark: I8, clock: I8, found: I4,
    slots: I4, stamp: int, ids: I4, sums: F4, tally: I4, heap: I8,
    column: int, to_items: I4, to_score: F4, to_seeds: I4, to_stamp: I4, to_row: I4, to_head: I8,
) -> None:  # fmt: skip
    """One query from a user to candidates."""
    clock[0] += 1
    n_near = around(me, user, NEAR, out, into, item_of, mark, clock[0], found, 0)
    n_rows = 0
    for q in range(n_near):
        z = found[q]
        clock[0] += 1
        end = around(z, user_of[z], FAR, out, into, item_of, mark, clock[0], found, n_near)
        n = degree(z, user_of[z], end - n_near, FAR, out, into)
        weight = np.float32(1.0 / math.log(max(2, n)))
        for k in range(n_near, end):
            c = found[k]
            if slots[c, 0] != stamp:
                slots[c, 0], slots[c, 1] = stamp, n_rows
                ids[n_rows], sums[n_rows] = c, 0.0
                n_rows += 1
            sums[slots[c, 1]] += weight
    for q in range(n_near):
        z = found[q]
        if slots[z, 0] != stamp:
            slots[z, 0], slots[z, 1] = stamp, n_rows
            ids[n_rows], sums[n_rows] = z, 0.0
            n_rows += 1
        sums[slots[z, 1]] += np.float32(FOLLOWED)
    if me >= 0 and slots[me, 0] == stamp:
        sums[slots[me, 1]] = 0.0
    for k in range(out.start[user], out.start[user] + out.length[user]):  # known already, or walled off
        if slots[out.ids[k], 0] == stamp:
            sums[slots[out.ids[k], 1]] = 0.0
    size = best(ids, sums, n_rows, limit, tally, heap)
    for h in range(size):
        add(key_id(heap[h]), column, key_score(heap[h]), -1, to_items, to_score, to_seeds, to_stamp, to_row, to_head)


class Lists:
    """One family of lists and its pool."""

    def __init__(self) -> None:
        self.blocks = Blocks(MOST)
        self.ids: I4 = np.zeros(0, np.int32)
        self.kinds: U1 = np.zeros(0, np.uint8)

    def ties(self) -> Ties:
        """The arrays of the moment."""
        b = self.blocks
        return Ties(b.start, b.length, b.cap, self.ids, self.kinds, b.tail, b.free, b.n_free)

    def enlarge(self) -> None:
        """Room for at least one more of the largest blocks, or half as much again."""
        size = int(self.blocks.tail[0]) + max(STEP, self.ids.shape[0] // 2)
        size = max(size, int(self.blocks.tail[0]) + 2 * int(self.blocks.cap.max(initial=2)))
        self.ids, self.kinds = grown(self.ids, size, 0), grown(self.kinds, size, GONE)

    def of(self, owner: int) -> tuple[I4, U1]:
        """(ids, kinds) of an owner's list, oldest first: views."""
        if not 0 <= owner < self.blocks.start.shape[0]:
            return self.ids[:0], self.kinds[:0]
        begin = int(self.blocks.start[owner])
        end = begin + int(self.blocks.length[owner])
        return self.ids[begin:end], self.kinds[begin:end]

    def clear(self, owner: int) -> None:
        """Empty a list and give its memory back."""
        ids, kinds = self.of(owner)
        ids[:], kinds[:] = 0, GONE
        b = self.blocks
        give(b.start, b.length, b.cap, owner, b.free, b.n_free)

    def arrays(self, n_owners: int) -> Arrays:
        """The state as views."""
        tail = int(self.blocks.tail[0])
        return self.blocks.arrays(n_owners) | {"ids": self.ids[:tail], "kinds": self.kinds[:tail]}

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self.blocks.load(arrays)
        self.ids, self.kinds = np.array(arrays["ids"]), np.array(arrays["kinds"])


class Friends:
    """The graph and the source. State: ``arrays``; everything underscored is scratch."""

    name = "friends"

    def __init__(self, persons: Persons, rows: RowMap | None = None) -> None:
        """``rows``: scratch over items that may be shared with the other sources of the same engine."""
        self.persons = persons
        self.out, self.into = Lists(), Lists()
        self._map = rows or RowMap()
        self._mark: I8 = np.zeros(0, np.int64)
        self._clock: I8 = np.zeros(1, np.int64)
        self._found: I4 = np.zeros(0, np.int32)
        self._ids: I4 = np.zeros(0, np.int32)
        self._sums: F4 = np.zeros(0, np.float32)
        self._tally: I4 = np.zeros(N_SIZES, np.int32)
        self._heap: I8 = np.zeros(LIMIT, np.int64)

    def grow(self, n_users: int, n_items: int) -> None:
        """Make room for dense ids below these."""
        self.out.blocks.grow(n_users)
        self.into.blocks.grow(n_items)

    def is_empty(self) -> bool:
        """Whether nobody ever followed or walled off anybody."""
        return int(self.out.blocks.tail[0]) == 0

    # ------------------------------------------------------------ write

    def fold(self, batch: EventBatch) -> None:
        """Learn the ties among cleaned events."""
        if any_deed(batch.action, DEEDS):
            deeds = DEEDS[batch.action]
            kept = [row for row in np.flatnonzero(deeds).tolist() if self._counts(batch, row, int(deeds[row]))]
            self._apply(batch.user[kept], batch.item[kept], deeds[kept])
        if not self.is_empty():
            self.persons.catch_up()

    def _counts(self, batch: EventBatch, row: int, deed: int) -> bool:
        """Whether a deed makes or breaks a tie."""
        if batch.user[row] < 0 or batch.item[row] < 0:
            return False
        if deed == TIES:
            return not batch.flags[row] & UNCLEAN
        return deed == LOOSENS or self.persons.is_person(int(batch.item[row]))

    def _apply(self, users: I4, items: I4, deeds: U1) -> None:
        done = 0
        while (done := fold_ties(done, users, items, deeds, self.out.ties(), self.into.ties())) < users.shape[0]:
            self.out.enlarge()
            self.into.enlarge()

    def merge(self, anon: int, user: int) -> None:
        """An anonymous id turned out to be a user, whose own word on a tie counts, but for a wall."""
        ids, kinds = self.out.of(anon)
        if ids.shape[0] == 0:
            return
        items, said = ids.copy(), kinds.copy()
        own = dict(zip(*(part.tolist() for part in self.out.of(user)), strict=True))
        into = self.into.ties()
        for item, kind in zip(items.tolist(), said.tolist(), strict=True):
            untie(item, anon, kind, into)
        self.out.clear(anon)
        keep = [k for k, item in enumerate(items.tolist()) if said[k] == WALL or item not in own]
        deeds = np.where(said[keep] == WALL, BARS, TIES).astype(np.uint8)
        self._apply(np.full(len(keep), user, np.int32), items[keep], deeds)

    def forget(self, user: int) -> None:
        """Know nobody's ties to a person and none of theirs."""
        self.persons.catch_up()
        item = int(self.persons.item_of[user]) if user < self.persons.item_of.shape[0] else -1
        ours = [(int(i), int(k)) for i, k in zip(*self.out.of(user), strict=True)]
        theirs = [(int(u), int(k)) for u, k in zip(*self.into.of(item), strict=True)] if item >= 0 else []
        out, into = self.out.ties(), self.into.ties()
        for other, kind in ours:
            untie(other, user, kind, into)
        for other, kind in theirs:
            untie(other, item, kind, out)
        if ours:
            self.out.clear(user)
        if theirs:
            self.into.clear(item)

    # ------------------------------------------------------------ read

    def barred(self, user: int, user_id: str | None = None, *, known: bool = False) -> Sequence[int]:
        """Dense items that a user must not be shown: themselves, and people with a wall between, whoever put it up.

        ``user_id``: who asks, for one who did nothing so far (``user`` -1) may be walled off as well. ``known``: those
        that they follow already are barred too.
        """
        if (user < 0 and user_id is None) or self.is_empty():
            return ()
        self.persons.catch_up()
        barred: list[int] = []
        if user >= 0:
            ids, kinds = self.out.of(user)
            barred = ids.tolist() if known else ids[kinds == WALL].tolist()
        me = int(self.persons.item_of[user]) if user >= 0 else self.persons.item_named(user_id or "")
        if me >= 0:
            ids, kinds = self.into.of(me)
            barred += [int(item) for item in self.persons.item_of[ids[kinds == WALL]] if item >= 0]
            barred.append(me)
        return barred

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose the ``n`` best people, groups and others two steps away; nothing for whom nobody is known by."""
        user = interest.user
        if user < 0 or self.is_empty():
            return
        self.persons.catch_up()
        n_items = self.into.blocks.start.shape[0]
        if self._found.shape[0] == 0:
            self._found = np.zeros(2 * NEAR + 2 * FAR, np.int32)
            self._ids, self._sums = np.zeros(ROWS + 2 * NEAR, np.int32), np.zeros(ROWS + 2 * NEAR, np.float32)
        self._mark = grown(self._mark, n_items, 0)
        stamp = self._map.begin(n_items)
        retrieve_friends(
            int(self.persons.item_of[user]), user, min(n, LIMIT), self.out.ties(), self.into.ties(),
            self.persons.user_of, self.persons.item_of, self._mark, self._clock, self._found,
            self._map.slots, stamp, self._ids, self._sums, self._tally, self._heap,
            column, into.items, into.score, into.seeds, into.stamp, into.row_of, into.head,
        )  # fmt: skip

    def arrays(self, n_users: int, n_items: int) -> Arrays:
        """The state as views."""
        out, into = self.out.arrays(n_users), self.into.arrays(n_items)
        return {f"out_{k}": v for k, v in out.items()} | {f"into_{k}": v for k, v in into.items()}

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``; the dictionaries of names must have been loaded before."""
        for prefix, lists in (("out_", self.out), ("into_", self.into)):
            lists.load({key[len(prefix) :]: value for key, value in arrays.items() if key.startswith(prefix)})
        self.persons.reset()
