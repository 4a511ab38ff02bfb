"""The gate: NDCG by its definition, and who may pass."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.learning.examples import Table
from endcap.learning.gate import judge, ndcg
from endcap.types import F4


class Column:
    """Ranks by one column of the rows."""

    terms: tuple[str, ...] = ()

    def __init__(self, column: int, noise: float = 0.0, seed: int = 0) -> None:
        self.name = f"column {column}"
        self._column, self._noise, self._seed = column, noise, seed

    def score(self, rows: F4) -> F4:
        noise = np.random.default_rng(self._seed).normal(size=rows.shape[0]) * self._noise
        return (rows[:, self._column] + noise).astype(np.float32)

    def trace(self, rows: F4) -> F4:
        return rows[:, :0]


def table(n_queries: int, size: int = 20, seed: int = 0) -> Table:
    """Column 0 is the truth, column 1 is noise; two objectives."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_queries * size, 2)).astype(np.float32)
    best = rows[:, 0].reshape(n_queries, size).argmax(axis=1) + size * np.arange(n_queries)
    labels = np.zeros((n_queries * size, 2), np.uint8)
    labels[best, 0] = 1
    labels[best[::3], 1] = 1
    return Table(rows, labels, np.full(n_queries, size, np.int32), np.arange(n_queries, dtype=np.int64))


def plain(scores: list[float], gains: list[float]) -> float:
    order = sorted(range(len(scores)), key=lambda k: (-scores[k], gains[k]))
    dcg = sum(gains[k] / math.log2(rank + 2) for rank, k in enumerate(order[:20]))
    ideal = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(sorted(gains, reverse=True)[:20]))
    return dcg / ideal


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.sampled_from([0.0, 1.0, 6.0])), min_size=1, max_size=40
    )
)
def test_ndcg_equals_its_definition_with_ties_in_the_worst_order(pairs: list[tuple[float, float]]) -> None:
    scores, gains = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    whole = Table(np.zeros((len(pairs), 1), np.float32), np.zeros((len(pairs), 1), np.uint8),
                  np.array([len(pairs)], np.int32), np.zeros(1, np.int64))  # fmt: skip
    got = ndcg(scores, gains, whole)
    if gains.max() == 0:
        assert got.shape == (0,)
    else:
        assert got[0] == pytest.approx(plain(scores.tolist(), gains.tolist()))


def test_better_and_equal_rankers_pass_and_worse_ones_do_not() -> None:
    data, rewards = table(200), [1.0, 6.0]
    good, poor = Column(0), Column(1)
    assert judge(good, poor, data, rewards).passed
    assert judge(good, good, data, rewards).passed
    verdict = judge(poor, good, data, rewards)
    assert not verdict.passed
    assert verdict.new < verdict.old == pytest.approx(1.0)


def test_a_difference_within_chance_passes() -> None:
    data = table(200)
    verdict = judge(Column(0, noise=1.0, seed=1), Column(0, noise=1.0, seed=2), data, [1.0, 6.0])
    assert verdict.passed
    assert abs(verdict.new - verdict.old) < 3 * verdict.standard_error


def test_too_few_requests_judge_nobody() -> None:
    verdict = judge(Column(0), Column(1), table(10), [1.0, 6.0])
    assert not verdict.passed
    assert "10 requests" in verdict.why


def test_a_weight_counts_as_so_many_equal_requests() -> None:
    data, times = table(60), np.random.default_rng(1).integers(1, 4, 60)
    again = np.repeat(np.arange(60), times)
    row = np.concatenate([np.arange(q * 20, q * 20 + 20) for q in again])
    repeated = Table(data.rows[row], data.labels[row], data.sizes[again], data.ts[again])
    weighted = judge(Column(0), Column(1), replace(data, weights=times.astype(np.float32)), [1.0, 6.0])
    plain_ = judge(Column(0), Column(1), repeated, [1.0, 6.0])
    assert (weighted.new, weighted.old) == pytest.approx((plain_.new, plain_.old))
    assert weighted.queries == 60
    assert weighted.standard_error > plain_.standard_error, "repeating is no new evidence"


def test_an_equal_weight_changes_nothing() -> None:
    data, noisy = table(80), Column(0, noise=1.0)
    one, same = (judge(noisy, Column(1), some, [1.0, 6.0]) for some in (
        data, replace(data, weights=np.full(80, 3.0, np.float32))
    ))  # fmt: skip
    assert (one.new, one.old, one.standard_error) == pytest.approx((same.new, same.old, same.standard_error))
