"""Tree ranker: boosted trees per objective, joined by what each outcome is worth.

Idea: one forest orders candidates by the next click, one by what is put in the cart, one by what is bought. Their raw
scores have no common scale, so each is turned into a probability by a logistic curve fitted on the training rows
(Platt 1999), and the row's score is the expected reward:

    score(row) = sum over objectives of reward x 1 / (1 + exp(-(slope x raw + offset)))

which is positive, as rules that multiply scores need it. The forests of the rarer outcomes also see the click forest's
raw score as a column, ``stacked_click``: clicks are plenty and teach them what interests people at all.

A row's score depends on that row alone (law L5). Leaves are finite, so scores are (law L6).

Cost: one forest kernel per objective (models/forest.py). Not for: objectives that must be met over the whole slate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from endcap.errors import ArtifactError
from endcap.models.forest import Forest
from endcap.types import F4, F8

STACKED = "stacked_click"


class Head(NamedTuple):
    """One objective: its trees as LightGBM's text, its calibration, and the reward for the outcome."""

    objective: str
    text: str
    slope: float
    offset: float
    reward: float


class TreeRanker:
    """A ``Ranker`` made of forests."""

    def __init__(self, name: str, columns: tuple[str, ...], heads: Sequence[Head]) -> None:
        """``columns`` name the feature rows. The first head's raw score is the column ``STACKED`` of the others.

        Raises ``ArtifactError`` for forests that cannot be used, and for a calibration that is not finite or turns the
        order around.
        """
        if not heads:
            raise ArtifactError(f"the model {name!r} has no objective; train it again")
        self.name = name
        self.terms: tuple[str, ...] = (*columns, STACKED, "base")
        self._heads = list(heads)
        for head in heads:
            usable = np.isfinite([head.slope, head.offset, head.reward]).all() and head.slope > 0.0
            if not usable or head.reward < 0.0:
                raise ArtifactError(
                    f"the model {name!r} weighs {head.objective!r} with slope {head.slope}, offset {head.offset} and "
                    f"reward {head.reward}; expected finite numbers, a positive slope and no negative reward"
                )
        self._forests = [Forest(head.text, (*columns, STACKED) if k else columns) for k, head in enumerate(heads)]
        self._wide: F4 = np.zeros((0, len(columns) + 1), np.float32)

    def score(self, rows: F4) -> F4:
        """rows [n, columns] -> expected reward [n]."""
        first = self._forests[0].score(rows)
        total = self._worth(0, first)
        if len(self._forests) > 1:
            wide = self._widened(rows, first)
            for k in range(1, len(self._forests)):
                total += self._worth(k, self._forests[k].score(wide))
        return total.astype(np.float32)

    def trace(self, rows: F4) -> F4:
        """rows [n, columns] -> each column's part of the score, and that of no column ("base"); sums are the scores.

        Along a row's path through a tree each split moves the score; the move is the split column's. An objective's
        moves are scaled to what they change in expected reward.
        """
        n, width = rows.shape
        out = np.zeros((n, width + 2))
        wide = rows
        for k, forest in enumerate(self._forests):
            parts = forest.trace(wide)
            raw, base = parts.sum(axis=1), parts[:, -1]
            moved = raw - base
            least = self._worth(k, base)
            change = self._worth(k, raw) - least
            scale = np.divide(change, moved, out=np.zeros(n), where=np.abs(moved) > 1e-12)
            out[:, : parts.shape[1] - 1] += parts[:, :-1] * scale[:, None]
            out[:, -1] += least + np.where(scale == 0.0, change, 0.0)
            if k == 0:
                wide = self._widened(rows, raw)
        return out.astype(np.float32)

    def _worth(self, k: int, raw: F8) -> F8:
        head = self._heads[k]
        worth: F8 = head.reward / (1.0 + np.exp(-np.clip(head.slope * raw + head.offset, -60.0, 60.0)))
        return worth

    def _widened(self, rows: F4, stacked: F8) -> F4:
        n = rows.shape[0]
        if n > self._wide.shape[0]:
            self._wide = np.zeros((max(256, n), rows.shape[1] + 1), np.float32)
        wide = self._wide[:n]
        wide[:, :-1] = rows
        wide[:, -1] = stacked
        return wide
