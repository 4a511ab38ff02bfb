"""One shopper's ring, read into seeds, taste and price level: the kernels behind ``interest.py``.

Each kernel is one step: ``gather`` finds the distinct items, their weights and what was hidden, ``add_tag`` and
``keep_tags`` turn weights into shares by category and brand, ``drop_unwanted`` closes the list; ``read_interest``
runs them in order.

Layout: results are rows of two blocks, so that a call passes few arrays: ``ints`` int32 [5, MAX_SEEDS] (rows SEEDS to
BRANDS) and ``floats`` float32 [5, MAX_SEEDS] (rows WEIGHT to BRAND_LONG). ``table`` int32 [3, 2, SLOTS] holds three
small hash tables (items, categories, brands; key + 1 and place), cleared for every query.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from endcap.types import ACTION_CODE, ACTION_WEIGHT, F4, F8, I1, I4, I8, MAX_SEEDS, MAX_TAGS, U4

LN2 = math.log(2.0)
RING = 64
SLOTS = 256  # of a hash table; at most MAX_SEEDS are in use
VIEW = ACTION_CODE["view"]
PURCHASE = ACTION_CODE["purchase"]
REFUND = ACTION_CODE["refund"]
CART_ADD = ACTION_CODE["cart_add"]
CART_REMOVE = ACTION_CODE["cart_remove"]
HIDE = ACTION_CODE["hide"]
DISLIKE = ACTION_CODE["dislike"]
LIKE = ACTION_CODE["like"]
WISHLIST_ADD = ACTION_CODE["wishlist_add"]

# Rows of the blocks, of the scratch, and places of the answers.
SEEDS, AGE, HIDDEN, CATEGORIES, BRANDS = range(5)
WEIGHT, CATEGORY_SHORT, CATEGORY_LONG, BRAND_SHORT, BRAND_LONG = range(5)
TOTAL, SESSION, LONG, CATEGORY_S, CATEGORY_L, BRAND_S, BRAND_L, N_SCRATCH = range(8)
N_SEEDS, N_SESSION, N_HIDDEN, N_EVENTS, SESSION_NUMBER, SESSION_FROM, PRICE_MEAN, PRICE_SD, N_ANSWERS = range(9)

# RANK_WEIGHT[n, j]: weight of the j-th newest (0 = newest) of n events.
RANK_WEIGHT: F4 = np.ones((RING + 1, RING), np.float32)
for _n in range(2, RING + 1):
    RANK_WEIGHT[_n, :_n] = 2.0 ** (0.1 + 0.9 * (_n - 1 - np.arange(_n)) / (_n - 1)) - 1.0


@njit(cache=True, nogil=True, forceinline=True)
def slot_of(key: int, table: I4) -> int:
    """Where a key is in a hash table, or the free slot for it."""
    slot = (key * 40_503) & (SLOTS - 1)
    while table[0, slot] != 0 and table[0, slot] != key + 1:
        slot = (slot + 1) & (SLOTS - 1)
    return slot


@njit(cache=True, nogil=True, forceinline=True)
def furthest(before: int, action: int) -> int:
    """The step that stands after ``action`` follows ``before`` on one item: bought, in the cart, else the heaviest."""
    if action == PURCHASE:
        return PURCHASE
    if action == REFUND or (action == CART_REMOVE and before != PURCHASE):
        return VIEW
    if before == PURCHASE:
        return CART_ADD if action == CART_ADD else PURCHASE  # put in the cart again after buying
    if before == CART_ADD or action == CART_ADD:
        return CART_ADD
    return action if ACTION_WEIGHT[action] > ACTION_WEIGHT[before] else before


@njit(cache=True, nogil=True, forceinline=True)
def gather(
    newest: int, n: int, t_s: int, session_from: int, half_life_s: float, long_half_life_s: float, floor: float,
    n_context: int, item: I4, at_s: U4, action: I1, rank_weight: F4, ints: I4, scratch: F8, table: I4, answers: F8,
) -> None:  # fmt: skip
    """The distinct items of n entries ending at ``newest``, newest first, behind the context's seeds."""
    n_seeds = n_context
    n_session = n_context
    for j in range(n):
        entry = newest - j
        what = item[entry]
        slot = slot_of(what, table)
        at = np.int64(at_s[entry])
        age = t_s - at
        seed = table[1, slot]
        if table[0, slot] == 0:
            if n_seeds == MAX_SEEDS:
                continue
            seed = n_seeds
            n_seeds += 1
            table[0, slot] = what + 1
            table[1, slot] = seed
            ints[SEEDS, seed] = what
            ints[AGE, seed] = age
            scratch[TOTAL, seed] = scratch[SESSION, seed] = scratch[LONG, seed] = 0.0
            if at >= session_from:
                n_session = n_seeds
        base = float(ACTION_WEIGHT[action[entry]])
        value = base * rank_weight[n, j] * max(floor, math.exp(-LN2 * age / half_life_s))
        scratch[TOTAL, seed] += value
        scratch[LONG, seed] += base * math.exp(-LN2 * age / long_half_life_s)
        if at >= session_from:
            scratch[SESSION, seed] += value
    answers[N_SEEDS] = n_seeds
    answers[N_SESSION] = n_session


