"""Factors: folding a shopper in, known answers, and what a damaged artifact does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from endcap.artifacts import write_artifact
from endcap.config import CovisitConfig, FactorsConfig
from endcap.errors import ArtifactError
from endcap.features.histories import Histories
from endcap.learning.boosting import TooFewExamples
from endcap.learning.factors import Pairs, als_vectors, fit_factors, pairs_of
from endcap.models.factors import SCHEMA, Factors, FactorsSource
from endcap.preprocess.ids import Ids
from endcap.types import F8
from proposals import batch_of, interest_of, order_of, proposed

DAY_S = 86_400


def names(n: int) -> Ids:
    ids = Ids()
    for k in range(n):
        ids.intern(f"item{k}")
    return ids


def random_factors(n: int, dim: int, alpha: float, seed: int) -> Factors:
    vectors = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32) / np.sqrt(dim)
    gram = vectors.astype(np.float64).T @ vectors + 2.0 * np.eye(dim)
    return Factors("als", [f"item{k}" for k in range(n)], vectors, np.linalg.inv(gram), alpha, {})


def definition(factors: Factors, seeds: list[int], weight: list[float]) -> F8:
    """The normal equations, written down and solved."""
    confidence = 1.0 + factors.alpha * np.array(weight)
    y = factors.vectors[seeds].astype(np.float64)
    system = np.linalg.inv(factors.inverse_gram) + y.T @ np.diag(confidence - 1.0) @ y
    return np.linalg.solve(system, y.T @ confidence)


def two_clusters(n_users: int = 60, n_items: int = 20, seed: int = 0) -> Pairs:
    """Users of one half touch items of one half only, each half of them."""
    rng = np.random.default_rng(seed)
    users, items = [], []
    for user in range(n_users):
        half = user % 2 * (n_items // 2)
        mine = half + rng.choice(n_items // 2, n_items // 4, replace=False)
        users += [user] * mine.shape[0]
        items += mine.tolist()
    ones = np.ones(len(users), np.float32)
    return Pairs(np.array(users, np.int32), np.array(items, np.int32), ones, n_users, n_items)


@pytest.mark.parametrize(("n_seeds", "dim", "alpha"), [(1, 8, 1.0), (5, 8, 40.0), (20, 64, 10.0), (64, 32, 100.0)])
def test_folding_in_solves_the_normal_equations(n_seeds: int, dim: int, alpha: float) -> None:
    factors = random_factors(100, dim, alpha, n_seeds)
    source = FactorsSource()
    source.use(factors, names(100))
    rng = np.random.default_rng(1)
    seeds, weight = rng.permutation(100)[:n_seeds].tolist(), rng.uniform(0.05, 6.0, n_seeds).tolist()
    x = source.fold_in(interest_of(seeds, weight=weight))
    np.testing.assert_allclose(x, definition(factors, seeds, weight), rtol=2e-3, atol=2e-4)


def test_folding_in_gives_the_vector_that_training_would_give() -> None:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    config = FactorsConfig(dim=8, iterations=3, alpha=5.0, regularization=1.0)
    pairs = two_clusters()
    source = FactorsSource()
    source.use(fit_factors(pairs, [f"item{k}" for k in range(20)], config), names(20))
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=8, regularization=1.0, alpha=1.0, iterations=1, random_state=0, num_threads=1, dtype=np.float64
        )
        model.item_factors = als_vectors(pairs.matrix(), config).astype(np.float64)
        model.user_factors = np.zeros((60, 8))
        row = pairs.matrix()[4].astype(np.float64)
        row.data = 1.0 + 5.0 * row.data
        trained = model.recalculate_user(0, row)
    mine = source.fold_in(interest_of(pairs.item[pairs.user == 4].tolist()))
    np.testing.assert_allclose(mine, np.ravel(trained), rtol=2e-3, atol=2e-3)


def test_seeds_without_a_vector_or_without_weight_do_not_count() -> None:
    source = FactorsSource()
    source.use(random_factors(50, 16, 10.0, 0), names(50))
    expected = source.fold_in(interest_of([3, 7], weight=[2.0, 1.0])).copy()
    assert expected.any()
    got = source.fold_in(interest_of([3, 60, 7, 9], weight=[2.0, 5.0, 1.0, 0.0]))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["als", "bpr"])
def test_a_shopper_of_one_cluster_is_offered_the_rest_of_it(method: str) -> None:
    config = FactorsConfig(method=method, dim=2, bpr_iterations=300)  # type: ignore[arg-type]
    source = FactorsSource()
    source.use(fit_factors(two_clusters(), [f"item{k}" for k in range(20)], config), names(20))
    for half in (0, 10):
        got = proposed(source, interest_of([half, half + 1, half + 2]), 20, n=7)
        assert set(order_of(got)) == set(range(half + 3, half + 10))
        assert {seed for _, seed in got.values()} <= {0, 1, 2}


def test_a_checkerboard_is_completed() -> None:
    users, items = np.divmod(np.flatnonzero(np.indices((40, 12)).sum(axis=0) % 2), 12)
    withheld = (users == 0) & (items == 5)
    keep = ~withheld
    pairs = Pairs(
        users[keep].astype(np.int32), items[keep].astype(np.int32), np.ones(int(keep.sum()), np.float32), 40, 12
    )
    source = FactorsSource()
    config = FactorsConfig(dim=2, regularization=0.1)
    source.use(fit_factors(pairs, [f"item{k}" for k in range(12)], config), names(12))
    seeds = pairs.item[pairs.user == 0].tolist()
    assert order_of(proposed(source, interest_of(seeds), 12))[0] == 5


def test_the_reason_is_the_seed_that_speaks_most_for_the_item() -> None:
    source = FactorsSource()
    source.use(fit_factors(two_clusters(), [f"item{k}" for k in range(20)], FactorsConfig(dim=4)), names(20))
    got = proposed(source, interest_of([1, 12], weight=[1.0, 1.0]), 20)
    for item, (_, seed) in got.items():
        assert seed == (0 if item < 10 else 1)


def test_before_training_and_for_a_stranger_it_is_silent() -> None:
    source = FactorsSource()
    assert proposed(source, interest_of([1]), 9) == {}
    source.use(random_factors(9, 4, 1.0, 0), names(9))
    assert proposed(source, interest_of([]), 9) == {}
    assert proposed(source, interest_of([20]), 30) == {}


def test_another_training_replaces_the_first_and_the_vectors_object_stays() -> None:
    source = FactorsSource()
    held = source.vectors
    source.use(random_factors(30, 4, 1.0, 0), names(30))
    source.use(random_factors(10, 8, 1.0, 1), names(30))
    assert source.vectors is held
    assert held.n == 10
    assert set(proposed(source, interest_of([1]), 30)) <= set(range(10))


def test_items_unknown_to_this_engine_are_left_out() -> None:
    source = FactorsSource()
    source.use(random_factors(30, 4, 1.0, 0), names(12))
    assert source.vectors.n == 12


def test_an_artifact_gives_the_same_proposals(tmp_path: Path) -> None:
    factors = fit_factors(two_clusters(), [f"ärtikel{k}" for k in range(20)], FactorsConfig(dim=4), {"offset": 7})
    factors.save(tmp_path / "factors")
    loaded = Factors.load(tmp_path / "factors")
    assert loaded.item_ids == factors.item_ids
    assert loaded.meta["offset"] == 7
    ids = Ids()
    for one in factors.item_ids:
        ids.intern(one)
    before, after = FactorsSource(), FactorsSource()
    before.use(factors, ids)
    after.use(loaded, ids)
    interest = interest_of([1, 3], weight=[1.0, 2.0])
    assert proposed(before, interest, 20) == proposed(after, interest, 20) != {}


def test_factors_that_cannot_be_right_are_refused_and_the_old_ones_stay(tmp_path: Path) -> None:
    good = random_factors(10, 4, 1.0, 0)
    source = FactorsSource()
    source.use(good, names(10))
    broken = good.vectors.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ArtifactError, match="NaN"):
        source.use(Factors("als", good.item_ids, broken, good.inverse_gram, 1.0, {}), names(10))
    with pytest.raises(ArtifactError, match="fit together"):
        source.use(Factors("als", good.item_ids[:4], broken, good.inverse_gram, 1.0, {}), names(10))
    assert source.factors is good
    write_artifact(tmp_path / "empty", {"vectors": good.vectors}, SCHEMA)
    with pytest.raises(ArtifactError, match="holds no factors"):
        Factors.load(tmp_path / "empty")


def test_pairs_are_summed_faded_and_freed_of_what_was_taken_back() -> None:
    histories = Histories(CovisitConfig())
    rows = [(0, 0, 1, "view", 0), (0, 0, 1, "view", 0), (0, 0, 2, "cart_add", 0), (1, 1, 3, "hide", 0),
            (1, 1, 2, "view", 0)]  # fmt: skip
    times = [0, 0, 0, 0, 10 * DAY_S * 1000]
    histories.grow(2, 4)
    histories.fold(batch_of(rows, times))
    pairs = pairs_of(histories, 2, 4, 10 * DAY_S, half_life_d=10.0)
    got = {(int(u), int(i)): float(w) for u, i, w in zip(pairs.user, pairs.item, pairs.weight, strict=True)}
    assert got == pytest.approx({(0, 1): np.log2(2.0), (0, 2): np.log2(4.0), (1, 2): np.log2(2.0)}, rel=1e-5)


def test_items_that_hardly_anybody_touched_get_no_vector() -> None:
    pairs = two_clusters()
    lonely = Pairs(
        np.append(pairs.user, 0).astype(np.int32), np.append(pairs.item, 20).astype(np.int32),
        np.append(pairs.weight, 1).astype(np.float32), 60, 21,
    )  # fmt: skip
    factors = fit_factors(lonely, [f"item{k}" for k in range(21)], FactorsConfig(dim=4))
    assert factors.item_ids == [f"item{k}" for k in range(20)]


def test_too_little_traffic_is_said_not_trained_on() -> None:
    pairs = Pairs(np.array([0], np.int32), np.array([0], np.int32), np.ones(1, np.float32), 1, 1)
    with pytest.raises(TooFewExamples, match="there are 0"):
        fit_factors(pairs, ["item0"], FactorsConfig())


def test_the_same_pairs_give_the_same_factors() -> None:
    ids = [f"item{k}" for k in range(20)]
    for method in ("als", "bpr"):
        config = FactorsConfig(method=method, dim=4, bpr_iterations=20)  # type: ignore[arg-type]
        first, second = fit_factors(two_clusters(), ids, config), fit_factors(two_clusters(), ids, config)
        np.testing.assert_array_equal(first.vectors, second.vectors)
