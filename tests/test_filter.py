from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.errors import InvalidFilter
from endcap.features.catalogue import Catalogue
from endcap.preprocess.ids import Ids
from endcap.slate.filter import FIELDS, KEPT, Filters, compile_filter
from endcap.types import Item
from shelf import T0, item, put, stocked

SHOP = [
    item("mug", categories=[["Kitchen", "Mugs"]], brand="Acme", price=8.0, tags=["blue", "gift"], stock_qty=3),
    item("pot", categories=[["Kitchen", "Pots"], ["Sale"]], brand="Bolt", price=40.0, attributes={"oven": True}),
    item(
        "ball", categories=[["Toys"]], price=5.0, adult=True, published_at=T0, attributes={"oven": 1.0, "w": ["x", "y"]}
    ),
]


def passing(tree: dict[str, Any]) -> list[str]:
    catalogue = stocked(SHOP)
    return [catalogue.items.name(int(i)) for i in np.flatnonzero(compile_filter(tree).mask(catalogue))]


@pytest.mark.parametrize(
    ("tree", "pass_"),
    [
        ({}, "mug pot ball"),
        ({"brand": "Acme"}, "mug"),
        ({"brand": ["Acme", "Bolt"]}, "mug pot"),
        ({"eq": {"brand": "acme"}}, ""),
        ({"ne": {"brand": "Acme"}}, "pot ball"),
        ({"nin": {"brand": ["Acme", "Bolt"]}}, "ball"),
        ({"in": {"brand": []}}, ""),
        ({"range": {"price": {"gte": 5, "lt": 40}}}, "mug ball"),
        ({"between": {"price": [8, 40]}}, "mug pot"),
        ({"price": {"gt": 5, "lte": 40}}, "mug pot"),
        ({"gt": {"price": 8}}, "pot"),
        ({"lt": {"stock_qty": 10}}, "mug"),
        ({"exists": "brand"}, "mug pot"),
        ({"exists": ["brand", "stock_qty"]}, "mug"),
        ({"exists": {"brand": False}}, "ball"),
        ({"categories": ["Kitchen"]}, "mug pot"),
        ({"categories": ["Kitchen", "Mugs"]}, "mug"),
        ({"categories": "Sale"}, "pot"),
        ({"categories": [["Kitchen", "Mugs"], ["Toys"]]}, "mug ball"),
        ({"prefix": {"categories": ["Kitchen"]}}, "mug pot"),
        ({"in": {"categories": [["Mugs"]]}}, ""),
        ({"tags": "gift"}, "mug"),
        ({"adult": True}, "ball"),
        ({"attributes.oven": True}, "pot"),
        ({"attributes.oven": 1}, "ball"),
        ({"gte": {"attributes.oven": 1}}, "ball"),
        ({"attributes.w": "y"}, "ball"),
        ({"in": {"item_id": ["pot", "nobody"]}}, "pot"),
        ({"exists": "item_id"}, "mug pot ball"),
        ({"published_at": {"lte": "2023-11-14T23:13:20+01:00"}}, "ball"),
        ({"published_at": {"lt": "2023-11-14T22:13:20Z"}}, ""),
        ({"brand": "Bolt", "price": {"lt": 10}}, ""),
        ({"or": [{"brand": "Bolt"}, {"price": {"lt": 6}}]}, "pot ball"),
        ({"or": []}, ""),
        ({"and": []}, "mug pot ball"),
        ({"not": {"or": [{"brand": "Bolt"}, {"adult": True}]}}, "mug"),
        (
            {"and": [{"eq": {"brand": "Acme"}}, {"range": {"price": {"gte": 5, "lt": 20}}},
                     {"not": {"in": {"categories": [["Kitchen", "Pots"]]}}}]},
            "mug",
        ),
    ],
)  # fmt: skip
def test_a_filter_passes_these_items(tree: dict[str, Any], pass_: str) -> None:
    assert passing(tree) == pass_.split()


