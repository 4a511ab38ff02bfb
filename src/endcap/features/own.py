"""Own: what this shopper already did with this very item.

Idea: the strongest signal in shop data is that people come back to what they touched, and how likely depends on how
often, how recently and with what intent. The shopper's ring of at most 64 interactions is walked once, newest first;
entries of items that are no candidates cost one look.

Columns (float32): see ``COLUMNS``; features 1 to 6 and 8 of the usual sets. Every value depends on the item and the
shopper alone (law L5). Entries later than the query's time are not read (law L9).

Cost: ~2 us for 150 items. Not for: shoppers without history, for whom everything here is neutral.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numba import njit

from endcap.blocks import Blocks
from endcap.types import ACTION_CODE, ACTION_GROUP, ACTION_WEIGHT, F4, I1, I4, I8, SEEN, U4, WANTED, Interest

COLUMNS: tuple[str, ...] = (
    "own_weight",  # sum of action weight x rank in the history (newest 1, oldest 0.07)
    "own_decay_30m",  # sum of action weight, halved every 30 minutes
    "own_decay_1d",
    "own_decay_14d",
    "own_age",  # log(1 + seconds since the last touch), -1 = never
    "own_rank",  # place among the distinct items of the history, 0 = newest, 64 = not in it
    "own_times",  # interactions with it in the ring
    "own_session_views",  # in the running session
    "own_session_carts",
    "own_session_buys",
    "own_in_cart",  # 1 = put in the cart and neither bought nor removed since
    "own_bought_age",  # log(1 + days since bought), -1 = never
)
N_COLUMNS = len(COLUMNS)
RING = 64
NEVER = -1.0
HALF_HOUR, DAY, TWO_WEEKS = 1_800.0, 86_400.0, 1_209_600.0
LN2 = math.log(2.0)
PURCHASE, CART_ADD, CART_REMOVE = ACTION_CODE["purchase"], ACTION_CODE["cart_add"], ACTION_CODE["cart_remove"]

# RANK_WEIGHT[n, j]: weight of the j-th newest (0 = newest) of n events.
RANK_WEIGHT: F4 = np.ones((RING + 1, RING), np.float32)
for _n in range(2, RING + 1):
    RANK_WEIGHT[_n, :_n] = 2.0 ** (0.1 + 0.9 * (_n - 1 - np.arange(_n)) / (_n - 1)) - 1.0


class Rings(Protocol):
    """The last interactions of every user: pools sorted by time within a user."""

    blocks: Blocks
    item: I4
    at_s: U4
    action: I1


@njit(cache=True, nogil=True)
def read_own(
    user: int, t_s: int, session_from: int, seeds: I4, n_seeds: int, n_context: int,
    start: I8, length: I4, item: I4, at_s: U4, action: I1, rank_weight: F4, slots: I4, stamp: int, out: F4,
) -> None:  # fmt: skip
    """out[r] = the columns of the item whose row ``slots`` knows as r."""
    for r in range(out.shape[0]):
        for c in range(N_COLUMNS):
            out[r, c] = 0.0
        out[r, 4] = out[r, 11] = NEVER
        out[r, 5] = RING
    for j in range(n_context, n_seeds):
        if slots[seeds[j], 0] == stamp:
            out[slots[seeds[j], 1], 5] = j - n_context
    if user < 0:
        return
    first = start[user]
    newest = first + length[user] - 1
    while newest >= first and at_s[newest] > t_s:
        newest -= 1
    n = newest - first + 1
    for j in range(n):
        entry = newest - j
        if slots[item[entry], 0] != stamp:
            continue
        r = slots[item[entry], 1]
        code = action[entry]
        at = np.int64(at_s[entry])
        age = float(t_s - at)
        weight = ACTION_WEIGHT[code]
        out[r, 0] += weight * rank_weight[n, j]
        out[r, 1] += weight * math.exp(-LN2 * age / HALF_HOUR)
        out[r, 2] += weight * math.exp(-LN2 * age / DAY)
        out[r, 3] += weight * math.exp(-LN2 * age / TWO_WEEKS)
        if out[r, 4] < 0.0:
            out[r, 4] = math.log1p(age)
        out[r, 6] += 1.0
        if at >= session_from:
            out[r, 7] += ACTION_GROUP[code] == SEEN
            out[r, 8] += ACTION_GROUP[code] == WANTED
            out[r, 9] += code == PURCHASE
        if code == CART_ADD and out[r, 10] == 0.0:
            out[r, 10] = 1.0
        elif code in (CART_REMOVE, PURCHASE) and out[r, 10] == 0.0:
            out[r, 10] = -1.0  # settled: an older cart addition no longer counts
        if code == PURCHASE and out[r, 11] < 0.0:
            out[r, 11] = math.log1p(age / DAY)
    for r in range(out.shape[0]):
        out[r, 10] = max(out[r, 10], 0.0)


class Own:
    """The read half; the rings are folded by ``Histories``."""

    def __init__(self, rings: Rings) -> None:
        self._rings = rings

    def read(self, interest: Interest, slots: I4, stamp: int, out: F4) -> None:
        """Fill ``out`` [n, len(COLUMNS)]; ``slots[item]`` = (stamp, row) says which item has which row."""
        rings = self._rings
        read_own(
            interest.user, interest.t_s, interest.session_from_s, interest.seeds, interest.n_seeds, interest.n_context,
            rings.blocks.start, rings.blocks.length, rings.item, rings.at_s, rings.action, RANK_WEIGHT,
            slots, stamp, out,
        )  # fmt: skip
