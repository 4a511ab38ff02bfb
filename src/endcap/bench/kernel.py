"""``endcap bench kernel``: one request in process, without HTTP, and how its cost grows with the catalogue.

The same number of events is folded into catalogues of different sizes; queries rotate over the engines so that other
people's work on the machine hits all of them alike. Each query asks for another shopper, so caches are cold as in life.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any, cast

import numpy as np

from endcap.bench.kernel_data import session_index, session_queries
from endcap.bench.preload import fill, traffic
from endcap.bench.spread import Figures, Options, percentile, spread
from endcap.bench.timed import Timed
from endcap.candidates import Candidates
from endcap.config import Config
from endcap.engine import Engine
from endcap.protocols import Ranker
from endcap.recommend import Recommender
from endcap.runtime import Runtime
from endcap.slate.reasons import Reasons
from endcap.stores.memory import MemoryLog
from endcap.types import Query

N = 24
PARTS = ("interests", "rows", "composer", "guard")
KNN_SESSIONS, KNN_ITEMS, KNN_TOP = 1_000_000, 500_000, 21
ROUNDS = 5


def engine_of(n_items: int, n_events: int, n_users: int) -> Engine:
    """An engine without a disk that has folded synthetic traffic."""
    runtime = Runtime()
    engine = Engine(MemoryLog(), Config(), runtime)
    fill(engine.state, traffic(n_events, n_items, n_users, runtime.now()), n_items, n_users)
    return engine


def timed_queries(engine: Engine, users: list[str]) -> list[float]:
    """Microseconds of each request for a home page of 24."""
    costs = []
    for user in users:
        query = Query(user_id=user, placement="home", n=N)
        began = perf_counter()
        engine.recommend(query)
        costs.append((perf_counter() - began) * 1e6)
    return costs


def stage_costs(engine: Engine, users: list[str]) -> dict[str, float]:
    """Median microseconds per request of each source and of the steps that have a part of their own."""
    recommender = Recommender(engine.state, engine.config)
    parts = {name: Timed(getattr(recommender, name)) for name in PARTS}
    for name, part in parts.items():
        setattr(recommender, name, part)
    scoring = recommender.scoring
    parts |= {"ranker": Timed(scoring.ranker), "reasons": Timed(scoring.reasons)}
    recommender.scoring = replace(
        scoring, ranker=cast(Ranker, parts["ranker"]), reasons=cast(Reasons, parts["reasons"])
    )
    sources = {name: Timed(source) for name, source in recommender.sources.by_name.items()}
    recommender.sources.by_name.update(sources)
    now = engine.runtime.now()
    timed = {**parts, **{f"source {name}": source for name, source in sources.items()}}
    laps: dict[str, list[float]] = {name: [] for name in timed}
    for user in users:
        recommender.recommend(Query(user_id=user, placement="home", n=N), now, "bench")
        for name, part in timed.items():
            laps[name].append(part.lap() * 1e6)
    return {name: round(percentile(costs, 50), 1) for name, costs in laps.items() if any(costs)}


def session_knn_costs(quick: bool) -> list[float]:
    """Microseconds of each session-kNN query at 1 M sessions and 500 k items (m=500, k=100)."""
    index = session_index(KNN_SESSIONS, KNN_ITEMS)
    candidates = Candidates((index.name,))
    costs = []
    for interest in session_queries(700 if quick else 3_200, KNN_ITEMS):
        candidates.begin(KNN_ITEMS)
        began = perf_counter()
        index.retrieve(interest, candidates, 0, KNN_TOP)
        costs.append((perf_counter() - began) * 1e6)
    return costs[200:]


def measure(options: Options) -> Figures:
    """Percentiles per catalogue size, the growth from 10 k to 1 M items, and the session-kNN kernel alone."""
    n_events = 1_000_000 if options.quick else 5_300_000
    n_users = n_events // 12
    sizes = sorted({10_000, options.items, 1_000_000} | ({10_000_000} if options.huge else set()))
    engines: dict[int, Engine] = {}
    for size in sizes:
        began = perf_counter()
        engines[size] = engine_of(size, n_events, n_users)
        options.say(f"  {size:,} items: {n_events:,} events folded in {perf_counter() - began:.1f} s")

    chance = np.random.default_rng(3)
    per_round = 300 if options.quick else 2_000
    costs: dict[int, list[float]] = {size: [] for size in sizes}
    medians: dict[int, list[float]] = {size: [] for size in sizes}
    for size in sizes:
        timed_queries(engines[size], [f"u{k}" for k in chance.integers(0, n_users, 100)])
    for _ in range(ROUNDS):
        for size in sizes:
            got = timed_queries(engines[size], [f"u{k}" for k in chance.integers(0, n_users, per_round)])
            costs[size] += got
            medians[size].append(percentile(got, 50))
    for size in sizes:
        options.say(
            f"  recommend at {size:,} items: {spread(medians[size])} us p50 over rounds, "
            f"p99 {percentile(costs[size], 99):,.0f} us"
        )
    stages = stage_costs(engines[options.items], [f"u{k}" for k in chance.integers(0, n_users, per_round)])
    options.say("  microseconds per request: " + ", ".join(f"{name} {cost}" for name, cost in stages.items()))
    knn = session_knn_costs(options.quick)
    options.say(f"  session-kNN at 1 M sessions, 500 k items: {spread(knn)} us per query")

    def p50(size: int) -> float:
        return percentile(costs[size], 50)

    values: dict[str, Any] = {
        "stages_us": stages,
        "recommend_p50_us": p50(options.items),
        "recommend_p99_us": percentile(costs[options.items], 99),
        "recommend_1m_p50_us": p50(1_000_000),
        "recommend_1m_p99_us": percentile(costs[1_000_000], 99),
        "session_knn_p50_us": percentile(knn, 50),
        "session_knn_p99_us": percentile(knn, 99),
        "growth_10k_to_1m": p50(1_000_000) / p50(10_000),
    }
    if options.huge:
        values["recommend_10m_p50_us"] = p50(10_000_000)
        values["growth_10k_to_10m"] = p50(10_000_000) / p50(10_000)
    bars = {
        "recommend_p50_us": ("max", 200.0),
        "recommend_1m_p50_us": ("max", 300.0),
        "session_knn_p50_us": ("max", 40.0),
        "growth_10k_to_1m": ("max", 2.0),
    }
    return Figures("kernel", values, bars)
