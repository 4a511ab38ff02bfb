"""Logged slates as lessons: what was shown, what became of it, and how much each right answer counts.

Idea: a shelf's front is clicked for standing in front. Per right answer there is one example, that item against
everything else that stood on the slate, whatever became of the rest; its weight is 1 over the probability that it was
seen at all. The expectation of such examples is what they would be if every place were looked at equally, so a ranker
learns what people like and not where it stood (Joachims, Swaminathan, Schnabel, "Unbiased Learning-to-Rank with Biased
Feedback", WSDM 2017; for the DCG that trees climb: Agarwal et al., SIGIR 2019). The probability is the place's theta
(feedback/positions.py), times the item's propensity where exploration brought it in: shown at all was chance there. Two
items that exchanged places would have been shown anyhow, for them theta says it all. Weights are at most
``MOST_WEIGHT``: a little bias for much less noise.

Left out, and counted by reason:

* places whose theta nobody knows, as answers and as alternatives. Without exploration that is all of them, and the
  first one where it is protected;
* slates younger than ``feedback.window_h`` at the end of the log: who has not bought yet may still do;
* slates whose query named items: which ones, the log does not say;
* slates of two interleaved variants, which tell no propensities;
* slates that were asked for in another way than the log says (without personalisation): the same shopper is not as warm
  in the replay;
* broken ones: a propensity that is none, a column of another length. Each is named, and spoils nothing else.

Items that were not shown are no alternatives: nobody could choose them, and a ranker that learns they are wrong repeats
what the one before it believed. So slates never teach alone: next-event replay (learning/lessons.py) does at least a
quarter, because candidates that never reach a slate must be told apart as well.

Two passes: the first folds nothing but attribution and positions and keeps some 200 bytes a slate that can still be
rewarded; the second is the replay of learning/train.py, which reads rows right before the impression is folded. A row
is what serving reads at that moment under the settings of today and the arm that was drawn (law L4). It differs from
the row that was served by what the log got between the answer and its impression, and where exploration drew a new item
that stood on the slate by merit.

Cost: the first pass 30 us an event where two of five are slates of eight items; the second one request per slate. Not
for: shelves whose places are not in a row, and layouts that change within the window (theta is one figure).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from endcap.batches import EventBatch, Outcomes
from endcap.config import Config, PlacementConfig, overridden
from endcap.engine import Progress, silent
from endcap.feedback.experiments import Assigned
from endcap.feedback.impressions import named_no_items, query_of
from endcap.feedback.positions import POSITIONS, PositionView, position_weights
from endcap.feedback.rewards import CART, CLICK, PURCHASE
from endcap.learning.examples import Example, Examples
from endcap.preprocess.batch import request_hash
from endcap.protocols import EventLog
from endcap.recommend import BARELY, COLUMN, Recommender
from endcap.state import State
from endcap.types import F4, I4, U1, Impression

CHUNK = 20_000
MOST_WEIGHT = 10.0
DEEDS = (CLICK, CART, PURCHASE)  # by objective, in the order of lessons.OBJECTIVES
MOST_RANK = 32_767
TOLD = 5  # broken slates that are named; the others are counted


@dataclass(frozen=True, slots=True)
class Right:
    """A right answer on a slate."""

    place: int
    labels: tuple[bool, ...]  # by objective
    weight: float


@dataclass(frozen=True, slots=True)
class SlateLesson:
    """One slate: read its rows when everything before ``offset`` is known."""

    offset: int  # of the impression
    ts: int
    right: tuple[Right, ...]
    known: NDArray[np.bool_]  # [POSITIONS] places whose theta is known


@dataclass(slots=True)
class Logged:
    """What the slates of a log can teach, in order of the log."""

    lessons: list[SlateLesson] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  # shown, and why slates were left out
    refused: list[str] = field(default_factory=list)  # what is wrong with the first broken ones


# ---------------------------------------------------------------- the first pass


@dataclass(slots=True)
class Shown:
    """A slate that waits for what becomes of it."""

    offset: int
    ts: int
    placement: str
    brought: dict[int, float]  # place -> propensity of what exploration brought in
    right: dict[int, int] = field(default_factory=dict)  # place -> bits of deeds


class SlatesOnly(State):
    """A state that learns what became of slates, by the attribution that serves, and nothing else."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.coming: dict[int, Shown] = {}  # by hash of the request: slates of the chunk that is being folded
        self.rewarded: list[Shown] = []
        self._at: dict[int, Shown | None] = {}  # by slot

    def learn(self, raw: EventBatch) -> None:
        """Clean a batch and join it to its slates."""
        outcomes = self.slates.fold(self.cleaner.clean(raw))
        if outcomes is not None and len(outcomes):
            self.positions.fold(outcomes, len(self.labels))
            self.take(outcomes)

    def take(self, outcomes: Outcomes) -> None:
        """Note what was right on slates that teach."""
        found = (outcomes.slot.tolist(), outcomes.place.tolist(), outcomes.deed.tolist())
        for slot, place, deed in zip(*found, strict=True):
            if place < 0:
                self._at[slot] = self.coming.pop(int(outcomes.slates["request"][slot]), None)
            elif deed in DEEDS and (shown := self._at.get(slot)) is not None:
                if not shown.right:
                    self.rewarded.append(shown)
                shown.right[place] = shown.right.get(place, 0) | 1 << deed


