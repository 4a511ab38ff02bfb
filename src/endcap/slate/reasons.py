"""Reasons: why an item is on the slate, read from its score trace.

Idea: the ranker says how much each term added to an item's score. Terms that mean the same to a person (three
popularity columns, say) are added up under one code; the largest become the item's reasons, with the part of the
score they explain. A term that came from a source also knows which of the shopper's own items it started from.
Nothing is made up for show: no contribution, no reason.

Layout: a kernel packs each reason into one int64 key (code, share in percent to the next 5, subject: the dense item,
category, brand or region it speaks of); the record for a key is made once and reused, since shelves say the same things
over and over.
Shares are of the sum of the positive contributions, so that a penalty on the item does not push them over 1.

Cost: ~0.5 us per item, once a shelf's reasons were said before. Not for: causal claims; a reason says what the score
used, not what would sell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numba import njit

from endcap.blocks import grown
from endcap.types import ACTION_CODE, F4, F8, I1, I4, I8, U1, Interest, Reason

MOST = 3  # reasons per item at the most
LEAST_SHARE = 0.08  # smaller parts are not worth a sentence

CODES: tuple[str, ...] = (
    "viewed_together", "next_step", "bought_together", "session_like_yours", "shoppers_like_you", "your_history",
    "in_your_cart", "trending", "popular_here", "popular_at_this_hour", "popular_in_category", "favourite_category",
    "favourite_brand", "new", "pinned", "promoted", "similar_to", "friends_in_common", "matches_query", "means_alike",
)  # fmt: skip
CODE: dict[str, int] = {name: code for code, name in enumerate(CODES)}
YOUR_HISTORY, IN_YOUR_CART = CODE["your_history"], CODE["in_your_cart"]
FAVOURITE_CATEGORY, FAVOURITE_BRAND = CODE["favourite_category"], CODE["favourite_brand"]
POPULAR_IN_CATEGORY, POPULAR_HERE = CODE["popular_in_category"], CODE["popular_here"]
POPULAR_AT_THIS_HOUR = CODE["popular_at_this_hour"]
SHARE_BITS, SUBJECT_BITS = 7, 32  # of a reason's key
READY = 32_768  # reasons kept for reuse
STEP = 5  # shares are told in steps of so many percent: no reader wants more, and few distinct reasons stay ready
NONE = -1  # key of no further reason
CART_ADD = ACTION_CODE["cart_add"]

# Which reason a ranker's term stands for. A term that is not here (price fit, fatigue) changes scores silently.
TERM_CODE: dict[str, str] = {
    "src:covisit": "viewed_together",
    "src:bought_together": "bought_together",
    "src:session_knn": "session_like_yours",
    "src:item2vec": "viewed_together",
    "src:gru4rec": "session_like_yours",
    "src:nextitnet": "session_like_yours",
    "src:sasrec": "session_like_yours",
    "src:two_tower": "shoppers_like_you",
    "src:youtube": "shoppers_like_you",
    "src:user_knn": "shoppers_like_you",
    "src:factors": "shoppers_like_you",
    "src:content": "similar_to",
    "src:text": "similar_to",
    "src:image": "similar_to",
    "src:audio": "similar_to",
    "src:alike": "similar_to",
    "src:friends": "friends_in_common",
    "src:kindred": "shoppers_like_you",
    "src:fresh": "new",
    "src:history": "your_history",
    "src:popular": "trending",
    "src:trending": "trending",
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
    rows: I4, items: I4, seeds: I4, trace: F4, term_code: I1, term_source: I1, own: I4, action: I1, n_seeds: int,
    hour: int, region: int, category: I4, brand: I4, most: int, total: F8, subject: I4, out: I8,
) -> None:  # fmt: skip
    """out[k] = up to ``most`` keys, -1 = no more. Scratch by code: ``total``, ``subject``.

    ``trace`` [k, terms] belongs to ``rows`` [k], which index ``items`` [m] and ``seeds`` [m, sources]. A key packs
    code, share in percent and subject: a dense item, category, brand or region, or an hour, as the code says.
    """
    for k in range(rows.shape[0]):
        row = rows[k]
        total[:] = 0.0
        subject[:] = -1
        subject[POPULAR_HERE], subject[POPULAR_AT_THIS_HOUR] = region, hour
        subject[FAVOURITE_CATEGORY] = subject[POPULAR_IN_CATEGORY] = category[items[row]]
        subject[FAVOURITE_BRAND] = brand[items[row]]
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
                    subject[code] = own[seed]
            total[code] += part
        for place in range(most):
            best = 0
            for code in range(1, total.shape[0]):
                if total[code] > total[best]:
                    best = code
            if total[best] <= 0.0 or (place > 0 and total[best] < LEAST_SHARE * whole):
                out[k, place:] = NONE
                break
            percent = STEP * int(100.0 / STEP * total[best] / whole + 0.5)
            out[k, place] = ((best << SHARE_BITS | percent) << SUBJECT_BITS) | (subject[best] + 1)
            total[best] = 0.0


class Reasons:
    """Explains slates scored by one ranker over one state."""

    def __init__(
        self, sources: Sequence[str], terms: Sequence[str], catalogue: Labels,
        region_name: Callable[[int], str] | None = None,
    ) -> None:  # fmt: skip
        """``sources``: names of the columns of candidates; ``terms``: what the columns of the trace are."""
        self._catalogue = catalogue
        self._region_name = region_name
        self._term_code: I1 = np.array([code_of(term) for term in terms], np.int8)
        self._term_source: I1 = np.array(
            [sources.index(t[4:]) if t.startswith("src:") and t[4:] in sources else -1 for t in terms], np.int8
        )
        self._ready: dict[int, list[Reason]] = {NONE: []}  # by key, alone in a list that is never changed
        self._total: F8 = np.zeros(len(CODES))
        self._subject: I4 = np.zeros(len(CODES), np.int32)
        self._out: I8 = np.zeros((64, MOST), np.int64)

    def explain(
        self, interest: Interest, rows: I4, items: I4, seeds: I4, trace: F4, item_name: Callable[[int], str],
        *, most: int = MOST, pinned: U1 | None = None, promoted: U1 | None = None,
    ) -> list[list[Reason]]:  # fmt: skip
        """Up to ``most`` (1 to MOST) reasons for each placed row, strongest first; what the shop did comes before that.

        ``rows`` [k] index the candidates' ``items`` [m] and ``seeds`` [m, sources]; ``trace`` [k, terms], ``pinned``
        [k] and ``promoted`` [k] go with ``rows``. ``item_name`` turns a dense item into its id.
        """
        k = rows.shape[0]
        self._out = grown(self._out, k, 0)
        have = self._catalogue
        read_reasons(
            rows, items, seeds, trace, self._term_code, self._term_source, interest.seeds, interest.action,
            interest.n_seeds, interest.hour, interest.region, have.category, have.brand, most,
            self._total, self._subject, self._out,
        )  # fmt: skip
        ready, told = self._ready, self._out[:k, :most]
        if len(ready) > READY:
            ready.clear()
            ready[NONE] = []
        for key in told.ravel().tolist():
            if key not in ready:
                self._make(key, item_name)
        if most == 1:
            said = [ready[key] for key in told[:, 0].tolist()]
        else:
            said = [[reason for key in keys for reason in ready[key]] for keys in told.tolist()]
        for flags, name in ((promoted, "promoted"), (pinned, "pinned")):
            if flags is not None:
                for place in np.flatnonzero(flags).tolist():
                    said[place] = [Reason(name), *said[place]][:MOST]
        return said

    def _make(self, key: int, item_name: Callable[[int], str]) -> None:
        """The record of a key, kept for the next slate that says the same."""
        code, percent, subject = unpacked(key)
        item_id = value = None
        if subject >= 0:
            if code in (FAVOURITE_CATEGORY, POPULAR_IN_CATEGORY):
                value = self._catalogue.category_path(subject)[-1]  # what people call it: the last part of the path
            elif code == FAVOURITE_BRAND:
                value = self._catalogue.brands.name(subject)
            elif code == POPULAR_AT_THIS_HOUR:
                value = str(subject)
            elif code == POPULAR_HERE:
                value = self._region_name(subject) if self._region_name else None
            else:
                item_id = item_name(subject)
        self._ready[key] = [Reason(CODES[code], percent / 100, item_id, value)]


def unpacked(key: int) -> tuple[int, int, int]:
    """Code, percent and subject (-1 = none) of a key."""
    head, subject = key >> SUBJECT_BITS, key & ((1 << SUBJECT_BITS) - 1)
    return head >> SHARE_BITS, head & ((1 << SHARE_BITS) - 1), subject - 1
