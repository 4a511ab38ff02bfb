"""Session-kNN: what came next in the sessions most like this one. It folds live and is never rebuilt.

Idea: the running session's newest items (at most 9) name earlier sessions that share them; the m most recent of those
are compared, the k nearest vote for their items, rare items count more (IDF). This is VMIS-kNN, the kernel of
Serenade (Kersbergen, Sprangers, Schelter, SIGMOD 2022), a faster form of V-SKNN (Ludewig, Jannach, "Evaluation of
session-based recommendation algorithms", 2018), which holds its own against neural models.

Layout: sessions are numbered by time, so an item's posting list of session numbers is sorted by recency for free. The
lists are blocks (4 entries for a cold item, ``posting`` for a hot one; a full one is a ring whose oldest entry is
overwritten). A session keeps its last 9 distinct items, oldest first, in a row of a table indexed by its number modulo
``max_sessions``. ``count`` is the number of sessions ever per item, for IDF.

Retrieval: the m most recent candidates come from a merge of at most 9 sorted lists, newest first, with no hash map. A
candidate's similarity depends only on *which* query items it shares (a 9-bit mask), and is a whole number of at most
9 + 8 + ... + 1 = 45. So each mask is weighed once, and the k nearest are found by counting, without a heap. Ties go to
the more recent session, so replay gives identical lists. An item never votes for itself.

    similarity(s) = sum over shared items of position weight (newest = n, oldest = 1, for n query items)
    weight(s)     = similarity(s) / n x (1 - 0.1 x steps back to the newest shared item)
    score(i)      = log((sessions + 1) / sessions with i) x sum of weight(s) over the k nearest sessions that hold i

Cost: O(9 m) for the merge, O(9 k) random accesses for the votes, whatever the size of the catalogue. Memory: 36 bytes
per session, 4 to 8 per posting, 24 per item, 8 of scratch.

When not to use it: for shoppers with a long history but no session yet (user-kNN), or before a few thousand sessions.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from endcap.blocks import Blocks, grown, take
from endcap.candidates import Candidates, add
from endcap.config import SessionKnnConfig
from endcap.topn import LIMIT, RowMap, best, key_id
from endcap.types import ACTION_WEIGHT, F4, I1, I4, I8, U1, UNCLEAN, Arrays, EventBatch, Interest

LENGTH = 9  # items of one session that count
FEW = 4  # query items when no session is running: the newest of the history
STEP = 0.1  # a session loses this per step back to the newest shared item
LANES = 16  # 9 lists padded to a whole number of vectors
N_MASKS = 1 << LENGTH
SESSION, MASK, SIMILARITY = 0, 1, 2  # columns of what the merge found
NEWEST, COUNTED = 0, 1  # of ``clock``: highest session number folded, sessions that hold at least one item
ROWS, POOL = 0, 1  # what a fold ran out of
LOG: F4 = np.log(np.maximum(1, np.arange(4096))).astype(np.float32)


# ---------------------------------------------------------------- fold


@njit(cache=True, nogil=True)
def post(
    item: int, session: int, max_cap: int, start: I8, length: I4, cap: I4, first: I4, pool: I4,
    tail: I8, free: I8, n_free: I8,
) -> int:  # fmt: skip
    """Insert a session number into the item's sorted list.

    Returns 1 = inserted, 0 = already there or older than a full list, -1 = pool full and nothing changed.
    """
    n, mask, head, base = length[item], cap[item] - 1, first[item], start[item]
    place = n  # an older session that still runs may touch the item after a newer one: walk back from the end
    while place > 0 and pool[base + ((head + place - 1) & mask)] > session:
        place -= 1
    if place > 0 and pool[base + ((head + place - 1) & mask)] == session:
        return 0
    if n == cap[item] and n < max_cap:
        fresh = take(start, cap, item, tail, free, n_free, pool.shape[0])
        if fresh < 0:
            return -1
        for k in range(n):  # a list that is not full-grown never wraps
            pool[fresh + k] = pool[base + k]
        start[item], base, mask = fresh, fresh, cap[item] - 1
    elif n == max_cap:
        if place == 0:
            return 0
        head = (head + 1) & mask  # the oldest goes
        first[item] = head
        n -= 1
        place -= 1
    for k in range(n, place, -1):
        pool[base + ((head + k) & mask)] = pool[base + ((head + k - 1) & mask)]
    pool[base + ((head + place) & mask)] = session
    length[item] = n + 1
    return 1


@njit(cache=True, nogil=True)
def find(row: I4, item: int) -> int:
    """Index of the item in a session's row, LENGTH when absent. Rows fill from the left; -1 marks unused places."""
    for k in range(LENGTH):
        if row[k] == item:
            return k
    return LENGTH


