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

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from endcap.errors import ArtifactError
from endcap.models.forest import Forest
from endcap.types import F4, F8

STACKED = "stacked_click"
FURTHEST = 60.0  # of the logistic curve's argument


@njit(cache=True, nogil=True)
def worth(raw: float, slope: float, offset: float, reward: float) -> float:
    """The expected reward behind a raw score."""
    return reward / (1.0 + math.exp(-min(FURTHEST, max(-FURTHEST, slope * raw + offset))))


@njit(cache=True, nogil=True)
def add_worth(raw: F8, slope: float, offset: float, reward: float, total: F4) -> None:
    """total[r] += the expected reward behind raw[r]."""
    for r in range(raw.shape[0]):
        total[r] += worth(raw[r], slope, offset, reward)


@njit(cache=True, nogil=True)
def add_moves(moves: F8, base: float, slope: float, offset: float, reward: float, out: F4) -> F8:
    """Add an objective's moves [n, m], scaled to expected reward, to ``out`` [n, >= m]; its last column takes the rest.

    Returns the raw scores.
    """
    raw = np.empty(moves.shape[0])
    least = worth(base, slope, offset, reward)
    for r in range(moves.shape[0]):
        moved = 0.0
        for c in range(moves.shape[1]):
            moved += moves[r, c]
        raw[r] = base + moved
        change = worth(raw[r], slope, offset, reward) - least
        scale = change / moved if abs(moved) > 1e-12 else 0.0
        for c in range(moves.shape[1]):
            out[r, c] += moves[r, c] * scale
        out[r, out.shape[1] - 1] += least + (change if scale == 0.0 else 0.0)
    return raw


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
        total = np.zeros(rows.shape[0], np.float32)
        raw = wide = None
        for head, forest in zip(self._heads, self._forests, strict=True):
            if raw is None:
                raw = forest.score(rows)
                add_worth(raw, head.slope, head.offset, head.reward, total)
            else:
                wide = self._widened(rows, raw) if wide is None else wide
                add_worth(forest.score(wide), head.slope, head.offset, head.reward, total)
        return total

    def trace(self, rows: F4) -> F4:
        """rows [n, columns] -> each column's part of the score, and that of no column ("base"); sums are the scores.

        Along a row's path through a tree each split moves the score; the move is the split column's. An objective's
        moves are scaled to what they change in expected reward.
        """
        out = np.zeros((rows.shape[0], rows.shape[1] + 2), np.float32)
        wide = None
        for head, forest in zip(self._heads, self._forests, strict=True):
            moves = forest.trace(rows if wide is None else wide)
            raw = add_moves(moves, forest.base, head.slope, head.offset, head.reward, out)
            if wide is None and len(self._heads) > 1:
                wide = self._widened(rows, raw)
        return out

    def _widened(self, rows: F4, stacked: F8) -> F4:
        n = rows.shape[0]
        if n > self._wide.shape[0]:
            self._wide = np.zeros((max(256, n), rows.shape[1] + 1), np.float32)
        wide = self._wide[:n]
        wide[:, :-1] = rows
        wide[:, -1] = stacked
        return wide
