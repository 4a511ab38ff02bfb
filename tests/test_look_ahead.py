"""Answers that are found before they are asked for: the same answers, found in pieces, and only when nothing waits."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endcap.config import Config, LogConfig, PlacementConfig, SnapshotConfig, shop_placements
from endcap.engine import Engine
from endcap.models.network import Network
from endcap.models.youtube import MOMENT, NUMBERS
from endcap.runtime import Runtime, VirtualClock
from endcap.sources import FOLLOWED
from endcap.stores.memory import MemoryLog
from endcap.types import DEVICES, F4, Context, Event, Interaction, Query, User
from streams import ITEM_IDS, START_MS, USER_IDS, streams

DIM = 8
CONFIG = Config(
    log=LogConfig(durability="os"),
    snapshot=SnapshotConfig(every_events=10**9),
    placements={**shop_placements(), "deep": PlacementConfig(sources=["gru4rec", "youtube"], seen="keep")},
)


def some(*shape: int) -> F4:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def networks() -> dict[str, Network]:
    """Untrained ones over the stream's items."""
    n, wide = len(ITEM_IDS), DIM + MOMENT + NUMBERS
    steps = {"w_x": some(3 * DIM, DIM), "w_h": some(3 * DIM, DIM), "b_x": some(3 * DIM), "b_h": some(3 * DIM)}
    layers = {"inputs": some(n, DIM), "hour": some(24, MOMENT), "weekday": some(7, MOMENT)}
    layers |= {"device": some(len(DEVICES), MOMENT), "w1": some(wide, 32), "b1": some(32), "w2": some(32, 16)}
    layers |= {"b2": some(16), "w3": some(16, DIM), "b3": some(DIM)}
    return {
        "gru4rec": Network("gru4rec", list(ITEM_IDS), some(n, DIM + 1), {}, steps, {}),
        "youtube": Network("youtube", list(ITEM_IDS), some(n, DIM), {}, layers, {}),
    }


def served(engine: Engine) -> Engine:
    engine.observe([Interaction(type="view", event_id=f"first{k}", user_id="first", item_id=item) for k, item in
                    enumerate(ITEM_IDS)])  # fmt: skip
    for kind, network in networks().items():
        engine.use_model(kind, network)
    return engine


def opened(directory: str) -> Engine:
    return Engine.open(directory, CONFIG, Runtime(VirtualClock(START_MS), seed=1))


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(streams(), st.lists(st.tuples(st.sampled_from(USER_IDS), st.none() | st.sampled_from(ITEM_IDS)), max_size=6))
def test_l1_answers_are_the_same_whether_they_were_looked_for_before_or_not(
    events: list[Event], asked: list[tuple[str, str | None]]
) -> None:
    at_ms = max((event.received_at for event in events), default=START_MS)
    found = []
    for ahead in (True, False):
        with tempfile.TemporaryDirectory() as directory, opened(directory) as engine:
            served(engine)
            if not ahead:
                engine.recommender.sources.follow = lambda _stored: None  # type: ignore[method-assign]
            for event in events:
                engine.observe([event])
            slates = []
            for who, item in asked:
                slate = engine.recommend(
                    Query(user_id=who, placement="deep", items=[item] if item else [], n=8, ts=at_ms)
                )
                slates.append([(one.item_id, one.score) for one in slate.items])
            found.append(slates)
    assert found[0] == found[1]


class Loop:
    """A server's loop by hand: what was scheduled, one call at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        engine.deliver_on(self.calls.put)
        while not self.calls.empty():
            self.turn()

    def turn(self) -> None:
        self.calls.get(timeout=10)()


@pytest.fixture
def engine() -> Engine:
    return served(Engine(MemoryLog(), CONFIG, Runtime(VirtualClock(START_MS), seed=1)))


def view(who: str, k: int = 0) -> Interaction:
    return Interaction(type="view", event_id=f"{who}:{k}", user_id=who, item_id=ITEM_IDS[1 + k], ts=START_MS - 9_000)


def remembered(engine: Engine) -> int:
    return sum(len(source._answers) for source in engine.recommender.sources.networks.values())


def test_an_event_is_acknowledged_before_anybody_looks_ahead_and_one_call_does_one_model(engine: Engine) -> None:
    loop, before = Loop(engine), remembered(engine)
    done = engine.submit([view("ann")])
    while not done.done():
        loop.turn()
    assert remembered(engine) == before
    counts = []
    while not loop.calls.empty():
        loop.turn()
        counts.append(remembered(engine) - before)
    assert counts[-1] == 2
    assert np.diff([0, *counts]).max() == 1
    known = remembered(engine)
    context = Context()
    engine.recommend(Query(user_id="ann", placement="deep", ts=START_MS + 9_000, context=context))
    engine.recommend(Query(user_id="ann", placement="deep", ts=START_MS + 9_000, items=[ITEM_IDS[1]]))
    assert remembered(engine) == known


def test_nobody_looks_ahead_while_events_wait(engine: Engine) -> None:
    loop, before = Loop(engine), remembered(engine)
    done = engine.submit([view("ann")])
    while not done.done():
        loop.turn()
    waiting = engine.submit([view("bob", 2)])  # what hands it over stands behind in the loop
    loop.turn()
    assert remembered(engine) == before
    while not waiting.done():
        loop.turn()
    while not loop.calls.empty():
        loop.turn()
    assert remembered(engine) == before + 4


def test_of_many_shoppers_the_last_are_looked_after_and_none_who_said_no(engine: Engine) -> None:
    engine.put_user(User(user_id="no", personalization=False))
    sources = engine.recommender.sources
    looked: list[int] = []
    for source in sources.networks.values():
        source.look_ahead = lambda interest: looked.append(interest.user)  # type: ignore[method-assign]
    crowd = [view(f"u{k}") for k in range(FOLLOWED + 5)]
    engine.observe([*crowd, view("no")])
    engine.close(snapshot=False)
    names = {engine.state.users.name(user) for user in looked}
    assert names == {f"uu{k}" for k in range(6, FOLLOWED + 5)}


def test_a_rebuild_serves_the_same_answers() -> None:
    with tempfile.TemporaryDirectory() as directory, opened(directory) as engine:
        served(engine)
        engine.observe([view("ann", k) for k in range(3)])
        query = Query(user_id="ann", placement="deep", n=8, ts=START_MS + 9_000)
        before = [(one.item_id, one.score) for one in engine.recommend(query).items]
        engine.rebuild()
        assert [(one.item_id, one.score) for one in engine.recommend(query).items] == before


def test_models_may_change_between_two_pieces(engine: Engine) -> None:
    loop = Loop(engine)
    done = engine.submit([view("ann")])
    while not done.done():
        loop.turn()
    loop.turn()
    engine.use_model("youtube", None)
    engine.use_model("gru4rec", networks()["gru4rec"])
    while not loop.calls.empty():
        loop.turn()
    assert engine.recommend(Query(user_id="ann", placement="deep", ts=START_MS)).degraded == []
