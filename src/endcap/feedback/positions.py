"""Positions: how much a place on the slate is worth by itself.

Idea: the first place is clicked more than the eighth, whatever stands there. With the position-based model a click
needs a look at the place and a liking for what stands there: P(click) = theta[position] * gamma[rank], where ``rank``
is the position that the scores alone would have given. Without exploration rank and position are the same and the two
cannot be told apart; the random swaps of ``slate/explore.py`` move items of one rank to other positions, and then they
can (intervention harvesting). ``theta`` is the maximum-likelihood solution by alternating steps, scaled so that the
first position that can be told has 1.

Layout: per placement, ``shown`` and ``clicked`` float64 [RANKS, POSITIONS]; the last rank is for items that exploration
brought in, whose liking is a group of its own. Counts fade with a half-life of 30 days, a step a day. Cost: 16 KB per
placement, 10 ns per shown item; reading takes about a millisecond and is for reports and for training.

Joachims, Swaminathan, Schnabel, WSDM 2017; Agarwal et al., WSDM 2019. Not for: shelves whose places are not in a row,
or layouts that change by the day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from endcap.batches import Outcomes, Records
from endcap.feedback.faded import FadedCounts, fade
from endcap.feedback.rewards import CLICK
from endcap.types import F4, F8, I1, I4, I8

POSITIONS, RANKS = 32, 33  # further back nothing is counted; the last rank: brought in by exploration
BROUGHT_IN = RANKS - 1
HALF_LIFE_D = 30.0
STEPS = 500
LEAST_MOVED = 100.0  # impressions away from their rank that a position needs before its theta is told


@njit(cache=True, nogil=True)
def fold(
    slates: Records, rows: Records, slot: I4, row: I4, place: I4, deed: I1, shown: F8, clicked: F8, day: I8
) -> None:
    """Count outcomes in order."""
    for m in range(slot.shape[0]):
        slate = slates[slot[m]]
        p = slate.placement
        if place[m] >= 0:
            if deed[m] == CLICK and place[m] < POSITIONS:
                rank = rows[row[m]].rank
                clicked[p, rank if 0 <= rank < BROUGHT_IN else BROUGHT_IN, place[m]] += 1.0
            continue
        fade(p, slate.ts_s, HALF_LIFE_D, shown, clicked, day)
        for at in range(min(slate.n, POSITIONS)):
            rank = rows[row[m] + at].rank
            shown[p, rank if 0 <= rank < BROUGHT_IN else BROUGHT_IN, at] += 1.0


@dataclass(frozen=True, slots=True)
class PositionView:
    """One placement's positions, [POSITIONS] each; ``theta`` is NaN where too little was moved to tell."""

    shown: F8
    clicked: F8
    moved: F8  # of shown: items that exploration put there
    theta: F8


class Positions(FadedCounts):
    """Shown and clicked by placement, rank and position."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(RANKS, POSITIONS)

    def fold(self, outcomes: Outcomes, n_labels: int) -> None:
        """Count what was shown and clicked; ``n_labels``: labels given out so far."""
        self.make_room(n_labels)
        fold(
            outcomes.slates, outcomes.rows, outcomes.slot, outcomes.row, outcomes.place, outcomes.deed,
            self.shown, self.clicked, self.day,
        )  # fmt: skip

    def view(self, placement: int) -> PositionView:
        """Counts and position propensities of a placement by its label; empty for one that was never shown."""
        if not self.knows(placement):
            nothing = np.zeros(POSITIONS)
            return PositionView(nothing, nothing, nothing, np.full(POSITIONS, np.nan))
        shown, clicked = self.shown[placement], self.clicked[placement]
        own = np.diagonal(shown[:POSITIONS])
        moved = shown.sum(axis=0) - own
        return PositionView(shown.sum(axis=0), clicked.sum(axis=0), moved, theta(shown, clicked, moved))


def theta(shown: F8, clicked: F8, moved: F8) -> F8:
    """Position propensities [POSITIONS] from counts [RANKS, POSITIONS], the first one seen = 1; NaN = cannot be told.

    Alternating maximum likelihood for Poisson counts: each step is exact in one factor given the other.
    """
    found = np.full(POSITIONS, np.nan)
    told = moved >= LEAST_MOVED
    if told.sum() < 2:
        return found
    n, c = shown[:, told], clicked[:, told]
    with np.errstate(divide="ignore", invalid="ignore"):
        look = np.ones(int(told.sum()))
        for _ in range(STEPS):
            like = np.nan_to_num(c.sum(axis=1) / (n @ look))
            before, look = look, np.nan_to_num(c.sum(axis=0) / (like @ n))
            look /= look.max() if look.max() > 0 else 1.0
            if np.abs(look - before).max() < 1e-9:
                break
    if look[0] > 0:
        found[told] = look / look[0]
    return found


def position_weights(view: PositionView, most: float = 10.0) -> F4:
    """1 / theta for training, float32 [POSITIONS], at most ``most``; 1 where theta is not known."""
    weights = np.clip(1.0 / np.maximum(view.theta, 1e-9), 1.0 / most, most)
    return np.where(np.isnan(view.theta), 1.0, weights).astype(np.float32)
