"""Ratings: biased matrix factorisation, for shops whose shoppers say how much they like things.

Idea: a rating is the general mean, plus how generous this user is, plus how well this item is rated, plus what the two
vectors have in common (Koren, Bell, Volinsky 2009, IEEE Computer 42(8)):

    r(u, i) = mean + b_u + b_i + p_u . q_i

Everything is learned by stochastic gradient descent on the ratings that there are; a pair without a rating says
nothing. Ratings are on -1..1, the newest of a pair counts, and a dislike without a value is -1, a like 1.

To serve, item vectors and biases become ``Factors`` (models/factors.py), the bias as one more number: the same source,
the same fold-in, the same likeness columns as with ALS and BPR. ``RatingModel.predict`` tells ratings themselves, and
``fold_in`` the bias and vector of a user who was not there at training, by ridge regression on their ratings.

Layout: ratings as columns; biases float32 [n], vectors float32 [n, dim], by order of first appearance in the log.
Cost: ~22 ns per rating, number and pass: 1 million ratings, 32 dimensions, 30 passes take ~20 s. Seeded: the same log
gives the same numbers. Not for: views, carts and purchases, where what was left alone says as much (use als).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
from numba import njit

from endcap.config import FactorsConfig
from endcap.engine import Progress, silent
from endcap.learning.boosting import TooFewExamples
from endcap.learning.lessons import touches
from endcap.protocols import EventLog
from endcap.types import F4, F8, I4, I8

TOLD = {"like": 1.0, "dislike": -1.0}  # what these mean when they come without a value
LEAST_RATINGS = 100


@dataclass(frozen=True, slots=True)
class Ratings:
    """Distinct (user, item) pairs with the newest rating, as columns; ids by order of first appearance."""

    user: I4
    item: I4
    value: F4  # -1..1
    user_ids: list[str]
    item_ids: list[str]

    def __len__(self) -> int:
        return int(self.value.shape[0])


@dataclass(frozen=True, slots=True)
class RatingModel:
    """What a training gives."""

    mean: float
    user_bias: F4  # [users]
    item_bias: F4  # [items]
    user_vectors: F4  # [users, dim]
    item_vectors: F4  # [items, dim]
    regularization: float

    def predict(self, user: I4, item: I4) -> F4:
        """user [n], item [n] -> ratings [n]."""
        match = np.einsum("nd,nd->n", self.user_vectors[user], self.item_vectors[item])
        rated: F4 = (self.mean + self.user_bias[user] + self.item_bias[item] + match).astype(np.float32)
        return rated

    def fold_in(self, item: I4, value: F4) -> tuple[float, F4]:
        """Bias and vector [dim] of a user from their ratings, at the optimum for the items as they are."""
        known = np.column_stack([np.ones(item.shape[0]), self.item_vectors[item].astype(np.float64)])
        left = value.astype(np.float64) - self.mean - self.item_bias[item]
        system = known.T @ known + self.regularization * item.shape[0] * np.eye(known.shape[1])
        solved: F4 = np.linalg.solve(system, known.T @ left).astype(np.float32)
        return float(solved[0]), solved[1:]

    def served(self) -> F4:
        """Vectors [items, dim + 1] to serve: each item's vector and its bias."""
        return np.column_stack([self.item_vectors, self.item_bias]).astype(np.float32)


def ratings_of(log: EventLog, until: int) -> Ratings:
    """What shoppers said of items up to offset ``until``."""
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    user, item, value = array("i"), array("i"), array("f")
    for _, who, item_id, event in touches(log, until):
        rated = event.value if event.type in ("rating", *TOLD) else None
        rated = TOLD.get(event.type) if rated is None else rated
        if rated is None:
            continue
        user.append(users.setdefault(who, len(users)))
        item.append(items.setdefault(item_id, len(items)))
        value.append(rated)
    columns = np.array(user, np.int32), np.array(item, np.int32), np.array(value, np.float32)
    return newest_of_pairs(*columns, [*users], [*items])


def newest_of_pairs(user: I4, item: I4, value: F4, user_ids: list[str], item_ids: list[str]) -> Ratings:
    """Ratings in order of time -> one per pair, the last."""
    pair: I8 = user.astype(np.int64) * max(1, len(item_ids)) + item
    _, from_behind = np.unique(pair[::-1], return_index=True)
    keep = np.sort(pair.shape[0] - 1 - from_behind)
    return Ratings(user[keep], item[keep], value[keep], user_ids, item_ids)


def fit_ratings(ratings: Ratings, config: FactorsConfig, progress: Progress = silent) -> RatingModel:
    """Learn. ``TooFewExamples`` below ``LEAST_RATINGS`` ratings."""
    if len(ratings) < LEAST_RATINGS:
        raise TooFewExamples(
            f"factors of ratings need {LEAST_RATINGS} ratings, there are {len(ratings)}; send events of the type "
            "rating, or set factors.method to als"
        )
    draw, dim = np.random.default_rng(config.seed), config.dim
    n_users, n_items, mean = len(ratings.user_ids), len(ratings.item_ids), float(ratings.value.mean())
    model = RatingModel(
        mean, np.zeros(n_users, np.float32), np.zeros(n_items, np.float32),
        draw.normal(0.0, 0.1 / np.sqrt(max(1, dim)), (n_users, dim)).astype(np.float32),
        draw.normal(0.0, 0.1 / np.sqrt(max(1, dim)), (n_items, dim)).astype(np.float32), config.mf_regularization,
    )  # fmt: skip
    for done in range(config.mf_iterations):
        order = draw.permutation(len(ratings)).astype(np.int64)
        one_pass(
            order, ratings.user, ratings.item, ratings.value, mean, config.mf_learning_rate, config.mf_regularization,
            model.user_bias, model.item_bias, model.user_vectors, model.item_vectors,
        )  # fmt: skip
        progress("ratings", done + 1, config.mf_iterations)
    return model


@njit(cache=True, nogil=True, error_model="numpy")
def one_pass(
    order: I8, user: I4, item: I4, value: F4, mean: float, rate: float, pull: float,
    user_bias: F4, item_bias: F4, p: F4, q: F4,
) -> None:  # fmt: skip
    """A gradient step for every rating, in this order."""
    for k in order:
        u, i = user[k], item[k]
        match = 0.0
        for d in range(p.shape[1]):
            match += p[u, d] * q[i, d]
        error = value[k] - mean - user_bias[u] - item_bias[i] - match
        user_bias[u] += rate * (error - pull * user_bias[u])
        item_bias[i] += rate * (error - pull * item_bias[i])
        for d in range(p.shape[1]):
            before = p[u, d]
            p[u, d] += rate * (error * q[i, d] - pull * before)
            q[i, d] += rate * (error * before - pull * q[i, d])


def rmse(predicted: F4, value: F4) -> float:
    """Root of the mean squared difference."""
    off: F8 = predicted.astype(np.float64) - value
    return float(np.sqrt((off * off).mean()))
