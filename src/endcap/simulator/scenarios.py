"""The questions that the simulator answers, each with the settings of its server and the bars it is held against.

arms       Two arms, one better on phones in the evening, one at desks by day: is the right one served?
switch     Half way the arms change roles: how soon is it learned anew?
positions  Places are swapped now and then: is the attention that each place gets found?
loop       60 days of learning from its own clicks, without and with limits: does exposure narrow, against a twin that
           learns from clicks that its slates had no part in?
price      The same shop with more and less exploration: what does it cost, what does it bring?

In ``arms`` and ``switch`` each arm keeps to one kind of item, and all items of a kind are equally good to everyone:
what an arm is worth at a moment then follows from the moment alone, so the oracle is exact and the figures judge the
choice of arm and nothing else. In the others tastes, prices, quality, patience, stock and new items are all at work.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from endcap.bench.served import HOST, free_port, started
from endcap.errors import EndcapError, InvalidInput
from endcap.runtime import SystemClock
from endcap.simulator.connection import Connection
from endcap.simulator.estimates import (
    blocks,
    by_rank_and_place,
    clicks_on_new,
    concentration,
    looked_at,
    relearned,
    tried,
)
from endcap.simulator.shop import DAY_MS, KINDS, Shop
from endcap.simulator.shoppers import Habits, Shoppers
from endcap.simulator.verdict import Bar, Curve, Verdict
from endcap.simulator.world import PLACEMENT, WIDTH, Plan, Progress, Record, World
from endcap.types import F8

BASE = """
[clean]
lateness_h = 2400  # virtual days lie in the past

[log]
durability = "os"  # nothing here is worth a wait for the disk

[placements.home]
sources = ["history", "covisit", "session_knn", "popular", "trending"]
"""
ARMS = (
    BASE
    + """
explore = {protected = false, new_items = 0}

[placements.home.arms.gifts]
filter = {eq = {categories = ["Gifts"]}}

[placements.home.arms.tools]
filter = {eq = {categories = ["Tools"]}}
"""
)
LIMITED = (
    BASE
    + """
explore = {share = 0.05}
limits = {head_share = 0.3, novel_share = 0.5, item_share = 0.003, impressions_per_unit = 50}
"""
)
ARM_NAMES = ("gifts", "tools")  # in the order of KINDS
SAMPLE = 2_000  # page views of one point of a curve: about a day
LEAST = 1_000  # requests that a scenario needs to say anything
WINDOW = 1_000  # page views over which "learned again" is judged
EQUAL = Habits(taste=0.0, patience=1.0, moment=1.0)  # only the moment matters


def exploring(share: float, protected: bool = True, new_items: int = 50) -> str:
    """Settings with a share of places that may be tried out."""
    return f"{BASE}explore = {{share = {share}, protected = {str(protected).lower()}, new_items = {new_items}}}\n"


@dataclass(frozen=True, slots=True)
class Shelf:
    """What the shop of a scenario sells."""

    n_start: int = 600
    n_later: int = 0
    spread: float = 0.0
    scarce: float = 0.0


FULL = Shelf(n_start=500, n_later=120, spread=0.5, scarce=0.15)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over."""

    record: Record
    shop: Shop
    feedback: Any  # what the server says about places, None when it says nothing


