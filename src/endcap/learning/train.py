r"""Train: replay a log on a virtual clock, learn what it teaches, and judge the ranker on the newest requests.

    log -> lessons (moments to ask at) -> replay: fold up to the moment, read the candidates' rows -> trees -> gate
                                             \-> what sources speak by, fitted on everything at the end

Lessons are of two kinds: logged slates that were rewarded (learning/logged.py), and what shoppers did next
(learning/lessons.py). With ``slates_enough`` slates the first kind are three of four; below that the second fill up in
proportion. The gate judges by both kinds in the same proportion.

The replay drives an engine in memory, with the same fold and the same reads as the one that serves (laws L1, L4); the
log is only read, so a server may be writing it. Everything after the moment of a request is unknown to its rows (law
L9): the vectors that rows are read with are fitted where the window begins. The newest part of the window is not
learned: it is what the gate judges by.

A deep model serves only if a ranker that sees its proposals is better than one that does not (learning/worth.py). The
ranking network learns from the rows that the trees learn from and stands before the same gate.

Cost: about 0.3 ms per request asked, 5 us per event folded, the trees, and the vectors twice; 12,000 requests on a log
of a million events take about a minute of one core; a log with slates is folded twice. Memory: the state, and the rows
kept (learning/examples.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from msgspec import structs

from endcap.artifacts import read_artifact
from endcap.config import Config, LearningConfig
from endcap.engine import Engine, Progress, silent
from endcap.errors import ArtifactError, InvalidInput
from endcap.learning.boosting import Boosting, TooFewExamples, fit_heads
from endcap.learning.examples import AGAIN, Examples, Table, mixed
from endcap.learning.gate import LEAST_QUERIES, Verdict, judge
from endcap.learning.lessons import OBJECTIVES, Lesson, Story, window_start
from endcap.learning.logged import Logged, SlateLesson, SlateRows, read_slates
from endcap.learning.networks import require_torch
from endcap.learning.rankers import save_onnx, save_trees
from endcap.learning.ratings import Ratings, ratings_of
from endcap.learning.sequences import NotedState
from endcap.learning.store import RANKER, ModelStore
from endcap.learning.vectors import ALWAYS, fit_vectors
from endcap.learning.worth import Blind, without
from endcap.models.linear import LinearRanker
from endcap.models.network import MODELS
from endcap.models.plugged import plug_onnx
from endcap.models.tree_ranker import Head, TreeRanker
from endcap.protocols import EventLog, Ranker
from endcap.runtime import Runtime, VirtualClock
from endcap.sources import TRAINED, Trained
from endcap.state import State
from endcap.stores.memory import MemoryLog
from endcap.types import Event, Impression, Interaction, Query, Stored

CHUNK = 20_000
ASKED_PER_KEPT = 3  # many requests have no right answer among their candidates
EVERY_CANDIDATE = 1_024  # for the gate
LEAST_REPLAY = 0.25  # of the examples: slates say nothing of candidates that were never shown
JUDGED = 5  # one request is judged by for so many learned from
RANKING = "youtube_ranker"  # what the ranking network is asked for by; in service it is a ranker
Moment = Lesson | SlateLesson


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a replay of the log gave."""

    columns: tuple[str, ...]
    learned: Table
    unseen: Table
    vectors: dict[str, Trained | str]  # by kind: fitted at the end, or why not
    meta: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training run led to."""

    number: int = 0  # of the ranker, 0 = none was trained
    promoted: bool = False
    verdict: Verdict | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    vectors: dict[str, int | str] = field(default_factory=dict)  # by kind: number of what was stored, or why not
    worth: dict[str, Verdict] = field(default_factory=dict)  # by deep model: what it brings; passed = it serves now
    network: Outcome | str | None = None  # of the ranking network, or why there is none
    why_no_trees: str = ""


def train_and_judge(
    log: EventLog, directory: Path, config: Config, *, kinds: Collection[str] = (), force: bool = False,
    progress: Progress = silent,
) -> Outcome:  # fmt: skip
    """Train these kinds and store them; none named: the ranker, factors, content, alike, and networks that serve.

    Factors, content and alike serve at once, a deep model if it helps the ranker, a ranker if the gate lets it pass (or
    all of them by ``force``). With a deep model the trees are always trained: by them the model is judged. The ranking
    network (``youtube_ranker``) comes last, so that with both it must be as good as the new trees.
    """
    began, store = perf_counter(), ModelStore(directory)
    serving = [kind for kind in TRAINED if store.serving(kind)]
    kinds = set(kinds or (*ALWAYS, RANKER, *serving, *((RANKING,) if network_serves(store) else ())))
    deep = [kind for kind in MODELS if kind in kinds]
    if deep:
        kinds.add(RANKER)
    if RANKING in kinds:
        require_torch(RANKING)
    used = [kind for kind in TRAINED if kind in kinds or kind in serving]
    checkpoints = store.folder / "checkpoints" if deep or RANKING in kinds else None
    done = rehearse(
        log, config, vectors=used, fitted=kinds, ask=bool(kinds & {RANKER, RANKING}), progress=progress,
        checkpoints=checkpoints,
    )  # fmt: skip
    worth: dict[str, Verdict] = {}
    if RANKER in kinds:
        progress("trees", 0, 0)
        judged = [kind for kind in deep if not isinstance(done.vectors[kind], str)]
        worth = {kind: worth_of(kind, judged, done, config.learning) for kind in judged}
    vectors: dict[str, int | str] = {}
    for kind, model in done.vectors.items():
        if kind in worth and not isinstance(model, str):
            model.meta["gate"] = structs.asdict(worth[kind])
        vectors[kind] = model if isinstance(model, str) else store.save(model.save)
        if not isinstance(model, str) and (kind not in worth or worth[kind].passed or force):
            store.promote(int(vectors[kind]), done.columns)
    hidden = [kind for kind, verdict in worth.items() if not (verdict.passed or force)]
    contest = Contest(store, done, config, hidden, force, began)
    try:
        trees = contest.trees() if RANKER in kinds else Outcome(meta=done.meta)
    except TooFewExamples as few:
        if all(isinstance(found, str) for found in vectors.values()):
            raise  # nothing at all was trained
        trees = Outcome(meta=done.meta, why_no_trees=few.message)
    network = contest.network(progress, checkpoints) if RANKING in kinds else None
    return replace(trees, vectors=vectors, worth=worth, network=network)


@dataclass(frozen=True, slots=True)
class Contest:
    """New rankers, each against the one that serves when its turn comes."""

    store: ModelStore
    done: Rehearsal
    config: Config
    hidden: Sequence[str]  # deep models that do not serve
    force: bool
    began: float  # perf_counter

    def trees(self) -> Outcome:
        """Trees of every objective."""
        columns, heads = self.done.columns, grown(self.done, self.config.learning, self.hidden)
        ranker = TreeRanker("trees-new", columns, heads)
        return self._judged(ranker, lambda path, meta: save_trees(path, heads, columns, meta), {})

    def network(self, progress: Progress, checkpoints: Path | None) -> Outcome | str:
        """The ranking network, or why there is none."""
        from endcap.learning.networks.ranking import fit_ranking

        done, how = self.done, self.config
        table = without(done.learned, done.columns, self.hidden)
        try:
            graph, told = fit_ranking(table, done.columns, rewards_of(how.learning), how.deep, progress, checkpoints)
        except TooFewExamples as few:
            return few.message
        ranker = plug_onnx("ranking-new", graph, done.columns)
        facts = {"network": RANKING, "fit": told, "deep": structs.asdict(how.deep)}
        return self._judged(ranker, lambda path, meta: save_onnx(path, graph, meta), facts)

    def _judged(self, ranker: Ranker, write: Callable[[Path, dict[str, Any]], None], facts: dict[str, Any]) -> Outcome:
        columns = self.done.columns
        before = serving_ranker(self.store, columns)
        new, old = (Blind(one, columns, self.hidden) for one in (ranker, before))
        verdict = judge(new, old, self.done.unseen, rewards_of(self.config.learning))
        gate = structs.asdict(verdict)
        meta = {**self.done.meta, **facts, "gate": gate, "seconds": round(perf_counter() - self.began, 1)}
        number = self.store.save(lambda path: write(path, meta))
        promoted = verdict.passed or self.force
        if promoted:
            self.store.promote(number, columns)
        return Outcome(number, promoted, verdict, meta)


def network_serves(store: ModelStore) -> bool:
    """Whether the ranker that serves is a ranking network that was trained here."""
    number = store.serving()
    try:
        return bool(number) and read_artifact(store.path(number)).meta.get("network") == RANKING
    except (ArtifactError, OSError):
        return False


def worth_of(model: str, deep: Collection[str], done: Rehearsal, how: LearningConfig) -> Verdict:
    """What a ranker that sees ``model`` gains over one that sees none of the models ``deep``."""
    others = [kind for kind in deep if kind != model]
    with_it, without_it = (
        Blind(TreeRanker(f"trees-{len(hidden)}", done.columns, grown(done, how, hidden)), done.columns, hidden)
        for hidden in (others, list(deep))
    )
    verdict = judge(with_it, without_it, done.unseen, rewards_of(how))
    helps = verdict.queries >= LEAST_QUERIES and verdict.new - verdict.old > verdict.standard_error
    return structs.replace(
        verdict, passed=helps, why="it helps the ranker" if helps else "it brings the ranker nothing"
    )


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
    progress: Progress = silent, checkpoints: Path | None = None,
) -> Rehearsal:  # fmt: skip
    """Replay a log, note the rows of requests of its newest window (``ask``), and fit ``fitted`` at the end.

    ``vectors``: kinds that rows are read with, fitted on what came before the window. Deep models among them are asked
    on every placement, whether or not it names them.
    """
    config = asking(config, [kind for kind in MODELS if kind in vectors])
    how, until = config.learning, log.last_offset()
    if how.slates_enough < 1:
        raise InvalidInput(f"learning.slates_enough is {how.slates_enough}; expected at least 1")
    story = Story(log, until)
    start = window_start(story, how.window_d)
    last = int(story.ts.max())
    logged = read_slates(log, until, config, start, progress) if ask else Logged()
    plan = planned(logged, start, last, how)
    lessons = story.lessons(start, plan.replayed * ASKED_PER_KEPT, how.seed) if ask else []
    moments: list[Moment] = sorted([*lessons, *plan.slates], key=lambda one: one.offset)
    reader = SlateRows(config)
    replayed, shown, unseen, unseen_shown = (
        Examples(OBJECTIVES, negatives=negatives, most=most, seed=how.seed, again=again)
        for negatives, most, again in (
            (how.negatives, plan.replayed, AGAIN), (0, how.queries, 0),
            (EVERY_CANDIDATE, most_judged(how), 0), (EVERY_CANDIDATE, how.queries, 0),
        )
    )  # fmt: skip
    clock = VirtualClock(0)
    noted = NotedState if any(kind in MODELS for kind in (*vectors, *fitted)) else State
    early, late = (checkpoints / part if checkpoints else None for part in ("window", "end"))
    with Engine(MemoryLog(), config, Runtime(clock, seed=1), new_state=noted) as engine:
        for n, (moment, note) in enumerate(asked(log, moments, engine, clock, until, reader, progress)):
            if n == 0 and vectors:
                fit_vectors(engine, vectors, ratings_until(log, moment.offset - 1, config), progress, early)
            before = moment.ts < plan.judged_from
            if isinstance(moment, SlateLesson):
                note(shown if before else unseen_shown)
            else:
                note(replayed if before else unseen)
        columns = engine.columns
        ratings = ratings_until(log, until, config) if "factors" in fitted else None
        found = fit_vectors(engine, fitted, ratings, progress, late)
    table, as_new = mixed(shown, replayed), len(replayed.as_new)
    meta = {
        "first_offset": moments[0].offset if moments else 0, "last_offset": until, "from_ts": start, "to_ts": last,
        "asked": replayed.asked + shown.asked, "queries": len(table) - as_new, "rows": int(table.rows.shape[0]),
        "right": dict(zip(OBJECTIVES, table.labels.sum(axis=0).tolist(), strict=True)),
        "examples": {"slates": len(shown), "replay": len(replayed)}, "as_new": as_new,
        "judged": {"slates": len(unseen_shown), "replay": len(unseen)},
        "slates": {"teach": len(logged.lessons), **(logged.counts + reader.counts)},
        "refused": logged.refused,
        "settings": structs.asdict(how),
    }  # fmt: skip
    return Rehearsal(columns, table, mixed(unseen_shown, unseen), found, meta)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is learned from which kind of example."""

    judged_from: int  # epoch ms: what is newer is not learned, the gate judges by it
    slates: list[SlateLesson]
    replayed: int  # most requests of replay that are learned from