@njit(cache=True, nogil=True)
def remember(row: I4, item: int, at: int) -> None:
    """Make the item the newest of its session's row; ``at`` as from ``find``. A tenth item pushes out the oldest."""
    held = 0
    while held < LENGTH and row[held] >= 0:
        held += 1
    if at == LENGTH:
        if held < LENGTH:
            row[held] = item
            return
        at = 0
    for k in range(at, held - 1):
        row[k] = row[k + 1]
    row[held - 1] = item


@njit(cache=True, nogil=True)
def advance(rows: I4, clock: I8, session: int, max_sessions: int) -> None:
    """Let ``session`` be the newest: empty the rows passed on the way, which held sessions of a lap ago."""
    begin = max(clock[NEWEST] + 1, session - max_sessions + 1)
    for number in range(begin, session + 1):
        rows[number % max_sessions, :] = -1
    clock[NEWEST] = session


@njit(cache=True, nogil=True)
def fold_sessions(
    begin: int, items: I4, actions: I1, sessions: I4, flags: U1, weights: F4, max_cap: int, max_sessions: int,
    rows: I4, clock: I8, count: I4, start: I8, length: I4, cap: I4, first: I4, pool: I4, tail: I8, free: I8, n_free: I8,
    lack: I8,
) -> int:  # fmt: skip
    """Learn events ``begin``..; returns the index it stopped at, the batch's length when done. ``lack[0]`` says why."""
    for e in range(begin, items.shape[0]):
        item, session = items[e], sessions[e]
        if item < 0 or session < 0 or flags[e] & UNCLEAN or weights[actions[e]] <= 0:
            continue
        if session <= clock[NEWEST] - max_sessions:
            continue  # it has been forgotten
        if min(session + 1, max_sessions) > rows.shape[0]:
            lack[0] = ROWS
            return e
        row = rows[session % max_sessions]
        at = LENGTH
        if session <= clock[NEWEST]:
            at = find(row, item)
        if at == LENGTH:
            posted = post(item, session, max_cap, start, length, cap, first, pool, tail, free, n_free)
            if posted < 0:
                lack[0] = POOL
                return e
            count[item] += posted
        if session > clock[NEWEST]:
            advance(rows, clock, session, max_sessions)
        if row[0] < 0:
            clock[COUNTED] += 1
        remember(row, item, at)
    return len(items)


# ---------------------------------------------------------------- retrieve


@njit(cache=True, nogil=True)
def merge_recent(
    query: I4, n_query: int, own: int, oldest: int, m: int, start: I8, length: I4, cap: I4, first: I4, pool: I4,
    heads: I4, left: I8, found: I4,
) -> int:  # fmt: skip
    """The m most recent sessions that share an item with the query, newest first.

    Row f of ``found`` is (session, bit mask of what it shares, similarity). ``own`` is skipped; numbers below
    ``oldest`` have been forgotten. Returns how many were found.
    """
    for j in range(LANES):
        heads[j] = -1
    for j in range(n_query):
        item = query[j]
        left[j] = length[item] - 1
        if left[j] >= 0:
            heads[j] = pool[start[item] + ((first[item] + left[j]) & (cap[item] - 1))]
    n = 0
    while n < m:
        newest = heads[0]
        for j in range(1, LANES):
            newest = max(newest, heads[j])
        if newest < oldest:
            break
        mask = 0
        similarity = 0
        for j in range(n_query):
            if heads[j] == newest:
                mask |= 1 << j
                similarity += n_query - j
                left[j] -= 1
                heads[j] = -1
                if left[j] >= 0:
                    item = query[j]
                    heads[j] = pool[start[item] + ((first[item] + left[j]) & (cap[item] - 1))]
        if newest != own:
            found[n, SESSION], found[n, MASK], found[n, SIMILARITY] = newest, mask, similarity
            n += 1
    return n


