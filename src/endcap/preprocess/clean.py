"""Cleaning: sessions, and the marks on events that must not reach the statistics other shoppers see.

Nothing is thrown away. An event that a rule marks stays in the log, keeps its flag, and is left out of every shared
statistic (``UNCLEAN``); a replay with other settings judges it anew. Each rule has a name, can be switched off
(``clean.off``), and counts what it marked:

* ``repeated``: the same user, item and action again within ``repeat_window_s`` of one that counted. The last four
  counted events of a user are remembered, so a click-view pair that fires twice is caught as well.
* ``flood``: interactions of one user beyond ``flood_per_min`` in one clock minute. Lines of an order are no flood.
* ``bot``: more than ``bot_distinct_per_min`` different items viewed in one clock minute (different from the last four
  counted ones), or ``bot_views_without_pause`` views in a row, each within ``bot_pause_s`` of the event before. The
  user stays marked for 24 hours after the last such moment, then may recover.
* ``late``: arrived more than ``lateness_h`` after it happened (marked by ``BatchBuilder``). It moves no state at all.
* ``price_outlier``: a price ``price_ratio`` times above or below the item's usual one, and beyond eight robust
  deviations of it, becomes none.
* ``quantity_outlier``: a bought or carted quantity more than ``quantity_mads`` robust deviations above the usual one is
  clipped to that bound.

Usual values are running medians of the logarithm that take bounded steps towards each new value, with a running
median absolute deviation beside them (after Tierney 1983, recursive quantile estimation). A single absurd value moves
them by one step only; a real change of price wins after some dozens of events, and at once when the catalogue says so.

Sessions: a pause of more than ``session_gap_s`` starts a new one; numbers are given in order of the log. An event that
arrives out of order belongs to the running session when it is within the gap of it on either side; an older one gets
a session of its own and does not move the running one. Impressions are not activity: they carry the running session's
number, if one runs, and move nothing.

Layout: per user, four public arrays and one row of 16 uint32 (one cache line) for the rules; per item, one row of four
float32. Cost: 80 bytes per user, 16 per item, about 0.1 us per event.
"""

from __future__ import annotations

import difflib
import math

import numpy as np
from numba import njit

from endcap.batches import BOT, FLOOD, LATE, PRICE_OUTLIER, QUANTITY_OUTLIER, REPEATED, UNCLEAN, EventBatch
from endcap.blocks import grown
from endcap.config import CleanConfig
from endcap.errors import ConfigError
from endcap.types import ACTION_CODE, F4, F8, I1, I4, I8, U1, U4, Arrays

RULES = ("repeated", "flood", "bot", "late", "price_outlier", "quantity_outlier")  # rule k sets bit k of the flags

IMPRESSION, VIEW, CLICK = ACTION_CODE["impression"], ACTION_CODE["view"], ACTION_CODE["click"]
CART_ADD, PURCHASE = ACTION_CODE["cart_add"], ACTION_CODE["purchase"]

# Columns of a user's row. RECENT_*: the last four counted events, oldest overwritten first; actions are packed bytes.
MINUTE, IN_MINUTE, DISTINCT, STREAK, BOT_UNTIL, AT = 0, 1, 2, 3, 4, 5
RECENT_ITEM, RECENT_AT, RECENT_ACTIONS, RECENT_NEXT = 6, 10, 14, 15
RECENT = 4
NO_ITEM = 0xFFFFFFFF
BOT_MEMORY_S = 86_400

# Columns of an item's row: usual log price, its deviation, usual log quantity, its deviation.
PRICE, QUANTITY = 0, 2
PRICE_STEP = 0.05  # 5 % per event at most
QUANTITY_STEP = 0.1
DEVIATION_SHARE = 0.125  # the deviation moves eight times slower than the median
SIGMA = 1.4826  # a normal distribution's standard deviation per median absolute deviation
PRICE_SIGMAS = 8.0
LEAST_DEVIATION = 0.35  # of log quantity: people buy one, two or three of most things

# Places in ``limits``.
GAP, WINDOW, FLOOD_MAX, DISTINCT_MAX, STREAK_MAX, PAUSE, RATIO, MADS = range(8)


