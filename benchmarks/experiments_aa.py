"""Do experiments that are watched all the time raise false alarms, and do they find what is there?

    python benchmarks/experiments_aa.py [--runs 2000] [--slates 20000] [--json FILE] [--plots DIRECTORY]

Simulated shops: shoppers arrive over time and come back, a few of them very often; some click and buy far more than
others; a slate earns 1 for a click, 3 for a cart, 6 for a purchase. Every run looks at the result after every slate,
through the functions that serve (``endcap.feedback.sequential``), and stops at the first alarm. Prints

* A/A, equal and unequal shares: runs with an alarm (bar: 5 %), and what a fixed-sample 95 % interval looked at as often does;
* the sample ratio check on right shares (bar: 0.2 %) and on shares that are off;
* real lifts: how many runs find them, and after how many slates.

With --plots it writes the pictures of docs/experiments.md. One core, about two minutes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest

from endcap.feedback.sequential import SRM_ALPHA, Sums, difference, evidence
from endcap.types import F8, I8, U1

CLICK, CART, PURCHASE = 0.08, 0.012, 0.004  # chance per slate of an average shopper
WORTH = (1.0, 3.0, 6.0)
VISITS = 4.0  # slates of an average shopper
Z = 1.96


class Run(NamedTuple):
    """One simulated experiment, slate by slate."""

    unit: I8  # [n]
    reward: F8  # [n]
    second: U1  # [n] 1 = of the second variant


def simulate(random: np.random.Generator, n: int, share: float = 0.5, lift: float = 0.0) -> Run:
    """``n`` slates; units get the second variant with probability ``share``, which multiplies every chance by 1 + lift."""
    n_units = int(n / VISITS)
    often = random.lognormal(0.0, 1.0, n_units)  # how often each one comes
    arrival = random.random(n_units) * 0.9  # on the time line 0..1
    unit = random.choice(n_units, n, p=often / often.sum())
    at = arrival[unit] + random.random(n) ** 2 * (1.0 - arrival[unit])
    unit = unit[np.argsort(at, kind="stable")]
    keen = random.lognormal(-0.5, 1.0, n_units)  # mean 1
    second = (random.random(n_units) < share).astype(np.uint8)
    factor = (keen * (1.0 + lift * second))[unit]
    reward = np.zeros(n)
    for chance, worth in zip((CLICK, CART, PURCHASE), WORTH, strict=True):
        reward += worth * (random.random(n) < np.minimum(chance * factor, 0.9))
    return Run(unit, reward, second[unit])


def looks(run: Run) -> tuple[Sums, Sums, F8]:
    """Both variants' sums after every slate, base first, and the units of each so far [n, 2]."""
    n = run.unit.shape[0]
    order = np.argsort(run.unit, kind="stable")
    first = np.r_[True, np.diff(run.unit[order]) > 0]
    starts = np.flatnonzero(first)
    group = np.cumsum(first) - 1
    slates, reward = np.empty(n), np.empty(n)  # of the unit, before this slate
    slates[order] = np.arange(n) - starts[group]
    running = np.cumsum(run.reward[order]) - run.reward[order]
    reward[order] = running - running[starts][group]
    new = slates == 0
    columns = (
        new, (reward == 0) & (run.reward != 0), np.ones(n), run.reward, 2 * slates + 1,
        reward + run.reward * (slates + 1), 2 * reward * run.reward + run.reward**2,
    )  # fmt: skip
    sums = [Sums(*(np.cumsum(column * (run.second == arm)) for column in columns)) for arm in (0, 1)]
    return sums[0], sums[1], np.stack([sums[0].units, sums[1].units], axis=-1)


def first_alarm(alarms: U1) -> int:
    """The first look with an alarm, -1 without any."""
    at = int(np.argmax(alarms))
    return at if alarms[at] else -1


class Tried(NamedTuple):
    """What many runs of one kind gave."""

    stops: I8  # [runs] the look that raised an alarm, -1 = none
    naive: I8  # [runs] the same for a fixed-sample interval
    ratio: I8  # [runs] the same for the sample ratio check


def tried(runs: int, n: int, seed: int, share: float = 0.5, lift: float = 0.0, said: float | None = None) -> Tried:
    """Simulate ``runs`` experiments. ``said``: the share that the check believes in, if it is another."""
    shares = np.array([1.0 - (share if said is None else said), share if said is None else said])
    found = np.empty((runs, 3), np.int64)
    for k in range(runs):
        run = simulate(np.random.default_rng((seed, k)), n, share, lift)
        base, one, units = looks(run)
        value, half = difference(one, base, n)
        found[k, 0] = first_alarm(np.abs(value) > half)
        ready = np.isfinite(half)
        found[k, 1] = first_alarm(ready & (np.abs(value) > Z * np.sqrt(one.variance + base.variance)))
        found[k, 2] = first_alarm(evidence(units, shares) > -np.log(SRM_ALPHA))
    return Tried(found[:, 0], found[:, 1], found[:, 2])