@njit(cache=True, nogil=True)
def keep_nearest(found: I4, n: int, k: int, tally: I4) -> int:
    """Keep the k most similar rows of ``found`` in place and in order, ties to the more recent; returns how many."""
    if n <= k:
        return n
    tally[:] = 0
    for f in range(n):
        tally[found[f, SIMILARITY]] += 1
    threshold = tally.shape[0] - 1
    while tally[threshold] < k:
        k -= tally[threshold]
        threshold -= 1
    kept = 0
    for f in range(n):
        similarity = found[f, SIMILARITY]
        if similarity > threshold or (similarity == threshold and k > 0):
            if similarity == threshold:
                k -= 1
            found[kept, SESSION], found[kept, MASK] = found[f, SESSION], found[f, MASK]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def weigh(mask: int, n_query: int, share: F4) -> None:
    """How much each query item, and in the last lane all together, add to the vote of a session with this mask."""
    newest = 0
    while not (mask >> newest) & 1:
        newest += 1
    total = np.float32(0.0)
    for j in range(LANES):
        share[j] = 0.0
    for j in range(newest, n_query):
        if (mask >> j) & 1:
            share[j] = (n_query - j) / n_query * (1.0 - STEP * newest)
            total += share[j]
    share[LANES - 1] = total


@njit(cache=True, nogil=True)
def vote(
    found: I4, n: int, n_query: int, max_sessions: int, rows: I4, slots: I4, stamp: int,
    group_of: I4, shares: F4, ids: I4, votes: F4,
) -> int:  # fmt: skip
    """Let the nearest sessions vote; fills ``ids`` and ``votes`` (one lane per query item, the last is their sum)."""
    group_of[:] = -1
    n_groups = 0
    n_rows = 0
    for f in range(n):
        mask = found[f, MASK]
        group = group_of[mask]
        if group < 0:
            group = n_groups
            group_of[mask] = group
            weigh(mask, n_query, shares[group])
            n_groups += 1
        at = found[f, SESSION] % max_sessions
        for c in range(LENGTH):
            item = rows[at, c]
            if item < 0:
                break
            if slots[item, 0] == stamp:
                row = slots[item, 1]
                for j in range(LANES):
                    votes[row, j] += shares[group, j]
            else:
                slots[item, 0], slots[item, 1] = stamp, n_rows
                ids[n_rows] = item
                for j in range(LANES):
                    votes[n_rows, j] = shares[group, j]
                n_rows += 1
    return n_rows


@njit(cache=True, nogil=True)
def rate(
    query: I4, n_query: int, n_context: int, counted: int, count: I4, logs: F4, slots: I4, stamp: int,
    ids: I4, votes: F4, n_rows: int, scores: F4,
) -> None:  # fmt: skip
    """Votes to scores: no item votes for itself, the query's own items are out, and rare items count more."""
    for j in range(n_query):
        if slots[query[j], 0] == stamp:
            row = slots[query[j], 1]
            votes[row, j] = 0.0
            total = np.float32(0.0)
            for other in range(n_query):
                total += votes[row, other]
            votes[row, LANES - 1] = total if j >= n_context else 0.0
    everyone = math.log(counted + 1.0)
    for row in range(n_rows):
        n = count[ids[row]]
        rarity = everyone - (logs[n] if n < logs.shape[0] else math.log(n))
        scores[row] = votes[row, LANES - 1] * rarity


@njit(cache=True, nogil=True)
def retrieve_sessions(
    query: I4, n_query: int, n_context: int, own: int, m: int, k: int, limit: int, max_sessions: int,
    start: I8, length: I4, cap: I4, first: I4, pool: I4, rows: I4, clock: I8, count: I4, logs: F4,
    slots: I4, stamp: int, heads: I4, left: I8, found: I4, tally: I4, group_of: I4, shares: F4,
    ids: I4, votes: F4, scores: F4, bits: I4, heap: I8,
    column: int, into_items: I4, into_score: F4, into_seeds: I4, into_stamp: I4, into_row: I4, into_head: I8,
) -> int:  # fmt: skip
    """One query from seeds to candidates; returns the number of neighbours used."""
    oldest = max(0, clock[NEWEST] - max_sessions + 1)
    n = merge_recent(query, n_query, own, oldest, m, start, length, cap, first, pool, heads, left, found)
    n = keep_nearest(found, n, k, tally)
    n_rows = vote(found, n, n_query, max_sessions, rows, slots, stamp, group_of, shares, ids, votes)
    rate(query, n_query, n_context, clock[COUNTED], count, logs, slots, stamp, ids, votes, n_rows, scores)
    size = best(ids, bits, n_rows, limit, heap)
    for h in range(size):
        item = key_id(heap[h])
        row = slots[item, 1]
        seed = 0
        for j in range(1, n_query):
            if votes[row, j] > votes[row, seed]:
                seed = j
        add(item, column, scores[row], seed, into_items, into_score, into_seeds, into_stamp, into_row, into_head)
    return n


