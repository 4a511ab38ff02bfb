"""Replay: drives real engines along a data set, asks every model the same queries, keeps the lists.

One pass serves all: in the lane without delay the hybrid (the slate that a shop would show, by ``Engine.recommend``)
and every single model from the same state; beside it one lane per further delay, and variants of the hybrid with other
sources. No second pipeline: what is scored here is what serves.

Training on the virtual clock: queries of the warm-up go to the ``Trainer`` with their answers, at the moment at which
they would have been asked; at the end of the warm-up, and ``refreshes`` times during the test, it fits a new ranker,
which takes over after as much virtual time as the fit took. ``refit`` is for models that learn from the state as a
whole (factors, content): it is called before the first example, at the end of the warm-up and at every refresh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Protocol

import numpy as np
from msgspec import structs

from endcap.config import Config, PlacementConfig
from endcap.engine import Engine
from endcap.evaluation.dataset import Dataset
from endcap.evaluation.lane import FROZEN, Lane, Side
from endcap.evaluation.plan import DAY_MS, EXAMPLES, Plan, training_plan
from endcap.evaluation.singles import NONE, POPULAR_DEPTH, Singles, group_for, padded
from endcap.protocols import Ranker
from endcap.recommend import Recommender
from endcap.sources import SOURCES
from endcap.types import F8, I4, Query, Slate

HYBRID = "hybrid"
PLACEMENT = "evaluation"
DEPTH = 20
UNTRAINED = "linear"  # the ranker that serves until one is trained

Progress = Callable[[str, int, int], None]


def silent(_stage: str, _done: int, _total: int) -> None:
    """No progress wanted."""


class Trainer(Protocol):
    """Learns a ranker from queries and what was right; see learning/."""

    def on_query(self, recommender: Recommender, query: Query, t_ms: int, relevant: Sequence[str]) -> None:
        """Take the feature rows of this query's candidates now, before its answer is folded."""
        ...

    def fit(self) -> Ranker:
        """A ranker from everything taken so far."""
        ...


@dataclass(frozen=True, slots=True)
class Delay:
    """How late a lane knows what happened."""

    name: str
    ms: int
    side: Side = "all"


@dataclass(frozen=True, slots=True)
class Variant:
    """The hybrid, made differently: without some sources, or with a trainer of its own."""

    without: frozenset[str] = frozenset()
    trainer: Trainer | None = None


@dataclass(slots=True)
class Run:
    """What every model listed, in codes of the data set; ``NONE`` fills short lists."""

    plan: Plan
    lists: dict[str, I4]  # [q, DEPTH]
    popular: I4  # [q, POPULAR_DEPTH] the week's most popular items at that moment
    latency_us: F8  # [q] of the hybrid, whole request
    n_candidates: I4  # [q] distinct items that the hybrid ranked
    n_reachable: I4  # [q] right answers among them: no ranker can hit more
    fits: list[tuple[int, float]] = field(default_factory=list)  # virtual time of each fit, its duration in s
    examples: int = 0  # queries that the trainer saw
    refused: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(slots=True)
class Shelf:
    """One way to make the hybrid's list, and what trains it."""

    lane: Lane
    recommend: Callable[[Query, int], Slate]
    recommender: Recommender
    trainer: Trainer | None
    due: list[tuple[int, Ranker]] = field(default_factory=list)  # rankers and the time from which they serve


def evaluation_config(config: Config, plan: Plan, without: frozenset[str] = frozenset()) -> Config:
    """The config with one more placement: every source, ranked by score alone, as long as the metrics look.

    A configured placement of that name is used as it is, with the plan's rule for items the shopper already has.
    """
    given = config.placements.get(PLACEMENT)
    if given is None:
        given = PlacementConfig(sources=list(SOURCES), diversity=0.0)
    sources = [name for name in given.sources if name not in without]
    placement = structs.replace(given, sources=sources, n=DEPTH, seen=plan.seen)
    return structs.replace(config, placements={**config.placements, PLACEMENT: placement})


