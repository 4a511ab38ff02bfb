"""Calibration: what a score means in clicks, learned at every event.

Idea: scores order items, they are not probabilities, and every ranker has its own scale. Per placement, shown items
are counted in bins of their score, clicked ones as well; pooling neighbours until the click rate never falls with the
score (isotonic regression) and shrinking thin bins to the placement's mean gives P(click | score), as of today: counts
fade with a half-life of 14 days, a step a day.

Layout: per placement, ``shown`` and ``clicked`` float64 [BINS]; the bin is the score squashed to (-1, 1). Cost: 1 KB
per placement, 5 ns per shown item; a reading takes about 0.1 ms, only when an explanation or a report asks for it.

Zadrozny and Elkan, KDD 2002 (isotonic calibration); pool-adjacent-violators. Not for: the order of a slate, which a
monotone map cannot change, nor for probabilities at one position: it is the mean over the positions shown.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from endcap.batches import Outcomes, Records
from endcap.feedback.faded import FadedCounts, fade
from endcap.feedback.rewards import CLICK
from endcap.types import F4, F8, I1, I4, I8

BINS = 64
HALF_LIFE_D = 14.0
PRIOR = 20.0  # impressions that a bin's own rate has to outweigh


@njit(cache=True, nogil=True)
def bin_of(score: float) -> int:
    """The bin of a score: fine around 0, coarse far out."""
    squashed = score / (1.0 + abs(score))
    return min(BINS - 1, max(0, int((squashed + 1.0) * (BINS / 2))))


@njit(cache=True, nogil=True)
def fold(
    slates: Records, rows: Records, slot: I4, row: I4, place: I4, deed: I1, shown: F8, clicked: F8, day: I8
) -> None:
    """Count outcomes in order."""
    for m in range(slot.shape[0]):
        slate = slates[slot[m]]
        p = slate.placement
        if place[m] >= 0:
            if deed[m] == CLICK:
                clicked[p, bin_of(rows[row[m]].score)] += 1.0
            continue
        fade(p, slate.ts_s, HALF_LIFE_D, shown, clicked, day)
        for at in range(slate.n):
            shown[p, bin_of(rows[row[m] + at].score)] += 1.0


class Calibration(FadedCounts):
    """Shown and clicked by placement and score."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(BINS)

    def fold(self, outcomes: Outcomes, n_labels: int) -> None:
        """Count what was shown and clicked; ``n_labels``: labels given out so far."""
        self.make_room(n_labels)
        fold(
            outcomes.slates, outcomes.rows, outcomes.slot, outcomes.row, outcomes.place, outcomes.deed,
            self.shown, self.clicked, self.day,
        )  # fmt: skip

    def probability(self, placement: int, scores: F4) -> F8:
        """P(click) of shown items by their scores [m]; NaN for a placement that was never shown."""
        if not self.knows(placement) or self.shown[placement].sum() == 0:
            return np.full(scores.shape[0], np.nan)
        by_bin = isotonic(self.shown[placement], self.clicked[placement])
        return by_bin[[bin_of(score) for score in scores.tolist()]]


def isotonic(shown: F8, clicked: F8) -> F8:
    """Rates [BINS] that never fall, each shrunk to the overall one by ``PRIOR`` impressions before pooling."""
    from sklearn.isotonic import IsotonicRegression

    overall = clicked.sum() / shown.sum()
    weight = shown + PRIOR
    rates = (clicked + PRIOR * overall) / weight
    fitted: F8 = IsotonicRegression().fit_transform(np.arange(BINS), rates, sample_weight=weight)
    return np.clip(fitted, 0.0, 1.0)
