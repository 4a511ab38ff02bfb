"""Attribution: which slate a click, a cart or a purchase came from, exactly once.

Idea: a slate that was shown stays open for ``feedback.window_h``. What the shopper does in that time is joined to it:

* By name: the event carries the ``request_id`` of the slate and the slate holds the item.
* By rule, when it carries none: the user's newest slate that holds the item and that the event's ``placement`` and
  ``position``, where given, agree with (last touch). A click, a cart or a rating counts within ``touch_min`` of the
  slate, and as long as the slate is open once the item was touched from it; a purchase or a refund counts only then.

Each deed is credited once per shown item. An event that names a slate which is not there yet (feedback overtook the
impression) waits for it. Nothing else is guessed, and everything that could not be joined is counted by reason.

Layout: two rings of records, ``slates`` (77 bytes each) and ``rows`` (16 bytes per shown item), that grow as far as
``feedback.slates`` allows and then overwrite the oldest; every user's slates are a list through ``before``, newest
first, and an open-addressing table finds a slate by the hash of its request id. The table is scratch: it is rebuilt
from the ring and is in no snapshot. A slate about to be overwritten (``MARGIN``) is closed already, so that what
``Outcomes`` points at is still there when the batch is done, whatever the batch size (law L1).

Cost: about 0.3 us per shown item, 0.1 us per event of a user without open slates, at most ``WALK`` slates looked at
for others. 269 bytes per open slate of 12 items: the default of 262,144 slates holds 71 MB when full.

When not to use it: as proof of what was shown; impressions and interactions are in the log, and a longer window or
other weights are a rebuild away.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit

from endcap.batches import (
    MAX_VARIANTS,
    SHOWN_ROW,
    SLATE,
    UNCLEAN,
    ClaimBatch,
    EventBatch,
    Outcomes,
    Records,
    SlateBatch,
)  # fmt: skip
from endcap.blocks import grown
from endcap.config import FeedbackConfig
from endcap.errors import ConfigError
from endcap.feedback.rewards import (
    CART,
    CLICK,
    CONSUME,
    DEED_OF_ACTION,
    PURCHASE,
    RATING,
    REFUND,
    reward_table,
)
from endcap.types import F4, I1, I2, I4, I8, U1, Arrays

ROWS_PER_SLATE = 12  # rows kept per slate on average; longer slates shorten the time they stay open
MARGIN, ROW_MARGIN = 4_096, 65_536  # slates of one batch at most, and rows
LEAST_SLATES = 16_384
WALK = 64  # newest slates of a user that a rule looks at
N_WAITING = 4_096
SKEW_S = 300  # an event may bear a time this much before its slate's
TOUCHED = (1 << CLICK) | (1 << CART)

COUNTS = (
    "slates",  # shown
    "by_request",  # joined by name
    "by_rule",  # joined by rule
    "again",  # the same deed on the same shown item: joined, not credited a second time
    "waiting",  # named a slate that had not arrived
    "waited",  # of these, joined when it did
    "not_on_slate",  # named a slate that does not hold the item
    "too_late",  # named a slate whose window was closed
    "moved",  # joined, though the event gave another position than the slate
)
SLATES, BY_REQUEST, BY_RULE, AGAIN, WAITING, WAITED, NOT_ON_SLATE, TOO_LATE, MOVED = range(len(COUNTS))

NEXT_SLATE, NEXT_ROW, NEXT_WAITING, IN_TABLE = range(4)  # running numbers in ``head``
WINDOW_S, TOUCH_S, MOST_SLATES = range(3)  # places in ``limits``

WAITER = np.dtype(
    [("ts", np.int64), ("item", np.int32), ("worth", np.float32), ("deed", np.int16), ("position", np.int16)]
)
OUTCOME = np.dtype(
    [("slot", np.int32), ("row", np.int32), ("place", np.int32), ("item", np.int32), ("deed", np.int8),
     ("reward", np.float32), ("ts", np.int64)]
)  # fmt: skip


@njit(cache=True, nogil=True)
def home(request: int, size: int) -> int:
    """Where the table begins to look for a request."""
    return ((request ^ (request >> 29)) ^ (request >> 47)) & (size - 1)  # the hash is well mixed already


@njit(cache=True, nogil=True)
def enter(table: I8, request: int, number: int) -> None:
    """Put a slate's running number into the table."""
    k = home(request, table.shape[0])
    while table[k] >= 0:
        k = (k + 1) & (table.shape[0] - 1)
    table[k] = number


