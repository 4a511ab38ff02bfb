from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.slate.compose import DEPTH, SAME_BRAND, SAME_LEAF, SAME_TOP, Composer
from endcap.types import F4, I4, U1


@dataclass
class Shelves:
    group: I4
    category: I4
    top_category: I4
    brand: I4


def shelves(rows: list[tuple[int, int, int]]) -> Shelves:
    """(group, leaf category, brand) by dense id; leaves 0..3 have top 10, 4..7 top 11 and so on."""
    group, leaf, brand = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    return Shelves(group, leaf, np.where(leaf >= 0, 10 + leaf // 4, -1).astype(np.int32), brand)


def scored(values: list[float]) -> tuple[I4, F4, U1]:
    n = len(values)
    return np.arange(n, dtype=np.int32), np.array(values, np.float32), np.ones(n, np.uint8)


PLAIN = shelves([(-1, -1, -1)] * 8)
KITCHEN = shelves([(-1, 0, 0), (-1, 0, 0), (-1, 1, 1), (-1, 4, 2), (7, 5, 3), (7, 6, 4), (-1, -1, -1), (-1, 0, 5)])


def order(have: Shelves, values: list[float], n: int, **settings: Any) -> list[int]:
    return Composer(have).compose(*scored(values), n, **settings).tolist()


def test_without_diversity_the_order_is_by_score_then_by_id() -> None:
    assert order(PLAIN, [1, 3, 2, 3, 0], 4) == [1, 3, 2, 0]


def test_a_score_that_is_not_finite_takes_no_place_and_is_counted() -> None:
    composer = Composer(PLAIN)
    rows = composer.compose(*scored([1, math.nan, math.inf, 2, -math.inf]), 5, pins=[(0, 1)])
    assert rows.tolist() == [3, 0]
    assert composer.n_nonfinite == 3
    assert composer.n_pinned == 0


def test_what_may_not_be_placed_is_not() -> None:
    items, scores, keep = scored([3, 2, 1])
    keep[0] = 0
    assert Composer(PLAIN).compose(items, scores, keep, 3, pins=[(0, 0)]).tolist() == [1, 2]


def test_one_item_of_a_group() -> None:
    assert order(KITCHEN, [0, 0, 0, 0, 5, 6, 1, 0], 2) == [5, 6]


def test_the_same_item_twice_is_placed_once() -> None:
    composer = Composer(PLAIN)
    items, scores = np.array([3, 3, 1], np.int32), np.array([9, 8, 1], np.float32)
    assert composer.compose(items, scores, np.ones(3, np.uint8), 3).tolist() == [0, 2]


def test_diversity_prefers_another_shelf_over_a_slightly_better_twin() -> None:
    values = [1.0, 0.98, 0.6, 0.9, 0, 0, 0, 0]
    assert order(KITCHEN, values, 3) == [0, 1, 3]
    assert order(KITCHEN, values, 3, diversity=0.25) == [0, 3, 1]


def test_caps_are_strict() -> None:
    values = [9, 8, 7, 6, 5, 4, 3, 2]
    assert order(KITCHEN, values, 8, category_cap=1) == [0, 2, 3, 4, 6]
    assert order(KITCHEN, values, 8, brand_cap=1) == [0, 2, 3, 4, 6, 7]


def test_pins_stand_where_they_are_told_and_count_against_caps() -> None:
    values = [9, 8, 7, 6, 5, 4, 3, 2]
    assert order(KITCHEN, values, 5, pins=[(1, 7), (3, 6)]) == [0, 7, 1, 6, 2]
    assert order(KITCHEN, values, 4, category_cap=1, pins=[(2, 7)]) == [2, 3, 7, 4]


def test_pins_for_one_place_stand_behind_one_another() -> None:
    assert order(PLAIN, [5, 4, 3, 2], 4, pins=[(0, 3), (0, 2), (9, 1)]) == [3, 2, 0, 1]


def test_pins_of_one_group_or_one_item_are_placed_once() -> None:
    assert order(KITCHEN, [1, 1, 1, 1, 1, 1, 1, 1], 3, pins=[(0, 5), (1, 4), (1, 5)]) == [5, 0, 1]


def test_a_pin_moves_up_when_the_places_before_it_stay_empty() -> None:
    items, scores, keep = scored([1, 2])
    assert Composer(PLAIN).compose(items, scores, keep, 9, pins=[(5, 0)]).tolist() == [1, 0]


def test_caps_reach_beyond_the_best_candidates_when_those_are_used_up() -> None:
    many = shelves([(-1, 0, 0)] * 50 + [(-1, 1, 1)])
    values = [100.0 - k for k in range(51)]
    assert 2 * DEPTH < 50
    assert order(many, values, 2, category_cap=1) == [0, 50]


def test_no_candidates_give_an_empty_slate() -> None:
    assert order(PLAIN, [], 5) == []


def test_more_places_and_candidates_than_ever_before_find_room() -> None:
    big = shelves([(-1, -1, -1)] * 1500)
    assert len(order(big, [float(k) for k in range(1500)], 400)) == 400


# ---------------------------------------------------------------- the twin


def similarity(have: Shelves, a: int, b: int) -> float:
    out = 0.0
    if have.category[a] >= 0 and have.category[a] == have.category[b]:
        out = SAME_LEAF
    elif have.top_category[a] >= 0 and have.top_category[a] == have.top_category[b]:
        out = SAME_TOP
    return out + (SAME_BRAND if have.brand[a] >= 0 and have.brand[a] == have.brand[b] else 0.0)


def twin(have: Shelves, items: I4, scores: F4, n: int, diversity: float, caps: tuple[int, int]) -> list[int]:
    """Greedy MMR by looking at every row for every place."""
    ranked = sorted(
        (r for r in range(len(items)) if np.isfinite(scores[r])), key=lambda r: (-float(scores[r]), int(items[r]))
    )
    scale = abs(float(scores[ranked[0]])) or 1.0 if ranked else 1.0
    weight = (1.0 - diversity) / scale
    chosen: list[int] = []
    for _ in range(n):
        best, best_value = -1, -math.inf
        for seen, row in enumerate(ranked):
            a = items[row]
            placed = [items[c] for c in chosen]
            if best >= 0 and seen >= DEPTH * n:
                break
            if row in chosen or any(a == b or (have.group[a] >= 0 and have.group[a] == have.group[b]) for b in placed):
                continue
            if (
                caps[0]
                and sum(have.category[a] >= 0 and have.category[a] == have.category[b] for b in placed) >= caps[0]
            ):
                continue
            if caps[1] and sum(have.brand[a] >= 0 and have.brand[a] == have.brand[b] for b in placed) >= caps[1]:
                continue
            near = np.float32(max((similarity(have, int(a), int(b)) for b in placed), default=0.0))
            value = weight * float(scores[row]) - diversity * float(near)
            if value > best_value:
                best, best_value = row, value
        if best < 0:
            break
        chosen.append(best)
    return chosen


ROWS = st.tuples(st.integers(-1, 6), st.integers(-1, 9), st.integers(-1, 4))
SCORES = st.integers(-8, 40).map(lambda k: k / 8) | st.sampled_from([math.nan, math.inf])


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(ROWS, SCORES), min_size=1, max_size=40),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.15, 0.25, 0.5, 1.0]),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.sampled_from([0.0, 0.0, 3.0, 6.0]),
    st.randoms(use_true_random=False),
)
def test_the_kernel_equals_greedy_mmr_by_hand(
    rows: list[tuple[tuple[int, int, int], float]],
    n: int,
    diversity: float,
    caps: tuple[int, int],
    less: float,
    random: Any,
) -> None:
    have = shelves([row for row, _ in rows])
    items = list(range(len(rows)))
    random.shuffle(items)
    dense = np.array(items, np.int32)
    scores = np.array([score - less for _, score in rows], np.float32)
    got = Composer(have).compose(
        dense, scores, np.ones(len(rows), np.uint8), n, diversity=diversity, category_cap=caps[0], brand_cap=caps[1]
    )
    assert got.tolist() == twin(have, dense, scores, n, diversity, caps)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=30), st.data())
