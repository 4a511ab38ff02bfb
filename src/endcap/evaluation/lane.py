"""Lane: one engine on a virtual clock that follows a data set at a given distance.

A lane without delay has folded everything before the event that is asked about. With a delay it knows only what is
older than that, as a system does that learns in batches; with ``FROZEN`` it stops at the end of the warm-up. ``shared``
delays only what other shoppers taught (counts, neighbours, sessions): the shopper's own events are known at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import fields, replace
from typing import Literal

import numpy as np

from endcap.batches import EventBatch
from endcap.config import Config
from endcap.engine import Engine
from endcap.evaluation.dataset import Dataset
from endcap.evaluation.plan import Plan
from endcap.features.histories import Trail
from endcap.learning.sequences import NotedState
from endcap.runtime import Runtime, VirtualClock
from endcap.state import State
from endcap.stores.memory import MemoryLog
from endcap.types import Query

FROZEN = -1  # as a delay: never learns again after the warm-up
CHUNK = 20_000
Side = Literal["all", "shared"]


class LaggingState(NotedState):
    """A state whose shared half waits until ``catch_up``."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._waiting: deque[tuple[EventBatch, Trail]] = deque()

    def learn(self, raw: EventBatch) -> None:
        """The shopper's half now, the rest when its time has come."""
        batch, trail = self.learn_own(raw)
        kept = replace(trail, **{f.name: getattr(trail, f.name).copy() for f in fields(trail)})  # it is scratch
        self._waiting.append((batch, kept))

    def catch_up(self, until_ms: int) -> None:
        """Learn the shared half of every batch whose last event is not after ``until_ms``."""
        while self._waiting and int(self._waiting[0][0].ts[-1]) <= until_ms:
            self.learn_shared(*self._waiting.popleft())


class Lane:
    """One engine, one delay."""

    def __init__(
        self, data: Dataset, plan: Plan, config: Config, delay_ms: int = 0, side: Side = "all", *, noted: bool = False
    ) -> None:
        """``noted``: deep models can be trained on what this lane has folded."""
        self.delay_ms, self.side = delay_ms, side
        self.clock = VirtualClock(int(data.ts[0]))
        self.lagging = side == "shared" and delay_ms != 0
        runtime = Runtime(self.clock, seed=1)
        kind = NotedState if noted else State
        self.engine = Engine(MemoryLog(), config, runtime, new_state=LaggingState if self.lagging else kind)
        self.refused = 0
        self._data, self._plan = data, plan
        self._first = data.first_events()
        self._ts = data.ts[plan.fold]
        self._done = 0

    def advance(self, at: int, t_ms: int) -> None:
        """Fold what this lane may know for a query at ``t_ms`` before ``fold[at]``."""
        own = self._limit(at, t_ms) if self.side == "all" else at
        while self._done < own:
            stop = min(own, self._done + CHUNK)
            if self._done < self._plan.begin:
                stop = min(stop, self._plan.begin)  # a batch must not straddle the moment at which lanes stop learning
            positions = self._plan.fold[self._done : stop].tolist()
            self.clock.ts = int(self._ts[stop - 1])
            self.refused += len(self.engine.replay(list(self._data.events(positions, self._first))))
            self._done = stop
            self._catch_up(self.clock.ts)
        self.clock.ts = max(self.clock.ts, t_ms)
        self._catch_up(t_ms)

    def _catch_up(self, t_ms: int) -> None:
        if self.lagging:
            state = self.engine.state
            assert isinstance(state, LaggingState)
            frozen_at = int(self._ts[self._plan.begin - 1])
            state.catch_up(min(t_ms, frozen_at) if self.delay_ms == FROZEN else t_ms - self.delay_ms)

    def _limit(self, at: int, t_ms: int) -> int:
        if self.delay_ms == 0:
            return at
        if self.delay_ms == FROZEN:
            return min(at, self._plan.begin)
        return min(at, int(np.searchsorted(self._ts, t_ms - self.delay_ms, "right")))

    def query(self, event: int, t_ms: int, n: int, placement: str) -> Query:
        """The question that event ``event`` of the data set makes due, without its answer."""
        asked = self._data.interaction(event)
        return Query(
            user_id=asked.user_id, anon_id=asked.anon_id, placement=placement, n=n, ts=t_ms, context=asked.context
        )

    def close(self) -> None:
        """Release the engine's thread."""
        self.engine.close(snapshot=False)