@njit(cache=True, nogil=True)
def fill_table(table: I8, slates: Records, oldest: int, following: int) -> None:
    """Enter all open slates into an empty table."""
    table[:] = -1
    for number in range(oldest, following):
        enter(table, slates[number % slates.shape[0]].request, number)


@njit(cache=True, nogil=True)
def find_slate(table: I8, slates: Records, request: int, oldest: int) -> int:
    """Running number of the newest open slate with this request, -1 = none."""
    found = -1
    k = home(request, table.shape[0])
    while table[k] >= 0:
        number = table[k]
        if number >= oldest and number > found and slates[number % slates.shape[0]].request == request:
            found = number
        k = (k + 1) & (table.shape[0] - 1)
    return found


@njit(cache=True, nogil=True)
def find_place(slate: Any, rows: Records, item: int, next_row: int) -> int:
    """The position of an item on a slate, -1 = it is not on it or its rows make room for new ones."""
    if slate.first < next_row - (rows.shape[0] - ROW_MARGIN):
        return -1
    begin = slate.first % rows.shape[0]
    for place in range(slate.n):
        if rows[begin + place].item == item:
            return place
    return -1


@njit(cache=True, nogil=True)
def credit(
    m: int, slot: int, slate: Any, place: int, deed: int, worth: float, ts: int, rows: Records, counts: I8, out: Records
) -> int:
    """Credit a deed once; gives the number of outcomes."""
    row = slate.first % rows.shape[0] + place
    bit = 1 << deed
    if rows[row].done & bit:
        counts[AGAIN] += 1
        return m
    rows[row].done |= bit
    one = out[m]
    one.slot, one.row, one.place, one.item = slot, row, place, rows[row].item
    one.deed, one.reward, one.ts = deed, worth, ts
    return m + 1


@njit(cache=True, nogil=True)
def join(
    m: int, slot: int, slate: Any, item: int, deed: int, worth: float, ts: int, position: int, how: int,
    rows: Records, head: I8, limits: I8, counts: I8, out: Records,
) -> int:  # fmt: skip
    """Join an event to the slate that it names, or count why not."""
    place = find_place(slate, rows, item, head[NEXT_ROW])
    if place < 0:
        counts[NOT_ON_SLATE] += 1
        return m
    if not slate.ts_s - SKEW_S <= ts // 1000 <= slate.ts_s + limits[WINDOW_S]:
        counts[TOO_LATE] += 1
        return m
    counts[how] += 1
    counts[MOVED] += position >= 0 and position != place
    return credit(m, slot, slate, place, deed, worth, ts, rows, counts, out)