def test_the_order_of_the_candidates_does_not_matter(rows: list[tuple[int, int, int]], data: st.DataObject) -> None:
    have = shelves(rows)
    items, scores, keep = scored([float(k % 5) for k in range(len(rows))])
    shuffled = np.array(data.draw(st.permutations(range(len(rows)))), np.int32)
    straight = items[Composer(have).compose(items, scores, keep, 8, diversity=0.25)]
    mixed = items[shuffled][Composer(have).compose(items[shuffled], scores[shuffled], keep, 8, diversity=0.25)]
    assert straight.tolist() == mixed.tolist()


def test_many_alike_candidates_are_placed_as_by_hand() -> None:
    rng = np.random.default_rng(7)
    for _ in range(60):
        rows = [(-1, int(rng.integers(0, 8)), int(rng.integers(0, 4))) for _ in range(60)]
        have, (items, scores, keep) = shelves(rows), scored((1 - rng.random(60) * rng.choice([0.2, 2.2])).tolist())
        diversity = float(rng.choice([0.25, 0.5]))
        got = Composer(have).compose(items, scores, keep, 12, diversity=diversity)
        assert got.tolist() == twin(have, items, scores, 12, diversity, (0, 0))


def test_scratch_of_an_earlier_slate_does_not_show() -> None:
    composer = Composer(KITCHEN)
    values = [9.0, 8, 7, 6, 5, 4, 3, 2]
    fresh = order(KITCHEN, values, 5, diversity=0.25, category_cap=2)
    composer.compose(*scored(values[::-1]), 8, pins=[(0, 4)], brand_cap=1)
    assert composer.compose(*scored(values), 5, diversity=0.25, category_cap=2).tolist() == fresh


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0], [-1.0, -3.0, -2.0]])
def test_scores_of_zero_and_below_are_still_an_order(values: list[float]) -> None:
    assert order(PLAIN, values, 3, diversity=0.25) == sorted(range(3), key=lambda k: -values[k])
