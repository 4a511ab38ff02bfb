"""What all five deep models cost together in a running engine: the request after an event, the event, and the search.

    taskset -c 1 python benchmarks/deep_requests.py engine --items 100000
    taskset -c 1 python benchmarks/deep_requests.py recall --items 1000000 [--vectors FILE.npy]

``engine``: weights are random, for what a step costs does not depend on them; the log is a real file. Shoppers look at
items; each event is followed by a request: of 20, twelve are of the product page, which names the item, five of the
home page and three of the basket's, after up to 20 s, and one in 20 comes from another device than the event. Times of
the sources are those of their ``retrieve`` alone, and of the processor, so that other work counts less. A request is a
hit when a source did not have to search. The rate of events is taken without and with the models, one by one (each
waits for its acknowledgement) and in batches of 500.

``recall``: recall@50 of the search against a full product, and its time; without ``--vectors`` for vectors around
centres, one for 200 items, with lengths that differ.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from time import perf_counter, process_time, sleep, thread_time_ns

import msgspec
import numpy as np
import torch

from endcap.config import Config, SnapshotConfig, shop_placements
from endcap.engine import Engine
from endcap.learning.networks import gru4rec, nextitnet, sasrec
from endcap.models.network import MODELS, Network
from endcap.models.two_tower import DEVICES, HASHED, TEXT_DIM, WEEKDAYS
from endcap.models.vectors import ItemVectors
from endcap.models.youtube import MOMENT, NUMBERS
from endcap.runtime import Runtime, VirtualClock
from endcap.types import F4, Context, Interaction, Query

START_MS = 1_760_000_000_000
SHOPPERS = 500
PAUSE_MS = 60_000  # between two events of a shopper, on average
PAGES = ["product"] * 12 + ["home"] * 5 + ["cart"] * 3


def percentiles(took_ns: list[int]) -> str:
    """p50 and p99 in microseconds."""
    p50, p99 = np.percentile(np.array(took_ns) / 1000.0, [50, 99])
    return f"p50 {p50:.0f} us, p99 {p99:.0f} us"


def networks_of(ids: list[str], dim: int) -> dict[str, Network]:
    """Untrained networks over these items."""
    n, rng = len(ids), np.random.default_rng(0)

    def some(*shape: int) -> F4:
        return (rng.standard_normal(shape, dtype=np.float32) * np.float32(dim**-0.5)).astype(np.float32)

    bags = {"inputs": some(n, dim), "learned": some(n, dim), "learned_inputs": some(n, dim), "hour": some(24, dim)}
    bags |= {"text": some(TEXT_DIM, dim), "table": some(HASHED, dim), "weekday": some(WEEKDAYS, dim)}
    bags |= {"w1": some(dim, 2 * dim), "b1": some(2 * dim), "w2": some(2 * dim, dim), "device": some(len(DEVICES), dim)}
    bags |= {"region": some(2, dim), "placement": some(4, dim)}
    names = {"regions": ["", "north"], "placements": ["", "product", "home", "cart"]}
    wide = dim + MOMENT + NUMBERS
    layers = {"inputs": some(n, dim), "hour": some(24, MOMENT), "weekday": some(WEEKDAYS, MOMENT)}
    layers |= {"device": some(len(DEVICES), MOMENT), "w1": some(wide, 4 * dim), "b1": some(4 * dim)}
    layers |= {"w2": some(4 * dim, 2 * dim), "b2": some(2 * dim), "w3": some(2 * dim, dim), "b3": some(dim)}
    return {
        "two_tower": Network("two_tower", ids, some(n, dim), {}, bags, dict(names)),
        "youtube": Network("youtube", ids, some(n, dim), {}, layers, {}),
        "gru4rec": gru4rec.network_of(gru4rec.Gru4Rec(n, dim).eval(), ids, {}),
        "nextitnet": nextitnet.network_of(nextitnet.NextItNet(n, dim).eval(), ids, {}),
        "sasrec": sasrec.network_of(sasrec.SasRec(n, dim).eval(), ids, {}),
    }


class Stream:
    """Events of shoppers who look around, one after another on a virtual clock."""

    def __init__(self, n_items: int) -> None:
        self.n_items, self.n = n_items, 0
        self.rng = np.random.default_rng(1)

    def event(self, at_ms: int) -> Interaction:
        """The next one."""
        self.n += 1
        who = int(self.rng.integers(SHOPPERS))
        return Interaction(
            type="view" if self.rng.random() < 0.85 else "cart_add", event_id=f"e{self.n}", ts=at_ms,
            user_id=f"u{who}", item_id=f"p{int(self.rng.integers(self.n_items))}",
            context=Context(device=("desktop", "mobile")[who % 2], region="north"),
        )  # fmt: skip


class Timed:
    """Takes the time of the calls of one method."""

    def __init__(self, call: Callable[..., None]) -> None:
        self.call, self.took = call, list[int]()

    def __call__(self, *args: object) -> None:
        began = thread_time_ns()
        self.call(*args)
        self.took.append(thread_time_ns() - began)


def rates(engine: Engine, clock: VirtualClock, stream: Stream) -> str:
    """Events a second, one by one and in batches."""
    found = []
    for n, size in ((1_000, 1), (40, 500)):
        began, began_cpu = perf_counter(), process_time()
        for _ in range(n):
            clock.ts += PAUSE_MS * size // SHOPPERS
            engine.observe([stream.event(clock.ts) for _ in range(size)])
        took, took_cpu = perf_counter() - began, process_time() - began_cpu
        found.append(f"{n * size / took:,.0f} events/s in batches of {size}, {1e6 * took_cpu / n / size:.0f} us each")
    return "; ".join(found)


def settle(engine: Engine) -> None:
    """Wait until nothing is left to look ahead for."""
    sources = engine.recommender.sources
    while True:
        with engine._lock:
            if not sources._followed and not sources._ahead:
                return
        sleep(0.0002)


def engine_costs(n_items: int, dim: int, n_requests: int) -> None:
    """The figures of ``engine``."""
    torch.set_num_threads(1)
    clock = VirtualClock(START_MS)
    pages = shop_placements()
    pages["cart"] = msgspec.structs.replace(pages["cart"], sources=[*pages["cart"].sources, *MODELS])
    config = Config(snapshot=SnapshotConfig(every_events=10**9), placements=pages)
    with tempfile.TemporaryDirectory() as directory, Engine.open(directory, config, Runtime(clock, seed=1)) as engine:
        for begin in range(0, n_items, 5_000):
            items = range(begin, min(n_items, begin + 5_000))
            engine.observe(
                [Interaction(type="view", event_id=f"i{k}", ts=START_MS, user_id=f"o{k % 997}", item_id=f"p{k}")
                 for k in items]
            )  # fmt: skip
        stream = Stream(n_items)
        for _ in range(60):  # full windows
            clock.ts += PAUSE_MS
            engine.observe([stream.event(clock.ts) for _ in range(SHOPPERS)])
        print("without deep models:", rates(engine, clock, stream))
        for name, network in networks_of([f"p{k}" for k in range(n_items)], dim).items():
            began = perf_counter()
            engine.use_model(name, network)
            print(f"{name} taken into service in {perf_counter() - began:.2f} s")
        requests(engine, clock, stream, 20)  # compiles
        print("with all five:", rates(engine, clock, stream))
        requests(engine, clock, stream, n_requests)


def requests(engine: Engine, clock: VirtualClock, stream: Stream, n_requests: int) -> None:
    """What requests cost just after the event, and what the event costs afterwards."""
    sources = engine.recommender.sources.networks
    asked = {name: Timed(source.retrieve) for name, source in sources.items()}
    ahead = {name: Timed(source.look_ahead) for name, source in sources.items()}
    for name, source in sources.items():
        source.retrieve, source.look_ahead = asked[name], ahead[name]  # type: ignore[method-assign]
    hits, totals, whole, warm = dict.fromkeys(MODELS, 0), list[int](), list[int](), 200
    for k in range(n_requests + warm):
        clock.ts = clock.ts + 200
        event = stream.event(clock.ts)
        engine.observe([event])
        settle(engine)
        clock.ts = clock.ts + int(stream.rng.integers(20_000))
        page = PAGES[int(stream.rng.integers(len(PAGES)))]
        context = event.context
        if stream.rng.random() < 0.05:
            context = Context(device="tablet", region="north")
        query = Query(
            user_id=event.user_id, placement=page, n=20, context=context,
            items=[event.item_id or ""] if page == "product" else [],
        )  # fmt: skip
        before = {
            name: (len(source._answers), next(reversed(source._answers), b"")) for name, source in sources.items()
        }
        if k == warm:
            for timed in (*asked.values(), *ahead.values()):
                timed.took.clear()
        began = thread_time_ns()
        engine.recommend(query)
        took = thread_time_ns() - began
        if k >= warm:
            whole.append(took)
            totals.append(sum(timed.took[-1] for timed in asked.values()))
            for name, source in sources.items():
                hits[name] += before[name] == (len(source._answers), next(reversed(source._answers), b""))
    for name in MODELS:
        share = hits[name] / n_requests
        print(
            f"{name}: event {percentiles(ahead[name].took)}; request {percentiles(asked[name].took)}, hits {share:.3f}"
        )
    print(f"one event, vectors and searches of all five: {percentiles(per_event(ahead, n_requests))}")
    print(f"deep sources of a request together: {percentiles(totals)}; the whole request: {percentiles(whole)}")


def per_event(ahead: dict[str, Timed], n: int) -> list[int]:
    """Times of all models, added up by event."""
    return [sum(timed.took[k] for timed in ahead.values() if k < len(timed.took)) for k in range(n)]


def around_centres(n: int, dim: int) -> F4:
    """Vectors [n, dim] around centres, of unequal lengths."""
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((max(1, n // 200), dim), dtype=np.float32)
    found: F4 = centres[rng.integers(0, centres.shape[0], n)]
    found += np.float32(0.5) * rng.standard_normal(found.shape, dtype=np.float32)
    found *= rng.lognormal(0.0, 0.3, n).astype(np.float32)[:, None]
    return found


def recall(table: F4, n_queries: int) -> None:
    """The figures of ``recall``."""
    n, dim = table.shape
    rng, vectors = np.random.default_rng(1), ItemVectors(dim)
    began = perf_counter()
    vectors.put(np.arange(n, dtype=np.int32), table)
    built, kept, took = perf_counter() - began, 0, list[int]()
    for picked in rng.integers(0, n, (n_queries, 4)):
        x = table[picked].mean(axis=0) + np.float32(0.05 * table.std()) * rng.standard_normal(dim, dtype=np.float32)
        truth = np.argpartition(-(table @ x), 50)[:50]
        began_ns = thread_time_ns()
        items, _ = vectors.nearest(x, 50, -1, -np.inf)
        took.append(thread_time_ns() - began_ns)
        kept += np.intersect1d(truth, items).shape[0]
    print(f"{n:,} items x {dim}: recall@50 {kept / n_queries / 50:.4f}, {percentiles(took)}, put in {built:.1f} s")


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("engine", "recall"))
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--vectors")
    args = parser.parse_args()
    if args.what == "engine":
        engine_costs(args.items, args.dim, args.requests)
    else:
        recall(np.load(args.vectors)[: args.items] if args.vectors else around_centres(args.items, args.dim), 100)


if __name__ == "__main__":
    main()
