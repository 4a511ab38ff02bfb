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

from endcap.batches import UNCLEAN, EventBatch
from endcap.blocks import Blocks, grown, take
from endcap.candidates import Candidates, add
from endcap.config import SessionKnnConfig
from endcap.prefetch import prefetch
from endcap.topn import LIMIT, RowMap, key_id, key_score, offer, pack
from endcap.types import ACTION_WEIGHT, F4, I1, I4, I8, U1, Arrays, Interest

LENGTH = 9  # items of one session that count
FEW = 4  # query items when no session is running: the newest of the history
STEPS = 10  # a session loses a tenth of its weight per step back to the newest shared item
LANES = 16  # 9 query items padded to a whole number of vectors
SUM = LANES - 1  # lane that holds the sum of the others
N_MASKS = 1 << LENGTH
MOST_SIMILAR = LENGTH * (LENGTH + 1) // 2
SESSION, MASK, SIMILARITY = 0, 1, 2  # columns of what the merge found
ITEM, VOTES, RANK = 0, 1, 2  # columns of the table of items voted for
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
def newest_of(item: int, n: int, start: I8, cap: I4, first: I4, pool: I4) -> int:
    """The n-th oldest entry of an item's posting list; -1 when n is 0."""
    return pool[start[item] + ((first[item] + n - 1) & (cap[item] - 1))] if n > 0 else -1


@njit(cache=True, nogil=True)
def merge_recent(
    query: I4, n_query: int, own: int, oldest: int, start: I8, length: I4, cap: I4, first: I4, pool: I4,
    heads: I4, left: I4, found: I4,
) -> int:  # fmt: skip
    """The most recent sessions that share an item with the query, newest first, as many as ``found`` holds.

    Row f of ``found`` is (session, bit mask of what it shares, similarity). ``own`` is skipped; numbers below
    ``oldest`` have been forgotten. Returns how many were found. Most sessions share one item only: while one list's
    head stays above all others it is read on without looking at them.
    """
    for j in range(n_query):
        prefetch(start, query[j])
        prefetch(first, query[j])
    for j in range(n_query):
        left[j] = length[query[j]]
        heads[j] = newest_of(query[j], left[j], start, cap, first, pool)
    n = 0
    while n < found.shape[0]:
        lead, newest, second = 0, -1, -1
        for j in range(n_query):
            head = heads[j]
            if head > newest:
                lead, newest, second = j, head, newest
            elif head > second:
                second = head
        if newest < oldest:
            break
        mask, similarity = 1 << lead, n_query - lead
        if newest == second:
            for j in range(lead + 1, n_query):
                if heads[j] == newest:
                    mask |= 1 << j
                    similarity += n_query - j
                    left[j] -= 1
                    heads[j] = newest_of(query[j], left[j], start, cap, first, pool)
        item, unread, head = query[lead], left[lead], newest
        while True:
            if head != own:
                found[n, SESSION], found[n, MASK], found[n, SIMILARITY] = head, mask, similarity
                n += 1
            unread -= 1
            head = newest_of(item, unread, start, cap, first, pool)
            if head <= second or head < oldest or n == found.shape[0]:
                break
        left[lead], heads[lead] = unread, head
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
def weigh(mask: int, n_query: int, share: I4) -> None:
    """What each query item adds to the vote of a session with this mask; the last lane holds their sum.

    Whole numbers, 10 n times the weight in the formula above: sums are then exact in any order.
    """
    newest = 0
    while not (mask >> newest) & 1:
        newest += 1
    share[:] = 0
    for j in range(newest, n_query):
        if (mask >> j) & 1:
            share[j] = (n_query - j) * (STEPS - newest)
            share[SUM] += share[j]


@njit(cache=True, nogil=True)
def gather(
    found: I4, n: int, n_query: int, max_sessions: int, rows: I4, slots: I4, count: I4,
    group_of: I4, shares: I4, raw: I4, met: I4,
) -> int:  # fmt: skip
    """The items of the nearest sessions as (item, group of equal masks); returns how many.

    Each pass does nothing but independent reads, or asks for memory that is read later, so that much is fetched at a
    time; the vote, whose steps depend on each other, then finds all in the cache.
    """
    for f in range(n):
        prefetch(rows, found[f, SESSION] % max_sessions)
    for f in range(n):
        at = found[f, SESSION] % max_sessions
        for c in range(LENGTH):
            raw[f, c] = rows[at, c]
    group_of[:] = -1
    n_groups = 0
    n_met = 0
    for f in range(n):
        mask = found[f, MASK]
        if group_of[mask] < 0:
            group_of[mask] = n_groups
            weigh(mask, n_query, shares[n_groups])
            n_groups += 1
        for c in range(LENGTH):
            met[n_met, 0], met[n_met, 1] = raw[f, c], group_of[mask]
            n_met += raw[f, c] >= 0
    for k in range(n_met):
        prefetch(slots, met[k, 0])
        prefetch(count, met[k, 0])
    return n_met


