"""Lists of every single model, from the state that also serves the slate: the baselines of every table.

Each source alone, best first, from one retrieval for all of them (a source's scores do not depend on the others), plus
two floors that no source offers: ``popular_1h`` to ``popular_7d`` (decayed counts of the target's kind) and
``covisit_last`` (co-visitation with nothing but the newest item). What may not be shown at that moment is left out, by
the same guard as in a slate.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from endcap.errors import InvalidInput
from endcap.evaluation.dataset import CLICK, VIEW, Dataset
from endcap.models.network import MODELS
from endcap.recommend import Ask, Recommender
from endcap.sources import SOURCES
from endcap.types import BOUGHT, I4, SEEN, WANTED, Interest

HALF_LIVES = ("1h", "6h", "1d", "7d")
POPULAR = tuple(f"popular_{name}" for name in HALF_LIVES)
POPULAR_DEPTH = 100  # a hit among that many most popular items of the week is no surprise
COVISIT_LAST = "covisit_last"
NONE = -2  # fills lists that are short; no item code


class Singles:
    """Reads lists from one recommender."""

    def __init__(
        self, recommender: Recommender, n: int, group: int, only: Sequence[str] = (), deep: Sequence[str] = ()
    ) -> None:
        """``group``: the counter group that popularity means here. ``only``: the models wanted, all when empty.

        ``deep``: deep models that are trained; others have nothing to say.
        """
        silent = [name for name in MODELS if name not in deep]
        every = (*POPULAR, COVISIT_LAST, *(name for name in recommender.sources.by_name if name not in silent))
        for name in only:
            if name not in every:
                near = difflib.get_close_matches(name, every, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(every)}"
                raise InvalidInput(f"no model {name!r}; {hint}", field="models")
        self.names: tuple[str, ...] = tuple(name for name in every if not only or name in only)
        self._recommender = recommender
        self._n, self._group = n, group

    def read(self, ask: Ask) -> dict[str, I4]:
        """The ``n`` best of each model for a query; ``begin_guard`` must have been called for it."""
        lists: dict[str, I4] = {}
        asked = [name for name in self.names if name in self._recommender.sources.by_name]
        self._retrieve(asked, ask.interest, ask)
        for name in self.names:
            if name in POPULAR:
                lists[name] = self._popular(POPULAR.index(name), self._n)
            elif name != COVISIT_LAST:
                lists[name] = self._proposed(name)
        if COVISIT_LAST in self.names:
            self._retrieve(["covisit"], newest_only(ask.interest), ask)
            lists[COVISIT_LAST] = self._proposed("covisit")
        return lists

    def week(self) -> I4:
        """The most popular items of the week, ``POPULAR_DEPTH`` of them."""
        return self._popular(len(POPULAR) - 1, POPULAR_DEPTH)

    def _popular(self, half_life: int, n: int) -> I4:
        """The head of a global list of decayed counts."""
        tops = self._recommender.state.counters.tops
        row = tops.row_global(self._group, half_life)
        return self._allowed(tops.items[row, : tops.length[row]], n)

    def _retrieve(self, names: Sequence[str], interest: Interest, ask: Ask) -> None:
        """Let these sources propose."""
        recommender = self._recommender
        recommender.candidates.begin(len(recommender.state.items))
        for name in names:
            n = max(ask.placement.candidates, self._n)
            recommender.sources.by_name[name].retrieve(interest, recommender.candidates, SOURCES.index(name), n)

    def _proposed(self, name: str) -> I4:
        """What one source proposed, best first, the lower id first among equals."""
        candidates = self._recommender.candidates
        score = candidates.score[: len(candidates), SOURCES.index(name)]
        rows = np.flatnonzero(score)
        items = candidates.items[rows]
        return self._allowed(items[np.lexsort((items, -score[rows]))], self._n)

    def _allowed(self, items: I4, n: int) -> I4:
        return padded(items[self._recommender.guard.allow(items) > 0], n)


def padded(items: I4, n: int) -> I4:
    """The first ``n``, filled up with ``NONE``."""
    out = np.full(n, NONE, np.int32)
    out[: min(n, items.shape[0])] = items[:n]
    return out


def newest_only(interest: Interest) -> Interest:
    """The same shopper with only the newest own item."""
    return replace(interest, n_seeds=min(1, interest.n_seeds), n_session=min(1, interest.n_session))


def group_for(data: Dataset, target: str) -> int:
    """The counter group that stands for popularity of a target."""
    if target == "cart":
        return WANTED
    viewed = bool(np.isin(data.action, (VIEW, CLICK)).any())
    return SEEN if target == "next" and viewed else BOUGHT
