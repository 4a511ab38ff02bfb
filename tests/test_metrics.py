"""Metrics against their definitions, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from endcap.evaluation.metrics import METRICS, per_query, pooled_recall


def by_definition(ranked: list[int], relevant: set[int]) -> dict[str, float]:
    """One query, in plain Python; a repeated item counts at its first place only."""
    out = {}
    for name in METRICS:
        kind, _, depth = name.partition("@")
        k = int(depth)
        places = [r for r, item in enumerate(ranked[:k], 1) if item in relevant and item not in ranked[: r - 1]]
        if kind == "hr":
            out[name] = float(bool(places))
        elif kind == "mrr":
            out[name] = 1 / places[0] if places else 0.0
        elif kind == "recall":
            out[name] = len(places) / len(relevant)
        elif kind == "capped":
            out[name] = len(places) / min(k, len(relevant))
        else:
            best = sum(1 / math.log2(r + 1) for r in range(1, min(k, len(relevant)) + 1))
            out[name] = sum(1 / math.log2(r + 1) for r in places) / best
    return out


def random_queries(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, list[set[int]]]:
    lists = np.stack([rng.choice(40, 20, replace=False) for _ in range(n)]).astype(np.int32)
    lists[rng.random(lists.shape) < 0.1] = -2
    relevant = [set(rng.choice(40, rng.integers(1, 30), replace=False).tolist()) for _ in range(n)]
    return lists, np.cumsum([len(one) for one in relevant]), relevant


def test_metrics_equal_their_definitions_on_a_thousand_random_queries():
    lists, ends, relevant = random_queries(np.random.default_rng(5), 1_000)
    flat = np.array([item for one in relevant for item in sorted(one)], np.int32)
    found = per_query(lists, ends, flat)
    for q in range(1_000):
        expected = by_definition([int(i) for i in lists[q]], relevant[q])
        for name in METRICS:
            assert found[name][q] == pytest.approx(expected[name], abs=1e-12), (name, q)


def test_metrics_agree_with_ranx():
    ranx = pytest.importorskip("ranx", reason="ranx is not installed; the written-out definitions are the oracle")
    lists, ends, relevant = random_queries(np.random.default_rng(6), 200)
    lists = np.abs(lists)
    flat = np.array([item for one in relevant for item in sorted(one)], np.int32)
    found = per_query(lists, ends, flat)
    qrels = ranx.Qrels({f"q{q}": {str(i): 1 for i in one} for q, one in enumerate(relevant)})
    run = ranx.Run({f"q{q}": {str(i): 20.0 - r for r, i in enumerate(row)} for q, row in enumerate(lists.tolist())})
    theirs = ranx.evaluate(qrels, run, ["hit_rate@20", "mrr@20", "recall@20"])
    assert found["hr@20"].mean() == pytest.approx(theirs["hit_rate@20"])
    assert found["mrr@20"].mean() == pytest.approx(theirs["mrr@20"])
    assert found["recall@20"].mean() == pytest.approx(theirs["recall@20"])


def test_an_oracle_scores_one_everywhere():
    lists = np.full((3, 20), -2, np.int32)
    lists[0, 0], lists[1, :3], lists[2, :20] = 7, [4, 5, 6], np.arange(20)
    ends, flat = np.array([1, 4, 24]), np.array([7, 4, 5, 6, *range(20)], np.int32)
    found = per_query(lists, ends, flat)
    assert all(found[name][:2].min() == 1.0 for name in METRICS)
    assert found["ndcg@20"][2] == pytest.approx(1.0)
    assert found["recall@20"][2] == found["capped@20"][2] == 1.0


def test_a_list_that_repeats_the_answer_gains_nothing():
    lists = np.array([[1, 9, 9, 9]], np.int32)
    found = per_query(lists, np.array([2]), np.array([9, 8], np.int32))
    assert found["recall@20"][0] == 0.5
    assert found["mrr@20"][0] == 0.5


def test_an_answer_named_twice_counts_once():
    found = per_query(np.array([[3, 1]], np.int32), np.array([1]), np.array([3], np.int32))
    assert found["ndcg@20"][0] == 1.0


def test_pooled_recall_weighs_queries_by_what_they_could_hit():
    lists = np.array([[1, 2], [3, 4]], np.int32)
    assert pooled_recall(lists, np.array([1, 5]), np.array([1, 3, 7, 8, 9], np.int32), 2) == pytest.approx(2 / 3)
