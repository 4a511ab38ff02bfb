"""Random event streams for the law tests: a small shop in which everything happens."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from endcap.types import (
    Context,
    Event,
    Impression,
    Interaction,
    InterestChange,
    Item,
    ItemChange,
    Shown,
    User,
    UserChange,
    VectorChange,
)

START_MS = 1_760_000_000_000  # a Thursday morning in October 2025
ITEM_IDS = [f"i{k}" for k in range(12)]
USER_IDS = [f"u{k}" for k in range(4)]
ANON_IDS = [f"a{k}" for k in range(4)]
REQUESTS = [f"r{k}" for k in range(60)]
ACTIONS = ["view"] * 8 + ["click", "cart_add", "cart_remove", "purchase", "refund", "wishlist_add", "rating", "hide"]

gaps_ms = st.sampled_from([0, 500, 4_000, 40_000, 400_000, 3_000_000, 90_000_000])
lateness_ms = st.sampled_from([0, 0, 0, 0, 5_000, 3_600_000])
contexts = st.none() | st.builds(
    Context,
    device=st.sampled_from(["mobile", "desktop", None]),
    region=st.sampled_from(["Beijing", "Leeds", None]),
    utc_offset_min=st.sampled_from([0, 480]),
)


@st.composite
def items(draw: st.DrawFn, item_id: str) -> Item:
    top = draw(st.sampled_from(["Kitchen", "Garden"]))
    return Item(
        item_id=item_id,
        title=f"Thing {item_id}",
        categories=[[top, draw(st.sampled_from(["Mugs", "Pots", "Tools"]))]],
        brand=draw(st.sampled_from(["North", "South", None])),
        price=draw(st.sampled_from([None, 1.5, 12, 80.0, float("nan")])),
        group_id=draw(st.sampled_from([None, None, "g1"])),
        availability=draw(st.sampled_from(["in_stock"] * 5 + ["out_of_stock"])),
        hidden=draw(st.sampled_from([False] * 9 + [True])),
        vectors=draw(st.sampled_from([{}, {}, {}, {"own": [1.0, 2.0]}, {"own": [0.0, -1.0], "image": [1.0]}])),
    )


@st.composite
def vector_changes(draw: st.DrawFn, number: int, now: int) -> VectorChange:
    """Good ones, and all that a log may hold of bad ones: another length, another encoder, zeros, no numbers."""
    numbers = draw(st.sampled_from([None, [3, 4, 0], [0, 1, 1], [-1, 2, 5], [1, 2], [0, 0, 0], [float("nan"), 1, 1]]))
    return VectorChange(
        event_id=f"e{number}",
        name=draw(st.sampled_from(["image", "image", "text", "No name"])),
        ts=now,
        received_at=now,
        item_id=draw(st.sampled_from([*ITEM_IDS, None])),
        vector=None if numbers is None else np.array(numbers, "<f4").tobytes(),
        encoder=draw(st.sampled_from(["eye", "eye", "eye", "other"])),
        version="1",
    )


@st.composite
def interactions(draw: st.DrawFn, number: int, now: int) -> Interaction:
    user = draw(st.none() | st.sampled_from(USER_IDS))
    anon = draw(st.sampled_from(ANON_IDS) if user is None else st.none() | st.sampled_from(ANON_IDS))
    action = draw(st.sampled_from(ACTIONS))
    return Interaction(
        type=action,
        event_id=f"e{number}",
        ts=now - draw(lateness_ms),
        received_at=now,
        user_id=user,
        anon_id=anon,
        item_id=draw(st.sampled_from(ITEM_IDS)),
        price=draw(st.sampled_from([None, 3.0, 3.5, 900.0])),
        quantity=draw(st.sampled_from([1.0, 2.0, 5000.0])),
        value=draw(st.sampled_from([-1.0, 0.5, 1.0])) if action == "rating" else None,
        context=draw(contexts),
        request_id=draw(st.sampled_from([None, None, *REQUESTS[max(0, number - 8) : number + 2]])),
        placement=draw(st.sampled_from([None, None, "home", "product"])),
        position=draw(st.sampled_from([None, None, 0, 1, 2])),
    )


@st.composite
def streams(draw: st.DrawFn, min_size: int = 1, max_size: int = 60) -> list[Event]:
    """Events in order of arrival; arrival times never run backwards, event times sometimes do."""
    events: list[Event] = []
    now = START_MS
    for number in range(draw(st.integers(min_size, max_size))):
        now += draw(gaps_ms)
        kind = draw(
            st.sampled_from(["interaction"] * 10 + ["item", "item", "user", "impression", "vector", "interest"])
        )
        if kind == "interaction":
            events.append(draw(interactions(number, now)))
        elif kind == "item":
            item_id = draw(st.sampled_from(ITEM_IDS))
            gone = draw(st.sampled_from([False] * 7 + [True]))
            record = None if gone else draw(items(item_id))
            events.append(ItemChange(event_id=f"e{number}", item_id=item_id, ts=now, received_at=now, item=record))
        elif kind == "vector":
            events.append(draw(vector_changes(number, now)))
        elif kind == "interest":
            user = draw(st.none() | st.sampled_from(USER_IDS))
            tag, name = draw(st.sampled_from([("brand", "North"), ("category", "Kitchen > Mugs"), ("item", "i3")]))
            events.append(
                InterestChange(
                    event_id=f"e{number}", ts=now, received_at=now, tag=tag, name=name, user_id=user,
                    anon_id=draw(st.sampled_from(ANON_IDS)) if user is None else None,
                )
            )  # fmt: skip
        elif kind == "user":
            user_id = draw(st.sampled_from(USER_IDS))
            record_of_user = User(
                user_id=user_id,
                anon_ids=draw(st.lists(st.sampled_from(ANON_IDS), max_size=1)),
                personalization=draw(st.booleans()),
            )
            events.append(
                UserChange(event_id=f"e{number}", user_id=user_id, ts=now, received_at=now, user=record_of_user)
            )
        else:
            shown = draw(st.lists(st.sampled_from(ITEM_IDS), min_size=1, max_size=4, unique=True))
            events.append(
                Impression.of(
                    event_id=f"e{number}",
                    request_id=f"r{number}",
                    ts=now,
                    received_at=now,
                    anon_id=draw(st.sampled_from(ANON_IDS)),
                    placement=draw(st.sampled_from(["home", "product"])),
                    shown=tuple(
                        Shown(
                            item_id, place, draw(st.sampled_from([1.0, 0.25])), draw(st.sampled_from([place, -1])), 0.5
                        )
                        for place, item_id in enumerate(shown)
                    ),
                    arm=draw(st.sampled_from(["", "bold", "safe"])),
                    arm_propensity=draw(st.sampled_from([1.0, 0.5])),
                    warmth=draw(st.sampled_from(["cold", "hot"])),
                    session_events=draw(st.integers(0, 3)),
                    variants=draw(st.sampled_from([{}, {"trial": "a"}, {"trial": "b"}])),
                    context=draw(contexts),
                )
            )
    return events
