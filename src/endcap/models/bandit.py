"""Bandit: which arm of a placement serves this moment best, by Thompson sampling on linear rewards.

Idea: an arm is a way to make the list (other sources, another ranker ...). The reward of a slate is taken as linear in
the moment, x = (hour of day, device, warmth, session length, region), with a Gaussian posterior per arm. Thompson
sampling draws an arm with the probability that it is the best one. Here that probability is computed, by integrating
over the arms' posterior means, and the arm is drawn from it: so the propensity that the impression logs is exact, not
estimated. A floor keeps every arm alive; a cap bounds what arms other than the best may take.

Learning: a shown slate adds x x' to its arm, a reward r adds r x, whenever it comes. Both fade with a half-life of
``half_life_requests`` of the placement, counted from the slate, so a late reward weighs as much as its slate does.

Layout: per arm, ``gram`` float64 [D, D], ``moment`` float64 [D], and three sums; per placement a count. Cost: about
1 us per slate, 1 us per reward, 6 us to choose between four arms.

Thompson 1933; Agrawal and Goyal, ICML 2013 (linear payoffs); Russac et al., NeurIPS 2019 (discounting). Not for: many
arms (hundreds), rewards that depend on which items were shown before, or guarantees of fairness between arms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit

from endcap.batches import Outcomes, Records
from endcap.blocks import grown
from endcap.config import FeedbackConfig
from endcap.errors import ConfigError
from endcap.types import DEVICE_CODE, F4, F8, I2, I4, I8, Arrays

REGION_BUCKETS = 4
D = 11 + REGION_BUCKETS  # 1, hour (2), mobile, not desktop nor mobile, warm, hot, session, mobile x hour (2), no region
MOBILE, DESKTOP = DEVICE_CODE["mobile"], DEVICE_CODE["desktop"]
PRIOR = 4.0  # slates of plain noise that the prior is worth, in each direction of x
PRIOR_NOISE, PRIOR_N = 1.0, 10.0  # reward variance before anything is seen, and how many slates that is worth
NODES = 32
REACH = 4.5  # standard deviations that the integral covers
N, REWARD, SQUARE = range(3)  # sums of an arm: slates, rewards, squared rewards, all faded


@njit(cache=True, nogil=True)
def describe(hour: int, device: int, region: int, warmth: int, session_events: int, x: F8) -> None:
    """The moment as numbers [D]."""
    x[:] = 0.0
    turn = 2.0 * math.pi * hour / 24.0
    mobile = 1.0 if device == MOBILE else 0.0
    x[0] = 1.0
    x[1], x[2] = math.sin(turn), math.cos(turn)
    x[3] = mobile
    x[4] = 0.0 if device in (MOBILE, DESKTOP) else 1.0
    x[5] = 1.0 if warmth == 1 else 0.0
    x[6] = 1.0 if warmth == 2 else 0.0
    x[7] = min(1.0, math.log1p(session_events) / 3.0)
    x[8], x[9] = mobile * x[1], mobile * x[2]
    if region < 0:
        x[10] = 1.0
    else:
        x[11 + region % REGION_BUCKETS] = 1.0


@njit(cache=True, nogil=True)
def fold(
    slates: Records, slot: I4, place: I4, reward: F4, keep: float,
    index_of: I4, placement_of: I2, gram: F8, moment: F8, sums: F8, n_arms: int, x: F8, turns: I8,
) -> None:  # fmt: skip
    """Learn from outcomes in order. ``keep``: what one more slate of the placement leaves of the past."""
    for m in range(slot.shape[0]):
        slate = slates[slot[m]]
        if slate.arm < 0:
            continue
        own = index_of[slate.arm]
        describe(slate.hour, slate.device, slate.region, slate.warmth, slate.session_events, x)
        if place[m] < 0:
            turns[slate.placement] = slate.turn
            for k in range(n_arms):
                if placement_of[k] == slate.placement:
                    gram[k] *= keep
                    moment[k] *= keep
                    sums[k] *= keep
            for a in range(D):
                if x[a] != 0.0:
                    for b in range(D):
                        gram[own, a, b] += x[a] * x[b]
            sums[own, N] += 1.0
        else:
            weight = keep ** max(0, turns[slate.placement] - slate.turn)
            for a in range(D):
                moment[own, a] += weight * reward[m] * x[a]
            sums[own, REWARD] += weight * reward[m]
            sums[own, SQUARE] += weight * reward[m] * reward[m]


@njit(cache=True, nogil=True)
def posterior(x: F8, gram: F8, moment: F8, noise: float, lower: F8, y: F8, z: F8) -> tuple[float, float]:
    """Mean and standard deviation of an arm's expected reward at ``x``: Cholesky of gram + prior."""
    for a in range(D):
        for b in range(a + 1):
            total = gram[a, b] + (PRIOR if a == b else 0.0)
            for c in range(b):
                total -= lower[a, c] * lower[b, c]
            lower[a, b] = math.sqrt(total) if a == b else total / lower[b, b]
    mean, variance = 0.0, 0.0
    for a in range(D):  # lower y = x, lower z = moment; then mean = y . z and variance = noise |y|^2
        ya, za = x[a], moment[a]
        for b in range(a):
            ya -= lower[a, b] * y[b]
            za -= lower[a, b] * z[b]
        y[a], z[a] = ya / lower[a, a], za / lower[a, a]
        mean += y[a] * z[a]
        variance += y[a] * y[a]
    return mean, math.sqrt(noise * variance)


