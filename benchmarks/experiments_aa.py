"""Do experiments that are watched all the time raise false alarms, and do they find what is there?

    python benchmarks/experiments_aa.py [--runs 2000] [--json FILE] [--plots DIRECTORY]

Simulated shops: shoppers arrive over time and come back, a few of them very often; some click and buy far more than
others; a slate earns 1 for a click, 3 for a cart, 6 for a purchase. Every run looks at the result after every slate,
through the functions that serve (``endcap.feedback.sequential``), and stops at the first alarm. Prints

* A/A, at shares of a half and of a tenth, and with shoppers who were all there from the start: runs with an alarm (bar:
  5 %), and what a fixed-sample 95 % interval does when it is looked at as often;
* the sample ratio check on right shares (bar: 0.2 %) and on shares that are off;
* the sign test of interleaving on rankers that are alike (bar: 5 %);
* real lifts: how many runs find them, and after how many slates.

With --plots it writes the pictures of docs/experiments.md. One core, two to three minutes.
"""

from __future__ import annotations

import argparse
import json
import math
from html import escape
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest

from endcap.evaluation import plots
from endcap.evaluation.report import STYLE
from endcap.feedback.interleaving import HALVES
from endcap.feedback.sequential import ALPHA, PREFERENCE, SRM_ALPHA, Sums, difference, evidence
from endcap.types import F8, I8, U1

CLICK, CART, PURCHASE = 0.08, 0.012, 0.004  # chance per slate of an average shopper
WORTH = (1.0, 3.0, 6.0)
VISITS = 4.0  # slates of an average shopper
Z = 1.96
SLATES = 20_000  # of an A/A run
LONG = 400_000  # of a run with a lift
LIFTS = (0.05, 0.1)
POINTS = 60  # of a curve


class Run(NamedTuple):
    """One simulated experiment, slate by slate."""

    unit: I8  # [n]
    reward: F8  # [n]
    second: U1  # [n] 1 = of the second variant


def simulate(
    random: np.random.Generator,
    n: int,
    share: float = 0.5,
    lift: float = 0.0,
    visits: float = VISITS,
    early: bool = False,
) -> Run:
    """``n`` slates. Units get the second variant with probability ``share``; it multiplies every chance by 1 + lift.

    ``visits``: slates of an average unit; ``early``: all are there from the start, instead of arriving over time.
    """
    n_units = int(n / visits)
    often = random.lognormal(0.0, 1.0, n_units)  # how often each one comes
    unit = random.choice(n_units, n, p=often / often.sum())
    if not early:
        arrival = random.random(n_units) * 0.9  # on the time line 0..1
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


def tried(runs: int, n: int, seed: int, *, said: float | None = None, share: float = 0.5, **more: Any) -> Tried:
    """Simulate ``runs`` experiments. ``said``: the share that the check believes in, if it is another."""
    shares = np.array([1.0 - (share if said is None else said), share if said is None else said])
    found = np.empty((runs, 3), np.int64)
    for k in range(runs):
        base, one, units = looks(simulate(np.random.default_rng((seed, k)), n, share, **more))
        value, half = difference(one, base, n)
        found[k, 0] = first_alarm(np.abs(value) > half)
        ready = np.isfinite(half)
        found[k, 1] = first_alarm(ready & (np.abs(value) > Z * np.sqrt(one.variance + base.variance)))
        found[k, 2] = first_alarm(evidence(units, shares) > -math.log(SRM_ALPHA))
    return Tried(found[:, 0], found[:, 1], found[:, 2])


def signs(runs: int, n: int, seed: int, share: float = 0.5) -> I8:
    """The slate at which the sign test of interleaving raises an alarm, -1 = never; ``share`` of slates won."""
    won = np.cumsum(np.random.default_rng(seed).random((runs, n)) < share, axis=1, dtype=np.float64)
    alarms = evidence(np.stack([won, np.arange(1, n + 1) - won], axis=-1), HALVES, PREFERENCE) > -math.log(ALPHA)
    return np.array([first_alarm(row) for row in alarms], np.int64)


# ---------------------------------------------------------------- figures


def rate(stops: I8) -> dict[str, Any]:
    """Share of runs with an alarm, with its exact 95 % interval and the median stop."""
    alarms, runs = int((stops >= 0).sum()), int(stops.shape[0])
    ends = binomtest(alarms, runs).proportion_ci(0.95, "exact")
    middle = int(np.median(stops[stops >= 0])) + 1 if alarms else None
    return {
        "runs": runs,
        "alarms": alarms,
        "share": alarms / runs,
        "low": ends.low,
        "high": ends.high,
        "median": middle,
    }


def line(name: str, figures: dict[str, Any], bar: str = "") -> None:
    """One row for people."""
    middle = f", median after {figures['median']:,} slates" if figures["median"] else ""
    print(
        f"{name:58} {figures['share']:7.2%} of {figures['runs']:,} runs "
        f"[{figures['low']:.2%}, {figures['high']:.2%}]{middle}{bar}",
        flush=True,
    )


