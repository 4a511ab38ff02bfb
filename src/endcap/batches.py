"""Columns: what a run of events is to a kernel, and what came of the slates among them.

``EventBatch`` is the unit of folding. ``ClaimBatch`` and ``SlateBatch`` stand beside it when some of its rows name a
slate or are one. ``Outcomes`` is what attribution makes of them. Ids are dense numbers here; -1 = none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap.types import F4, I1, I2, I4, I8, U1

Records = NDArray[Any]  # of one of the structured dtypes below

# Bits of EventBatch.flags, set by preprocess/. An event with any bit of UNCLEAN stays in the log and in the report,
# and is left out of every statistic that other shoppers see.
REPEATED = 1  # same user, item and action again within two seconds
FLOOD = 2  # over the per-user rate
BOT = 4  # the user's behaviour is a machine's
LATE = 8  # older than the lateness window when it arrived
PRICE_OUTLIER = 16  # price replaced by none
QUANTITY_OUTLIER = 32  # quantity clipped
UNCLEAN = REPEATED | FLOOD | BOT | LATE


MAX_VARIANTS = 4  # experiments that one slate can be part of


@dataclass(frozen=True, slots=True)
class ClaimBatch:
    """What interactions say about the slate they come from, [n] like the batch."""

    request: I8  # hash of the request id, 0 = none
    placement: I2  # interned, -1 = none, -2 = one that no slate had so far
    position: I2  # -1 = none


@dataclass(frozen=True, slots=True)
class SlateBatch:
    """The impressions of an ``EventBatch``: ``s`` slates with ``r`` shown items in all, in order of the log."""

    first: I8  # [s] the batch row of the slate's first item; the others follow
    n: I4  # [s]
    request: I8  # [s] hash of the request id
    placement: I2  # [s] interned
    arm: I2  # [s] interned, -1 = none
    arm_propensity: F4  # [s]
    warmth: I1  # [s] 0 cold, 1 warm, 2 hot
    session_events: I2  # [s]
    variants: I4  # [s, MAX_VARIANTS] interned "experiment/variant", -1 = none
    propensity: F4  # [r]
    rank: I2  # [r]
    score: F4  # [r]
    team: I1  # [r]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a batch taught about slates: that one was shown, or that something shown was rewarded; ``m`` in log order.

    The facts of a slate stand in ``slates`` by ``slot``; those of a shown item in ``rows`` by ``row``.
    """

    slates: Records  # [S] of dtype SLATE
    rows: Records  # [R] of dtype SHOWN_ROW
    slot: I4  # [m] which slate
    row: I4  # [m] which shown item was rewarded; for a slate its first one
    place: I4  # [m] position of the rewarded item; -1: this entry says that the slate was shown
    item: I4  # [m] the rewarded item; -1 for a slate
    deed: I1  # [m] what was done, a number of DEEDS; -1 for a slate
    reward: F4  # [m] its worth by the reward table; 0 for a slate
    ts: I8  # [m] epoch ms

    def __len__(self) -> int:
        return int(self.slot.shape[0])


# A slate that was shown, and one item of it, as attribution keeps them until their window closes.
SLATE = np.dtype(
    [
        ("request", np.int64),  # hash of the request id
        ("first", np.int64),  # running number of its first row
        ("before", np.int64),  # running number of the same user's slate before it, -1 = none
        ("turn", np.int64),  # slates of the same placement before it
        ("ts_s", np.int64),
        ("user", np.int32),  # -1 = nobody known
        ("variants", np.int32, (MAX_VARIANTS,)),
        ("arm_propensity", np.float32),
        ("placement", np.int16),
        ("arm", np.int16),
        ("n", np.int16),
        ("region", np.int16),
        ("session_events", np.int16),
        ("hour", np.int8),
        ("device", np.int8),
        ("warmth", np.int8),
    ]
)
SHOWN_ROW = np.dtype(
    [
        ("item", np.int32),
        ("propensity", np.float32),
        ("score", np.float32),
        ("rank", np.int16),
        ("done", np.uint8),  # bit d: deed d of DEEDS was credited
        ("team", np.int8),  # interleaving: 0 or 1, else -1
    ]
)
WARMTH_CODE = {"cold": 0, "warm": 1, "hot": 2}
DEEDS: tuple[str, ...] = ("click", "cart", "purchase", "rating", "like", "consume", "dislike", "refund")


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Interactions as columns, all of length n, ordered by offset. One live event is a batch of one.

    Ids are dense int32 in order of first appearance; -1 = none.
    """

    offset: I8
    ts: I8  # epoch ms
    user: I4
    item: I4
    action: I1  # code in ACTIONS
    value: F4  # NaN = none
    quantity: F4
    price: F4  # NaN = none
    hour: I1  # local hour 0..23
    device: I1  # code in DEVICES
    region: I2  # interned, -1 = none
    session: I4  # number of the session, by time of start; -1 before cleaning
    flags: U1  # bits above
    claims: ClaimBatch | None = None  # what rows say about the slate they come from; None = no row says anything
    slates: SlateBatch | None = None  # the impressions among the rows

    def __len__(self) -> int:
        return int(self.offset.shape[0])
