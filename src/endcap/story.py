"""Story: what was shown for one request and what came of it; and what a placement has learned from all of them.

Read from the log and from folded state; nothing is stored for it.
"""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct

from endcap.batches import DEEDS
from endcap.config import FeedbackConfig
from endcap.errors import InvalidInput, NotFound
from endcap.feedback.rewards import DEED_OF_ACTION, NO_DEED
from endcap.preprocess.batch import request_hash
from endcap.recommend import Recommender
from endcap.state import State
from endcap.stores.sqlite import SqliteLog
from endcap.types import ACTION_CODE, Event, Impression, Interaction

MOST_EVENTS = 1_000
SKEW_MS = 300_000


class ShownItem(Struct, frozen=True, kw_only=True):
    """One item of the slate and what was credited to it."""

    item_id: str
    position: int
    propensity: float
    rank: int  # position by score alone; -1: exploration brought it in
    score: float
    deeds: list[str]  # each credited once


class JoinedEvent(Struct, frozen=True, kw_only=True):
    """An event that belongs to the story, and by what."""

    by: str  # "request_id": it names the slate; "shopper": the same shopper, an item of the slate, within the window
    event: Interaction


class Story(Struct, frozen=True, kw_only=True):
    """A request from the slate to the last reward."""

    request_id: str
    impression: Impression
    items: list[ShownItem]
    events: list[JoinedEvent]
    closes_at: int  # epoch ms; until then the outcome is immature
    mature: bool
    in_memory: bool  # False: the slate has left working memory; ``deeds`` are those of the events here


class ArmView(Struct, frozen=True, kw_only=True):
    """What an arm earned lately."""

    arm: str
    slates: float  # faded with feedback.half_life_requests
    reward: float  # mean per slate


class PlaceView(Struct, frozen=True, kw_only=True):
    """One position of a placement."""

    position: int
    shown: float  # faded with a half-life of 30 days
    clicks: float
    moved: float  # of shown: items that exploration put there
    theta: float | None  # how much it is looked at, the first known one = 1; None: too little was moved to tell


class PlacementFeedback(Struct, frozen=True, kw_only=True):
    """What a placement has learned."""

    placement: str
    slates: int  # shown, of those still in memory
    immature: int  # of these, with an open window
    arms: list[ArmView]
    positions: list[PlaceView]
    joined: dict[str, int]  # of the whole shop: events joined by what, and why others were not


def story(state: State, log: SqliteLog, config: FeedbackConfig, request_id: str, now: int) -> Story:
    """The joined story of a request. ``NotFound`` when no slate with this id was logged."""
    found = log.find(f"imp:{request_id}")
    if found is None or not isinstance(found.event, Impression):
        raise NotFound(
            f"no slate with the request id {request_id[:80]!r} in the log; slates asked for with shown=0, by prefetch "
            "or by bots are not logged"
        )
    shown = found.event
    closes_at = shown.ts + round(config.window_h * 3_600_000)
    on_slate = set(shown.items)
    events = [
        JoinedEvent(by="request_id", event=event)
        for event in log.naming(request_id, found.offset, MOST_EVENTS)
        if isinstance(event, Interaction)
    ]
    named = {joined.event.event_id for joined in events}
    events += [
        JoinedEvent(by="shopper", event=event)
        for event in of_shopper(log, shown)
        if isinstance(event, Interaction)
        and event.event_id not in named
        and not event.request_id
        and event.item_id in on_slate
        and shown.ts - SKEW_MS <= event.ts <= closes_at
        and DEED_OF_ACTION[ACTION_CODE[event.type]] != NO_DEED
    ]
    slot = state.slates.slot_of(request_hash(request_id))
    credited = state.slates.rows_of(slot)["done"].tolist() if slot >= 0 else []
    items = [
        ShownItem(
            item_id=one.item_id, position=one.position, propensity=one.propensity, rank=one.rank, score=one.score,
            deeds=deeds_of(credited[at]) if credited else deeds_in(events, one.item_id),
        )
        for at, one in enumerate(shown.shown())
    ]  # fmt: skip
    return Story(
        request_id=request_id, impression=shown, items=items, events=events, closes_at=closes_at,
        mature=now > closes_at, in_memory=bool(credited),
    )  # fmt: skip


def of_shopper(log: SqliteLog, shown: Impression) -> list[Event]:
    """Every event of the person who saw the slate; none for nobody."""
    if shown.user_id is None and shown.anon_id is None:
        return []
    return log.events_of(shown.user_id, [shown.anon_id] if shown.anon_id else [])


def deeds_of(done: int) -> list[str]:
    """Names of the credited deeds."""
    return [name for deed, name in enumerate(DEEDS) if done >> deed & 1]


def deeds_in(events: list[JoinedEvent], item_id: str) -> list[str]:
    """Names of the deeds of events on an item."""
    done = {int(DEED_OF_ACTION[ACTION_CODE[one.event.type]]) for one in events if one.event.item_id == item_id}
    return [DEEDS[deed] for deed in sorted(done) if deed != NO_DEED]


def placement_feedback(recommender: Recommender, config: FeedbackConfig, name: str, now: int) -> PlacementFeedback:
    """What a placement has learned. ``NotFound`` for one that is not configured."""
    state = recommender.state
    try:
        placement = recommender.policy.placement(name)
    except InvalidInput as unknown:
        raise NotFound(unknown.message) from unknown
    label = state.labels.get(f"placement:{name}")
    used = state.slates.slates[: min(state.slates.tally()["slates"], state.slates.slates.shape[0])]
    own = used["ts_s"][used["placement"] == label] if label >= 0 else np.zeros(0, np.int64)
    view = state.positions.view(label)
    last = int(np.flatnonzero(view.shown).max()) + 1 if view.shown.any() else 0
    arms = []
    for arm in placement.arms:
        slates, reward = state.bandit.earned(state.labels.get(f"arm:{name}/{arm}"))
        arms.append(ArmView(arm=arm, slates=slates, reward=reward))
    return PlacementFeedback(
        placement=name,
        slates=int(own.shape[0]),
        immature=int((own > now // 1000 - config.window_h * 3600).sum()),
        arms=arms,
        positions=[
            PlaceView(
                position=at, shown=float(view.shown[at]), clicks=float(view.clicked[at]), moved=float(view.moved[at]),
                theta=None if math.isnan(view.theta[at]) else float(view.theta[at]),
            )
            for at in range(last)
        ],
        joined=state.slates.tally(),
    )  # fmt: skip
