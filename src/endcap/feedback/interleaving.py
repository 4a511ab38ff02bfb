"""Interleaving: two rankers in one slate, so that every shopper compares them.

Idea: team draft. As in a school yard, the two lists take turns; who goes first in each round is a toss. Each puts its
best item that is not there yet. A click, cart or purchase counts for the team that put the item. Over many slates the
better ranker wins more often than it loses; because both are judged by the same shopper at the same moment, a hundredth
of the traffic of an A/B test is often enough to rank two rankers.

The tosses are bits of one given integer, so a slate can be made again. If the teams change nothing, each slate with a
winner is won by either with probability one half, whoever the shopper is; so the sign test needs no independence of
shoppers, and with the mixture of ``sequential`` it may be watched.

Layout: dense item ids, best first, in; items and teams (0, 1) by position out.

Cost: O(n) set probes, some 10 us for 24 items.

Papers: Radlinski, Kurup, Joachims, CIKM 2008 (team draft); Chapelle, Joachims, Radlinski, Yue, TOIS 2012.

When not to use it: for what a whole slate or session does (diversity, basket size), or to say how much better; that
is what A/B is for.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from endcap.errors import InvalidInput
from endcap.feedback.sequential import PREFERENCE, evidence, p_value, share_range
from endcap.types import F8, I1, I4

MAX_ROUNDS = 63
HALVES: F8 = np.array([0.5, 0.5])


def draft(one: I4, two: I4, n: int, tosses: int) -> tuple[I4, I1]:
    """Up to ``n`` items of two lists (int32, best first, no id twice in a list) and each one's team, 0 or 1.

    Bit r of ``tosses`` (0 to 2**63 - 1) decides who goes first in round r; rounds beyond 63 use the bits again. Where a
    list has run out, the other goes on alone.
    """
    if tosses < 0:
        raise InvalidInput(f"tosses is {tosses}; expected an integer from 0 to 2**63 - 1")
    lists = (one.tolist(), two.tolist())
    at = [0, 0]
    items: list[int] = []
    teams: list[int] = []
    there: set[int] = set()
    turn = 0
    while len(items) < n:
        first = tosses >> (turn // 2 % MAX_ROUNDS) & 1
        team = first ^ (turn & 1)
        turn += 1
        ranked = lists[team]
        while at[team] < len(ranked) and ranked[at[team]] in there:
            at[team] += 1
        if at[team] == len(ranked):
            if all(place == len(whole) for place, whole in zip(at, lists, strict=True)):
                break
            continue
        items.append(ranked[at[team]])
        teams.append(team)
        there.add(ranked[at[team]])
    return np.array(items, np.int32), np.array(teams, np.int8)


def credit(teams: I1, places: NDArray[np.integer], rewards: NDArray[np.floating]) -> float:
    """Reward of team 0 less that of team 1 on one slate. ``places`` [k] positions that were rewarded, each with its
    reward [k]; positions outside the slate are refused."""
    if places.size and not 0 <= int(places.min()) <= int(places.max()) < teams.shape[0]:
        raise InvalidInput(
            f"positions {places.tolist()} on a slate of {teams.shape[0]} items; expected 0 to {teams.shape[0] - 1}"
        )
    sign = 1.0 - 2.0 * teams[places]
    return float(sign @ rewards)


class Preference(Struct, frozen=True, kw_only=True):
    """Which of two rankers shoppers prefer; valid at any time, however often it is read."""

    wins: int  # slates on which the first earned more
    losses: int
    ties: int  # left out
    share: float | None  # of wins among slates with a winner
    low: float  # confidence sequence of that share
    high: float
    p: float  # always-valid, of the share being one half


def preference(of_slates: Iterable[float]) -> Preference:
    """The verdict of many slates' ``credit``."""
    values = np.fromiter(of_slates, np.float64)
    wins, losses = int((values > 0).sum()), int((values < 0).sum())
    return verdict(wins, losses, values.shape[0] - wins - losses)


def verdict(wins: int, losses: int, ties: int) -> Preference:
    """The verdict of counted slates."""
    low, high = share_range(wins, losses)
    counted = np.array([wins, losses], np.float64)
    return Preference(
        wins=wins,
        losses=losses,
        ties=ties,
        share=wins / (wins + losses) if wins + losses else None,
        low=low,
        high=high,
        p=p_value(float(evidence(counted, HALVES, PREFERENCE))),
    )
