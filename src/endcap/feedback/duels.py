"""Duels: which of two rankers earned more on each interleaved slate, counted as rewards come in.

Idea: every rewarded item of an interleaved slate counts for the team that put it there. A slate is won by the team with
more reward, lost by the other, and a tie while both have the same, most often nothing. A later reward may turn a win
into a tie or a loss; the counts follow.

Layout: ``lead`` float32 by slot of ``OpenSlates`` (reward of team 0 less that of team 1), and per label of a variant
``won``, ``lost`` and ``shown`` int64. Cost: 4 bytes per open slate once there was a duel, 10 ns per outcome.

See ``interleaving`` for the draft and the papers. When not to use it: to say how much better; that is what A/B is for.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from endcap.batches import Outcomes, Records
from endcap.blocks import grown
from endcap.feedback.interleaving import Preference, verdict
from endcap.types import F4, I4, I8, Arrays

NO_TEAM = -1


@njit(cache=True, nogil=True)
def fold(
    slates: Records, rows: Records, slot: I4, row: I4, place: I4, worth: F4, lead: F4, won: I8, lost: I8, shown: I8
) -> None:
    """Follow outcomes in order."""
    for m in range(slot.shape[0]):
        team = rows[row[m]].team
        if team < 0:
            continue
        at = slot[m]
        if place[m] < 0:
            lead[at] = 0.0
            for label in slates[at].variants:
                if label >= 0:
                    shown[label] += 1
            continue
        before = lead[at]
        lead[at] += worth[m] if team == 0 else -worth[m]
        after = lead[at]
        for label in slates[at].variants:
            if label >= 0:
                won[label] += (after > 0) - (before > 0)
                lost[label] += (after < 0) - (before < 0)


class Duels:
    """Won, lost and shown by label."""

    __slots__ = ("_lead", "_lost", "_shown", "_won")

    def __init__(self) -> None:
        self._lead: F4 = np.zeros(0, np.float32)
        self._won: I8 = np.zeros(0, np.int64)
        self._lost: I8 = np.zeros(0, np.int64)
        self._shown: I8 = np.zeros(0, np.int64)

    def fold(self, outcomes: Outcomes, n_labels: int) -> None:
        """Learn from what a batch taught about slates; ``n_labels``: labels given out so far."""
        if self._lead.shape[0] == 0 and not (outcomes.rows["team"][outcomes.row] >= 0).any():
            return
        self._lead = grown(self._lead, outcomes.slates.shape[0], 0.0)
        self._won, self._lost = grown(self._won, n_labels, 0), grown(self._lost, n_labels, 0)
        self._shown = grown(self._shown, n_labels, 0)
        fold(
            outcomes.slates, outcomes.rows, outcomes.slot, outcomes.row, outcomes.place, outcomes.reward,
            self._lead, self._won, self._lost, self._shown,
        )  # fmt: skip

    def preference(self, label: int) -> Preference:
        """The verdict of a variant's slates so far; label -1 = never shown."""
        if not 0 <= label < self._won.shape[0]:
            return verdict(0, 0, 0)
        won, lost = int(self._won[label]), int(self._lost[label])
        return verdict(won, lost, int(self._shown[label]) - won - lost)

    def grow(self, _n_users: int, _n_items: int) -> None:
        """Nothing to do: it grows with the slates."""

    def arrays(self, _n_users: int, _n_items: int) -> Arrays:
        """What a snapshot keeps."""
        return {
            "lead": np.trim_zeros(self._lead, "b"),
            "won": np.trim_zeros(self._won, "b"),
            "lost": np.trim_zeros(self._lost, "b"),
            "shown": np.trim_zeros(self._shown, "b"),
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self._lead = np.array(arrays["lead"], np.float32)
        counts = [np.array(arrays[name], np.int64) for name in ("won", "lost", "shown")]
        n = max(one.shape[0] for one in counts)
        self._won, self._lost, self._shown = (grown(one, n, 0) if n else one for one in counts)
