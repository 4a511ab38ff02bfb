"""Predicates: what a compiled filter is made of, functions from items to a mask.

Each decides once per distinct value of its field and spreads the answer over the items by their codes, so a test of
100,000 items costs one indexed read. The catalogue is seen through ``Fields``; ``filter.py`` builds these from JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from endcap.types import F8, I4, U1


class Column(Protocol):
    """One field of all items: a code per item (0 = no value) into the distinct values."""

    codes: I4
    number: F8
    n_codes: int

    def holding(self, constant: Any) -> list[int]:
        """The codes of the values that are, or contain, a constant."""
        ...


class Fields(Protocol):
    """The catalogue as filters see it."""

    version: int

    def n_items(self) -> int: ...
    def item_of(self, item_id: str) -> int: ...
    def column(self, field: str) -> Column: ...
    def changed_since(self, version: int) -> I4 | None: ...


Test = Callable[[Fields, I4], U1]  # which of these items pass


def holding(field: str, constants: list[Any]) -> Test:
    """The field is, or contains, one of the constants."""

    def by_value(catalogue: Fields, items: I4) -> U1:
        column = catalogue.column(field)
        table = np.zeros(column.n_codes, np.uint8)
        for each in constants:
            table[column.holding(each)] = 1
        return table[column.codes[items]]

    def by_id(catalogue: Fields, items: I4) -> U1:
        dense = [catalogue.item_of(each) for each in constants]
        return np.isin(items, np.array(dense, np.int32)).astype(np.uint8)

    return by_id if field == "item_id" else by_value


def within(field: str, limits: Iterable[tuple[str, float]]) -> Test:
    """The field is a number inside all limits."""
    compare = {"gt": np.greater, "gte": np.greater_equal, "lt": np.less, "lte": np.less_equal}

    def test(catalogue: Fields, items: I4) -> U1:
        column = catalogue.column(field)
        table = np.ones(column.n_codes, np.bool_)
        for bound, limit in limits:
            table &= compare[bound](column.number[: column.n_codes], limit)  # NaN compares as false
        return table.astype(np.uint8)[column.codes[items]]

    return test


def present(field: str) -> Test:
    """The item has a value in the field."""

    def test(catalogue: Fields, items: I4) -> U1:
        if field == "item_id":
            return np.ones(items.shape[0], np.uint8)
        out: U1 = (catalogue.column(field).codes[items] != 0).astype(np.uint8)
        return out

    return test


def negated(test: Test) -> Test:
    """The exact complement."""

    def opposite(catalogue: Fields, items: I4) -> U1:
        out: U1 = (test(catalogue, items) == 0).astype(np.uint8)
        return out

    return opposite


def both(tests: list[Test]) -> Test:
    """All of them; everything when there are none."""
    if len(tests) == 1:
        return tests[0]

    def test(catalogue: Fields, items: I4) -> U1:
        out = np.ones(items.shape[0], np.uint8)
        for each in tests:
            out &= each(catalogue, items)
        return out

    return test


def either(tests: list[Test]) -> Test:
    """At least one of them; nothing when there are none."""

    def test(catalogue: Fields, items: I4) -> U1:
        out = np.zeros(items.shape[0], np.uint8)
        for each in tests:
            out |= each(catalogue, items)
        return out

    return test
