"""Data for ``endcap bench kernel``: a session-kNN index at full size, and queries that look like its sessions.

The traffic is that of ``synthetic`` (Zipf items, topic-local sessions of mean 5.3 events), numbered by session as the
cleaner would number it, and folded by the index's own ``fold``. At the reference size (1 M sessions, 500 k items, 5.3 M
events) it takes some ten seconds and half a gigabyte.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from time import perf_counter

import numpy as np

from endcap.batches import EventBatch
from endcap.bench.synthetic import MEAN_SESSION, TOPIC_SHARE, item_of_rank, n_topics, part, zipf
from endcap.candidates import Candidates
from endcap.config import SessionKnnConfig
from endcap.interest.interest import empty_interest
from endcap.models.session_knn import LENGTH, SessionKnn
from endcap.types import ACTION_CODE, I4, Interest

CHUNK = 100_000
PAUSE_MS = 40_000
STARTS_PER_S = 1.0  # sessions that begin each second


def session_items(n_sessions: int, n_items: int, seed: int, order_seed: int) -> tuple[I4, I4]:
    """(session of each event, item of each event), events of a session together."""
    rng = np.random.default_rng(seed)
    topics = n_topics(n_items)
    lengths = rng.geometric(1.0 / MEAN_SESSION, n_sessions)
    session = np.repeat(np.arange(n_sessions, dtype=np.int32), lengths)
    n = session.shape[0]
    inside = zipf(rng, max(1, n_items // topics), n) * topics + zipf(rng, topics, n_sessions)[session]
    rank = np.where(rng.random(n) < TOPIC_SHARE, inside, zipf(rng, n_items, n))
    return session, item_of_rank(n_items, order_seed)[np.minimum(rank, n_items - 1)]


def session_events(n_sessions: int, n_items: int, seed: int) -> EventBatch:
    """Views in time order with session numbers in order of session start, as after cleaning."""
    session, item = session_items(n_sessions, n_items, seed, seed)
    n = session.shape[0]
    rng = np.random.default_rng(seed + 3)
    ms = (session / STARTS_PER_S * 1000 + rng.exponential(PAUSE_MS * MEAN_SESSION, n)).astype(np.int64)
    ms[np.flatnonzero(np.diff(session, prepend=-1))] = np.arange(n_sessions) / STARTS_PER_S * 1000
    order = np.argsort(ms, kind="stable")
    nothing = np.full(n, np.nan, np.float32)
    return EventBatch(
        offset=np.arange(1, n + 1, dtype=np.int64),
        ts=ms[order],
        user=session[order],
        item=item[order],
        action=np.full(n, ACTION_CODE["view"], np.int8),
        value=nothing,
        quantity=np.ones(n, np.float32),
        price=nothing,
        hour=np.zeros(n, np.int8),
        device=np.zeros(n, np.int8),
        region=np.full(n, -1, np.int16),
        session=session[order],
        flags=np.zeros(n, np.uint8),
    )


def session_index(
    n_sessions: int = 1_000_000,
    n_items: int = 500_000,
    seed: int = 7,
    config: SessionKnnConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SessionKnn:
    """An index of ``n_sessions`` sessions, folded in chunks; ``progress(done, total)`` counts events."""
    batch = session_events(n_sessions, n_items, seed)
    index = SessionKnn(config or SessionKnnConfig())
    index.grow(0, n_items)
    for start in range(0, len(batch), CHUNK):
        index.fold(part(batch, start, start + CHUNK))
        if progress:
            progress(min(start + CHUNK, len(batch)), len(batch))
    return index


def session_queries(n_queries: int, n_items: int, seed: int = 7) -> list[Interest]:
    """Running sessions of fresh shoppers on the same catalogue: at most 9 distinct items, newest first."""
    session, item = session_items(n_queries, n_items, seed + 1000, seed)
    queries = []
    bounds = np.searchsorted(session, np.arange(n_queries + 1))
    for begin, end in pairwise(bounds):
        seeds = list(dict.fromkeys(item[begin:end][::-1].tolist()))[:LENGTH]
        query = empty_interest()
        query.n_seeds = query.n_session = query.n_events = len(seeds)
        query.seeds[: len(seeds)] = seeds
        query.weight[: len(seeds)] = np.linspace(1.0, 0.3, len(seeds))
        queries.append(query)
    return queries


def query_costs(
    n_queries: int = 3_000, n_sessions: int = 1_000_000, n_items: int = 500_000, top: int = 21
) -> list[float]:
    """Microseconds of each session-kNN query, Python call included, every query a different one."""
    index = session_index(n_sessions, n_items)
    queries = session_queries(n_queries, n_items)
    into = Candidates((index.name,))
    costs = []
    for query in queries[:50] + queries:
        into.begin(n_items)
        began = perf_counter()
        index.retrieve(query, into, 0, top)
        costs.append((perf_counter() - began) * 1e6)
    return costs[50:]
