"""Intervals by resampling users."""

from __future__ import annotations

import numpy as np
import pytest

from endcap.evaluation.bootstrap import Bootstrap, gain, holm, interval


def test_draws_are_means_over_resampled_users():
    user = np.array([0, 0, 0, 1], np.int32)
    values = np.array([[1.0], [1.0], [1.0], [0.0]])
    draws = Bootstrap(user, draws=4_000, seed=1).means(values)[:, 0]
    # two users drawn from two: both the first (1), both the second (0), or one each (3 of 4 queries)
    shares = {value: float((draws == value).mean()) for value in (0.0, 0.75, 1.0)}
    assert shares[0.0] == pytest.approx(0.25, abs=0.03)
    assert shares[0.75] == pytest.approx(0.5, abs=0.03)
    assert sum(shares.values()) == 1.0


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        user = np.repeat(np.arange(80), 5).astype(np.int32)
        values = np.repeat(rng.normal(0.3, 0.2, 80), 5) + rng.normal(0, 0.1, 400)
        draws = Bootstrap(user, draws=300, seed=trial).means(values[:, None])[:, 0]
        band = interval(values, draws)
        covered += band.low <= 0.3 <= band.high
    assert 0.88 <= covered / 200 <= 0.99


def test_pairing_makes_a_small_constant_gain_certain():
    rng = np.random.default_rng(3)
    user = rng.integers(0, 50, 500).astype(np.int32)
    worse = rng.random(500)
    better = worse + 0.01
    draws = Bootstrap(user, draws=500, seed=4).means(np.stack([better, worse], axis=1))
    found = gain(better, worse, draws[:, 0], draws[:, 1])
    assert found.low == pytest.approx(0.01)
    assert found.high == pytest.approx(0.01)
    assert found.p_improve == 1.0


def test_equal_models_are_a_coin_toss():
    values = np.random.default_rng(5).random(100)
    draws = Bootstrap(np.arange(100, dtype=np.int32), draws=200).means(np.stack([values, values], axis=1))
    assert gain(values, values, draws[:, 0], draws[:, 1]).p_improve == 0.5


def test_the_same_seed_gives_the_same_draws():
    user, values = np.arange(30, dtype=np.int32), np.random.default_rng(6).random((30, 2))
    assert np.array_equal(Bootstrap(user, seed=7).means(values), Bootstrap(user, seed=7).means(values))


def test_holm_steps_down_and_never_orders_p_values_anew():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
