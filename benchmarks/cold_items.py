"""Cold items: are new items found by those who want them, before and while the first events about them arrive? As JSON.

    python benchmarks/cold_items.py                           all sets
    python benchmarks/cold_items.py online_retail             one (online_retail, nemig_en, amazon_beauty)
    python benchmarks/cold_items.py --limit 500 --share 0.2   fewer queries, more items made new

Protocol: a tenth of the items that are wanted in the test window (the last 30 % of the time; of amazon_beauty, which
grew, the last tenth of the events) becomes new: what happened to them before is dropped, and all of them enter the
catalogue when the window begins. The next event of a shopper is to
be predicted right before it, as in ``endcap evaluate``, wherever it is one of the first ten events of a new item. Two
questions are asked:

* the shelf: the new items alone, in which order? A shop's page of new arrivals. HR@20
* the shop: the whole catalogue, HR@20 of the slate. New items must win places from what everybody buys

Models, all from one replay: ``hybrid`` (the slate's ranker, trained on the warm-up), ``content`` (likeness of words to
what the shopper did), ``factors`` (projected vectors, models/cold.py), ``popular`` (of the new items, those with the
most events so far, by lot among equals). ``no content`` is the hybrid of a second replay in which the catalogue holds
nothing but ids and prices, its ranker trained in the same way. ``proposed`` is no model: it says how often the answer
was among the candidates of the hybrid, which no order of them can exceed.

nemig_en has no times: each reader's history comes before their clicks, readers in step, so that set says less.
Intervals: 95 %, bootstrap over shoppers. The data lie in the folder that ENDCAP_DATA names.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from time import process_time
from typing import Any

import msgspec
import numpy as np
import polars as pl
from msgspec import structs

from endcap.config import Config, PlacementConfig
from endcap.evaluation.bootstrap import Bootstrap, interval
from endcap.evaluation.dataset import Dataset, usual_action
from endcap.evaluation.folder import from_frame, load_folder, read_items
from endcap.evaluation.plan import Plan, running_count, sample, window
from endcap.evaluation.replay import DEPTH, HYBRID, PLACEMENT, Replay
from endcap.learning.trainer import RankerTrainer
from endcap.learning.vectors import ALWAYS, refit_vectors
from endcap.models.linear import DEFAULT_TERMS
from endcap.types import F8, I8, Event, Item, ItemChange

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ENDCAP_DATA", ROOT.parent / "shared" / "data"))
SETS = ("online_retail", "nemig_en", "amazon_beauty")
GROWING = ("amazon_beauty",)  # most of its time holds few events: here the window is the last tenth of the events
FIRST_EVENTS = 10
BUCKETS = {"0": (0, 1), "1": (1, 2), "2": (2, 3), "3-5": (3, 6), "6-9": (6, 10), "all": (0, 10)}
SHELF = ("hybrid", "content", "factors", "popular")


@dataclass(frozen=True, slots=True)
class Arrivals(Dataset):
    """A data set some of whose items enter the catalogue together, when the window begins."""

    begin: int = 0
    new: frozenset[int] = frozenset()

    def first_events(self) -> I8:
        """No event lists a new item."""
        first = Dataset.first_events(self)
        first[list(self.new)] = -1
        return first

    def events(self, positions: Any, first: I8) -> Any:
        """As everywhere, and all new items right before the window's first event."""
        for k in positions:
            if k == self.begin:
                yield from (self._arrival(item, int(self.ts[k])) for item in sorted(self.new))
            yield from Dataset.events(self, [k], first)

    def _arrival(self, item: int, ts: int) -> Event:
        record, name = self.items[item], self.item_names[item]
        return ItemChange(event_id=f"{self.name}:item:{item}", item_id=name, ts=ts, received_at=ts, item=record)


def loaded(name: str) -> Dataset:
    """A set as it is evaluated."""
    if name != "nemig_en":
        return load_folder(DATA / name)
    read: dict[str, list[str]] = {}
    table = pl.read_parquet(DATA / name / "impressions.parquet").sort("impression_id")
    for user, history, candidates, clicked in table.select("user_id", "history", "candidates", "clicked").iter_rows():
        own = read.setdefault(user, list(history or ()))
        own += [item for item, click in zip(candidates, clicked, strict=True) if click]
    rows = sorted((len(items) - k, user, item) for user, items in read.items() for k, item in enumerate(items))[::-1]
    start = 1_600_000_000
    frame = pl.DataFrame(
        {"user_id": [user for _, user, _ in rows], "item_id": [item for *_, item in rows],
         "event_type": ["click"] * len(rows), "timestamp": [start + 60 * k for k in range(len(rows))]},
    )  # fmt: skip
    return from_frame(name, frame, read_items(DATA / name / "items.parquet"))


