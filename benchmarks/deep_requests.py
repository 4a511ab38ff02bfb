"""What the deep sources cost a request, and an event, in a whole engine.

    taskset -c 1 python benchmarks/deep_requests.py --items 100000 --dim 64

All five networks serve, with random weights: what they cost does not depend on these. Items' vectors lie in
clusters, as trained ones do. Each shopper views a few items; after each view the page of that item is asked for, and
then the home page and the item's page again. What is told, in microseconds of the processor, p50 and p99: what the five
sources take together to propose in each of these requests, whole requests, and the event itself (fold, vectors,
searches made ahead).

Recall@50 of the same search against all products, and how long one takes, are told for each number in ``--search``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import thread_time_ns
from typing import Any

import numpy as np
import torch
from msgspec import structs

from endcap.config import DEEP, Config
from endcap.engine import Engine
from endcap.learning.networks import gru4rec, nextitnet, sasrec
from endcap.models.network import Network
from endcap.models.two_tower import HASHED, HIDDEN, TEXT_DIM, WEEKDAYS
from endcap.models.vectors import ItemVectors
from endcap.models.youtube import MOMENT, NUMBERS
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import DEVICES, F4, Context, Interaction, Item, Query

START_MS = 1_790_000_000_000
SHOPPERS = 300
VIEWS = 4  # of a shopper in one visit
CLUSTERS = 500
MOBILE = Context(device="mobile")


def vectors(n: int, dim: int, rng: np.random.Generator) -> F4:
    """Clustered ones, of lengths that differ."""
    centres = rng.normal(size=(CLUSTERS, dim))
    found = centres[rng.integers(0, CLUSTERS, n)] + rng.normal(size=(n, dim))
    found *= rng.lognormal(0.0, 0.3, (n, 1)) / np.sqrt(dim)
    return found.astype(np.float32)


def networks(n: int, dim: int, rng: np.random.Generator) -> list[Network]:
    """One of each kind."""
    ids = [str(k) for k in range(n)]

    def drawn(*shape: int) -> F4:
        return (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)

    table = vectors(n, dim, rng)
    towers = {
        "learned": table, "inputs": table, "learned_inputs": table, "text": drawn(TEXT_DIM, dim),
        "table": drawn(HASHED, dim), "w1": drawn(dim, HIDDEN * dim), "b1": drawn(HIDDEN * dim),
        "w2": drawn(HIDDEN * dim, dim), "hour": drawn(24, dim), "weekday": drawn(WEEKDAYS, dim),
        "device": drawn(len(DEVICES), dim), "region": drawn(1, dim), "placement": drawn(1, dim),
    }  # fmt: skip
    wide = dim + MOMENT + NUMBERS
    stages = {
        "inputs": table, "hour": drawn(24, MOMENT), "weekday": drawn(WEEKDAYS, MOMENT),
        "device": drawn(len(DEVICES), MOMENT), "w1": drawn(wide, 128), "b1": drawn(128), "w2": drawn(128, 128),
        "b2": drawn(128), "w3": drawn(128, dim), "b3": drawn(dim),
    }  # fmt: skip
    made = [Network("two_tower", ids, table, {}, towers, {}), Network("youtube", ids, table, {}, stages, {})]
    for room, net in (
        (gru4rec, gru4rec.Gru4Rec(n, dim)), (nextitnet, nextitnet.NextItNet(n, dim)), (sasrec, sasrec.SasRec(n, dim))
    ):  # fmt: skip
        made.append(room.network_of(net.eval(), ids, {}))  # type: ignore[attr-defined]
    return made


def told(name: str, took_us: list[float]) -> str:
    """One line."""
    p50, p99 = np.percentile(np.array(took_us), [50, 99])
    return f"{name}: p50 {p50:.0f} us, p99 {p99:.0f} us"


def served(n: int, dim: int) -> None:
    """Pages of a shop of ``n`` items."""
    rng, clock = np.random.default_rng(0), VirtualClock(START_MS)
    pages = {
        "the page of what was just viewed": "product",
        "the home page then": "home",
        "the first page again": "product",
    }
    own = Config().placements
    deep = {name: structs.replace(own[name], sources=[*own[name].sources, *DEEP]) for name in set(pages.values())}
    config = Config(placements={**own, **deep})
    events: dict[bool, list[float]] = {False: [], True: []}
    asked: dict[str, list[float]] = {name: [] for name in pages}
    whole: dict[str, list[float]] = {name: [] for name in pages}
    spent = [0]
    with Engine(MemoryLog(), config, Runtime(clock)) as engine:
        for begin in range(0, n, 5_000):
            engine.put_items([Item(item_id=str(k), categories=[[f"c{k % 50}"]]) for k in range(begin, begin + 5_000)])
        for serving in (False, True):
            if serving:
                for network in networks(n, dim, rng):
                    began = thread_time_ns()
                    engine.recommender.sources.use(network.model, network)
                    print(f"{network.model} starts to serve: {(thread_time_ns() - began) / 1e6:.0f} ms", flush=True)
                    source = engine.recommender.sources.networks[network.model]
                    source.retrieve = timed(source.retrieve, spent)  # type: ignore[method-assign]
            for k in range(SHOPPERS):
                who = f"s{serving}{k}"
                for view in range(VIEWS):
                    item = str(int(n * rng.random() ** 2))
                    clock.ts += 20_000
                    event = Interaction(
                        event_id=f"{who}-{view}", type="view", ts=clock.now(), anon_id=who, item_id=item, context=MOBILE
                    )
                    began = thread_time_ns()
                    engine.observe([event])
                    events[serving].append((thread_time_ns() - began) / 1e3)
                    clock.ts += 200
                    for name, placement in pages.items() if serving else ():
                        items = [item] if placement == "product" else []
                        query = Query(anon_id=who, placement=placement, items=items, context=MOBILE)
                        began, spent[0] = thread_time_ns(), 0
                        engine.recommend(query)
                        whole[name].append((thread_time_ns() - began) / 1e3)
                        asked[name].append(spent[0] / 1e3)
    print(told("an event, no deep model serves", events[False]))
    print(told("an event, all five serve", events[True]))
    for name in pages:
        print(told(f"all five, {name}", asked[name]))
        print(told(f"the whole request, {name}", whole[name]))


def timed(ask: Callable[..., None], spent: list[int]) -> Callable[..., None]:
    """The same, and adds the nanoseconds that it took."""

    def measured(*given: Any) -> None:
        began = thread_time_ns()
        ask(*given)
        spent[0] += thread_time_ns() - began

    return measured


def searched(n: int, dim: int) -> None:
    """Recall and time of one search among ``n`` vectors."""
    rng = np.random.default_rng(1)
    table, held = vectors(n, dim, rng), ItemVectors(dim)
    held.put(np.arange(n, dtype=np.int32), table)
    queries, hits, took = vectors(200, dim, rng), 0, []
    for x in queries:
        began = thread_time_ns()
        found, _ = held.nearest(x, 50, -1, -np.inf)
        took.append((thread_time_ns() - began) / 1e3)
        products = table @ x
        hits += int(np.isin(found, np.argpartition(-products, 50)[:50]).sum())
    print(told(f"a search among {n:,}: recall@50 {hits / (50 * len(queries)):.3f}", took), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--search", type=int, nargs="*", default=[100_000, 1_000_000])
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.items:
        served(args.items, args.dim)
    for n in args.search:
        searched(n, args.dim)


if __name__ == "__main__":
    main()
