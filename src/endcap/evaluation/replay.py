"""Replay: drives real engines along a data set, asks every model the same queries, keeps the lists.

One pass serves all: in the lane without delay the hybrid (the slate that a shop would show, by ``Engine.recommend``)
and every single model from the same state; beside it one lane per further delay. No second pipeline: what is scored
here is what serves.

Training on the virtual clock: queries of the warm-up go to the ``Trainer`` with their answers, at the moment at which
they would have been asked; at the end of the warm-up, and ``refreshes`` times during the test, it fits a new ranker,
which takes over after as much virtual time as the fit took.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Protocol

import numpy as np
from msgspec import structs

from endcap.config import Config, PlacementConfig
from endcap.evaluation.dataset import CLICK, VIEW, Dataset
from endcap.evaluation.lane import FROZEN, Lane, Side
from endcap.evaluation.plan import DAY_MS, Plan
from endcap.evaluation.singles import NONE, Singles, group_of, padded
from endcap.protocols import Ranker
from endcap.recommend import Recommender
from endcap.types import F8, I4, Query

HYBRID = "hybrid"
PLACEMENT = "evaluation"
DEPTH = 20

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


@dataclass(slots=True)
class Run:
    """What every model listed, in codes of the data set; ``NONE`` fills short lists."""

    plan: Plan
    lists: dict[str, I4]  # [q, DEPTH]
    latency_us: F8  # [q] of the hybrid, whole request
    fits: list[tuple[int, float]] = field(default_factory=list)  # virtual time of each fit, its duration in s
    refused: int = 0
    seconds: float = 0.0


def evaluation_config(config: Config, plan: Plan) -> Config:
    """The config with one more placement: every source, ranked by score alone, as long as the metrics look."""
    home = config.placements["home"]
    sources = [*home.sources, *(name for name in ("bought_together",) if name not in home.sources)]
    placement = PlacementConfig(
        sources=sources, n=DEPTH, filter=home.filter, seen=plan.seen, diversity=0.0, candidates=home.candidates
    )
    return structs.replace(config, placements={**config.placements, PLACEMENT: placement})


class Replay:
    """One run of one plan."""

    def __init__(
        self, data: Dataset, plan: Plan, config: Config, *, trainer: Trainer | None = None,
        training: Plan | None = None, delays: Sequence[Delay] = (), singles: bool = True, refreshes: int = 1,
    ) -> None:  # fmt: skip
        self._data, self._plan = data, plan
        config = evaluation_config(config, plan)
        frozen = Delay("", FROZEN, "shared") if plan.shared_frozen else Delay("", 0)
        self._main = Lane(data, plan, config, frozen.ms, frozen.side)
        self._late = {f"{HYBRID}@{delay.name}": Lane(data, plan, config, delay.ms, delay.side) for delay in delays}
        self._trainer, self._training = trainer, training
        self._refreshes = 0 if plan.shared_frozen else refreshes
        viewed = bool(np.isin(data.action, (VIEW, CLICK)).any())
        self._group = group_of(plan.target, viewed)
        self._singles = Singles(self._main.engine.recommender, DEPTH) if singles else None
        self._ranker_due: list[tuple[int, Ranker]] = []
        names = [HYBRID, *self._late, *(self._singles.names if self._singles else ())]
        lists = {name: np.full((len(plan), DEPTH), NONE, np.int32) for name in names}
        self._run = Run(plan, lists, np.zeros(len(plan)))

    def run(self, progress: Progress = silent) -> Run:
        """Warm up, train, test."""
        began = perf_counter()
        try:
            self._warm_up(progress)
            self._test(progress)
            self._to_codes()
            self._run.refused = self._main.refused
        finally:
            for lane in (self._main, *self._late.values()):
                lane.close()
        self._run.seconds = perf_counter() - began
        return self._run

    # ------------------------------------------------------------ train

    def _warm_up(self, progress: Progress) -> None:
        plan, training = self._plan, self._training
        if self._trainer is not None and training is not None:
            horizon = DAY_MS if plan.target == "buy24h" else 0
            ends = int(self._data.ts[plan.fold[plan.begin - 1]])
            for q in range(len(training)):
                if int(training.ts[q]) + horizon <= ends:
                    self._collect(training, q)
                if q % 200 == 0:
                    progress("warm-up", q, len(training))
        self._main.advance(plan.begin, int(self._data.ts[plan.fold[plan.begin - 1]]))
        progress("warm-up", 1, 1)
        if self._trainer is not None:
            self._fit(int(plan.ts[0]))

    def _collect(self, plan: Plan, q: int) -> None:
        """One example for the trainer: a query and its answer."""
        assert self._trainer is not None
        t_ms = int(plan.ts[q])
        self._main.advance(int(plan.at[q]), t_ms)
        query = self._main.query(int(plan.event[q]), t_ms, DEPTH, PLACEMENT)
        names = [self._data.item_names[item] for item in plan.answers(q).tolist()]
        self._trainer.on_query(self._main.engine.recommender, query, t_ms, names)

    def _fit(self, t_ms: int) -> None:
        """Fit now, serve when the fit would have been done."""
        assert self._trainer is not None
        began = perf_counter()
        ranker = self._trainer.fit()
        seconds = perf_counter() - began
        self._run.fits.append((t_ms, seconds))
        self._ranker_due.append((t_ms + int(1000 * seconds) if len(self._run.fits) > 1 else t_ms, ranker))

    def _serve_new_rankers(self, t_ms: int) -> None:
        while self._ranker_due and self._ranker_due[0][0] <= t_ms:
            _, ranker = self._ranker_due.pop(0)
            for lane in (self._main, *self._late.values()):
                if lane is self._main or lane.delay_ms != FROZEN or len(self._run.fits) == 1:
                    lane.engine.use_ranker(ranker)

    # ------------------------------------------------------------ test

    def _test(self, progress: Progress) -> None:
        plan = self._plan
        n = len(plan)
        span = int(plan.ts[-1]) - int(plan.ts[0])
        refresh = [int(plan.ts[0]) + span * (k + 1) // (self._refreshes + 1) for k in range(self._refreshes)]
        horizon = DAY_MS if plan.target == "buy24h" else 0
        for q in range(n):
            t_ms = int(plan.ts[q])
            if self._trainer is not None and refresh and t_ms >= refresh[0]:
                self._fit(refresh.pop(0))
            self._serve_new_rankers(t_ms)
            self._ask(q, t_ms)
            if self._trainer is not None and refresh and t_ms + horizon <= refresh[0]:
                self._collect(plan, q)
            if q % 100 == 0:
                progress("test", q, n)
        progress("test", n, n)

    def _ask(self, q: int, t_ms: int) -> None:
        """Every model's list for one query."""
        plan, lists, main = self._plan, self._run.lists, self._main
        at, event = int(plan.at[q]), int(plan.event[q])
        main.advance(at, t_ms)
        query = main.query(event, t_ms, DEPTH, PLACEMENT)
        began = perf_counter()
        lists[HYBRID][q] = self._slate(main, query)
        self._run.latency_us[q] = 1e6 * (perf_counter() - began)
        if self._singles is not None:
            recommender = main.engine.recommender
            ask = recommender.understand(query, t_ms)
            recommender.begin_guard(ask)
            for name, items in self._singles.read(ask, self._group).items():
                lists[name][q] = items
        for name, lane in self._late.items():
            lane.advance(at, t_ms)
            lists[name][q] = self._slate(lane, query)

    def _slate(self, lane: Lane, query: Query) -> I4:
        number = lane.engine.state.items.get
        placed = lane.engine.recommend(query).items
        return padded(np.array([number(one.item_id) for one in placed], np.int32), DEPTH)

    def _to_codes(self) -> None:
        """From each lane's dense ids to the data set's codes."""
        code_of = {name: code for code, name in enumerate(self._data.item_names)}
        for model, lists in self._run.lists.items():
            state = self._late.get(model, self._main).engine.state
            codes = np.array([code_of[state.items.name(i)] for i in range(len(state.items))], np.int32)
            lists[lists >= 0] = codes[lists[lists >= 0]]


def training_plan(data: Dataset, plan: Plan, make: Callable[[int, int], Plan]) -> Plan:
    """Queries of the last half of the warm-up, of the same kind as the test's."""
    first, end = int(data.ts[0]), int(data.ts[plan.fold[plan.begin - 1]])
    begin = int(np.searchsorted(data.ts, first + (end - first) // 2))
    return replace(make(begin, plan.begin), begin=plan.begin)
