"""One shopper's ring, read into seeds, taste and price level: the kernels behind ``interest.py``.

Each kernel is one step: ``read_ring`` makes seeds with their weights, ``steps`` finds how far the shopper went with
each and what was hidden, ``keep_tags`` turns weights into shares, ``drop_unwanted`` closes the list;
``read_interest`` runs them in order. Sizes are small (64 entries, 64 seeds), so linear search beats any table.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from endcap.types import ACTION_CODE, ACTION_WEIGHT, F4, F8, I1, I4, I8, U4

LN2 = math.log(2.0)
RING = 64
VIEW = ACTION_CODE["view"]
PURCHASE = ACTION_CODE["purchase"]
REFUND = ACTION_CODE["refund"]
CART_ADD = ACTION_CODE["cart_add"]
CART_REMOVE = ACTION_CODE["cart_remove"]
HIDE = ACTION_CODE["hide"]
DISLIKE = ACTION_CODE["dislike"]
LIKE = ACTION_CODE["like"]
WISHLIST_ADD = ACTION_CODE["wishlist_add"]

# RANK_WEIGHT[n, j]: weight of the j-th newest (0 = newest) of n events.
RANK_WEIGHT: F4 = np.ones((RING + 1, RING), np.float32)
for _n in range(2, RING + 1):
    RANK_WEIGHT[_n, :_n] = 2.0 ** (0.1 + 0.9 * (_n - 1 - np.arange(_n)) / (_n - 1)) - 1.0

# What the kernel reports besides the arrays.
N_SEEDS, N_SESSION, N_LATER, N_HIDDEN, N_OUT = 0, 1, 2, 3, 4


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def add_tag(tag: int, short: float, long: float, tags: I4, shorts: F8, longs: F8, n: int) -> int:
    """Add to one category or brand in the running table of n; gives the new n."""
    for k in range(n):
        if tags[k] == tag:
            shorts[k] += short
            longs[k] += long
            return n
    tags[n] = tag
    shorts[n] = short
    longs[n] = long
    return n + 1


@njit(cache=True, nogil=True)
def keep_tags(n: int, tags: I4, shorts: F8, longs: F8, out: I4, out_short: F4, out_long: F4) -> None:
    """The MAX_TAGS strongest, strongest first (ties: smaller id), as shares of the positive weight."""
    total_short = total_long = 0.0
    for k in range(n):
        total_short += max(shorts[k], 0.0)
        total_long += max(longs[k], 0.0)
    for k in range(n):
        shorts[k] = max(shorts[k], 0.0) / total_short if total_short > 0.0 else 0.0
        longs[k] = max(longs[k], 0.0) / total_long if total_long > 0.0 else 0.0
    for place in range(out.shape[0]):
        best = -1
        for k in range(n):
            worth = shorts[k] + longs[k]
            if worth <= 0.0 or tags[k] < 0:
                continue
            if best < 0 or worth > shorts[best] + longs[best] or (
                worth == shorts[best] + longs[best] and tags[k] < tags[best]
            ):  # fmt: skip
                best = k
        if best < 0:
            for rest in range(place, out.shape[0]):
                out[rest] = -1
                out_short[rest] = 0.0
                out_long[rest] = 0.0
            return
        out[place] = tags[best]
        out_short[place] = shorts[best]
        out_long[place] = longs[best]
        tags[best] = -1


@njit(cache=True, nogil=True)
def read_ring(
    start: int, length: int, t_s: int, session_from: int, gap_s: int,
    half_life_s: float, long_half_life_s: float, floor: float, n_context: int,
    item: I4, at_s: U4, action: I1, rank_weight: F4,
    seeds: I4, weight: F4, age_s: I4, strongest: I1, hidden: I4,
    long_weight: F8, session_weight: F8, sum_weight: F8, counts: I8,
) -> None:  # fmt: skip
    """Distinct items of one ring after the ``n_context`` seeds already there, newest first.

    ``session_from``: start of the running session, epoch s; -1 = find it from gaps of at most ``gap_s``; beyond
    ``t_s`` = none is running. Scratch by seed: ``sum_weight``, ``session_weight``, ``long_weight``.
    """
    newest = start + length - 1
    while newest >= start and at_s[newest] > t_s:
        newest -= 1
    n = newest - start + 1
    counts[N_LATER] = length - n
    if session_from < 0:
        session_from = t_s + 1
        previous = t_s
        for j in range(newest, start - 1, -1):
            if previous - at_s[j] > gap_s:
                break
            previous = at_s[j]
            session_from = previous
    n_seeds = n_context
    n_session = n_context
    for j in range(n):  # newest first: the order of the seeds
        entry = newest - j
        what = item[entry]
        at = int(at_s[entry])
        age = t_s - at
        seed = -1
        for k in range(n_seeds):
            if seeds[k] == what:
                seed = k
                break
        if seed < 0:
            if n_seeds == seeds.shape[0]:
                continue
            seed = n_seeds
            n_seeds += 1
            seeds[seed] = what
            age_s[seed] = age
            sum_weight[seed] = session_weight[seed] = long_weight[seed] = 0.0
            if at >= session_from:
                n_session = n_seeds
        base = ACTION_WEIGHT[action[entry]] * 1.0
        value = base * rank_weight[n, j] * max(floor, math.exp(-LN2 * age / half_life_s))
        sum_weight[seed] += value
        long_weight[seed] += base * math.exp(-LN2 * age / long_half_life_s)
        if at >= session_from:
            session_weight[seed] += value
    counts[N_SESSION] = n_session
    counts[N_SEEDS] = n_seeds
    steps(start, n, n_context, n_seeds, item, action, seeds, strongest, hidden, counts)


@njit(cache=True, nogil=True)
def steps(
    start: int, n: int, n_context: int, n_seeds: int,
    item: I4, action: I1, seeds: I4, strongest: I1, hidden: I4, counts: I8,
) -> None:  # fmt: skip
    """The furthest standing step of each seed, and the items hidden and not wished for since; oldest event first."""
    for k in range(n_seeds):
        strongest[k] = VIEW
    n_hidden = 0
    for entry in range(start, start + n):
        what = item[entry]
        act = int(action[entry])
        if act != VIEW:
            for k in range(n_seeds):
                if seeds[k] == what:
                    strongest[k] = furthest(strongest[k], act)
                    break
        if act in (HIDE, DISLIKE):
            known = False
            for k in range(n_hidden):
                known = known or hidden[k] == what
            if not known:
                hidden[n_hidden] = what
                n_hidden += 1
        elif n_hidden > 0 and (act in (LIKE, WISHLIST_ADD, CART_ADD, PURCHASE)):
            for k in range(n_hidden):
                if hidden[k] == what:
                    n_hidden -= 1
                    hidden[k] = hidden[n_hidden]
                    break
    counts[N_HIDDEN] = n_hidden


@njit(cache=True, nogil=True)
def read_interest(
    start: int, length: int, t_s: int, session_from: int, gap_s: int,
    half_life_s: float, long_half_life_s: float, floor: float, n_context: int,
    item: I4, at_s: U4, action: I1, rank_weight: F4, category: I4, brand: I4, log_price: F4,
    seeds: I4, weight: F4, age_s: I4, strongest: I1, hidden: I4,
    categories: I4, category_short: F4, category_long: F4, brands: I4, brand_short: F4, brand_long: F4,
    scratch: F8, tags: I4, counts: I8, price: F8,
) -> None:  # fmt: skip
    """Fill one interest. ``seeds[:n_context]`` hold the query's own items; ``length`` 0 reads no profile.

    ``scratch`` [7, >= MAX_SEEDS], ``tags`` [2, >= MAX_SEEDS]; ``counts`` and ``price`` (mean, sd) are answers.
    """
    sum_weight, session_weight, long_weight = scratch[0], scratch[1], scratch[2]
    for k in range(n_context):
        age_s[k] = 0
        sum_weight[k] = session_weight[k] = long_weight[k] = 1.0
    read_ring(
        start, length, t_s, session_from, gap_s, half_life_s, long_half_life_s, floor, n_context,
        item, at_s, action, rank_weight, seeds, weight, age_s, strongest, hidden,
        long_weight, session_weight, sum_weight, counts,
    )  # fmt: skip
    n_categories = n_brands = 0
    price_w = price_1 = price_2 = 0.0
    for k in range(counts[N_SEEDS]):
        what = seeds[k]
        if category[what] >= 0:
            n_categories = add_tag(
                category[what], session_weight[k], long_weight[k], tags[0], scratch[3], scratch[4], n_categories
            )
        if brand[what] >= 0:
            n_brands = add_tag(
                brand[what], session_weight[k], long_weight[k], tags[1], scratch[5], scratch[6], n_brands
            )
        if sum_weight[k] > 0.0 and not math.isnan(log_price[what]):
            price_w += sum_weight[k]
            price_1 += sum_weight[k] * log_price[what]
            price_2 += sum_weight[k] * log_price[what] * log_price[what]
    keep_tags(n_categories, tags[0], scratch[3], scratch[4], categories, category_short, category_long)
    keep_tags(n_brands, tags[1], scratch[5], scratch[6], brands, brand_short, brand_long)
    price[0] = price_1 / price_w if price_w > 0.0 else math.nan
    price[1] = math.sqrt(max(price_2 / price_w - price[0] * price[0], 0.0)) if price_w > 0.0 else math.nan
    drop_unwanted(n_context, sum_weight, seeds, weight, age_s, strongest, counts)


@njit(cache=True, nogil=True)
def drop_unwanted(n_context: int, sum_weight: F8, seeds: I4, weight: F4, age_s: I4, strongest: I1, counts: I8) -> None:
    """Leave out the seeds that the shopper took all interest back from, keeping the order. The query's own stay."""
    kept = 0
    kept_session = 0
    for k in range(counts[N_SEEDS]):
        if k >= n_context and sum_weight[k] <= 0.0:
            continue
        seeds[kept] = seeds[k]
        weight[kept] = max(sum_weight[k], 1.0) if k < n_context else sum_weight[k]
        age_s[kept] = age_s[k]
        strongest[kept] = strongest[k]
        kept += 1
        if k < counts[N_SESSION]:
            kept_session = kept
    counts[N_SEEDS] = kept
    counts[N_SESSION] = kept_session
