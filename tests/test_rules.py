from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from endcap.config import Rule
from endcap.errors import ConfigError
from endcap.features.catalogue import Catalogue
from endcap.slate.rules import Rules
from shelf import T0, dense, item, put, stocked

SHOP = [item("a", brand="X"), item("b", brand="Y"), item("c", brand="X"), item("d")]
START, END = "2023-11-14T22:13:20Z", "2023-11-15T00:13:20+01:00"  # T0 and an hour later


def rules(*given: dict[str, Any], shop: Catalogue | None = None) -> Rules:
    return Rules([Rule(name=f"r{k}", **one) for k, one in enumerate(given)], shop or stocked(SHOP))


def scaled(book: Rules, scores: list[float], t_ms: int = T0) -> tuple[list[float], list[int]]:
    out, promoted = np.array(scores, np.float32), np.zeros(len(scores), np.uint8)
    book.at("home", t_ms).scale(np.arange(len(scores), dtype=np.int32), out, promoted)
    return out.tolist(), promoted.tolist()


def test_boost_multiplies_and_bury_divides() -> None:
    book = rules({"action": "boost", "filter": {"brand": "X"}, "factor": 3.0}, {"action": "bury", "items": ["b"]})
    assert scaled(book, [1.0, 1.0, 2.0, 1.0]) == ([3.0, 0.5, 6.0, 1.0], [1, 0, 1, 0])


def test_a_boost_helps_an_item_whose_score_is_negative() -> None:
    assert scaled(rules({"action": "boost", "items": ["a"]}), [-1.0]) == ([-0.5], [1])
    assert scaled(rules({"action": "bury", "items": ["a"]}), [-1.0]) == ([-2.0], [0])


def test_rules_on_one_item_add_up() -> None:
    book = rules({"action": "boost", "items": ["a"]}, {"action": "bury", "items": ["a"], "factor": 4.0})
    assert scaled(book, [1.0]) == ([0.5], [1])


def test_items_and_filter_of_one_rule_are_a_union() -> None:
    book = rules({"action": "block", "items": ["b", "unknown"], "filter": {"brand": "X"}})
    assert [mask.tolist() for mask in book.at("home", T0).blocked()] == [[1, 1, 1, 0]]


def test_a_rule_follows_the_catalogue() -> None:
    shop = stocked(SHOP)
    book = rules({"action": "block", "filter": {"brand": "X"}}, {"action": "pin", "items": ["new"]}, shop=shop)
    assert book.at("home", T0).pins() == []
    put(shop, item("new", brand="X"))
    active = book.at("home", T0)
    assert active.blocked()[0].tolist() == [1, 0, 1, 0, 1]
    assert active.pins() == [(0, 4)]


@pytest.mark.parametrize(("ago", "active"), [(-1, 0), (0, 1), (3_599_999, 1), (3_600_000, 0)])
def test_a_rule_holds_from_its_start_up_to_its_end(ago: int, active: int) -> None:
    book = rules({"action": "block", "items": ["a"], "starts_at": START, "ends_at": END})
    assert len(book.at("home", T0 + ago).blocked()) == active


def test_a_rule_holds_only_on_its_placements() -> None:
    book = rules({"action": "block", "items": ["a"], "placements": ["cart", "home"]})
    assert [len(book.at(name, T0).blocked()) for name in ("home", "cart", "email")] == [1, 1, 0]


def test_pins_stand_one_behind_the_other_from_their_position() -> None:
    book = rules({"action": "pin", "items": ["c", "nobody", "a"], "position": 2}, {"action": "pin", "items": ["d"]})
    assert book.at("home", T0).pins() == [(2, 2), (4, 0), (0, 3)]


def test_no_rules_change_nothing() -> None:
    book = rules()
    active = book.at("home", T0)
    assert (active.blocked(), active.pins(), scaled(book, [1.0, -2.0])) == ([], [], ([1.0, -2.0], [0, 0]))


def test_an_item_beyond_the_mask_is_left_alone() -> None:
    scores, promoted = np.ones(2, np.float32), np.zeros(2, np.uint8)
    rules({"action": "boost", "items": ["a"]}).at("home", T0).scale(dense(0, 99), scores, promoted)
    assert scores.tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"action": "pin", "filter": {"brand": "X"}}, r"rule 'r0': a pin names its items"),
        ({"action": "pin", "items": ["a"], "filter": {"brand": "X"}}, r"a pin names its items"),
        ({"action": "block"}, r"acts on nothing"),
        ({"action": "boost", "items": ["a"], "factor": 0.0}, r"factor is 0\.0, expected above 0"),
        ({"action": "boost", "items": ["a"], "factor": float("nan")}, r"factor is nan"),
        ({"action": "pin", "items": ["a"], "position": -1}, r"position is -1"),
        (
            {"action": "block", "items": ["a"], "starts_at": "soon"},
            r"rule 'r0': starts_at: got 'soon', expected ISO 8601",
        ),
        ({"action": "block", "items": ["a"], "ends_at": "2026-01-01"}, r"ends_at: .*with offset"),
        ({"action": "block", "items": ["a"], "starts_at": END, "ends_at": START}, r"is not after starts_at"),
        ({"action": "block", "filter": {"brnad": "X"}}, r"rule 'r0': .*did you mean 'brand'"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_by_name(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rules(rule)
