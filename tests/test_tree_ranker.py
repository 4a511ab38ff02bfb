"""The tree ranker: expected reward from several forests, and how it is told."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from endcap.errors import ArtifactError
from endcap.models.forest import feature_name
from endcap.models.tree_ranker import STACKED, Head, TreeRanker
from endcap.types import F4, F8

COLUMNS = ("a", "b", "c")


def rows_of(n: int, seed: int = 0) -> F4:
    return np.random.default_rng(seed).normal(size=(n, len(COLUMNS))).astype(np.float32)


def booster(rows: F4, label: F8, names: tuple[str, ...]) -> lightgbm.Booster:
    data = lightgbm.Dataset(rows, label, feature_name=[feature_name(name) for name in names])
    return lightgbm.train({"num_leaves": 8, "verbosity": -1, "min_data_in_leaf": 3, "num_threads": 1}, data, 10)


@pytest.fixture(scope="module")
def parts() -> tuple[TreeRanker, lightgbm.Booster, lightgbm.Booster]:
    rows = rows_of(300)
    click = booster(rows, (rows[:, 0] + rows[:, 1] > 0).astype(float), COLUMNS)
    stacked = np.column_stack([rows, click.predict(rows)]).astype(np.float32)
    buy = booster(stacked, (stacked[:, 3] * rows[:, 2] > 0.2).astype(float), (*COLUMNS, STACKED))
    heads = [
        Head("click", click.model_to_string(), 2.0, -3.0, 1.0), Head("purchase", buy.model_to_string(), 1.5, -4.0, 6.0)
    ]  # fmt: skip
    return TreeRanker("t", COLUMNS, heads), click, buy


def logistic(x: F8) -> F8:
    return 1.0 / (1.0 + np.exp(-x))


def test_the_score_is_the_expected_reward(parts: tuple[TreeRanker, lightgbm.Booster, lightgbm.Booster]) -> None:
    ranker, click, buy = parts
    rows = rows_of(90, 1)
    first = click.predict(rows)
    second = buy.predict(np.column_stack([rows, first]).astype(np.float32))
    expected = logistic(2.0 * first - 3.0) + 6.0 * logistic(1.5 * second - 4.0)
    assert ranker.score(rows) == pytest.approx(expected, rel=1e-5)
    assert (ranker.score(rows) > 0).all()


def test_the_trace_adds_up_to_the_score(parts: tuple[TreeRanker, lightgbm.Booster, lightgbm.Booster]) -> None:
    ranker, _, _ = parts
    rows = rows_of(40, 2)
    trace = ranker.trace(rows)
    assert trace.shape == (40, len(ranker.terms))
    assert trace.sum(axis=1) == pytest.approx(ranker.score(rows), abs=1e-5)
    assert np.abs(trace[:, ranker.terms.index(STACKED)]).max() > 0


def test_order_is_kept_where_probabilities_are_tiny() -> None:
    rows = rows_of(200, 3)
    model = booster(rows, rows[:, 0].astype(float), COLUMNS)
    ranker = TreeRanker("t", COLUMNS, [Head("answer", model.model_to_string(), 5.0, -25.0, 1.0)])
    raw, score = model.predict(rows), ranker.score(rows)
    distinct = np.unique(raw)
    assert np.unique(score).shape[0] == distinct.shape[0]
    assert (np.argsort(raw, kind="stable") == np.argsort(score, kind="stable")).all()


def test_more_rows_than_before_are_scored_alike(parts: tuple[TreeRanker, lightgbm.Booster, lightgbm.Booster]) -> None:
    ranker, _, _ = parts
    many = rows_of(700, 4)
    assert (ranker.score(many)[:5] == ranker.score(many[:5].copy())).all()


@pytest.mark.parametrize(
    ("slope", "offset", "reward"),
    [(0.0, 0.0, 1.0), (-1.0, 0.0, 1.0), (float("nan"), 0.0, 1.0), (1.0, float("inf"), 1.0), (1.0, 0.0, -1.0)],
)
def test_a_calibration_that_is_no_probability_is_refused(slope: float, offset: float, reward: float) -> None:
    rows = rows_of(60, 5)
    text = booster(rows, rows[:, 0].astype(float), COLUMNS).model_to_string()
    with pytest.raises(ArtifactError, match="positive slope"):
        TreeRanker("t", COLUMNS, [Head("answer", text, slope, offset, reward)])


def test_a_ranker_needs_an_objective() -> None:
    with pytest.raises(ArtifactError, match="no objective"):
        TreeRanker("t", COLUMNS, [])
