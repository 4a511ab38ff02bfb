"""History: the shopper's own items, where coming back to them makes sense.

Idea: the strongest single signal in shop data is that people return to what they touched. An item in the cart now
leads; a viewed item stays in the running as long as its interest lasts; an item just bought rests for ``REST_S`` and
then comes back (consumables), at part of its weight.

    score = weight x (CART if in the cart now, BOUGHT if bought at least REST_S ago, 0 if bought since, else 1)

``weight`` is the interest's own: action x rank in the history x age. Items that the query itself names are left out.

Cost: one pass over at most 64 seeds. Features 1 to 6 of the usual sets (history weight, cart state, last touch).
When not to use it: on placements that must show something new (set ``seen = "drop"`` there).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from endcap.candidates import Candidates, add
from endcap.types import ACTION_CODE, F4, I1, I4, I8, Interest

CART_ADD, PURCHASE = ACTION_CODE["cart_add"], ACTION_CODE["purchase"]
CART = 2.0
BOUGHT = 0.5
REST_S = 3_600


@njit(cache=True, nogil=True)
def retrieve_own(
    seeds: I4, weight: F4, age_s: I4, action: I1, n_context: int, n_seeds: int, limit: int,
    column: int, into_items: I4, into_score: F4, into_seeds: I4, into_stamp: I4, into_row: I4, into_head: I8,
) -> None:  # fmt: skip
    """Propose the first ``limit`` own seeds (newest first) whose score is positive."""
    proposed = 0
    for j in range(n_context, n_seeds):
        if proposed == limit:
            break
        score = weight[j]
        if action[j] == PURCHASE:
            score *= np.float32(BOUGHT if age_s[j] >= REST_S else 0.0)
        elif action[j] == CART_ADD:
            score *= np.float32(CART)
        if score > 0.0:
            add(seeds[j], column, score, j, into_items, into_score, into_seeds, into_stamp, into_row, into_head)
            proposed += 1


class HistorySource:
    """The shopper's own past items. Holds nothing."""

    name = "history"

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose at most ``n`` own items, newest first; the seed of each is itself."""
        retrieve_own(
            interest.seeds, interest.weight, interest.age_s, interest.action, interest.n_context, interest.n_seeds, n,
            column, into.items, into.score, into.seeds, into.stamp, into.row_of, into.head,
        )  # fmt: skip
