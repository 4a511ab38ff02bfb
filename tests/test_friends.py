"""Friends and kindred against twins in plain Python, the laws over streams of ties, and people over HTTP."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endcap.config import Config, FeedbackConfig, LogConfig, PlacementConfig, SnapshotConfig
from endcap.engine import Engine
from endcap.models.friends import FOLLOWED
from endcap.runtime import Runtime, VirtualClock
from endcap.types import Event, Impression, Interaction, Item, Query, User
from served import serving
from streams import ANON_IDS, START_MS, USER_IDS, streams

LAW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
PEOPLE = ["friends", "kindred", "content"]
CONFIG = Config(
    log=LogConfig(durability="os"),
    feedback=FeedbackConfig(wait_for_log=True),
    snapshot=SnapshotConfig(every_events=10**9),
    placements={
        "people": PlacementConfig(sources=PEOPLE, shows="people", diversity=0.0),
        "padded": PlacementConfig(sources=[*PEOPLE, "popular"], shows="people", diversity=0.0),
        "groups": PlacementConfig(sources=["friends"], shows="groups", diversity=0.0),
        "home": PlacementConfig(sources=["covisit", "user_knn", "popular"], shows="items"),
        "any": PlacementConfig(sources=["covisit", "friends", "popular"]),
    },
)
TARGETS = [*(f"user:{user}" for user in [*USER_IDS, "quiet"]), "group:choir", "group:chess", "i1"]
DEEDS = ["follow"] * 6 + ["unfollow", "hide", "dislike", "like", "view"]


def said(number: int, user: str | None, action: Any, item: str, **more: Any) -> Interaction:
    ts = START_MS + 60_000 * number
    return Interaction(type=action, event_id=f"t{number}", ts=ts, received_at=ts, user_id=user, item_id=item, **more)


def follows(*pairs: tuple[str, str]) -> list[Event]:
    return [said(n, user, "follow", f"user:{other}") for n, (user, other) in enumerate(pairs)]


def both_ways(*pairs: tuple[str, str]) -> list[Event]:
    return follows(*(way for a, b in pairs for way in ((a, b), (b, a))))


def opened(directory: str | Path, config: Config = CONFIG) -> Engine:
    return Engine.open(directory, config, Runtime(VirtualClock(START_MS + 10**9), seed=1))


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    found = opened(tmp_path)
    yield found
    found.close()


def shown(engine: Engine, user: str | None, placement: str = "people", **more: Any) -> list[str]:
    return [one.item_id for one in engine.recommend(Query(user_id=user, placement=placement, n=20, **more)).items]


def scores(engine: Engine, user: str, source: str = "friends") -> dict[str, float]:
    """What a source proposes, by name, the known and the barred still in it."""
    reader = engine.recommender
    ask = reader.understand(Query(user_id=user, placement="people"), START_MS + 10**9)
    found = reader.candidates
    found.begin(len(engine.state.items))
    reader.sources.by_name[source].retrieve(ask.interest, found, 0, 200)
    return {engine.state.items.name(int(found.items[row])): float(found.score[row, 0]) for row in range(len(found))}


# ---------------------------------------------------------------- the twin


class Twin:
    """The same graph as dictionaries."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.kind: dict[tuple[str, str], str] = {}
        for event in events:
            if not isinstance(event, Interaction) or event.user_id is None or event.item_id is None:
                continue
            tie, person = (f"user:{event.user_id}", event.item_id), event.item_id.startswith("user:")
            if event.type == "follow":
                self.kind[tie] = "follow"
            elif event.type in ("hide", "dislike") and person:
                self.kind[tie] = "wall"
            elif (event.type, self.kind.get(tie)) in (("unfollow", "follow"), ("like", "wall")) and (
                person or event.type == "unfollow"
            ):
                del self.kind[tie]
        self.items = {event.item_id for event in events if isinstance(event, Interaction)}

    def walled(self, a: str, b: str) -> bool:
        return "wall" in (self.kind.get((a, b)), self.kind.get((b, a)))

    def near(self, node: str) -> set[str]:
        ties = {tie for tie, kind in self.kind.items() if kind == "follow" and node in tie}
        others = {a if b == node else b for a, b in ties}
        return {other for other in others if other in self.items and not self.walled(node, other)}

    def scores(self, user: str) -> dict[str, float]:
        me = f"user:{user}"
        found: dict[str, float] = defaultdict(float)
        for z in self.near(me):
            found[z] += FOLLOWED
            for c in self.near(z):
                found[c] += 1 / math.log(max(2, len(self.near(z))))
        known = {b for a, b in self.kind if a == me}
        return {c: score for c, score in found.items() if c != me and c not in known}


