"""Examples: candidates with their feature rows at the moment of a query, and which of them turned out right.

Rows are read by ``Recommender.features``, the function that serves (law L4), from state that holds nothing after the
query (law L9). Negatives are the request's own other candidates, because those are what the ranker must tell apart; a
random part of them is kept. Queries whose answer no source proposed teach nothing and are only counted.

A part of the queries is read a second time as if some items were new (learning/as_new.py): what is listed is mostly
touched soon, so without that trees learn nothing of items of which only looks are known.

Only the newest ``most`` queries are held: a shop's habits change, and memory is bounded (12,000 queries of 50 rows and
140 columns are 340 MB).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from endcap.learning.as_new import AsNew
from endcap.recommend import Recommender
from endcap.types import F4, I4, I8, U1, Query

AGAIN = 2  # every second request that found its answer is read again with new items


@dataclass(frozen=True, slots=True)
class Example:
    """One query."""

    ts: int
    rows: F4  # [k, columns]
    labels: U1  # [k, objectives]
    weight: float


@dataclass(frozen=True, slots=True)
class Table:
    """Examples as one table, queries in order of time."""

    rows: F4  # [n, columns]
    labels: U1  # [n, objectives]
    sizes: I4  # [q] rows of each query
    ts: I8  # [q]
    weights: F4 | None = None  # [q] how much each query counts, None = 1 each

    def __len__(self) -> int:
        return int(self.sizes.shape[0])

    def part(self, keep: NDArray[np.bool_]) -> Table:
        """The queries for which ``keep`` [q] holds."""
        rows = np.repeat(keep, self.sizes)
        weights = None if self.weights is None else self.weights[keep]
        return Table(self.rows[rows], self.labels[rows], self.sizes[keep], self.ts[keep], weights)

    def row_weights(self) -> F4 | None:
        """[n] the weight of each row's query; None = 1 each."""
        return None if self.weights is None else np.repeat(self.weights, self.sizes)


class Examples:
    """Collects. Deterministic for a given seed and order of queries."""

    def __init__(
        self, objectives: Sequence[str], *, negatives: int = 48, most: int = 12_000, seed: int = 1, again: int = 0
    ) -> None:
        """``again``: every so many found requests one is read again with a part of the items taken for new; 0 = none.

        Such examples have a place of their own beside ``most``.
        """
        self.objectives = tuple(objectives)
        self.asked = 0
        self.columns: tuple[str, ...] = ()
        self._negatives = negatives
        self._again = again
        self._found = 0
        self._kept: deque[Example] = deque(maxlen=most)
        self.as_new: deque[Example] = deque(maxlen=most // again if again else 0)  # read with items taken for new
        self._reader: AsNew | None = None
        self._random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self._kept)

    def take(
        self,
        recommender: Recommender,
        query: Query,
        t_ms: int,
        relevant: Sequence[Collection[str]],
        weight: float = 1.0,
    ) -> None:
        """Note a query's candidates as they are now. ``relevant``: per objective the ids of the right items."""
        self.asked += 1
        self.columns = recommender.rows.columns
        ask = recommender.understand(query, t_ms)
        recommender.retrieve(ask)
        recommender.begin_guard(ask)
        number = recommender.state.items.get
        right = [{number(item_id) for item_id in ids} for ids in relevant]
        if not recommender.candidates.rows_of(list(set().union(*right))):
            return
        self._note(self._kept, *recommender.features(ask), right, t_ms, weight)
        self._found += 1
        if self._again and self._found % self._again == 0:
            if self._reader is None or self._reader.of is not recommender:
                self._reader = AsNew(recommender)
            new = self._reader.drawn(ask.interest, self._found // self._again)
            self._note(self.as_new, *self._reader.features(ask, new), right, t_ms, weight)

    def _note(
        self, kept: deque[Example], items: I4, rows: F4, right: list[set[int]], t_ms: int, weight: float
    ) -> None:  # fmt: skip
        """Keep an example if anything right is among ``items`` [k]."""
        labels = np.array([[item in one for one in right] for item in items.tolist()], np.uint8)
        positive = labels.any(axis=1)
        if not positive.any():
            return
        others = np.flatnonzero(~positive)
        if others.shape[0] > self._negatives:
            others = self._random.choice(others, self._negatives, replace=False)
        keep = np.concatenate([np.flatnonzero(positive), others])
        kept.append(Example(t_ms, rows[keep], labels[keep], weight))

    def add(self, example: Example) -> None:
        """Keep an example that was read elsewhere."""
        self._kept.append(example)

    def kept(self) -> list[Example]:
        """The newest examples, and those read as new, in order of time."""
        return sorted([*self._kept, *self.as_new], key=lambda one: one.ts)

    def table(self) -> Table:
        """Everything kept."""
        return table_of(self.kept(), len(self.columns), len(self.objectives))


def table_of(examples: Collection[Example], width: int, n_objectives: int) -> Table:
    """Examples of rows of ``width`` columns as one table."""
    if not examples:
        return Table(
            np.zeros((0, width), np.float32), np.zeros((0, n_objectives), np.uint8), np.zeros(0, np.int32),
            np.zeros(0, np.int64),
        )  # fmt: skip
    weights = np.array([one.weight for one in examples], np.float32)
    return Table(
        np.concatenate([one.rows for one in examples]),
        np.concatenate([one.labels for one in examples]),
        np.array([one.rows.shape[0] for one in examples], np.int32),
        np.array([one.ts for one in examples], np.int64),
        None if (weights == 1.0).all() else weights,
    )


def mixed(slates: Examples, replay: Examples) -> Table:
    """Examples of both kinds as one table in order of time; those of slates weigh 1 on average, as the others do."""
    told = slates.kept()
    mean = float(np.mean([one.weight for one in told])) if told else 1.0
    scaled = [replace(one, weight=one.weight / mean) for one in told]
    both = sorted([*scaled, *replay.kept()], key=lambda one: one.ts)
    return table_of(both, max(len(slates.columns), len(replay.columns)), len(replay.objectives))
