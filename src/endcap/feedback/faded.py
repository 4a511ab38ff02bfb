"""Faded: counts of shown and clicked by placement, of any shape, that fade day by day.

Idea: positions and calibration count the same two things over different cells, and both must forget. What they share
is here: room for new placements, fading, and what a snapshot keeps. The day is that of the newest slate, so a late one
counts in full and a replay fades at the same moments.

Layout: ``shown`` and ``clicked`` float64 [placements, *cells]; ``day`` int64 [placements], 0 = never shown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from endcap.types import F8, I8, Arrays

DAY_S = 86_400
SPARE = 8  # labels that room is made for beyond those given out


@njit(cache=True, nogil=True)
def fade(placement: int, ts_s: int, half_life_d: float, shown: F8, clicked: F8, day: I8) -> None:
    """Let a placement's counts fade to the day of a slate."""
    today = ts_s // DAY_S
    if today > day[placement]:
        left = 2.0 ** ((day[placement] - today) / half_life_d)
        shown[placement] *= left
        clicked[placement] *= left
        day[placement] = today


class FadedCounts:
    """Shown and clicked by placement and cell."""

    __slots__ = ("clicked", "day", "shown")

    def __init__(self, *cells: int) -> None:
        """``cells``: the shape of one placement's counts."""
        self.shown: F8 = np.zeros((0, *cells))
        self.clicked: F8 = np.zeros((0, *cells))
        self.day: I8 = np.zeros(0, np.int64)

    def make_room(self, n_labels: int) -> None:
        """Room for every label given out so far: a placement is known by its label."""
        if n_labels > self.day.shape[0]:
            more = n_labels + SPARE - self.day.shape[0]
            self.shown, self.clicked, self.day = (longer(array, more) for array in (self.shown, self.clicked, self.day))

    def knows(self, placement: int) -> bool:
        """Whether there is a row for this label."""
        return 0 <= placement < int(self.day.shape[0])

    def grow(self, _n_users: int, _n_items: int) -> None:
        """Nothing to do: placements are few and make their own room."""

    def arrays(self, _n_users: int, _n_items: int) -> Arrays:
        """What a snapshot keeps: up to the last placement that was shown."""
        used = int(np.flatnonzero(self.day).max()) + 1 if self.day.any() else 0
        return {"shown": self.shown[:used], "clicked": self.clicked[:used], "day": self.day[:used]}

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self.shown, self.clicked, self.day = (np.array(arrays[name]) for name in ("shown", "clicked", "day"))


def longer(array: Any, more: int) -> Any:
    """``array`` with ``more`` rows of 0."""
    return np.concatenate([array, np.zeros((more, *array.shape[1:]), array.dtype)])
