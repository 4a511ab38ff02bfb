"""Popular: what shoppers look at, want and buy now, in general and in this moment's slices.

Idea: the top lists hold decayed counts, always sorted. A query blends those that fit its moment: trending (6 h, 1 d),
the week's views, wanted, bought, the local hour, the device, the region, and the shopper's own categories. In each list
an item counts by its share of the list's leader, square-rooted so that the head does not bury everything else, and held
down by ``PRIOR`` where even the leader is little seen:

    share(i) = sqrt(value(i) / (value(leader) + PRIOR)),    value = 2^(key - t / half-life)
    score(i) = sum over lists of weight x share(i) / sum of the weights          in 0..1

So a score does not depend on the other candidates of the request (law L5). It carries no seed: nobody's own item
suggested it. Old news fades from the short lists first; the week's lists remain.

Cost: some ten lists of 24 to 48 entries, ~5 us. When not to use it: alone, for shoppers who are known.
"""

from __future__ import annotations

import math
from typing import ClassVar, Protocol

import numpy as np
from numba import njit

from endcap.candidates import Candidates, add
from endcap.topn import LIMIT, N_SIZES, RowMap, best, key_id, key_score
from endcap.types import BOUGHT, F4, F8, I4, I8, MAX_TAGS, SEEN, WANTED, Interest

HOUR, HOURS_6, DAY, WEEK = range(4)  # indices of half-lives
HALF_LIVES_S = (3_600.0, 21_600.0, 86_400.0, 604_800.0)
PRIOR = 3.0  # events that a list's leader must stand out from
# Lists for everybody: action group, half-life, weight.
GENERAL = (
    (SEEN, HOURS_6, 1.0), (SEEN, DAY, 1.0), (SEEN, WEEK, 0.5), (WANTED, DAY, 0.75), (WANTED, WEEK, 0.5),
    (BOUGHT, WEEK, 0.75),
)  # fmt: skip
HOUR_WEIGHT, DEVICE_WEIGHT, REGION_WEIGHT = 0.75, 0.25, 0.75
CATEGORY_WEIGHT = 1.5  # times the share of the shopper's interest in it
CATEGORIES = 3  # strongest categories whose lists are read
MAX_LISTS = len(GENERAL) + 3 + CATEGORIES
# Lists of the last hours, for ``trending``: as many at most.
NOW = (
    (SEEN, HOUR, 1.0), (SEEN, HOURS_6, 1.0), (WANTED, HOUR, 1.0), (WANTED, HOURS_6, 0.5), (BOUGHT, HOUR, 1.0),
    (BOUGHT, HOURS_6, 0.5),
)  # fmt: skip
NOWHERE: I4 = np.full(MAX_TAGS, -1, np.int32)


class TopLists(Protocol):
    """Sorted lists of items with log2 keys; see features/top_lists.py."""

    items: I4
    keys: F8
    length: I4
    region_row: I4  # row of a region's list, -1 = none; shorter than the number of regions while few have one
    category_row: I4  # the same for categories

    def row_global(self, group: int, half_life: int) -> int: ...
    def row_hour(self, hour: int) -> int: ...
    def row_device(self, device: int) -> int: ...


@njit(cache=True, nogil=True)
def choose(
    hour_row: int, device_row: int, region: int, region_row: I4, categories: I4, short: F4, long: F4, category_row: I4,
    n_lists: int, lists: I4, weight: F4,
) -> int:  # fmt: skip
    """Write the rows and weights of the moment's lists behind the general ones; returns how many lists in all."""
    if hour_row >= 0:
        lists[n_lists], weight[n_lists] = hour_row, HOUR_WEIGHT
        n_lists += 1
    if device_row >= 0:
        lists[n_lists], weight[n_lists] = device_row, DEVICE_WEIGHT
        n_lists += 1
    if 0 <= region < region_row.shape[0] and region_row[region] >= 0:
        lists[n_lists], weight[n_lists] = region_row[region], REGION_WEIGHT
        n_lists += 1
    for k in range(CATEGORIES):
        category = categories[k]
        if 0 <= category < category_row.shape[0] and category_row[category] >= 0:
            lists[n_lists], weight[n_lists] = category_row[category], CATEGORY_WEIGHT * max(short[k], long[k])
            n_lists += 1
    return n_lists


