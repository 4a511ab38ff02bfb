"""Does ``endcap counterfactual`` say beforehand what an arm earns when it serves alone?

    python benchmarks/counterfactual_truth.py [--requests 8000] [--keep DIRECTORY]

A small shop on a virtual clock: 60 items in 6 categories, 400 shoppers with a taste for one. Desktop shoppers click on
what suits their taste, phone shoppers on what is popular, both more at the top. The placement "home" has two arms,
"personal" and "popular", which the engine's own bandit draws. The log of that run is then asked what each arm would
have earned. Two truths stand beside the answer:

    on these moments  what the arm's slates would have earned at the very moments of the log, by the shoppers' true
                      probabilities: what the estimates are about
    served alone      what the arm earns in a run of its own with the same shoppers, where it also made the history
                      that it works with: what a change of settings leads to in the end

``--keep`` leaves the log and the settings of the example of docs/counterfactual.md: endcap.toml, popular.toml (the
candidate) and shop/.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from endcap.config import Config, load_config
from endcap.engine import Engine
from endcap.evaluation.counterfactual import Candidate, compare
from endcap.feedback.impressions import impression_of
from endcap.feedback.off_policy import Estimate, mean
from endcap.recommend import Recommender
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.sqlite import SqliteLog
from endcap.types import Context, Interaction, Item, Query, Slate

START_MS = 1_790_000_000_000
STEP_MS = 90_000
WINDOW_MS = 24 * 3_600_000
N_ITEMS, N_CATEGORIES, N_SHOPPERS, N_SHOWN = 60, 6, 400, 6
ARMS = {
    "personal": 'sources = ["history", "covisit", "session_knn"]',
    "popular": 'sources = ["popular"]',
}
BOTH = """\
[log]
durability = "os"

[placements.home]
n = 6

[placements.home.explore]
protected = false
arm_floor = 0.2

[placements.home.arms.personal]
{personal}

[placements.home.arms.popular]
{popular}
"""
ALONE = """\
[log]
durability = "os"

[placements.home]
n = 6
{settings}
"""


def run(
    directory: Path, config: Config, n: int, seed: int, arms: dict[str, Config] | None = None
) -> tuple[Estimate, dict[str, float]]:
    """Serve ``n`` slates to the shoppers and let them click.

    Gives the mean clicks per slate, and what the slates of ``arms`` would have earned at the same moments.
    """
    rng = np.random.default_rng(seed)
    taste = np.random.default_rng(0).integers(N_CATEGORIES, size=N_SHOPPERS)  # the same shoppers in every run
    clock = VirtualClock(START_MS)
    clicks, who, would = np.zeros(n), np.zeros(n, np.int64), dict.fromkeys(arms or {}, 0.0)
    with Engine.open(directory, config, Runtime(clock, seed=seed)) as engine:
        engine.put_items([
            Item(item_id=f"i{k}", title=f"Item {k}", categories=[[f"c{k % N_CATEGORIES}"]]) for k in range(N_ITEMS)
        ])  # fmt: skip
        for k in range(1_500):  # what shoppers looked at before: items of low numbers are popular
            shopper = int(rng.integers(N_SHOPPERS))
            item = int(N_ITEMS * rng.random() ** 2 // N_CATEGORIES * N_CATEGORIES + taste[shopper]) % N_ITEMS
            clock.ts += 10_000
            seen = Interaction(type="view", event_id=f"v{k}", ts=clock.ts, user_id=f"s{shopper}", item_id=f"i{item}")
            engine.observe([seen])
        others = {name: Recommender(engine.state, one, engine.recommender) for name, one in (arms or {}).items()}
        for k in range(n):
            clock.ts += STEP_MS
            shopper = int(rng.integers(N_SHOPPERS))
            device = "mobile" if shopper % 2 == 0 else "desktop"
            query = Query(user_id=f"s{shopper}", ts=clock.ts, context=Context(device=device))
            slate = engine.recommend(query, "logged")
            for name, other in others.items():
                would[name] += sum(chances(other.recommend(query, clock.ts, "asked"), device, int(taste[shopper]))) / n
            engine.submit([impression_of(query, slate)]).result()
            for place, chance in enumerate(chances(slate, device, int(taste[shopper]))):
                if rng.random() < chance:
                    clicks[k] += 1
                    engine.observe([
                        Interaction(
                            type="click", event_id=f"c{k}-{place}", ts=clock.ts + 1_000, user_id=f"s{shopper}",
                            item_id=slate.items[place].item_id, request_id=slate.request_id,
                        )
                    ])  # fmt: skip
            who[k] = shopper
        clock.ts += WINDOW_MS
        engine.observe([Interaction(type="view", event_id="end", ts=clock.ts, user_id="s0", item_id="i0")])
    return mean(clicks, who), would


def chances(slate: Slate, device: str, taste: int) -> list[float]:
    """P(click) of each item of a slate."""
    found = []
    for place, shown in enumerate(slate.items):
        number = int(shown.item_id[1:])
        likes = 0.45 * (1 - number / N_ITEMS) if device == "mobile" else 0.4 * (number % N_CATEGORIES == taste)
        found.append(likes / (1 + place))
    return found


def settings(folder: Path, name: str, text: str) -> Config:
    """The settings in ``text``, kept as ``name``."""
    file = folder / name
    file.write_text(text, "utf-8")
    return load_config(file, {})[0]


def told(name: str, found: Estimate) -> str:
    """One line."""
    return f"  {name:22} {found.value:.4f}   {found.low:.4f} to {found.high:.4f}"


def measure(folder: Path, n: int) -> None:
    """Log, ask, serve alone, print."""
    began = perf_counter()
    alone = {arm: settings(folder, f"{arm}.toml", ALONE.format(settings=changes)) for arm, changes in ARMS.items()}
    logged, would = run(folder / "shop", settings(folder, "endcap.toml", BOTH.format(**ARMS)), n, 1, alone)
    print(f"{n} slates by two arms, {perf_counter() - began:.0f} s; clicks per slate with 95 % intervals")
    print(told("logged", logged))
    for arm, config in alone.items():
        log = SqliteLog(folder / "shop" / "endcap.db", read_only=True)
        began = perf_counter()
        found = compare(log, Candidate(config, "home", arm))
        seconds = perf_counter() - began
        log.close()
        print(f"{arm}: effective sample {found.verdict.checks.ess:.0f}, judged in {seconds:.1f} s")
        for name, estimate in found.verdict.estimates.items():
            print(told(name, estimate))
        for reason in found.verdict.reasons:
            print(f"  refused: {reason}")
        print(f"  {'on these moments':22} {would[arm]:.4f}")
        print(told("served alone", run(folder / f"alone-{arm}", config, n, 2)[0]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=8_000)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
        if any(given.keep.iterdir()):
            sys.exit(f"{given.keep} is not empty; name a folder that is")
        measure(given.keep, given.requests)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given.requests)


if __name__ == "__main__":
    main()