def with_arrivals(data: Dataset, share: float, bare: bool, seed: int) -> Arrivals:
    """The set with a part of the window's items made new; ``bare``: the catalogue holds nothing but ids."""
    begin, _ = window(data, "temporal" if data.name in GROWING else "prequential", tuning=False)
    wanted = np.unique(data.item[begin:])
    wanted = wanted[[int(item) in data.items for item in wanted]]
    rng = np.random.default_rng(seed)
    new = rng.choice(wanted, round(share * wanted.shape[0]), replace=False)
    keep = ~(np.isin(data.item, new) & (np.arange(len(data)) < begin))
    given = {one.name: getattr(data, one.name) for one in fields(Dataset)}
    columns = ("ts", "user", "item", "action", "session", "price", "quantity", "value", "split", "region")
    given |= {name: given[name][keep] for name in columns}
    if bare:
        given["items"] = {code: Item(item_id=record.item_id) for code, record in data.items.items()}
    return Arrivals(**given, begin=int(keep[:begin].sum()), new=frozenset(new.tolist()))


def planned(data: Arrivals, limit: int) -> tuple[Plan, I8]:
    """A query before each of the first events of a new item, and how many the item had had before."""
    new = np.isin(data.item, list(data.new)) & np.isin(data.action, usual_action(data))
    due = np.flatnonzero(new)
    before = running_count(data.item[due].astype(np.int64))
    due, before = due[before < FIRST_EVENTS], before[before < FIRST_EVENTS]
    n = due.shape[0]
    plan = sample(Plan(
        "prequential", "next", np.arange(len(data), dtype=np.int64), due, data.ts[due], due,
        np.arange(1, n + 1), data.item[due], data.begin,
    ), limit, 0)  # fmt: skip
    return plan, before[np.searchsorted(due, plan.event)]


class ColdReplay(Replay):
    """A replay that also asks for the order of the new items alone."""

    def __init__(self, data: Arrivals, plan: Plan, config: Config, **more: Any) -> None:
        super().__init__(data, plan, config, **more)
        self.ranks = {name: np.zeros(len(plan), np.int32) for name in SHELF}
        self._new = np.array(sorted(data.new))
        self._lots = np.random.default_rng(3)
        self._counts = np.zeros(len(data.item_names), np.int64)
        self._counted = data.begin

    def _ask(self, q: int, t_ms: int) -> None:
        super()._ask(q, t_ms)
        data, engine = self._data, self._main.engine
        at, event = int(self._plan.at[q]), int(self._plan.event[q])
        np.add.at(self._counts, data.item[self._counted : at], 1)
        self._counted = at
        names = [data.item_names[item] for item in self._new.tolist()]
        query = self._main.query(event, t_ms, DEPTH, PLACEMENT)
        hybrid = engine.recommender.scores(query, t_ms, names)
        content = engine.recommender.scores(structs.replace(query, placement="content"), t_ms, names)
        interest = engine.recommender.understand(query, t_ms).interest
        source = engine.recommender.sources.factors
        factors = np.zeros(len(names))
        if source.factors is not None and interest.n_seeds:
            rows = source.vectors.known(np.array([engine.state.items.get(name) for name in names], np.int32))
            factors = np.where(
                rows >= 0, source.vectors.scale[rows] * (source.vectors.unit[rows] @ source.fold_in(interest)), 0
            )
        scores: dict[str, Any] = {
            "hybrid": np.array([hybrid[name] for name in names]),
            "content": np.array([content[name] for name in names]),
            "factors": factors,
            "popular": self._counts[self._new].astype(float),
        }  # fmt: skip
        right = int(np.searchsorted(self._new, self._plan.answers(q)[0]))
        lot = self._lots.random(len(names))
        for name, values in scores.items():
            above = (values > values[right]) | ((values == values[right]) & (lot > lot[right]))
            self.ranks[name][q] = 1 + int(above.sum())


