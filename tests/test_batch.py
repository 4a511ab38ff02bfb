"""Stored events to columns: whose event it is, what cuts a batch, and what is normalised on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.batches import LATE, EventBatch
from endcap.config import CleanConfig
from endcap.preprocess.batch import MAX_REGIONS, BatchBuilder, Link
from endcap.preprocess.identity import Identity
from endcap.preprocess.ids import Ids
from endcap.types import (
    ACTIONS,
    DEVICES,
    Context,
    Erasure,
    Event,
    Impression,
    Interaction,
    ItemChange,
    Shown,
    Stored,
    UserChange,
)
from streams import START_MS, streams

HOUR_MS = 3_600_000
SPARSE = ("claims", "slates")  # columns that only some batches have


class Intake:
    """A builder with its dictionaries, and the consumer that it asks for."""

    def __init__(self, **settings: object) -> None:
        self.users, self.items, self.regions, self.identity = Ids(), Ids(), Ids(), Identity()
        self.labels = Ids()
        config = CleanConfig(**settings)  # type: ignore[arg-type]  # a test's keywords
        self.builder = BatchBuilder(self.users, self.items, self.regions, self.labels, self.identity, config)
        self.offset = 0

    def take(self, events: Sequence[Event]) -> list[EventBatch | Link | Stored]:
        stored = [Stored(self.offset + k + 1, event) for k, event in enumerate(events)]
        self.offset += len(events)
        parts = []
        for part in self.builder.split(stored):
            if isinstance(part, Link):
                self.identity.link(part.anon, part.user)
            parts.append(part)
        return parts

    def rows(self, *events: Event) -> EventBatch:
        (batch,) = self.take(events)
        assert isinstance(batch, EventBatch)
        return batch


def view(item: str | None = "i1", **fields: object) -> Interaction:
    given_fields: dict[str, object] = {"type": "view", "ts": START_MS, "received_at": START_MS, "user_id": "ann"}
    return Interaction(item_id=item, **{**given_fields, **fields})  # type: ignore[arg-type]  # a test's keywords


def test_a_run_of_interactions_is_one_batch_of_typed_columns() -> None:
    intake = Intake()
    batch = intake.rows(view("i1", price=2.5, quantity=3.0), view("i2", type="rating", value=0.5, user_id="bob"))
    assert batch.offset.tolist() == [1, 2]
    assert batch.user.tolist() == [0, 1]
    assert batch.item.tolist() == [0, 1]
    assert [ACTIONS[a] for a in batch.action] == ["view", "rating"]
    assert batch.price[0] == 2.5
    assert math.isnan(batch.price[1])
    assert math.isnan(batch.value[0])
    assert batch.value[1] == 0.5
    assert batch.quantity.tolist() == [3.0, 1.0]
    assert batch.session.tolist() == [-1, -1]
    assert (batch.claims, batch.slates) == (None, None)
    columns = {name: getattr(batch, name) for name in EventBatch.__slots__ if name not in SPARSE}
    kinds = {name: column.dtype for name, column in columns.items()}
    assert kinds == {
        "offset": np.int64, "ts": np.int64, "user": np.int32, "item": np.int32, "action": np.int8, "value": np.float32,
        "quantity": np.float32, "price": np.float32, "hour": np.int8, "device": np.int8, "region": np.int16,
        "session": np.int32, "flags": np.uint8,
    }  # fmt: skip


def test_an_event_without_user_or_item_has_minus_one_in_their_place() -> None:
    batch = Intake().rows(view(None, type="search", user_id=None))
    assert (batch.user[0], batch.item[0]) == (-1, -1)


@pytest.mark.parametrize(("offset_min", "hour"), [(None, 8), (0, 8), (480, 16), (-600, 22), (900, 23)])
def test_the_hour_is_the_shoppers_own(offset_min: int | None, hour: int) -> None:
    context = Context(utc_offset_min=offset_min)
    assert Intake().rows(view(context=context)).hour[0] == hour  # START_MS is 08:53 UTC


def test_device_and_region_become_numbers() -> None:
    intake = Intake()
    batch = intake.rows(
        view(context=Context(device="mobile", region="Leeds")),
        view(context=Context(device="toaster", region="York")),
        view(context=Context(region="Leeds")),
        view(),
    )
    assert [DEVICES[d] for d in batch.device] == ["mobile", "other", "other", "other"]
    assert batch.region.tolist() == [0, 1, 0, -1]
    assert intake.regions.name(1) == "York"


def test_regions_beyond_the_bound_count_as_none() -> None:
    intake = Intake()
    batch = intake.rows(*[view(context=Context(region=f"r{k}")) for k in range(MAX_REGIONS + 5)])
    assert batch.region.max() == MAX_REGIONS - 1
    assert batch.region[-5:].tolist() == [-1] * 5
    assert len(intake.regions) == MAX_REGIONS


def test_a_bad_rating_is_a_dislike() -> None:
    batch = Intake().rows(*[view(type="rating", value=value) for value in (-0.5, 0.0, 1.0)])
    assert [ACTIONS[a] for a in batch.action] == ["dislike", "rating", "rating"]


def test_an_event_that_arrived_too_late_is_marked() -> None:
    on_time, late = START_MS + 168 * HOUR_MS, START_MS + 168 * HOUR_MS + 1
    batch = Intake().rows(view(received_at=on_time), view(received_at=late), view(received_at=0))
    assert batch.flags.tolist() == [0, LATE, 0]
    assert Intake(off=["late"]).rows(view(received_at=late)).flags.tolist() == [0]


def test_a_price_beyond_float32_does_not_disturb() -> None:
    assert Intake().rows(view(price=1e300)).price[0] == np.inf


def test_an_impression_is_one_row_per_shown_item() -> None:
    shown = tuple(Shown(f"i{k}", k) for k in range(3))
    batch = Intake().rows(
        Impression.of(event_id="e", request_id="r", ts=START_MS, user_id="ann", shown=shown), view("i2")
    )
    assert batch.offset.tolist() == [1, 1, 1, 2]
    assert batch.item.tolist() == [0, 1, 2, 2]
    assert [ACTIONS[a] for a in batch.action] == ["impression"] * 3 + ["view"]


def test_what_is_not_a_row_cuts_the_batch_and_keeps_its_place() -> None:
    item = ItemChange(event_id="c", item_id="i1", ts=START_MS)
    user = UserChange(event_id="u", user_id="ann", ts=START_MS)
    gone = Erasure(event_id="x", user_hash="h", ts=START_MS)
    parts = Intake().take([view(), item, user, view(), view(), gone])
    assert [len(part) if isinstance(part, EventBatch) else part for part in parts] == [
        1, Stored(2, item), Stored(3, user), 2, Stored(6, gone),
    ]  # fmt: skip


def test_an_anonymous_history_moves_to_the_login_before_the_event_that_ties_them() -> None:
    intake = Intake()
    parts = intake.take(
        [
            view("i1", user_id=None, anon_id="x"),
            view("i2", user_id="ann", anon_id="x"),
            view("i3", user_id=None, anon_id="x"),
        ]
    )
    anon, ann = intake.users.get("ax"), intake.users.get("uann")
    assert [part.user.tolist() if isinstance(part, EventBatch) else part for part in parts] == [
        [anon], Link(anon, ann), [ann, ann],
    ]  # fmt: skip


def test_a_login_on_a_new_device_needs_no_link_to_move_anything() -> None:
    intake = Intake()
    batch = intake.rows(view(anon_id="x"), view(user_id=None, anon_id="x"), view(anon_id="x"))
    assert batch.user.tolist() == [0, 0, 0]
    assert intake.identity.resolve(intake.users.get("ax")) == 0


def test_on_a_shared_device_the_last_login_gets_the_anonymous_events() -> None:
    intake = Intake()
    batch = intake.rows(
        view(user_id="ann", anon_id="x"),
        view(user_id=None, anon_id="x"),
        view(user_id="bob", anon_id="x"),
        view(user_id=None, anon_id="x"),
    )
    assert [intake.users.name(user) for user in batch.user] == ["uann", "uann", "ubob", "ubob"]


@settings(deadline=None, max_examples=25)
@given(streams(max_size=40), st.integers(0, 40))
def test_cutting_the_stream_changes_no_row(events: list[Event], cut: int) -> None:
    def flat(intake: Intake, parts: list[list[Event]]) -> list[object]:
        out: list[object] = []
        for part in (part for events_of_one in parts for part in intake.take(events_of_one)):
            if isinstance(part, EventBatch):
                columns = [getattr(part, name).tolist() for name in EventBatch.__slots__ if name not in SPARSE]
                out += [repr(row) for row in zip(*columns, strict=True)]
            else:
                out.append(part)
        return out

    whole, cut_in_two = Intake(), Intake()
    assert flat(whole, [events]) == flat(cut_in_two, [events[:cut], events[cut:]])
    assert len(whole.users) == len(cut_in_two.users)


def test_a_slate_becomes_rows_and_one_entry_and_an_event_names_its_request() -> None:
    intake = Intake()
    slate = Impression.of(
        event_id="imp:r1", request_id="r1", ts=START_MS, user_id="ann", placement="home", arm="bold",
        arm_propensity=0.25, shown=(Shown("i1", 0, 0.5, 1, 2.0), Shown("i2", 1)), warmth="hot", session_events=3,
        variants={"b": "x", "a": "y"},
    )  # fmt: skip
    batch = intake.rows(view("i9"), slate, view("i1", request_id="r1"))
    assert batch.item.tolist() == [0, 1, 2, 1]
    assert batch.slates is not None
    assert batch.claims is not None
    assert batch.claims.request.tolist() == [0, 0, 0, int(batch.slates.request[0])]
    assert (batch.slates.first.tolist(), batch.slates.n.tolist()) == ([1], [2])
    assert (batch.slates.warmth.tolist(), batch.slates.session_events.tolist()) == ([2], [3])
    assert batch.slates.propensity.tolist() == [0.5, 1.0]
    assert batch.slates.rank.tolist() == [1, -1]
    assert [intake.labels.name(int(k)) for k in batch.slates.variants[0] if k >= 0] == ["variant:a/y", "variant:b/x"]
    assert intake.labels.name(int(batch.slates.arm[0])) == "arm:home/bold"


def test_a_slate_that_was_announced_needs_no_lookup_and_a_wrong_announcement_does_no_harm() -> None:
    def slate(request: str) -> Impression:
        shown = [Shown("i1", 0), Shown("i2", 1)]
        return Impression.of(event_id=f"imp:{request}", request_id=request, ts=START_MS, user_id="ann", shown=shown)

    intake = Intake()
    intake.rows(view("i1"), view("i2"), view("i3"))
    intake.builder.on_the_way = {"right": [0, 1], "wrong": [0, 2], "short": [0]}
    for request in ("right", "wrong", "short", "unannounced"):
        assert intake.rows(slate(request)).item.tolist() == [0, 1]
    assert intake.builder.on_the_way == {}
