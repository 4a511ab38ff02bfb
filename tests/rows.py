"""Random rows for the parts that fold batches: few users, few items, awkward times, any way of cutting them."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from endcap.batches import LATE, EventBatch
from endcap.types import ACTION_CODE, Arrays

START_S = 1_760_000_000
N_USERS, N_ITEMS = 4, 9
COMMON = ["view"] * 6 + ["click", "click", "cart_add", "cart_add", "purchase", "purchase", "impression", "impression"]
RARE = ["cart_remove", "wishlist_add", "search", "hide", "refund", "share"]


class Row(NamedTuple):
    """One interaction as a test writes it down."""

    at_s: int
    user: int
    item: int
    action: str
    quantity: float = 1.0
    price: float = float("nan")
    hour: int = 0
    device: int = 0
    region: int = -1
    flags: int = 0


def batch(rows: Sequence[Row]) -> EventBatch:
    """Rows as columns; sessions are not numbered yet."""
    return EventBatch(
        offset=np.arange(1, len(rows) + 1, dtype=np.int64),
        ts=np.array([row.at_s * 1000 + 250 for row in rows], np.int64),
        user=np.array([row.user for row in rows], np.int32),
        item=np.array([row.item for row in rows], np.int32),
        action=np.array([ACTION_CODE[row.action] for row in rows], np.int8),
        value=np.full(len(rows), np.nan, np.float32),
        quantity=np.array([row.quantity for row in rows], np.float32),
        price=np.array([row.price for row in rows], np.float32),
        hour=np.array([row.hour for row in rows], np.int8),
        device=np.array([row.device for row in rows], np.int8),
        region=np.array([row.region for row in rows], np.int16),
        session=np.full(len(rows), -1, np.int32),
        flags=np.array([row.flags for row in rows], np.uint8),
    )


def stream_of(seed: int, size: int) -> list[Row]:
    """A stream in order of arrival. Time mostly moves on, in steps from nothing to weeks, and sometimes runs late.

    One seed, not one draw per field: ten times as quick, and a failure still shrinks to the shortest failing stream.
    """
    choose = random.Random(seed)
    now, out = START_S, []
    for _ in range(size):
        now += choose.choice([0, 0, 1, 1, 3, 40, 40, 700, 1_800, 3_599, 3_600, 20_000, 90_000, 1_300_000])
        out.append(
            Row(
                at_s=now - choose.choice([0] * 8 + [1, 60, 5_000, 200_000]),
                user=choose.randint(-1, N_USERS - 1),
                item=choose.randint(-1, N_ITEMS - 1),
                action=choose.choice(COMMON * 2 + RARE),
                quantity=choose.choice([1.0, 1.0, 2.0, 30.0, 5_000.0, 0.0, math.nan, math.inf]),
                price=choose.choice([math.nan, 3.0, 3.3, 2.5, 90.0, 4_000.0, -1.0, 0.0, math.inf]),
                hour=choose.randint(0, 23),
                device=choose.randint(0, 5),
                region=choose.randint(-1, 3),
                flags=choose.choice([0] * 9 + [LATE]),
            )
        )
    return out


rows = st.builds(stream_of, seed=st.integers(0, 2**32), size=st.integers(1, 120))
at_leisure = settings(deadline=None)  # the first example compiles kernels


def pieces(stream: Sequence[Row], cuts: Sequence[int]) -> list[list[Row]]:
    """The stream cut at the given places (taken modulo its length)."""
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    return [list(stream[a:b]) for a, b in itertools.pairwise(places)]


def same(ours: Arrays, theirs: Arrays) -> None:
    """Assert that two states are the same bytes."""
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        other = theirs[name]
        assert array.dtype == other.dtype, name
        assert array.shape == other.shape, name
        assert array.tobytes() == other.tobytes(), name


def assert_batching_is_invisible(
    make: Callable[[], Any], fold: Callable[[Any, EventBatch], object], stream: Sequence[Row], cuts: Sequence[int]
) -> Any:
    """Folding a stream at once, row by row, cut anywhere, and through a snapshot gives the same bytes (law L1).

    Gives the part that was folded at once.
    """
    whole, single, cut = make(), make(), make()
    for part in (whole, single, cut):
        part.grow(N_USERS, N_ITEMS)
    fold(whole, batch(stream))
    for row in stream:
        fold(single, batch([row]))
    for piece in pieces(stream, cuts):
        fold(cut, batch(piece))
        loaded = make()
        loaded.load(cut.arrays(N_USERS, N_ITEMS))
        loaded.grow(N_USERS, N_ITEMS)
        cut = loaded
    same(whole.arrays(N_USERS, N_ITEMS), single.arrays(N_USERS, N_ITEMS))
    same(whole.arrays(N_USERS, N_ITEMS), cut.arrays(N_USERS, N_ITEMS))
    return whole


cut_places = st.lists(st.integers(0, 200), max_size=4)