@njit(cache=True, nogil=True)
def chances(mean: F8, sd: F8, out: F8) -> None:
    """P(arm k has the largest of independent normal values), by the midpoint rule; sums to 1."""
    n = mean.shape[0]
    total = 0.0
    for k in range(n):
        inside = 0.0
        for node in range(NODES):
            z = REACH * (2.0 * (node + 0.5) / NODES - 1.0)
            value = mean[k] + sd[k] * z
            density = math.exp(-0.5 * z * z)
            for j in range(n):
                if j != k:
                    density *= 0.5 * math.erfc((mean[j] - value) / (sd[j] * 1.4142135623730951))
            inside += density
        out[k] = inside
        total += inside
    out /= total


@njit(cache=True, nogil=True)
def choose(
    hour: int, device: int, region: int, warmth: int, session_events: int, x: F8, arms: I4, gram: F8, moment: F8,
    sums: F8, floor: float, cap: float, out: F8, mean: F8, sd: F8, lower: F8, y: F8, z: F8, nothing: F8,
) -> None:  # fmt: skip
    """Probabilities of ``arms`` (-1 = never shown so far) at a moment, between the floor and the cap."""
    describe(hour, device, region, warmth, session_events, x)
    n = arms.shape[0]
    seen, square, reward = PRIOR_N, PRIOR_NOISE * PRIOR_N, 0.0
    for k in arms:
        if k >= 0:
            seen += sums[k, N]
            square += sums[k, SQUARE]
            reward += sums[k, REWARD]
    noise = max(1e-9, square / seen - (reward / seen) ** 2)
    for k in range(n):
        at = arms[k]
        if at >= 0:
            mean[k], sd[k] = posterior(x, gram[at], moment[at], noise, lower, y, z)
        else:
            mean[k], sd[k] = posterior(x, nothing, nothing[0], noise, lower, y, z)
        sd[k] = max(sd[k], 1e-12)
    chances(mean[:n], sd[:n], out[:n])
    best = int(np.argmax(mean[:n]))
    for k in range(n):
        out[k] = floor + (1.0 - n * floor) * out[k]
    others = 1.0 - out[best]
    if others > cap:
        for k in range(n):
            out[k] = out[k] * cap / others if k != best else 1.0 - cap