@njit(cache=True, nogil=True)
def attribute(
    ts: I8, user: I4, item: I4, action: I1, value: F4, hour: I1, device: I1, region: I2, flags: U1,
    has_claims: bool, claim_request: I8, claim_placement: I2, claim_position: I2,
    first: I8, n_shown: I4, request: I8, placement: I2, arm: I2, arm_propensity: F4, warmth: I1, session_events: I2,
    variants: I4, propensity: F4, rank: I2, score: F4, team: I1,
    slates: Records, rows: Records, table: I8, newest: I8, turns: I8, waiting_for: I8, waiting: Records,
    head: I8, limits: I8, worth_of: F4, counts: I8, out: Records,
) -> int:  # fmt: skip
    """Go through a batch in order; gives the number of outcomes. All rings have room."""
    m, k, shown, e = 0, 0, 0, 0
    n_slots, n_rows = slates.shape[0], rows.shape[0]
    while e < ts.shape[0]:
        if k < first.shape[0] and first[k] == e:
            n = n_shown[k]
            if flags[e] & UNCLEAN == 0:
                number, begin = head[NEXT_SLATE], head[NEXT_ROW]
                if begin % n_rows + n > n_rows:  # the rows of a slate stand next to one another
                    begin += n_rows - begin % n_rows
                slot = number % n_slots
                slate = slates[slot]
                slate.request, slate.first, slate.n = request[k], begin, n
                slate.ts_s, slate.user = ts[e] // 1000, user[e]
                slate.placement, slate.arm, slate.arm_propensity = placement[k], arm[k], arm_propensity[k]
                slate.hour, slate.device, slate.region = hour[e], device[e], region[e]
                slate.warmth, slate.session_events = warmth[k], session_events[k]
                slate.variants[:] = variants[k]
                slate.turn = turns[placement[k]]
                turns[placement[k]] += 1
                slate.before = -1
                if user[e] >= 0:
                    slate.before = newest[user[e]]
                    newest[user[e]] = number
                for place in range(n):
                    row = rows[begin % n_rows + place]
                    row.item, row.propensity, row.rank = item[e + place], propensity[shown + place], rank[shown + place]
                    row.score, row.done, row.team = score[shown + place], 0, team[shown + place]
                head[NEXT_ROW], head[NEXT_SLATE] = begin + n, number + 1
                oldest = max(0, number + 1 - (limits[MOST_SLATES] - MARGIN))
                if 2 * (head[IN_TABLE] + 1) > table.shape[0]:
                    fill_table(table, slates, oldest, number + 1)
                    head[IN_TABLE] = number + 1 - oldest
                else:
                    enter(table, request[k], number)
                    head[IN_TABLE] += 1
                counts[SLATES] += 1
                one = out[m]
                one.slot, one.row, one.place, one.item = slot, begin % n_rows, -1, -1
                one.deed, one.reward, one.ts = -1, 0.0, ts[e]
                m += 1
                for w in range(min(head[NEXT_WAITING], waiting_for.shape[0])):
                    if waiting_for[w] == request[k]:
                        waiting_for[w] = 0
                        late = waiting[w]
                        m = join(
                            m, slot, slate, late.item, late.deed, late.worth, late.ts, late.position, WAITED,
                            rows, head, limits, counts, out,
                        )  # fmt: skip
            shown += n
            k += 1
            e += n
            continue
        deed = DEED_OF_ACTION[action[e]]
        u = user[e]
        if deed < 0 or item[e] < 0 or flags[e] & UNCLEAN:
            e += 1
            continue
        worth = worth_of[deed]
        if deed in (RATING, CONSUME) and not math.isnan(value[e]):
            worth *= value[e]
        oldest = max(0, head[NEXT_SLATE] - (limits[MOST_SLATES] - MARGIN))
        where = claim_placement[e] if has_claims else -1
        position = claim_position[e] if has_claims else -1
        if has_claims and claim_request[e] != 0:
            number = find_slate(table, slates, claim_request[e], oldest)
            if number >= 0:
                m = join(
                    m, number % n_slots, slates[number % n_slots], item[e], deed, worth, ts[e], position, BY_REQUEST,
                    rows, head, limits, counts, out,
                )  # fmt: skip
            else:
                w = head[NEXT_WAITING] % waiting_for.shape[0]
                waiting_for[w] = claim_request[e]
                late = waiting[w]
                late.ts, late.item, late.worth, late.deed, late.position = ts[e], item[e], worth, deed, position
                head[NEXT_WAITING] += 1
                counts[WAITING] += 1
        elif u >= 0:
            number = newest[u]
            for _ in range(WALK):
                if number < oldest:
                    break
                slate = slates[number % n_slots]
                age_s = ts[e] // 1000 - slate.ts_s
                if age_s > limits[WINDOW_S]:
                    break
                if age_s >= -SKEW_S and (where == -1 or where == slate.placement):
                    place = find_place(slate, rows, item[e], head[NEXT_ROW])
                    if place >= 0 and (where == -1 or position < 0 or position == place):
                        touched = rows[slate.first % n_rows + place].done & TOUCHED != 0
                        if touched or (age_s <= limits[TOUCH_S] and deed != PURCHASE and deed != REFUND):
                            counts[BY_RULE] += 1
                            m = credit(m, number % n_slots, slate, place, deed, worth, ts[e], rows, counts, out)
                            break
                number = slate.before
        e += 1
    return m


