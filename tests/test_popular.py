"""Popular items against a twin in plain Python, on real top lists and on lists made up for the case."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.models.popular import (
    CATEGORIES,
    CATEGORY_WEIGHT,
    DEVICE_WEIGHT,
    GENERAL,
    HALF_LIVES_S,
    HOUR_WEIGHT,
    PRIOR,
    REGION_WEIGHT,
    WEEK,
    PopularSource,
)
from endcap.types import BOUGHT, SEEN, Interest
from proposals import interest_of, order_of, proposed

N_ITEMS = 30
NOW = 1_700_000_000
DEPTH = 8


class Lists:
    """Top lists by name: 12 global rows, then hours, devices, regions and categories that the case fills."""

    def __init__(self) -> None:
        self.items = np.full((60, DEPTH), -1, np.int32)
        self.keys = np.full((60, DEPTH), -np.inf)
        self.length = np.zeros(60, np.int32)
        self.region_row = np.array([42, 43, -1, 45], np.int32)
        self.category_row = np.arange(46, 60, dtype=np.int32)

    def put(self, row: int, counts: dict[int, float], half_life_s: float) -> None:
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:DEPTH]
        self.length[row] = len(ranked)
        for k, (item, count) in enumerate(ranked):
            self.items[row, k], self.keys[row, k] = item, math.log2(count) + NOW / half_life_s

    def row_global(self, group: int, half_life: int) -> int:
        return group * 4 + half_life

    def row_hour(self, hour: int) -> int:
        return 12 + hour if hour >= 0 else -1

    def row_device(self, device: int) -> int:
        return 36 + device


def moment(hour: int = -1, device: int = 5, region: int = -1, categories: tuple[int, ...] = ()) -> Interest:
    interest = interest_of([], t_s=NOW)
    interest.hour, interest.device, interest.region = hour, device, region
    for k, category in enumerate(categories):
        interest.categories[k], interest.category_short[k] = category, 0.5 / (k + 1)
        interest.category_long[k] = 0.2
    return interest


def twin(lists: Lists, interest: Interest, n: int) -> dict[int, float]:
    asked = [(lists.row_global(group, h), weight, HALF_LIVES_S[h], n) for group, h, weight in GENERAL]
    half = (n + 1) // 2
    week = HALF_LIVES_S[WEEK]
    asked += [
        (row, weight, week, half)
        for row, weight in [
            (lists.row_hour(interest.hour), HOUR_WEIGHT),
            (lists.row_device(interest.device), DEVICE_WEIGHT),
            (lists.region_row[interest.region] if 0 <= interest.region < 4 else -1, REGION_WEIGHT),
        ]
        if row >= 0
    ]
    for k in range(CATEGORIES):
        category = int(interest.categories[k])
        share = max(float(interest.category_short[k]), float(interest.category_long[k]))
        if category >= 0:
            asked.append((lists.category_row[category], CATEGORY_WEIGHT * share, week, half))
    scores: dict[int, float] = defaultdict(float)
    for row, weight, half_life, depth in asked:
        values = [2.0 ** (key - NOW / half_life) for key in lists.keys[row, : lists.length[row]]]
        for item, value in list(zip(lists.items[row].tolist(), values, strict=False))[:depth]:
            scores[item] += weight * math.sqrt(value / (values[0] + PRIOR)) / sum(a[1] for a in asked)
    return {item: scores[item] for item in sorted(scores, key=lambda i: (-scores[i], i))[:n]}


counts = st.dictionaries(st.integers(0, N_ITEMS - 1), st.integers(1, 1000).map(float), max_size=DEPTH)


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(0, 59), counts, max_size=20),
    st.integers(-1, 23), st.integers(0, 5), st.integers(-1, 5),
    st.lists(st.integers(0, 13), unique=True, max_size=5), st.integers(1, 12),
)  # fmt: skip
def test_scores_equal_the_twin(
    filled: dict[int, dict[int, float]], hour: int, device: int, region: int, categories: list[int], n: int
) -> None:
    lists = Lists()
    for row, count in filled.items():
        lists.put(row, count, HALF_LIVES_S[row % 4] if row < 12 else HALF_LIVES_S[WEEK])
    interest = moment(hour, device, region, tuple(categories))
    got = proposed(PopularSource(lists), interest, N_ITEMS, n)
    wanted = twin(lists, interest, n)
    assert len(got) == len(wanted)
    assert sorted(score for score, _ in got.values()) == pytest.approx(sorted(wanted.values()), rel=1e-5)
    assert all(0 < score <= 1 and seed == -1 for score, seed in got.values())


def test_what_sells_lately_leads_and_the_moment_moves_it() -> None:
    lists = Lists()
    lists.put(lists.row_global(SEEN, WEEK), {1: 100, 2: 90, 3: 80}, HALF_LIVES_S[WEEK])
    lists.put(lists.row_hour(20), {3: 50}, HALF_LIVES_S[WEEK])
    source = PopularSource(lists)
    assert order_of(proposed(source, moment(hour=9), N_ITEMS)) == [1, 2, 3]
    assert order_of(proposed(source, moment(hour=20), N_ITEMS))[0] == 3


def test_the_shoppers_categories_come_forward() -> None:
    lists = Lists()
    lists.put(lists.row_global(BOUGHT, WEEK), {1: 100, 2: 100}, HALF_LIVES_S[WEEK])
    lists.put(lists.category_row[7], {2: 400, 5: 399}, HALF_LIVES_S[WEEK])
    assert order_of(proposed(PopularSource(lists), moment(categories=(7,)), N_ITEMS)) == [2, 5, 1]


def test_a_shop_without_events_has_nothing_popular() -> None:
    source = PopularSource(Lists())
    assert source.is_empty()
    assert proposed(source, moment(), N_ITEMS) == {}


def test_one_view_is_less_of_a_hit_than_a_hundred() -> None:
    few, many = Lists(), Lists()
    few.put(few.row_global(SEEN, WEEK), {1: 1}, HALF_LIVES_S[WEEK])
    many.put(many.row_global(SEEN, WEEK), {1: 100}, HALF_LIVES_S[WEEK])
    assert not PopularSource(few).is_empty()
    assert proposed(PopularSource(few), moment(), N_ITEMS)[1] < proposed(PopularSource(many), moment(), N_ITEMS)[1]
