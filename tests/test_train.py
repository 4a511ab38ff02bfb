"""Training from a log: lessons, rows that hold no future, and a ranker that learned how this shop's people behave."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from endcap.cli.models import sentence, told
from endcap.config import Config, LearningConfig
from endcap.engine import Engine
from endcap.errors import InvalidInput
from endcap.learning.boosting import TooFewExamples
from endcap.learning.examples import Examples
from endcap.learning.lessons import DAY_MS, OBJECTIVES, Lesson, Story, window_start
from endcap.learning.logged import SlateRows
from endcap.learning.store import ModelStore
from endcap.learning.table import frame
from endcap.learning.train import asked, rehearse, rewards_of, train_and_judge
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import ActionName, Event, Interaction, Item, ItemChange

START_MS = 1_760_000_000_000
LEARNING = LearningConfig(trees=20, leaves=8, queries=400, window_d=60.0)
CONFIG = Config(learning=LEARNING)


def event(n: int, kind: ActionName, user: str, item: str, ts: int) -> Interaction:
    return Interaction(event_id=f"e{n}", type=kind, user_id=user, item_id=item, ts=ts, received_at=ts)


def shop(n_visits: int = 260, seed: int = 3) -> MemoryLog:
    """A shop of 60 items whose visitors look at item k, then mostly at its partner, and some buy the partner."""
    choose, now, events = random.Random(seed), START_MS, list[Event]()
    for _ in range(n_visits):
        now += choose.randint(600_000, 3_000_000)
        user, ts = f"u{choose.randint(0, 40)}", now
        for _step in range(choose.randint(1, 4)):
            first = choose.randint(0, 29)
            partner = 30 + (first if choose.random() < 0.8 else choose.randint(0, 29))
            events.append(event(len(events), "view", user, f"i{first}", ts))
            events.append(event(len(events), "view", user, f"i{partner}", ts + 20_000))
            if choose.random() < 0.4:
                events.append(event(len(events), "cart_add", user, f"i{partner}", ts + 40_000))
                events.append(event(len(events), "purchase", user, f"i{partner}", ts + 60_000))
            ts += 100_000
        now = max(now, ts)
    log = MemoryLog()
    log.append(sorted(events, key=lambda one: one.ts))
    return log


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return shop()


# ---------------------------------------------------------------- lessons


def test_what_was_right_is_what_followed_within_a_day() -> None:
    minute = 60_000
    log = MemoryLog()
    log.append([
        event(0, "view", "a", "x", START_MS),
        event(1, "view", "b", "elsewhere", START_MS + minute),
        event(2, "cart_add", "a", "y", START_MS + 2 * minute),
        event(3, "purchase", "a", "y", START_MS + 3 * minute),
        event(4, "purchase", "a", "late", START_MS + DAY_MS + 4 * minute),
        Interaction(event_id="e5", type="search", user_id="a", ts=START_MS + DAY_MS + 5 * minute),
    ])  # fmt: skip
    lessons = Story(log, log.last_offset()).lessons(0, 100, seed=0)
    by_offset = {lesson.offset: lesson for lesson in lessons}
    assert sorted(by_offset) == [1, 2, 3, 4, 5]
    assert by_offset[1].relevant == ({"x"}, {"y"}, {"y"})
    assert by_offset[2].relevant == ({"elsewhere"}, set(), set())
    assert by_offset[3].relevant == (set(), {"y"}, {"y"})
    assert by_offset[4].relevant == (set(), set(), {"y"})
    assert by_offset[5].relevant == (set(), set(), {"late"})


def test_every_fourth_request_asks_on_the_page_of_the_item_before(log: MemoryLog) -> None:
    lessons = Story(log, log.last_offset()).lessons(0, 10_000, seed=0)
    stored = log.read(0, 10_000)
    on_page = [lesson for lesson in lessons if lesson.page_item is not None]
    assert len(on_page) > len(lessons) // 8
    for lesson in on_page:
        asked_by = stored[lesson.offset - 1].event
        assert isinstance(asked_by, Interaction)
        mine = [
            one.event
            for one in stored[: lesson.offset - 1]
            if isinstance(one.event, Interaction) and one.event.user_id == asked_by.user_id
        ]
        assert mine[-1].item_id == lesson.page_item != asked_by.item_id


def test_a_sample_is_spread_over_the_window_and_repeatable(log: MemoryLog) -> None:
    story = Story(log, log.last_offset())
    start = window_start(story, 1000.0)
    one, same = (story.lessons(start, 50, seed=1) for _ in range(2))
    assert one == same
    assert len(one) == 50
    assert [lesson.offset for lesson in one] == sorted(lesson.offset for lesson in one)
    assert min(lesson.ts for lesson in one) >= start
    middle = (start + int(story.ts.max())) // 2
    assert 10 < sum(lesson.ts < middle for lesson in one) < 40


def test_a_short_log_keeps_half_as_warm_up_and_an_empty_one_teaches_nothing(log: MemoryLog) -> None:
    story = Story(log, log.last_offset())
    first, last = int(story.ts.min()), int(story.ts.max())
    assert window_start(story, 1000.0) == first + (last - first) // 2
    assert window_start(story, 1.0) == last - DAY_MS
    with pytest.raises(InvalidInput, match="nothing to learn from"):
        window_start(Story(MemoryLog(), 0), 28.0)


# ---------------------------------------------------------------- replay


def note_all(log: MemoryLog, lessons: list[Lesson], until: int, into: Examples) -> None:
    """Replay the log and take the rows of every lesson."""
    clock = VirtualClock(0)
    with Engine(MemoryLog(), CONFIG, Runtime(clock, seed=1)) as engine:
        for _, note in asked(log, lessons, engine, clock, until, SlateRows(CONFIG), lambda *_: None):
            note(into)


def rows_until(log: MemoryLog, until: int) -> list[np.ndarray]:
    """Rows of the first requests, from a log of ``until`` events."""
    lessons = Story(log, 300).lessons(0, 40, seed=0)
    examples = Examples(OBJECTIVES, negatives=1000, most=100)
    short = MemoryLog()
    short.append([stored.event for stored in log.read(0, until)])
    note_all(short, lessons, until, examples)
    return [examples.table().rows]


def test_rows_know_nothing_of_what_comes_after(log: MemoryLog) -> None:
    """The same requests, from the log cut right after them and from the whole log (law L9)."""
    short, whole = rows_until(log, 300), rows_until(log, log.last_offset())
    assert short[0].shape[0] > 100
    assert (short[0] == whole[0]).all()


def test_only_the_newest_requests_are_kept() -> None:
    log = shop(60)
    lessons = Story(log, log.last_offset()).lessons(0, 10_000, seed=0)
    few = Examples(OBJECTIVES, negatives=5, most=20)
    note_all(log, lessons, log.last_offset(), few)
    table = few.table()
    assert len(few) == len(table) == 20
    assert few.asked == len(lessons)
    assert table.ts.min() > lessons[len(lessons) // 2].ts
    assert table.labels.any(axis=1).sum() >= 20
    assert (table.sizes <= 5 + table.labels.any(axis=1).sum()).all()


# ---------------------------------------------------------------- the whole


def test_a_trained_ranker_beats_the_fixed_weights_and_serves(log: MemoryLog, tmp_path: Path) -> None:
    stages: set[str] = set()
    outcome = train_and_judge(log, tmp_path, CONFIG, progress=lambda stage, *_: stages.add(stage))
    assert outcome.promoted
    assert outcome.verdict is not None
    assert outcome.verdict.new > outcome.verdict.old
    assert stages >= {"replay", "trees"}
    store = ModelStore(tmp_path)
    assert store.serving() == outcome.number
    assert store.serving("factors") == outcome.vectors["factors"]
    assert outcome.vectors["content"] == "a content space needs 200 catalogue records, there are 0"
    assert outcome.meta["last_offset"] == log.last_offset()
    assert min(outcome.meta["right"].values()) > 100
    again = train_and_judge(log, tmp_path, CONFIG)
    assert again.verdict is not None
    assert again.verdict.new == pytest.approx(again.verdict.old), "the same log and seed give the same ranker"
    assert store.serving() == again.number


def test_a_ranker_that_the_gate_stops_is_stored_but_does_not_serve(log: MemoryLog, tmp_path: Path) -> None:
    good = train_and_judge(log, tmp_path, CONFIG, kinds=["ranker"])
    poor = Config(learning=structs.replace(LEARNING, trees=1, leaves=2, learning_rate=1e-6))
    outcome = train_and_judge(log, tmp_path, poor, kinds=["ranker"])
    assert not outcome.promoted
    store = ModelStore(tmp_path)
    assert store.serving() == good.number
    assert store.numbers() == [1, 2]
    assert train_and_judge(log, tmp_path, poor, kinds=["ranker"], force=True).promoted
    assert store.serving() == 3


def test_a_log_of_a_few_visits_is_too_short(tmp_path: Path) -> None:
    with pytest.raises(TooFewExamples, match="training needs"):
        train_and_judge(shop(5), tmp_path, CONFIG)
    assert ModelStore(tmp_path).serving() == 0


def test_what_there_is_enough_for_is_kept_when_there_are_too_few_requests_for_trees(tmp_path: Path) -> None:
    log = shop(5)
    log.append([ItemChange(event_id=f"c{k}", item_id=f"x{k}", ts=START_MS, received_at=START_MS,
                           item=Item(item_id=f"x{k}", title=f"Red mug {k}")) for k in range(200)])  # fmt: skip
    outcome = train_and_judge(log, tmp_path, CONFIG)
    assert isinstance(outcome.vectors["content"], int)
    assert ModelStore(tmp_path).serving("content") == outcome.vectors["content"]
    assert outcome.number == 0
    assert "training needs 50" in outcome.why_no_trees
    assert f"ranker: {outcome.why_no_trees}" in sentence(outcome).splitlines()
    assert told(outcome)["ranker"] == outcome.why_no_trees


def test_rewards_name_known_outcomes() -> None:
    assert rewards_of(LearningConfig(rewards={"purchase": 2.0})) == [0.0, 0.0, 2.0]
    with pytest.raises(InvalidInput, match="clicks"):
        rewards_of(LearningConfig(rewards={"clicks": 1.0}))


def test_factors_alone_are_trained_without_asking_anything(log: MemoryLog, tmp_path: Path) -> None:
    outcome = train_and_judge(log, tmp_path, CONFIG, kinds=["factors"])
    assert (outcome.number, outcome.vectors, outcome.meta["queries"]) == (0, {"factors": 1}, 0)
    store = ModelStore(tmp_path)
    assert (store.serving("factors"), store.serving()) == (1, 0)
    _, factors = store.load(1, ())
    assert factors.meta["users"] > 30


def test_rows_of_a_shop_with_factors_hold_them(log: MemoryLog) -> None:
    likeness = "cos_factors_last"
    without, with_them = (rehearse(log, CONFIG, vectors=kinds) for kinds in ((), ("factors",)))
    column = without.columns.index(likeness)
    assert not without.learned.rows[:, column].any()
    assert with_them.learned.rows[:, column].any()


def test_the_training_table_is_what_the_ranker_learns_from(log: MemoryLog) -> None:
    done = rehearse(log, CONFIG)
    table = frame(done)
    assert table.columns == ["query", "ts", "judged", "weight", *OBJECTIVES, *done.columns]
    assert table.height == done.learned.rows.shape[0] + done.unseen.rows.shape[0]
    learned = table.filter(~table["judged"])
    assert (learned.select(done.columns).to_numpy() == done.learned.rows).all()
    assert learned["click"].sum() == done.learned.labels[:, 0].sum()
    assert learned["ts"].max() <= table.filter(table["judged"])["ts"].min()
    assert table["query"].n_unique() == len(done.learned) + len(done.unseen)
