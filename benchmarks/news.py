"""Ranking of shown articles on NeMig (English): AUC, MRR and nDCG@5 against random and the order shown, as JSON.

    python benchmarks/news.py

What the set is: an online survey on news about migration, 3,000 readers, five impressions each with one and the same
history, no time of any event, published_at by the day. So nothing here can say how quickly a model follows the news,
what age, sessions or read time are worth, or how often a reader comes back: the preset's half-lives are judgement.
What can be measured is whether anything known of a reader ranks the clicked articles of a list above the others.

Protocol: impressions with at least one click and one other article. Readers are halved by lot, five times: the clicks
of one half are events of the log, the lists of the other half are ranked; each of these keeps their own history.

* random; the order in which the list was shown
* the engine: likeness to the history alone (``cos_content_user``), the clicks of the others alone (``trend_day``), and
  the preset's placement ``article`` as shipped; all asked a day after the newest article

Intervals: 95 %, bootstrap over readers.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from endcap.config import Config, load_config
from endcap.engine import Engine
from endcap.evaluation.folder import read_items
from endcap.models.linear import DEFAULT_TERMS
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import Event, Interaction, ItemChange, Query

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ENDCAP_DATA", ROOT.parent / "shared" / "data")) / "nemig_en"
MINUTE_MS = 60_000
DRAWS = 2_000
Scores = NDArray[np.float64]
MEASURES = ("auc", "mrr", "ndcg_5")


def measures(scores: Scores, clicked: NDArray[np.bool_]) -> tuple[float, float, float]:
    """AUC, MRR (mean over the clicked), nDCG@5 of one list; scores are distinct."""
    order = np.argsort(-scores)
    hit = clicked[order]
    place = np.flatnonzero(hit) + 1
    n, others = place.shape[0], hit.shape[0] - place.shape[0]
    below = sum(others - (p - 1 - k) for k, p in enumerate(place))
    gain = 1.0 / np.log2(np.arange(2, 7))
    dcg = float((gain[: hit[:5].shape[0]] * hit[:5]).sum())
    return below / (n * others), float((1.0 / place).mean()), dcg / float(gain[: min(n, 5)].sum())


def config() -> Config:
    """The preset, and single signals beside it."""
    found = load_config(preset="news", environ={})[0]
    article = found.placements["article"]
    nothing = dict.fromkeys(DEFAULT_TERMS, 0.0)
    singles = {
        name: msgspec.structs.replace(article, weights={**nothing, column: 1.0})
        for name, column in (("likeness", "cos_content_user"), ("popular", "trend_day"))
    }
    return msgspec.structs.replace(found, placements={"article": article, **singles})


def events_of(impressions: pl.DataFrame, teach: set[str], now: int) -> list[Event]:
    """Histories of all readers, clicks of those who teach; a minute apart, the last one just before ``now``."""
    read: dict[str, list[str]] = {}
    for user, history, candidates, clicked in impressions.select(
        "user_id", "history", "candidates", "clicked"
    ).iter_rows():
        own = read.setdefault(user, list(history or ()))
        if user in teach:
            own += [item for item, click in zip(candidates, clicked, strict=True) if click]
    rows = sorted((len(items) - k, user, item) for user, items in read.items() for k, item in enumerate(items))[::-1]
    return [
        Interaction(
            type="click", event_id=f"e{number}", ts=now - MINUTE_MS * back, received_at=now - MINUTE_MS * back,
            user_id=user, item_id=item,
        )
        for number, (back, user, item) in enumerate(rows)
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=5)
    asked = options.parse_args()
    impressions = pl.read_parquet(DATA / "impressions.parquet")
    dates = dict(pl.read_parquet(DATA / "items.parquet").select("item_id", "published_at").iter_rows())
    records = [
        msgspec.structs.replace(item, published_at=dates[name] and dates[name] * 1000)
        for name, item in read_items(DATA / "items.parquet").items()
    ]
    now = max(record.published_at or 0 for record in records) + 86_400_000
    catalogue: list[Event] = [
        ItemChange(event_id=f"i:{item.item_id}", item_id=item.item_id, ts=now, received_at=now, item=item)
        for item in records
    ]
    usable = [
        (user, candidates, np.array(clicked, bool))
        for user, candidates, clicked in impressions.select("user_id", "candidates", "clicked").iter_rows()
        if 0 < sum(clicked) < len(clicked)
    ]
    readers = sorted({user for user, _, _ in usable})
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = defaultdict(lambda: defaultdict(list))
    for seed in range(asked.seeds):
        rng = np.random.default_rng(seed)
        teach = {user for user, drawn in zip(readers, rng.random(len(readers)) < 0.5, strict=True) if drawn}
        engine = Engine(MemoryLog(), config(), Runtime(VirtualClock(now)))
        for part in (catalogue, events_of(impressions, teach, now)):
            for begin in range(0, len(part), 20_000):
                assert not engine.replay(part[begin : begin + 20_000])
        for user, candidates, clicked in usable:
            if user in teach:
                continue
            lots = rng.random(len(candidates))
            found["random"][user].append(measures(lots, clicked))
            found["order shown"][user].append(measures(-np.arange(len(candidates), dtype=float), clicked))
            for name in ("article", "likeness", "popular"):
                told = engine.scores(Query(user_id=user, placement=name), candidates)
                scores = np.array([told[item] for item in candidates], float)
                found[f"engine: {name}"][user].append(measures(scores + 1e-9 * lots, clicked))
    rng = np.random.default_rng(7)
    report: dict[str, Any] = {"lists": len(usable), "readers": len(readers), "halvings": asked.seeds, "models": {}}
    for name, by_user in found.items():
        sums = np.array([np.sum(values, axis=0) for values in by_user.values()])
        counts = np.array([len(values) for values in by_user.values()])
        drawn = rng.integers(0, counts.shape[0], (DRAWS, counts.shape[0]))
        means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)[:, None]
        report["models"][name] = {
            measure: {
                "mean": round(float(sums[:, k].sum() / counts.sum()), 4),
                "interval": [round(float(q), 4) for q in np.quantile(means[:, k], (0.025, 0.975))],
            }
            for k, measure in enumerate(MEASURES)
        }
    print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())


if __name__ == "__main__":
    main()
