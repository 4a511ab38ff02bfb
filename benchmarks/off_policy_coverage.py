"""How often the intervals of off-policy estimates hold the truth, over logs of a simulated bandit whose truth is known.

    python benchmarks/off_policy_coverage.py                      500 logs of 5,000 decisions per target
    python benchmarks/off_policy_coverage.py --logs 2000 --json

The bandit: 4 arms, 36 kinds of moment (hour, device, warmth), users of different activity who come back in the same
kind of moment and click more or less than others, so that decisions of one user hang together. A click earns 1, one in
ten buys for 6 more: rewards are rare and skewed. The logging policy prefers the arms it believes in, wrongly in part,
and draws each with at least 4 %. What arms earn is no sum of hour, device and warmth, which is all that the reward
model can say: it is wrong on purpose. Targets: the arm that earns most in each kind of moment ("greedy"), one arm
always ("fixed"), the logging policy turned sharper ("sharper"), and itself ("same", an A/A check).

Coverage is printed with its own 95 % interval (Clopper-Pearson). 95 % is expected of ips, snips and dr; the clipped
mean is too low by what it cuts and dm believes its model: they promise nothing.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from scipy.stats import beta

from endcap.feedback.off_policy import cross_fitted, estimates, importance
from endcap.types import F8, I8

HOURS, DEVICES, WARMTHS, ARMS = 4, 3, 3, 4
CELLS = HOURS * DEVICES * WARMTHS
FLOOR = 0.04
BUYS, WORTH = 0.1, 6.0  # of clicks, and what a purchase adds
TARGETS = ("greedy", "fixed", "sharper", "same")


@dataclass(frozen=True, slots=True)
class World:
    """What is true."""

    share: F8  # [cells] how often each kind of moment comes
    click: F8  # [cells, arms] probability
    logging: F8  # [cells, arms]

    def target(self, name: str) -> F8:
        """Probabilities [cells, arms] of a target policy."""
        if name == "greedy":
            return np.eye(ARMS)[self.click.argmax(1)]
        if name == "fixed":
            return np.tile(np.eye(ARMS)[1], (CELLS, 1))
        if name == "same":
            return self.logging
        sharp = self.logging**2
        return np.asarray(sharp / sharp.sum(1, keepdims=True), np.float64)

    def value(self, policy: F8) -> float:
        """The truth: what a policy earns per decision."""
        return float((self.share[:, None] * policy * self.click).sum() * (1 + BUYS * WORTH))


@dataclass(frozen=True, slots=True)
class Log:
    """What a run of the logging policy leaves."""

    cell: I8
    user: I8
    action: I8
    propensity: F8
    reward: F8


def new_world(seed: int = 5) -> World:
    """A world: shares, click rates and beliefs drawn once."""
    rng = np.random.default_rng(seed)
    click = 0.04 + 0.2 * rng.beta(1.5, 3.0, (CELLS, ARMS))
    believed = 15 * (click + rng.normal(0, 0.05, click.shape))
    soft = np.exp(believed - believed.max(1, keepdims=True))
    logging = FLOOR + (1 - FLOOR * ARMS) * soft / soft.sum(1, keepdims=True)
    return World(rng.dirichlet(np.full(CELLS, 3.0)), click, logging)


def simulated(world: World, n: int, rng: np.random.Generator) -> Log:
    """``n`` decisions."""
    n_users = max(2, n // 8)
    user = rng.choice(n_users, n, p=rng.dirichlet(np.full(n_users, 1.0)))
    home = rng.choice(CELLS, n_users, p=world.share)
    cell = np.where(rng.random(n) < 0.6, home[user], rng.choice(CELLS, n, p=world.share))
    keen = rng.uniform(0.4, 1.6, n_users)[user]  # 1 on average: the truth stays what it is
    action = (rng.random(n)[:, None] > world.logging.cumsum(1)[cell]).sum(1).clip(0, ARMS - 1)
    clicked = rng.random(n) < keen * world.click[cell, action]
    reward = clicked * (1.0 + WORTH * (rng.random(n) < BUYS))
    return Log(cell, user, action, world.logging[cell, action], reward)


def features(cell: I8) -> F8:
    """[n, 1 + ...] a column of ones, then hour, device and warmth by themselves."""
    hour, rest = np.divmod(cell, DEVICES * WARMTHS)
    device, warmth = np.divmod(rest, WARMTHS)
    parts = [np.eye(size)[one][:, 1:] for size, one in ((HOURS, hour), (DEVICES, device), (WARMTHS, warmth))]
    return np.column_stack([np.ones(cell.shape[0]), *parts])


def covered(world: World, target: str, n_logs: int, n: int, seed: int) -> dict[str, tuple[int, float, float]]:
    """By estimator: logs whose interval holds the truth, mean width of the interval, mean error."""
    policy = world.target(target)
    truth = world.value(policy)
    hits: dict[str, list[tuple[bool, float, float]]] = {}
    for k in range(n_logs):
        log = simulated(world, n, np.random.default_rng([seed, k]))
        context = features(log.cell)
        q = cross_fitted(context, context, log.action, log.reward, policy[log.cell], cluster=log.user, seed=k)
        weight = importance(policy[log.cell, log.action], log.propensity)
        for name, found in estimates(log.reward, weight, q, cluster=log.user).items():
            inside = found.low <= truth <= found.high
            hits.setdefault(name, []).append((inside, found.high - found.low, found.value - truth))
    columns = {name: np.array(each, np.float64).T for name, each in hits.items()}
    return {
        name: (int(hit.sum()), float(width.mean()), float(off.mean())) for name, (hit, width, off) in columns.items()
    }


def binomial(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share (Clopper-Pearson)."""
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=500)
    parser.add_argument("--decisions", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    world, began = new_world(), perf_counter()
    rows = []
    for target in TARGETS:
        truth = world.value(world.target(target))
        for name, (hits, width, error) in covered(world, target, given.logs, given.decisions, given.seed).items():
            low, high = binomial(hits, given.logs)
            rows.append({
                "target": target, "estimator": name, "coverage": hits / given.logs, "low": low, "high": high,
                "width": width, "mean_error": error, "truth": truth,
            })  # fmt: skip
    if given.json:
        print(json.dumps({"logs": given.logs, "decisions": given.decisions, "seed": given.seed, "rows": rows}))
        return
    logged = world.value(world.logging)
    print(f"{given.logs} logs of {given.decisions} decisions, seed {given.seed}; logged value {logged:.4f}")
    print(f"{'target':8} {'estimator':9} {'coverage':>8}   95 % interval   {'width':>6}  {'mean error':>10}  truth")
    for row in rows:
        print(
            f"{row['target']:8} {row['estimator']:9} {row['coverage']:8.3f}   {row['low']:.3f} to {row['high']:.3f}  "
            f"{row['width']:6.4f}  {row['mean_error']:+10.5f}  {row['truth']:.4f}"
        )
    print(f"{perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