@njit(cache=True, nogil=True, forceinline=True)
def take_steps(start: int, n: int, item: I4, action: I1, step: I1, ints: I4, table: I4, answers: F8) -> None:
    """The furthest standing step of each seed, and the items hidden and not wished for since; oldest event first."""
    for k in range(int(answers[N_SEEDS])):
        step[k] = VIEW
    n_hidden = 0
    for entry in range(start, start + n):
        act = int(action[entry])
        if act == VIEW:
            continue
        what = item[entry]
        slot = slot_of(what, table)
        if table[0, slot] != 0:
            step[table[1, slot]] = furthest(step[table[1, slot]], act)
        place = 0
        while place < n_hidden and ints[HIDDEN, place] != what:
            place += 1
        if act in (HIDE, DISLIKE) and place == n_hidden:
            ints[HIDDEN, n_hidden] = what
            n_hidden += 1
        elif act in (LIKE, WISHLIST_ADD, CART_ADD, PURCHASE) and place < n_hidden:
            n_hidden -= 1
            ints[HIDDEN, place] = ints[HIDDEN, n_hidden]
    answers[N_HIDDEN] = n_hidden


@njit(cache=True, nogil=True, forceinline=True)
def add_tag(tag: int, short: float, long: float, n: int, tags: I4, shorts: F8, longs: F8, table: I4) -> int:
    """Add to one category or brand in the running list of n; gives the new n."""
    slot = slot_of(tag, table)
    if table[0, slot] == 0:
        table[0, slot] = tag + 1
        table[1, slot] = n
        tags[n] = tag
        shorts[n] = short
        longs[n] = long
        return n + 1
    shorts[table[1, slot]] += short
    longs[table[1, slot]] += long
    return n


@njit(cache=True, nogil=True)
def keep_tags(n: int, tags: I4, shorts: F8, longs: F8, out: I4, out_short: F4, out_long: F4, order: I4) -> None:
    """The MAX_TAGS strongest, strongest first (ties: smaller id), as shares of the positive weight."""
    whole_short = whole_long = 0.0
    for k in range(n):
        whole_short += max(shorts[k], 0.0)
        whole_long += max(longs[k], 0.0)
    kept = 0
    for k in range(n):
        shorts[k] = max(shorts[k], 0.0) / whole_short if whole_short > 0.0 else 0.0
        longs[k] = max(longs[k], 0.0) / whole_long if whole_long > 0.0 else 0.0
        worth = shorts[k] + longs[k]
        if worth <= 0.0:
            continue
        place = kept
        while place > 0:
            other = order[place - 1]
            held = shorts[other] + longs[other]
            if worth < held or (worth == held and tags[k] > tags[other]):
                break
            if place < MAX_TAGS:
                order[place] = other
            place -= 1
        if place < MAX_TAGS:
            order[place] = k
            kept = min(kept + 1, MAX_TAGS)
    for place in range(MAX_TAGS):
        out[place] = tags[order[place]] if place < kept else -1
        out_short[place] = shorts[order[place]] if place < kept else 0.0
        out_long[place] = longs[order[place]] if place < kept else 0.0


@njit(cache=True, nogil=True, forceinline=True)
def drop_unwanted(n_context: int, ints: I4, floats: F4, step: I1, scratch: F8, answers: F8) -> None:
    """Leave out the seeds that the shopper took all interest back from, keeping the order. The query's own stay."""
    kept = kept_session = 0
    for k in range(int(answers[N_SEEDS])):
        total = scratch[TOTAL, k]
        if k >= n_context and total <= 0.0:
            continue
        ints[SEEDS, kept] = ints[SEEDS, k]
        ints[AGE, kept] = ints[AGE, k]
        step[kept] = step[k]
        floats[WEIGHT, kept] = max(total, 1.0) if k < n_context else total
        kept += 1
        if k < answers[N_SESSION]:
            kept_session = kept
    answers[N_SEEDS] = kept
    answers[N_SESSION] = kept_session