@njit(cache=True, nogil=True)
def learn(usual: F4, row: int, column: int, value: float, step: float) -> None:
    """Move a running median and its deviation one bounded step towards ``value``."""
    median = usual[row, column]
    if math.isnan(median):
        usual[row, column] = value
        return
    away = value - median
    usual[row, column] = median + min(step, max(-step, away))
    wider = abs(away) - usual[row, column + 1]
    usual[row, column + 1] += DEVIATION_SHARE * min(step, max(-step, wider))


@njit(cache=True, nogil=True)
def judge_user(row: U4, at_s: int, item: int, action: int, before_s: int, limits: F8) -> int:
    """Update a user's row by one interaction; gives the bits of the rules it breaks."""
    marks = 0
    known = False
    for k in range(RECENT):
        if item >= 0 and row[RECENT_ITEM + k] == item:
            known = True
            if (row[RECENT_ACTIONS] >> (8 * k)) & 0xFF == action and abs(at_s - np.int64(row[RECENT_AT + k])) <= limits[
                WINDOW
            ]:
                marks = REPEATED
    minute = at_s // 60
    if minute > row[MINUTE]:  # an older event counts in the running minute: going back must not reset it
        row[MINUTE] = minute
        row[IN_MINUTE] = 0
        row[DISTINCT] = 0
    if action != PURCHASE:
        row[IN_MINUTE] += 1
        if row[IN_MINUTE] > limits[FLOOD_MAX]:
            marks |= FLOOD
    if not marks & REPEATED:
        viewed = item >= 0 and action in (VIEW, CLICK)
        row[STREAK] = row[STREAK] + 1 if viewed and abs(at_s - before_s) <= limits[PAUSE] else np.uint32(viewed)
        if viewed and not known:
            row[DISTINCT] += 1
        if item >= 0:
            k = int(np.int64(row[RECENT_NEXT]))
            row[RECENT_ITEM + k] = item
            row[RECENT_AT + k] = at_s
            row[RECENT_ACTIONS] = (np.int64(row[RECENT_ACTIONS]) & ~(0xFF << (8 * k))) | (action << (8 * k))
            row[RECENT_NEXT] = (k + 1) % RECENT
        if row[DISTINCT] > limits[DISTINCT_MAX] or row[STREAK] >= limits[STREAK_MAX]:
            row[BOT_UNTIL] = max(int(np.int64(row[BOT_UNTIL])), at_s + BOT_MEMORY_S)
    if at_s < row[BOT_UNTIL]:
        marks |= BOT
    return marks


@njit(cache=True, nogil=True)
def clean(
    ts: I8, user: I4, item: I4, action: I1, quantity: F4, price: F4, session: I4, flags: U1,
    last_s: U4, running: I4, start_s: U4, events: I4, rows: U4, usual: F4, overall: F4,
    limits: F8, on: int, counts: I8,
) -> None:  # fmt: skip
    """Mark one batch in place. ``counts``: one per rule, then the number of sessions."""
    gap = np.int64(limits[GAP])
    for e in range(ts.shape[0]):
        at_s = ts[e] // 1000
        u = user[e]
        marks = flags[e] & on & LATE
        if u >= 0 and action[e] == IMPRESSION:
            if last_s[u] > 0 and start_s[u] - gap <= at_s <= last_s[u] + gap:
                session[e] = running[u]
        elif u >= 0 and not marks:
            before_s = int(np.int64(last_s[u]))
            marks = judge_user(rows[u], at_s, item[e], action[e], before_s, limits) & on
            if before_s == 0 or at_s > before_s + gap:
                running[u] = counts[len(RULES)]
                counts[len(RULES)] += 1
                start_s[u] = at_s
                last_s[u] = at_s
                events[u] = 0
            if at_s < np.int64(start_s[u]) - gap:
                session[e] = counts[len(RULES)]
                counts[len(RULES)] += 1
            else:
                session[e] = running[u]
                last_s[u] = max(np.int64(last_s[u]), at_s)
                start_s[u] = min(np.int64(start_s[u]), at_s)
                if not marks & REPEATED:
                    events[u] += 1
        marks |= judge_price(item[e], price, e, usual, limits, on, marks)
        marks |= judge_quantity(item[e], action[e], quantity, e, usual, overall, limits, on, marks)
        flags[e] = marks
        for rule in range(len(RULES)):
            counts[rule] += (marks >> rule) & 1


