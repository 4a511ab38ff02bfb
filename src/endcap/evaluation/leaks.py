"""The truncation check: nothing read for a query may depend on an event after it (law L9).

A second engine is folded up to each of a sample of queries and no further, in large steps, and asked the same. It
cannot know the future, so any list that differs from the run's is a leak, or state that depends on how it was folded.
Single models that fold only: what is fitted now and then (the ranker, factors, content) depends on when that was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from endcap.config import Config
from endcap.evaluation.dataset import Dataset
from endcap.evaluation.lane import FROZEN, Lane
from endcap.evaluation.plan import Plan
from endcap.evaluation.replay import DEPTH, HYBRID, PLACEMENT, Run, evaluation_config
from endcap.evaluation.singles import Singles, group_for

CHECKED = 50  # queries
FITTED = ("factors", "content", "alike")


def leaks(data: Dataset, run: Run, config: Config, *, n: int = CHECKED, seed: int = 0) -> list[str]:
    """What differs, as "model at query q"; empty when all is well."""
    plan = run.plan
    names = [name for name in run.lists if not name.startswith(HYBRID) and name not in FITTED]
    if not names:
        return []
    chosen = np.sort(np.random.default_rng(seed).choice(len(plan), min(n, len(plan)), replace=False))
    own = evaluation_config(config, plan)
    lane = Lane(data, plan, own, FROZEN, "shared") if plan.shared_frozen else Lane(data, plan, own)
    try:
        return different(data, run, plan, lane, names, chosen.tolist())
    finally:
        lane.close()


def different(
    data: Dataset, run: Run, plan: Plan, lane: Lane, names: Sequence[str], chosen: Sequence[int]
) -> list[str]:
    """The lists of ``names`` that a lane which saw no more than it may does not confirm."""
    recommender = lane.engine.recommender
    singles = Singles(recommender, DEPTH, group_for(data, plan.target), names)
    code_of = {name: code for code, name in enumerate(data.item_names)}
    found = []
    for q in chosen:
        t_ms = int(plan.ts[q])
        lane.advance(int(plan.at[q]), t_ms)
        ask = recommender.understand(lane.query(int(plan.event[q]), t_ms, DEPTH, PLACEMENT), t_ms)
        recommender.begin_guard(ask)
        for name, items in singles.read(ask).items():
            codes = [code_of[recommender.state.items.name(item)] if item >= 0 else item for item in items.tolist()]
            if codes != run.lists[name][q].tolist():
                found.append(f"{name} at query {q}")
    return found
