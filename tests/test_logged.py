"""Learning from logged slates: the rows that served, weights against position bias, what cannot teach and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from scipy.stats import spearmanr

from endcap.cli.models import sentence
from endcap.config import Config, ExploreConfig, FeedbackConfig, LearningConfig
from endcap.engine import Engine
from endcap.errors import InvalidInput
from endcap.feedback.positions import POSITIONS, PositionView
from endcap.learning.boosting import Boosting, fit_heads
from endcap.learning.examples import Examples, Table
from endcap.learning.lessons import OBJECTIVES
from endcap.learning.logged import (
    MOST_WEIGHT,
    Logged,
    Right,
    Shown,
    SlateLesson,
    SlateRows,
    examples_of,
    lesson_of,
    read_slates,
)
from endcap.learning.train import asked, planned, train_and_judge
from endcap.models.tree_ranker import TreeRanker
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import Event, Impression, Interaction, Item, ItemChange, Query

START_MS = 1_760_000_000_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
N = 8
LOOK = 1.0 / np.arange(1, N + 1)
LIKE = np.linspace(0.3, 0.7, N)  # item k is liked the better the further back it usually stands
ITEMS = [f"i{k}" for k in range(N)]
HOW = Boosting(trees=60, leaves=8, learning_rate=0.05, least_rows=200, column_share=1.0)
CONFIG = Config(learning=LearningConfig(trees=20, leaves=8, queries=1_000, window_d=60.0, slates_enough=200))


def slate_of(s: int, ts: int, order: Sequence[int], **more: Any) -> Impression:
    return Impression(
        event_id=f"imp:{s}", request_id=f"r{s}", ts=ts, received_at=ts, anon_id=f"a{s % 500}",
        items=[ITEMS[k] for k in order], ranks=[int(k) for k in order], **more,
    )  # fmt: skip


def click(s: int, ts: int, item: int, kind: Any = "click") -> Interaction:
    return Interaction(
        type=kind, event_id=f"{kind}{s}-{item}", ts=ts, received_at=ts, anon_id=f"a{s % 500}", item_id=ITEMS[item],
        request_id=f"r{s}",
    )  # fmt: skip


def end(ts: int) -> Interaction:
    return Interaction(type="view", event_id="end", ts=ts, received_at=ts, anon_id="last", item_id="i0")


def biased(n: int, seed: int = 1, shuffled: float = 0.5) -> list[Event]:
    """Slates of all items, in a fixed order or shuffled; clicks by look and liking, a fifth of them bought."""
    rng = np.random.default_rng(seed)
    found: list[Event] = [
        ItemChange(
            event_id=f"item{k}", item_id=name, ts=START_MS, item=Item(item_id=name, price=3.0 + k, categories=[["c"]])
        )
        for k, name in enumerate(ITEMS)
    ]
    for s in range(n):
        ts = START_MS + (s + 1) * 3 * MINUTE_MS
        order = rng.permutation(N) if rng.random() < shuffled else np.arange(N)
        found.append(slate_of(s, ts, order.tolist()))
        for place in np.flatnonzero(rng.random(N) < LOOK * LIKE[order]).tolist():
            found.append(click(s, ts + 3_000 + place, int(order[place])))
            if rng.random() < 0.2:
                found.append(click(s, ts + 30_000 + place, int(order[place]), "purchase"))
    found.append(end(START_MS + n * 3 * MINUTE_MS + DAY_MS + MINUTE_MS))
    return found


def log_of(events: Sequence[Event]) -> MemoryLog:
    log = MemoryLog()
    log.append(list(events))
    return log


def read(events: Sequence[Event], config: Config = CONFIG) -> Logged:
    log = log_of(events)
    return read_slates(log, log.last_offset(), config, 0)


def rows_of(log: MemoryLog, lessons: list[SlateLesson], config: Config) -> tuple[Examples, Engine, SlateRows]:
    """Replay the whole log, noting the slates on the way."""
    into, clock, reader = Examples(OBJECTIVES, most=100_000), VirtualClock(0), SlateRows(config)
    engine = Engine(MemoryLog(), config, Runtime(clock, seed=1))
    for _, note in asked(log, lessons, engine, clock, log.last_offset(), reader, lambda *_: None):
        note(into)
    return into, engine, reader


# ---------------------------------------------------------------- what it is for


def test_naive_training_believes_the_front_and_weighted_training_what_people_like() -> None:
    """Rank correlation with true liking, on slates that were not learned. Six seeds gave 0.74 to 1, and -0.43 to -1."""
    log = log_of(biased(5_000, seed=3, shuffled=0.3))
    found = read_slates(log, log.last_offset(), CONFIG, 0)
    examples, engine, _ = rows_of(log, found.lessons, CONFIG)
    engine.close()
    table = examples.table()
    assert table.weights is not None
    late = table.ts > np.quantile(table.ts, 0.75)
    learned, unseen = table.part(~late), table.part(late)
    price = np.round(unseen.rows[:, examples.columns.index("price_level")], 2)  # tells the items apart
    assert np.unique(price).shape[0] == N

    def rank_correlation(learned: Table) -> float:
        heads = fit_heads(learned, examples.columns, ("click",), {"click": 1.0}, HOW)
        scores = TreeRanker("t", examples.columns, heads).score(unseen.rows)
        return float(spearmanr([scores[price == one].mean() for one in np.unique(price)], LIKE).statistic)

    assert rank_correlation(learned) > 0.65
    assert rank_correlation(replace(learned, weights=None)) < -0.3


def test_the_rows_are_those_that_served() -> None:
    """Law L4, on slates of two arms with swaps and new items, by a real engine that logs what it shows."""
    home = structs.replace(
        Config().placements["home"], n=4, arms={"usual": {}, "loud": {"sources": ["popular"], "candidates": 6}},
        explore=ExploreConfig(share=0.5, protected=False, new_items=400),
    )  # fmt: skip
    config = structs.replace(
        CONFIG, placements={**CONFIG.placements, "home": home}, feedback=FeedbackConfig(wait_for_log=True)
    )
    clock, rng, log = VirtualClock(START_MS), np.random.default_rng(2), MemoryLog()
    served: dict[str, list[tuple[Any, Any]]] = {}
    untold: set[str] = set()  # a new item was drawn that stood there by merit: the log does not say so
    with Engine(log, config, Runtime(clock, seed=5)) as engine:
        engine.put_items([Item(item_id=f"p{k}", price=2.0 + k, categories=[[f"c{k % 3}"]]) for k in range(30)])
        read_side, seen = engine.recommender, list[tuple[Any, Any]]()
        plans: list[Any] = []
        score = read_side.score

        def watched(ask: Any, items: Any, source_scores: Any) -> Any:
            plans.append(ask.plan)
            seen.append((items.copy(), read_side.rows.read(ask.interest, items, source_scores).copy()))
            return score(ask, items, source_scores)

        read_side.score = watched  # type: ignore[method-assign]
        engine.observe([
            Interaction(type="view", ts=START_MS + k, anon_id=f"a{k % 60}", item_id=f"p{rng.integers(30)}")
            for k in range(300)
        ])  # fmt: skip
        for s in range(600):
            clock.ts += 2 * MINUTE_MS
            who = f"a{rng.integers(60)}"
            seen.clear()
            slate = engine.serve(Query(anon_id=who, placement="home"))
            served[slate.request_id] = seen[-1:]
            if plans[-1].fresh >= 0 and all(one.rank != -1 for one in slate.items):
                untold.add(slate.request_id)
            clock.ts += 5_000
            chosen = slate.items[rng.integers(len(slate.items))].item_id
            kind: Any = "purchase" if s % 5 == 0 else "click"
            engine.observe([
                Interaction(type=kind, ts=clock.ts, anon_id=who, item_id=chosen, request_id=slate.request_id)
            ])  # fmt: skip
        clock.ts += 2 * DAY_MS
        engine.observe([Interaction(type="view", ts=clock.ts, anon_id="last", item_id="p1")])
        number = engine.state.items.get
        slates = {stored.offset: stored.event for stored in log.read(0, 10_000) if isinstance(stored.event, Impression)}
        found = read_slates(log, log.last_offset(), config, 0)
        assert found.counts["refused"] == found.counts["named_items"] == 0
        lessons = [one for one in found.lessons if slates[one.offset].request_id not in untold]
        examples, replayed, reader = rows_of(log, lessons, config)
        replayed.close()
        expected = []
        for lesson in lessons:
            slate_ = slates[lesson.offset]
            items, rows = served[slate_.request_id][0]
            shown = np.array([number(one) for one in slate_.items], np.int32)
            expected += examples_of(lesson, shown, items, rows)
    kept = examples.kept()
    assert len(kept) == len(expected) > 300
    assert any(-1 in slate.ranks for slate in slates.values())
    assert {slate.arm for slate in slates.values()} == {"usual", "loud"}
    assert reader.counts.total() == 0
    for one, other in zip(kept, expected, strict=True):
        assert (one.rows == other.rows).all()
        assert (one.labels == other.labels).all()
        assert one.weight == other.weight
    assert sum(one.labels[:, 2].any() for one in kept) > 50


# ---------------------------------------------------------------- what cannot teach


BROKEN = [
    ({"propensities": [1.0, 0.0, *[1.0] * 6]}, "propensity 0.0 at position 1"),
    ({"propensities": [1.0, 1.5, *[1.0] * 6]}, "propensity 1.5 at position 1"),
    ({"propensities": [1.0]}, "8 items and 1 propensities"),
    ({"scores": [1.0, 2.0]}, "8 items and 2 scores"),
    ({"ranks": [-2, *range(1, 8)]}, "rank -2 at position 0"),
    ({"items": ["i1"] * 8}, "stands on it twice"),
]


@pytest.mark.parametrize(("wrong", "words"), BROKEN)
def test_a_broken_slate_is_named_and_spoils_nothing_else(wrong: dict[str, Any], words: str) -> None:
    events = biased(600, shuffled=0.9)
    whole = read(events)
    victim = whole.lessons[40].offset
    slate = events[victim - 1]
    assert isinstance(slate, Impression)
    cut = read([*events[: victim - 1], structs.replace(slate, **wrong), *events[victim:]])
    assert words in cut.refused[0]
    assert slate.request_id in cut.refused[0]
    assert cut.counts["refused"] == 1
    assert [one.offset for one in cut.lessons] == [one.offset for one in whole.lessons if one.offset != victim]


def test_what_cannot_teach_is_counted_by_reason() -> None:
    events = biased(600, shuffled=0.9)
    last = events[-1].ts
    young = slate_of(9_000, last - 1_000, range(N))
    page = structs.replace(slate_of(9_001, START_MS + 1_000, range(N)), context_hash="of a page")
    again = structs.replace(slate_of(3, events[-2].ts, range(N)), event_id="imp:again")
    mixed = structs.replace(slate_of(9_002, START_MS + 2_000, range(N)), teams=[0, 1] * (N // 2))
    found = read([*events[:-1], page, mixed, again, young, click(9_000, last, 1), events[-1]])
    assert found.counts == Counter(shown=604, immature=1, named_items=1, interleaved=1, refused=1)
    assert "shown just before" in found.refused[0]
    offsets = {one.offset for one in found.lessons}
    assert offsets == {one.offset for one in read(events).lessons}


def test_without_exploration_no_slate_teaches() -> None:
    found = read(biased(400, shuffled=0.0))
    assert found.lessons == []
    assert found.counts["places_unknown"] > 200
    assert read([end(START_MS)]) == Logged()


def test_a_protected_first_place_is_neither_answer_nor_alternative() -> None:
    theta = np.full(POSITIONS, np.nan)
    theta[1:4] = [1.0, 0.5, 0.01]
    view = PositionView(theta, theta, theta, theta)
    shown = Shown(7, 5, "home", brought={2: 0.25}, right={0: 1, 1: 0b101, 2: 1, 3: 1, 30: 1})
    lesson = lesson_of(shown, view)
    assert [(one.place, one.weight) for one in lesson.right] == [(1, 1.0), (2, 8.0), (3, MOST_WEIGHT)]
    assert lesson.right[0].labels == (True, False, True)
    items = np.arange(5, dtype=np.int32)
    rows = np.arange(5, dtype=np.float32)[:, None]
    found = examples_of(lesson, items, items[::-1].copy(), rows)
    assert [one.rows[:, 0].tolist() for one in found] == [[3.0, 2.0, 1.0], [2.0, 3.0, 1.0], [1.0, 3.0, 2.0]]
    assert all(one.labels[1:].sum() == 0 for one in found)


def test_a_shopper_who_is_not_as_warm_in_the_replay_asked_otherwise() -> None:
    events = [
        structs.replace(event, warmth="hot", session_events=9) if isinstance(event, Impression) else event
        for event in biased(400, shuffled=0.9)
    ]
    events = [structs.replace(one, context_hash="") if isinstance(one, Impression) else one for one in events]
    log = log_of(events)
    found = read_slates(log, log.last_offset(), CONFIG, 0)
    examples, engine, reader = rows_of(log, found.lessons, CONFIG)
    engine.close()
    assert len(examples) == 0
    assert reader.counts == Counter(asked_otherwise=len(found.lessons))


# ---------------------------------------------------------------- the mix


def test_slates_take_over_in_proportion_and_never_alone() -> None:
    how = LearningConfig(queries=1_000, slates_enough=400, judged_share=0.2)
    known = np.ones(POSITIONS, np.bool_)

    def plan(n: int, enough: int = 400) -> tuple[int, int, int]:
        right = (Right(1, (True, False, False), 1.0),) * 2
        lessons = [SlateLesson(k + 1, 1_000 + k, right, known) for k in range(n)]
        settings = structs.replace(how, slates_enough=enough)
        found = planned(Logged(lessons), 1_000, 1_000 + max(n, 10), settings)
        early = sum(one.ts < found.judged_from for one in found.slates)
        return 2 * early, 2 * (len(found.slates) - early), found.replayed

    assert plan(0) == (0, 0, 1_000)
    few, _, beside = plan(200)
    assert few == pytest.approx(2 * 160, abs=4)
    assert beside == pytest.approx(0.5 * 1_000 + 0.5 * few / 3, abs=1)
    enough, judged, beside = plan(400)
    assert beside == pytest.approx(enough / 3, abs=1)
    assert judged == pytest.approx(2 * 80, abs=4)
    for many in (plan(5_000), plan(5_000, enough=1_000_000)):
        assert many[0] == 750
        assert many[2] == 250
    assert plan(5_000)[1] == 500


def test_training_says_what_it_learned_from(tmp_path: Any) -> None:
    outcome = train_and_judge(log_of(biased(1_500)), tmp_path, CONFIG, kinds=["ranker"])
    meta = outcome.meta
    assert meta["examples"]["slates"] > 200
    assert meta["examples"]["replay"] == pytest.approx(meta["examples"]["slates"] / 3, rel=0.1)
    assert meta["queries"] == sum(meta["examples"].values())
    assert min(meta["judged"].values()) > 20
    assert meta["slates"]["teach"] > CONFIG.learning.slates_enough
    told = sentence(outcome)
    assert f"{meta['examples']['slates']} of logged slates" in told
    assert f"of {meta['slates']['shown']} logged slates of the window {meta['slates']['teach']} teach" in told
    with pytest.raises(InvalidInput, match="slates_enough is 0"):
        train_and_judge(log_of(biased(5)), tmp_path, Config(learning=LearningConfig(slates_enough=0)))
