"""From lists to a verdict: every metric of every model with its interval, paired gains of the hybrid, slices, curves.

The result is plain dictionaries and numbers: what ``--json`` prints and what the report draws.
"""

from __future__ import annotations

import hashlib
import math
import resource
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version as installed_version
from typing import Any

import numpy as np

from endcap.evaluation.beyond import Log, beyond
from endcap.evaluation.bootstrap import Bootstrap, gain, holm, interval
from endcap.evaluation.dataset import Dataset
from endcap.evaluation.metrics import METRICS, per_query, pooled_recall
from endcap.evaluation.plan import Plan
from endcap.evaluation.replay import HYBRID, Run
from endcap.evaluation.slices import DISCOVERY, Mask, cut, discovery
from endcap.types import F8, I4, I8

SLICED = ("hr@20", "mrr@20", "ndcg@20", "recall@20")
DRAWN = ("hr@20", "mrr@20")
COMPARED = ("hr@20", "mrr@20", "ndcg@20", "recall@20", "capped@20")
SMALL = 50  # queries below which a slice is not printed
BUCKETS_H = (1, 3, 6, 12, 24, 168, 720)  # widths of a curve's steps
MOST_BUCKETS = 48

Figures = dict[str, Any]
PerQuery = dict[str, dict[str, F8]]  # model -> metric -> [q]


def summarise(data: Dataset, run: Run, *, draws: int = 2_000, seed: int = 0) -> Figures:
    """The whole verdict on one run."""
    plan = run.plan
    values = {model: per_query(lists, plan.ends, plan.relevant) for model, lists in run.lists.items()}
    bootstrap = Bootstrap(data.user[plan.event], draws=draws, seed=seed)
    spread = drawn(bootstrap, values)
    mask, ends, answers = discovery(data, plan)
    return {
        "protocol": plan.protocol,
        "target": plan.target,
        "evidence": plan.protocol != "leave-one-out",
        "data": {"name": data.name, "hash": fingerprint(data), **data.counts},
        "targets": len(plan),
        "users": bootstrap.n_users,
        "items": len(data.item_names),
        "models": model_figures(data, run, values, spread),
        "candidates": {
            "mean": float(run.n_candidates.mean()),
            "hr_ceiling": float((run.n_reachable > 0).mean()),
            "recall_ceiling": float((run.n_reachable / np.diff(plan.ends, prepend=0)).mean()),
        },
        "gains": gains(values, spread),
        "slices": [*slices(data, run, values), *new_to_shopper(run, mask, ends, answers)],
        "curve": curve(plan, values),
        "us_per_query": float(run.latency_us.mean()),
        "latency_us": {f"p{q}": float(np.percentile(run.latency_us, q)) for q in (50, 90, 99)},
        "seconds": run.seconds,
        "cpu_seconds": run.cpu_seconds,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "fits": [{"ts": ts, "seconds": seconds} for ts, seconds in run.fits],
        "examples": run.examples,
        "refused": run.refused,
        "version": installed_version("endcap"),
    }


def fingerprint(data: Dataset) -> str:
    """A short hash of the events as they are replayed."""
    digest = hashlib.blake2b(digest_size=8)
    for column in (data.ts, data.user, data.item, data.action):
        digest.update(np.ascontiguousarray(column).tobytes())
    digest.update("\0".join(data.item_names).encode())
    return digest.hexdigest()


def model_figures(data: Dataset, run: Run, values: PerQuery, spread: PerQuery) -> Figures:
    """Per model: every metric, its interval, and what its lists are like as a whole."""
    plan, log = run.plan, Log(data, run.plan)
    histories = log.histories()
    models: Figures = {}
    for model, metrics in values.items():
        lists = run.lists[model]
        models[model] = {name: float(column.mean()) for name, column in metrics.items()}
        models[model]["recall_pooled@20"] = pooled_recall(lists, plan.ends, plan.relevant)
        bands = {name: interval(metrics[name], spread[model][name]) for name in METRICS}
        models[model]["ci"] = {name: [band.low, band.high] for name, band in bands.items()}
        models[model]["beyond"] = beyond(data, plan, log, lists, run.popular, histories)
    return models


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
    for name in COMPARED:
        found = {
            model: gain(values[HYBRID][name], values[model][name], spread[HYBRID][name], spread[model][name])
            for model in others
        }
        corrected = holm({model: 2 * min(g.p_improve, 1 - g.p_improve) for model, g in found.items()})
        table[name] = {model: {**asdict(g), "p_holm": corrected[model]} for model, g in found.items()}
    for model in others:
        table["hr@20"][model]["p_mcnemar"] = mcnemar(values[HYBRID]["hr@20"], values[model]["hr@20"])
    return table


def mcnemar(one: F8, other: F8) -> float:
    """Two-sided p-value for paired hits, with continuity correction. Takes queries as independent: a rough check."""
    only_one, only_other = float(((one > 0) & (other == 0)).sum()), float(((one == 0) & (other > 0)).sum())
    if only_one + only_other == 0:
        return 1.0
    chi2 = max(0.0, abs(only_one - only_other) - 1) ** 2 / (only_one + only_other)
    return math.erfc(math.sqrt(chi2 / 2))


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


def new_to_shopper(run: Run, mask: Mask, ends: I8, answers: I4) -> list[Figures]:
    """The discovery slice: answers that the shopper had not touched before."""
    if not mask.any():
        return []
    models = {}
    for model, lists in run.lists.items():
        metrics = per_query(lists[mask], ends, answers)
        models[model] = {name: float(metrics[name].mean()) for name in COMPARED}
    return [{"kind": DISCOVERY, "name": "new to the shopper", "queries": int(mask.sum()), "models": models}]


def curve(plan: Plan, values: PerQuery) -> Figures:
    """Means over time in equal steps, a day where the window allows it."""
    span_h = (int(plan.ts[-1]) - int(plan.ts[0])) / 3_600_000
    fitting = [h for h in BUCKETS_H if span_h / h <= MOST_BUCKETS]
    step_h = 24 if 7 <= span_h / 24 <= MOST_BUCKETS else (fitting or BUCKETS_H[-1:])[0]
    bucket = (plan.ts - plan.ts[0]) // (step_h * 3_600_000)
    count = np.bincount(bucket)
    used = np.flatnonzero(count >= min(SMALL, len(plan)))
    return {
        "step_h": step_h,
        "ts": [int(plan.ts[0]) + int(b) * step_h * 3_600_000 for b in used],
        "queries": count[used].tolist(),
        "models": {
            model: {name: (np.bincount(bucket, metrics[name])[used] / count[used]).tolist() for name in DRAWN}
            for model, metrics in values.items()
        },
    }
