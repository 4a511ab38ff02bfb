"""The search among item vectors against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.candidates import Candidates
from endcap.models.vectors import EXACT, TAIL, ItemVectors, coded
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


DIM = 16


def large(n: int = EXACT + TAIL + 100) -> tuple[ItemVectors, F4]:
    """More rows than are read as they are, in kinds of unequal lengths."""
    rng = np.random.default_rng(3)
    centres = random_vectors(30, DIM, 4)
    table = (centres[rng.integers(0, 30, n)] + 0.5 * rng.standard_normal((n, DIM))).astype(np.float32)
    vectors = ItemVectors(DIM)
    vectors.put(np.arange(n, dtype=np.int32), table)
    return vectors, table


def test_codes_find_nearly_all_that_a_full_search_finds_with_its_scores() -> None:
    vectors, table = large()
    n = table.shape[0]
    assert vectors.coded == n
    kept = 0
    for x in random_vectors(100, DIM, 5):
        scores = table @ x
        items, given = vectors.nearest(x, 50, -1, -np.inf)
        np.testing.assert_allclose(given, scores[items], rtol=1e-4)
        assert np.all(np.diff(given) <= 0)
        kept += len(set(np.argsort(-scores)[:50].tolist()) & set(items.tolist()))
    assert kept >= 0.97 * 100 * 50


def test_the_same_puts_give_the_same_answers() -> None:
    (one, table), (other, _) = large(), large()
    for x in random_vectors(20, DIM, 6):
        assert [part.tolist() for part in one.nearest(x, 30, -1, 0.0)] == [
            part.tolist() for part in other.nearest(x, 30, -1, 0.0)
        ]
    assert found(one, table[5], 20, n_items=20_000) == found(other, table[5], 20, n_items=20_000)


def test_vectors_that_come_with_their_codes_answer_as_those_that_were_put() -> None:
    put, table = large()
    held, codes = ItemVectors(), coded(table)
    assert codes is not None
    items = np.arange(table.shape[0], dtype=np.int32)
    items[::7] = -1
    held.hold(items, table, codes)
    before = codes.n
    nobody = np.arange(0, table.shape[0], 7)
    for x in random_vectors(30, DIM, 6):
        expected = [item for item in put.nearest(x, 60, -1, 0.0)[0].tolist() if item % 7]
        got = held.nearest(x, 60, -1, 0.0)[0].tolist()
        assert got[: len(expected) - 5] == expected[: len(expected) - 5]
        assert not np.isin(got, nobody).any()
    held.put(np.arange(90_000, 90_001 + TAIL, dtype=np.int32), random_vectors(TAIL + 1, DIM, 7))
    assert held.coded == held.n == table.shape[0] + TAIL + 1
    assert codes.n == before  # those that were given stay as they are
    few = ItemVectors()
    few.hold(np.array([4, -1, 2], np.int32), table[:3], coded(table[:3]))
    assert few.nearest(table[0], 1, -1, 0.0)[0].tolist() == [4]
    assert few.n == 2


def test_equal_scores_stand_in_order_of_their_items_however_they_are_read() -> None:
    vectors, table = large()
    x = table[0]
    twins = np.array([70_000, 60_000, 5, 80_000], np.int32)
    vectors.put(twins, np.repeat(9 * x[None, :], 4, axis=0))
    assert vectors.nearest(x, 4, -1, 0.0)[0].tolist() == [5, 60_000, 70_000, 80_000]


def test_an_item_that_came_after_coding_is_found_at_once() -> None:
    vectors, table = large()
    x = -table[0]
    vectors.put(np.array([90_000], np.int32), 9 * x[None, :])
    assert vectors.n - vectors.coded == 1
    assert found(vectors, x, 3, n_items=100_000)[0] == 90_000


def test_an_item_that_changed_after_coding_is_found_where_it_is_now() -> None:
    vectors, table = large()
    x = -table[0]
    vectors.put(np.array([0], np.int32), 9 * x[None, :])
    assert found(vectors, x, 3, n_items=20_000)[0] == 0
    assert 0 not in found(vectors, table[0], 600, n_items=20_000)
    assert vectors.known(np.array([0], np.int32))[0] == table.shape[0]


def test_a_long_tail_is_coded_and_gaps_are_closed() -> None:
    vectors, table = large()
    n = table.shape[0]
    vectors.put(np.arange(n, n + TAIL + 1, dtype=np.int32), random_vectors(TAIL + 1, DIM, 8))
    assert vectors.coded == vectors.n == n + TAIL + 1
    changed = np.arange(n // 2, dtype=np.int32)
    fresh = random_vectors(changed.shape[0], DIM, 9)
    vectors.put(changed, fresh)
    assert vectors.coded == vectors.n == n + TAIL + 1  # what was given up is gone
    rows = vectors.known(np.arange(vectors.n, dtype=np.int32))
    assert sorted(rows.tolist()) == list(range(vectors.n))
    np.testing.assert_allclose(vectors.unit[rows[: n // 2]] * vectors.scale[rows[: n // 2], None], fresh, rtol=1e-4)
    expected = {k: int(np.argmax(np.concatenate([fresh, table[n // 2 :]]) @ x)) for k, x in enumerate(fresh[:20])}
    assert {k: found(vectors, 9 * fresh[k], 1, n_items=20_000)[0] for k in range(20)} == expected


def test_above_many_rows_codes_lie_in_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endcap.models.vectors.LISTED", 9_000)
    monkeypatch.setattr("endcap.models.vectors.PROBED", 0.5)
    vectors, table = large(12_000)
    kept = 0
    for x in table[:100]:
        items = vectors.nearest(x, 20, -1, 0.0)[0]
        kept += len(set(np.argsort(-(table @ x))[:20].tolist()) & set(items.tolist()))
    assert kept >= 0.9 * 100 * 20
    vectors.put(np.array([90_000], np.int32), 9 * table[:1])
    assert vectors.nearest(table[0], 1, -1, 0.0)[0].tolist() == [90_000]


def test_scores_below_zero_are_found_where_they_are_asked_for() -> None:
    vectors = ItemVectors(2)
    vectors.put(np.array([3, 4, 5], np.int32), np.array([[-1.0, 0.0], [-3.0, 1.0], [-2.0, 0.5]], np.float32))
    items, scores = vectors.nearest(np.array([2.0, 0.0], np.float32), 2, -1, -np.inf)
    assert items.tolist() == [3, 5]
    assert scores.tolist() == pytest.approx([-2.0, -4.0], abs=1e-5)
    assert vectors.nearest(np.array([2.0, 0.0], np.float32), 2, -1, 0.0)[0].tolist() == []
