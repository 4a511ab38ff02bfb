"""Reasons: why an item is on the slate, read from its score trace.

Idea: the ranker says how much each term added to an item's score. Terms that mean the same to a person (three
popularity columns, say) are added up under one code; the largest become the item's reasons, with the part of the
score they explain. A term that came from a source also knows which of the shopper's own items it started from.
Nothing is made up for show: no contribution, no reason.

Layout: a kernel writes, per item, up to ``MOST`` triples (code, share in thousandths, seed) into one int32 array;
Python turns it into ``Reason`` records with names looked up once. Shares are of the sum of the positive
contributions, so that a penalty on the item does not push them over 1.

Cost: ~0.4 us per item. Not for: causal claims; a reason says what the score used, not what would sell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numba import njit

from endcap.blocks import grown
from endcap.types import ACTION_CODE, F4, F8, I1, I4, U1, Interest, Reason

MOST = 3  # reasons per item
LEAST_SHARE = 0.08  # smaller parts are not worth a sentence

CODES: tuple[str, ...] = (
    "viewed_together", "next_step", "bought_together", "session_like_yours", "shoppers_like_you", "your_history",
    "in_your_cart", "trending", "popular_here", "popular_at_this_hour", "popular_in_category", "favourite_category",
    "favourite_brand", "new", "pinned", "promoted",
)  # fmt: skip
CODE: dict[str, int] = {name: code for code, name in enumerate(CODES)}
YOUR_HISTORY, IN_YOUR_CART = CODE["your_history"], CODE["in_your_cart"]
OF_CATEGORY = {CODE["favourite_category"], CODE["popular_in_category"]}
OF_BRAND = {CODE["favourite_brand"]}
CART_ADD = ACTION_CODE["cart_add"]

# Which reason a ranker's term stands for. A term that is not here (price fit, fatigue) changes scores silently.
TERM_CODE: dict[str, str] = {
    "src:covisit": "viewed_together",
    "src:bought_together": "bought_together",
    "src:session_knn": "session_like_yours",
    "src:user_knn": "shoppers_like_you",
    "src:history": "your_history",
    "src:popular": "trending",
    "category_short": "favourite_category",
    "category_long": "favourite_category",
    "category_shift": "favourite_category",
    "same_category_as_last": "favourite_category",
    "brand_short": "favourite_brand",
    "brand_long": "favourite_brand",
    "is_new": "new",
    "trend_hour": "trending",
    "trend_day": "trending",
    "lift_hour": "popular_at_this_hour",
    "lift_region": "popular_here",
}
POPULARITY = "pop_"  # columns of decayed counts: all of them say trending

SENTENCES: dict[str, dict[str, str]] = {
    "en": {
        "viewed_together": "Often viewed together with {item}",
        "next_step": "Often the next thing viewed after {item}",
        "bought_together": "Often bought together with {item}",
        "session_like_yours": "Shoppers on a visit like yours looked at this",
        "shoppers_like_you": "Shoppers with a history like yours chose this",
        "your_history": "You looked at this before",
        "in_your_cart": "In your cart",
        "trending": "Trending now",
        "popular_here": "Popular in {value}",
        "popular_at_this_hour": "Popular at this hour",
        "popular_in_category": "Popular in {value}",
        "favourite_category": "From {value}, where you look often",
        "favourite_brand": "By {value}, a brand you look at often",
        "new": "New in the shop",
        "pinned": "Chosen by the shop",
        "promoted": "Promoted by the shop",
    }
}
WITHOUT_NAME: dict[str, dict[str, str]] = {
    "en": {
        "viewed_together": "Often viewed together with what you looked at",
        "next_step": "Often viewed next",
        "bought_together": "Often bought together with what you have",
        "popular_here": "Popular near you",
        "popular_in_category": "Popular in its category",
        "favourite_category": "From a category you look at often",
        "favourite_brand": "From a brand you look at often",
    }
}


class Labels(Protocol):
    """Names for categories and brands of items."""

    category: I4
    brand: I4

    @property
    def brands(self) -> Named: ...
    def category_path(self, category: int) -> list[str]: ...


class Named(Protocol):
    """A dictionary of dense ids."""

    def name(self, i: int, /) -> str: ...


def code_of(term: str) -> int:
    """The code of a ranker's term, -1 for one that is not told."""
    if term.startswith(POPULARITY):
        return CODE["trending"]
    return CODE[TERM_CODE[term]] if term in TERM_CODE else -1


