"""The shopper's own items."""

from __future__ import annotations

import pytest

from endcap.models.history import BOUGHT, CART, REST_S, HistorySource
from proposals import interest_of, order_of, proposed

SOURCE = HistorySource()


def test_the_cart_leads_and_the_rest_follows_interest() -> None:
    got = proposed(
        SOURCE, interest_of([1, 2, 3], weight=[1.0, 6.0, 2.0], action=["view", "cart_add", "wishlist_add"]), 9
    )
    assert order_of(got) == [2, 3, 1]
    assert got[2] == (6.0 * CART, 1)
    assert got[1] == (1.0, 0)


@pytest.mark.parametrize(("age_s", "score"), [(0, None), (REST_S - 1, None), (REST_S, 3.0 * BOUGHT)])
def test_a_bought_item_rests_before_it_comes_back(age_s: int, score: float | None) -> None:
    got = proposed(SOURCE, interest_of([4], weight=[3.0], action=["purchase"], age_s=[age_s]), 9)
    assert got == ({} if score is None else {4: (score, 0)})


def test_items_that_the_query_names_are_left_out() -> None:
    assert set(proposed(SOURCE, interest_of([1, 2, 3], n_context=2), 9)) == {3}


def test_no_more_than_asked_for_newest_first() -> None:
    assert set(proposed(SOURCE, interest_of([5, 4, 3]), 9, n=2)) == {5, 4}


def test_a_stranger_has_no_history() -> None:
    assert proposed(SOURCE, interest_of([]), 9) == {}
