"""What the tests of candidate sources share: batches from rows, an interest from seeds, and what a source proposes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from endcap.batches import EventBatch
from endcap.candidates import Candidates
from endcap.interest.interest import empty_interest
from endcap.protocols import Source
from endcap.types import ACTION_CODE, Interest

Row = tuple[int, int, int, str, int]  # user, session, item, action, flags


def batch_of(rows: Sequence[Row], ts_ms: Sequence[int] | None = None) -> EventBatch:
    """Rows as cleaned columns."""
    n = len(rows)
    return EventBatch(
        offset=np.arange(n, dtype=np.int64),
        ts=np.arange(n, dtype=np.int64) * 1000 if ts_ms is None else np.array(ts_ms, np.int64),
        user=np.array([row[0] for row in rows], np.int32),
        item=np.array([row[2] for row in rows], np.int32),
        action=np.array([ACTION_CODE[row[3]] for row in rows], np.int8),
        value=np.full(n, np.nan, np.float32),
        quantity=np.ones(n, np.float32),
        price=np.full(n, np.nan, np.float32),
        hour=np.zeros(n, np.int8),
        device=np.zeros(n, np.int8),
        region=np.full(n, -1, np.int16),
        session=np.array([row[1] for row in rows], np.int32),
        flags=np.array([row[4] for row in rows], np.uint8),
    )


def interest_of(
    seeds: Sequence[int], *, weight: Sequence[float] = (), action: Sequence[str] = (), age_s: Sequence[int] = (),
    n_session: int | None = None, n_context: int = 0, session: int = -1, user: int = -1, t_s: int = 0,
) -> Interest:  # fmt: skip
    """An interest in these items, newest first; every weight 1, every action a view just now unless given."""
    interest = empty_interest()
    n = interest.n_seeds = len(seeds)
    interest.seeds[:n] = seeds
    interest.weight[:n] = weight or 1.0
    interest.action[:n] = [ACTION_CODE[name] for name in action] or ACTION_CODE["view"]
    interest.age_s[:n] = age_s or 0
    interest.n_session = n if n_session is None else n_session
    interest.n_context, interest.session, interest.user, interest.t_s = n_context, session, user, t_s
    return interest


def proposed(source: Source, interest: Interest, n_items: int, n: int = 50) -> dict[int, tuple[float, int]]:
    """item -> (score, seed) of what the source proposes in the second of two columns."""
    into = Candidates(("other", source.name))
    into.begin(n_items)
    source.retrieve(interest, into, 1, n)
    rows = range(len(into))
    return {int(into.items[row]): (float(into.score[row, 1]), int(into.seeds[row, 1])) for row in rows}


def order_of(got: dict[int, tuple[float, int]]) -> list[int]:
    """Items by score, best first, ties by id."""
    return sorted(got, key=lambda item: (-got[item][0], item))
