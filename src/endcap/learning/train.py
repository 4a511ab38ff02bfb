r"""Train: replay a log on a virtual clock, learn what it teaches, and judge the ranker on the newest requests.

    log -> lessons (moments to ask at) -> replay: fold up to the moment, read the candidates' rows -> trees -> gate
                                             \-> factors and content space, fitted on everything at the end

The replay drives an engine in memory, with the same fold and the same reads as the one that serves (laws L1, L4); the
log is only read, so a server may be writing it. Everything after the moment of a request is unknown to its rows (law
L9): the vectors that rows are read with are fitted where the window begins. The newest part of the window is not
learned: it is what the gate judges by.

Cost: about 0.3 ms per request asked, 5 us per event folded, the trees, and the vectors twice; 12,000 requests on a log
of a million events take about a minute of one core. Memory: the state, and the rows kept (learning/examples.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
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
from endcap.learning.rankers import save_trees
from endcap.learning.ratings import Ratings, ratings_of
from endcap.learning.store import KINDS, Kind, ModelStore
from endcap.learning.vectors import fit_vectors
from endcap.models.content import ContentModel
from endcap.models.factors import Factors
from endcap.models.linear import LinearRanker
from endcap.models.tree_ranker import Head, TreeRanker
from endcap.protocols import EventLog, Ranker
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import Interaction, Query, Stored

CHUNK = 20_000
ASKED_PER_KEPT = 3  # many requests have no right answer among their candidates
EVERY_CANDIDATE = 1_024  # for the gate
VECTORS: tuple[Kind, ...] = ("factors", "content")


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a replay of the log gave."""

    columns: tuple[str, ...]
    learned: Table
    unseen: Table
    vectors: dict[str, Factors | ContentModel | str]  # by kind: fitted at the end, or why not
    meta: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training run led to."""

    number: int = 0  # of the ranker, 0 = none was trained
    promoted: bool = False
    verdict: Verdict | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    vectors: dict[str, int | str] = field(default_factory=dict)  # by kind: number of what serves now, or why not


def train_and_judge(
    log: EventLog, directory: Path, config: Config, *, kinds: Collection[Kind] = KINDS, force: bool = False,
    progress: Progress = silent,
) -> Outcome:  # fmt: skip
    """Train these kinds and store them. Vectors serve at once, the ranker if the gate lets it pass (or ``force``)."""
    began, store = perf_counter(), ModelStore(directory)
    pointer = store.pointer()
    used = [kind for kind in VECTORS if kind in kinds or pointer.serving(kind)]
    done = rehearse(log, config, vectors=used, fitted=kinds, ask="ranker" in kinds, progress=progress)
    vectors: dict[str, int | str] = {}
    for kind, model in done.vectors.items():
        vectors[kind] = model if isinstance(model, str) else store.save(model.save)
        if not isinstance(model, str):
            store.promote(int(vectors[kind]), done.columns)
    if "ranker" not in kinds:
        return Outcome(vectors=vectors, meta=done.meta)
    progress("trees", 0, 0)
    heads = grown(done, config.learning)
    ranker = TreeRanker("trees-new", done.columns, heads)
    verdict = judge(ranker, serving_ranker(store, done.columns), done.unseen, rewards_of(config.learning))
    gate = {"new": verdict.new, "old": verdict.old, "queries": verdict.queries}
    meta = {**done.meta, "gate": gate, "seconds": round(perf_counter() - began, 1)}
    number = store.save(lambda path: save_trees(path, heads, done.columns, meta))
    promoted = verdict.passed or force
    if promoted:
        store.promote(number, done.columns)
    return Outcome(number, promoted, verdict, meta, vectors)


def serving_ranker(store: ModelStore, columns: tuple[str, ...]) -> Ranker:
    """The ranker to beat: the one that serves; the fixed weights where none does or it no longer fits."""
    number = store.serving()
    if number:
        try:
            return store.ranker(number, columns)
        except Exception:  # it could not serve either
            return LinearRanker(columns)
    return LinearRanker(columns)


def rehearse(
    log: EventLog, config: Config, *, vectors: Collection[str] = (), fitted: Collection[str] = (), ask: bool = True,
    progress: Progress = silent,
) -> Rehearsal:  # fmt: skip
    """Replay a log, note the rows of requests of its newest window (``ask``), and fit ``fitted`` at the end.

    ``vectors``: kinds that rows are read with, fitted on what came before the window.
    """
    how, until = config.learning, log.last_offset()
    story = Story(log, until)
    start = window_start(story, how.window_d)
    last = int(story.ts.max())
    judged_from = last - int((last - start) * how.judged_share)
    lessons = story.lessons(start, how.queries * ASKED_PER_KEPT, how.seed) if ask else []
    learned = Examples(OBJECTIVES, negatives=how.negatives, most=how.queries, seed=how.seed)
    unseen = Examples(OBJECTIVES, negatives=EVERY_CANDIDATE, most=max(500, how.queries // 5), seed=how.seed)
    clock = VirtualClock(0)
    with Engine(MemoryLog(), config, Runtime(clock, seed=1)) as engine:
        for n, (lesson, note) in enumerate(asked(log, lessons, engine, clock, until, progress)):
            if n == 0 and vectors:
                fit_vectors(engine, vectors, ratings_until(log, lesson.offset - 1, config))
            note(learned if lesson.ts < judged_from else unseen)
        columns = engine.columns
        kinds = [kind for kind in VECTORS if kind in fitted]
        found = fit_vectors(engine, kinds, ratings_until(log, until, config) if "factors" in kinds else None)
    table = learned.table()
    meta = {
        "first_offset": lessons[0].offset if lessons else 0, "last_offset": until, "from_ts": start, "to_ts": last,
        "asked": learned.asked, "queries": len(table), "rows": int(table.rows.shape[0]),
        "right": dict(zip(OBJECTIVES, table.labels.sum(axis=0).tolist(), strict=True)),
        "settings": structs.asdict(how),
    }  # fmt: skip
    return Rehearsal(columns, table, unseen.table(), found, meta)


def ratings_until(log: EventLog, until: int, config: Config) -> Ratings | None:
    """Ratings up to an offset, where factors are made of ratings."""
    return ratings_of(log, until) if config.factors.method == "mf" else None


def grown(done: Rehearsal, how: LearningConfig) -> list[Head]:
    """The trees of every objective that can be learned."""
    boosting = Boosting(trees=how.trees, leaves=how.leaves, learning_rate=how.learning_rate, seed=how.seed)
    rewards = dict(zip(OBJECTIVES, rewards_of(how), strict=True))
    return fit_heads(done.learned, done.columns, OBJECTIVES, rewards, boosting)


def rewards_of(how: LearningConfig) -> list[float]:
    """The rewards in the order of ``OBJECTIVES``."""
    unknown = set(how.rewards) - set(OBJECTIVES)
    if unknown:
        raise InvalidInput(f"learning.rewards names {', '.join(sorted(unknown))}; known: {', '.join(OBJECTIVES)}")
    return [how.rewards.get(objective, 0.0) for objective in OBJECTIVES]


def asked(
    log: EventLog, lessons: Sequence[Lesson], engine: Engine, clock: VirtualClock, until: int, progress: Progress
) -> Iterator[tuple[Lesson, Callable[[Examples], None]]]:
    """Replay the log into ``engine``, whose clock is ``clock``; at each lesson yield it and what notes its rows."""
    done = 0
    for events, due in cut(log, lessons, until):
        if events:
            clock.ts = events[-1].event.ts
            engine.replay([stored.event for stored in events])
        if due is None:
            continue
        lesson, event = due
        query = question(lesson, event)
        clock.ts = lesson.ts

        def note(into: Examples, query: Query = query, lesson: Lesson = lesson) -> None:
            into.take(engine.recommender, query, lesson.ts, lesson.relevant)

        yield lesson, note
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

    No piece is longer than a chunk.
    """
    after, place = 0, 0
    while after < until and (chunk := [one for one in log.read(after, CHUNK) if one.offset <= until]):
        after, begin = chunk[-1].offset, 0
        for k, stored in enumerate(chunk):
            if place < len(lessons) and stored.offset == lessons[place].offset:
                assert isinstance(stored.event, Interaction)
                yield chunk[begin:k], (lessons[place], stored.event)
                place, begin = place + 1, k
        yield chunk[begin:], None
