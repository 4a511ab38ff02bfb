"""Kept lists of nearest items are always those of a fresh search."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.models.nearest import LENGTH, MANY, Nearest
from endcap.models.vectors import ItemVectors
from endcap.types import F4

FLOOR = 0.2


def units(n: int, seed: int, dim: int = 6) -> F4:
    drawn = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def table(n: int) -> ItemVectors:
    vectors = ItemVectors(6)
    vectors.put(np.arange(n, dtype=np.int32), units(n, 0))
    return vectors


def put(vectors: ItemVectors, nearest: Nearest, items: list[int], rows: F4) -> None:
    vectors.put(np.array(items, np.int32), rows)
    nearest.changed(np.array(items, np.int32), rows)


def answer(nearest: Nearest, item: int) -> tuple[list[int], list[float]]:
    items, cosines = nearest.of(item)
    return items.tolist(), cosines.tolist()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ask", "put", "many"]), st.integers(0, 40)), max_size=25), st.integers(0, 9))
def test_a_kept_list_equals_a_fresh_search_whatever_happened(steps: list[tuple[str, int]], seed: int) -> None:
    vectors = table(20)
    nearest = Nearest(vectors, FLOOR, kept=5)
    for k, (what, item) in enumerate(steps):
        if what == "ask":
            assert answer(nearest, item) == answer(Nearest(vectors, FLOOR), item)
        elif what == "put":
            put(vectors, nearest, [item], units(1, 100 * seed + k))
        else:
            put(vectors, nearest, [item, item + 1, item + 2], units(3, 100 * seed + k))
    for item in range(44):
        assert answer(nearest, item) == answer(Nearest(vectors, FLOOR), item)


def test_lists_are_sorted_bounded_and_above_the_floor() -> None:
    vectors = table(400)
    items, cosines = Nearest(vectors, FLOOR).of(7)
    plain = vectors.unit[:400] @ vectors.unit[7]
    plain[7] = -1
    assert items.tolist() == np.argsort(-plain)[:LENGTH].tolist()
    assert cosines[-1] >= FLOOR
    assert all(a >= b for a, b in pairwise(cosines))
    few = table(3)
    assert all(cosine >= FLOOR for item in range(3) for cosine in Nearest(few, FLOOR).of(item)[1])


def test_a_second_look_does_not_search_again() -> None:
    vectors = table(50)
    nearest = Nearest(vectors, FLOOR)
    first = answer(nearest, 3)
    vectors.unit[:] = 0.0  # nobody said so
    assert answer(nearest, 3) == first
    put(vectors, nearest, [60], units(1, 5) * 0)
    assert answer(nearest, 3) == first
    nearest.clear()
    assert answer(nearest, 3) == ([], [])


def test_a_large_change_drops_everything() -> None:
    vectors = table(10)
    nearest = Nearest(vectors, FLOOR)
    nearest.of(3)
    put(vectors, nearest, list(range(10, 12 + MANY)), units(2 + MANY, 6))
    assert answer(nearest, 3) == answer(Nearest(vectors, FLOOR), 3)


def test_an_item_without_a_vector_has_no_neighbours() -> None:
    vectors = table(10)
    vectors.put(np.array([4], np.int32), np.zeros((1, 6), np.float32))
    for item in (-1, 4, 77):
        assert answer(Nearest(vectors, FLOOR), item) == ([], [])
