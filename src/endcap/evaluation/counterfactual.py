"""Counterfactual: what a candidate would have earned on the slates of a log, judged before anybody sees it.

The log is replayed in order through an engine of the candidate's settings on a virtual clock, so slates are joined to
their rewards by the attribution that serves, and state is what it was at each slate. Two kinds of action:

* ``arm``: the candidate is one arm of the placement. What was drawn is the arm, with the probability that the
  impression carries; the reward is the slate's.
* ``item``: the candidate is other settings. Right before each slate is folded, the candidate is asked for one to the
  same shopper at the same moment; the action is the item at a position, the reward that position's, and positions are
  judged apart and added up (independent positions). Only what exploration showed elsewhere tells such settings apart,
  so this is mostly refused for lack of support, and should be.

Slates whose window was still open when the log ended are immature and left out. Memory: some 200 bytes a slate and 20
per shown item. Cost: the replay, 40 us an event where every other event is a slate of six items; with ``item`` also one
request per slate.

Not known, because an impression does not say it: the items, the filter and the exclusions of its query. Slates whose
query named items (product, cart) are left out of ``item``: judge such placements by arm. The candidate scores with the
fixed weights: a ranker trained on this log would know what came after.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from endcap.batches import SLATE, WARMTH_CODE, EventBatch, Outcomes, Records
from endcap.config import Config, PlacementConfig, overridden
from endcap.engine import Engine, Progress, silent
from endcap.errors import InvalidInput, NotFound
from endcap.feedback.attribution import OpenSlates
from endcap.feedback.impressions import named_no_items, query_of
from endcap.feedback.off_policy import MIN_ESS, Estimate, Verdict, cross_fitted, importance, judge, mean
from endcap.preprocess.batch import request_hash
from endcap.protocols import EventLog
from endcap.runtime import Runtime, VirtualClock
from endcap.state import State
from endcap.stores.memory import MemoryLog
from endcap.types import DEVICES, F4, F8, I4, I8, Impression, Stored

CHUNK = 20_000
HOURS = 24
Kind = Literal["arm", "item"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is judged: an arm of the placement by its name, or with "" the settings themselves."""

    config: Config
    placement: str
    arm: str = ""

    @property
    def kind(self) -> Kind:
        """What an action is."""
        return "arm" if self.arm else "item"


def candidate_of(config: Config, placement: str, logged: Config, arm: str | None = None) -> Candidate:
    """Whether a candidate's settings are one arm of what was logged.

    They are when ``arm`` says so, when they leave the placement one single arm, or when they equal an arm of ``logged``
    in everything but exploration. ``InvalidInput`` for an unknown placement and for several arms: which of them would
    have been drawn depends on what they would have learned.
    """
    own = config.placements.get(placement)
    if own is None:
        known = ", ".join(config.placements)
        raise InvalidInput(f"the candidate has no placement {placement[:80]!r}; configured: {known}", field="placement")
    if arm:
        return Candidate(config, placement, arm)
    if len(own.arms) > 1:
        raise InvalidInput(
            f"the candidate leaves {placement!r} {len(own.arms)} arms ({', '.join(own.arms)}); which would have been "
            "drawn depends on what they would have learned. Judge one at a time: --arm NAME",
            field="candidate",
        )
    if own.arms:
        return Candidate(config, placement, next(iter(own.arms)))
    base = logged.placements.get(placement)
    for name, changes in (base.arms if base else {}).items():
        assert base is not None
        if same_settings(own, overridden(f"{placement}.arms.{name}", base, changes)):
            return Candidate(config, placement, name)
    plain = structs.replace(own, explore=type(own.explore)())
    return Candidate(structs.replace(config, placements={**config.placements, placement: plain}), placement)


def same_settings(one: PlacementConfig, other: PlacementConfig) -> bool:
    """Equal in everything but exploration and arms."""
    return structs.replace(one, explore=other.explore, arms=other.arms) == other


