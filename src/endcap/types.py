"""The words of Endcap: every record that crosses a room or a process boundary.

Two families live here and nothing else:

* **Facts and answers** (``msgspec.Struct``, frozen): events, items, users, queries, slates. They cross HTTP, the
  log, files. Unknown fields are ignored, missing optional ones take the defaults below.
* **Numbers in memory** (a slotted dataclass around NumPy arrays): ``Interest``. It never leaves
  the process. Shapes and dtypes stand beside each array. Columns of events are in ``batches.py``.

Time is an integer of epoch milliseconds UTC named ``ts``; durations carry their unit in the name. Inside the folded
state time is whole seconds (``*_s``), which halves memory and is finer than any half-life in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as array_field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
I1 = NDArray[np.int8]
I2 = NDArray[np.int16]
I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
U1 = NDArray[np.uint8]
U4 = NDArray[np.uint32]
Arrays = dict[str, NDArray[Any]]

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
Props = dict[str, Any]  # free-form JSON values that the shop sends along; size-capped at intake


# ---------------------------------------------------------------- actions

ActionName = Literal[
    "impression", "view", "click", "cart_add", "cart_remove", "cart_view", "checkout_start", "purchase", "refund",
    "wishlist_add", "wishlist_remove", "rating", "like", "dislike", "hide", "share", "follow", "consume", "search",
    "list_view", "home_view", "custom", "unfollow",
]  # fmt: skip


class Action(StrEnum):
    """What a user did. The position in this list is the action's code in every int8 column; append only."""

    IMPRESSION = "impression"
    VIEW = "view"
    CLICK = "click"
    CART_ADD = "cart_add"
    CART_REMOVE = "cart_remove"
    CART_VIEW = "cart_view"
    CHECKOUT_START = "checkout_start"
    PURCHASE = "purchase"
    REFUND = "refund"
    WISHLIST_ADD = "wishlist_add"
    WISHLIST_REMOVE = "wishlist_remove"
    RATING = "rating"
    LIKE = "like"
    DISLIKE = "dislike"
    HIDE = "hide"
    SHARE = "share"
    FOLLOW = "follow"
    CONSUME = "consume"
    SEARCH = "search"
    LIST_VIEW = "list_view"
    HOME_VIEW = "home_view"
    CUSTOM = "custom"
    UNFOLLOW = "unfollow"


ACTIONS: tuple[str, ...] = tuple(a.value for a in Action)
ACTION_CODE: dict[str, int] = {name: code for code, name in enumerate(ACTIONS)}

# Interest weight of one action ("tw" in the feature definitions). Negative = the shopper took interest back.
# rating is scaled by its value on -1..1; hide and dislike also exclude the item from that user's slates.
ACTION_WEIGHT: F4 = np.array(
    [0, 1, 1, 6, -3, 0, 0, 3, -3, 3, -3, 3, 3, -6, -6, 2, 2, 2, 0, 0, 0, 0, -3],
    dtype=np.float32,
)

# Counter group of one action: 0 seen, 1 wanted (cart and its kin), 2 bought, -1 not counted as popularity.
SEEN, WANTED, BOUGHT, UNCOUNTED = 0, 1, 2, -1
ACTION_GROUP: I1 = np.array(
    [-1, 0, 0, 1, -1, -1, -1, 2, -1, 1, -1, 1, 1, -1, -1, 1, 1, 0, -1, -1, -1, -1, -1],
    dtype=np.int8,
)

# Actions that need an item.
ITEM_ACTIONS = frozenset(ACTIONS) - {
    "cart_view", "checkout_start", "search", "list_view", "home_view", "custom", "follow", "unfollow",
}  # fmt: skip

DEVICES: tuple[str, ...] = ("other", "desktop", "mobile", "tablet", "app", "tv")
DEVICE_CODE: dict[str, int] = {name: code for code, name in enumerate(DEVICES)}

ConsentName = Literal["granted", "denied", "unknown"]
AvailabilityName = Literal["in_stock", "out_of_stock", "preorder", "backorder", "discontinued"]


# ---------------------------------------------------------------- facts