@njit(cache=True, nogil=True)
def judge_price(item: int, price: F4, e: int, usual: F4, limits: F8, on: int, marks: int) -> int:
    """Drop an impossible or outlying price of row ``e``; clean ones teach the item's usual price."""
    if math.isnan(price[e]):
        return 0
    if not 0.0 < price[e] < np.inf:
        price[e] = np.nan
        return 0
    if item < 0:
        return 0
    value = math.log(price[e])
    away = abs(value - usual[item, PRICE])  # NaN for the first price seen: no comparison holds
    outlier = away > limits[RATIO] and away > PRICE_SIGMAS * SIGMA * usual[item, PRICE + 1]
    if not marks & UNCLEAN:
        learn(usual, item, PRICE, value, PRICE_STEP)
    if outlier and on & PRICE_OUTLIER:
        price[e] = np.nan
        return PRICE_OUTLIER
    return 0


@njit(cache=True, nogil=True)
def judge_quantity(
    item: int, action: int, quantity: F4, e: int, usual: F4, overall: F4, limits: F8, on: int, marks: int
) -> int:
    """Clip an outlying quantity of row ``e``; an impossible one counts as 1. Clean ones teach the usual quantity."""
    if not 0.0 < quantity[e] < np.inf:
        quantity[e] = 1.0
    if item < 0 or action not in (CART_ADD, PURCHASE):
        return 0
    own = not math.isnan(usual[item, QUANTITY])
    median = usual[item, QUANTITY] if own else overall[0, 0]
    deviation = usual[item, QUANTITY + 1] if own else overall[0, 1]
    most = median + limits[MADS] * SIGMA * max(LEAST_DEVIATION, deviation)
    value = math.log(quantity[e])
    outlier = value > most and on & QUANTITY_OUTLIER
    if outlier:
        value = most
        quantity[e] = math.floor(math.exp(most))
    if not marks & UNCLEAN:
        learn(usual, item, QUANTITY, value, QUANTITY_STEP)
        learn(overall, 0, 0, value, QUANTITY_STEP)
    return QUANTITY_OUTLIER if outlier else 0