class SessionKnn:
    """The index and the source. State: ``arrays``; everything underscored is scratch."""

    name = "session_knn"

    def __init__(self, config: SessionKnnConfig, rows: RowMap | None = None) -> None:
        """``rows``: scratch that may be shared with the other sources of the same engine."""
        self.config = config
        self.blocks = Blocks(config.posting)
        self.pool: I4 = np.zeros(4096, np.int32)
        self.first: I4 = np.zeros(0, np.int32)  # where a full-grown list begins in its block
        self.count: I4 = np.zeros(0, np.int32)
        self.rows: I4 = np.full((0, LENGTH), -1, np.int32)
        self.clock: I8 = np.array([-1, 0], np.int64)
        self._map = rows or RowMap()
        self._lack: I8 = np.zeros(1, np.int64)
        self._heads: I4 = np.zeros(LANES, np.int32)
        self._left: I8 = np.zeros(LANES, np.int64)
        self._found: I4 = np.zeros((config.m, 3), np.int32)
        self._tally: I4 = np.zeros(LENGTH * (LENGTH + 1) // 2 + 1, np.int32)
        self._group_of: I4 = np.zeros(N_MASKS, np.int32)
        self._shares: F4 = np.zeros((N_MASKS, LANES), np.float32)
        most = min(config.k, config.m) * LENGTH
        self._ids: I4 = np.zeros(most, np.int32)
        self._votes: F4 = np.zeros((most, LANES), np.float32)
        self._scores: F4 = np.zeros(most, np.float32)
        self._bits: I4 = self._scores.view(np.int32)
        self._heap: I8 = np.zeros(LIMIT, np.int64)

    def grow(self, n_users: int, n_items: int) -> None:
        """Make room for item ids below n_items."""
        self.blocks.grow(n_items)
        self.first = grown(self.first, n_items, 0)
        self.count = grown(self.count, n_items, 0)

    def fold(self, batch: EventBatch) -> None:
        """Learn from cleaned events: rows with an item, a session, a positive action weight and no unclean flag."""
        blocks, done, n = self.blocks, 0, len(batch)
        while True:
            done = fold_sessions(
                done, batch.item, batch.action, batch.session, batch.flags, ACTION_WEIGHT,
                self.config.posting, self.config.max_sessions, self.rows, self.clock, self.count,
                blocks.start, blocks.length, blocks.cap, self.first, self.pool, blocks.tail, blocks.free, blocks.n_free,
                self._lack,
            )  # fmt: skip
            if done == n:
                return
            if self._lack[0] == POOL:
                self.pool = grown(self.pool, self.pool.shape[0] + self.config.posting, 0)
            else:
                wanted = min(int(batch.session[done]) + 1, self.config.max_sessions)
                self.rows = grown(self.rows, wanted, -1)[: self.config.max_sessions]

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose the ``n`` best items of sessions like the running one (or, without one, like the newest history)."""
        n_query = min(LENGTH, interest.n_session) if interest.n_session else min(FEW, interest.n_seeds)
        if n_query == 0:
            return
        blocks, config = self.blocks, self.config
        stamp = self._map.begin(blocks.start.shape[0])
        retrieve_sessions(
            interest.seeds, n_query, interest.n_context, interest.session, config.m, config.k, min(n, LIMIT),
            config.max_sessions, blocks.start, blocks.length, blocks.cap, self.first, self.pool, self.rows, self.clock,
            self.count, LOG, self._map.slots, stamp, self._heads, self._left, self._found, self._tally,
            self._group_of, self._shares, self._ids, self._votes, self._scores, self._bits, self._heap,
            column, into.items, into.score, into.seeds, into.stamp, into.row_of, into.head,
        )  # fmt: skip

    def arrays(self, n_users: int, n_items: int) -> Arrays:
        """The state as views."""
        held = min(int(self.clock[NEWEST]) + 1, self.config.max_sessions)
        named: Arrays = {f"posting_{key}": value for key, value in self.blocks.arrays(n_items).items()}
        return named | {
            "pool": self.pool[: int(self.blocks.tail[0])],
            "first": self.first[:n_items],
            "count": self.count[:n_items],
            "rows": self.rows[:held],
            "clock": self.clock,
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        prefix = "posting_"
        self.blocks.load({key[len(prefix) :]: value for key, value in arrays.items() if key.startswith(prefix)})
        self.pool, self.first = np.array(arrays["pool"]), np.array(arrays["first"])
        self.count, self.rows = np.array(arrays["count"]), np.array(arrays["rows"])
        self.clock = np.array(arrays["clock"])