@njit(cache=True, nogil=True)
def read_reasons(
    rows: I4, seeds: I4, trace: F4, term_code: I1, term_source: I1, action: I1, n_seeds: int,
    total: F8, lead: I4, out: I4,
) -> None:  # fmt: skip
    """out[k] = (code, share in thousandths, seed) x MOST, code -1 = no more. Scratch by code: ``total``, ``lead``.

    ``trace`` [k, terms] belongs to ``rows`` [k], which index ``seeds`` [m, sources].
    """
    for k in range(rows.shape[0]):
        row = rows[k]
        total[:] = 0.0
        lead[:] = -1
        whole = 0.0
        for t in range(trace.shape[1]):
            part = trace[k, t]
            if part <= 0.0:
                continue
            whole += part
            code = term_code[t]
            if code < 0:
                continue
            if term_source[t] >= 0:
                seed = seeds[row, term_source[t]]
                if 0 <= seed < n_seeds:
                    if code == YOUR_HISTORY and action[seed] == CART_ADD:
                        code = IN_YOUR_CART
                    lead[code] = seed
            total[code] += part
        for place in range(MOST):
            best = 0
            for code in range(1, total.shape[0]):
                if total[code] > total[best]:
                    best = code
            if total[best] <= 0.0 or (place > 0 and total[best] < LEAST_SHARE * whole):
                out[k, 3 * place] = -1
                break
            out[k, 3 * place] = best
            out[k, 3 * place + 1] = int(1000.0 * total[best] / whole + 0.5)
            out[k, 3 * place + 2] = lead[best]
            total[best] = 0.0


class Reasons:
    """Explains slates scored by one ranker."""

    def __init__(self, sources: Sequence[str], terms: Sequence[str], catalogue: Labels) -> None:
        """``sources``: names of the columns of candidates; ``terms``: what the columns of the trace are."""
        self._catalogue = catalogue
        self._term_code: I1 = np.array([code_of(term) for term in terms], np.int8)
        self._term_source: I1 = np.array(
            [sources.index(t[4:]) if t.startswith("src:") and t[4:] in sources else -1 for t in terms], np.int8
        )
        self._category_names: dict[int, str] = {}
        self._total: F8 = np.zeros(len(CODES))
        self._lead: I4 = np.zeros(len(CODES), np.int32)
        self._out: I4 = np.zeros((64, 3 * MOST), np.int32)

    def explain(
        self, interest: Interest, rows: I4, items: I4, seeds: I4, trace: F4, item_name: Callable[[int], str],
        *, pinned: U1 | None = None, promoted: U1 | None = None, values: Mapping[str, str] | None = None,
    ) -> list[list[Reason]]:  # fmt: skip
        """Up to three reasons for each placed row, strongest first; what the shop did comes before that.

        ``rows`` [k] index the candidates' ``items`` [m] and ``seeds`` [m, sources]; ``trace`` [k, terms], ``pinned``
        [k] and ``promoted`` [k] go with ``rows``. ``values``: words for codes of the moment, such as the region's name.
        """
        k = rows.shape[0]
        self._out = grown(self._out, k, 0)
        read_reasons(
            rows, seeds, trace, self._term_code, self._term_source, interest.action, interest.n_seeds,
            self._total, self._lead, self._out,
        )  # fmt: skip
        placed = items[rows]
        have = self._catalogue
        said: list[list[Reason]] = []
        names: dict[int, str] = {}  # of the shopper's own items, by seed
        for triples, category, brand in zip(
            self._out[:k].tolist(), have.category[placed].tolist(), have.brand[placed].tolist(), strict=True
        ):
            reasons: list[Reason] = []
            for at in range(0, 3 * MOST, 3):
                code = triples[at]
                if code < 0:
                    break
                seed = triples[at + 2]
                if seed >= 0 and seed not in names:
                    names[seed] = item_name(int(interest.seeds[seed]))
                value = None
                if code in OF_CATEGORY:
                    value = self._category(category)
                elif code in OF_BRAND:
                    value = have.brands.name(brand) if brand >= 0 else None
                elif values is not None:
                    value = values.get(CODES[code])
                reasons.append(Reason(CODES[code], triples[at + 1] / 1000, names.get(seed), value))
            said.append(reasons)
        for flags, name in ((promoted, "promoted"), (pinned, "pinned")):
            if flags is not None:
                for place in np.flatnonzero(flags).tolist():
                    said[place] = [Reason(name), *said[place]][:MOST]
        return said

    def _category(self, category: int) -> str | None:
        """What people call a leaf category: the last part of its path."""
        if category < 0:
            return None
        name = self._category_names.get(category)
        if name is None:
            name = self._category_names[category] = self._catalogue.category_path(category)[-1]
        return name


def text(reason: Reason, title_of: Callable[[str], str], language: str = "en") -> str:
    """One reason as a sentence. ``title_of`` turns an item id into what people call it; unknown language = English."""
    language = language if language in SENTENCES else "en"
    sentence = SENTENCES[language][reason.code]
    if ("{item}" in sentence and reason.item_id is None) or ("{value}" in sentence and reason.value is None):
        return WITHOUT_NAME[language][reason.code]
    return sentence.format(item=title_of(reason.item_id or ""), value=reason.value)
