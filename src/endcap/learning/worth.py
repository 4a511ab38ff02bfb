"""Worth: whether a deep model brings the ranker anything, before it may serve.

Idea: a source is worth its cost if a ranker that sees its proposals orders the newest requests better than one that
does not. Both are grown on the same requests; for the second the model's columns say "not proposed", its part in the
counts over sources is taken out, and items that it alone proposed are left out of learning and come last in judging.

Cost: two forests per model. Not for: models that pay in another way, such as items nobody has touched yet; promote
those by hand.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from endcap.features.retrieval import FUSION, MISSING
from endcap.learning.examples import Table
from endcap.protocols import Ranker
from endcap.types import F4

LAST = np.float32(-1e30)


def masked(rows: F4, columns: Sequence[str], hidden: Collection[str]) -> tuple[F4, NDArray[np.bool_]]:
    """Rows as if the sources ``hidden`` had proposed nothing, and [n] where nobody else proposed the item."""
    rows, place = rows.copy(), {name: k for k, name in enumerate(columns)}
    for name in hidden:
        rank = rows[:, place[f"rank:{name}"]]
        proposed = rank < MISSING
        rows[proposed, place["n_sources"]] -= 1.0
        rows[proposed, place["rank_fusion"]] -= 1.0 / (FUSION + rank[proposed])
        rows[:, place[f"rank:{name}"]] = MISSING
        rows[:, place[f"share:{name}"]] = 0.0
        rows[:, place[f"src:{name}"]] = 0.0
    ranks = [place[name] for name in columns if name.startswith("rank:")]
    rows[:, place["best_rank"]] = rows[:, ranks].min(axis=1)
    alone = rows[:, place["n_sources"]] <= 0.0
    rows[alone, place["rank_fusion"]] = 0.0
    return rows, alone


def without(table: Table, columns: Sequence[str], hidden: Collection[str]) -> Table:
    """The requests as they would have been without some sources; those left with no right answer are left out."""
    if not hidden or not len(table):
        return table
    rows, alone = masked(table.rows, columns, hidden)
    query = np.repeat(np.arange(len(table)), table.sizes)
    right = np.bincount(query, weights=table.labels.any(axis=1) & ~alone, minlength=len(table)) > 0
    keep = ~alone & right[query]
    sizes = np.bincount(query[keep], minlength=len(table))[right].astype(np.int32)
    weights = None if table.weights is None else table.weights[right]
    return replace(table, rows=rows[keep], labels=table.labels[keep], sizes=sizes, ts=table.ts[right], weights=weights)


class Blind:
    """A ranker that does not see what some sources say."""

    def __init__(self, ranker: Ranker, columns: Sequence[str], hidden: Collection[str]) -> None:
        self.name = f"{ranker.name} without {', '.join(sorted(hidden))}"
        self.terms = ranker.terms
        self._ranker, self._columns, self._hidden = ranker, tuple(columns), frozenset(hidden)

    def score(self, rows: F4) -> F4:
        """rows [n, columns] -> scores [n]; items that only the hidden ones proposed come last."""
        seen, alone = masked(rows, self._columns, self._hidden)
        return np.where(alone, LAST, self._ranker.score(seen)).astype(np.float32)

    def trace(self, rows: F4) -> F4:
        """rows [n, columns] -> the ranker's own trace of what it sees."""
        return self._ranker.trace(masked(rows, self._columns, self._hidden)[0])
