"""Explore: a bounded part of the places is tried out at random, with known probabilities.

Idea: a system that only shows what it believes in never learns what it is wrong about. On a slate that will be logged
as shown, one of two small things may happen:

* a swap: two places exchange their items. Which places are worth how much can only be learned from that
  (``feedback/positions.py``), and it costs next to nothing.
* a new item: an item that was shown less often than ``new_items`` takes one place. So a new item gets a chance that is
  bounded, and measured.

``share`` bounds the share of a placement's places that are changed, on average: a swap touches two, a new item one,
each kind gets half of it. Pinned places are left alone, and the first one too where the placement is protected.

Propensities are exact, given the arm: with m free places, probability s of a swap and t of a new item out of a pool
of c of which f * c are not on the slate anyway, an item keeps its place with 1 - 2 s / m - t f / m, one of a swapped
pair stands where it stands with s / C(m, 2), a new one with t / (m c).

Cost: 2 us when nothing is drawn. Not for: choosing between ways to make the list; that is the bandit's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from endcap.config import ExploreConfig
from endcap.types import I4

MASK = 2**64 - 1


class Draws:
    """Random numbers that depend on a seed alone (SplitMix64), so that a request can be repeated exactly."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & MASK

    def uniform(self) -> float:
        """The next number in [0, 1)."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) >> 11) / 2**53

    def below(self, n: int) -> int:
        """The next whole number in 0..n-1."""
        return min(n - 1, int(self.uniform() * n))


@dataclass(frozen=True, slots=True)
class Explored:
    """What exploration made of a slate of ``n`` rows."""

    rows: I4  # [n] candidate rows in their final order
    propensity: list[float]  # [n] of each at its position
    rank: dict[int, int]  # position -> position by score alone, -1 = brought in; only where exploration acted


@dataclass(frozen=True, slots=True)
class Plan:
    """What is drawn before candidates are scored: the kind, and the new item, which has to be scored with them."""

    swap: bool = False
    fresh: int = -1  # dense id of the new item, -1 = none
    pool: I4 | None = None  # new items that could have been drawn


def plan(settings: ExploreConfig, n: int, pool: I4, draws: Draws) -> Plan:
    """Draw for a slate of ``n`` places. ``pool``: dense ids of new items that may be shown."""
    swap, fresh = rates(settings, n, pool.shape[0])
    drawn = draws.uniform()
    if drawn < swap:
        return Plan(swap=True, pool=pool)
    if drawn < swap + fresh:
        return Plan(fresh=int(pool[draws.below(pool.shape[0])]), pool=pool)
    return Plan(pool=pool)


def rates(settings: ExploreConfig, n: int, n_pool: int) -> tuple[float, float]:
    """Probabilities of a swap and of a new item on a slate of ``n`` places."""
    fresh = min(0.5, 0.5 * settings.share * n) if n_pool else 0.0
    swap = min(0.5, 0.5 * settings.share * n / 2.0 if settings.new_items else 0.5 * settings.share * n)
    return swap, fresh


def explore(
    chosen: I4, items: I4, pinned: set[int], settings: ExploreConfig, drawn: Plan, wanted: int, draws: Draws
) -> Explored:
    """Carry out a plan on the rows ``chosen`` of candidates ``items``; ``wanted``: the places it was drawn for."""
    rows = chosen.copy()
    placed = items[rows].tolist()
    n, first = len(placed), 1 if settings.protected else 0
    pool = drawn.pool.tolist() if drawn.pool is not None else []
    free = [at for at in range(first, n) if placed[at] not in pinned] if pinned else range(first, n)
    m, c = len(free), len(pool)
    swap, fresh = rates(settings, wanted, c)
    if m < 2:
        swap = 0.0
    missing = c - len(set(pool).intersection(placed)) if c else 0  # one that is there by merit needs no chance
    stays = 1.0 - (2.0 * swap / m if m else 0.0) - (fresh * missing / (m * c) if m and c else 0.0)
    propensity = [1.0] * first + [stays] * (n - first)
    for at in range(n) if pinned else ():
        propensity[at] = 1.0 if at < first or placed[at] in pinned else stays
    rank: dict[int, int] = {}
    if drawn.swap and m >= 2:
        a = draws.below(m)
        b = draws.below(m - 1)
        one, other = free[a], free[b + (b >= a)]
        rows[one], rows[other] = rows[other], rows[one]
        rank = {one: other, other: one}
        propensity[one] = propensity[other] = 2.0 * swap / (m * (m - 1))
    elif drawn.fresh >= 0 and m >= 1 and drawn.fresh not in placed:
        (found,) = np.nonzero(items == drawn.fresh)
        if found.shape[0]:
            at = free[draws.below(m)]
            rows[at] = found[0]
            rank = {at: -1}
            propensity[at] = fresh / (m * c)
    return Explored(rows, propensity[:n], rank)