@njit(cache=True, nogil=True, forceinline=True)
def session_start(
    user: int, newest: int, start: int, t_s: int, gap_s: int, at_s: U4, last_s: U4, session: I4, session_start_s: U4,
    answers: F8,
) -> int:  # fmt: skip
    """Start of the session that runs at ``t_s``, epoch s; later than ``t_s`` when none does.

    When the session state is of a later moment (law L9), the session is the run of entries without a long pause.
    """
    answers[SESSION_NUMBER] = -1
    if user >= last_s.shape[0] or last_s[user] == 0:
        return t_s + 1
    if last_s[user] <= t_s:
        if t_s - int(last_s[user]) > gap_s:
            return t_s + 1
        answers[SESSION_NUMBER] = session[user]
        return int(session_start_s[user])
    since, previous = t_s + 1, t_s
    for entry in range(newest, start - 1, -1):
        if previous - int(at_s[entry]) > gap_s:
            break
        since = previous = int(at_s[entry])
    return since


@njit(cache=True, nogil=True)
def read_interest(
    user: int, t_s: int, gap_s: int, half_life_s: float, long_half_life_s: float, floor: float, n_context: int,
    starts: I8, lengths: I4, ever: I4, last_s: U4, session: I4, session_start_s: U4,
    item: I4, at_s: U4, action: I1, rank_weight: F4, category: I4, brand: I4, log_price: F4,
    ints: I4, floats: F4, step: I1, scratch: F8, tags: I4, table: I4, answers: F8,
) -> None:  # fmt: skip
    """Fill one interest. ``ints[SEEDS, :n_context]`` hold the query's own items; ``user`` -1 reads no profile.

    Scratch: ``scratch`` [N_SCRATCH, MAX_SEEDS], ``tags`` [3, MAX_SEEDS], ``table``.
    """
    table[:, 0, :] = 0
    for k in range(n_context):
        slot = slot_of(ints[SEEDS, k], table[0])
        table[0, 0, slot] = ints[SEEDS, k] + 1
        table[0, 1, slot] = k
        ints[AGE, k] = 0
        scratch[TOTAL, k] = scratch[SESSION, k] = scratch[LONG, k] = 1.0
    start = length = 0
    if user >= 0:
        start, length = starts[user], lengths[user]
    newest = start + length - 1
    while newest >= start and at_s[newest] > t_s:
        newest -= 1
    n = newest - start + 1
    session_from = t_s + 1
    answers[N_EVENTS], answers[SESSION_NUMBER] = 0, -1
    if user >= 0:
        answers[N_EVENTS] = max(0, ever[user] - (length - n))
        session_from = session_start(user, newest, start, t_s, gap_s, at_s, last_s, session, session_start_s, answers)
    answers[SESSION_FROM] = session_from
    gather(
        newest, n, t_s, session_from, half_life_s, long_half_life_s, floor, n_context,
        item, at_s, action, rank_weight, ints, scratch, table[0], answers,
    )  # fmt: skip
    take_steps(start, n, item, action, step, ints, table[0], answers)
    n_categories = n_brands = 0
    price_w = price_1 = price_2 = 0.0
    for k in range(int(answers[N_SEEDS])):
        what = ints[SEEDS, k]
        short, long, total = scratch[SESSION, k], scratch[LONG, k], scratch[TOTAL, k]
        if category[what] >= 0:
            n_categories = add_tag(
                category[what], short, long, n_categories, tags[0], scratch[CATEGORY_S], scratch[CATEGORY_L], table[1]
            )
        if brand[what] >= 0:
            n_brands = add_tag(
                brand[what], short, long, n_brands, tags[1], scratch[BRAND_S], scratch[BRAND_L], table[2]
            )  # fmt: skip
        if total > 0.0 and not math.isnan(log_price[what]):
            price_w += total
            price_1 += total * log_price[what]
            price_2 += total * log_price[what] * log_price[what]
    keep_tags(
        n_categories, tags[0], scratch[CATEGORY_S], scratch[CATEGORY_L],
        ints[CATEGORIES], floats[CATEGORY_SHORT], floats[CATEGORY_LONG], tags[2],
    )  # fmt: skip
    keep_tags(
        n_brands, tags[1], scratch[BRAND_S], scratch[BRAND_L],
        ints[BRANDS], floats[BRAND_SHORT], floats[BRAND_LONG], tags[2],
    )  # fmt: skip
    mean = price_1 / price_w if price_w > 0.0 else math.nan
    answers[PRICE_MEAN] = mean
    answers[PRICE_SD] = math.sqrt(max(price_2 / price_w - mean * mean, 0.0)) if price_w > 0.0 else math.nan
    drop_unwanted(n_context, ints, floats, step, scratch, answers)
