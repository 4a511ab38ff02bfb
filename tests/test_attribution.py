"""Attribution against a plain-Python oracle, over random shops in which feedback is late, doubled and out of order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.batches import DEEDS, EventBatch, Outcomes
from endcap.config import Config, FeedbackConfig
from endcap.errors import ConfigError
from endcap.feedback.attribution import LEAST_SLATES, SKEW_S, OpenSlates
from endcap.feedback.rewards import CART, CLICK, DEED_OF_ACTION, PURCHASE, REFUND, reward_table
from endcap.preprocess.batch import request_hash
from endcap.state import State
from endcap.types import ACTION_CODE, Event, Impression, Interaction, Shown, Stored

START_MS = 1_760_000_000_000
REWARDS = FeedbackConfig().rewards
WINDOW_S, TOUCH_S = 86_400, 1_800


@dataclass
class Slate:
    request: str
    ts_s: int
    user: str | None
    placement: str
    items: list[str]
    done: dict[str, list[int]] = field(default_factory=dict)


class Oracle:
    """The rules of the docstring, one event at a time, nothing clever."""

    def __init__(self) -> None:
        self.slates: list[Slate] = []
        self.waiting: list[tuple[str, str, int, float, int]] = []
        self.placements: set[str] = set()
        self.credits: list[tuple[str, int, int, float]] = []
        self.tally = dict.fromkeys(
            ("slates", "by_request", "by_rule", "again", "waiting", "waited", "not_on_slate", "too_late", "moved"), 0
        )

    def credit(self, slate: Slate, item: str, deed: int, reward: float) -> None:
        done = slate.done.setdefault(item, [])
        if deed in done:
            self.tally["again"] += 1
            return
        done.append(deed)
        self.credits.append((slate.request, slate.items.index(item), deed, reward))

    def join(self, slate: Slate, item: str, deed: int, reward: float, ts_s: int, position: int, how: str) -> None:
        if item not in slate.items:
            self.tally["not_on_slate"] += 1
        elif not slate.ts_s - SKEW_S <= ts_s <= slate.ts_s + WINDOW_S:
            self.tally["too_late"] += 1
        else:
            self.tally[how] += 1
            self.tally["moved"] += position >= 0 and position != slate.items.index(item)
            self.credit(slate, item, deed, reward)

    def take(self, event: Event) -> None:
        if isinstance(event, Impression):
            slate = Slate(event.request_id, event.ts // 1000, event.user_id, event.placement, list(event.items))
            self.slates.append(slate)
            self.placements.add(event.placement)
            self.tally["slates"] += 1
            ready = [w for w in self.waiting if w[0] == event.request_id]
            self.waiting = [w for w in self.waiting if w[0] != event.request_id]
            for _, item, deed, reward, position in ready:
                self.join(slate, item, deed, reward[0], reward[1], position, "waited")  # type: ignore[index]
            return
        assert isinstance(event, Interaction)
        deed = int(DEED_OF_ACTION[ACTION_CODE[event.type]])
        if deed < 0 or event.item_id is None:
            return
        reward, ts_s = REWARDS[DEEDS[deed]], event.ts // 1000
        position = -1 if event.position is None else event.position
        if event.request_id:
            named = [slate for slate in self.slates if slate.request == event.request_id]
            if named:
                self.join(named[-1], event.item_id, deed, reward, ts_s, position, "by_request")
            else:
                self.tally["waiting"] += 1
                self.waiting.append((event.request_id, event.item_id, deed, (reward, ts_s), position))  # type: ignore[arg-type]
            return
        for slate in reversed(self.slates):
            if slate.user != event.user_id or event.user_id is None:
                continue
            age = ts_s - slate.ts_s
            if age > WINDOW_S:
                break
            if age < -SKEW_S or event.item_id not in slate.items:
                continue
            if event.placement is not None and event.placement != slate.placement:
                continue
            if event.placement is not None and position >= 0 and slate.items.index(event.item_id) != position:
                continue
            touched = bool({CLICK, CART} & set(slate.done.get(event.item_id, [])))
            if touched or (age <= TOUCH_S and deed not in (PURCHASE, REFUND)):
                self.tally["by_rule"] += 1
                self.credit(slate, event.item_id, deed, reward)
                return


def stream(seed: int, size: int) -> list[Event]:
    """Slates and feedback of three shoppers and of nobody, in order of arrival."""
    rng = np.random.default_rng(seed)
    now, events = START_MS, list[Event]()
    requests = [f"r{k}" for k in range(size)]
    for number in range(size):
        now += int(rng.choice([3_000, 40_000, 600_000, 30_000_000], p=[0.5, 0.3, 0.15, 0.05]))
        user = [None, "ann", "bob", "eve"][rng.integers(0, 4)]
        if rng.random() < 0.4:
            chosen = rng.permutation(8)[: rng.integers(1, 5)]
            events.append(
                Impression.of(
                    event_id=f"imp:{number}", request_id=requests[number], ts=now, received_at=now, user_id=user,
                    placement=["home", "cart"][rng.integers(0, 2)],
                    shown=tuple(Shown(f"i{k}", at, 0.9, at, float(k)) for at, k in enumerate(chosen)),
                )
            )  # fmt: skip
            continue
        named = rng.random() < 0.5
        late = int(rng.choice([0, 0, 0, 20_000, 100_000_000]))
        events.append(
            Interaction(
                type=["view", "click", "cart_add", "purchase", "refund", "like", "hide", "search"][rng.integers(0, 8)],  # type: ignore[arg-type]
                event_id=f"e{number}", ts=now - late, received_at=now, user_id=user or (None if named else "ann"),
                anon_id=None if user or not named else "guest", item_id=f"i{rng.integers(0, 8)}",
                request_id=requests[min(size - 1, max(0, number + int(rng.integers(-6, 3))))] if named else None,
                placement=[None, "home", "cart", "moon"][rng.integers(0, 4)],
                position=None if rng.random() < 0.5 else int(rng.integers(0, 4)),
            )
        )  # fmt: skip
    return events


class Noted(OpenSlates):
    """Notes every credit in order, by the slate's number."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__(FeedbackConfig())
        self.names = names
        self.credits: list[tuple[str, int, int, float]] = []

    def fold(self, batch: EventBatch) -> Outcomes | None:
        outcomes = super().fold(batch)
        if outcomes is not None:
            request = outcomes.slates["request"][outcomes.slot]
            self.credits += [
                (self.names[int(request[k])], int(outcomes.place[k]), int(outcomes.deed[k]), float(outcomes.reward[k]))
                for k in np.flatnonzero(outcomes.place >= 0)
            ]
        return outcomes


