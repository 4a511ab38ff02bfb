"""Slices: the same queries by what was known when they were asked.

Always cut: how much history the shopper had, how old and how popular the wanted item was, the hour, the kind of event,
the place in the session, and ``discovery``: the queries whose answer the shopper had not touched before. Several logs
hold artefacts that reward showing old items again; the discovery slice does not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from endcap.evaluation.dataset import Dataset
from endcap.evaluation.plan import DAY_MS, Plan, position_in_session, running_count
from endcap.types import ACTIONS, I4, I8

HOUR_MS = 3_600_000
DISCOVERY = "discovery"
Mask = NDArray[np.bool_]


def touched_before(data: Dataset) -> I8:
    """By event: earlier events of the same user about the same item."""
    return running_count((data.user.astype(np.int64) << 32) | data.item)


def discovery(data: Dataset, plan: Plan) -> tuple[Mask, I8, I4]:
    """Queries with an answer that is new to the shopper; of those the ends and items of just such answers."""
    query = np.repeat(np.arange(len(plan), dtype=np.int64), np.diff(plan.ends, prepend=0))
    user = data.user[plan.event[query]].astype(np.int64)
    touched = (user << 32) | plan.relevant
    pairs = (data.user.astype(np.int64) << 32) | data.item
    order = np.argsort(pairs, kind="stable")
    known, first = np.unique(pairs[order], return_index=True)
    place = np.searchsorted(known, touched)
    place = np.minimum(place, known.shape[0] - 1)
    first_event = np.where(known[place] == touched, order[first[place]], len(data))
    if plan.protocol == "leave-one-out":  # everything but the answers is known before any query
        new = np.ones(query.shape[0], np.bool_)
    else:
        new = first_event >= plan.event[query]
    counts = np.bincount(query[new], minlength=len(plan))
    mask = counts > 0
    return mask, np.cumsum(counts[mask]), plan.relevant[new]


def cut(data: Dataset, plan: Plan) -> Iterator[tuple[str, str, Mask]]:
    """Slices as (kind, name, mask over queries), for queries with one answer by that answer, else by the event."""
    event = plan.event
    history = running_count(data.user.astype(np.int64))[event]
    for name, low, high in (("0", 0, 0), ("1", 1, 1), ("2-5", 2, 5), ("6-20", 6, 20), ("> 20", 21, 1 << 40)):
        yield "history", name, (history >= low) & (history <= high)
    guest = data.is_guest[data.user[event]] == 1
    if guest.any():
        yield "shopper", "signed in", ~guest
        yield "shopper", "guest", guest
    place = position_in_session(data)[event]
    for name, low, high in (("1st", 0, 0), ("2nd", 1, 1), ("3rd-5th", 2, 4), ("later", 5, 1 << 40)):
        yield "place in session", name, (place >= low) & (place <= high)
    for code in np.unique(data.action[event]):
        yield "event", ACTIONS[code], data.action[event] == code
    hour = plan.ts // HOUR_MS % 24
    for name, low in (("0-5", 0), ("6-11", 6), ("12-17", 12), ("18-23", 18)):
        yield "hour (UTC)", name, (hour >= low) & (hour < low + 6)
    if np.diff(plan.ends, prepend=0).max() == 1:
        yield from by_item(data, plan)


def by_item(data: Dataset, plan: Plan) -> Iterator[tuple[str, str, Mask]]:
    """Slices by age and popularity of the one wanted item at the moment of the query."""
    item, event = plan.relevant, plan.event
    first = data.first_events()[item]
    unseen = first >= event
    age = plan.ts - data.ts[np.minimum(first, len(data) - 1)]
    yield "item age", "never seen", unseen
    for name, low, high in (("< 1 d", 0, DAY_MS), ("1-7 d", DAY_MS, 7 * DAY_MS), ("> 7 d", 7 * DAY_MS, 1 << 60)):
        yield "item age", name, ~unseen & (age >= low) & (age < high)
    count = running_count(data.item.astype(np.int64))[event] if (data.item[event] == item).all() else None
    if count is None:
        return
    seen = count > 0
    edges = np.quantile(count[seen], np.arange(1, 10) / 10) if seen.any() else np.zeros(9)
    decile = np.searchsorted(edges, count, "right")
    for d in range(10):
        yield "item popularity decile", f"{d + 1}", seen & (decile == d)
