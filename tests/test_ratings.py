"""Biased factorisation of ratings: the kernel against plain NumPy, known structure, and what is served of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from endcap.config import Config, FactorsConfig, LearningConfig
from endcap.learning.boosting import TooFewExamples
from endcap.learning.factors import factors_of_ratings
from endcap.learning.ratings import Ratings, fit_ratings, newest_of_pairs, ratings_of, rmse
from endcap.learning.store import ModelStore
from endcap.learning.train import train_and_judge
from endcap.models.factors import FactorsSource
from endcap.stores.memory import MemoryLog
from endcap.types import F8, ActionName, Event, Interaction
from proposals import interest_of, order_of, proposed
from test_factors import names

HOW = FactorsConfig(method="mf", dim=4, mf_iterations=60)
START_MS = 1_760_000_000_000


def low_rank(n_users: int = 150, n_items: int = 80, share: float = 0.3, seed: int = 0) -> tuple[Ratings, Ratings]:
    """Ratings of rank two with biases and noise, learned and withheld ones."""
    rng = np.random.default_rng(seed)
    p, q = rng.normal(size=(n_users, 2)), rng.normal(size=(n_items, 2))
    whole = 0.1 + 0.2 * rng.normal(size=(n_users, 1)) + 0.2 * rng.normal(size=n_items) + 0.25 * p @ q.T
    whole = np.clip(whole + 0.05 * rng.normal(size=whole.shape), -1.0, 1.0)
    user, item = np.nonzero(rng.random(whole.shape) < share)
    told = rng.random(user.shape[0]) < 0.8
    users, items = [f"u{k}" for k in range(n_users)], [f"item{k}" for k in range(n_items)]

    def part(keep: np.ndarray) -> Ratings:
        return Ratings(
            user[keep].astype(np.int32), item[keep].astype(np.int32),
            whole[user[keep], item[keep]].astype(np.float32), users, items,
        )  # fmt: skip

    return part(told), part(~told)


def plain(ratings: Ratings, config: FactorsConfig) -> F8:
    """The same descent in NumPy; gives the predicted ratings."""
    draw, dim = np.random.default_rng(config.seed), config.dim
    mean, n, m = float(ratings.value.mean()), len(ratings.user_ids), len(ratings.item_ids)
    bu, bi = np.zeros(n), np.zeros(m)
    p = draw.normal(0.0, 0.1 / np.sqrt(dim), (n, dim))
    q = draw.normal(0.0, 0.1 / np.sqrt(dim), (m, dim))
    rate, pull = config.mf_learning_rate, config.mf_regularization
    for _ in range(config.mf_iterations):
        for k in draw.permutation(len(ratings)):
            u, i = ratings.user[k], ratings.item[k]
            error = ratings.value[k] - mean - bu[u] - bi[i] - p[u] @ q[i]
            bu[u] += rate * (error - pull * bu[u])
            bi[i] += rate * (error - pull * bi[i])
            p[u], q[i] = p[u] + rate * (error * q[i] - pull * p[u]), q[i] + rate * (error * p[u] - pull * q[i])
    found: F8 = mean + bu[:, None] + bi + p @ q.T
    return found


def test_the_kernel_equals_its_plain_twin() -> None:
    told, _ = low_rank(20, 15, share=0.9)
    config = FactorsConfig(method="mf", dim=3, mf_iterations=5, seed=4)
    model = fit_ratings(told, config)
    user, item = (axis.ravel().astype(np.int32) for axis in np.indices((20, 15)))
    np.testing.assert_allclose(model.predict(user, item), plain(told, config).ravel(), atol=1e-4)


def test_withheld_ratings_are_told_better_than_by_biases_alone() -> None:
    told, withheld = low_rank()
    model, biases = fit_ratings(told, HOW), fit_ratings(told, FactorsConfig(method="mf", dim=0, mf_iterations=60))
    ours, base = (rmse(one.predict(withheld.user, withheld.item), withheld.value) for one in (model, biases))
    assert ours < 0.7 * base
    assert base < rmse(np.full(len(withheld), told.value.mean(), np.float32), withheld.value)


def test_a_user_who_came_later_is_told_as_well_as_those_learned_from() -> None:
    told, withheld = low_rank()
    model, errors = fit_ratings(told, HOW), []
    for user in range(20):
        mine, asked = told.user == user, withheld.user == user
        bias, vector = model.fold_in(told.item[mine], told.value[mine])
        item = withheld.item[asked]
        errors.append(
            model.mean + bias + model.item_bias[item] + model.item_vectors[item] @ vector - withheld.value[asked]
        )
    assert np.sqrt(np.mean(np.concatenate(errors) ** 2)) < 0.15


def test_the_same_ratings_give_the_same_numbers_and_few_give_none() -> None:
    told, _ = low_rank(40, 30)
    np.testing.assert_array_equal(fit_ratings(told, HOW).served(), fit_ratings(told, HOW).served())
    few = Ratings(told.user[:50], told.item[:50], told.value[:50], told.user_ids, told.item_ids)
    with pytest.raises(TooFewExamples, match="there are 50"):
        fit_ratings(few, HOW)


def test_the_newest_rating_of_a_pair_counts() -> None:
    user, item = np.array([0, 1, 0, 0], np.int32), np.array([0, 0, 1, 0], np.int32)
    got = newest_of_pairs(user, item, np.array([-1, 0.5, 0.2, 1], np.float32), ["a", "b"], ["x", "y"])
    assert [*zip(got.user.tolist(), got.item.tolist(), strict=True)] == [(1, 0), (0, 1), (0, 0)]
    assert got.value.tolist() == pytest.approx([0.5, 0.2, 1.0])


def test_ratings_are_read_from_the_log_up_to_an_offset() -> None:
    rows: list[tuple[ActionName, str, float | None]] = [
        ("rating", "x", 0.5), ("view", "x", None), ("like", "y", None), ("dislike", "z", None), ("dislike", "x", -0.5),
        ("rating", "y", -1.0),
    ]  # fmt: skip
    log = MemoryLog()
    log.append([
        Interaction(event_id=f"e{k}", type=kind, user_id="a", item_id=item, value=value, ts=START_MS + k)
        for k, (kind, item, value) in enumerate(rows)
    ])  # fmt: skip
    got = ratings_of(log, 5)
    assert dict(zip((got.item_ids[i] for i in got.item), got.value.tolist(), strict=True)) == {
        "x": -0.5, "y": 1.0, "z": -1.0,
    }  # fmt: skip


def test_served_factors_propose_what_goes_with_what_was_liked() -> None:
    rng = np.random.default_rng(1)
    user, item = (axis.ravel() for axis in np.indices((60, 20)))
    keep = rng.random(user.shape[0]) < 0.6
    user, item = user[keep].astype(np.int32), item[keep].astype(np.int32)
    value = np.where(user % 2 == item // 10, 1.0, -1.0).astype(np.float32)
    ratings = Ratings(user, item, value, [f"u{k}" for k in range(60)], [f"item{k}" for k in range(20)])
    source = FactorsSource()
    source.use(factors_of_ratings(ratings, HOW), names(20))
    for half in (0, 10):
        got = order_of(proposed(source, interest_of([half, half + 1, half + 2]), 20, n=7))
        assert set(got) == set(range(half + 3, half + 10))


def test_training_uses_ratings_where_the_settings_say_so(tmp_path: Path) -> None:
    told, _ = low_rank(60, 30)
    events: list[Event] = [
        Interaction(
            event_id=f"e{k}", type="rating" if value >= 0 else "dislike", user_id=f"u{user}", item_id=f"item{item}",
            value=float(value), ts=START_MS + k * 60_000, received_at=START_MS + k * 60_000,
        )
        for k, (user, item, value) in enumerate(zip(told.user, told.item, told.value, strict=True))
    ]  # fmt: skip
    log = MemoryLog()
    log.append(events)
    config = Config(factors=HOW, learning=LearningConfig(window_d=60.0))
    outcome = train_and_judge(log, tmp_path, config, kinds=["factors"])
    _, factors = ModelStore(tmp_path).load(int(outcome.vectors["factors"]), ())
    assert factors.method == "mf"
    assert factors.meta["ratings"] == len(told)