class Cleaner:
    """Session state and rule state of every user and item."""

    __slots__ = (
        "_counts", "_limits", "_on", "_overall", "_rows", "_usual",
        "last_s", "session", "session_events", "session_start_s",
    )  # fmt: skip

    def __init__(self, config: CleanConfig) -> None:
        """``ConfigError`` when ``config.off`` names a rule that does not exist."""
        self._on = rules_on(config.off)
        self._limits: F8 = np.array(
            [
                config.session_gap_s, config.repeat_window_s, config.flood_per_min, config.bot_distinct_per_min,
                config.bot_views_without_pause, config.bot_pause_s, math.log(config.price_ratio), config.quantity_mads,
            ],
            np.float64,
        )  # fmt: skip
        self.last_s: U4 = np.zeros(0, np.uint32)  # newest interaction, 0 = never
        self.session: I4 = np.full(0, -1, np.int32)  # number of the newest session
        self.session_start_s: U4 = np.zeros(0, np.uint32)
        self.session_events: I4 = np.zeros(0, np.int32)  # interactions in it, repeats not counted
        self._rows: U4 = np.zeros((0, 16), np.uint32)
        self._usual: F4 = np.zeros((0, 4), np.float32)
        self._overall: F4 = np.array([[0.0, LEAST_DEVIATION]], np.float32)
        self._counts: I8 = np.zeros(len(RULES) + 1, np.int64)

    @property
    def n_sessions(self) -> int:
        """Sessions so far; the next one gets this number."""
        return int(self._counts[len(RULES)])

    def counts(self) -> dict[str, int]:
        """How many events each rule has marked."""
        return dict(zip(RULES, self._counts[: len(RULES)].tolist(), strict=True))

    def clean(self, batch: EventBatch) -> EventBatch:
        """The same rows with session numbers and flags; prices and quantities put right. The input is left alone."""
        quantity, price, flags = batch.quantity.copy(), batch.price.copy(), batch.flags.copy()
        session = np.full(len(batch), -1, np.int32)
        clean(
            batch.ts, batch.user, batch.item, batch.action, quantity, price, session, flags,
            self.last_s, self.session, self.session_start_s, self.session_events, self._rows, self._usual,
            self._overall, self._limits, self._on, self._counts,
        )  # fmt: skip
        return EventBatch(
            batch.offset, batch.ts, batch.user, batch.item, batch.action, batch.value, quantity, price,
            batch.hour, batch.device, batch.region, session, flags, batch.claims, batch.slates,
        )  # fmt: skip

    def is_bot(self, user: int, t_s: int) -> bool:
        """Whether a user's behaviour was a machine's in the last 24 hours; False for an unknown one (-1)."""
        return user >= 0 and bool(self._on & BOT) and t_s < int(self._rows[user, BOT_UNTIL])

    def catalogue_price(self, item: int, price: float | None) -> None:
        """The shop says what ``item`` costs: from now on that is its usual price."""
        if price is not None and 0.0 < price < math.inf:
            self._usual[item, PRICE] = math.log(price)

    def merge(self, anon: int, user: int) -> None:
        """``anon`` turned out to be ``user``: whoever was active last gives the running session."""
        gap = int(self._limits[GAP])
        mine, theirs = int(self.last_s[user]), int(self.last_s[anon])
        bot_until = max(self._rows[user, BOT_UNTIL], self._rows[anon, BOT_UNTIL])
        if theirs:
            together = mine and max(mine, theirs) - min(mine, theirs) <= gap
            if together:
                self.session_start_s[user] = min(self.session_start_s[user], self.session_start_s[anon])
                self.session_events[user] += self.session_events[anon]
            elif theirs > mine:
                self.session_start_s[user] = self.session_start_s[anon]
                self.session_events[user] = self.session_events[anon]
            if theirs > mine:
                self.session[user] = self.session[anon]
                self.last_s[user] = theirs
                self._rows[user] = self._rows[anon]
            self._rows[user, BOT_UNTIL] = bot_until
        self.last_s[anon] = 0
        self.session[anon] = -1
        self.session_start_s[anon] = 0
        self.session_events[anon] = 0
        self._rows[anon] = EMPTY_ROW

    def grow(self, n_users: int, n_items: int) -> None:
        """Make room for dense ids below these."""
        self.last_s = grown(self.last_s, n_users, 0)
        self.session = grown(self.session, n_users, -1)
        self.session_start_s = grown(self.session_start_s, n_users, 0)
        self.session_events = grown(self.session_events, n_users, 0)
        old = self._rows.shape[0]
        self._rows = grown(self._rows, n_users, 0)
        self._rows[old:] = EMPTY_ROW
        old = self._usual.shape[0]
        self._usual = grown(self._usual, n_items, 0)
        self._usual[old:, (PRICE, QUANTITY)] = np.nan

    def arrays(self, n_users: int, n_items: int) -> Arrays:
        """The state as named arrays."""
        return {
            "last_s": self.last_s[:n_users],
            "session": self.session[:n_users],
            "session_start_s": self.session_start_s[:n_users],
            "session_events": self.session_events[:n_users],
            "rows": self._rows[:n_users],
            "usual": self._usual[:n_items],
            "overall": self._overall,
            "counts": self._counts,
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self.last_s = np.array(arrays["last_s"], np.uint32)
        self.session = np.array(arrays["session"], np.int32)
        self.session_start_s = np.array(arrays["session_start_s"], np.uint32)
        self.session_events = np.array(arrays["session_events"], np.int32)
        self._rows = np.array(arrays["rows"], np.uint32)
        self._usual = np.array(arrays["usual"], np.float32)
        self._overall = np.array(arrays["overall"], np.float32)
        self._counts = np.array(arrays["counts"], np.int64)


EMPTY_ROW: U4 = np.zeros(16, np.uint32)
EMPTY_ROW[RECENT_ITEM : RECENT_ITEM + RECENT] = NO_ITEM


def rules_on(off: list[str]) -> int:
    """The bits of the rules that are not switched off."""
    on = (1 << len(RULES)) - 1
    for name in off:
        if name not in RULES:
            near = difflib.get_close_matches(name, RULES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known rules: {', '.join(RULES)}"
            raise ConfigError(f"clean.off names an unknown rule {name!r}; {hint}")
        on &= ~(1 << RULES.index(name))
    return on