@njit(cache=True, nogil=True)
def vote(
    query: I4, n_query: int, n_context: int, met: I4, n_met: int, shares: I4, slots: I4, stamp: int, table: I4
) -> int:
    """Count votes per item into ``table`` (item, votes, rank); returns its length. Row j < n_query is query item j.

    Leaves (row, group) in ``met`` where (item, group) was.
    """
    for j in range(n_query):
        slots[query[j], 0], slots[query[j], 1] = stamp, j
        table[j, ITEM], table[j, VOTES], table[j, RANK] = query[j], 0, -1
    n_rows = n_query
    for k in range(n_met):
        item, group = met[k, 0], met[k, 1]
        if slots[item, 0] != stamp:
            slots[item, 0], slots[item, 1] = stamp, n_rows
            table[n_rows, ITEM], table[n_rows, VOTES], table[n_rows, RANK] = item, 0, -1
            n_rows += 1
        row = slots[item, 1]
        met[k, 0] = row
        # an item does not vote for itself; for rows beyond the query that lane is empty
        table[row, VOTES] += shares[group, SUM] - shares[group, min(row, SUM - 1)]
    for j in range(min(n_context, n_query)):
        table[j, VOTES] = 0
    return n_rows


@njit(cache=True, nogil=True)
def select(table: I4, n_rows: int, scale: float, counted: int, count: I4, logs: F4, limit: int, heap: I8) -> int:
    """The ``limit`` best items by votes x IDF as packed keys. Few rows pass the bound, so few counts are read."""
    everyone = math.log(counted + 1.0)
    floor = 0.0
    size = 0
    for row in range(n_rows):
        votes = table[row, VOTES] * scale
        if votes <= 0.0 or votes * everyone < floor:
            continue
        n = count[table[row, ITEM]]
        score = votes * (everyone - (logs[n] if n < logs.shape[0] else math.log(n)))
        if score >= floor:
            size = offer(heap, size, limit, pack(score, table[row, ITEM]))
            if size == limit:
                floor = key_score(heap[0])
    return size


@njit(cache=True, nogil=True)
def blame(
    heap: I8, size: int, n_query: int, met: I4, n_met: int, shares: I4, slots: I4, table: I4, by_seed: I4
) -> None:
    """Which query item gave each selected item how many votes: ``by_seed`` [size, LANES]. Uses up ``met``."""
    for h in range(size):
        table[slots[key_id(heap[h]), 1], RANK] = h
        by_seed[h, :] = 0
    n_hits = 0
    for k in range(n_met):
        rank, group = table[met[k, 0], RANK], met[k, 1]
        met[n_hits, 0], met[n_hits, 1] = rank, group
        n_hits += rank >= 0
    for hit in range(n_hits):
        for j in range(LENGTH):
            by_seed[met[hit, 0], j] += shares[met[hit, 1], j]
    for j in range(n_query):
        if table[j, RANK] >= 0:
            by_seed[table[j, RANK], j] = 0


@njit(cache=True, nogil=True)
def retrieve_sessions(
    query: I4, n_query: int, n_context: int, own: int, k: int, limit: int, max_sessions: int,
    start: I8, length: I4, cap: I4, first: I4, pool: I4, rows: I4, clock: I8, count: I4, logs: F4,
    slots: I4, stamp: int, found: I4, raw: I4, met: I4, table: I4, shares: I4, by_seed: I4, small: I4, heap: I8,
    column: int, into_items: I4, into_score: F4, into_seeds: I4, into_stamp: I4, into_row: I4, into_head: I8,
) -> None:  # fmt: skip
    """One query from seeds to candidates."""
    oldest = max(0, clock[NEWEST] - max_sessions + 1)
    n = merge_recent(query, n_query, own, oldest, start, length, cap, first, pool, small[0], small[1], found)
    n = keep_nearest(found, n, k, small[2, : MOST_SIMILAR + 1])
    n_met = gather(found, n, n_query, max_sessions, rows, slots, count, small[3], shares, raw, met)
    n_rows = vote(query, n_query, n_context, met, n_met, shares, slots, stamp, table)
    size = select(table, n_rows, 1.0 / (STEPS * n_query), clock[COUNTED], count, logs, limit, heap)
    blame(heap, size, n_query, met, n_met, shares, slots, table, by_seed)
    for h in range(size):
        seed = 0
        for j in range(1, n_query):
            if by_seed[h, j] > by_seed[h, seed]:
                seed = j
        add(key_id(heap[h]), column, key_score(heap[h]), seed,
            into_items, into_score, into_seeds, into_stamp, into_row, into_head)  # fmt: skip


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
        near = min(config.k, config.m)
        self._found: I4 = np.zeros((config.m, 3), np.int32)
        self._raw: I4 = np.zeros((near, LENGTH), np.int32)
        self._met: I4 = np.zeros((near * LENGTH + 1, 2), np.int32)
        self._table: I4 = np.zeros((near * LENGTH + LENGTH, 4), np.int32)
        self._shares: I4 = np.zeros((N_MASKS, LANES), np.int32)
        self._by_seed: I4 = np.zeros((LIMIT, LANES), np.int32)
        self._small: I4 = np.zeros((4, N_MASKS), np.int32)
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
            interest.seeds, n_query, interest.n_context, interest.session, config.k, min(n, LIMIT), config.max_sessions,
            blocks.start, blocks.length, blocks.cap, self.first, self.pool, self.rows, self.clock, self.count, LOG,
            self._map.slots, stamp, self._found, self._raw, self._met, self._table, self._shares, self._by_seed,
            self._small, self._heap,
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