def read_slates(log: EventLog, until: int, config: Config, since_ms: int, progress: Progress = silent) -> Logged:
    """The slates shown from ``since_ms`` on that can teach; reads the log up to offset ``until``."""
    found = Logged()
    if not has_slates(log, until):
        return found
    state, waiting, newest_ms, after = SlatesOnly(config), list[int](), 0, 0
    while after < until and (chunk := [one for one in log.read(after, CHUNK) if one.offset <= until]):
        after = chunk[-1].offset
        for stored in chunk:
            newest_ms = max(newest_ms, stored.event.ts)
            slate = stored.event
            if isinstance(slate, Impression) and slate.items and slate.ts >= since_ms:
                note(slate, stored.offset, state, found, waiting)
        state.fold(chunk)
        if state.coming:  # cleaning took them for a machine's, or too late
            found.counts["unclean"] += len(state.coming)
            state.coming.clear()
        progress("slates", after, until)
    closed_ms = newest_ms - int(config.feedback.window_h * 3_600_000)
    if young := sum(ts > closed_ms for ts in waiting):
        found.counts["immature"] = young
    views: dict[str, PositionView] = {}
    for shown in state.rewarded:
        if shown.ts > closed_ms:
            continue
        if shown.placement not in views:
            views[shown.placement] = state.positions.view(state.labels.get(f"placement:{shown.placement}"))
        lesson = lesson_of(shown, views[shown.placement])
        if lesson.right:
            found.lessons.append(lesson)
        else:
            found.counts["places_unknown"] += 1
    found.lessons.sort(key=lambda lesson: lesson.offset)
    return found


def has_slates(log: EventLog, until: int) -> bool:
    """Whether there is any slate up to offset ``until``."""
    after = 0
    while after < until and (chunk := log.read(after, CHUNK)):
        after = chunk[-1].offset
        if any(isinstance(stored.event, Impression) and stored.offset <= until for stored in chunk):
            return True
    return False


def note(slate: Impression, offset: int, state: SlatesOnly, found: Logged, waiting: list[int]) -> None:
    """Let a slate wait for what becomes of it, or count why it cannot teach."""
    found.counts["shown"] += 1
    request = request_hash(slate.request_id)
    wrong = fault_of(slate) or ("its request id was shown just before" if request in state.coming else None)
    if wrong is not None:
        found.counts["refused"] += 1
        if len(found.refused) < TOLD:
            when = datetime.fromtimestamp(slate.ts / 1000, UTC)
            found.refused.append(
                f"the slate {slate.request_id[:80]!r} shown at {when:%Y-%m-%d %H:%M:%S} UTC teaches nothing: {wrong}"
            )
    elif slate.teams:
        found.counts["interleaved"] += 1
    elif not named_no_items(slate):
        found.counts["named_items"] += 1
    else:
        waiting.append(slate.ts)
        brought = {at: slate.propensities[at] for at, rank in enumerate(slate.ranks) if rank < 0 and slate.propensities}
        state.coming[request] = Shown(offset, slate.ts, slate.placement, brought)