@contextmanager
def server(settings: str) -> Iterator[Connection]:
    """A real ``endcap serve`` on an empty data directory; gives a connection to it."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="endcap-simulate-") as folder:
        file = Path(folder) / "endcap.toml"
        file.write_text(settings, "utf-8")
        command = [
            sys.executable, "-m", "endcap.cli", "serve", "--open", "--port", str(port), "--config", str(file),
            "--dir", str(Path(folder) / "data"),
        ]  # fmt: skip
        with started(command, port, Path(folder) / "server.log"):
            connection = Connection(HOST, port, WIDTH)
            try:
                yield connection
            finally:
                connection.close()


def live(settings: str, habits: Habits, shelf: Shelf, plan: Plan, step: Progress, stage: str) -> Run:
    """One run on a server of its own. The same plan meets the same shop and the same shoppers."""
    start_ms = (SystemClock().now() // DAY_MS - round(plan.days) - 1) * DAY_MS
    making = np.random.default_rng([plan.seed, 1])
    shop = Shop(making, start_ms, shelf.n_start, shelf.n_later, plan.days, spread=shelf.spread, scarce=shelf.scarce)
    shoppers = Shoppers(making, habits, shop)
    with server(settings) as connection:
        record = World(plan, shop, shoppers, connection, start_ms).run(step, stage)
        feedback = connection.get(f"/v1/placements/{PLACEMENT}/feedback")
    return Run(record, shop, feedback)


# ---------------------------------------------------------------- arms


def choice_of_arms(requests: int, seed: int, step: Progress, switch_at: int = 0) -> tuple[Record, Verdict]:
    """A run with two arms, and what the policies would have got."""
    plan = Plan(requests, days=25, seed=seed, warm_up=1_000, switch_at=switch_at)
    record = live(ARMS, EQUAL, Shelf(), plan, step, "requests").record
    chosen = {name: record.arm.count(name) for name in sorted(set(record.arm))}
    if not set(chosen) & set(ARM_NAMES):
        raise EndcapError(f"the server drew none of the arms {', '.join(ARM_NAMES)}; its slates say {chosen}")
    oracle = record.arms.max(axis=1)
    rewards = {"oracle": oracle, "bandit": record.reward.astype(np.float64)}
    rewards |= {f"always {name}": record.arms[:, k] for k, name in enumerate(ARM_NAMES)}
    rewards["by chance"] = record.arms.mean(axis=1)
    verdict = Verdict("", requests, seed, head=("policy", "reward a request", "share of the oracle's"))
    verdict.table = [(name, [float(got.mean()), float(got.sum() / oracle.sum())]) for name, got in rewards.items()]
    best = max(ARM_NAMES, key=lambda name: rewards[f"always {name}"].sum())
    size = min(SAMPLE, max(1, requests // 10))
    shown = {
        "bandit": rewards["bandit"],
        f"always {best}": rewards[f"always {best}"],
        "by chance": rewards["by chance"],
    }
    series = [(name, blocks(got, oracle, size)) for name, got in shown.items()]
    xs = [size * (k + 1) for k in range(requests // size)]
    verdict.curves = [Curve("", "share of the oracle's reward", xs, [f"{x:,} requests" for x in xs], series)]
    verdict.notes.append("arms drawn: " + ", ".join(f"{name} {n:,}" for name, n in chosen.items()))
    return record, verdict


def arms(requests: int, seed: int, step: Progress) -> Verdict:
    """The bandit against the oracle and the best fixed arm."""
    _, verdict = choice_of_arms(requests, seed, step)
    verdict.curves = [replace(verdict.curves[0], name="simulate-arms")]
    share = {name: values[1] for name, values in verdict.table}
    fixed = max(share[f"always {name}"] for name in ARM_NAMES)
    verdict.bars = [
        Bar("the bandit's share of the oracle's reward", share["bandit"], ">=", 0.95),
        Bar("the bandit above the best fixed arm", share["bandit"] - fixed, ">=", 0.0),
    ]
    return verdict


def switch(requests: int, seed: int, step: Progress) -> Verdict:
    """Half way the arms change roles."""
    at = requests // 2
    record, verdict = choice_of_arms(requests, seed, step, switch_at=at)
    verdict.curves = [replace(verdict.curves[0], name="simulate-switch")]
    share: F8 = record.reward / record.arms.max(axis=1)
    before = float(share[max(0, at - 5_000) : at].mean())
    took = relearned(share, at, 0.95 * before, min(WINDOW, at))
    verdict.notes.append(f"share of the oracle's in the last 5,000 requests before the switch: {before:.4f}")
    verdict.bars = [
        Bar("requests until 95 % of the share before the switch", float(took) if took >= 0 else None, "<=", 5_000.0)
    ]
    return verdict


# ---------------------------------------------------------------- places


def positions(requests: int, seed: int, step: Progress) -> Verdict:
    """The attention of each place, recovered from swaps."""
    habits = Habits(base=0.4)  # the more clicks, the smaller the error: it falls with their square root
    run = live(
        exploring(0.2, protected=False, new_items=0), habits, FULL, Plan(requests, 10, seed, warm_up=1_000), step,
        "requests",
    )  # fmt: skip
    true = habits.theta()
    shown, clicks = by_rank_and_place(run.record)
    found = {"recovered here": looked_at(shown, clicks)}
    if run.feedback is not None:
        found["recovered by the server"] = served_theta(run.feedback, habits.places)
    verdict = Verdict("", requests, seed, head=("place", "truth", *found, "clicks"))
    verdict.table = [
        (str(k + 1), [float(true[k]), *(float(theta[k]) for theta in found.values()), float(clicks[:, k].sum())])
        for k in range(habits.places)
    ]
    xs = [float(k + 1) for k in range(habits.places)]
    series = [("truth", true.tolist()), *((name, np.nan_to_num(theta).tolist()) for name, theta in found.items())]
    verdict.curves = [
        Curve("simulate-positions", "probability that a place is looked at", xs, [f"place {x:g}" for x in xs], series)
    ]
    verdict.notes.append(f"{tried(run.record):.1%} of the places held something else than by scores alone")
    for name, theta in found.items():
        off = np.abs(theta / true - 1)
        verdict.bars.append(
            Bar(f"largest error of a place, {name}", float(off.max()) if np.isfinite(off).all() else None, "<=", 0.10)
        )
    return verdict


def served_theta(feedback: Any, places: int) -> F8:
    """Attention by place as the server reports it, the first = 1; NaN where it says nothing."""
    theta: F8 = np.full(places, np.nan)
    for row in feedback["positions"]:
        if row["position"] < places and row["theta"] is not None:
            theta[row["position"]] = row["theta"]
    theta /= theta[0]
    return theta


# ---------------------------------------------------------------- the closed loop


def loop(requests: int, seed: int, step: Progress) -> Verdict:
    """60 days of learning from its own clicks, and the twin whose choices do not depend on slates."""
    days, points = 60, 12
    wide = days // points
    plan = Plan(requests, days, seed, warm_up=2_000)
    closed = live(BASE, Habits(), FULL, plan, step, "closed loop").record
    held = live(LIMITED, Habits(), FULL, plan, step, "closed loop with limits").record
    twin = live(LIMITED, Habits(), FULL, replace(plan, organic=True), step, "open-loop twin").record
    spans = [(wide * k, wide * (k + 1) - 1) for k in range(points)]
    figures = {
        "closed": [concentration(closed, *span) for span in spans],
        "closed, limits": [concentration(held, *span) for span in spans],
        "twin, limits": [concentration(twin, *span) for span in spans],
        "oracle": [concentration(held, *span, best=True) for span in spans],
    }
    names = tuple(figures["closed"][0])
    verdict = Verdict("", requests, seed, head=("loop, days", *(name.replace("_", " ") for name in names)))
    for name, moments in figures.items():
        for when, moment in (("first", moments[0]), ("last", moments[-1])):
            verdict.table.append((f"{name}, {when} {wide}", list(moment.values())))
    ends = [end + 1 for _, end in spans]
    labels = {
        "gini": "Gini of exposure", "coverage": "share of items shown", "true_reward": "true reward of a slate",
        "top_1_percent": "share of places of the top 1 % of items",
    }  # fmt: skip
    verdict.curves = [
        Curve(
            f"simulate-loop-{figure.replace('_', '-')}", label, ends, [f"day {end}" for end in ends],
            [(name, [moment[figure] for moment in moments]) for name, moments in figures.items()],
        )
        for figure, label in labels.items()
    ]  # fmt: skip
    last = {name: moments[-1]["gini"] for name, moments in figures.items()}
    rise = {name: last[name] - moments[0]["gini"] for name, moments in figures.items()}
    verdict.notes.append(
        f"Gini from the first {wide} days to the last: " + ", ".join(f"{name} {by:+.3f}" for name, by in rise.items())
    )
    verdict.bars = [
        Bar(f"Gini above the twin's in the last {wide} days, {name}", last[name] - last["twin, limits"], "<=", 0.05)
        for name in ("closed, limits", "closed")
    ]
    return verdict


def price(requests: int, seed: int, step: Progress) -> Verdict:
    """The same shop with exploration off, at 2 % and at 10 % of the places."""
    plan = Plan(requests, 25, seed, warm_up=1_000)
    head = (
        "share of places",
        "true reward",
        "share of the oracle",
        "against 0",
        "tried out",
        "clicks on new items",
        "new items shown 50 times",
    )
    verdict = Verdict("", requests, seed, head=head)
    free = 0.0
    for share in (0.0, 0.02, 0.1):
        run = live(exploring(share), Habits(), FULL, plan, step, f"explore.share {share:g}")
        reward = float(run.record.reward.mean())
        free, most = free or reward, float(run.record.most.mean())
        clicks, met = clicks_on_new(run.record, run.shop)
        verdict.table.append(
            (f"{share:g}", [reward, reward / most, reward / free - 1, tried(run.record), float(clicks), met])
        )
        verdict.bars.append(Bar(f"places tried out at {share:g}", tried(run.record), "<=", share * 1.05))
    return verdict


SCENARIOS: dict[str, tuple[Callable[[int, int, Progress], Verdict], int]] = {
    "arms": (arms, 50_000),
    "switch": (switch, 50_000),
    "positions": (positions, 50_000),
    "loop": (loop, 20_000),
    "price": (price, 20_000),
}  # name -> what runs it, and the usual number of requests of one run


def simulate(name: str, requests: int, seed: int, step: Progress) -> Verdict:
    """Run a scenario; 0 requests = its usual number. ``InvalidInput`` for fewer than ``LEAST``."""
    run, usual = SCENARIOS[name]
    if 0 < requests < LEAST:
        raise InvalidInput(f"requests is {requests}; expected at least {LEAST:,}, or 0 for {usual:,}", field="requests")
    began = perf_counter()
    verdict = run(requests or usual, seed, step)
    verdict.scenario, verdict.seconds = name, perf_counter() - began
    return verdict


assert len(KINDS) == len(ARM_NAMES)
