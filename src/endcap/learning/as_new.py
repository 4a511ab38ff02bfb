"""As new: the rows of a request as they would be if some items had been listed and never touched.

Idea: a ranker learns from what happened, and new items are rarely what happened: when they are, it is by way of the
columns that speak of behaviour. Trees therefore take "nobody has touched it" for "nobody wants it". So requests are
also read with a part of all items taken for new, right answers and wrong ones alike, and the trees see what is right
when only looks are known (dropout of the preference input: Volkovs, Yu, Poutanen, DropoutNet, NeurIPS 2017). Which
items are meant goes by the hash of their ids, a group of them at a time: a right answer is as often taken for new as a
wrong one, so that what the trees read off these rows is the truth about new items.

No column is masked by name. Sources are asked as ever, while the factors hold for these items the vectors that a map of
looks gives (models/cold.py); of their proposals those of the sources in ``SPEAK_FOR_NEW`` stand, for the others read
behaviour. The row is then read by the same code from tables in which nobody has touched anything, beside the true
catalogue. What remains is the listing: the item is as old as it is.

Left as they are: items that this shopper touched, for those cannot be new to them. Not undone: counts of categories
that the item's events were part of, and vectors of other items that were fitted beside it. A source that behaviour
speaks for proposes fewer items instead of further ones. Above 8,192 vectors the search of factors goes by codes of the
learned ones first (models/vectors.py).

A two-tower network, which knows new items by their attributes, is silent here like the other deep models.

Cost: a request and a half; 250 bytes per item and a second vector of factors. Not for: judging a ranker, for what is
read here did not happen.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

from endcap.features.catalogue import Catalogue
from endcap.features.counters import Counters
from endcap.features.covisit import Covisit
from endcap.features.exposure import Exposure
from endcap.features.histories import Histories
from endcap.features.likeness import Likeness
from endcap.features.rhythm import Rhythm
from endcap.features.rows import Rows
from endcap.models.alike import MODALITIES
from endcap.recommend import Ask, Recommender
from endcap.sources import SOURCES
from endcap.types import F4, I4, U1, U4, Interest

SPEAK_FOR_NEW = ("factors", "content", "fresh", *MODALITIES, "alike")
SILENT: I4 = np.array([k for k, name in enumerate(SOURCES) if name not in SPEAK_FOR_NEW], np.int32)
GROUPS = 5  # a fifth of the items is new at a time


class NeverShown(Exposure):
    """Nobody was shown anything."""

    def read(self, _user: int, _items: I4, _t_s: int, out: F4) -> None:
        """No fatigue."""
        out[:] = 0.0


class Untouched:
    """The folded parts of a state whose shoppers and catalogue are true, and whose items nobody touched."""

    def __init__(self, recommender: Recommender) -> None:
        state = recommender.state
        self.catalogue: Catalogue = state.catalogue
        self.histories: Histories = state.histories
        self.counters = Counters()
        self.covisit = Covisit(recommender.config.covisit)
        self.exposure: Exposure = NeverShown()
        self.rhythm = Rhythm()
        self._room = 0

    def grow(self, n_items: int) -> None:
        """Make room for dense ids below ``n_items``."""
        if n_items > self._room:
            self._room = n_items + n_items // 2
            for part in (self.counters, self.covisit, self.rhythm):
                part.grow(0, self._room)


class AsNew:
    """Reads one recommender's requests with a part of the items taken for new. Owns scratch; state stays as it is."""

    def __init__(self, recommender: Recommender) -> None:
        self.of = recommender
        self._untouched = Untouched(recommender)
        sources = recommender.sources
        self._rows = Rows(SOURCES, self._untouched, Likeness(sources.factors.vectors, sources.content.vectors))
        self._hashes: U4 = np.zeros(0, np.uint32)  # of the ids of items

    def features(self, ask: Ask, new: U1) -> tuple[I4, F4]:
        """The candidates of a query that may be shown, and their rows, where items with ``new`` [items] 1 are new.

        ``new`` holds no item that the shopper touched or the query names. What was retrieved before is forgotten.
        """
        recommender, candidates = self.of, self.of.candidates
        with recommender.sources.factors.as_new(np.flatnonzero(new).astype(np.int32)):
            recommender.retrieve(ask)
            recommender.begin_guard(ask)
            n = len(candidates)
            mine = new[candidates.items[:n]] > 0
            scores = candidates.score[:n].copy()
            scores[np.ix_(np.flatnonzero(mine), SILENT)] = 0.0
            stay = ~mine | scores.any(axis=1)
            items, scores, mine = candidates.items[:n][stay], scores[stay], mine[stay]
            rows = recommender.rows.read(ask.interest, items, scores)
            if mine.any():
                self._untouched.grow(len(recommender.state.items))
                rows[mine] = self._rows.read(ask.interest, items, scores)[mine]
        keep = recommender.guard.allow(items) > 0
        return items[keep], rows[keep]

    def drawn(self, interest: Interest, turn: int) -> U1:
        """[items] 1 = taken for new in this turn; in ``GROUPS`` turns that is every item that this shopper may find."""
        state = self.of.state
        more = [crc32(state.items.name(item).encode()) for item in range(self._hashes.shape[0], len(state.items))]
        if more:
            self._hashes = np.concatenate([self._hashes, np.array(more, np.uint32)])
        new: U1 = (self._hashes % GROUPS == turn % GROUPS).astype(np.uint8)
        new[interest.seeds[: interest.n_seeds]] = 0
        if interest.user >= 0:
            rings = state.histories
            begin = int(rings.blocks.start[interest.user])
            new[rings.item[begin : begin + int(rings.blocks.length[interest.user])]] = 0
        return new
