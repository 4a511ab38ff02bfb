from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.config import CatalogueConfig
from endcap.features import catalogue as module
from endcap.features.catalogue import Catalogue
from endcap.features.fields import MAX_LEVELS
from endcap.preprocess.ids import Ids
from endcap.types import Arrays, Item
from shelf import T0, dense, item, put, stocked

MUG = item("mug", categories=[["Kitchen", "Mugs"]], brand="Acme", price=8.0, group_id="g1", tags=["blue", "gift"])
POT = item("pot", categories=[["Kitchen", "Pots"], ["Sale"]], brand="Bolt", price=40.0, attributes={"oven": True})


def equal(a: Arrays, b: Arrays) -> bool:
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and np.array_equal(a[k], b[k], equal_nan=a[k].dtype.kind == "f") for k in a
    )


def test_a_record_comes_back_as_it_was_sent() -> None:
    catalogue = stocked([MUG, POT])
    assert catalogue.record(0) == MUG
    assert catalogue.record(1) == POT


def test_columns_say_leaf_top_brand_group_and_price() -> None:
    catalogue = stocked([MUG, POT])
    assert catalogue.category_path(int(catalogue.category[0])) == ["Kitchen", "Mugs"]
    assert catalogue.category_path(int(catalogue.category[1])) == ["Kitchen", "Pots"]
    assert catalogue.top_category[0] == catalogue.top_category[1] == catalogue.categories.get("Kitchen")
    assert catalogue.category_parent[catalogue.category[0]] == catalogue.top_category[0]
    assert catalogue.brands.name(int(catalogue.brand[1])) == "Bolt"
    assert catalogue.groups.name(int(catalogue.group[0])) == "g1"
    assert catalogue.group[1] == -1
    assert catalogue.log_price[0] == pytest.approx(math.log(8.0))


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, 1),
        ({"hidden": True}, 0),
        ({"availability": "out_of_stock"}, 0),
        ({"availability": "discontinued"}, 0),
        ({"availability": "preorder"}, 1),
        ({"availability": "backorder", "stock_qty": 0}, 1),
        ({"stock_qty": 0}, 0),
        ({"stock_qty": 3}, 1),
        ({"published_at": T0 + 5}, 0),
        ({"published_at": T0}, 1),
        ({"expires_at": T0}, 0),
        ({"expires_at": T0 + 1}, 1),
    ],
)
def test_an_item_is_available_only_while_it_can_be_bought(fields: dict[str, object], shown: int) -> None:
    catalogue = stocked([item("a", **fields)])
    assert catalogue.available(dense(0), T0).tolist() == [shown]


def test_a_deleted_item_is_gone_and_a_new_record_brings_it_back() -> None:
    catalogue = stocked([MUG])
    catalogue.put(0, None, T0 + 9)
    assert catalogue.record(0) is None
    assert catalogue.available(dense(0), T0 + 10).tolist() == [0]
    put(catalogue, MUG, T0 + 20)
    assert catalogue.record(0) == MUG
    assert catalogue.available(dense(0), T0 + 20).tolist() == [1]


@pytest.mark.parametrize("sell", [True, False])
def test_an_item_known_only_from_events_is_sold_if_the_setting_says_so(sell: bool) -> None:
    catalogue = Catalogue(Ids(), CatalogueConfig(sell_unlisted=sell))
    catalogue.items.intern("a")
    catalogue.grow(0, 1)
    catalogue.seen(dense(0, -1, 0), np.array([T0, T0, T0 + 5000]))
    assert catalogue.available(dense(0), T0).tolist() == [int(sell)]
    assert catalogue.first_seen_s[0] == T0 // 1000
    put(catalogue, item("a"))
    assert catalogue.available(dense(0), T0).tolist() == [1]


def test_the_first_sight_of_an_item_is_kept_when_its_record_changes() -> None:
    catalogue = stocked([MUG])
    put(catalogue, MUG, T0 + 999_000)
    assert catalogue.first_seen_s[0] == T0 // 1000


def test_price_z_is_measured_inside_the_leaf_category() -> None:
    prices = [10.0, 20.0, 40.0]
    records = [item(str(k), categories=[["A"]], price=p) for k, p in enumerate(prices)]
    catalogue = stocked([*records, item("none", price=5.0), item("free", categories=[["A"]], price=0.0)])
    logs = np.log(prices)
    z = (logs - logs.mean()) / (logs.std() + module.PRICE_SD_FLOOR)
    assert catalogue.price_z(dense(0, 1, 2)) == pytest.approx(z, abs=1e-5)
    assert np.isnan(catalogue.price_z(dense(3, 4))).all()


def test_a_moved_and_repriced_item_leaves_its_old_category_statistics() -> None:
    catalogue = stocked([MUG, item("b", categories=[["Kitchen", "Mugs"]], price=20.0)])
    put(catalogue, item("mug", categories=[["Toys"]], price=99.0))
    mugs, toys = catalogue.categories.get("Kitchen\x1fMugs"), catalogue.categories.get("Toys")
    assert catalogue.price_n[mugs] == 1
    assert catalogue.price_sum[mugs] == pytest.approx(math.log(20.0))
    assert catalogue.price_n[toys] == 1


def test_a_column_follows_changes_and_new_items() -> None:
    catalogue = stocked([MUG, POT])
    brand = catalogue.column("brand")
    assert [brand.codes[i] in brand.holding("Acme") for i in (0, 1)] == [True, False]
    put(catalogue, item("pot", brand="Acme"))
    catalogue.items.intern("seen only")
    brand = catalogue.column("brand")
    assert [brand.codes[i] in brand.holding("Acme") for i in (0, 1, 2)] == [True, True, False]
    assert brand.codes[2] == 0


