"""Boosting: LightGBM's lambdarank per objective, and the logistic curve that makes its score a probability.

Groups are requests, so a forest learns to order one request's candidates and nothing else (Burges 2010). The first
objective's raw score, made out of fold, is a column of the others: in fold it would be too good to be true.

Weights of requests come through: a tree climbs their weighted sum, and a probability is that of the weighted rows.

Everything is seeded and deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap.errors import EndcapError
from endcap.learning.examples import Table
from endcap.models.forest import MAX_LEAVES, feature_name
from endcap.models.tree_ranker import STACKED, Head
from endcap.types import F4, F8, I4, U1

FOLDS = 3
LEAST_QUERIES = 50  # with fewer right answers than this an objective is not learned


class TooFewExamples(EndcapError):
    """There is not enough to learn from yet."""

    code = "too_few_examples"


@dataclass(frozen=True, slots=True)
class Boosting:
    """How trees are grown."""

    trees: int = 100
    leaves: int = 16
    learning_rate: float = 0.1
    least_rows: int = 40  # in a leaf
    column_share: float = 0.5  # of the columns tried per tree
    row_share: float = 1.0
    ridge: float = 5.0
    depth_of_interest: int = 20  # ranks that matter
    threads: int = 1  # two spin for each other where another process wants the core, ten times slower than one
    seed: int = 1

    def parameters(self) -> dict[str, Any]:
        """As LightGBM names them."""
        return {
            "objective": "lambdarank", "num_leaves": min(self.leaves, MAX_LEAVES), "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.least_rows, "feature_fraction": self.column_share,
            "bagging_fraction": self.row_share, "bagging_freq": int(self.row_share < 1.0), "lambda_l2": self.ridge,
            "lambdarank_truncation_level": self.depth_of_interest, "num_threads": self.threads, "seed": self.seed,
            "deterministic": True, "force_row_wise": True, "verbosity": -1, "max_bin": 127,
        }  # fmt: skip


def fit_heads(
    table: Table, columns: tuple[str, ...], objectives: tuple[str, ...], rewards: Mapping[str, float], how: Boosting
) -> list[Head]:
    """A head per objective that has enough right answers, in order. ``TooFewExamples`` when none has."""
    if not len(table):
        raise too_few(0, objectives[0])
    heads: list[Head] = []
    weights = table.row_weights()
    stacked: F8 | None = None
    most = 0
    for k, objective in enumerate(objectives):
        label = table.labels[:, k]
        useful = positives_per_query(table, label) > 0
        most = max(most, int(useful.sum()))
        if int(useful.sum()) < LEAST_QUERIES:
            continue
        rows = table.rows if stacked is None else np.column_stack([table.rows, stacked.astype(np.float32)])
        names = columns if stacked is None else (*columns, STACKED)
        keep = np.repeat(useful, table.sizes)
        model = grow(rows[keep], label[keep], table.sizes[useful], names, how, kept(weights, keep))
        raw = model.predict(rows, raw_score=True, num_threads=how.threads)
        slope, offset = calibrated(raw, label, weights)  # over all requests, so that a rare outcome stays improbable
        heads.append(Head(objective, model.model_to_string(num_iteration=-1), slope, offset, rewards[objective]))
        if stacked is None and k + 1 < len(objectives):
            stacked = out_of_fold(table, label, useful, columns, how)
    if not heads:
        raise too_few(most, objectives[0])
    return heads


def too_few(found: int, objective: str) -> TooFewExamples:
    """There is nothing to grow trees on."""
    return TooFewExamples(
        f"{found} requests have a right answer ({objective!r} or further) among their candidates; training needs "
        f"{LEAST_QUERIES}: collect more events, or set a longer learning.window_d"
    )


def kept(weights: F4 | None, rows: NDArray[np.bool_]) -> F4 | None:
    """The weights of these rows."""
    return None if weights is None else weights[rows]


def grow(rows: F4, label: U1, sizes: I4, names: tuple[str, ...], how: Boosting, weights: F4 | None = None) -> Any:
    """One LightGBM booster. ``weights`` [n] are equal within a query: then they weigh its pairs."""
    import lightgbm  # heavy, and only training needs it

    data = lightgbm.Dataset(
        rows, label, group=sizes, weight=weights, feature_name=[feature_name(name) for name in names],
        free_raw_data=True,
    )  # fmt: skip
    return lightgbm.train(how.parameters(), data, how.trees)


def out_of_fold(table: Table, label: U1, useful: Any, columns: tuple[str, ...], how: Boosting) -> F8:
    """For every row the raw score of a forest that has not seen the row's query."""
    fold = np.arange(len(table)) % FOLDS
    raw, weights = np.zeros(table.rows.shape[0]), table.row_weights()
    for f in range(FOLDS):
        learn = np.repeat(useful & (fold != f), table.sizes)
        tell = np.repeat(fold == f, table.sizes)
        sizes = table.sizes[useful & (fold != f)]
        model = grow(table.rows[learn], label[learn], sizes, columns, how, kept(weights, learn))
        raw[tell] = model.predict(table.rows[tell], raw_score=True, num_threads=how.threads)
    return raw


def positives_per_query(table: Table, label: U1) -> I4:
    """How many right rows each query has."""
    starts = np.concatenate([[0], np.cumsum(table.sizes)[:-1]])
    return np.add.reduceat(label.astype(np.int32), starts).astype(np.int32)


def calibrated(raw: F8, label: U1, weights: F4 | None = None, steps: int = 30) -> tuple[float, float]:
    """Slope (positive) and offset of the logistic curve from raw score to probability, by Newton's method."""
    count = np.ones(len(label)) if weights is None else weights.astype(np.float64)
    right = float((label * count).sum())
    slope, offset = 1.0, float(np.log((right + 1.0) / (count.sum() - right + 1.0)))
    x, y = raw - raw.mean(), label.astype(np.float64)
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-np.clip(slope * x + offset, -30, 30)))
        w = np.maximum(p * (1.0 - p), 1e-9) * count
        missed = (y - p) * count
        gradient = np.array([(missed * x).sum() - 1e-3 * slope, missed.sum()])
        hessian = np.array([[(w * x * x).sum() + 1e-3, (w * x).sum()], [(w * x).sum(), w.sum() + 1e-9]])
        step = np.linalg.solve(hessian, gradient)
        slope, offset = max(1e-3, slope + float(step[0])), offset + float(step[1])
        if float(np.abs(step).max()) < 1e-8:
            break
    return slope, offset - slope * float(raw.mean())
