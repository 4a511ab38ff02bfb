"""Training: what the trees must find, the logistic curve, out-of-fold scores, and that a seed decides everything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.learning.boosting import Boosting, TooFewExamples, calibrated, fit_heads, out_of_fold, positives_per_query
from endcap.learning.examples import Table
from endcap.models.forest import Forest
from endcap.models.tree_ranker import STACKED, TreeRanker

COLUMNS = ("src:signal", "noise", "other")
SMALL = Boosting(trees=20, leaves=8, least_rows=5, column_share=1.0, threads=1)


def table(n_queries: int = 120, size: int = 12, seed: int = 0) -> Table:
    """One right row per query, the one with the largest signal for most queries."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_queries * size, len(COLUMNS))).astype(np.float32)
    labels = np.zeros((n_queries * size, 2), np.uint8)
    for q in range(n_queries):
        part = slice(q * size, (q + 1) * size)
        right = q * size + (int(rows[part, 0].argmax()) if rng.random() < 0.9 else int(rng.integers(size)))
        labels[right, 0] = 1
        labels[right, 1] = rows[right, 2] > 0
    return Table(rows, labels, np.full(n_queries, size, np.int32), np.arange(n_queries, dtype=np.int64))


def first_place(ranker: TreeRanker, data: Table) -> float:
    """Share of queries whose right row is ranked first."""
    scores = ranker.score(data.rows).reshape(len(data), -1)
    right = data.labels[:, 0].reshape(len(data), -1)
    return float((scores.argmax(axis=1) == right.argmax(axis=1)).mean())


def test_it_learns_to_order_a_request_s_candidates() -> None:
    heads = fit_heads(table(), COLUMNS, ("click",), {"click": 1.0}, SMALL)
    assert first_place(TreeRanker("t", COLUMNS, heads), table(seed=1)) > 0.75


def test_later_objectives_see_the_click_score() -> None:
    heads = fit_heads(table(), COLUMNS, ("click", "purchase"), {"click": 1.0, "purchase": 6.0}, SMALL)
    assert [head.objective for head in heads] == ["click", "purchase"]
    assert f" {STACKED}" in next(line for line in heads[1].text.splitlines() if line.startswith("feature_names="))
    assert np.isfinite(TreeRanker("t", COLUMNS, heads).score(table().rows)).all()


def test_an_objective_without_enough_answers_is_left_out_and_the_first_must_have_them() -> None:
    data = table()
    data.labels[:, 1] = 0
    heads = fit_heads(data, COLUMNS, ("click", "purchase"), {"click": 1.0, "purchase": 6.0}, SMALL)
    assert [head.objective for head in heads] == ["click"]
    with pytest.raises(TooFewExamples, match="needs 50"):
        fit_heads(table(20), COLUMNS, ("click",), {"click": 1.0}, SMALL)


def test_a_seed_decides_everything() -> None:
    one, same = (fit_heads(table(), COLUMNS, ("click",), {"click": 1.0}, SMALL) for _ in range(2))
    assert one == same
    other = fit_heads(table(), COLUMNS, ("click",), {"click": 1.0}, replace(SMALL, seed=2))
    assert other != one


def test_the_stacked_score_has_not_seen_its_own_answers() -> None:
    """Labels without any rule: in fold a forest remembers them, out of fold it cannot."""
    data = table(150)
    rng = np.random.default_rng(5)
    label = np.zeros(data.rows.shape[0], np.uint8)
    label[rng.integers(0, 12, 150) + 12 * np.arange(150)] = 1
    grown = replace(SMALL, trees=60, least_rows=1, ridge=0.0)
    useful = positives_per_query(data, label) > 0
    raw = out_of_fold(data, label, useful, COLUMNS, grown)
    remembered = Forest(
        fit_heads(replace(data, labels=label[:, None]), COLUMNS, ("a",), {"a": 1.0}, grown)[0].text, COLUMNS
    ).score(data.rows)
    assert auc(remembered, label) > 0.9
    assert auc(raw, label) < 0.6


def auc(score: np.ndarray, label: np.ndarray) -> float:
    rank = np.argsort(np.argsort(score))
    n_right = int(label.sum())
    return float((rank[label > 0].sum() - n_right * (n_right - 1) / 2) / (n_right * (len(label) - n_right)))


@settings(deadline=None, max_examples=25)
@given(slope=st.floats(0.3, 4.0), offset=st.floats(-4.0, 1.0), shift=st.floats(-20, 20), seed=st.integers(0, 1000))
def test_the_logistic_curve_is_found_again(slope: float, offset: float, shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=20_000)
    p = 1.0 / (1.0 + np.exp(-(slope * x + offset)))
    label = (rng.random(20_000) < p).astype(np.uint8)
    a, b = calibrated(x + shift, label)
    assert a == pytest.approx(slope, rel=0.25, abs=0.1)
    assert a * shift + b == pytest.approx(offset, abs=0.35)


def test_a_weight_counts_as_so_many_equal_rows() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=3_000)
    label = (rng.random(3_000) < 1.0 / (1.0 + np.exp(1.0 - 2.0 * x))).astype(np.uint8)
    times = rng.integers(1, 5, 3_000)
    weighted = calibrated(x, label, times.astype(np.float32))
    assert weighted == pytest.approx(calibrated(np.repeat(x, times), np.repeat(label, times)), rel=1e-3)


def test_heavy_queries_decide_what_is_learned() -> None:
    """A third of the queries follow the other column; they win when they weigh more."""
    data = table(240)
    other = np.arange(240) % 3 == 0
    right = data.rows[:, 2].reshape(240, -1).argmax(axis=1) + 12 * np.arange(240)
    labels = data.labels.copy()
    labels[np.repeat(other, 12)] = 0
    labels[right[other], 0] = 1
    data = replace(data, labels=labels)

    def follows_other(weights: np.ndarray | None) -> bool:
        heads = fit_heads(replace(data, weights=weights), COLUMNS, ("click",), {"click": 1.0}, SMALL)
        scores = TreeRanker("t", COLUMNS, heads).score(np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 2.0]], np.float32))
        return bool(scores[1] > scores[0])

    assert not follows_other(None)
    assert not follows_other(np.ones(240, np.float32))
    assert follows_other(np.where(other, 10.0, 1.0).astype(np.float32))


def test_a_score_that_says_nothing_or_the_opposite_keeps_a_positive_slope() -> None:
    x = np.linspace(-1, 1, 1000)
    slope, offset = calibrated(x, (x < 0).astype(np.uint8))
    assert slope > 0
    assert np.isfinite(offset)


def test_parts_of_a_table_keep_queries_whole() -> None:
    data = table(10, 4)
    data = replace(data, weights=np.arange(10, dtype=np.float32))
    part = data.part(np.arange(10) % 2 == 0)
    assert part.weights is not None
    assert part.weights.tolist() == [0, 2, 4, 6, 8]
    assert len(part) == 5
    assert (part.rows[:4] == data.rows[:4]).all()
    assert (part.rows[4:8] == data.rows[8:12]).all()
