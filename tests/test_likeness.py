"""Likeness columns against plain NumPy, and what they must say in plain cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from endcap.features.likeness import COLUMNS, Likeness
from endcap.interest.interest import empty_interest
from endcap.types import ACTION_CODE, F4, I4, Interest

VIEW, CART, BUY = ACTION_CODE["view"], ACTION_CODE["cart_add"], ACTION_CODE["purchase"]


@dataclass
class Table:
    unit: F4
    row_of: I4


def table(n_items: int, dim: int, seed: int, missing: tuple[int, ...] = ()) -> Table:
    rng = np.random.default_rng(seed)
    known = np.array([i for i in range(n_items) if i not in missing])
    unit = rng.standard_normal((known.shape[0], dim)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    row_of = np.full(n_items, -1, np.int32)
    row_of[known] = np.arange(known.shape[0])
    return Table(unit, row_of)


EMPTY = Table(np.zeros((0, 0), np.float32), np.zeros(0, np.int32))


def shopper(seeds: list[int], weight: list[float], action: list[int], n_context: int = 0) -> Interest:
    interest = empty_interest()
    n = len(seeds)
    interest.seeds[:n], interest.weight[:n], interest.action[:n] = seeds, weight, action
    interest.n_seeds, interest.n_context = n, n_context
    return interest


def read(likeness: Likeness, interest: Interest, items: list[int]) -> dict[str, list[float]]:
    out = np.full((len(items), len(COLUMNS)), np.nan, np.float32)
    likeness.read(interest, np.array(items, np.int32), out)
    return {name: out[:, c].tolist() for c, name in enumerate(COLUMNS)}


def vector(of: Table, item: int) -> F4 | None:
    row = of.row_of[item] if item < of.row_of.shape[0] else -1
    return None if row < 0 else of.unit[row]


def plain(of: Table, interest: Interest, item: int, newest: int) -> dict[str, float]:
    """The definition, slowly."""
    own = vector(of, item)
    seeds = [(j, vector(of, int(interest.seeds[j]))) for j in range(interest.n_seeds)]
    known = [(j, v) for j, v in seeds if v is not None]
    if own is None or not known:
        return dict.fromkeys(("last", "mean", "max", "sd", "user", "cart", "bought"), 0.0)
    near = [float(own @ v) for _, v in known[:newest]]
    total = sum(interest.weight[j] * v for j, v in known)
    first = seeds[0][1]
    found = {"cart": 0.0, "bought": 0.0}
    for name, code in (("cart", CART), ("bought", BUY)):
        mine = [v for j, v in known if interest.action[j] == code and j >= interest.n_context]
        found[name] = float(own @ mine[0]) if mine else 0.0
    return found | {
        "last": 0.0 if first is None else float(own @ first),
        "mean": float(np.mean(near)),
        "max": max(near),
        "sd": float(np.std(near)),
        "user": float(own @ total / np.linalg.norm(total)),
    }


@pytest.mark.parametrize("seed", range(5))
def test_columns_equal_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors, content = table(40, 16, seed, missing=(3, 7, 9)), table(30, 8, seed + 100, missing=(1, 7))
    seeds = rng.permutation(45)[:12].tolist()
    actions = rng.choice([VIEW, CART, BUY], 12).tolist()
    interest = shopper(seeds, rng.uniform(0.1, 6, 12).tolist(), actions, n_context=2)
    items = list(range(45))
    columns = read(Likeness(factors, content), interest, items)
    for item in items:
        by_factors, by_content = plain(factors, interest, item, 5), plain(content, interest, item, 3)
        for name, want in by_factors.items():
            assert columns[f"cos_factors_{name}"][item] == pytest.approx(want, abs=1e-5), name
        for column, name in (("last", "last"), ("last3", "mean"), ("max3", "max"), ("user", "user")):
            assert columns[f"cos_content_{column}"][item] == pytest.approx(by_content[name], abs=1e-5), column


def test_without_vectors_everything_is_neutral() -> None:
    columns = read(Likeness(EMPTY, EMPTY), shopper([0, 1], [1, 1], [VIEW, VIEW]), [0, 1, 2])
    assert all(values == [0.0, 0.0, 0.0] for values in columns.values())


def test_nobody_known_is_neutral() -> None:
    columns = read(Likeness(table(5, 4, 0), table(5, 4, 1)), shopper([], [], []), [0, 1])
    assert all(values == [0.0, 0.0] for values in columns.values())


def test_an_item_is_most_like_itself() -> None:
    columns = read(Likeness(table(5, 4, 0), EMPTY), shopper([2], [1.0], [BUY]), [2, 3])
    for name in ("last", "mean", "max", "user", "bought"):
        assert columns[f"cos_factors_{name}"][0] == pytest.approx(1.0)
        assert columns[f"cos_factors_{name}"][1] < 1.0
    assert columns["cos_factors_cart"] == [0.0, 0.0]


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    factors, content = table(60, 64, 0), table(60, 64, 1)
    interest = shopper(list(range(9)), [1.0] * 9, [VIEW] * 9)
    together = read(Likeness(factors, content), interest, list(range(60)))
    alone = [read(Likeness(factors, content), interest, [item]) for item in range(60)]
    for name, values in together.items():
        assert values == [one[name][0] for one in alone]