def test_a_category_column_holds_every_prefix_of_every_path() -> None:
    column = stocked([MUG, POT]).column("categories")
    held = [[column.codes[i] in column.holding(path) for i in (0, 1)] for path in (["Kitchen"], ["Sale"], ["Mugs"])]
    assert held == [[True, True], [False, True], [False, False]]


def test_a_category_path_without_end_is_cut() -> None:
    catalogue = stocked([item("a", categories=[["x"] * 100_000])])
    assert len(catalogue.category_path(int(catalogue.category[0]))) == MAX_LEVELS
    assert len(catalogue.categories) == MAX_LEVELS
    assert len(catalogue.column("categories").index) == MAX_LEVELS


def test_true_is_not_one_in_a_column() -> None:
    catalogue = stocked([item("a", attributes={"x": True}), item("b", attributes={"x": 1.0})])
    column = catalogue.column("attributes.x")
    assert [column.codes[i] in column.holding(True) for i in (0, 1)] == [True, False]
    assert [column.codes[i] in column.holding(1.0) for i in (0, 1)] == [False, True]


def test_an_unknown_field_has_no_column() -> None:
    with pytest.raises(KeyError):
        stocked([MUG]).column("brnad")


def test_a_column_of_ever_new_values_is_rebuilt_rather_than_growing_for_ever() -> None:
    catalogue = stocked([MUG])
    for k in range(3000):
        put(catalogue, item("mug", stock_qty=k))
        catalogue.column("stock_qty")
    assert catalogue.column("stock_qty").n_codes < 1100


def test_caches_learn_that_they_are_too_old() -> None:
    catalogue = stocked([MUG, POT])
    assert catalogue.changed_since(1).tolist() == [1]  # type: ignore[union-attr]
    assert catalogue.changed_since(2).tolist() == []  # type: ignore[union-attr]
    for _ in range(module.CHANGES_KEPT):
        put(catalogue, MUG)
    assert catalogue.changed_since(1) is None


def test_replaced_records_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POOL_SLACK", 0)
    catalogue = stocked([MUG, POT])
    for k in range(200):
        put(catalogue, item("mug", title="x" * (k % 50)))
    assert catalogue.arrays(0, 2)["pool"].nbytes < 600
    assert catalogue.record(0) == item("mug", title="x" * (199 % 50))
    assert catalogue.record(1) == POT


def test_whole_numbers_beyond_every_column_are_dropped_rather_than_stopping_the_fold() -> None:
    catalogue = stocked([item("a", published_at=2**70, stock_qty=-(2**64), rating_count=4)])
    assert catalogue.record(0) == item("a", rating_count=4)
    assert catalogue.available(dense(0), T0).tolist() == [1]


RECORDS = st.builds(
    item,
    st.sampled_from("abcdef"),
    brand=st.sampled_from([None, "", "X", "Y"]),
    price=st.sampled_from([None, 0.0, 3.0, 7.5, float("inf")]),
    categories=st.sampled_from([[], [["A"]], [["A", "B"], ["C"]], [[]], [["C", "D", "E"]]]),
    hidden=st.booleans(),
)
CHANGES = st.lists(st.tuples(RECORDS, st.booleans()), max_size=30)


def apply(catalogue: Catalogue, changes: list[tuple[Item, bool]]) -> None:
    for k, (record, delete) in enumerate(changes):
        catalogue.put(catalogue.items.intern(record.item_id), None if delete else record, T0 + k)


@given(CHANGES, CHANGES)
def test_a_loaded_catalogue_goes_on_as_if_nothing_had_happened(
    first: list[tuple[Item, bool]], then: list[tuple[Item, bool]]
) -> None:
    straight = Catalogue(Ids())
    apply(straight, first)
    saved = {k: v.copy() for k, v in straight.arrays(0, len(straight.items)).items()}
    loaded = Catalogue(Ids())
    loaded.items.load(straight.items.arrays())
    loaded.load(saved)
    assert equal(loaded.arrays(0, len(loaded.items)), saved)
    apply(straight, then)
    loaded.grow(0, 5000)  # room must not show in the state
    apply(loaded, then)
    n = len(straight.items)
    assert equal(loaded.arrays(0, n), straight.arrays(0, n))
    assert [loaded.record(i) for i in range(n)] == [straight.record(i) for i in range(n)]


@given(CHANGES)
def test_columns_equal_what_the_records_say(changes: list[tuple[Item, bool]]) -> None:
    catalogue = Catalogue(Ids())
    apply(catalogue, changes)
    for i in range(len(catalogue.items)):
        record = catalogue.record(i)
        if record is None:
            assert catalogue.sellable[i] == 0
            continue
        paths = [path for path in record.categories if path]
        leaf = catalogue.category_path(int(catalogue.category[i])) if catalogue.category[i] >= 0 else None
        assert leaf == (paths[0] if paths else None)
        assert catalogue.sellable[i] == (not record.hidden)
        assert math.isnan(catalogue.log_price[i]) == (record.price not in (3.0, 7.5))
    for c in range(len(catalogue.categories)):
        inside = [
            float(catalogue.log_price[i])
            for i in range(len(catalogue.items))
            if catalogue.category[i] == c and not math.isnan(catalogue.log_price[i])
        ]
        assert catalogue.price_n[c] == len(inside)
        assert catalogue.price_sum[c] == pytest.approx(sum(inside), abs=1e-9)
