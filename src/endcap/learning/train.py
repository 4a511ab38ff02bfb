"""Train: replay a log on a virtual clock, learn a ranker from it, and judge it on the newest requests.

    log -> lessons (moments to ask at) -> replay: fold up to the moment, read the candidates' rows -> trees -> gate

The replay drives an engine in memory, with the same fold and the same reads as the one that serves (laws L1, L4); the
log is only read, so a server may be writing it. Everything after the moment of a request is unknown to its rows (law
L9). The newest part of the window is not learned: it is what the gate judges by.

Cost: about 0.3 ms per request asked, 5 us per event folded, and the trees; 12,000 requests on a log of a million
events take about a minute of one core. Memory: the state, and the rows kept (learning/examples.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from msgspec import structs

from endcap.config import Config, LearningConfig
from endcap.engine import Engine, Progress, silent
from endcap.errors import InvalidInput
from endcap.learning.boosting import Boosting, fit_heads
from endcap.learning.examples import Examples, Table
from endcap.learning.gate import Verdict, judge
from endcap.learning.lessons import OBJECTIVES, Lesson, Story, window_start
from endcap.learning.store import ModelStore
from endcap.models.linear import LinearRanker
from endcap.models.tree_ranker import Head, TreeRanker
from endcap.protocols import EventLog, Ranker
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import Interaction, Query, Stored

CHUNK = 20_000
ASKED_PER_KEPT = 3  # many requests have no right answer among their candidates
EVERY_CANDIDATE = 1_024  # for the gate


@dataclass(frozen=True, slots=True)
class Trained:
    """A ranker that is not stored yet."""

    heads: list[Head]
    columns: tuple[str, ...]
    learned: Table
    unseen: Table
    meta: dict[str, Any]

    def ranker(self) -> TreeRanker:
        """Ready to score."""
        return TreeRanker("trees-new", self.columns, self.heads)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training run led to."""

    number: int
    promoted: bool
    verdict: Verdict
    meta: dict[str, Any]


def train_and_judge(
    log: EventLog, directory: Path, config: Config, *, force: bool = False, progress: Progress = silent
) -> Outcome:
    """Train, store, and let the ranker serve if the gate lets it pass (or ``force``)."""
    store = ModelStore(directory)
    trained = train(log, config, progress)
    rewards = rewards_of(config.learning)
    verdict = judge(trained.ranker(), serving_ranker(store, trained.columns), trained.unseen, rewards)
    meta = {**trained.meta, "gate": {"new": verdict.new, "old": verdict.old, "queries": verdict.queries}}
    number = store.save(trained.heads, trained.columns, meta)
    promoted = verdict.passed or force
    if promoted:
        store.promote(number, trained.columns)
    return Outcome(number, promoted, verdict, meta)


def serving_ranker(store: ModelStore, columns: tuple[str, ...]) -> Ranker:
    """The ranker to beat: the one that serves; the fixed weights where none does or it no longer fits."""
    number = store.serving()
    if number:
        try:
            return store.load(number, columns)
        except Exception:  # it could not serve either
            return LinearRanker(columns)
    return LinearRanker(columns)


def train(log: EventLog, config: Config, progress: Progress = silent) -> Trained:
    """Learn a ranker from the newest window of a log."""
    began, how, until = perf_counter(), config.learning, log.last_offset()
    story = Story(log, until)
    start = window_start(story, how.window_d)
    last = int(story.ts.max())
    judged_from = last - int((last - start) * how.judged_share)
    lessons = story.lessons(start, how.queries * ASKED_PER_KEPT, how.seed)
    learned = Examples(OBJECTIVES, negatives=how.negatives, most=how.queries, seed=how.seed)
    unseen = Examples(OBJECTIVES, negatives=EVERY_CANDIDATE, most=max(500, how.queries // 5), seed=how.seed)
    for lesson, ask in asked(log, lessons, config, until, progress):
        ask(learned if lesson.ts < judged_from else unseen)
    table = learned.table()
    progress("trees", 0, 0)
    boosting = Boosting(trees=how.trees, leaves=how.leaves, learning_rate=how.learning_rate, seed=how.seed)
    rewards = dict(zip(OBJECTIVES, rewards_of(how), strict=True))
    heads = fit_heads(table, learned.columns, OBJECTIVES, rewards, boosting)
    meta = {
        "first_offset": lessons[0].offset, "last_offset": until, "from_ts": start, "to_ts": last,
        "asked": learned.asked, "queries": len(table), "rows": int(table.rows.shape[0]),
        "right": dict(zip(OBJECTIVES, table.labels.sum(axis=0).tolist(), strict=True)),
        "settings": structs.asdict(how), "seconds": round(perf_counter() - began, 1),
    }  # fmt: skip
    return Trained(heads, learned.columns, table, unseen.table(), meta)


def rewards_of(how: LearningConfig) -> list[float]:
    """The rewards in the order of ``OBJECTIVES``."""
    unknown = set(how.rewards) - set(OBJECTIVES)
    if unknown:
        raise InvalidInput(f"learning.rewards names {', '.join(sorted(unknown))}; known: {', '.join(OBJECTIVES)}")
    return [how.rewards.get(objective, 0.0) for objective in OBJECTIVES]


def asked(
    log: EventLog, lessons: Sequence[Lesson], config: Config, until: int, progress: Progress
) -> Iterator[tuple[Lesson, Callable[[Examples], None]]]:
    """Replay the log; at each lesson yield it and what notes its rows."""
    clock, done = VirtualClock(0), 0
    with Engine(MemoryLog(), config, Runtime(clock, seed=1)) as engine:
        for events, due in cut(log, lessons, until):
            if events:
                clock.ts = events[-1].event.ts
                engine.replay([stored.event for stored in events])
            if due is None:
                continue
            lesson, event = due
            query = question(lesson, event)
            clock.ts = lesson.ts

            def ask(into: Examples, query: Query = query, lesson: Lesson = lesson) -> None:
                into.take(engine.recommender, query, lesson.ts, lesson.relevant)

            yield lesson, ask
            done += 1
            if done % 100 == 0:
                progress("replay", done, len(lessons))


def question(lesson: Lesson, event: Interaction) -> Query:
    """What would have been asked right before ``event``."""
    on_page = lesson.page_item is not None
    return Query(
        user_id=event.user_id, anon_id=event.anon_id, ts=lesson.ts, context=event.context,
        placement="product" if on_page else "home", items=[lesson.page_item] if lesson.page_item else [],
    )  # fmt: skip


def cut(
    log: EventLog, lessons: Sequence[Lesson], until: int
) -> Iterator[tuple[list[Stored], tuple[Lesson, Interaction] | None]]:
    """The log in pieces: events to fold, and the lesson that comes after them with the interaction that answers it.

    No piece is longer than a chunk; what comes after the last lesson is not read.
    """
    after, place = 0, 0
    while place < len(lessons) and after < until and (chunk := log.read(after, CHUNK)):
        after, begin = chunk[-1].offset, 0
        for k, stored in enumerate(chunk):
            if place < len(lessons) and stored.offset == lessons[place].offset:
                assert isinstance(stored.event, Interaction)
                yield chunk[begin:k], (lessons[place], stored.event)
                place, begin = place + 1, k
        yield chunk[begin:], None
