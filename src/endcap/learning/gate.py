"""The gate: a new ranker serves only if it is not worse than the one that does, on the newest requests.

Both score the same candidates of requests that neither was shown in this training. The measure is NDCG at 20 with the
rewards as gains. A difference below zero may be chance: the gate closes when the mean difference is below zero by more
than one standard error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from endcap.learning.examples import Table
from endcap.protocols import Ranker
from endcap.types import F8

DEPTH = 20
LEAST_QUERIES = 30  # with fewer there is no telling


class Verdict(Struct, frozen=True, kw_only=True):
    """What the gate saw."""

    queries: int
    new: float  # mean NDCG@20
    old: float
    standard_error: float  # of the mean difference
    passed: bool
    why: str


def judge(new: Ranker, old: Ranker, table: Table, rewards: Sequence[float]) -> Verdict:
    """Compare two rankers on the requests of ``table`` (all candidates, not a sample of them)."""
    gains = table.labels.astype(np.float64) @ np.array(rewards, np.float64)
    one, other = (ndcg(ranker.score(table.rows).astype(np.float64), gains, table) for ranker in (new, old))
    n, weights = one.shape[0], weights_of(gains, table)
    if n < LEAST_QUERIES:
        why = f"{n} requests to judge by, {LEAST_QUERIES} needed"
        return Verdict(
            queries=n, new=mean(one, weights), old=mean(other, weights), standard_error=0.0, passed=False, why=why
        )
    difference = one - other
    ahead = mean(difference, weights)
    error = float(np.sqrt((weights**2 * (difference - ahead) ** 2).sum() * n / (n - 1)) / weights.sum())
    passed = ahead >= -error
    why = "not worse than the serving ranker" if passed else "worse than the serving ranker"
    return Verdict(
        queries=n, new=mean(one, weights), old=mean(other, weights), standard_error=error, passed=passed, why=why
    )


def mean(values: F8, weights: F8) -> float:
    """0 for nothing."""
    return float((values * weights).sum() / weights.sum()) if values.shape[0] else 0.0


def weights_of(gains: F8, table: Table) -> F8:
    """The weight of each request that has a right answer."""
    if not len(table):
        return np.zeros(0)
    right = np.maximum.reduceat(gains, np.cumsum(table.sizes) - table.sizes) > 0.0
    weights = np.ones(len(table)) if table.weights is None else table.weights.astype(np.float64)
    return weights[right]


def ndcg(scores: F8, gains: F8, table: Table) -> F8:
    """NDCG@20 of each request that has a right answer; equal scores count as in the worst order."""
    found = []
    ends = np.cumsum(table.sizes)
    discount = 1.0 / np.log2(np.arange(2, DEPTH + 2))
    for begin, end in zip(ends - table.sizes, ends, strict=True):
        gain = gains[begin:end]
        ideal = np.sort(gain)[::-1][:DEPTH]
        if ideal[0] <= 0.0:
            continue
        order = np.lexsort((gain, -scores[begin:end]))[:DEPTH]
        found.append((gain[order] * discount[: order.shape[0]]).sum() / (ideal * discount[: ideal.shape[0]]).sum())
    return np.array(found, np.float64)
