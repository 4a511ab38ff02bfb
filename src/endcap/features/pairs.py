"""Pairs: how an item goes together with each of the shopper's newest items, from the live co-visitation counts.

Idea: the source "covisit" adds all its evidence into one number. The ranker gets it in parts: the newest item alone,
the sum and the maximum over the history, the directed next step, the way to a purchase, how many of the shopper's items
point here. All counts are faded to the query's time and shrunk, as in the source (models/item_item.py).

    cosine(j, c) = W(j, c) / sqrt((mass(j) + SHRINK) (mass(c) + SHRINK))
    conditional(c | j) = W(j, c) / (mass(j) + SHRINK)

Columns (float32): see ``COLUMNS``; features 9 to 14, 16 and 17 of the usual sets, and ``pair_fresh`` in place of a
matrix of the last day alone (15). Each depends on the item and the shopper alone (law L5). The counts of pairs at a
distance of 3 and 6 (12) are not kept: pairs fade with the time between them, which says nearly the same.

Cost: at most 20 lists of 64 entries, one look each, ~6 us. Not for: items that nobody touched yet.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numba import njit

from endcap.blocks import Blocks
from endcap.types import ACTION_CODE, F4, I1, I4, I8, U4, Interest

COLUMNS: tuple[str, ...] = (
    "pair_last",  # cosine with the newest item (the query's own first)
    "pair_second",  # cosine with the one before
    "pair_last_count",  # log(1 + faded count) with the newest item
    "pair_back",  # share of the candidate's own traffic that comes close to the newest item
    "pair_sum",  # sum of interest weight x cosine
    "pair_max",  # largest of these
    "pair_session",  # sum of cosines over the running session
    "next_last",  # probability that the candidate directly follows the newest item
    "next_second",  # the same for the one before
    "next_sum",  # sum of interest weight x probability
    "to_buy_sum",  # sum of interest weight x probability that looking at it leads to buying the candidate
    "to_buy_carted",  # the same over items in the cart
    "buy_buy",  # sum of probabilities over bought items that the candidate is bought beside
    "pair_hits",  # how many of the newest 20 items have the candidate as a neighbour
    "pair_hits_session",  # of those in the running session
    "pair_fresh",  # 2^-(days since the newest vote for any of these pairs), to 18 hours
)
N_COLUMNS = len(COLUMNS)
SEEDS = 20
SHRINK = 2.0
VIEW_VIEW, NEXT, TO_BUY, BUY_BUY = 0, 1, 2, 3
CART_ADD, PURCHASE = ACTION_CODE["cart_add"], ACTION_CODE["purchase"]
DAY = 86_400.0
LN2 = math.log(2.0)


class Neighbours(Protocol):
    """Co-visitation counts; see features/covisit.py."""

    blocks: Blocks
    other: I4
    weight: F4
    at_s: U4
    mass: F4
    mass_at_s: U4
    half_life_s: float


@njit(cache=True, nogil=True, error_model="numpy")
def read_pairs(
    seeds: I4, strength: F4, action: I1, n_seeds: int, n_session: int, t_s: int, items: I4,
    start: I8, length: I4, other: I4, weight: F4, at_s: U4, mass: F4, mass_at_s: U4, half_life: float,
    slots: I4, stamp: int, out: F4,
) -> None:  # fmt: skip
    """out[r] = the columns of items[r]; ``slots[item]`` = (stamp, row)."""
    pace = -LN2 / half_life
    out[:] = 0.0
    for j in range(min(n_seeds, SEEDS)):
        seed, share = seeds[j], strength[j]
        faded = math.exp(pace * max(0, t_s - int(np.int64(mass_at_s[seed]))))
        of_view = mass[seed, VIEW_VIEW] * faded + SHRINK
        of_next = mass[seed, NEXT] * faded + SHRINK
        of_buy = mass[seed, TO_BUY] * faded + SHRINK
        of_both = mass[seed, BUY_BUY] * faded + SHRINK
        root = 1.0 / math.sqrt(of_view)
        for k in range(start[seed], start[seed] + length[seed]):
            c = other[k]
            if slots[c, 0] != stamp:
                continue
            r = slots[c, 1]
            age = max(0, t_s - int(np.int64(at_s[k])))
            fade = math.exp(pace * age)
            cosine = weight[k, VIEW_VIEW] * fade * root  # the candidate's own mass is divided out at the end
            follows = weight[k, NEXT] * fade / of_next
            leads = weight[k, TO_BUY] * fade / of_buy
            if j == 0:
                out[r, 0] = cosine
                out[r, 2] = math.log1p(weight[k, VIEW_VIEW] * fade)
                out[r, 3] = weight[k, VIEW_VIEW] * fade
                out[r, 7] = follows
            elif j == 1:
                out[r, 1] = cosine
                out[r, 8] = follows
            out[r, 4] += share * cosine
            out[r, 5] = max(out[r, 5], share * cosine)
            out[r, 9] += share * follows
            out[r, 10] += share * leads
            out[r, 13] += 1.0
            if j < n_session:
                out[r, 6] += cosine
                out[r, 14] += 1.0
            if action[j] == CART_ADD:
                out[r, 11] += leads
            elif action[j] == PURCHASE:
                out[r, 12] += weight[k, BUY_BUY] * fade / of_both
            out[r, 15] = max(out[r, 15], math.exp(-LN2 * age / DAY))
    for r in range(items.shape[0]):
        if out[r, 13] > 0.0:
            c = items[r]
            own = mass[c, VIEW_VIEW] * math.exp(pace * max(0, t_s - int(np.int64(mass_at_s[c])))) + SHRINK
            root = 1.0 / math.sqrt(own)
            out[r, 0] *= root
            out[r, 1] *= root
            out[r, 3] /= own
            out[r, 4] *= root
            out[r, 5] *= root
            out[r, 6] *= root


class Pairs:
    """The read half; the counts are folded by ``Covisit``."""

    def __init__(self, covisit: Neighbours) -> None:
        self._covisit = covisit

    def read(self, interest: Interest, items: I4, slots: I4, stamp: int, out: F4) -> None:
        """Fill ``out`` [n, len(COLUMNS)] for ``items`` [n], whose rows ``slots`` knows."""
        of = self._covisit
        read_pairs(
            interest.seeds, interest.weight, interest.action, interest.n_seeds, interest.n_session, interest.t_s, items,
            of.blocks.start, of.blocks.length, of.other, of.weight, of.at_s, of.mass, of.mass_at_s, of.half_life_s,
            slots, stamp, out,
        )  # fmt: skip
