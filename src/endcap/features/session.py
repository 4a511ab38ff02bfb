"""Session: the shopper's pace and the moment, the same for every candidate of a request.

Idea: a tree ranker weighs the other columns differently early and late in a visit, for a returning buyer and for a
newcomer, at noon and at midnight. These columns tell it which. They say nothing about items by themselves.

Columns (float32): see ``COLUMNS``; features 29 to 32 of the usual sets. Cost: one walk over at most 64 entries and a
copy to each row, ~2 us. Not for: a linear ranker, whose order they cannot change.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numba import njit

from endcap.blocks import Blocks
from endcap.types import ACTION_CODE, ACTION_GROUP, ACTION_WEIGHT, F4, F8, I1, I4, I8, SEEN, U4, Interest

COLUMNS: tuple[str, ...] = (
    "session_events",  # interactions of the running session
    "session_items",  # distinct items among them, and the query's own
    "session_repeat",  # interactions per distinct item
    "session_span",  # log(1 + seconds since its start), -1 = no session
    "session_wanting",  # share of interactions beyond looking
    "since_last",  # log(1 + seconds since the last interaction), -1 = none
    "dwell_last",  # seconds between the last two interactions, at most 30 minutes, -1 = fewer than two
    "dwell_mean",  # the same over the session
    "last_wanting",  # action weight of the last interaction
    "history_events",  # log(1 + interactions ever)
    "history_items",  # distinct items known of the shopper
    "history_repeat",  # share of the ring's interactions with an item that was in it before
    "history_buying",  # share of purchases in the ring
    "hour_sin",  # local hour on the circle; both 0 = unknown
    "hour_cos",
    "weekday",  # 0 = Monday, UTC
    "device",  # code of the device
)
N_COLUMNS = len(COLUMNS)
DWELL_S = 1_800
PURCHASE = ACTION_CODE["purchase"]


class Rings(Protocol):
    """The last interactions of every user: pools sorted by time within a user."""

    blocks: Blocks
    item: I4
    at_s: U4
    action: I1


@njit(cache=True, nogil=True)
def read_session(
    user: int, t_s: int, session_from: int, n_session: int, n_seeds: int, n_context: int, n_events: int, hour: int,
    device: int, start: I8, length: I4, at_s: U4, action: I1, row: F8, out: F4,
) -> None:  # fmt: skip
    """Every row of ``out`` = the columns. Scratch: ``row`` [N_COLUMNS]."""
    row[:] = 0.0
    row[3] = row[5] = row[6] = row[7] = -1.0
    row[1] = n_session
    row[9] = math.log1p(n_events)
    row[10] = n_seeds
    if hour >= 0:
        row[13], row[14] = math.sin(2.0 * math.pi * hour / 24.0), math.cos(2.0 * math.pi * hour / 24.0)
    row[15] = (t_s // 86_400 + 3) % 7
    row[16] = device
    if user >= 0:
        first = start[user]
        newest = first + length[user] - 1
        while newest >= first and at_s[newest] > t_s:
            newest -= 1
        n = newest - first + 1
        events = wanting = buying = pauses = 0
        dwell = 0.0
        for j in range(n):
            entry = newest - j
            buying += action[entry] == PURCHASE
            if at_s[entry] >= session_from:
                events += 1
                wanting += ACTION_GROUP[action[entry]] > SEEN
                if j > 0 and at_s[entry + 1] >= session_from:
                    dwell += min(int(np.int64(at_s[entry + 1]) - np.int64(at_s[entry])), DWELL_S)
                    pauses += 1
        if events > 0:
            row[0] = events
            row[2] = events / max(1, n_session - n_context)
            row[3] = math.log1p(t_s - session_from)
            row[4] = wanting / events
        if n > 0:
            row[5] = math.log1p(t_s - np.int64(at_s[newest]))
            row[8] = ACTION_WEIGHT[action[newest]]
            row[11] = 1.0 - min(1.0, (n_seeds - n_context) / n)
            row[12] = buying / n
        if n > 1:
            row[6] = min(int(np.int64(at_s[newest]) - np.int64(at_s[newest - 1])), DWELL_S)
        if pauses > 0:
            row[7] = dwell / pauses
    for r in range(out.shape[0]):
        for c in range(N_COLUMNS):
            out[r, c] = row[c]


class Session:
    """The read half; the rings are folded by ``Histories``."""

    def __init__(self, rings: Rings) -> None:
        self._rings = rings
        self._row: F8 = np.zeros(N_COLUMNS)

    def read(self, interest: Interest, out: F4) -> None:
        """Fill ``out`` [n, len(COLUMNS)]."""
        rings = self._rings
        read_session(
            interest.user, interest.t_s, interest.session_from_s, interest.n_session, interest.n_seeds,
            interest.n_context, interest.n_events, interest.hour, interest.device,
            rings.blocks.start, rings.blocks.length, rings.at_s, rings.action, self._row, out,
        )  # fmt: skip
