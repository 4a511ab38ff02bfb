"""Training of factors: who did what, as a weighted matrix, factorised by ``implicit``.

Idea: the folded state already holds the last 64 interactions of every user; that is the training set, so nothing is
replayed. A pair's weight is the sum of its actions' weights, faded by age, on a logarithmic scale (one view = 1, ten
views are not ten times the interest); pairs whose sum is not positive (removed, disliked) drop out.

Cost: ALS 64 dimensions, 800,000 pairs, 15 iterations: ~40 s on one core. One thread, fixed seed: the same state gives
the same factors. Not for: explicit ratings, where missing means unknown;
``method = "mf"`` is for these (learning/ratings.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from threadpoolctl import threadpool_limits

from endcap.blocks import Blocks
from endcap.config import FactorsConfig
from endcap.engine import Progress, silent
from endcap.learning.boosting import TooFewExamples
from endcap.learning.ratings import Ratings, fit_ratings
from endcap.models.factors import Factors
from endcap.types import ACTION_WEIGHT, F4, F8, I1, I4, U4

LEAST_PAIRS = 100  # fewer are no ground for any factor


@dataclass(frozen=True, slots=True)
class Pairs:
    """Distinct (user, item) pairs and their weight, as columns."""

    user: I4
    item: I4
    weight: F4
    n_users: int
    n_items: int

    def matrix(self) -> csr_matrix:
        """users x items."""
        return csr_matrix((self.weight, (self.user, self.item)), shape=(self.n_users, self.n_items))


class Rings(Protocol):
    """The last interactions of every user."""

    blocks: Blocks
    item: I4
    at_s: U4
    action: I1


def ring_entries(blocks: Blocks, n_users: int) -> tuple[I4, I4]:
    """Pool places of all entries, and whose they are."""
    length = blocks.length[:n_users]
    owner = np.repeat(np.arange(n_users, dtype=np.int32), length)
    before = np.cumsum(length) - length
    place = np.arange(owner.shape[0]) - before[owner] + blocks.start[:n_users][owner]
    return place.astype(np.int32), owner


def pairs_of(rings: Rings, n_users: int, n_items: int, t_s: int, half_life_d: float) -> Pairs:
    """What users did until ``t_s``, summed over each pair."""
    place, owner = ring_entries(rings.blocks, n_users)
    age_s = np.maximum(t_s - rings.at_s[place].astype(np.int64), 0)
    weight = ACTION_WEIGHT[rings.action[place]] * np.exp2(-age_s / (half_life_d * 86_400.0))
    summed = coo_matrix((weight, (owner, rings.item[place])), shape=(n_users, n_items)).tocsr().tocoo()
    keep = summed.data > 0.0
    return Pairs(
        summed.row[keep].astype(np.int32), summed.col[keep].astype(np.int32),
        (np.log1p(summed.data[keep]) / math.log(2.0)).astype(np.float32), n_users, n_items,
    )  # fmt: skip


def fit_factors(
    pairs: Pairs, item_ids: list[str], config: FactorsConfig, meta: dict[str, Any] | None = None
) -> Factors:
    """Factorise; items that fewer than ``config.min_users`` users touched get no vector.

    ``item_ids`` by dense item. Raises ``TooFewExamples`` when hardly anything is left to learn from.
    """
    reach = np.bincount(pairs.item, minlength=pairs.n_items)
    kept = np.flatnonzero(reach >= config.min_users)
    matrix = pairs.matrix()[:, kept]
    if matrix.nnz < LEAST_PAIRS:
        raise TooFewExamples(
            f"factors need {LEAST_PAIRS} user-item pairs of items with {config.min_users} users or more, "
            f"there are {matrix.nnz}; train again when there is more traffic"
        )
    vectors = als_vectors(matrix, config) if config.method == "als" else bpr_vectors(matrix, config)
    names = [item_ids[item] for item in kept.tolist()]
    return ready(config, names, vectors, {"pairs": int(matrix.nnz), "users": pairs.n_users, **(meta or {})})


def factors_of_ratings(
    ratings: Ratings, config: FactorsConfig, meta: dict[str, Any] | None = None, progress: Progress = silent
) -> Factors:
    """Factorise ratings (learning/ratings.py); items that fewer than ``config.min_users`` rated get no vector."""
    reach = np.bincount(ratings.item, minlength=len(ratings.item_ids))
    vectors = fit_ratings(ratings, config, progress).served()
    kept = np.flatnonzero(reach >= config.min_users)
    names = [ratings.item_ids[item] for item in kept.tolist()]
    return ready(
        config, names, vectors[kept], {"ratings": len(ratings), "users": len(ratings.user_ids), **(meta or {})}
    )


def ready(config: FactorsConfig, names: list[str], vectors: F4, meta: dict[str, Any]) -> Factors:
    """Item vectors with what serving them takes."""
    wide: F8 = vectors.astype(np.float64)
    gram = wide.T @ wide + config.regularization * np.eye(vectors.shape[1])
    inverse: F8 = np.linalg.inv(gram).astype(np.float64)
    return Factors(
        config.method, names, vectors, inverse, config.alpha, meta
    )  # fmt: skip


def als_vectors(matrix: csr_matrix, config: FactorsConfig) -> F4:
    """Item vectors of ALS on confidences 1 + alpha w."""
    from implicit.cpu.als import AlternatingLeastSquares  # the heavy import waits until there is something to train

    confidence = matrix.copy()
    confidence.data = (1.0 + config.alpha * matrix.data).astype(np.float32)
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=config.dim, regularization=config.regularization, alpha=1.0, iterations=config.iterations,
            random_state=config.seed, num_threads=1,
        )  # fmt: skip
        model.fit(confidence, show_progress=False)
    return np.ascontiguousarray(model.item_factors, np.float32)


def bpr_vectors(matrix: csr_matrix, config: FactorsConfig) -> F4:
    """Item vectors of BPR, the item's bias as their last number."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(
        factors=config.dim, regularization=config.bpr_regularization, learning_rate=config.learning_rate,
        iterations=config.bpr_iterations, random_state=config.seed, num_threads=1,
    )  # fmt: skip
    model.fit(matrix, show_progress=False)
    return np.ascontiguousarray(model.item_factors, np.float32)
