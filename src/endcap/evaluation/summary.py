"""From lists to a verdict: every metric of every model with its interval, paired gains of the hybrid, slices.

The result is plain dictionaries and numbers: what ``--json`` prints and what the report draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from endcap.evaluation.bootstrap import Bootstrap, gain, holm, interval
from endcap.evaluation.dataset import Dataset
from endcap.evaluation.metrics import METRICS, per_query, pooled_recall
from endcap.evaluation.replay import HYBRID, Run
from endcap.evaluation.slices import DISCOVERY, cut, discovery
from endcap.types import F8, I4, I8

SLICED = ("hr@20", "mrr@20")
SMALL = 50  # queries below which a slice is not printed

Figures = dict[str, Any]
PerQuery = dict[str, dict[str, F8]]  # model -> metric -> [q]


def summarise(data: Dataset, run: Run, *, draws: int = 2_000, seed: int = 0) -> Figures:
    """The whole verdict on one run."""
    plan = run.plan
    user = data.user[plan.event]
    values = {model: per_query(lists, plan.ends, plan.relevant) for model, lists in run.lists.items()}
    bootstrap = Bootstrap(user, draws=draws, seed=seed)
    spread = drawn(bootstrap, values)
    models: Figures = {}
    for model, metrics in values.items():
        models[model] = {name: float(column.mean()) for name, column in metrics.items()}
        models[model]["recall_pooled@20"] = pooled_recall(run.lists[model], plan.ends, plan.relevant)
        models[model]["ci"] = {
            name: [band.low, band.high]
            for name in METRICS
            for band in (interval(metrics[name], spread[model][name]),)
        }  # fmt: skip
    mask, ends, answers = discovery(data, plan)
    return {
        "protocol": plan.protocol,
        "target": plan.target,
        "evidence": plan.protocol != "leave-one-out",
        "data": {"name": data.name, **data.counts},
        "targets": len(plan),
        "users": bootstrap.n_users,
        "items": len(data.item_names),
        "models": models,
        "gains": gains(values, spread),
        "slices": [*slices(data, run, values), *new_to_shopper(run, mask, ends, answers)],
        "us_per_query": float(run.latency_us.mean()),
        "latency_us": {f"p{q}": float(np.percentile(run.latency_us, q)) for q in (50, 99)},
        "seconds": run.seconds,
        "fits": [{"ts": ts, "seconds": seconds} for ts, seconds in run.fits],
        "refused": run.refused,
    }


def drawn(bootstrap: Bootstrap, values: PerQuery) -> PerQuery:
    """Bootstrap means of every model and metric, all from the same draws."""
    keys = [(model, name) for model, metrics in values.items() for name in metrics]
    means = bootstrap.means(np.stack([values[model][name] for model, name in keys], axis=1))
    out: PerQuery = {model: {} for model in values}
    for (model, name), column in zip(keys, means.T, strict=True):
        out[model][name] = column
    return out


def gains(values: PerQuery, spread: PerQuery) -> Figures:
    """The hybrid minus every other model, paired, with p-values corrected over the models (Holm)."""
    others = [model for model in values if model != HYBRID]
    table: Figures = {}
    for name in ("hr@20", "mrr@20", "ndcg@20", "recall@20"):
        found = {
            model: gain(values[HYBRID][name], values[model][name], spread[HYBRID][name], spread[model][name])
            for model in others
        }
        two_sided = {model: 2 * min(g.p_improve, 1 - g.p_improve) for model, g in found.items()}
        corrected = holm(two_sided)
        table[name] = {model: {**asdict(g), "p_holm": corrected[model]} for model, g in found.items()}
    return table


def best_single(verdict: Mapping[str, Any], metric: str) -> str:
    """The strongest model other than a form of the hybrid."""
    singles: list[str] = [name for name in verdict["models"] if not name.startswith(HYBRID)]
    return max(singles, key=lambda name: float(verdict["models"][name][metric]))


def slices(data: Dataset, run: Run, values: PerQuery) -> list[Figures]:
    """Every model's figures per slice."""
    return [
        {
            "kind": kind, "name": name, "queries": int(mask.sum()),
            "models": {m: {k: float(v[k][mask].mean()) for k in SLICED} for m, v in values.items()},
        }
        for kind, name, mask in cut(data, run.plan)
        if mask.sum() >= SMALL
    ]  # fmt: skip


def new_to_shopper(run: Run, mask: Any, ends: I8, answers: I4) -> list[Figures]:
    """The discovery slice: answers that the shopper had not touched before."""
    if not mask.any():
        return []
    models = {}
    for model, lists in run.lists.items():
        metrics = per_query(lists[mask], ends, answers)
        models[model] = {name: float(metrics[name].mean()) for name in (*SLICED, "ndcg@20", "recall@20")}
    return [{"kind": DISCOVERY, "name": "new to the shopper", "queries": int(mask.sum()), "models": models}]
