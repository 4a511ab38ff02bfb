"""Synthetic shop traffic for benchmarks and tests of scale: reproducible, vectorised, over a million events a second.

Shape, after public click logs: item popularity is Zipf(1); a session has a geometric length of mean 5.3; 70 % of a
session's events stay inside its topic (Zipf inside the topic as well), the rest go anywhere; a visitor pauses an
exponential 40 s on average between two events; half of the visits are by regulars (the frequency of the k-th most
active falls with the square root of k), half by anyone. Sessions interleave in time, so one shopper's events are
scattered over the log, as they are in life.

Item ids are a random permutation of popularity (as after a catalogue import), so nothing profits from hot items lying
together in memory. Prices belong to items. What it does not model: trends, seasons, taste. Do not judge quality on it.
"""

from __future__ import annotations

import numpy as np

from endcap.batches import EventBatch
from endcap.types import ACTION_CODE, F4, I4

MEAN_SESSION = 5.3
TOPIC_SHARE = 0.7
TOPIC_SIZE = 200  # items per topic
TOPICS_PER_TOP = 10  # leaf categories under one top category
MEAN_PAUSE_S = 40.0
START_MS = 1_700_000_000_000
N_REGIONS = 20
SEED = 7  # of the traffic that the bench parts share

# What people do, and how often.
ACTION_MIX = {
    "view": 0.78,
    "click": 0.08,
    "cart_add": 0.08,
    "purchase": 0.04,
    "wishlist_add": 0.01,
    "cart_remove": 0.01,
}


def zipf(rng: np.random.Generator, n: int, size: int) -> I4:
    """``size`` ranks in 0..n-1 with P(rank) close to 1/(rank+1)."""
    return np.minimum((n + 1.0) ** rng.random(size), n).astype(np.int32) - 1


def n_topics(n_items: int) -> int:
    """Leaf categories of a catalogue of this size."""
    return max(1, n_items // TOPIC_SIZE)


def item_of_rank(n_items: int, seed: int) -> I4:
    """The dense item id of each popularity rank."""
    return np.random.default_rng(seed + 1).permutation(n_items).astype(np.int32)


def categories(n_items: int, seed: int) -> tuple[I4, I4]:
    """(leaf category, top category) of every item, dense ids; the leaf is the topic that sessions stay in."""
    leaf = np.empty(n_items, np.int32)
    leaf[item_of_rank(n_items, seed)] = np.arange(n_items) % n_topics(n_items)
    return leaf, (leaf // TOPICS_PER_TOP).astype(np.int32)


def prices(n_items: int, seed: int) -> F4:
    """The unit price of every item, log-normal around 20."""
    return np.exp(np.random.default_rng(seed + 2).normal(3.0, 0.8, n_items)).astype(np.float32)


def events(n_events: int, n_items: int, n_users: int, seed: int, days: float = 14.0) -> EventBatch:
    """``n_events`` interactions in time order with offsets from 1, as columns before cleaning."""
    rng = np.random.default_rng(seed)
    topics = n_topics(n_items)
    lengths = rng.geometric(1.0 / MEAN_SESSION, int(n_events / MEAN_SESSION * 1.2) + 64)
    n_sessions = int(np.searchsorted(np.cumsum(lengths), n_events)) + 1
    lengths = lengths[:n_sessions]
    session = np.repeat(np.arange(n_sessions), lengths)[:n_events]
    first = np.cumsum(lengths) - lengths

    pause = rng.exponential(MEAN_PAUSE_S * 1000, n_events)
    walked = np.cumsum(pause)
    start = rng.random(n_sessions) * (days * 86_400_000)
    ts = (START_MS + start[session] + (walked - walked[first[session]])).astype(np.int64)

    local = rng.random(n_events) < TOPIC_SHARE
    topic = zipf(rng, topics, n_sessions)[session]
    inside = zipf(rng, max(1, n_items // topics), n_events) * topics + topic
    rank = np.where(local, inside, zipf(rng, n_items, n_events))
    item = item_of_rank(n_items, seed)[np.minimum(rank, n_items - 1)]

    codes = np.array([ACTION_CODE[name] for name in ACTION_MIX], np.int8)
    action = codes[np.searchsorted(np.cumsum(list(ACTION_MIX.values())), rng.random(n_events) * 0.999)]
    regular = (n_users * rng.random(n_sessions) ** 2).astype(np.int32)  # a few percent of shoppers make most visits
    user = np.where(rng.random(n_sessions) < 0.5, regular, rng.integers(0, n_users, n_sessions)).astype(np.int32)
    device = rng.choice(np.array([1, 2, 2, 3, 4], np.int8), n_sessions)
    region = zipf(rng, N_REGIONS, n_sessions).astype(np.int16)

    order = np.argsort(ts, kind="stable")
    which = session[order]
    ts = ts[order]
    item = item[order]
    return EventBatch(
        offset=np.arange(1, n_events + 1, dtype=np.int64),
        ts=ts,
        user=user[which],
        item=item,
        action=action[order],
        value=np.full(n_events, np.nan, np.float32),
        quantity=np.ones(n_events, np.float32),
        price=prices(n_items, seed)[item],
        hour=(ts // 3_600_000 % 24).astype(np.int8),
        device=device[which],
        region=region[which],
        session=np.full(n_events, -1, np.int32),
        flags=np.zeros(n_events, np.uint8),
    )


def part(batch: EventBatch, start: int, stop: int) -> EventBatch:
    """Rows start..stop-1 as a batch of their own (views, no copies)."""
    columns = {name: getattr(batch, name) for name in EventBatch.__slots__}
    return EventBatch(**{name: column[start:stop] for name, column in columns.items() if column is not None})