class Context(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The moment: where, when and on what device. All optional; unknown keys are ignored."""

    device: str | None = None  # one of DEVICES; anything else counts as "other"
    region: str | None = None  # the shop's own granularity: country, city, store
    utc_offset_min: int | None = None  # minutes east of UTC; the local hour is computed from it
    locale: str | None = None
    page: str | None = None
    url: str | None = None
    referrer: str | None = None
    experiment: str | None = None


class Interaction(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="interaction"):
    """A user did something, mostly with an item. This is the shape that ``POST /v1/events`` takes."""

    type: ActionName
    event_id: str = ""  # idempotency key; a hash of the content when the sender has none
    ts: int = 0  # epoch ms UTC; 0 = "now", set at intake
    received_at: int = 0  # epoch ms UTC, set at intake; equals ts for imported history
    user_id: str | None = None
    anon_id: str | None = None
    session_id: str | None = None
    item_id: str | None = None
    variant_id: str | None = None
    quantity: float = 1.0
    price: float | None = None  # unit price
    currency: str | None = None  # ISO 4217
    value: float | None = None  # rating on -1..1, consumed share on 0..1, custom weight
    order_id: str | None = None
    cart_id: str | None = None
    placement: str | None = None
    position: int | None = None  # 0-based
    request_id: str | None = None
    query: str | None = None
    category: str | None = None
    consent: ConsentName = "unknown"
    context: Context | None = None
    props: Props | None = None


class Shown(Struct, frozen=True):
    """One item of an impression: what stood where, and how likely the policy was to put it there."""

    item_id: str
    position: int
    propensity: float = 1.0  # of this item at this position, given the arm
    rank: int = -1  # the position that the scores alone would have given it; -1 = exploration brought it in
    score: float = 0.0
    team: int = -1  # interleaving: which of the two variants put it there; -1 = not interleaved


class Impression(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="impression"):
    """A slate was shown. The items are columns, because slates are many; ``of`` and ``shown`` speak of items."""

    event_id: str
    request_id: str
    ts: int
    received_at: int = 0
    user_id: str | None = None
    anon_id: str | None = None
    session_id: str | None = None
    placement: str = "home"
    items: list[str] = field(default_factory=list)  # in order of position
    propensities: list[float] = field(default_factory=list)  # see ``Shown``; empty = 1 for each
    ranks: list[int] = field(default_factory=list)  # empty = each where the scores put it
    scores: list[float] = field(default_factory=list)  # empty = unknown, 0
    teams: list[int] = field(default_factory=list)  # interleaving: 0 or 1; empty = not interleaved
    arm: str = ""  # of the placement; "" = it has none
    arm_propensity: float = 1.0  # that this arm was drawn at this moment
    variants: dict[str, str] = field(default_factory=dict)  # experiment -> variant
    versions: dict[str, str] = field(default_factory=dict)  # of the policy (settings) and of the models
    warmth: str = ""  # cold, warm or hot at that moment
    session_events: int = 0  # items of the running session, as far as they are remembered
    context: Context | None = None
    context_hash: str = ""  # equal for equal context, placement, arm settings, warmth and named items

    @classmethod
    def of(cls, shown: Sequence[Shown], **facts: Any) -> Impression:
        """An impression of items in order of position."""
        return cls(
            items=[one.item_id for one in shown], propensities=[one.propensity for one in shown],
            ranks=[one.rank for one in shown], scores=[one.score for one in shown],
            teams=[one.team for one in shown] if any(one.team >= 0 for one in shown) else [], **facts,
        )  # fmt: skip

    def shown(self) -> list[Shown]:
        """The items one by one."""
        n = len(self.items)
        columns = (
            self.propensities or [1.0] * n,
            self.ranks or range(n),
            self.scores or [0.0] * n,
            self.teams or [-1] * n,
        )
        return list(map(Shown, self.items, range(n), *columns))


class Item(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sold. Only ``item_id`` is required."""

    item_id: str
    group_id: str | None = None  # variants of one product share it; a slate shows one of a group
    sku: str | None = None
    gtin: str | None = None
    mpn: str | None = None
    title: str | None = None
    description: str | None = None
    url: str | None = None
    image_urls: list[str] = field(default_factory=list)
    categories: list[list[str]] = field(default_factory=list)  # each a path, general to specific
    brand: str | None = None
    price: float | None = None
    list_price: float | None = None
    currency: str | None = None
    availability: AvailabilityName = "in_stock"
    stock_qty: int | None = None
    color: str | None = None
    size: str | None = None
    material: str | None = None
    pattern: str | None = None
    gender: str | None = None
    age_group: str | None = None
    condition: str | None = None
    tags: list[str] = field(default_factory=list)
    rating_avg: float | None = None
    rating_count: int | None = None
    language: str | None = None
    published_at: int | None = None  # epoch ms UTC; not shown before
    expires_at: int | None = None  # epoch ms UTC; not shown from then on
    adult: bool = False
    hidden: bool = False
    attributes: dict[str, str | float | bool | list[str]] = field(default_factory=dict)
    vectors: dict[str, list[float]] = field(default_factory=dict)  # set those named; kept apart from the record
    updated_at: int | None = None


class User(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the shop says about a person. Never required: events alone make a user."""

    user_id: str
    anon_ids: list[str] = field(default_factory=list)
    traits: dict[str, str | float | bool | None] = field(default_factory=dict)
    consent: ConsentName = "unknown"
    personalization: bool = True  # False: same endpoint, no profiling, from the next request on
    created_at: int | None = None


class ItemChange(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="item"):
    """The catalogue changed: ``item`` is the whole new record, or None when the item is deleted."""

    event_id: str
    item_id: str
    ts: int
    received_at: int = 0
    item: Item | None = None


class VectorChange(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="vector"):
    """An item's vector was set or taken away. Vectors of one name come from one encoder and have one length; the first
    says which. Without ``item_id`` the whole set goes, so that another encoder may begin anew under the name."""

    event_id: str
    name: str  # text, image, audio, or the shop's own
    ts: int
    received_at: int = 0
    item_id: str | None = None
    vector: bytes | None = None  # float32, little endian (base64 in JSON); None takes it away
    encoder: str = ""
    version: str = ""  # of the encoder


class UserChange(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="user"):
    """A user's traits, links or consent changed: ``user`` is the whole new record."""

    event_id: str
    user_id: str
    ts: int
    received_at: int = 0
    user: User | None = None


TagName = Literal["category", "brand", "item"]


class InterestChange(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="interest"):
    """A shopper deleted a tag of their interest: what they did with such items no longer counts for them."""

    event_id: str
    ts: int
    tag: TagName
    name: str  # of the brand, the item's id, or the category's path joined by " > "
    received_at: int = 0
    user_id: str | None = None
    anon_id: str | None = None


class Erasure(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="erasure"):
    """A person asked to be forgotten. Holds a keyed hash, never the id, so the proof does not identify anyone."""

    event_id: str
    user_hash: str
    ts: int
    received_at: int = 0
    n_events: int = 0


Event = Interaction | Impression | ItemChange | VectorChange | UserChange | InterestChange | Erasure


class Stored(Struct, frozen=True):
    """An event with its place in the log."""

    offset: int
    event: Event


class Refusal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why one record was not taken. The others of its batch are."""

    index: int  # place in the batch or line in the file, 0-based
    code: str  # stable, machine-readable: unknown_type, missing_user, bad_time ...
    message: str  # what happened, the value got, what was expected, what to do
    field: str | None = None
    value: str | None = None  # shortened


class Ack(Struct, frozen=True, kw_only=True):
    """The answer to a write. ``offset`` is the read-your-writes token for ``Query.at_least``."""

    accepted: int
    duplicates: int = 0
    rejected: list[Refusal] = field(default_factory=list)
    offset: int = 0
    durable: bool = True


# ---------------------------------------------------------------- questions and answers

PlacementName = str
ImpressionName = Literal["logged", "not_asked", "prefetch", "bot", "overloaded"]
RungName = Literal["full", "fewer_sources", "no_model", "session_only", "popular", "static", "refuse"]


class Query(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request for recommendations."""

    user_id: str | None = None
    anon_id: str | None = None
    session_id: str | None = None
    placement: PlacementName = "home"
    n: int = 0  # 0 = the number that the placement sets
    ts: int = 0  # 0 = now
    context: Context | None = None
    items: list[str] = field(default_factory=list)  # the product page's item, the cart's items
    filter: dict[str, Any] | None = None  # the structural filter language, slate/filter.py
    exclude: list[str] = field(default_factory=list)
    at_least: int = 0  # never answer from state older than this offset
    budget_ms: float | None = None
    personalization: bool = True
    explain: bool = False


class Reason(Struct, frozen=True, omit_defaults=True):
    """Why an item is on the slate, taken from its score trace. ``share`` is the part of the score it explains,
    to the next 0.05."""

    code: str  # viewed_together, bought_together, session_like_yours, shoppers_like_you, your_history, ...
    share: float = 0.0
    item_id: str | None = None  # the shopper's own item that suggested this one
    value: str | None = None  # category, brand, region, hour ...
    text: str | None = None  # as a sentence, where a language was asked for


class Placed(Struct, frozen=True, omit_defaults=True):
    """One item of a slate."""

    item_id: str
    score: float
    reasons: list[Reason]
    sources: list[str]
    propensity: float = 1.0  # of this item at this position, given the arm
    rank: int | None = None  # only where exploration acted: the position by score alone, -1 = not on the slate
    trace: dict[str, float] | None = None  # every term of the score; with explain only
    team: int | None = None  # interleaving only: which of the two variants put it there, 0 or 1


class Slate(Struct, frozen=True, kw_only=True):
    """The ordered answer, and how it came about."""

    request_id: str
    items: list[Placed]
    placement: PlacementName
    rung: RungName = "full"
    degraded: list[str] = field(default_factory=list)
    offset: int = 0
    ts: int = 0
    strategy: str = "personal"
    warmth: str = "cold"
    session_events: int = 0
    arm: str = ""
    arm_propensity: float = 1.0
    variants: dict[str, str] = field(default_factory=dict)
    impression: ImpressionName = "not_asked"  # whether it is in the log that this slate was shown, or why not
    versions: dict[str, str] = field(default_factory=dict)
    missing_ids: list[str] = field(default_factory=list)
    explanation: dict[str, Any] | None = None  # counts per source and filter; with explain only


class UserNeighbour(Struct, frozen=True):
    """A user with a similar history."""

    user_id: str
    similarity: float
    shared: int


class Weighted(Struct, frozen=True):
    """A name and what the engine believes about it."""

    name: str
    weight: float
    short: float = 0.0
    long: float = 0.0


class InterestView(Struct, frozen=True, kw_only=True):
    """What the engine believes a user wants now, in words a person can read."""

    user_id: str | None
    anon_id: str | None
    warmth: str
    items: list[Weighted]
    categories: list[Weighted]
    brands: list[Weighted]
    price_level: float | None
    session_events: int
    total_events: int
    consent: ConsentName
    personalization: bool
    offset: int


# ---------------------------------------------------------------- numbers in memory

MAX_SEEDS = 64  # distinct items kept of one user's history
MAX_TAGS = 16  # categories and brands of one interest


@dataclass(slots=True)
class Interest:
    """r_u = f(X_u, A_i, C_t): what one shopper wants at one moment, as arrays ready for kernels.

    Seeds are distinct items: first the ones the query itself names, then the shopper's own, newest first. Weights are
    recency x action, the newest plain view = 1.
    """

    user: int  # dense id, -1 = nobody known
    t_s: int  # the query's time, epoch s
    n_seeds: int
    n_session: int  # the first n_session seeds belong to the moment: the query's own items, then the running session
    session: int  # number of the running session, -1 = none
    seeds: I4  # [MAX_SEEDS]
    weight: F4  # [MAX_SEEDS]
    age_s: I4  # [MAX_SEEDS] seconds since the last touch
    action: I1  # [MAX_SEEDS] furthest step still standing: PURCHASE, else CART_ADD (in the cart now), else the heaviest
    n_context: int  # seeds named by the query itself (product page, cart): they come first in seeds
    categories: I4  # [MAX_TAGS] dense category ids, -1 = unused
    category_short: F4  # [MAX_TAGS] share of the running session's weight
    category_long: F4  # [MAX_TAGS] share of the long-term weight
    brands: I4  # [MAX_TAGS]
    brand_short: F4  # [MAX_TAGS]
    brand_long: F4  # [MAX_TAGS]
    price_mean: float  # mean natural-log price of touched items, NaN = unknown
    price_sd: float
    hour: int  # local hour 0..23
    device: int
    region: int
    personalized: bool  # False: no profile was read
    n_events: int  # interactions of this user so far, unbounded count
    placement: str = ""  # where the slate will be shown
    session_from_s: int = 0  # start of the running session, epoch s; later than t_s when none runs
    n_hidden: int = 0
    hidden: I4 = array_field(default_factory=lambda: np.zeros(MAX_SEEDS, np.int32))  # items hidden or disliked

    @property
    def warmth(self) -> Literal["cold", "warm", "hot"]:
        """cold: nothing known; warm: a few events; hot: enough to trust."""
        return "cold" if self.n_seeds == 0 else "warm" if self.n_events < 5 else "hot"
