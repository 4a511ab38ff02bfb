"""Feature rows: what the ranker sees of each candidate, one row of float32 per item.

The first columns are the sources' own scores (``src:NAME``) and what follows from them, the rest come from the
families, each of which reads its columns for all candidates in one kernel call. Serving, replay and training read rows
here and nowhere else (law L4).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numba import njit

from endcap.features import affinity, counters, exposure, likeness, own, pairs, price, retrieval, rhythm, session
from endcap.features.affinity import Affinity
from endcap.features.catalogue import Catalogue
from endcap.features.counters import Counters
from endcap.features.covisit import Covisit
from endcap.features.exposure import Exposure
from endcap.features.histories import Histories
from endcap.features.likeness import Likeness
from endcap.features.own import Own
from endcap.features.pairs import Pairs
from endcap.features.price import Price
from endcap.features.rhythm import Rhythm
from endcap.features.session import Session
from endcap.topn import RowMap
from endcap.types import F4, I4, Interest

FAMILIES: tuple[tuple[str, ...], ...] = (
    affinity.COLUMNS, counters.COLUMNS, exposure.COLUMNS, own.COLUMNS, pairs.COLUMNS, price.COLUMNS, rhythm.COLUMNS,
    session.COLUMNS, likeness.COLUMNS,
)  # fmt: skip
OWN, RHYTHM = FAMILIES.index(own.COLUMNS), FAMILIES.index(rhythm.COLUMNS)
BOUGHT_AGE = own.COLUMNS.index("own_bought_age")
EVERY = frozenset(range(1 + len(FAMILIES)))


def columns(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Names of a row's columns."""
    scores = tuple(f"src:{name}" for name in sources)
    return scores + retrieval.columns(sources) + tuple(name for family in FAMILIES for name in family)


class Folded(Protocol):
    """The folded parts that rows are read from."""

    catalogue: Catalogue
    counters: Counters
    covisit: Covisit
    exposure: Exposure
    histories: Histories
    rhythm: Rhythm


@njit(cache=True, nogil=True)
def mark(items: I4, slots: I4, stamp: int) -> None:
    """Note each item's row."""
    for r in range(items.shape[0]):
        slots[items[r], 0], slots[items[r], 1] = stamp, r


class Rows:
    """Reads rows. Owns scratch; one per engine."""

    def __init__(self, sources: tuple[str, ...], state: Folded, near: Likeness) -> None:
        self.columns = columns(sources)
        self._n_sources = len(sources)
        self._sources = sources
        self._state = state
        self._taste, self._own, self._pairs = Affinity(state.catalogue), Own(state.histories), Pairs(state.covisit)
        self._price, self._session, self._near = Price(state.catalogue), Session(state.histories), near
        self._widths = (len(retrieval.columns(sources)), *(len(family) for family in FAMILIES))
        self._map = RowMap()
        self._make_room(256)

    def _make_room(self, n: int) -> None:
        self._rows: F4 = np.zeros((n, len(self.columns)), np.float32)
        self._tables: dict[frozenset[int], F4] = {EVERY: self._rows}
        self._column: F4 = np.zeros(n, np.float32)
        self._parts: list[F4] = [np.zeros((n, width), np.float32) for width in self._widths]

    def families(self, names: Iterable[str]) -> frozenset[int]:
        """Which families (0 = retrieval, then as in ``FAMILIES``) hold these columns."""
        wanted = set(names)
        found = {k + 1 for k, family in enumerate(FAMILIES) if wanted.intersection(family)}
        if wanted.intersection(self.columns[self._n_sources : self._n_sources + self._widths[0]]):
            found.add(0)
        return frozenset(found | ({1 + OWN} if 1 + RHYTHM in found else set()))

    def columns_of(self, families: frozenset[int]) -> tuple[str, ...]:
        """Names of the columns of rows that hold these families alone."""
        parts = (retrieval.columns(self._sources), *FAMILIES)
        names = tuple(name for k, part in enumerate(parts) if k in families for name in part)
        return tuple(f"src:{name}" for name in self._sources) + names

    def read(self, interest: Interest, items: I4, source_scores: F4, families: frozenset[int] = EVERY) -> F4:
        """items [n] distinct, source_scores [n, sources] -> rows [n, columns]: a view that the next call overwrites.

        ``families``: for a ranker that needs no others; the columns are then ``columns_of(families)``.
        """
        n, state, t_s = items.shape[0], self._state, interest.t_s
        if n > self._rows.shape[0]:
            self._make_room(n)
        stamp, slots = self._map.begin(state.covisit.blocks.start.shape[0]), self._map.slots
        if 4 in families or 5 in families:
            mark(items, slots, stamp)
        parts = [part[:n] for part in self._parts]
        proposed, taste, counts, shown, mine, together, prices, pace, visit, alike = parts
        if 0 in families:
            retrieval.read_retrieval(source_scores, self._column, proposed)
        if 1 in families:
            self._taste.read(interest, items, taste)
        if 2 in families:
            state.counters.read(items, t_s, interest.hour, interest.device, interest.region, counts)
        if 3 in families:
            state.exposure.read(interest.user, items, t_s, shown)
        if 4 in families:
            self._own.read(interest, slots, stamp, mine)
        if 5 in families:
            self._pairs.read(interest, items, slots, stamp, together)
        if 6 in families:
            self._price.read(interest, items, prices)
        if 7 in families:
            state.rhythm.read(items, t_s, mine[:, BOUGHT_AGE], state.catalogue, state.covisit.blocks, pace)
        if 8 in families:
            self._session.read(interest, visit)
        if 9 in families:
            self._near.read(interest, items, alike)
        table = self._tables.get(families)
        if table is None:
            width = len(self.columns_of(families))
            table = self._tables[families] = np.zeros((self._rows.shape[0], width), np.float32)
        rows = table[:n]
        chosen = [part for k, part in enumerate(parts) if k in families]
        np.concatenate((source_scores, *chosen), axis=1, out=rows)
        return rows
