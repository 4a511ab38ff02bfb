"""The search among item vectors against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.candidates import Candidates
from endcap.models.vectors import ItemVectors
from endcap.types import F4

NONE = np.zeros(0, np.int32)


def random_vectors(n: int, dim: int, seed: int) -> F4:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def found(vectors: ItemVectors, x: F4, n: int, seeds: list[int] | None = None, n_items: int = 1000) -> list[int]:
    into = Candidates(("only",))
    into.begin(n_items)
    mine = np.array(seeds or [], np.int32)
    base = x[None, :]
    vectors.retrieve(
        x, mine, len(mine), np.ones(1, np.float32), base, np.zeros(1, np.int32), np.full(1, 5, np.int32), 1, into, 0, n
    )
    size = len(into)
    assert set(into.seeds[:size, 0].tolist()) <= {5}
    return into.items[np.argsort(-into.score[:size, 0], kind="stable")].tolist()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.sampled_from([1, 3, 8, 64]), st.integers(1, 60), st.integers(0, 10_000))
def test_the_best_are_those_of_a_full_product(n_rows: int, dim: int, n: int, seed: int) -> None:
    table, x = random_vectors(n_rows, dim, seed), random_vectors(1, dim, seed + 1)[0]
    items = np.random.default_rng(seed).permutation(1000)[:n_rows].astype(np.int32)
    vectors = ItemVectors(dim)
    vectors.put(items, table)
    scores = table @ x
    expected = [int(items[r]) for r in np.argsort(-scores)[:n] if scores[r] > 1e-6]
    got = found(vectors, x, n)
    by_item = dict(zip(items.tolist(), scores.tolist(), strict=True))
    assert [by_item[item] for item in got][: len(expected)] == pytest.approx(
        [by_item[item] for item in expected], rel=1e-4, abs=1e-5
    )


def test_vectors_are_kept_as_length_and_direction() -> None:
    vectors = ItemVectors(2)
    vectors.put(np.array([7, 2], np.int32), np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    rows = vectors.known(np.array([7, 2, 0, -1, 99], np.int32))
    assert rows.tolist() == [0, 1, -1, -1, -1]
    assert vectors.unit[0].tolist() == pytest.approx([0.6, 0.8])
    assert vectors.scale[:2].tolist() == [5.0, 0.0]
    assert vectors.unit[1].tolist() == [0.0, 0.0]


def test_seeds_are_never_proposed() -> None:
    vectors = ItemVectors(4)
    table = random_vectors(20, 4, 0)
    vectors.put(np.arange(20, dtype=np.int32), table)
    x = table[3]
    everything = found(vectors, x, 20)
    assert everything[0] == int(np.argmax(table @ x))
    assert found(vectors, x, 20, seeds=[everything[0], 500]) == everything[1:]


def test_items_that_the_engine_does_not_know_are_not_proposed() -> None:
    vectors = ItemVectors(2)
    vectors.put(np.array([1, 2000], np.int32), np.array([[1.0, 0.0], [2.0, 0.0]], np.float32))
    assert found(vectors, np.array([1.0, 0.0], np.float32), 5) == [1]


def test_a_new_vector_replaces_the_old_one() -> None:
    vectors = ItemVectors(2)
    vectors.put(np.array([4, 5], np.int32), np.array([[1.0, 0.0], [0.5, 0.0]], np.float32))
    vectors.put(np.array([4], np.int32), np.array([[0.0, 1.0]], np.float32))
    assert vectors.n == 2
    assert found(vectors, np.array([1.0, 0.1], np.float32), 5) == [5, 4]


def clustered(n: int = 600, dim: int = 8) -> tuple[ItemVectors, F4, F4]:
    rng = np.random.default_rng(3)
    centres = random_vectors(30, dim, 4)
    table = (centres[rng.integers(0, 30, n)] + 0.2 * rng.standard_normal((n, dim))).astype(np.float32)
    vectors = ItemVectors(dim)
    vectors.put(np.arange(n, dtype=np.int32), table)
    vectors.cluster(centres / np.linalg.norm(centres, axis=1, keepdims=True))
    return vectors, table, centres


def test_sorting_by_cluster_keeps_every_vector_with_its_item() -> None:
    vectors, table, _ = clustered()
    rows = vectors.known(np.arange(600, dtype=np.int32))
    assert sorted(rows.tolist()) == list(range(600))
    np.testing.assert_allclose(vectors.unit[rows] * vectors.scale[rows, None], table, rtol=1e-5)
    assert vectors.cluster_start[-1] == 600


def test_clusters_find_nearly_all_that_a_full_search_finds() -> None:
    vectors, table, _ = clustered()
    kept = 0
    for k in range(50):
        exact = np.argsort(-(table @ table[k]))[:10].tolist()
        kept += len(set(exact) & set(found(vectors, table[k], 10)))
    assert kept >= 450
    assert len(found(vectors, np.ones(8, np.float32), 600)) < 200  # most clusters are not read


def test_an_item_that_came_after_clustering_is_found_at_once() -> None:
    vectors, table, _ = clustered()
    x = -table[0]
    vectors.put(np.array([900], np.int32), 9 * x[None, :])
    assert found(vectors, x, 3)[0] == 900


def test_an_item_that_changed_after_clustering_is_found_where_it_is_now() -> None:
    vectors, table, _ = clustered()
    x = -table[0]
    vectors.put(np.array([0], np.int32), 9 * x[None, :])
    assert found(vectors, x, 3)[0] == 0
    assert 0 not in found(vectors, table[0], 600)
    assert vectors.known(np.array([0], np.int32))[0] == 600