def planned(logged: Logged, start: int, last: int, how: LearningConfig) -> Plan:
    """The newest slates, and so many requests of replay as fill up."""
    share = min(1.0, len(logged.lessons) / how.slates_enough)
    newest = logged.lessons[-1].ts if share == 1.0 else last  # the newest day of slates is not closed yet
    judged_from = newest - int((newest - start) * how.judged_share)
    most = how.queries - round(how.queries * LEAST_REPLAY)
    learned = newest_of([one for one in logged.lessons if one.ts < judged_from], most)
    judged = newest_of([one for one in logged.lessons if one.ts >= judged_from], most_judged(how))
    examples = sum(len(one.right) for one in learned)
    beside = examples * LEAST_REPLAY / (1.0 - LEAST_REPLAY)
    fill = min((1.0 - share) * how.queries + share * beside, how.queries - examples)
    return Plan(judged_from, learned + judged, round(fill))


def newest_of(lessons: Sequence[SlateLesson], most: int) -> list[SlateLesson]:
    """The newest slates that give at most ``most`` examples, in order of the log."""
    found: list[SlateLesson] = []
    for lesson in reversed(lessons):
        most -= len(lesson.right)
        if most < 0:
            break
        found.append(lesson)
    return found[::-1]


def most_judged(how: LearningConfig) -> int:
    """Most requests of one kind that the gate judges by."""
    return max(500, how.queries // JUDGED)


def ratings_until(log: EventLog, until: int, config: Config) -> Ratings | None:
    """Ratings up to an offset, where factors are made of ratings."""
    return ratings_of(log, until) if config.factors.method == "mf" else None


def asking(config: Config, deep: Sequence[str]) -> Config:
    """The settings with these deep models among the sources of every placement that a ranker orders."""
    if not deep:
        return config
    placements = {
        name: structs.replace(one, sources=[*one.sources, *(kind for kind in deep if kind not in one.sources)])
        for name, one in config.placements.items()
    }
    return structs.replace(config, placements=placements)


def grown(done: Rehearsal, how: LearningConfig, hidden: Collection[str] = ()) -> list[Head]:
    """The trees of every objective that can be learned, from rows that hide some sources."""
    boosting = Boosting(trees=how.trees, leaves=how.leaves, learning_rate=how.learning_rate, seed=how.seed)
    rewards = dict(zip(OBJECTIVES, rewards_of(how), strict=True))
    return fit_heads(without(done.learned, done.columns, hidden), done.columns, OBJECTIVES, rewards, boosting)


def rewards_of(how: LearningConfig) -> list[float]:
    """The rewards in the order of ``OBJECTIVES``."""
    unknown = set(how.rewards) - set(OBJECTIVES)
    if unknown:
        raise InvalidInput(f"learning.rewards names {', '.join(sorted(unknown))}; known: {', '.join(OBJECTIVES)}")
    return [how.rewards.get(objective, 0.0) for objective in OBJECTIVES]


def asked(
    log: EventLog, moments: Sequence[Moment], engine: Engine, clock: VirtualClock, until: int, reader: SlateRows,
    progress: Progress,
) -> Iterator[tuple[Moment, Callable[[Examples], None]]]:  # fmt: skip
    """Replay the log into ``engine``, whose clock is ``clock``; at each moment yield it and what notes its rows."""
    done = 0
    for events, due in cut(log, moments, until):
        if events:
            clock.ts = events[-1].event.ts
            engine.replay([stored.event for stored in events])
        if due is None:
            continue
        moment, event = due
        clock.ts = moment.ts

        def note(into: Examples, moment: Moment = moment, event: Event = event) -> None:
            if isinstance(moment, SlateLesson):
                assert isinstance(event, Impression)
                reader.take(into, engine.recommender, event, moment)
            else:
                assert isinstance(event, Interaction)
                into.take(engine.recommender, question(moment, event), moment.ts, moment.relevant)

        yield moment, note
        done += 1
        if done % 100 == 0:
            progress("replay", done, len(moments))


def question(lesson: Lesson, event: Interaction) -> Query:
    """What would have been asked right before ``event``."""
    on_page = lesson.page_item is not None
    return Query(
        user_id=event.user_id, anon_id=event.anon_id, ts=lesson.ts, context=event.context,
        placement="product" if on_page else "home", items=[lesson.page_item] if lesson.page_item else [],
    )  # fmt: skip


def cut(
    log: EventLog, moments: Sequence[Moment], until: int
) -> Iterator[tuple[list[Stored], tuple[Moment, Event] | None]]:
    """The log in pieces: events to fold, and the moment that comes after them with the event that answers it.

    No piece is longer than a chunk.
    """
    after, place = 0, 0
    while after < until and (chunk := [one for one in log.read(after, CHUNK) if one.offset <= until]):
        after, begin = chunk[-1].offset, 0
        for k, stored in enumerate(chunk):
            if place < len(moments) and stored.offset == moments[place].offset:
                yield chunk[begin:k], (moments[place], stored.event)
                place, begin = place + 1, k
        yield chunk[begin:], None