def fault_of(slate: Impression) -> str | None:
    """What makes a slate unfit to learn from."""
    n = len(slate.items)
    if len(set(slate.items)) < n:
        return "an item stands on it twice"
    columns: tuple[tuple[str, Sequence[float]], ...] = (
        ("propensities", slate.propensities), ("ranks", slate.ranks), ("scores", slate.scores),
    )  # fmt: skip
    for name, column in columns:
        if column and len(column) != n:
            return f"it has {n} items and {len(column)} {name}"
    for at, propensity in enumerate(slate.propensities):
        if not 0.0 < propensity <= 1.0:
            return f"propensity {propensity} at position {at}; expected more than 0 and at most 1"
    for at, rank in enumerate(slate.ranks):
        if not -1 <= rank <= MOST_RANK:
            return f"rank {rank} at position {at}; expected -1 or a position"
    return None


def lesson_of(shown: Shown, view: PositionView) -> SlateLesson:
    """What a closed slate teaches; it has no right answers when their places are not known."""
    known: NDArray[np.bool_] = ~np.isnan(view.theta)
    weights = position_weights(view, MOST_WEIGHT)
    right = [
        Right(
            place,
            tuple(bool(bits >> deed & 1) for deed in DEEDS),
            min(MOST_WEIGHT, float(weights[place]) / shown.brought.get(place, 1.0)),
        )
        for place, bits in sorted(shown.right.items())
        if place < POSITIONS and known[place]
    ]
    return SlateLesson(shown.offset, shown.ts, tuple(right), known)


# ---------------------------------------------------------------- the second pass


class SlateRows:
    """Reads the rows of slates as they are replayed."""

    def __init__(self, config: Config) -> None:
        self.counts: Counter[str] = Counter()  # why slates gave no example
        self._config = config
        self._settings: dict[tuple[str, str], PlacementConfig] = {}

    def take(self, into: Examples, recommender: Recommender, slate: Impression, lesson: SlateLesson) -> None:
        """Note an example per right answer, from what is known now, right before ``slate`` is folded."""
        into.asked += 1
        into.columns = recommender.rows.columns
        if slate.placement not in self._config.placements:
            self.counts["placement_gone"] += 1
            return
        settings = Assigned({}, self._settings_of(slate), None)
        ask = recommender.understand(query_of(slate), slate.ts, None, settings)
        interest = ask.interest
        if slate.warmth and (interest.warmth, interest.n_session) != (slate.warmth, slate.session_events):
            self.counts["asked_otherwise"] += 1
            return
        recommender.retrieve(ask)
        recommender.begin_guard(ask)
        shown: I4 = np.array([recommender.state.items.get(item_id) for item_id in slate.items], np.int32)
        candidates = recommender.candidates
        if slate.ranks:
            brought = shown[(np.array(slate.ranks) < 0) & (shown >= 0)]
            candidates.propose(COLUMN["popular"], brought, np.repeat(BARELY, brought.shape[0]))
        if len(candidates.rows_of(shown.tolist())) < shown.shape[0]:
            recommender.propose_fallback(ask)  # as serving does on the ladder's next rung
        items, rows = recommender.features(ask)
        examples = examples_of(lesson, shown, items, rows)
        if not examples:
            self.counts["not_found"] += 1
        for example in examples:
            into.add(example)

    def _settings_of(self, slate: Impression) -> PlacementConfig:
        """The settings of the arm that was drawn, always the same object."""
        key = (slate.placement, slate.arm)
        if key not in self._settings:
            placement = self._config.placements[slate.placement]
            changes = placement.arms.get(slate.arm)
            name = f"placements.{slate.placement}.arms.{slate.arm}"
            self._settings[key] = placement if changes is None else overridden(name, placement, changes)
        return self._settings[key]


def examples_of(lesson: SlateLesson, shown: I4, items: I4, rows: F4) -> list[Example]:
    """One example per right answer. ``shown`` [n] by place; ``items`` [k] with their ``rows`` [k, columns]."""
    row_of = {item: row for row, item in enumerate(items.tolist())}
    places = {
        place: row_of[item]
        for place, item in enumerate(shown[:POSITIONS].tolist())
        if item in row_of and lesson.known[place]
    }
    if len(places) < 2:
        return []
    found = []
    for right in lesson.right:
        if right.place in places:
            chosen = [places[right.place], *(row for place, row in places.items() if place != right.place)]
            labels: U1 = np.zeros((len(chosen), len(right.labels)), np.uint8)
            labels[0] = right.labels
            found.append(Example(lesson.ts, rows[chosen], labels, right.weight))
    return found
