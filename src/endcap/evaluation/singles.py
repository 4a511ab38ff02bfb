"""Lists of every single model, from the state that also serves the slate: the baselines of every table.

Each source alone, best first, plus two floors that no source offers: ``popular_1h`` to ``popular_7d`` (decayed counts
of the target's kind) and ``covisit_last`` (co-visitation with nothing but the newest item). What may not be shown at
that moment is left out, by the same guard as in a slate.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from endcap.recommend import SOURCES, Ask, Recommender
from endcap.types import BOUGHT, I4, SEEN, WANTED, Interest

HALF_LIVES = ("1h", "6h", "1d", "7d")
POPULAR = tuple(f"popular_{name}" for name in HALF_LIVES)
COVISIT_LAST = "covisit_last"
NONE = -2  # fills lists that are short; no item code


class Singles:
    """Reads lists from one recommender."""

    def __init__(self, recommender: Recommender, n: int) -> None:
        self.names: tuple[str, ...] = (*POPULAR, COVISIT_LAST, *recommender.sources)
        self._recommender = recommender
        self._n = n

    def read(self, ask: Ask, group: int) -> dict[str, I4]:
        """The ``n`` best of each model for a query; ``begin_guard`` must have been called for it."""
        lists = {name: self.popular(k, group) for k, name in enumerate(POPULAR)}
        lists[COVISIT_LAST] = self.source("covisit", newest_only(ask.interest), ask)
        for name in self._recommender.sources:
            lists[name] = self.source(name, ask.interest, ask)
        return lists

    def popular(self, half_life: int, group: int) -> I4:
        """The head of a global list of decayed counts."""
        tops = self._recommender.state.counters.tops
        row = tops.row_global(group, half_life)
        return self._allowed(tops.items[row, : tops.length[row]])

    def source(self, name: str, interest: Interest, ask: Ask) -> I4:
        """What one source proposes, best first."""
        recommender = self._recommender
        candidates = recommender.candidates
        candidates.begin(len(recommender.state.items))
        column = SOURCES.index(name)
        recommender.sources[name].retrieve(interest, candidates, column, max(ask.placement.candidates, self._n))
        n = len(candidates)
        best = np.argsort(-candidates.score[:n, column], kind="stable")
        return self._allowed(candidates.items[best])

    def _allowed(self, items: I4) -> I4:
        return padded(items[self._recommender.guard.allow(items) > 0], self._n)


def padded(items: I4, n: int) -> I4:
    """The first ``n``, filled up with ``NONE``."""
    out = np.full(n, NONE, np.int32)
    out[: min(n, items.shape[0])] = items[:n]
    return out


def newest_only(interest: Interest) -> Interest:
    """The same shopper with only the newest own item."""
    return replace(interest, n_seeds=min(1, interest.n_seeds), n_session=min(1, interest.n_session))


def group_of(target: str, viewed: bool) -> int:
    """The counter group that stands for popularity of a target."""
    if target == "cart":
        return WANTED
    return SEEN if target == "next" and viewed else BOUGHT