class OpenSlates:
    """The slates whose window is open, and what was credited to them."""

    __slots__ = (
        "_head", "_limits", "_table", "_turns", "_waiting", "_waiting_for", "_worth", "counts", "newest", "rows",
        "slates",
    )  # fmt: skip

    def __init__(self, config: FeedbackConfig) -> None:
        """``ConfigError`` for rewards, windows or sizes that make no sense."""
        if config.slates < LEAST_SLATES:
            raise ConfigError(f"feedback.slates is {config.slates}; expected at least {LEAST_SLATES}")
        if not 0 < config.window_h <= 24 * 366 or not 0 <= config.touch_min <= config.window_h * 60:
            raise ConfigError(
                f"feedback.window_h is {config.window_h} and touch_min {config.touch_min}; expected more than 0 hours "
                "and at most a year, and a touch within the window"
            )
        self._worth: F4 = reward_table(config.rewards)
        self._limits: I8 = np.array([config.window_h * 3600, config.touch_min * 60, config.slates], np.int64)
        self.slates = np.zeros(0, SLATE)
        self.rows = np.zeros(0, SHOWN_ROW)
        self.newest: I8 = np.zeros(0, np.int64)  # by user: running number of the newest slate, -1 = none
        self.counts: I8 = np.zeros(len(COUNTS), np.int64)
        self._turns: I8 = np.zeros(0, np.int64)  # by placement label: slates so far
        self._waiting = np.zeros(N_WAITING, WAITER)
        self._waiting_for: I8 = np.zeros(N_WAITING, np.int64)  # hash of the request, 0 = nobody waits here
        self._head: I8 = np.zeros(4, np.int64)
        self._table: I8 = np.full(1024, -1, np.int64)

    @property
    def window_s(self) -> int:
        """How long a slate stays open."""
        return int(self._limits[WINDOW_S])

    def grow(self, n_users: int, _n_items: int) -> None:
        """Make room for dense user ids below ``n_users``."""
        self.newest = grown(self.newest, n_users, -1)

    def fold(self, batch: EventBatch) -> Outcomes | None:
        """Join a clean batch in order of the log; None when it has nothing to do with any slate."""
        claims, slates = batch.claims, batch.slates
        if slates is None and claims is None and (self._head[NEXT_SLATE] == 0 or not self._has_slates(batch.user)):
            return None
        said = claims or NO_CLAIMS
        shown = slates or NO_SLATES
        waiting = min(int(self._head[NEXT_WAITING]), N_WAITING) if slates is not None else 0
        self._make_room(shown)
        out = np.empty(len(batch) + waiting, OUTCOME)
        m = attribute(
            batch.ts, batch.user, batch.item, batch.action, batch.value, batch.hour, batch.device, batch.region,
            batch.flags, claims is not None, said.request, said.placement, said.position,
            shown.first, shown.n, shown.request, shown.placement, shown.arm, shown.arm_propensity, shown.warmth,
            shown.session_events, shown.variants, shown.propensity, shown.rank, shown.score, shown.team,
            self.slates, self.rows, self._table, self.newest, self._turns, self._waiting_for, self._waiting,
            self._head, self._limits, self._worth, self.counts, out,
        )  # fmt: skip
        return Outcomes(self.slates, self.rows, **{name: out[name][:m] for name in OUTCOME.names or ()})

    def _has_slates(self, user: I4) -> bool:
        if user.shape[0] == 1:
            return bool(user[0] >= 0 and self.newest[user[0]] >= 0)
        return bool((self.newest[user[user >= 0]] >= 0).any())

    def _make_room(self, shown: SlateBatch) -> None:
        """Rings that are large enough for a batch, up to the most that the settings allow."""
        if shown is NO_SLATES:
            if self.slates.shape[0] == 0:  # a kernel needs arrays that are not empty
                self._resize(1)
            return
        self._turns = grown(self._turns, int(shown.placement.max()) + 1, 0)
        needed = int(self._head[NEXT_SLATE]) + shown.n.shape[0] + MARGIN
        rows_needed = int(self._head[NEXT_ROW]) + int(shown.n.sum()) + int(shown.n.max())
        if self.slates.shape[0] < self._limits[MOST_SLATES] and (
            needed > self.slates.shape[0] or rows_needed > self.rows.shape[0]
        ):
            self._resize(max(needed, -(-rows_needed // ROWS_PER_SLATE)))

    def _resize(self, needed: int) -> None:
        """Before any ring has come round, its records stand in order, so a larger one is a copy."""
        size = LEAST_SLATES
        while size < needed:
            size *= 2
        size = min(size, int(self._limits[MOST_SLATES]))
        more, more_rows = np.zeros(size, SLATE), np.zeros(size * ROWS_PER_SLATE, SHOWN_ROW)
        more[: self.slates.shape[0]] = self.slates
        more_rows[: self.rows.shape[0]] = self.rows
        self.slates, self.rows = more, more_rows
        self._index()

    def _index(self) -> None:
        """The table of request hashes, from the ring."""
        size = 1024
        while size < 4 * self.slates.shape[0]:
            size *= 2
        self._table = np.full(size, -1, np.int64)
        following = int(self._head[NEXT_SLATE])
        if following:
            fill_table(self._table, self.slates, self.oldest(), following)
        self._head[IN_TABLE] = following - self.oldest()

    def oldest(self) -> int:
        """Running number of the oldest slate still kept; its window may be closed."""
        return max(0, int(self._head[NEXT_SLATE]) - (int(self._limits[MOST_SLATES]) - MARGIN))

    def slot_of(self, request: int) -> int:
        """Slot of the newest slate with this hash of a request id, -1 = none in memory."""
        if self.slates.shape[0] == 0:
            return -1
        number = int(find_slate(self._table, self.slates, request, self.oldest()))
        return number % self.slates.shape[0] if number >= 0 else -1

    def rows_of(self, slot: int) -> Records:
        """The slate's rows, in order of position; none when they were overwritten."""
        slate = self.slates[slot]
        if int(slate["first"]) < int(self._head[NEXT_ROW]) - (self.rows.shape[0] - ROW_MARGIN):
            return self.rows[:0]
        begin = int(slate["first"]) % self.rows.shape[0]
        return self.rows[begin : begin + int(slate["n"])]

    def merge(self, anon: int, user: int) -> None:
        """``anon`` turned out to be ``user``: one list of slates, newest first."""
        oldest = self.oldest()
        numbers = self._list(anon, oldest)
        for number in numbers:
            self.slates["user"][number % self.slates.shape[0]] = user
        merged = sorted({*numbers, *self._list(user, oldest)}, reverse=True)
        for number, before in pairwise([*merged, -1]):
            self.slates["before"][number % self.slates.shape[0]] = before
        self.newest[anon] = -1
        self.newest[user] = merged[0] if merged else -1

    def _list(self, user: int, oldest: int) -> list[int]:
        """Running numbers of a user's open slates, newest first."""
        numbers, number = [], int(self.newest[user])
        while number >= max(oldest, 0):
            numbers.append(number)
            number = int(self.slates["before"][number % self.slates.shape[0]])
        return numbers

    def tally(self) -> dict[str, int]:
        """How many events were joined, by what, and why others were not."""
        return dict(zip(COUNTS, self.counts.tolist(), strict=True))

    def arrays(self, n_users: int, _n_items: int) -> Arrays:
        """What a snapshot keeps: the used part of the rings, field by field."""
        used = min(int(self._head[NEXT_SLATE]), self.slates.shape[0])
        used_rows = min(int(self._head[NEXT_ROW]), self.rows.shape[0])
        head = self._head.copy()
        head[IN_TABLE] = 0  # says how full the scratch table is
        named = {f"slate_{name}": self.slates[name][:used] for name in SLATE.names or ()}
        named |= {f"row_{name}": self.rows[name][:used_rows] for name in SHOWN_ROW.names or ()}
        named |= {f"waiting_{name}": self._waiting[name] for name in WAITER.names or ()}
        named["waiting_for"] = self._waiting_for
        turns = np.trim_zeros(self._turns, "b")
        return named | {"newest": self.newest[:n_users], "counts": self.counts, "turns": turns, "head": head}

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        used, used_rows = arrays["slate_request"].shape[0], arrays["row_item"].shape[0]
        self._head = np.array(arrays["head"], np.int64)
        self.slates, self.rows = np.zeros(0, SLATE), np.zeros(0, SHOWN_ROW)
        if used:
            self._resize(max(used + MARGIN, -(-used_rows // ROWS_PER_SLATE)))
        for name in SLATE.names or ():
            self.slates[name][:used] = arrays[f"slate_{name}"]
        for name in SHOWN_ROW.names or ():
            self.rows[name][:used_rows] = arrays[f"row_{name}"]
        for name in WAITER.names or ():
            self._waiting[name] = arrays[f"waiting_{name}"]
        self._waiting_for = np.array(arrays["waiting_for"], np.int64)
        self.newest = np.array(arrays["newest"], np.int64)
        self.counts = np.array(arrays["counts"], np.int64)
        self._turns = np.array(arrays["turns"], np.int64)
        self._index()


NOTHING_8, NOTHING_4 = np.zeros(0, np.int64), np.zeros(0, np.float32)
NOTHING_2, NOTHING_1 = np.zeros(0, np.int16), np.zeros(0, np.int8)
NO_CLAIMS = ClaimBatch(NOTHING_8, NOTHING_2, NOTHING_2)
NO_SLATES = SlateBatch(
    first=NOTHING_8, n=np.zeros(0, np.int32), request=NOTHING_8, placement=NOTHING_2, arm=NOTHING_2,
    arm_propensity=NOTHING_4, warmth=NOTHING_1, session_events=NOTHING_2,
    variants=np.zeros((0, MAX_VARIANTS), np.int32), propensity=NOTHING_4, rank=NOTHING_2, score=NOTHING_4,
    team=NOTHING_1,
)  # fmt: skip