def nested(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = {"brand": "Acme"}
    for _ in range(depth - 1):
        tree = {"not": tree}
    return tree


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("brand", r"filter: got 'brand', expected an object"),
        ({"and": {"brand": "X"}}, r"filter\.and: got a dict, expected a list"),
        ({"and": [{"range": {"price": "x"}}]}, r"filter\.and\[0\]\.range\.price: got 'x', expected bounds"),
        ({"range": {"price": {"gte": "5"}}}, r"filter\.range\.price\.gte: got '5', expected a number"),
        ({"range": {"price": {}}}, r"expected bounds"),
        ({"range": {"price": {"from": 5}}}, r"expected bounds"),
        ({"between": {"price": [1]}}, r"two numbers"),
        ({"gt": {"brand": 5}}, r"filter\.gt\.brand: gt compares numbers and times; this is a text field"),
        ({"brnad": "X"}, r"filter\.brnad: unknown field or operator 'brnad'; did you mean 'brand'\?"),
        ({"eq": {"colour": "red"}}, r"did you mean 'color'"),
        ({"eqq": {"brand": "red"}}, r"did you mean 'eq'"),
        ({"zzzzzz": "red"}, r"attributes\.NAME"),
        ({"eq": {"attributes.": "red"}}, r"unknown field"),
        ({"eq": "brand"}, r"filter\.eq: got 'brand', expected an object"),
        ({"eq": {"price": True}}, r"expected a number"),
        ({"eq": {"price": float("nan")}}, r"expected a finite number"),
        ({"eq": {"price": 10**400}}, r"expected a finite number"),
        ({"eq": {"adult": 1}}, r"expected true or false"),
        ({"eq": {"brand": None}}, r"got None, expected a text"),
        ({"eq": {"attributes.x": None}}, r"expected text, number or flag"),
        ({"eq": {"brand": "x" * 1025}}, r"expected a text"),
        ({"in": {"brand": ["x"] * 1001}}, r"a list of at most 1000"),
        ({"in": {"brand": "x"}}, r"a list of at most 1000"),
        ({"in": {"brand": ["x", 3]}}, r"filter\.in\.brand\[1\]: got 3"),
        ({"eq": {"categories": []}}, r"a category path"),
        ({"eq": {"categories": [["Kitchen"]]}}, r"a category path"),
        ({"prefix": {"title": "Mu"}}, r"prefix works on category paths only"),
        ({"published_at": {"gt": "yesterday"}}, r"ISO 8601 with offset"),
        ({"published_at": {"gt": "2023-11-14T22:13:20"}}, r"ISO 8601 with offset"),
        ({"exists": {"brand": 1}}, r"expected true or false"),
        ({"price": {"near": 5}}, r"operators: eq"),
        ({"price": {}}, r"operators: eq"),
        ({"description": "x"}, r"unknown field"),
        (nested(17), r"nested deeper than 16"),
        (nested(100), r"nested deeper than 16"),
        ({"or": [{"brand": str(k)} for k in range(200)]}, r"more than 256 nodes"),
    ],
)
def test_a_bad_filter_is_refused_with_its_place_and_what_was_expected(tree: Any, message: str) -> None:
    with pytest.raises(InvalidFilter, match=message):
        compile_filter(tree)


def test_the_bounds_themselves_are_allowed() -> None:
    compile_filter(nested(16))
    compile_filter({"in": {"brand": ["x" * 1024] * 1000}})
    compile_filter({"or": [{"brand": str(k)} for k in range(127)]})


@pytest.mark.parametrize("tree", [{"brand": {1, 2}}, {"brand": object()}, {"brand": "\ud800"}])
def test_what_is_not_json_is_refused(tree: dict[str, Any]) -> None:
    with pytest.raises(InvalidFilter):
        Filters(stocked(SHOP)).mask(tree)


def test_a_tree_too_deep_for_the_encoder_is_refused() -> None:
    with pytest.raises(InvalidFilter):
        Filters(stocked(SHOP)).mask(nested(100_000))


def test_filters_are_kept_by_content_and_the_oldest_forgotten() -> None:
    catalogue = stocked(SHOP)
    filters = Filters(catalogue)
    first = filters.mask({"brand": "Acme"})
    assert np.shares_memory(filters.mask({"brand": "Acme"}), first)
    for k in range(KEPT):
        filters.mask({"brand": f"B{k}"})
    again = filters.mask({"brand": "Acme"})
    assert not np.shares_memory(again, first)
    assert again.tolist() == [1, 0, 0]


def test_a_mask_belongs_to_one_catalogue() -> None:
    compiled = compile_filter({"brand": "Acme"})
    assert compiled.mask(stocked(SHOP)).tolist() == [1, 0, 0]
    assert compiled.mask(stocked(SHOP[::-1])).tolist() == [0, 0, 1]


# ---------------------------------------------------------------- against a naive evaluator


def held(record: Item | None, name: str, field: str) -> list[Any]:
    """What an item holds, as a plain list of values."""
    if field == "item_id":
        return [name]
    if record is None:
        return []
    value = record.attributes.get(field[11:]) if field.startswith("attributes.") else getattr(record, field)
    if field == "categories":
        return [path[:end] for path in record.categories for end in range(1, len(path) + 1)]
    return value if isinstance(value, list) else [] if value is None else [value]


