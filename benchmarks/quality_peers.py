"""Libraries from PyPI on the very queries of ``endcap evaluate``, side by side in one table.

    python benchmarks/quality_peers.py --data ../shared/data/retailrocket_mb
    python benchmarks/quality_peers.py --data DIR --target basket --refit-h 24 --limit 5000

Each peer is fitted on everything before the test window and again every ``--refit-h`` virtual hours, as one would run
it in production. Between fits it still knows the shopper's own newest events, where the method can use them (item-item
models and ALS can, BPR cannot): what differs from Endcap is what the library cannot do, not what it was not told.
Events weigh 1 (seen), 3 (bought) and 6 (carted); a shopper's own fade with a half-life of 30 days when asked.

Peers: ``implicit`` (cosine, BM25, ALS, BPR) and, when installed, ``skrecsys`` (EASE, RP3beta, item-kNN). Those that
are not installed are named and left out. Nothing is tuned per set: the libraries' defaults, 64 factors. ``implicit``
wants OPENBLAS_NUM_THREADS=1 in the environment.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from endcap.cli.evaluate import new_trainer, print_table
from endcap.config import load_config
from endcap.evaluation.dataset import Dataset
from endcap.evaluation.formats import load
from endcap.evaluation.plan import PROTOCOLS, TARGETS, Plan, make_plan
from endcap.evaluation.replay import DEPTH, Replay
from endcap.evaluation.singles import padded
from endcap.evaluation.summary import summarise
from endcap.learning.vectors import refit_vectors
from endcap.types import ACTION_WEIGHT, F4, I4

FADE_MS = 30 * 86_400_000
MOST_ITEMS_DENSE = 8_000  # EASE inverts a matrix of items x items
FACTORS = 64


class Fitted(Protocol):
    """A peer after a fit."""

    def rank(self, user: int, items: I4, weight: F4) -> I4:
        """The best items for a shopper with this history, best first."""
        ...


class ItemModel:
    """Any item-item model: a shopper's score is the history times the matrix."""

    def __init__(self, similarity: sp.csr_matrix) -> None:
        self._similarity = similarity

    def rank(self, user: int, items: I4, weight: F4) -> I4:
        """Sum the rows of the shopper's items."""
        if items.shape[0] == 0:
            return np.zeros(0, np.int32)
        row = sp.csr_matrix((weight, (np.zeros(items.shape[0], np.int32), items)), (1, self._similarity.shape[0]))
        scores = (row @ self._similarity).tocsr()
        best = np.argsort(-scores.data, kind="stable")[:DEPTH]
        return scores.indices[best][scores.data[best] > 0].astype(np.int32)


class FactorModel:
    """implicit's matrix factorisations; users are folded in anew where the library can."""

    def __init__(self, model: Any, known: set[int], folds_in: bool) -> None:
        self._model, self._known, self._folds_in = model, known, folds_in

    def rank(self, user: int, items: I4, weight: F4) -> I4:
        """``recommend`` with the newest history."""
        n_items = self._model.item_factors.shape[0]
        if items.shape[0] == 0 or not (self._folds_in or user in self._known):
            return np.zeros(0, np.int32)
        row = sp.csr_matrix((weight, (np.zeros(items.shape[0], np.int32), items)), (1, n_items))
        found, _ = self._model.recommend(
            user, row, N=DEPTH, filter_already_liked_items=False, recalculate_user=self._folds_in
        )
        return found.astype(np.int32)


Fit = Callable[[sp.csr_matrix], Fitted]


def peers(n_items: int) -> dict[str, Fit]:
    """What is installed."""
    found: dict[str, Fit] = {}
    if importlib.util.find_spec("implicit"):
        found |= implicit_peers()
    else:
        print("implicit: not installed (pip install implicit)", file=sys.stderr)
    if importlib.util.find_spec("skrecsys"):
        found |= skrecsys_peers(n_items)
    else:
        print("skrecsys: not installed (pip install skrecsys)", file=sys.stderr)
    return found


def implicit_peers() -> dict[str, Fit]:
    """implicit's models with its defaults."""
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender

    def neighbours(make: Callable[[], Any]) -> Fit:
        def fit(matrix: sp.csr_matrix) -> Fitted:
            model = make()
            model.fit(matrix, show_progress=False)
            return ItemModel(sp.csr_matrix(model.similarity))

        return fit

    def factors(make: Callable[[], Any], folds_in: bool) -> Fit:
        def fit(matrix: sp.csr_matrix) -> Fitted:
            model = make()
            model.fit(matrix, show_progress=False)
            return FactorModel(model, set(np.flatnonzero(np.diff(matrix.indptr)).tolist()), folds_in)

        return fit

    return {
        "implicit cosine": neighbours(lambda: CosineRecommender(K=100)),
        "implicit BM25": neighbours(lambda: BM25Recommender(K=100)),
        "implicit ALS": factors(lambda: AlternatingLeastSquares(factors=FACTORS, random_state=1), True),
        "implicit BPR": factors(lambda: BayesianPersonalizedRanking(factors=FACTORS, random_state=1), False),
    }