@njit(cache=True, nogil=True, error_model="numpy")
def blend(
    lists: I4, weight: F4, half_life_s: F8, n_lists: int, n_general: int, t_s: int, depth: int,
    items: I4, keys: F8, length: I4, slots: I4, stamp: int, ids: I4, scores: F4,
) -> int:  # fmt: skip
    """Weighted shares of the first ``depth`` entries of each list (half of it beyond the general ones); returns how
    many items."""
    whole = 0.0
    for q in range(n_lists):
        whole += weight[q]
    n_rows = 0
    for q in range(n_lists):
        at = lists[q]
        now = t_s / half_life_s[q]
        if length[at] == 0:
            continue
        unit = weight[q] / whole / math.sqrt(math.exp2(keys[at, 0] - now) + PRIOR)
        for k in range(min(length[at], depth if q < n_general else (depth + 1) // 2)):
            share = np.float32(unit * math.exp2(0.5 * (keys[at, k] - now)))
            item = np.uint64(items[at, k])
            if slots[item, 0] != stamp:
                slots[item, 0], slots[item, 1] = stamp, n_rows
                ids[n_rows], scores[n_rows] = items[at, k], 0.0
                n_rows += 1
            scores[np.uint64(slots[item, 1])] += share
    return n_rows


@njit(cache=True, nogil=True)
def retrieve_popular(
    hour_row: int, device_row: int, region: int, region_row: I4, categories: I4, short: F4, long: F4, category_row: I4,
    lists: I4, weight: F4, half_life_s: F8, n_general: int, t_s: int,
    items: I4, keys: F8, length: I4, slots: I4, stamp: int, ids: I4, scores: F4,
    limit: int, tally: I4, heap: I8,
    column: int, into_items: I4, into_score: F4, into_seeds: I4, into_stamp: I4, into_row: I4, into_head: I8,
) -> None:  # fmt: skip
    """One query from lists to candidates."""
    n_lists = choose(
        hour_row, device_row, region, region_row, categories, short, long, category_row, n_general, lists, weight
    )
    n_rows = blend(
        lists, weight, half_life_s, n_lists, n_general, t_s, limit, items, keys, length, slots, stamp, ids, scores
    )
    size = best(ids, scores, n_rows, limit, tally, heap)
    for h in range(size):
        add(key_id(heap[h]), column, key_score(heap[h]), -1,
            into_items, into_score, into_seeds, into_stamp, into_row, into_head)  # fmt: skip


class PopularSource:
    """Popular here and now."""

    name = "popular"
    general: ClassVar[tuple[tuple[int, int, float], ...]] = GENERAL

    def __init__(self, tops: TopLists, rows: RowMap | None = None) -> None:
        """``rows``: scratch that may be shared with the other sources of the same engine."""
        self._tops = tops
        self._map = rows or RowMap()
        self._lists: I4 = np.zeros(MAX_LISTS, np.int32)
        self._weight: F4 = np.zeros(MAX_LISTS, np.float32)
        self._half_life_s: F8 = np.full(MAX_LISTS, HALF_LIVES_S[WEEK])
        for q, (group, half_life, weight) in enumerate(self.general):
            self._lists[q] = tops.row_global(group, half_life)
            self._weight[q], self._half_life_s[q] = weight, HALF_LIVES_S[half_life]
        most = MAX_LISTS * tops.items.shape[1]
        self._ids: I4 = np.zeros(most, np.int32)
        self._scores: F4 = np.zeros(most, np.float32)
        self._tally: I4 = np.zeros(N_SIZES, np.int32)
        self._heap: I8 = np.zeros(LIMIT, np.int64)

    def is_empty(self) -> bool:
        """Whether nothing has ever been seen, wanted or bought."""
        return not self._tops.length[self._lists[: len(self.general)]].any()

    def head(self, n: int) -> I4:
        """Dense ids of the ``n`` most viewed items of the week, the most viewed first: a view."""
        row = self._tops.row_global(SEEN, WEEK)
        return self._tops.items[row, : min(n, int(self._tops.length[row]))]

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose the ``n`` items most popular in this moment and in the shopper's categories."""
        tops = self._tops
        stamp = self._map.begin(into.stamp.shape[0])
        retrieve_popular(
            tops.row_hour(interest.hour), tops.row_device(interest.device), interest.region, tops.region_row,
            interest.categories, interest.category_short, interest.category_long, tops.category_row,
            self._lists, self._weight, self._half_life_s, len(self.general), interest.t_s,
            tops.items, tops.keys, tops.length, self._map.slots, stamp, self._ids, self._scores,
            min(n, LIMIT), self._tally, self._heap,
            column, into.items, into.score, into.seeds, into.stamp, into.row_of, into.head,
        )  # fmt: skip


class TrendingSource(PopularSource):
    """What everybody looks at, wants and buys in these hours, wherever they are."""

    name = "trending"
    general = NOW

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose the ``n`` items with the most going on."""
        tops = self._tops
        stamp = self._map.begin(into.stamp.shape[0])
        retrieve_popular(
            -1, -1, -1, tops.region_row, NOWHERE, interest.category_short, interest.category_long, tops.category_row,
            self._lists, self._weight, self._half_life_s, len(self.general), interest.t_s,
            tops.items, tops.keys, tops.length, self._map.slots, stamp, self._ids, self._scores,
            min(n, LIMIT), self._tally, self._heap,
            column, into.items, into.score, into.seeds, into.stamp, into.row_of, into.head,
        )  # fmt: skip
