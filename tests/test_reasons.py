from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.interest.interest import empty_interest
from endcap.slate import reasons as module
from endcap.slate.reasons import CODES, LEAST_SHARE, MOST, TERM_CODE, Reasons
from endcap.types import ACTION_CODE, Interest, Reason
from shelf import dense, item, stocked

SOURCES = ("history", "covisit", "popular")
TERMS = ("src:history", "src:covisit", "src:popular", "category_short", "category_long", "brand_long", "price_fit")
SHELVES = stocked([item("a", categories=[["Kitchen", "Mugs"]], brand="Acme"), item("b"), item("c"), item("d")])
REASONS = Reasons(SOURCES, TERMS, SHELVES)


def interest(seeds: list[int], actions: list[str] | None = None) -> Interest:
    made = empty_interest()
    made.n_seeds = len(seeds)
    made.seeds[:] = 3  # what an earlier shopper left in the scratch
    made.seeds[: len(seeds)] = seeds
    for k, name in enumerate(actions or []):
        made.action[k] = ACTION_CODE[name]
    return made


def explain(
    trace: list[float], seeds: tuple[int, int, int] = (-1, -1, -1), who: Interest | None = None, of: int = 0
) -> list[Reason]:
    return REASONS.explain(
        who or interest([1, 2], ["view", "cart_add"]), dense(0), dense(of), np.array([seeds], np.int32),
        np.array([trace], np.float32), SHELVES.items.name,
    )[0]  # fmt: skip


def test_the_largest_contributions_become_reasons_with_their_shares() -> None:
    assert explain([0, 0.6, 0.3, 0, 0, 0, 0.1], (-1, 0, -1)) == [
        Reason("viewed_together", 0.6, "b"), Reason("trending", 0.3),
    ]  # fmt: skip


def test_terms_that_mean_the_same_are_one_reason() -> None:
    assert explain([0, 0, 0.4, 0.3, 0.3, 0, 0]) == [
        Reason("favourite_category", 0.6, None, "Mugs"),
        Reason("trending", 0.4),
    ]


def test_names_are_left_out_where_the_catalogue_has_none() -> None:
    assert explain([0, 0, 0, 0.5, 0, 0.5, 0], of=1) == [
        Reason("favourite_category", 0.5),
        Reason("favourite_brand", 0.5),
    ]
    assert explain([0, 0, 0, 0, 0, 1, 0]) == [Reason("favourite_brand", 1.0, None, "Acme")]


def test_ones_own_item_is_in_the_cart_if_the_cart_holds_it() -> None:
    assert explain([1, 0, 0, 0, 0, 0, 0], (1, -1, -1)) == [Reason("in_your_cart", 1.0, "c")]
    assert explain([1, 0, 0, 0, 0, 0, 0], (0, -1, -1)) == [Reason("your_history", 1.0, "b")]


def test_penalties_do_not_push_shares_over_one() -> None:
    assert explain([0, 0.5, 0, -0.4, 0, 0, 0]) == [Reason("viewed_together", 1.0)]


def test_small_parts_are_not_told_but_the_largest_always_is() -> None:
    assert explain([0, 0.95, 0.05, 0, 0, 0, 0]) == [Reason("viewed_together", 0.95)]
    assert explain([0, 0, 0.05, 0, 0, 0, 0.95]) == [Reason("trending", 0.05)]


def test_no_contribution_gives_no_reason() -> None:
    assert explain([0, -1, 0, 0, 0, 0, 5]) == []


def test_a_seed_that_the_interest_no_longer_has_is_not_named() -> None:
    assert explain([0, 1, 0, 0, 0, 0, 0], (-1, 7, -1)) == [Reason("viewed_together", 1.0)]


def test_what_the_shop_did_comes_first_and_three_reasons_are_the_most() -> None:
    trace = np.array([[0.4, 0.3, 0.2, 0, 0, 0.1, 0], [0, 1, 0, 0, 0, 0, 0]], np.float32)
    first, second = REASONS.explain(
        interest([]), dense(0, 1), dense(0, 1), np.full((2, 3), -1, np.int32), trace, SHELVES.items.name,
        pinned=np.array([1, 0], np.uint8), promoted=np.array([1, 0], np.uint8),
    )  # fmt: skip
    assert [reason.code for reason in first] == ["pinned", "promoted", "your_history"]
    assert [reason.code for reason in second] == ["viewed_together"]


def test_the_place_and_the_hour_of_the_moment_are_named() -> None:
    moment = Reasons(SOURCES, ("lift_region", "lift_hour"), SHELVES, ["Lyon", "Beijing"].__getitem__)
    who = interest([])
    who.hour, who.region = 20, 1
    for region, name in ((1, "Beijing"), (-1, None)):
        who.region = region
        got = moment.explain(
            who, dense(0), dense(0), np.full((1, 3), -1, np.int32), np.array([[0.6, 0.4]], np.float32), str
        )  # fmt: skip
        assert got == [[Reason("popular_here", 0.6, None, name), Reason("popular_at_this_hour", 0.4, None, "20")]]


def test_all_columns_of_popularity_say_trending() -> None:
    terms = ("pop_seen_1h", "pop_bought_7d", "trend_day", "bought_rate")
    got = Reasons(SOURCES, terms, SHELVES).explain(
        interest([]), dense(0), dense(0), np.full((1, 3), -1, np.int32), np.array([[1, 1, 1, 1]], np.float32), str
    )  # fmt: skip
    assert got == [[Reason("trending", 0.75)]]


def test_reasons_kept_for_reuse_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READY", 4)
    few = Reasons(SOURCES, TERMS, SHELVES)
    for percent in range(10, 90):
        trace = np.array([[0, percent, 0, 0, 0, 0, 100 - percent]], np.float32)
        got = few.explain(interest([]), dense(0), dense(0), np.full((1, 3), -1, np.int32), trace, str)
        assert got == [[Reason("viewed_together", int(percent / 5 + 0.5) * 5 / 100)]]
        assert len(few._ready) <= 4 + 1 + MOST  # what the running answer needs comes on top


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(-4, 12), min_size=7, max_size=7), min_size=1, max_size=70))
def test_the_kernel_equals_adding_up_by_hand(parts: list[list[int]]) -> None:
    trace = np.array(parts, np.float32) / 8
    n = len(parts)
    got = REASONS.explain(
        interest([]), np.arange(n, dtype=np.int32)[::-1].copy(), np.zeros(n, np.int32), np.full((n, 3), -1, np.int32),
        trace, SHELVES.items.name,
    )  # fmt: skip
    for row, reasons in zip(trace, got, strict=True):
        whole = float(row[row > 0].sum())
        sums: dict[str, float] = {}
        for term, part in zip(TERMS, row, strict=True):
            if part > 0 and term in TERM_CODE:
                sums[TERM_CODE[term]] = sums.get(TERM_CODE[term], 0.0) + float(part)
        ranked = sorted(sums.items(), key=lambda one: (-one[1], CODES.index(one[0])))
        wanted = [one for k, one in enumerate(ranked[:MOST]) if k == 0 or one[1] >= LEAST_SHARE * whole]
        assert [reason.code for reason in reasons] == [code for code, _ in wanted]
        assert [reason.share for reason in reasons] == pytest.approx([s / whole for _, s in wanted], abs=0.026)
