"""The laws of the loop (DESIGN section 2) over random event streams, on the real engine and a real SQLite log.

L12 (no acknowledged event is lost by kill -9) has its own harness in tests/test_crash.py.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endcap.config import (
    Config,
    ExploreConfig,
    LimitsConfig,
    LogConfig,
    PlacementConfig,
    SnapshotConfig,
    load_config,
    shop_placements,
)
from endcap.engine import Engine
from endcap.models.linear import LinearRanker
from endcap.runtime import Runtime, VirtualClock
from endcap.types import Context, Event, Item, ItemChange, Query, Slate
from streams import ANON_IDS, ITEM_IDS, START_MS, USER_IDS, streams

LAW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
CONFIG = Config(
    log=LogConfig(durability="os"),
    snapshot=SnapshotConfig(every_events=10**9),
    placements={**shop_placements(), "drift": PlacementConfig(sources=["item2vec", "covisit"])},
)
PLACEMENTS = sorted(CONFIG.placements)

queries = st.builds(
    Query,
    user_id=st.none() | st.sampled_from([*USER_IDS, "nobody"]),
    anon_id=st.none() | st.sampled_from([*ANON_IDS, "nobody"]),
    placement=st.sampled_from(PLACEMENTS),
    n=st.integers(1, 8),
    items=st.lists(st.sampled_from([*ITEM_IDS, "unknown"]), max_size=2),
    exclude=st.lists(st.sampled_from(ITEM_IDS), max_size=2),
    personalization=st.booleans(),
    context=st.none() | st.builds(Context, region=st.sampled_from(["Beijing", None]), device=st.just("mobile")),
    filter=st.none() | st.just({"eq": {"brand": "North"}}),
)


def opened(directory: str | Path, config: Config = CONFIG) -> Engine:
    return Engine.open(directory, config, Runtime(VirtualClock(START_MS), seed=1))


def last_ts(events: Sequence[Event]) -> int:
    return max((event.received_at for event in events), default=START_MS)


def feed(engine: Engine, events: Sequence[Event], sizes: Callable[[int], int] = lambda _: 1) -> None:
    place = 0
    while place < len(events):
        size = sizes(place)
        engine.observe(events[place : place + size])
        place += size


def contents(slate: Slate) -> list[tuple[str, float]]:
    return [(placed.item_id, placed.score) for placed in slate.items]


@LAW
@given(events=streams(), seed=st.integers(0, 2**16), cut=st.floats(0, 1))
def test_l1_replay_equals_live(events: list[Event], seed: int, cut: float) -> None:
    """One by one = any batching = replay of the log = snapshot + tail."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as many:
        live = opened(one)
        feed(live, events)
        expected = live.state_hash()
        batched = opened(many)
        snapshot_at = int(cut * len(events))
        feed(batched, events[:snapshot_at], lambda _: int(rng.integers(1, 9)))
        batched.snapshot()
        feed(batched, events[snapshot_at:], lambda _: int(rng.integers(1, 9)))
        assert batched.state_hash() == expected
        batched.close(snapshot=False)
        restarted = opened(many)
        assert restarted.recovered.from_snapshot == (snapshot_at > 0)
        assert restarted.state_hash() == expected
        restarted.rebuild()
        assert restarted.state_hash() == expected
        restarted.close()
        live.close()


@LAW
@given(events=streams(), seed=st.integers(0, 2**16))
def test_l2_duplicates_change_nothing(events: list[Event], seed: int) -> None:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as once, tempfile.TemporaryDirectory() as twice:
        first, second = opened(once), opened(twice)
        feed(first, events)
        sent = 0
        for place, event in enumerate(events):
            again = [events[k] for k in rng.integers(0, place + 1, size=int(rng.integers(0, 3)))]
            ack = second.observe([event, *again])
            assert ack.accepted == 1
            assert ack.duplicates == len(again)
            sent += len(again)
        second.observe(events)
        assert second.state_hash() == first.state_hash()
        first.close()
        second.close()