def skrecsys_peers(n_items: int) -> dict[str, Fit]:
    """skrecsys' item models; the dense one only where it fits into memory."""
    from skrecsys.recommendation import EASE, ItemKNNRecommender, RP3Beta

    def item_model(make: Callable[[], Any]) -> Fit:
        def fit(matrix: sp.csr_matrix) -> Fitted:
            pairs = matrix.tocoo()
            model = make().fit(np.stack([pairs.row, pairs.col], axis=1), pairs.data)
            similarity = sp.coo_matrix(model.similarity_)
            item_of = np.asarray(model.item_ids_).astype(np.int64)
            shape = (matrix.shape[1],) * 2
            return ItemModel(
                sp.csr_matrix((similarity.data, (item_of[similarity.row], item_of[similarity.col])), shape)
            )

        return fit

    found = {
        "skrecsys item-kNN": item_model(lambda: ItemKNNRecommender(n_neighbors=100)),
        "skrecsys RP3beta": item_model(RP3Beta),
    }
    if n_items <= MOST_ITEMS_DENSE:
        found["skrecsys EASE"] = item_model(EASE)
    return found


class Histories:
    """Every user's events in order, as arrays that grow with the replay."""

    def __init__(self, data: Dataset) -> None:
        self._data = data
        order = np.argsort(data.user, kind="stable")
        self._by_user = order
        self._starts = np.searchsorted(data.user[order], np.arange(len(data.user_names) + 1))

    def of(self, user: int, before: int, t_ms: int) -> tuple[I4, F4]:
        """Distinct items of a user's events before a position, and their faded weights."""
        mine = self._by_user[self._starts[user] : self._starts[user + 1]]
        mine = mine[: np.searchsorted(mine, before)]
        return weighted(self._data, mine, t_ms)


def weighted(data: Dataset, events: Any, t_ms: int) -> tuple[I4, F4]:
    """Distinct items and the sums of their weights; what was taken back leaves."""
    weight = ACTION_WEIGHT[data.action[events]] * np.exp2((data.ts[events] - t_ms) / FADE_MS)
    items, which = np.unique(data.item[events], return_inverse=True)
    total = np.bincount(which, weight, items.shape[0])
    return items[total > 0].astype(np.int32), total[total > 0].astype(np.float32)


def matrix_before(data: Dataset, before: int) -> sp.csr_matrix:
    """users x items of everything known before a position."""
    weight = ACTION_WEIGHT[data.action[:before]]
    shape = (len(data.user_names), len(data.item_names))
    matrix = sp.csr_matrix((weight.astype(np.float32), (data.user[:before], data.item[:before])), shape)
    matrix.data[matrix.data < 0] = 0
    matrix.eliminate_zeros()
    return matrix


def lists_of(name: str, fit: Fit, data: Dataset, plan: Plan, refit_ms: int) -> I4:
    """A peer's lists for every query of the plan."""
    lists = np.full((len(plan), DEPTH), -2, np.int32)
    histories = Histories(data)
    began, fitted, due = perf_counter(), None, 0
    for q in range(len(plan)):
        t_ms, at = int(plan.ts[q]), int(plan.at[q])
        if fitted is None or (refit_ms and t_ms >= due):
            fitted = fit(matrix_before(data, at if fitted is not None else plan.begin))
            due = t_ms + refit_ms
        user = int(data.user[plan.event[q]])
        lists[q] = padded(fitted.rank(user, *histories.of(user, at, t_ms)), DEPTH)
    print(f"{name}: {perf_counter() - began:.0f} s", file=sys.stderr)
    return lists


def main() -> None:
    """One table."""
    warnings.simplefilter("ignore")  # the libraries' own advice about matrix formats
    parser = argparse.ArgumentParser(description="Peers side by side.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--protocol", default="prequential", choices=[p for p in PROTOCOLS if p != "leave-one-out"])
    parser.add_argument("--target", default="next", choices=TARGETS)
    parser.add_argument("--limit", type=int, default=5_000)
    parser.add_argument("--refit-h", type=float, default=24.0, help="virtual hours between fits; 0 = only one fit")
    parser.add_argument("--config", type=Path)
    given = parser.parse_args()
    data = load(given.data)
    plan = make_plan(data, given.protocol, given.target, limit=given.limit)
    settings, _ = load_config(given.config)
    run = Replay(data, plan, settings, trainer=new_trainer(), refit=refit_vectors).run()
    refit_ms = 0 if plan.shared_frozen else int(given.refit_h * 3_600_000)
    for name, fit in peers(len(data.item_names)).items():
        run.lists[name] = lists_of(name, fit, data, plan, refit_ms)
    print_table(summarise(data, run))


if __name__ == "__main__":
    main()
