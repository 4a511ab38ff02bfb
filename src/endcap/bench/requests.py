"""The requests that load is made of: prebuilt, so that the generator stays cheap."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, cycle

import msgspec
import numpy as np

from endcap.bench import synthetic
from endcap.bench.load import NextRequest, request
from endcap.types import Query

DISTINCT = 20_000  # different shoppers asked for, so that caches see life's variety

_event_numbers = count(1)


def users(n_users: int, seed: int) -> list[int]:
    """Shoppers as they come: half of them regulars."""
    rng = np.random.default_rng(seed)
    regular = synthetic.zipf(rng, n_users, DISTINCT)
    anyone = rng.integers(0, n_users, DISTINCT)
    return [int(user) for user in np.where(rng.random(DISTINCT) < 0.5, regular, anyone)]


def cycled(requests: list[bytes]) -> NextRequest:
    """The list over and over."""
    return cycle(requests).__next__


def queries(path: str, n_users: int, seed: int = 11, placement: str = "home") -> NextRequest:
    """Pages of 24 for many shoppers, or the same bytes for the bare echo."""
    return cycled([
        request("POST", path, msgspec.json.encode(Query(user_id=f"u{user}", placement=placement, n=24)))
        for user in users(n_users, seed)
    ])  # fmt: skip


def event_body(user: str, item: str, action: str = "view") -> bytes:
    """One event, with an id of its own so that none is a duplicate."""
    return b'{"type":"%s","event_id":"b%d","user_id":"%s","item_id":"%s"}' % (
        action.encode(), next(_event_numbers), user.encode(), item.encode(),
    )  # fmt: skip


def writes(n_users: int, n_items: int, seed: int = 12) -> NextRequest:
    """One view each, acknowledged when durable."""
    rng = np.random.default_rng(seed)
    items = synthetic.item_of_rank(n_items, synthetic.SEED)[synthetic.zipf(rng, n_items, DISTINCT)]
    pairs = cycle([(f"u{user}", f"i{item}") for user, item in zip(users(n_users, seed), items, strict=True)])
    return lambda: request("POST", "/v1/events", event_body(*next(pairs)))


def alternating(first: NextRequest, second: NextRequest) -> NextRequest:
    """One of each, in turn."""
    both: cycle[Callable[[], bytes]] = cycle([first, second])
    return lambda: next(both)()