# ---------------------------------------------------------------- what the log holds


class Watched(OpenSlates):
    """Attribution that also hands on what it found."""

    __slots__ = ("watcher",)
    watcher: Watcher

    def fold(self, batch: EventBatch) -> Outcomes | None:
        """As ``OpenSlates`` does."""
        outcomes = super().fold(batch)
        if outcomes is not None:
            self.watcher.take(outcomes)
        return outcomes


class WatchedState(State):
    """A state whose outcomes go to a ``Watcher``."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.watcher = Watcher(self)
        self.slates = Watched(config.feedback)
        self.slates.watcher = self.watcher


@dataclass(slots=True)
class Story:
    """Every slate of one placement and what came of it."""

    slates: Records  # [s] of dtype SLATE
    first: I8  # [s] where its items begin
    item: I4  # [r] shown, dense
    propensity: F4  # [r] given the arm
    reward: F8  # [r]
    wanted: I4  # [r] what the candidate would have shown there, -1 = nothing or not asked
    asked: NDArray[np.bool_]  # [s] whether it was asked
    ends_s: int  # when the log ends


@dataclass(slots=True)
class Watcher:
    """Collects slates of one placement, their items and their rewards, as they are folded."""

    state: State
    placement: str = ""
    asked: dict[int, list[int]] = field(default_factory=dict)  # by hash of the request: what the candidate would show
    slates: list[Records] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    item: array[int] = field(default_factory=lambda: array("i"))
    propensity: array[float] = field(default_factory=lambda: array("f"))
    reward: array[float] = field(default_factory=lambda: array("d"))
    wanted: array[int] = field(default_factory=lambda: array("i"))
    was_asked: list[bool] = field(default_factory=list)
    ends_s: int = 0
    _at: dict[int, int] = field(default_factory=dict)  # slot -> slate, -1 = of another placement

    def take(self, outcomes: Outcomes) -> None:
        """Note slates that were shown and credit what was rewarded."""
        label = self.state.labels.get(f"placement:{self.placement}")
        for slot, place, reward in zip(
            outcomes.slot.tolist(), outcomes.place.tolist(), outcomes.reward.tolist(), strict=True
        ):
            if place < 0:
                self._at[slot] = self._show(outcomes, slot) if outcomes.slates["placement"][slot] == label else -1
            elif (at := self._at.get(slot, -1)) >= 0:
                self.reward[self.first[at] + place] += reward

    def _show(self, outcomes: Outcomes, slot: int) -> int:
        slate = outcomes.slates[slot].copy()
        begin, n = int(slate["first"]) % outcomes.rows.shape[0], int(slate["n"])
        rows = outcomes.rows[begin : begin + n]
        request = int(slate["request"])
        self.was_asked.append(request in self.asked)
        wanted = self.asked.pop(request, [])
        self.first.append(len(self.item))
        self.slates.append(slate)
        self.item.extend(rows["item"].tolist())
        self.propensity.extend(rows["propensity"].tolist())
        self.reward.extend([0.0] * n)
        self.wanted.extend((wanted + [-1] * n)[:n])
        return len(self.slates) - 1

    def story(self) -> Story:
        """Everything noted."""
        slates = np.array(self.slates, SLATE)
        resolve = self.state.identity.resolve
        for slate in slates:
            slate["user"] = resolve(int(slate["user"]))
        return Story(
            slates, np.array(self.first, np.int64), np.array(self.item, np.int32),
            np.array(self.propensity, np.float32), np.array(self.reward), np.array(self.wanted, np.int32),
            np.array(self.was_asked, np.bool_), self.ends_s,
        )  # fmt: skip


def read_story(log: EventLog, candidate: Candidate, progress: Progress = silent) -> tuple[Story, dict[str, int]]:
    """Replay the log under the candidate's settings; also gives the labels of arms by name."""
    clock, until = VirtualClock(0), log.last_offset()
    with Engine(MemoryLog(), candidate.config, Runtime(clock, seed=1), new_state=WatchedState) as engine:
        state = engine.state
        assert isinstance(state, WatchedState)
        watcher = state.watcher
        watcher.placement = candidate.placement
        for events, slate in pieces(log, until, candidate.placement if candidate.kind == "item" else None):
            if events:
                clock.ts = max(clock.ts, events[-1].event.ts)
                watcher.ends_s = max(watcher.ends_s, *(stored.event.ts // 1000 for stored in events))
                engine.replay([stored.event for stored in events])
                progress("replay", events[-1].offset, until)
            if slate is not None:
                clock.ts = max(clock.ts, slate.ts)
                found = engine.recommend(query_of(slate))
                number = state.items.get
                watcher.asked[request_hash(slate.request_id)] = [number(one.item_id) for one in found.items]
        prefix = f"arm:{candidate.placement}/"
        names = [state.labels.name(k) for k in range(len(state.labels))]
        arms = {name[len(prefix) :]: k for k, name in enumerate(names) if name.startswith(prefix)}
        return watcher.story(), arms


def pieces(log: EventLog, until: int, placement: str | None) -> Iterator[tuple[list[Stored], Impression | None]]:
    """The log in pieces: events to fold, and the slate of ``placement`` that comes after them and can be asked for."""
    after = 0
    while after < until and (chunk := [one for one in log.read(after, CHUNK) if one.offset <= until]):
        after, begin = chunk[-1].offset, 0
        for k, stored in enumerate(chunk if placement is not None else ()):
            slate = stored.event
            if not isinstance(slate, Impression) or slate.placement != placement or slate.teams:
                continue  # an interleaved slate tells no propensities
            if slate.items and named_no_items(slate):
                yield chunk[begin:k], slate
                begin = k
        yield chunk[begin:], None


# ---------------------------------------------------------------- the verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate beside what was logged; values are rewards per slate."""

    kind: Kind
    slates: int  # judged by
    immature: int  # left out: their window was open when the log ended
    unarmed: int  # left out, by arm: shown while the placement had no arms
    unasked: int  # left out, by item: their query named items that the log does not hold
    logged: Estimate  # the logged policy's own mean on the same slates
    verdict: Verdict


def compare(
    log: EventLog, candidate: Candidate, *, seed: int = 0, min_ess: float = MIN_ESS, progress: Progress = silent
) -> Comparison:
    """Judge a candidate by a log, with the candidate's reward table. ``seed``: of the reward model's folds.

    ``NotFound`` when no slate can be judged by, or none ever had the arm; ``InvalidInput`` for a probability that is
    none.
    """
    story, arms = read_story(log, candidate, progress)
    name, slates = candidate.placement, story.slates
    if not len(slates):
        raise NotFound(
            f"the log holds no slate of the placement {name!r}; slates are logged when they are served, unless a "
            "request says shown=0"
        )
    mature = slates["ts_s"] + candidate.config.feedback.window_h * 3600 <= story.ends_s
    if not mature.any():
        raise NotFound(
            f"all {len(slates)} slates of {name!r} are younger than feedback.window_h = "
            f"{candidate.config.feedback.window_h:g} at the end of the log, so nobody knows yet what they earn; wait, "
            "or shorten the window"
        )
    chosen = mature & ((slates["arm"] >= 0) if candidate.arm else story.asked)
    if candidate.arm and candidate.arm not in arms:
        had = ", ".join(sorted(arms)) or "none"
        raise NotFound(f"no slate of {name!r} in the log was made by the arm {candidate.arm!r}; arms it had: {had}")
    if not chosen.any():
        why = "no arm was drawn for them" if candidate.arm else "their queries named items; judge an arm: --arm NAME"
        raise NotFound(f"none of the {int(mature.sum())} closed slates of {name!r} can be judged by: {why}")
    by = by_arm(story, chosen, arms[candidate.arm], seed) if candidate.arm else by_item(story, chosen, seed)
    verdict = judge(
        by.reward, by.weight, by.q, support=by.support, cluster=by.cluster, place=by.place, min_ess=min_ess
    )  # fmt: skip
    left = int((mature & ~chosen).sum())
    return Comparison(
        candidate.kind, int(chosen.sum()), int((~mature).sum()), left if candidate.arm else 0,
        0 if candidate.arm else left,
        mean(by.reward, by.cluster, by.place), verdict,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decisions:
    """What the estimators take."""

    reward: F8
    weight: F8
    q: tuple[F8, F8]
    support: float | None
    cluster: I8
    place: I8 | None


def by_arm(story: Story, chosen: NDArray[np.bool_], arm: int, seed: int) -> Decisions:
    """Slates as decisions, arms as actions. An arm could be drawn from its first slate in the log to its last."""
    slates = story.slates[chosen]
    reward = np.add.reduceat(story.reward, story.first)[chosen]
    drawn = slates["arm"] == arm
    propensity = np.asarray(slates["arm_propensity"], np.float64)
    weight = importance(drawn.astype(np.float64), propensity, lambda row: f"the slate {shown_at(slates[row])}")
    when = np.flatnonzero(drawn)
    support = (when[-1] - when[0] + 1) / len(slates) if len(when) else 0.0
    context, cluster = context_of(slates), cluster_of(slates)
    action = np.asarray(slates["arm"], np.int64)
    q = cross_fitted(context, context, action, reward, np.full(len(slates), arm), cluster=cluster, seed=seed)
    return Decisions(reward, weight, q, float(support), cluster, None)


def by_item(story: Story, chosen: NDArray[np.bool_], seed: int) -> Decisions:
    """Positions as decisions, items as actions, given the arm that was drawn."""
    of = np.repeat(np.arange(len(story.slates)), story.slates["n"])
    rows = chosen[of]
    slates, place = story.slates[of[rows]], np.flatnonzero(rows) - story.first[of[rows]]
    item, wanted, reward = story.item[rows], story.wanted[rows], story.reward[rows]
    weight = importance(
        (item == wanted).astype(np.float64), np.asarray(story.propensity[rows], np.float64),
        lambda row: f"position {place[row]} of the slate {shown_at(slates[row])}",
    )  # fmt: skip
    _, codes = np.unique(np.concatenate([item, wanted]), return_inverse=True)
    action, target = codes[: len(item)].astype(np.int64), codes[len(item) :].astype(np.int64)
    context = np.column_stack([context_of(slates), np.eye(int(place.max()) + 1)[place][:, 1:]])
    cluster, own = cluster_of(slates), np.ones((len(item), 1))
    q = cross_fitted(context, own, action, reward, target, cluster=cluster, seed=seed)
    return Decisions(reward, weight, q, None, cluster, place)


def shown_at(slate: Records) -> str:
    """A slate for an error message."""
    return f"shown at {datetime.fromtimestamp(int(slate['ts_s']), UTC):%Y-%m-%d %H:%M:%S} UTC"


def cluster_of(slates: Records) -> I8:
    """Whose slates they are; those of nobody known stand each for itself."""
    user = slates["user"].astype(np.int64)
    return np.where(user >= 0, user, -2 - slates["first"])


def context_of(slates: Records) -> F8:
    """[s, 1 + ...] what the reward model knows of the moment: a column of ones, hour, device, warmth, session."""
    hour = 2 * np.pi * slates["hour"] / HOURS
    device = np.eye(len(DEVICES))[slates["device"]][:, 1:]
    warmth = np.eye(len(WARMTH_CODE))[slates["warmth"]][:, 1:]
    session = np.log1p(np.maximum(slates["session_events"], 0))
    return np.column_stack([np.ones(len(slates)), np.sin(hour), np.cos(hour), device, warmth, session])
