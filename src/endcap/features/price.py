"""Price: how an item's price stands to what the shopper looks at and to its category.

Idea: people compare prices within a visit; a step up or down from the last item, and whether an item is cheap for its
kind, say more than the price itself. All on the logarithm of the price, so that a ratio counts alike at any level.

Columns (float32): see ``COLUMNS``; feature 35 of the usual sets. Unknown prices give 0, the neutral value. The rank of
the price inside its category is read as a distance in standard deviations, which needs no sorting. Cost: ~1 us. Not
for: shops without prices in catalogue or events.
"""

from __future__ import annotations

import math
from typing import Protocol

from numba import njit

from endcap.types import F4, F8, I4, Interest

COLUMNS: tuple[str, ...] = (
    "price_z",  # against the mean of what the shopper touched, in their standard deviations
    "price_step",  # log of the ratio to the newest item's price
    "price_level",  # against the leaf category, in its standard deviations
)
SD_FLOOR = 0.2
FURTHEST = 5.0


class Shelves(Protocol):
    """What the catalogue knows of items and of leaf categories."""

    category: I4
    log_price: F4
    price_n: I4
    price_sum: F8
    price_sq: F8


@njit(cache=True, nogil=True)
def read_price(
    items: I4, last: int, mean: float, sd: float, category: I4, log_price: F4, price_n: I4, price_sum: F8, price_sq: F8,
    out: F4,
) -> None:  # fmt: skip
    """out[r] = the columns of items[r]."""
    before = log_price[last] if last >= 0 else math.nan
    for r in range(items.shape[0]):
        price = log_price[items[r]]
        out[r, 0] = out[r, 1] = out[r, 2] = 0.0
        if math.isnan(price):
            continue
        if not math.isnan(mean):
            out[r, 0] = max(-FURTHEST, min(FURTHEST, (price - mean) / (sd + SD_FLOOR)))
        if not math.isnan(before):
            out[r, 1] = price - before
        leaf = category[items[r]]
        if leaf >= 0 and price_n[leaf] > 1:
            usual = price_sum[leaf] / price_n[leaf]
            spread = math.sqrt(max(price_sq[leaf] / price_n[leaf] - usual * usual, 0.0))
            out[r, 2] = max(-FURTHEST, min(FURTHEST, (price - usual) / (spread + SD_FLOOR)))


class Price:
    """The read half; what it reads is folded by the catalogue."""

    def __init__(self, catalogue: Shelves) -> None:
        self._shelves = catalogue

    def read(self, interest: Interest, items: I4, out: F4) -> None:
        """Fill ``out`` [n, len(COLUMNS)] for ``items`` [n]."""
        have = self._shelves
        read_price(
            items, int(interest.seeds[0]) if interest.n_seeds else -1, interest.price_mean, interest.price_sd,
            have.category, have.log_price, have.price_n, have.price_sum, have.price_sq, out,
        )  # fmt: skip