def folded(events: list[Event], cuts: list[int]) -> tuple[State, Noted]:
    """A state that took the events in parts."""
    state = State(Config())
    noted = Noted({request_hash(f"r{k}"): f"r{k}" for k in range(len(events))})
    state.slates = noted
    stored = [Stored(k + 1, event) for k, event in enumerate(events)]
    for begin, end in zip([0, *cuts], [*cuts, len(stored)], strict=True):
        state.fold(stored[begin:end])
    return state, noted


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 60), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_every_deed_is_credited_as_the_oracle_says(seed: int, size: int, cuts: list[int]) -> None:
    events = stream(seed, size)
    oracle = Oracle()
    for event in events:  # none of them is repeated within two seconds, late by a week, or a machine's
        oracle.take(event)
    _, noted = folded(events, sorted(min(cut, size) for cut in cuts))
    assert noted.credits == oracle.credits
    assert noted.tally() == oracle.tally


def test_a_snapshot_goes_on_where_it_was() -> None:
    events = stream(5, 200)
    whole, _ = folded(events, [])
    half = State(Config())
    stored = [Stored(k + 1, event) for k, event in enumerate(events)]
    half.fold(stored[:90])
    other = State(Config())
    other.load(half.offset, {name: array.copy() for name, array in half.arrays().items()})
    other.fold(stored[90:])
    again = State(Config())
    again.fold(stored)
    assert other.hash() == again.hash()
    assert whole.slates.tally() == again.slates.tally()


def test_full_rings_forget_the_oldest_slates_and_join_the_newest() -> None:
    state = State(Config(feedback=FeedbackConfig(slates=LEAST_SLATES)))
    n = LEAST_SLATES + 3_000
    shown = [
        Impression.of(event_id=f"imp:{k}", request_id=f"r{k}", ts=START_MS, received_at=START_MS, user_id=f"u{k}",
                   shown=(Shown("a", 0), Shown(f"b{k % 7}", 1)))
        for k in range(n)
    ]  # fmt: skip
    clicks = [
        Interaction(type="click", event_id=f"c{k}", ts=START_MS + 1_000, received_at=START_MS + 1_000, user_id=f"v{k}",
                    item_id="a", request_id=f"r{k}")
        for k in (0, n - LEAST_SLATES, n - 5_000, n - 1)
    ]  # fmt: skip
    events: list[Event] = [*shown, *clicks]
    state.fold([Stored(k + 1, event) for k, event in enumerate(events)])
    tally = state.slates.tally()
    assert tally["slates"] == n
    assert tally["by_request"] == 2
    assert tally["waiting"] == 2  # the first two slates made room
    assert state.slates.slates.shape[0] == LEAST_SLATES


def test_a_guest_who_logs_in_keeps_the_slates_seen_before() -> None:
    state = State(Config())
    events: list[Event] = [
        Impression.of(event_id="imp:1", request_id="r1", ts=START_MS, received_at=START_MS, anon_id="guest",
                   shown=(Shown("a", 0),)),
        Interaction(type="view", event_id="e1", ts=START_MS + 1_000, received_at=START_MS + 1_000, anon_id="guest",
                    user_id="ann", item_id="z"),
        Interaction(type="click", event_id="e2", ts=START_MS + 5_000, received_at=START_MS + 5_000, user_id="ann",
                    item_id="a"),
    ]  # fmt: skip
    state.fold([Stored(k + 1, event) for k, event in enumerate(events)])
    assert state.slates.tally()["by_rule"] == 1


def test_rewards_scale_ratings_and_refuse_nonsense() -> None:
    assert reward_table({"click": 2.0})[CLICK] == 2.0
    assert reward_table({})[PURCHASE] == 0.0
    with pytest.raises(ConfigError, match="did you mean 'purchase'"):
        reward_table({"purchas": 1.0})
    with pytest.raises(ConfigError, match="finite"):
        reward_table({"click": float("inf")})
    with pytest.raises(ConfigError, match=r"feedback\.slates is 10"):
        OpenSlates(FeedbackConfig(slates=10))
    with pytest.raises(ConfigError, match="touch"):
        OpenSlates(FeedbackConfig(window_h=1.0, touch_min=61.0))