class Replay:
    """One run of one plan."""

    def __init__(
        self, data: Dataset, plan: Plan, config: Config, *, trainer: Trainer | None = None,
        delays: Sequence[Delay] = (), variants: Mapping[str, Variant] | None = None, models: Sequence[str] = (),
        refit: Callable[[Engine], object] | None = None, refreshes: int = 1, n_examples: int = EXAMPLES, seed: int = 0,
        deep: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """``models``: single models to read, all when empty. ``refreshes``: fits during the test window.

        ``deep``: deep models that ``refit`` trains; only lanes without delay have them.
        """
        self._data, self._plan = data, plan
        self._refit, self._refreshes = refit, 0 if plan.shared_frozen else refreshes
        frozen = Delay("", FROZEN, "shared") if plan.shared_frozen else Delay("", 0)
        own = evaluation_config(config, plan)
        self._main = Lane(data, plan, own, frozen.ms, frozen.side, noted=True)
        engine = self._main.engine
        self._shelves = {HYBRID: engine_shelf(self._main, trainer)}
        for name, variant in (variants or {}).items():
            recommender = Recommender(
                engine.state, evaluation_config(config, plan, variant.without), engine.recommender.sources
            )
            self._shelves[name] = Shelf(self._main, recommended_by(recommender), recommender, variant.trainer)
        for delay in delays:
            self._shelves[f"{HYBRID}@{delay.name}"] = engine_shelf(Lane(data, plan, own, delay.ms, delay.side), None)
        self._training = training_plan(data, plan, n=n_examples, seed=seed) if self._trained() else None
        self._horizon = DAY_MS if plan.target == "buy24h" else 0  # answers are known this much later
        self._singles = Singles(engine.recommender, DEPTH, group_for(data, plan.target), models, deep)
        lists = {name: np.full((len(plan), DEPTH), NONE, np.int32) for name in (*self._shelves, *self._singles.names)}
        n = len(plan)
        self._run = Run(
            plan, lists, np.full((n, POPULAR_DEPTH), NONE, np.int32), np.zeros(n),
            np.zeros(n, np.int32), np.zeros(n, np.int32),
        )  # fmt: skip

    def run(self, progress: Progress = silent) -> Run:
        """Warm up, train, test."""
        began, cpu = perf_counter(), process_time()
        try:
            self._warm_up(progress)
            self._test(progress)
            self._to_codes()
        finally:
            for lane in self._lanes():
                lane.close()
        self._run.refused = self._main.refused
        self._run.seconds, self._run.cpu_seconds = perf_counter() - began, process_time() - cpu
        return self._run

    def _lanes(self) -> list[Lane]:
        return list({id(shelf.lane): shelf.lane for shelf in self._shelves.values()}.values())

    def _trained(self) -> list[Shelf]:
        return [shelf for shelf in self._shelves.values() if shelf.trainer is not None]

    # ------------------------------------------------------------ train

    def _warm_up(self, progress: Progress) -> None:
        plan, training = self._plan, self._training
        ends = int(self._data.ts[plan.fold[plan.begin - 1]])
        if training is not None and len(training):
            self._main.advance(int(training.at[0]), int(training.ts[0]))
            self._refit_models(self._main)
            for q in range(len(training)):
                if int(training.ts[q]) + self._horizon <= ends:
                    self._collect(training, q)
                if q % 100 == 0:
                    progress("warm-up", q, len(training))
        self._main.advance(plan.begin, ends)
        progress("warm-up", 1, 1)
        self._fit(int(plan.ts[0]))
        query = self._main.query(int(plan.event[0]), int(plan.ts[0]), DEPTH, PLACEMENT)
        for lane in self._lanes():
            lane.advance(plan.begin, ends)
            self._refit_models(lane)
        for shelf in self._shelves.values():
            shelf.recommend(query, int(plan.ts[0]))  # compiles what is not compiled yet, so that no timing holds it

    def _collect(self, plan: Plan, q: int) -> None:
        """One example for every trainer: a query and its answer."""
        t_ms = int(plan.ts[q])
        self._main.advance(int(plan.at[q]), t_ms)
        query = self._main.query(int(plan.event[q]), t_ms, DEPTH, PLACEMENT)
        names = [self._data.item_names[item] for item in plan.answers(q).tolist()]
        self._run.examples += 1
        for shelf in self._trained():
            assert shelf.trainer is not None
            shelf.trainer.on_query(shelf.recommender, query, t_ms, names)

    def _fit(self, t_ms: int) -> None:
        """Fit now; serve when the fit would have been done, at once when it is the first."""
        for shelf in self._trained():
            assert shelf.trainer is not None
            began = perf_counter()
            ranker = shelf.trainer.fit()
            seconds = perf_counter() - began
            self._run.fits.append((t_ms, seconds))
            first = shelf.recommender.ranker.name == UNTRAINED and not shelf.due
            shelf.due.append((t_ms if first else t_ms + int(1000 * seconds), ranker))

    def _refit_models(self, lane: Lane) -> None:
        if self._refit is not None:
            self._refit(lane.engine)

    def _serve_new_rankers(self, t_ms: int) -> None:
        """What the hybrid's trainer made serves in every lane, but for frozen ones, which keep the first."""
        hybrid = self._shelves[HYBRID]
        for shelf in self._trained():
            while shelf.due and shelf.due[0][0] <= t_ms:
                ranker = shelf.due.pop(0)[1]
                shelf.recommender.use_ranker(ranker)
                for late in self._shelves.values() if shelf is hybrid else ():
                    is_first = late.recommender.ranker.name == UNTRAINED
                    if late.lane is not self._main and (is_first or late.lane.delay_ms != FROZEN):
                        late.recommender.use_ranker(ranker)

    # ------------------------------------------------------------ test

    def _test(self, progress: Progress) -> None:
        plan = self._plan
        span = int(plan.ts[-1]) - int(plan.ts[0])
        refresh = [int(plan.ts[0]) + span * (k + 1) // (self._refreshes + 1) for k in range(self._refreshes)]
        for q in range(len(plan)):
            t_ms = int(plan.ts[q])
            if refresh and t_ms >= refresh[0]:
                for lane in self._lanes():
                    if lane.delay_ms != FROZEN or lane.side == "shared":
                        self._refit_models(lane)
                self._fit(refresh.pop(0))
            self._serve_new_rankers(t_ms)
            self._ask(q, t_ms)
            if refresh and self._trained() and t_ms + self._horizon <= refresh[0]:
                self._collect(plan, q)
            if q % 100 == 0:
                progress("test", q, len(plan))
        progress("test", len(plan), len(plan))

    def _ask(self, q: int, t_ms: int) -> None:
        """Every model's list for one query."""
        plan, lists, main = self._plan, self._run.lists, self._main
        at, event = int(plan.at[q]), int(plan.event[q])
        query = main.query(event, t_ms, DEPTH, PLACEMENT)
        for lane in self._lanes():
            lane.advance(at, t_ms)
        for name, shelf in self._shelves.items():
            began = perf_counter()
            slate = shelf.recommend(query, t_ms)
            if name == HYBRID:
                self._run.latency_us[q] = 1e6 * (perf_counter() - began)
                self._note_candidates(q)
            number = shelf.recommender.state.items.get
            lists[name][q] = padded(np.array([number(one.item_id) for one in slate.items], np.int32), DEPTH)
        recommender = main.engine.recommender
        ask = recommender.understand(query, t_ms)
        recommender.begin_guard(ask)
        for name, items in self._singles.read(ask).items():
            lists[name][q] = items
        self._run.popular[q] = self._singles.week()

    def _note_candidates(self, q: int) -> None:
        """Whether the last request could have hit at all."""
        recommender = self._main.engine.recommender
        number = recommender.state.items.get
        right = [number(self._data.item_names[item]) for item in self._plan.answers(q).tolist()]
        self._run.n_candidates[q] = len(recommender.candidates)
        self._run.n_reachable[q] = len(recommender.candidates.rows_of(right))

    def _to_codes(self) -> None:
        """From each lane's dense ids to the data set's codes."""
        code_of = {name: code for code, name in enumerate(self._data.item_names)}
        for model, lists in (*self._run.lists.items(), (HYBRID, self._run.popular)):
            state = self._shelves.get(model, self._shelves[HYBRID]).recommender.state
            codes = np.array([code_of[state.items.name(i)] for i in range(len(state.items))], np.int32)
            lists[lists >= 0] = codes[lists[lists >= 0]]


def engine_shelf(lane: Lane, trainer: Trainer | None) -> Shelf:
    """The slate as a shop's server makes it."""
    return Shelf(lane, lambda query, _t_ms: lane.engine.recommend(query), lane.engine.recommender, trainer)


def recommended_by(recommender: Recommender) -> Callable[[Query, int], Slate]:
    """The slate of a read side of its own over a lane's state."""
    return lambda query, t_ms: recommender.recommend(query, t_ms, "variant")
