"""Affinity: how an item's attributes meet the shopper's taste.

Idea: the interest holds shares of weight by category and brand, short (running session) and long, and a price level. An
item reads its own leaf's share plus a part of its siblings' (same top category), its brand's share, and how well its
price fits. The difference between short and long is the shift of interest: what the shopper wants now that they did not
use to want.

Columns (float32): see ``COLUMNS``. All are bounded, and each depends on the item and the interest alone (law L5).

Cost: ~6 us for 150 items, one kernel. Definitions: features 33 to 35 of the usual e-commerce sets (category and brand
affinity, price z). Not for: free text or pictures.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from endcap.features.catalogue import PRICE_SD_FLOOR, Catalogue
from endcap.types import F4, I4, I8, MAX_TAGS, U4, Interest

COLUMNS: tuple[str, ...] = (
    "category_short",  # 0..1 share of the session's weight in the item's leaf category, siblings in part
    "category_long",  # 0..1 the same over the long history
    "category_shift",  # -1..1 short minus long
    "brand_short",  # 0..1
    "brand_long",  # 0..1
    "price_fit",  # 0..1, 1 = at the shopper's price level; 0.5 when either is unknown
    "same_category_as_last",  # 1 when the leaf is that of the newest seed
    "is_new",  # 1 when published (or first seen) within NEW_S before the query
)
SIBLING = 0.3  # part of the weight of other leaves under the same top category
NEW_S = 7 * 86_400


@njit(cache=True, nogil=True)
def read_affinity(
    items: I4, t_s: int, last: int, price_mean: float, price_sd: float,
    categories: I4, category_short: F4, category_long: F4, brands: I4, brand_short: F4, brand_long: F4,
    category: I4, top_category: I4, brand: I4, log_price: F4, published_ms: I8, first_seen_s: U4, category_top: I4,
    tops: I4, out: F4,
) -> None:  # fmt: skip
    """out[k] = the columns of items[k]. Scratch: ``tops`` [MAX_TAGS]."""
    last_category = category[last] if last >= 0 else -1
    n_categories = n_brands = 0
    while n_categories < categories.shape[0] and categories[n_categories] >= 0:
        tops[n_categories] = category_top[categories[n_categories]]
        n_categories += 1
    while n_brands < brands.shape[0] and brands[n_brands] >= 0:
        n_brands += 1
    for k in range(items.shape[0]):
        i = items[k]
        short = long = 0.0
        leaf = category[i]
        if leaf >= 0:
            top = top_category[i]
            for c in range(n_categories):
                if tops[c] == top:
                    near = 1.0 if categories[c] == leaf else SIBLING
                    short += near * category_short[c]
                    long += near * category_long[c]
        out[k, 0] = short
        out[k, 1] = long
        out[k, 2] = short - long
        out[k, 3] = out[k, 4] = 0.0
        if brand[i] >= 0:
            for b in range(n_brands):
                if brands[b] == brand[i]:
                    out[k, 3] = brand_short[b]
                    out[k, 4] = brand_long[b]
                    break
        out[k, 5] = 0.5
        if not (math.isnan(price_mean) or math.isnan(log_price[i])):
            z = (log_price[i] - price_mean) / (price_sd + PRICE_SD_FLOOR)
            out[k, 5] = math.exp(-0.5 * z * z)
        out[k, 6] = leaf >= 0 and leaf == last_category
        born_s = published_ms[i] // 1000 if published_ms[i] > 0 else np.int64(first_seen_s[i])
        out[k, 7] = born_s > 0 and born_s <= t_s and t_s - born_s < NEW_S


class Affinity:
    """The read half; what it reads is folded by the catalogue and the histories."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._tops: I4 = np.zeros(MAX_TAGS, np.int32)

    def read(self, interest: Interest, items: I4, out: F4) -> None:
        """items [n] dense ids -> out [n, len(COLUMNS)], overwritten."""
        have = self._catalogue
        read_affinity(
            items, interest.t_s, int(interest.seeds[0]) if interest.n_seeds else -1,
            interest.price_mean, interest.price_sd,
            interest.categories, interest.category_short, interest.category_long,
            interest.brands, interest.brand_short, interest.brand_long,
            have.category, have.top_category, have.brand, have.log_price,
            have.published_ms, have.first_seen_s, have.category_top, self._tops, out,
        )  # fmt: skip
