from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.features.catalogue import Catalogue
from endcap.slate.guard import Guard, fill
from endcap.types import I4, U1
from shelf import T0, dense, item, put, stocked

SHOP = [
    item("fine"),
    item("hidden", hidden=True),
    item("sold out", availability="out_of_stock"),
    item("later", published_at=T0 + 10),
    item("over", expires_at=T0),
    item("adult", adult=True),
    item("fine too"),
]
ALL = np.arange(len(SHOP), dtype=np.int32)


def shown(guard: Guard, items: I4 = ALL) -> list[int]:
    return np.flatnonzero(guard.allow(items)).tolist()


def begun(**settings: Any) -> Guard:
    guard = Guard(stocked(SHOP))
    guard.begin(T0, **settings)
    return guard


def test_only_what_is_on_sale_to_everybody_is_shown() -> None:
    assert shown(begun()) == [0, 6]


def test_adult_items_are_shown_where_that_is_allowed() -> None:
    assert shown(begun(allow_adult=True)) == [0, 5, 6]


@pytest.mark.parametrize("reason", ["exclude", "hidden", "touched"])
def test_excluded_hidden_and_touched_items_are_not_shown(reason: str) -> None:
    given_items = [6, -1] if reason == "exclude" else dense(6)
    assert shown(begun(**{reason: given_items})) == [0]


def test_an_exclusion_ends_with_its_query() -> None:
    guard = begun(exclude=[0, 6])
    assert shown(guard) == []
    guard.begin(T0)
    assert shown(guard) == [0, 6]


def test_filters_must_all_pass_and_no_block_rule_may_hold() -> None:
    ones = np.ones(len(SHOP), np.uint8)
    only_first = np.array([1, 0, 0, 0, 0, 0, 0], np.uint8)
    assert shown(begun(keep=[ones, only_first])) == [0]
    assert shown(begun(keep=[ones], blocked=[only_first])) == [6]


def test_an_item_beyond_a_mask_passes_no_filter_and_no_block_rule_holds_it() -> None:
    short = np.ones(3, np.uint8)
    assert shown(begun(keep=[short])) == [0]
    assert shown(begun(blocked=[np.ones(0, np.uint8)])) == [0, 6]


def test_ids_outside_the_catalogue_are_not_shown() -> None:
    catalogue = stocked(SHOP)
    guard = Guard(catalogue)
    guard.begin(T0)
    room = catalogue.sellable.shape[0]
    assert guard.allow(dense(-1, 0, room, room + 7)).tolist() == [0, 1, 0, 0]


def test_what_was_acknowledged_as_gone_is_not_shown_by_the_next_query() -> None:
    catalogue = stocked(SHOP)
    guard = Guard(catalogue)
    put(catalogue, item("fine", stock_qty=0), T0 + 1)
    catalogue.put(6, None, T0 + 2)
    guard.begin(T0 + 3)
    assert shown(guard) == []


def test_the_last_check_keeps_order_drops_repeats_and_ends_at_n() -> None:
    guard = begun(allow_adult=True)
    assert guard.last(dense(6, 1, 6, 5, 0), 9).tolist() == [0, 3, 4]
    assert guard.last(dense(6, 1, 6, 5, 0), 2).tolist() == [0, 3]
    assert guard.last(dense(), 2).tolist() == []


def test_what_the_check_takes_out_is_refilled_from_the_next_best() -> None:
    guard = begun()
    keep = np.ones(len(SHOP), np.uint8)
    calls = []

    def compose(may: U1) -> I4:
        calls.append(may.tolist())
        return np.flatnonzero(may)[:2].astype(np.int32)

    assert fill(guard, ALL, keep, 2, compose).tolist() == [0, 6]
    assert keep.all()
    assert len(calls) > 1


@given(
    st.lists(st.integers(0, 11), max_size=30),
    st.integers(1, 10),
    st.sets(st.integers(0, 11)),
    st.lists(st.integers(0, 1), min_size=12, max_size=12),
)
def test_the_last_check_equals_a_plain_loop(items: list[int], n: int, exclude: set[int], mask: list[int]) -> None:
    guard = Guard(catalogue_of_twelve())
    guard.begin(T0, exclude=exclude, keep=[np.array(mask, np.uint8)])
    kept: list[int] = []
    for k, one in enumerate(items):
        ok = one % 3 != 0 and one not in exclude and mask[one] and one not in [items[j] for j in kept]
        if ok and len(kept) < n:
            kept.append(k)
    assert guard.last(np.array(items, np.int32), n).tolist() == kept


def catalogue_of_twelve() -> Catalogue:
    return stocked([item(str(k), hidden=k % 3 == 0) for k in range(12)])