class Bandit:
    """What the arms of all placements earned, by moment."""

    __slots__ = (
        "_arms", "_gram", "_index_of", "_keep", "_known", "_lower", "_mean", "_moment", "_nothing", "_placement_of",
        "_sd", "_sums", "_turns", "_x", "_y", "_z",
    )  # fmt: skip

    def __init__(self, config: FeedbackConfig) -> None:
        """``ConfigError`` for a half-life below 1."""
        if config.half_life_requests < 1:
            raise ConfigError(f"feedback.half_life_requests is {config.half_life_requests}; expected 1 or more")
        self._keep = 0.5 ** (1.0 / config.half_life_requests)
        self._arms: list[int] = []  # label of each arm
        self._index_of: I4 = np.zeros(0, np.int32)  # by label
        self._placement_of: I2 = np.zeros(0, np.int16)  # by arm: label of its placement
        self._gram: F8 = np.zeros((0, D, D))
        self._moment: F8 = np.zeros((0, D))
        self._sums: F8 = np.zeros((0, 3))
        self._turns: I8 = np.zeros(0, np.int64)  # by placement label: turn of its newest slate with an arm
        self._x: F8 = np.zeros(D)
        self._nothing: F8 = np.zeros((D, D))
        self._known: dict[tuple[int, ...], tuple[int, I4]] = {}  # scratch: labels -> arms then, their places
        self._lower: F8 = np.zeros((D, D))
        self._y: F8 = np.zeros(D)
        self._z: F8 = np.zeros(D)
        self._mean: F8 = np.zeros(8)
        self._sd: F8 = np.zeros(8)

    def fold(self, outcomes: Outcomes, n_labels: int) -> None:
        """Learn from slates and rewards; ``n_labels``: labels given out so far."""
        slates, slot = outcomes.slates, outcomes.slot
        arms = slates["arm"][slot]
        if not (arms >= 0).any():
            return
        if n_labels > self._index_of.shape[0]:
            self._index_of = grown(self._index_of, n_labels, -1)
            self._turns = grown(self._turns, n_labels, 0)
        unknown = (arms >= 0) & (self._index_of[arms] < 0)
        if unknown.any():
            labels, first = np.unique(arms[unknown], return_index=True)
            self._add(labels.tolist(), slates["placement"][slot[unknown][first]].tolist())
        fold(
            slates, slot, outcomes.place, outcomes.reward, self._keep, self._index_of, self._placement_of, self._gram,
            self._moment, self._sums, len(self._arms), self._x, self._turns,
        )  # fmt: skip

    def _add(self, labels: list[int], placements: list[int]) -> None:
        """Arms met for the first time, in order of their labels, which is the order of the log."""
        n = len(self._arms) + len(labels)
        self._placement_of = grown(self._placement_of, n, -1)
        self._gram, self._moment = grown(self._gram, n, 0.0), grown(self._moment, n, 0.0)
        self._sums = grown(self._sums, n, 0.0)
        for label, placement in zip(labels, placements, strict=True):
            self._index_of[label] = len(self._arms)
            self._placement_of[len(self._arms)] = placement
            self._arms.append(label)

    def probabilities(
        self, arms: Sequence[int], hour: int, device: int, region: int, warmth: int, session_events: int,
        floor: float, cap: float,
    ) -> F8:  # fmt: skip
        """P(arm) for arms given by label (-1 = never shown), float64 [k], sums to 1.

        ``floor``: least probability of each; ``cap``: most that all but the best get together.
        """
        n = len(arms)
        known = self._known.get(tuple(arms))
        if known is None or known[0] != len(self._arms):  # an arm may have been shown for the first time since
            size = self._index_of.shape[0]
            found = np.array([int(self._index_of[arm]) if 0 <= arm < size else -1 for arm in arms], np.int32)
            known = self._known[tuple(arms)] = (len(self._arms), found)
        out: F8 = np.empty(n)
        if n > self._mean.shape[0]:
            self._mean, self._sd = np.zeros(n), np.zeros(n)
        choose(
            hour, device, region, warmth, session_events, self._x, known[1], self._gram, self._moment, self._sums,
            min(floor, 1.0 / n), cap, out, self._mean, self._sd, self._lower, self._y, self._z, self._nothing,
        )  # fmt: skip
        return out

    def earned(self, arm: int) -> tuple[float, float]:
        """Slates of an arm, faded, and its mean reward per slate; (0, 0) for one never shown."""
        at = int(self._index_of[arm]) if 0 <= arm < self._index_of.shape[0] else -1
        if at < 0:
            return 0.0, 0.0
        n, reward = self._sums[at, N], self._sums[at, REWARD]
        return float(n), float(reward / n) if n > 0 else 0.0

    def grow(self, _n_users: int, _n_items: int) -> None:
        """Nothing to do: arms are few and make their own room."""

    def arrays(self, _n_users: int, _n_items: int) -> Arrays:
        """What a snapshot keeps."""
        n = len(self._arms)
        return {
            "arms": np.array(self._arms, np.int32),
            "placement_of": self._placement_of[:n],
            "gram": self._gram[:n],
            "moment": self._moment[:n],
            "sums": self._sums[:n],
            "turns": np.trim_zeros(self._turns, "b"),
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self._arms = arrays["arms"].tolist()
        self._known = {}
        self._placement_of = np.array(arrays["placement_of"], np.int16)
        self._gram, self._moment = np.array(arrays["gram"]), np.array(arrays["moment"])
        self._sums, self._turns = np.array(arrays["sums"]), np.array(arrays["turns"], np.int64)
        self._index_of = np.full(max(self._arms, default=-1) + 1, -1, np.int32)
        for at, label in enumerate(self._arms):
            self._index_of[label] = at
        self._turns = grown(self._turns, self._index_of.shape[0], 0)