@st.composite
def ties(draw: st.DrawFn, most: int = 60, anonymous: bool = False) -> list[Event]:
    events: list[Event] = []
    for number in range(draw(st.integers(1, most))):
        user, item = draw(st.sampled_from(USER_IDS)), draw(st.sampled_from(TARGETS))
        event = said(number, user, draw(st.sampled_from(DEEDS)), item)
        if anonymous and draw(st.booleans()):
            whose = draw(st.sampled_from([None, user]))
            event = msgspec.structs.replace(event, user_id=whose, anon_id=draw(st.sampled_from(ANON_IDS)))
        events.append(event)
    return events


@LAW
@given(events=ties())
def test_two_steps_equal_the_twin(events: list[Event]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        engine = opened(directory)
        engine.observe(events)
        twin = Twin(events)
        for user in {event.user_id for event in events if isinstance(event, Interaction) and event.user_id}:
            assert scores(engine, user) == pytest.approx(twin.scores(user), rel=1e-5)
        engine.close()


# ---------------------------------------------------------------- the laws


@LAW
@given(events=ties(anonymous=True), others=streams(max_size=20), seed=st.integers(0, 2**16), cut=st.floats(0, 1))
def test_l1_l2_ties_fold_the_same_however_they_come(
    events: list[Event], others: list[Event], seed: int, cut: float
) -> None:
    """One by one = any batching with repeats = snapshot + tail = replay; an answer changes nothing (L3)."""
    rng = np.random.default_rng(seed)
    events = [*events, *others]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as many:
        live, batched = opened(one), opened(many)
        for event in events:
            live.observe([event])
            live.recommend(Query(user_id="u0", placement="any"))
        expected = live.state_hash()
        middle = int(cut * len(events))
        places = sorted({0, len(events), middle, *rng.integers(0, len(events), 4).tolist()})
        for begin, end in pairwise(places):
            batched.observe([*events[begin:end], *events[: int(rng.integers(0, end))]])
            if end == middle:
                batched.snapshot()
        assert batched.state_hash() == expected
        answers = [shown(batched, user) for user in USER_IDS]
        batched.close(snapshot=False)
        restarted = opened(many)
        assert restarted.state_hash() == expected
        assert [shown(restarted, user) for user in USER_IDS] == answers == [shown(live, user) for user in USER_IDS]
        restarted.rebuild()
        assert restarted.state_hash() == expected
        restarted.close()
        live.close()


@LAW
@given(events=ties(anonymous=True), user=st.sampled_from(USER_IDS))
def test_l8_a_person_who_is_erased_is_nobodys_friend(events: list[Event], user: str) -> None:
    """Their own events and those of others about them are gone: answers equal those of a log without either."""
    item = f"user:{user}"
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        erased, never = opened(one), opened(other)
        erased.observe(events)
        anons = set(erased.state.anon_ids(user))
        erased.serve(Query(user_id="u0", placement="any"))
        erased.erase(user)
        left = [entry.event for entry in erased.log.read(0, 10**6)]
        assert not any(item in (getattr(event, "item_id", ""), *getattr(event, "items", ())) for event in left)
        never.observe(
            [
                event
                for event in events
                if isinstance(event, Interaction)
                and event.item_id != item
                and event.user_id != user
                and not (event.user_id is None and event.anon_id in anons)
            ]
        )
        never.observe([event for event in left if isinstance(event, Impression)])  # names of others become known by it
        for whoever in USER_IDS:
            assert scores(erased, whoever) == pytest.approx(scores(never, whoever))
            for placement in CONFIG.placements:
                assert item not in shown(erased, whoever, placement)
        erased.close()
        never.close()


@LAW
@given(events=ties(anonymous=True), blocker=st.sampled_from(USER_IDS), blocked=st.sampled_from(USER_IDS))
def test_a_wall_holds_on_every_placement_in_both_directions(events: list[Event], blocker: str, blocked: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        engine = opened(directory, msgspec.structs.replace(CONFIG, static_items=TARGETS))
        engine.observe(events)
        engine.observe([said(999, blocker, "hide", f"user:{blocked}"), said(998, "u0", "view", f"user:{blocker}")])
        for placement in CONFIG.placements:
            for personalization in (True, False):
                asked = {"placement": placement, "personalization": personalization}
                assert f"user:{blocked}" not in shown(engine, blocker, **asked)
                assert f"user:{blocker}" not in shown(engine, blocked, **asked)
        for user in (blocker, blocked):
            if engine.state.users.get("u" + user) >= 0:
                assert {blocker, blocked}.isdisjoint(one.user_id for one in engine.recommender.similar_users(user, 50))
        engine.close()


# ---------------------------------------------------------------- known answers


def test_the_rarer_a_common_friend_the_more_it_says(engine: Engine) -> None:
    engine.observe(both_ways(("me", "hub"), ("me", "shy"), ("shy", "near"), *(("hub", f"p{k}") for k in range(6))))
    got = scores(engine, "me")
    assert got["user:near"] == pytest.approx(1 / math.log(2))
    assert got["user:p0"] == pytest.approx(1 / math.log(7))
    assert shown(engine, "me")[0] == "user:near"
    assert "user:me" not in shown(engine, "me")
    assert not {"user:hub", "user:shy"} & set(shown(engine, "me", "padded"))  # known already


def test_who_follows_me_is_suggested_until_i_follow_back(engine: Engine) -> None:
    engine.observe(follows(("fan", "me"), ("me", "star")))
    assert "user:fan" in shown(engine, "me") or "user:fan" not in scores(engine, "me")
    engine.observe([said(5, "x", "view", "user:fan")])  # now the fan has a page that can be shown
    assert scores(engine, "me")["user:fan"] == pytest.approx(FOLLOWED)
    engine.observe([said(6, "me", "follow", "user:fan")])
    assert "user:fan" not in shown(engine, "me", "padded")


def test_unfollowing_takes_a_tie_back_and_a_suggestion_may_return(engine: Engine) -> None:
    engine.observe(both_ways(("me", "a"), ("a", "b"), ("me", "b")))
    assert shown(engine, "me") == []
    engine.observe([said(50, "me", "unfollow", "user:b"), said(51, "b", "unfollow", "user:me")])
    assert shown(engine, "me") == ["user:b"]


def test_a_wall_comes_down_by_a_like_or_a_follow_of_whoever_put_it_up(engine: Engine) -> None:
    engine.observe(both_ways(("me", "a"), ("a", "b")))
    engine.observe([said(50, "b", "hide", "user:me"), said(51, "me", "like", "user:b")])
    assert shown(engine, "me") == []
    engine.observe([said(52, "b", "like", "user:me")])
    assert shown(engine, "me") == ["user:b"]


def test_a_wall_cuts_the_ways_that_led_through_it(engine: Engine) -> None:
    engine.observe(both_ways(("me", "a"), ("a", "b")))
    engine.observe([said(50, "a", "dislike", "user:me")])
    assert scores(engine, "me") == {}


def test_a_common_group_brings_people_together_and_friends_bring_groups(engine: Engine) -> None:
    engine.observe(both_ways(("me", "a")))
    engine.observe([said(30 + k, user, "follow", "group:choir") for k, user in enumerate(("a", "b", "c"))])
    engine.observe([said(40, "me", "follow", "group:chess"), said(41, "d", "follow", "group:chess")])
    engine.observe([said(50, "x", "view", "user:d")])
    assert shown(engine, "me", "groups") == ["group:choir"]
    assert shown(engine, "me") == ["user:d"]


def test_a_visitor_who_signs_up_brings_their_follows_and_walls_along(engine: Engine) -> None:
    engine.observe(both_ways(("a", "b"), ("c", "d")))
    anonymous = [said(60, None, "follow", "user:a", anon_id="v"), said(61, None, "hide", "user:d", anon_id="v")]
    engine.observe(anonymous)
    assert shown(engine, None, anon_id="v") == ["user:b"]
    engine.put_user(User(user_id="me", anon_ids=["v"]))
    assert shown(engine, "me") == ["user:b"]
    assert "user:d" not in shown(engine, "me", "padded")


def test_a_full_list_forgets_its_oldest_follow_and_no_wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from endcap.models import friends as module

    index = module.Lists()
    index.blocks.grow(1)
    index.enlarge()
    while index.ids.shape[0] < 4 * module.MOST:
        index.enlarge()
        index.ids = np.zeros(4 * module.MOST, np.int32)
        index.kinds = np.zeros(4 * module.MOST, np.uint8)
    assert module.tie(0, 7, module.WALL, index.ties())
    for other in range(10, 10 + module.MOST):
        assert module.tie(0, other, module.FOLLOW, index.ties())
    ids, kinds = index.of(0)
    assert ids.shape[0] == module.MOST
    assert (ids[0], kinds[0]) == (7, module.WALL)
    assert (int(ids[1]), int(ids[-1])) == (11, 9 + module.MOST)


def test_people_with_the_same_taste_are_proposed_by_similarity(engine: Engine) -> None:
    heard = {"me": "abc", "twin": "abcd", "half": "axyz", "far": "uvwq"}
    engine.observe(
        [said(k * 10 + j, user, "consume", f"song-{song}") for k, (user, songs) in enumerate(heard.items())
         for j, song in enumerate(songs)]
    )  # fmt: skip
    assert scores(engine, "me", "kindred") == {}  # nobody is an item so far
    engine.put_items([Item(item_id=f"user:{user}", title=user) for user in heard])
    got = scores(engine, "me", "kindred")
    expected = engine.recommender.similar_users("me", 10)
    assert {f"user:{one.user_id}": one.similarity for one in expected} == pytest.approx(got)
    assert got["user:twin"] > got["user:half"]
    assert "user:far" not in got


def test_the_shelf_of_items_shows_no_people_and_a_hidden_person_is_in_no_slate(engine: Engine) -> None:
    engine.observe(both_ways(("me", "a"), ("a", "b")))
    engine.observe([said(70, "a", "view", "i1")])
    assert set(shown(engine, "me", "home")) == {"i1"}
    engine.put_items([Item(item_id="user:b", hidden=True)])
    assert shown(engine, "me", "padded") == []


def test_people_over_http(tmp_path: Path) -> None:
    with serving(tmp_path, config=CONFIG) as shop:
        shop.send(
            *({"type": "follow", "user_id": a, "item_id": f"user:{b}"} for a, b in ("ab", "ba", "bc", "cb", "cd"))
        )
        slate = shop.slate(user_id="a", placement="people")
        assert [one["item_id"] for one in slate["items"]] == ["user:c"]
        assert slate["items"][0]["sources"][0] == "friends"
        assert slate["items"][0]["reasons"][0]["code"] == "friends_in_common"
        shop.send({"type": "hide", "user_id": "c", "item_id": "user:a"})
        walled = shop.slate(user_id="a", placement="people")["items"]
        assert {one["item_id"] for one in walled} == {"user:d"}  # the ladder's next rung: popular, and still not c
        shop.send({"type": "unfollow", "user_id": "b", "item_id": "user:c"})
