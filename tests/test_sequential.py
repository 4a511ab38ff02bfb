"""Always-valid statistics: known formulas, scipy, and simulated A/A experiments that are watched at every slate."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from endcap.feedback.sequential import (
    MIN_REWARDED,
    PREFERENCE,
    Sums,
    difference,
    evidence,
    half_width,
    p_value,
    share_range,
    tuned,
)
from rows import at_leisure

ROOT = Path(__file__).parent.parent


def benchmark() -> Any:
    """benchmarks/experiments_aa.py as a module."""
    spec = importlib.util.spec_from_file_location("experiments_aa", ROOT / "benchmarks" / "experiments_aa.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["experiments_aa"] = module
    spec.loader.exec_module(module)
    return module


def units(seed: int, n: int) -> tuple[Any, Any]:
    """Slates and rewards of ``n`` units, some of them heavy."""
    random = np.random.default_rng(seed)
    slates = random.geometric(0.3, n)
    return slates, random.poisson(0.3 * slates) + 6.0 * (random.random(n) < 0.05)


@at_leisure
@given(st.integers(0, 10_000), st.integers(2, 300))
def test_the_variance_is_that_of_a_ratio_over_units(seed: int, n: int) -> None:
    slates, reward = units(seed, n)
    found = Sums.of(slates, reward)
    rate = reward.sum() / slates.sum()
    assert found.rate == pytest.approx(rate)
    # the delta method, with numpy's own covariance
    (r2, rs), (_, s2) = np.cov(reward, slates)
    mean = slates.mean()
    expected = (r2 - 2 * rate * rs + rate**2 * s2) / (n * mean**2)
    assert float(found.variance) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_variance_counts_units_and_not_slates() -> None:
    """Ten equal slates per unit say no more than one."""
    random = np.random.default_rng(1)
    reward = random.random(500)
    once, ten = Sums.of(np.ones(500), reward), Sums.of(np.full(500, 10.0), 10 * reward)
    assert float(ten.variance) == pytest.approx(float(once.variance))
    assert float(once.variance) == pytest.approx(stats.sem(reward) ** 2)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
def test_the_mixture_is_the_integral_over_normal_effects(alpha: float) -> None:
    """The half-width is where the likelihood ratio, averaged over the prior, reaches 1 / alpha."""
    progress, variance = 0.4, 0.7
    prior = variance * progress * tuned(alpha)  # so that information over prior precision is progress * tuned

    def averaged(at: float) -> float:
        def density(effect: float) -> float:
            return float(stats.norm.pdf(effect, 0, math.sqrt(prior)) * stats.norm.pdf(at, effect, math.sqrt(variance)))

        over = integrate.quad(density, -20, 20, points=[0.0, at], limit=200)[0]
        return float(over / stats.norm.pdf(at, 0, math.sqrt(variance)))

    edge = optimize.brentq(lambda at: math.log(averaged(at) * alpha), 0.1, 12)
    assert float(half_width(np.float64(variance), np.float64(progress), alpha)) == pytest.approx(edge, rel=1e-4)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_sequence_is_narrowest_at_the_plan(alpha: float) -> None:
    """In units of the standard error."""
    progress = np.geomspace(0.01, 100, 2_001)
    width = half_width(np.ones_like(progress), progress, alpha)
    assert progress[np.argmin(width)] == pytest.approx(1.0, rel=0.01)
    assert 1.3 < width.min() / stats.norm.isf(alpha / 2) < 1.6
    assert width.max() < 5 * width.min(), "a wrong plan costs width, not validity"


def test_there_is_no_interval_before_enough_rewarded_units() -> None:
    few = Sums.of(np.ones(5_000), np.r_[np.ones(MIN_REWARDED - 1), np.zeros(5_001 - MIN_REWARDED)])
    many = Sums.of(np.ones(5_000), np.r_[np.ones(MIN_REWARDED), np.zeros(5_000 - MIN_REWARDED)])
    assert math.isinf(difference(few, many, 10_000)[1])
    assert math.isfinite(difference(many, many, 10_000)[1])
    empty = Sums.of(np.zeros(0), np.zeros(0))
    assert float(difference(empty, empty, 1)[0]) == 0.0


def test_a_small_variant_that_missed_its_buyers_is_not_believed_to_be_steady() -> None:
    slates, reward = units(2, 9_000)
    base = Sums.of(slates, reward)
    lucky = Sums.of(np.ones(400), np.r_[np.ones(60), np.zeros(340)])  # no purchase yet
    _, half = difference(lucky, base, 10_000)
    alone = half_width(lucky.variance + base.variance, (lucky.slates + base.slates) / 10_000)
    assert float(half) > float(alone)


@at_leisure
@given(st.lists(st.integers(0, 3_000), min_size=2, max_size=4), st.floats(1, 5_000))
def test_the_evidence_is_a_ratio_of_scipys_likelihoods(counts: list[int], concentration: float) -> None:
    shares = np.arange(1, len(counts) + 1) / sum(range(1, len(counts) + 1))
    found = evidence(np.array(counts, np.float64), shares, concentration)
    n = sum(counts)
    expected = stats.dirichlet_multinomial.logpmf(counts, concentration * shares, n) - stats.multinomial.logpmf(
        counts, n, shares
    )
    assert float(found) == pytest.approx(float(expected), rel=1e-6, abs=1e-6)


def test_under_the_right_shares_the_evidence_is_a_martingale() -> None:
    shares = np.array([0.2, 0.3, 0.5])
    for counts in ([0, 0, 0], [5, 1, 2], [400, 10, 90]):
        now = float(evidence(np.array(counts, np.float64), shares))
        after = [evidence(np.array(counts, np.float64) + step, shares) for step in np.eye(3)]
        assert float(np.exp(np.array(after) - now) @ shares) == pytest.approx(1.0)


def test_p_values_stay_in_their_range() -> None:
    assert p_value(-3.0) == 1.0
    assert p_value(math.log(1_000)) == pytest.approx(0.001)


@at_leisure
@given(st.integers(0, 500), st.integers(0, 500))
def test_the_range_of_a_share_is_what_the_evidence_does_not_refute(wins: int, losses: int) -> None:
    low, high = share_range(wins, losses)
    assert 0.0 <= low < high <= 1.0
    prior = np.array([PREFERENCE / 2, PREFERENCE / 2])
    for edge in (low, high):
        if 0.0 < edge < 1.0:
            mixed = stats.betabinom.logpmf(wins, wins + losses, *prior)
            assert mixed - stats.binom.logpmf(wins, wins + losses, edge) == pytest.approx(
                math.log(20), abs=2e-2
            )  # near 0 and 1 doubles are coarse


def test_the_simulation_sums_as_a_report_does() -> None:
    aa = benchmark()
    run = aa.simulate(np.random.default_rng(4), 3_000)
    base, one, _ = aa.looks(run)
    for end in (1, 77, 3_000):
        for arm, sums in ((0, base), (1, one)):
            of = np.flatnonzero(run.second[:end] == arm)
            _, unit = np.unique(run.unit[of], return_inverse=True)
            direct = Sums.of(np.bincount(unit), np.bincount(unit, weights=run.reward[of]))
            assert [float(column[end - 1]) for column in sums] == pytest.approx([float(x) for x in direct])


def test_experiments_without_a_difference_are_left_alone() -> None:
    """150 runs watched after each of 8,000 slates; the whole bar, 2,000 runs, is benchmarks/experiments_aa.py."""
    aa = benchmark()
    for share in (0.5, 0.1):
        found = aa.tried(150, 8_000, seed=5, share=share)
        alarms = int((found.stops >= 0).sum())
        assert stats.binomtest(alarms, 150, 0.05, alternative="greater").pvalue > 0.01, alarms
        assert int((found.ratio >= 0).sum()) <= 2
        assert share != 0.5 or (found.naive >= 0).mean() > 0.1, (
            "a fixed-sample interval would not survive being watched"
        )


def test_a_real_difference_and_a_broken_split_are_found() -> None:
    aa = benchmark()
    better = aa.tried(20, 20_000, seed=6, lift=0.6)
    assert (better.stops >= 0).mean() > 0.9
    broken = aa.tried(20, 20_000, seed=7, share=0.5, said=0.45)
    assert (broken.ratio >= 0).all()