def curve(stops: I8, ends: I8) -> list[float]:
    """Share of runs, in percent, stopped by each of ``ends``."""
    return [float(np.mean((stops >= 0) & (stops < end)) * 100) for end in ends]


def alone(drawn: str) -> str:
    """A plot as a file of its own, with the report's colours."""
    tag, rest = drawn.split(">", 1)
    style = escape(STYLE + "svg{background:var(--page)}")
    return f'{tag} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{rest}\n'


def names(ends: I8) -> list[str]:
    return [f"{end:,} slates" for end in ends]


def watched(n: int, seed: int) -> tuple[I8, list[tuple[str, list[float]]]]:
    """One A/A run in which the fixed-sample interval raises an alarm and the confidence sequence does not."""
    for k in range(1_000):
        base, one, _ = looks(simulate(np.random.default_rng((seed, k)), n))
        value, half = difference(one, base, n)
        fixed = Z * np.sqrt(one.variance + base.variance)
        ready = np.isfinite(half)
        crossed = (ready & (np.abs(value) > fixed)).sum()
        if crossed > n // 10 and not (np.abs(value) > half).any() and abs(value[-1]) < fixed[-1]:
            break
    ends = np.linspace(int(np.argmax(ready)) + 1, n, POINTS).astype(np.int64)
    at = ends - 1
    return ends, [
        ("difference seen (there is none)", np.abs(value)[at].tolist()),
        ("fixed-sample 95 %", fixed[at].tolist()),
        ("confidence sequence", half[at].tolist()),
    ]


def pictures(directory: Path, half: Tried, lifted: dict[float, Tried]) -> None:
    """The plots of the documentation page."""
    directory.mkdir(parents=True, exist_ok=True)
    ends, series = watched(SLATES, 11)
    one = plots.lines(ends.tolist(), series, names(ends), "One A/A experiment, watched: reward per slate")
    (directory / "experiments-watched.svg").write_text(alone(one), "utf-8")
    ends = np.linspace(SLATES // POINTS, SLATES, POINTS).astype(np.int64)
    series = [("fixed-sample 95 %", curve(half.naive, ends)), ("confidence sequence", curve(half.stops, ends))]
    two = plots.lines(ends.tolist(), series, names(ends), "A/A runs with a false alarm so far, percent")
    (directory / "experiments-false-alarms.svg").write_text(alone(two), "utf-8")
    ends = np.linspace(LONG // POINTS, LONG, POINTS).astype(np.int64)
    series = [(f"lift of {lift:.0%}", curve(found.stops, ends)) for lift, found in lifted.items()]
    three = plots.lines(ends.tolist(), series, names(ends), "Runs that have found the lift so far, percent")
    (directory / "experiments-power.svg").write_text(alone(three), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2_000, help="A/A runs of each kind")
    parser.add_argument("--json", type=Path, help="write the figures")
    parser.add_argument("--plots", type=Path, metavar="DIRECTORY", help="write the pictures")
    given = parser.parse_args()
    began, figures = perf_counter(), {}
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("A/A half and half", {}),
        ("A/A nine to one", {"share": 0.1}),
        ("A/A all shoppers there from the start, 20 slates each", {"visits": 20.0, "early": True}),
    ]
    tries = {}
    for at, (name, more) in enumerate(kinds):
        found = tries[name] = tried(given.runs, SLATES, at, **more)
        figures[name] = rate(found.stops)
        figures[f"{name}, fixed-sample"] = rate(found.naive)
        figures[f"{name}, sample ratio"] = rate(found.ratio)
        line(name, figures[name], "  bar 5 %")
        line("  a fixed-sample 95 % interval, looked at as often", figures[f"{name}, fixed-sample"])
        line("  sample ratio check", figures[f"{name}, sample ratio"], "  bar 0.2 %")
    figures["sign test"] = rate(signs(given.runs, 2_000, 3))
    line("interleaving of rankers that are alike", figures["sign test"], "  bar 5 %")
    figures["sign test, 55 %"] = rate(signs(given.runs, 2_000, 4, 0.55))
    line("interleaving, the better one wins 55 % of slates", figures["sign test, 55 %"])
    few = max(2, given.runs // 40)
    for said in (0.48, 0.45):
        figures[f"split {said}"] = rate(tried(few, 4 * SLATES, 5, said=said).ratio)
        line(f"sample ratio: halves where {said:.0%} was meant", figures[f"split {said}"])
    lifted = {lift: tried(few, LONG, 6, lift=lift) for lift in LIFTS}
    for lift, found in lifted.items():
        figures[f"lift {lift}"] = rate(found.stops)
        line(f"a lift of {lift:.0%}, planned for {LONG:,} slates", figures[f"lift {lift}"])
    print(f"{perf_counter() - began:.0f} s")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if given.plots:
        pictures(given.plots, tries["A/A half and half"], lifted)


if __name__ == "__main__":
    main()
