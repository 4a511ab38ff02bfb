"""Fresh: the newest items of the catalogue, so that what nobody has touched yet is proposed by what it is.

Idea: news loses its worth by the hour, and an article is worth most before anybody could have clicked it. So age and
the reader's taste in topics and publishers say what to show, and no event about the item is needed:

    score(i) = 2^(-(t - published) / half_life) x (1 + TOPIC x topic taste + PUBLISHER x publisher taste) / the most

Taste is the share, short- or long-term, of the reader's interest in the item's category or brand. An item without
``published_at`` counts from when it was first seen. An old article has no score here, so whoever proposes it, it stands
behind a new one of equal merit.

Layout: dense ids in order of publishing, newest first, of the last ``LOOK_BACK`` items that entered the catalogue; read
anew when the catalogue changed. It depends on the state alone. Cost: 0.7 ms per reading at 65,536 items; ~10 us per
request. When not to use it: where things do not age; a mug is as good next year.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numba import njit

from endcap.candidates import Candidates, add
from endcap.topn import LIMIT, N_SIZES, best, key_id, key_score
from endcap.types import F4, I4, I8, U1, U4, Interest

LOOK_BACK = 65_536
READ = 512  # newest articles that compete in one request
TOPIC, PUBLISHER = 2.0, 1.0


class Articles(Protocol):
    """What the catalogue says of items, by dense id; see features/catalogue.py."""

    version: int
    sellable: U1
    listed: U1
    category: I4
    brand: I4
    first_seen_s: U4
    published_ms: I8
    expires_ms: I8

    def n_items(self) -> int: ...


@njit(cache=True, nogil=True)
def freshness(item: int, t_ms: int, half_life_ms: float, published_ms: I8, first_seen_s: U4) -> float:
    """1 for what is published now, halved every half-life; 0 before publication."""
    begin = published_ms[item] if published_ms[item] != 0 else np.int64(first_seen_s[item]) * 1000
    return math.exp2((begin - t_ms) / half_life_ms) if begin <= t_ms else 0.0


@njit(cache=True, nogil=True)
def taste(tag: int, tags: I4, short: F4, long: F4) -> float:
    """The share of interest in a category or brand."""
    if tag >= 0:
        for k in range(tags.shape[0]):
            if tags[k] == tag:
                return float(max(short[k], long[k]))
    return 0.0


@njit(cache=True, nogil=True)
def retrieve_fresh(
    newest: I4, most: int, t_ms: int, half_life_ms: float, categories: I4, category_short: F4, category_long: F4,
    brands: I4, brand_short: F4, brand_long: F4, sellable: U1, category: I4, brand: I4, first_seen_s: U4,
    published_ms: I8, expires_ms: I8, ids: I4, scores: F4, limit: int, tally: I4, heap: I8,
    column: int, into_items: I4, into_score: F4, into_seeds: I4, into_stamp: I4, into_row: I4, into_head: I8,
) -> None:  # fmt: skip
    """One query: the ``most`` newest that may be shown compete."""
    whole = 1.0 + TOPIC + PUBLISHER
    n = 0
    for item in newest:
        if n == most:
            break
        value = freshness(item, t_ms, half_life_ms, published_ms, first_seen_s)
        if value <= 0.0 or sellable[item] == 0 or (expires_ms[item] != 0 and expires_ms[item] <= t_ms):
            continue
        value *= (
            1.0 + TOPIC * taste(category[item], categories, category_short, category_long)
            + PUBLISHER * taste(brand[item], brands, brand_short, brand_long)
        ) / whole  # fmt: skip
        ids[n], scores[n] = item, value
        n += 1
    size = best(ids, scores, n, limit, tally, heap)
    for h in range(size):
        add(key_id(heap[h]), column, key_score(heap[h]), -1,
            into_items, into_score, into_seeds, into_stamp, into_row, into_head)  # fmt: skip


class FreshSource:
    """The newest first, as the reader's taste has it."""

    name = "fresh"

    def __init__(self, catalogue: Articles, half_life_h: float) -> None:
        """``half_life_h``: hours after which an article is worth half, positive."""
        self._catalogue = catalogue
        self._half_life_ms = half_life_h * 3_600_000.0
        self._read_at = (-1, -1)  # version of the catalogue and number of items when read
        self._newest: I4 = np.zeros(0, np.int32)
        self._ids: I4 = np.zeros(READ, np.int32)
        self._scores: F4 = np.zeros(READ, np.float32)
        self._tally: I4 = np.zeros(N_SIZES, np.int32)
        self._heap: I8 = np.zeros(LIMIT, np.int64)

    def newest(self) -> I4:
        """Dense ids of listed items, the last published first; the ones yet to be published before them all."""
        have, n = self._catalogue, self._catalogue.n_items()
        if self._read_at != (have.version, n):
            rows = np.arange(max(0, n - LOOK_BACK), n, dtype=np.int32)
            rows = rows[(have.listed[rows] == 1) & (have.sellable[rows] != 0)]
            published = have.published_ms[rows]
            begin = np.where(published != 0, published, have.first_seen_s[rows] * np.int64(1000))
            self._newest = rows[np.argsort(-begin, kind="stable")]
            self._read_at = (have.version, n)
        return self._newest

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose the ``n`` best of the newest."""
        have = self._catalogue
        retrieve_fresh(
            self.newest(), READ, interest.t_s * 1000 + 999, self._half_life_ms,
            interest.categories, interest.category_short, interest.category_long,
            interest.brands, interest.brand_short, interest.brand_long,
            have.sellable, have.category, have.brand, have.first_seen_s, have.published_ms, have.expires_ms,
            self._ids, self._scores, min(n, LIMIT), self._tally, self._heap,
            column, into.items, into.score, into.seeds, into.stamp, into.row_of, into.head,
        )  # fmt: skip
