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
of c of which f * c could be put there, an item keeps its place with 1 - 2 s / m - t f / m, one of a swapped
pair stands where it stands with s / C(m, 2), a new one with t / (m c).

A new item obeys the guard and the rule of one item per group; caps on categories and brands do not hold it back.

Cost: 10 us for both parts. Not for: choosing between ways to make the list; that is the bandit's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from endcap.config import ExploreConfig
from endcap.types import F8, I4

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


class Explored(NamedTuple):
    """What exploration made of a slate of ``n`` rows."""

    rows: I4  # [n] candidate rows in their final order
    propensity: list[float]  # [n] of each at its position
    rank: list[int | None]  # [n] only where exploration acted: position by score alone, -1 = brought in


class Plan(NamedTuple):
    """What is drawn before candidates are scored: the kind, and the new item, which has to be scored with them."""

    pool: I4  # new items that could have been drawn
    swap: bool = False
    fresh: int = -1  # dense id of the new item, -1 = none


def plan(settings: ExploreConfig, n: int, pool: I4, draws: Draws) -> Plan:
    """Draw for a slate of ``n`` places. ``pool``: dense ids of new items that may be shown."""
    size = pool.shape[0]
    swap, fresh = rates(settings, n, size)
    drawn = draws.uniform()
    if drawn < swap:
        return Plan(pool, swap=True)
    if drawn < swap + fresh:
        return Plan(pool, fresh=int(pool[draws.below(size)]))
    return Plan(pool)


def rates(settings: ExploreConfig, n: int, n_pool: int) -> tuple[float, float]:
    """Probabilities of a swap and of a new item on a slate of ``n`` places."""
    half = 0.5 * settings.share * n
    return min(0.5, 0.5 * half if settings.new_items else half), min(0.5, half) if n_pool else 0.0


@njit(cache=True, nogil=True)
def try_out(
    rows: I4, items: I4, pinned: I4, group: I4, pool: I4, first: int, swap: float, fresh: float, do_swap: bool,
    new: int, one: float, other: float, propensity: F8, rank: I4, free: I4,
) -> int:  # fmt: skip
    """Carry out a plan in place; gives how many places changed. ``one``, ``other``: random numbers in [0, 1)."""
    n, m, missing, new_row, new_fits = rows.shape[0], 0, 0, -1, False
    for at in range(n):
        rank[at] = at
        propensity[at] = 1.0
        is_pinned = at < first
        for pin in pinned:
            is_pinned = is_pinned or pin == items[rows[at]]
        if not is_pinned:
            free[m] = at
            m += 1
    for k in pool:  # one that is there by merit needs no chance; one whose product is there already gets none
        fits = True
        for at in range(n):
            item = items[rows[at]]
            fits = fits and item != k and (group[k] < 0 or group[item] != group[k])
        missing += fits
        new_fits = new_fits or (fits and k == new)
    if m < 2:
        swap = 0.0
    if m == 0:
        return 0
    stays = 1.0 - 2.0 * swap / m
    if pool.shape[0] > 0:
        stays -= fresh * missing / (m * pool.shape[0])
    for k in range(m):
        propensity[free[k]] = stays
    if do_swap and m >= 2:
        a = min(m - 1, int(one * m))
        b = min(m - 2, int(other * (m - 1)))
        here, there = free[a], free[b + (1 if b >= a else 0)]
        rows[here], rows[there] = rows[there], rows[here]
        rank[here], rank[there] = there, here
        propensity[here] = propensity[there] = 2.0 * swap / (m * (m - 1))
        return 2
    if new_fits:
        for row in range(items.shape[0]):
            if items[row] == new:
                new_row = row
        if new_row >= 0:
            at = free[min(m - 1, int(one * m))]
            rows[at], rank[at] = new_row, -1
            propensity[at] = fresh / (m * pool.shape[0])
            return 1
    return 0


def explore(
    chosen: I4, items: I4, pinned: I4, group: I4, settings: ExploreConfig, drawn: Plan, wanted: int, draws: Draws
) -> Explored:
    """Carry out a plan on the rows ``chosen`` of candidates ``items``; ``wanted``: the places it was drawn for.

    ``pinned``: dense ids whose places are left alone. ``group``: by dense id, -1 = none; a slate shows one item of a
    group, and that holds for new ones too.
    """
    rows, n = chosen.copy(), chosen.shape[0]
    propensity, rank, free = np.empty(n), np.empty(n, np.int32), np.empty(n, np.int32)
    swap, fresh = rates(settings, wanted, drawn.pool.shape[0])
    acts = drawn.swap or drawn.fresh >= 0
    changed = try_out(
        rows, items, pinned, group, drawn.pool, 1 if settings.protected else 0, swap, fresh, drawn.swap, drawn.fresh,
        draws.uniform() if acts else 0.0, draws.uniform() if acts else 0.0, propensity, rank, free,
    )  # fmt: skip
    ranks: list[int | None] = [None] * n
    if changed:
        for at in np.flatnonzero(rank != np.arange(n)).tolist():
            ranks[at] = int(rank[at])
    return Explored(rows, propensity.round(7).tolist(), ranks)  # shorter to write, as exact as anybody needs