def same(a: Any, b: Any) -> bool:
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def naive(tree: dict[str, Any], record: Item | None, name: str) -> bool:
    """One item at a time, straight from the grammar's full forms."""

    def one(key: str, value: Any) -> bool:
        if key == "and":
            return all(naive(each, record, name) for each in value)
        if key == "or":
            return any(naive(each, record, name) for each in value)
        if key == "not":
            return not naive(value, record, name)
        return all(leaf(key, held(record, name, field), given) for field, given in value.items())

    def leaf(op: str, values: list[Any], given: Any) -> bool:
        if op in ("in", "nin"):
            return any(same(v, g) for v in values for g in given) == (op == "in")
        if op in ("eq", "ne"):
            return any(same(v, given) for v in values) == (op == "eq")
        if op == "exists":
            return bool(values) == given
        number = values[0] if len(values) == 1 and type(values[0]) in (int, float) else None
        tests = {"gt": float.__gt__, "gte": float.__ge__, "lt": float.__lt__, "lte": float.__le__}
        limits = {op: given} if op in tests else given
        return number is not None and all(tests[b](float(number), float(x)) for b, x in limits.items())

    return all(one(key, value) for key, value in tree.items())


WORDS = st.sampled_from(["X", "Y", "Z", ""])
NUMBERS = st.sampled_from([0, 1, 2.5, 10])
PATHS = st.lists(st.sampled_from(["A", "B"]), min_size=1, max_size=3)
ANY = st.one_of(WORDS, NUMBERS, st.booleans())
RECORDS = st.builds(
    item,
    st.sampled_from("abcde"),
    brand=st.none() | WORDS,
    price=st.none() | NUMBERS,
    tags=st.lists(WORDS, max_size=3),
    categories=st.lists(PATHS, max_size=2),
    adult=st.booleans(),
    attributes=st.dictionaries(st.sampled_from(["p", "q"]), ANY | st.lists(WORDS, max_size=2)),
)
BY_FIELD = {
    "brand": WORDS, "tags": WORDS, "price": NUMBERS, "categories": PATHS, "adult": st.booleans(),
    "attributes.p": ANY, "item_id": st.sampled_from("abcdz"),
}  # fmt: skip


def equality(field: str) -> st.SearchStrategy[dict[str, Any]]:
    values = BY_FIELD[field]
    single = st.tuples(st.sampled_from(["eq", "ne"]), values)
    several = st.tuples(st.sampled_from(["in", "nin"]), st.lists(values, max_size=3))
    return (single | several).map(lambda pair: {pair[0]: {field: pair[1]}})


LIMITS = st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), NUMBERS, min_size=1)
LEAVES = st.one_of(
    st.sampled_from(list(BY_FIELD)).flatmap(equality),
    st.tuples(st.sampled_from(["price", "attributes.p"]), LIMITS).map(lambda p: {"range": {p[0]: p[1]}}),
    st.tuples(st.sampled_from(list(BY_FIELD)), st.booleans()).map(lambda p: {"exists": {p[0]: p[1]}}),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: {"and": parts}),
        st.lists(inner, max_size=3).map(lambda parts: {"or": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=8,
)
CHANGES = st.lists(st.tuples(RECORDS, st.sampled_from(["put", "put", "delete", "seen"])), max_size=8)


def change(catalogue: Catalogue, changes: list[tuple[Item, str]]) -> None:
    for record, what in changes:
        dense = catalogue.items.intern(record.item_id)
        if what != "seen":
            catalogue.put(dense, record if what == "put" else None, T0)


@settings(max_examples=300, deadline=None)
@given(CHANGES, CHANGES, TREES)
def test_a_mask_equals_asking_every_record_and_follows_changes(
    first: list[tuple[Item, str]], then: list[tuple[Item, str]], tree: dict[str, Any]
) -> None:
    catalogue = Catalogue(Ids())
    filters = Filters(catalogue)
    for changes in (first, then):
        change(catalogue, changes)
        wanted = [naive(tree, catalogue.record(i), catalogue.items.name(i)) for i in range(len(catalogue.items))]
        assert filters.mask(tree).tolist() == wanted


def test_a_mask_catches_up_with_few_changes_among_many_items() -> None:
    catalogue = stocked([item(str(k), brand="X" if k % 2 else "Y") for k in range(100)])
    compiled = compile_filter({"brand": "X"})
    before = compiled.mask(catalogue)
    put(catalogue, item("4", brand="X"))
    put(catalogue, item("100", brand="X"))
    catalogue.items.intern("seen only")
    wanted = [k % 2 == 1 or k == 4 for k in range(100)] + [True, False]
    assert compiled.mask(catalogue).tolist() == wanted
    assert before.shape == (100,)


def test_every_field_of_the_record_but_the_long_ones_can_be_named() -> None:
    assert set(Item.__struct_fields__) - set(FIELDS) == {"description", "url", "image_urls", "attributes", "vectors"}
    assert (FIELDS["brand"], FIELDS["price"], FIELDS["stock_qty"], FIELDS["adult"]) == (
        "text",
        "number",
        "number",
        "flag",
    )
    catalogue = stocked(SHOP)
    for field in FIELDS:
        assert compile_filter({"exists": field}).mask(catalogue).shape == (3,)