@LAW
@given(events=streams(), asked=st.lists(queries, min_size=1, max_size=10))
def test_l3_recommending_changes_nothing(events: list[Event], asked: list[Query]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        engine = opened(directory)
        engine.observe(events)
        before = engine.state_hash()
        for query in asked:
            engine.recommend(msgspec.structs.replace(query, ts=last_ts(events)))
        assert engine.state_hash() == before
        engine.close()


@LAW
@given(events=streams(min_size=10), query=queries, seed=st.integers(0, 2**16))
def test_l5_a_score_does_not_depend_on_its_neighbours(events: list[Event], query: Query, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as directory:
        engine = opened(directory)
        engine.observe(events)
        query = msgspec.structs.replace(query, ts=last_ts(events))
        together = engine.scores(query, ITEM_IDS)
        few = [str(i) for i in rng.permutation(ITEM_IDS)[:3]]
        for item_id in few:
            assert engine.scores(query, [item_id])[item_id] == together[item_id]
        assert engine.scores(query, few) == {item_id: together[item_id] for item_id in few}
        engine.close()


class BrokenRanker:
    """Scores every third candidate NaN and every fourth infinite."""

    name = "broken"

    def __init__(self, inner: object) -> None:
        self.inner = inner
        self.terms = inner.terms  # type: ignore[attr-defined]

    def score(self, rows: np.ndarray) -> np.ndarray:
        scores: np.ndarray = np.array(self.inner.score(rows))  # type: ignore[attr-defined]
        scores[::3] = np.nan
        scores[1::4] = np.inf
        self.bad = int((~np.isfinite(scores)).sum())
        return scores

    def trace(self, rows: np.ndarray) -> np.ndarray:
        return self.inner.trace(rows)  # type: ignore[attr-defined,no-any-return]


@LAW
@given(events=streams(min_size=10), query=queries)
def test_l6_a_score_that_is_no_number_takes_no_slot(events: list[Event], query: Query) -> None:
    with tempfile.TemporaryDirectory() as directory:
        engine = opened(directory)
        engine.observe(events)
        engine.use_ranker(BrokenRanker(LinearRanker(engine.columns)))
        slate = engine.recommend(msgspec.structs.replace(query, ts=last_ts(events)))
        assert all(math.isfinite(placed.score) for placed in slate.items)
        engine.close()


@LAW
@given(events=streams(min_size=5), asked=st.lists(queries, min_size=1, max_size=5), seed=st.integers(0, 2**16))
def test_l7_an_item_taken_away_is_in_no_later_slate(events: list[Event], asked: list[Query], seed: int) -> None:
    rng = np.random.default_rng(seed)
    gone: set[str] = set()
    with tempfile.TemporaryDirectory() as directory:
        engine = opened(directory, msgspec.structs.replace(CONFIG, static_items=ITEM_IDS))
        now = last_ts(events)
        engine.observe(events)
        for number, query in enumerate(asked):
            item_id = ITEM_IDS[int(rng.integers(len(ITEM_IDS)))]
            record = [
                None,
                Item(item_id=item_id, hidden=True),
                Item(item_id=item_id, availability="out_of_stock"),
                Item(item_id=item_id, stock_qty=0),
                Item(item_id=item_id, expires_at=now),
            ][int(rng.integers(5))]
            gone.add(item_id)
            engine.observe([ItemChange(event_id=f"gone{number}", item_id=item_id, ts=now, item=record)])
            for placement in PLACEMENTS:
                slate = engine.recommend(msgspec.structs.replace(query, ts=now, placement=placement, n=12))
                assert not gone & {placed.item_id for placed in slate.items}
        engine.close()


@LAW
@given(events=streams(min_size=4, max_size=40), query=queries, cut=st.floats(0, 1))
def test_l9_an_answer_at_t_reads_nothing_after_t(events: list[Event], query: Query, cut: float) -> None:
    """Asked live at t, and asked of an engine whose log was cut at t: the same answer."""
    k = max(1, int(cut * len(events)))
    query = msgspec.structs.replace(query, ts=last_ts(events[:k]))
    with tempfile.TemporaryDirectory() as live_dir, tempfile.TemporaryDirectory() as cut_dir:
        live = opened(live_dir)
        live.observe(events[:k])
        answer = live.recommend(query)
        live.observe(events[k:])
        live.close()
        truncated = opened(cut_dir)
        truncated.observe(live_events(live_dir, k))
        assert contents(truncated.recommend(query)) == contents(answer)
        truncated.close()


def live_events(directory: str, k: int) -> list[Event]:
    engine = opened(directory)
    stored = engine.log.read(0, k)
    engine.close()
    return [entry.event for entry in stored]


@LAW
@given(events=streams(), asked=st.lists(queries, min_size=1, max_size=5))
def test_l10_a_slate_is_short_distinct_and_says_its_propensities(events: list[Event], asked: list[Query]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        engine = opened(directory)
        engine.observe(events)
        for query in asked:
            slate = engine.recommend(msgspec.structs.replace(query, ts=last_ts(events)))
            names = [placed.item_id for placed in slate.items]
            assert len(names) <= query.n
            assert len(set(names)) == len(names)
            assert not set(names) & {*query.exclude, *query.items}
            assert all(0 < placed.propensity <= 1 for placed in slate.items)
        engine.close()


TRIED = Config(
    log=LogConfig(durability="os"),
    snapshot=SnapshotConfig(every_events=10**9),
    placements={
        name: msgspec.structs.replace(
            placement,
            explore=ExploreConfig(share=0.5, protected=name != "home"),
            arms={"near": {"diversity": 0.9}, "popular": {"sources": ["popular"]}} if name == "home" else {},
            limits=LimitsConfig(head_share=0.7, novel_share=0.3, item_share=0.5, impressions_per_unit=1),
        )
        for name, placement in CONFIG.placements.items()
    },
)


@LAW
@given(events=streams(min_size=8), asked=st.lists(queries, min_size=1, max_size=8), seed=st.integers(0, 2**16))
def test_l3_l7_l10_hold_where_slates_are_logged_and_try_things_out(
    events: list[Event], asked: list[Query], seed: int
) -> None:
    """Arms, exploration and limits at full strength: nothing written, nothing gone shown, propensities, repeatable."""
    gone = ITEM_IDS[seed % len(ITEM_IDS)]
    with tempfile.TemporaryDirectory() as directory:
        engine = opened(directory, TRIED)
        engine.observe([*events, ItemChange(event_id="gone", item_id=gone, ts=last_ts(events), item=None)])
        before = engine.state_hash()
        for number, query in enumerate(asked):
            now = last_ts(events)
            slate, again = (engine.recommender.recommend(query, now, f"request-{number}", "logged") for _ in range(2))
            assert contents(slate) == contents(again), "the same request id draws the same"
            assert (slate.arm, slate.arm_propensity) == (again.arm, again.arm_propensity)
            names = [placed.item_id for placed in slate.items]
            assert len(names) == len(set(names)) <= query.n
            assert gone not in names
            assert all(0 < placed.propensity <= 1 for placed in slate.items)
            assert 0 < slate.arm_propensity <= 1
            moved = [at for at, placed in enumerate(slate.items) if placed.rank is not None]
            assert query.placement == "home" or 0 not in moved, "a protected first place was touched"
        assert engine.state_hash() == before
        engine.close()


@LAW
@given(events=streams(), query=queries)
def test_l11_what_is_saved_answers_the_same_when_loaded(events: list[Event], query: Query) -> None:
    query = msgspec.structs.replace(query, ts=last_ts(events))
    with tempfile.TemporaryDirectory() as directory:
        engine = opened(directory)
        engine.observe(events)
        before = engine.recommend(query)
        engine.close()  # writes a snapshot
        again = opened(directory)
        assert again.recovered.replayed == 0
        assert contents(again.recommend(query)) == contents(before)
        again.close()


def test_l11_a_config_survives_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    toml = '[covisit]\ntail = 12\n[placements.home]\nn = 5\n[[rules]]\nname = "r"\naction = "block"\nitems = ["x"]\n'
    (tmp_path / "endcap.toml").write_text(toml)
    config, _ = load_config(environ={})
    assert config.covisit.tail == 12
    assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config