def config() -> Config:
    """The defaults, and a placement that knows nothing but likeness of words."""
    alone = {**dict.fromkeys(DEFAULT_TERMS, 0.0), "cos_content_user": 1.0}
    content = PlacementConfig(sources=["content"], ranker="linear", weights=alone)
    given = Config()
    return structs.replace(given, placements={**given.placements, "content": content})


def measured(name: str, limit: int, share: float, examples: int, bare: bool) -> tuple[Plan, I8, dict[str, F8]]:
    """The plan, the events that each answer had had, and hits [q] by model."""
    data = with_arrivals(loaded(name), share, bare, seed=0)
    plan, before = planned(data, limit)
    kinds = ("factors",) if bare else ALWAYS
    replay = ColdReplay(
        data, plan, config(), trainer=RankerTrainer(), models=["content", "factors"],
        refit=lambda engine: refit_vectors(engine, kinds), refreshes=0, n_examples=examples,
    )  # fmt: skip
    run = replay.run()
    hits = {f"shelf: {model}": (ranks <= DEPTH).astype(float) for model, ranks in replay.ranks.items()}
    for model in (HYBRID, "content", "factors"):
        hits[f"shop: {model}"] = (run.lists[model] == plan.relevant[:, None]).any(axis=1).astype(float)
    hits["shop: proposed"] = (run.n_reachable > 0).astype(float)
    return plan, before, hits


def report_of(name: str, limit: int, share: float, examples: int) -> dict[str, Any]:
    """All figures of one set."""
    began = process_time()
    data = with_arrivals(loaded(name), share, bare=False, seed=0)
    plan, before, hits = measured(name, limit, share, examples, bare=False)
    _, _, without = measured(name, limit, share, examples, bare=True)
    hits |= {"shelf: no content": without["shelf: hybrid"], "shop: no content": without["shop: hybrid"]}
    chance = DEPTH / len(data.new)
    out: dict[str, Any] = {
        "new_items": len(data.new), "items": len(data.item_names), "queries": len(plan), "chance_shelf": chance,
        "curve": {},
    }  # fmt: skip
    user, columns = data.user[plan.event], np.stack(list(hits.values()), axis=1)
    for bucket, (low, high) in BUCKETS.items():
        mine = (before >= low) & (before < high)
        if not mine.any():
            continue
        draws = Bootstrap(user[mine]).means(columns[mine])
        told: dict[str, Any] = {"queries": int(mine.sum())}
        for m, model in enumerate(hits):
            found = interval(columns[mine, m], draws[:, m])
            told[model] = [round(one, 4) for one in (found.mean, found.low, found.high)]
        told["times"] = ratios(list(hits), columns[mine], draws)
        out["curve"][bucket] = told
    out["cpu_seconds"] = round(process_time() - began, 1)
    return out


def ratios(names: list[str], hits: F8, draws: F8) -> dict[str, list[float | None]]:
    """How many times better than the two to be beaten, with intervals; None for a division by nothing."""
    found: dict[str, list[float | None]] = {}
    pairs = [(f"shelf: {one}", f"shelf: {other}") for one in SHELF[:3] for other in ("popular", "no content")]
    for one, other in [*pairs, ("shop: hybrid", "shop: no content"), ("shop: hybrid", "shelf: popular")]:
        a, b = names.index(one), names.index(other)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = np.nan_to_num(draws[:, a] / draws[:, b], nan=np.inf, posinf=np.inf)
            every = (hits[:, a].mean() / hits[:, b].mean(), *np.quantile(inside, (0.025, 0.975), method="nearest"))
        found[f"{one} / {other}"] = [round(float(x), 2) if np.isfinite(x) else None for x in every]
    return found


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all without")
    options.add_argument("--limit", type=int, default=1_500, help="queries of each set")
    options.add_argument("--share", type=float, default=0.1, help="of the window's items that become new")
    options.add_argument("--examples", type=int, default=3_000, help="queries that the ranker is trained on")
    asked = options.parse_args()
    for name in asked.sets or SETS:
        if not (DATA / name).exists():
            print(f"{name}: skipped, no {DATA / name}; name the folder with ENDCAP_DATA", file=sys.stderr)
            continue
        told = report_of(name, asked.limit, asked.share, asked.examples)
        print(msgspec.json.encode({"set": name, **told}).decode(), flush=True)


if __name__ == "__main__":
    main()
