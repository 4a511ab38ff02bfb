"""Feature rows: what the ranker sees of each candidate, one row of float32 per item.

The first columns are the sources' own scores (``src:NAME``), the rest come from the families, each of which reads its
columns for all candidates in one kernel call. Serving, replay and training read rows here and nowhere else (law L4).
"""

from __future__ import annotations

import numpy as np

from endcap.features import affinity, counters, exposure
from endcap.features.affinity import Affinity
from endcap.features.counters import Counters
from endcap.features.exposure import Exposure
from endcap.types import F4, I4, Interest

FAMILIES: tuple[tuple[str, ...], ...] = (affinity.COLUMNS, counters.COLUMNS, exposure.COLUMNS)


def columns(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Names of a row's columns."""
    return tuple(f"src:{name}" for name in sources) + tuple(name for family in FAMILIES for name in family)


class Rows:
    """Reads rows. Owns scratch; one per engine."""

    def __init__(self, sources: tuple[str, ...], taste: Affinity, counts: Counters, shown: Exposure) -> None:
        self.columns = columns(sources)
        self._n_sources = len(sources)
        self._taste, self._counts, self._shown = taste, counts, shown
        self._rows: F4 = np.zeros((0, len(self.columns)), np.float32)
        self._parts: list[F4] = [np.zeros((0, len(family)), np.float32) for family in FAMILIES]

    def read(self, interest: Interest, items: I4, source_scores: F4) -> F4:
        """items [n], source_scores [n, sources] -> rows [n, columns]: a view that the next call overwrites."""
        n = items.shape[0]
        if n > self._rows.shape[0]:
            self._rows = np.zeros((n, len(self.columns)), np.float32)
            self._parts = [np.zeros((n, len(family)), np.float32) for family in FAMILIES]
        taste, counts, shown = (part[:n] for part in self._parts)
        self._taste.read(interest, items, taste)
        self._counts.read(items, interest.t_s, interest.hour, interest.device, interest.region, counts)
        self._shown.read(interest.user, items, interest.t_s, shown)
        rows = self._rows[:n]
        np.concatenate((source_scores, taste, counts, shown), axis=1, out=rows)
        return rows
