"""Duel: one slate from two variants, where an interleaving experiment asks for it.

``answer`` is what the engine calls: the recommender's slate, or, for a visitor of an interleaving experiment, the
slates of both variants drafted into one (``feedback/interleaving.py``). Each item keeps the reasons and the score of
the team that put it there. Nothing else is tried out on such a slate, and it tells no propensities.
"""

from __future__ import annotations

from zlib import crc32

import msgspec
import numpy as np

from endcap.feedback.experiments import Assigned
from endcap.feedback.interleaving import draft
from endcap.recommend import Recommender
from endcap.slate.explore import Draws
from endcap.types import I4, ImpressionName, Placed, Query, Slate


def answer(
    recommender: Recommender, query: Query, t_ms: int, request_id: str, impression: ImpressionName, asked: Assigned
) -> Slate:
    """The slate for one query, as the experiments of this visitor want it."""
    if asked.other is None:
        return recommender.recommend(query, t_ms, request_id, impression, asked)
    teams = [recommender.recommend(query, t_ms, request_id, "not_asked", one) for one in (asked, asked.other)]
    return interleaved(teams[0], teams[1], asked, request_id, impression)


def interleaved(one: Slate, other: Slate, asked: Assigned, request_id: str, impression: ImpressionName) -> Slate:
    """Two slates for the same query as one, as long as the longer; tosses depend on the request id alone."""
    numbers: dict[str, int] = {}
    by_team: list[dict[int, Placed]] = [{}, {}]
    for mine, slate in zip(by_team, (one, other), strict=True):
        for placed in slate.items:
            mine[numbers.setdefault(placed.item_id, len(numbers))] = placed
    lists: list[I4] = [np.array(list(mine), np.int32) for mine in by_team]
    tosses = int(Draws(crc32(request_id.encode())).uniform() * 2**53)
    items, teams = draft(lists[0], lists[1], max(len(one.items), len(other.items)), tosses)
    drafted = [
        msgspec.structs.replace(by_team[team][item], team=team)
        for item, team in zip(items.tolist(), teams.tolist(), strict=True)
    ]
    versions = {**one.versions, **{f"other_{name}": version for name, version in other.versions.items()}}
    return msgspec.structs.replace(
        one, items=drafted, impression=impression, variants=asked.variants, versions=versions,
        degraded=[*one.degraded, *(part for part in other.degraded if part not in one.degraded)],
    )  # fmt: skip
