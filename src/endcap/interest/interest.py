"""Interest: r_u = f(X_u, A_i, C_t), what one shopper wants at one moment.

Idea: a shopper's last interactions, weighted by how much each says about now. An event counts by its action (a cart
addition 6, a view 1, a removal -3), by its rank in the history and by its age:

    weight(event j) = action weight * (2^(0.1 + 0.9 (n-j)/(n-1)) - 1) * max(floor, 2^(-age / half_life))

with j = 1 the newest of n events. The weights of one item add up; items whose sum is not positive are dropped. The same
events give taste: shares of weight by leaf category and brand, once over the running session (short) and once over the
whole history with a long half-life (long), and a price level.

Layout: reads the ring of the user (item, at_s, action; oldest first; kernels in ``ring.py``), writes one preallocated
``Interest``. Items that the query itself names come first among the seeds, with the weight of a view just now.

Law L9: an entry later than the query's time is not read. When the cleaner's session state is later than that time, the
running session is found from the ring instead.

Cost: ~8 us for a ring of 64 distinct items, ~5 us for 16. Rank weights: the aggregation over the history of winners
of the OTTO challenge (2022). Not for: taste older than the ring; that is a job for trained user vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from endcap.blocks import Blocks
from endcap.config import InterestConfig
from endcap.interest import ring
from endcap.types import (
    F4,
    F8,
    I1,
    I4,
    MAX_SEEDS,
    MAX_TAGS,
    U4,
    ConsentName,
    Interest,
    InterestView,
    Weighted,
)


class Rings(Protocol):
    """The last interactions of every user: pools sorted by time within a user, and how many there ever were."""

    blocks: Blocks
    item: I4
    at_s: U4
    action: I1
    count: I4


class Sessions(Protocol):
    """The running session of every user."""

    last_s: U4
    session: I4
    session_start_s: U4


class Shelves(Protocol):
    """What the catalogue knows of items."""

    category: I4
    brand: I4
    log_price: F4


class TagNames(Protocol):
    """Names of categories and brands."""

    @property
    def brands(self) -> Named: ...
    def category_path(self, category: int) -> list[str]: ...


class Named(Protocol):
    """A dictionary of dense ids."""

    def name(self, i: int, /) -> str: ...


class Catalogue(Shelves, TagNames, Protocol):
    """Columns and names."""


def empty_interest(ints: I4 | None = None, floats: F4 | None = None) -> Interest:
    """Room for one interest, nothing known. Its arrays are rows of the kernel's blocks, given or new."""
    ints = np.full((5, MAX_SEEDS), -1, np.int32) if ints is None else ints
    floats = np.zeros((5, MAX_SEEDS), np.float32) if floats is None else floats
    return Interest(
        user=-1, t_s=0, n_seeds=0, n_session=0, session=-1,
        seeds=ints[ring.SEEDS], weight=floats[ring.WEIGHT], age_s=ints[ring.AGE],
        action=np.zeros(MAX_SEEDS, np.int8), n_context=0,
        categories=ints[ring.CATEGORIES, :MAX_TAGS], category_short=floats[ring.CATEGORY_SHORT, :MAX_TAGS],
        category_long=floats[ring.CATEGORY_LONG, :MAX_TAGS],
        brands=ints[ring.BRANDS, :MAX_TAGS], brand_short=floats[ring.BRAND_SHORT, :MAX_TAGS],
        brand_long=floats[ring.BRAND_LONG, :MAX_TAGS],
        price_mean=math.nan, price_sd=math.nan, hour=-1, device=0, region=-1, personalized=True, n_events=0,
        hidden=ints[ring.HIDDEN],
    )  # fmt: skip


class InterestReader:
    """Reads interests. The one ``Interest`` it owns is scratch: each ``read`` overwrites the last."""

    def __init__(
        self, histories: Rings, sessions: Sessions, catalogue: Catalogue, config: InterestConfig, session_gap_s: int
    ) -> None:
        self._histories = histories
        self._sessions = sessions
        self._catalogue = catalogue
        self._gap_s = session_gap_s
        self._half_life_s = config.half_life_h * 3_600.0
        self._long_half_life_s = config.long_half_life_d * 86_400.0
        self._floor = config.floor
        self._scratch: F8 = np.zeros((ring.N_SCRATCH, MAX_SEEDS))
        self._tags: I4 = np.zeros((3, MAX_SEEDS), np.int32)
        self._table: I4 = np.zeros((3, 2, ring.SLOTS), np.int32)
        self._answers: F8 = np.zeros(ring.N_ANSWERS)
        self._ints: I4 = np.full((5, MAX_SEEDS), -1, np.int32)
        self._floats: F4 = np.zeros((5, MAX_SEEDS), np.float32)
        self._interest = empty_interest(self._ints, self._floats)

    def read(
        self, user: int, t_s: int, context: Sequence[int] = (),
        *, hour: int = -1, device: int = 0, region: int = -1, personalized: bool = True,
    ) -> Interest:  # fmt: skip
        """The interest of a dense user id (-1 = nobody known) at ``t_s`` (epoch s).

        ``context``: dense ids of the items that the query names (-1 skipped, at most half of MAX_SEEDS are used).
        ``personalized`` False reads no profile: what remains is the query's own items and the moment.
        """
        into, histories = self._interest, self._histories
        n_context = 0
        for item in dict.fromkeys(context) if context else ():
            if item >= 0 and n_context < MAX_SEEDS // 2:
                into.seeds[n_context] = item
                n_context += 1
        known = personalized and 0 <= user < histories.count.shape[0]
        into.user = user if known else -1
        shelves, sessions, blocks = self._catalogue, self._sessions, histories.blocks
        ring.read_interest(
            into.user, t_s, self._gap_s, self._half_life_s, self._long_half_life_s, self._floor, n_context,
            blocks.start, blocks.length, histories.count, sessions.last_s, sessions.session, sessions.session_start_s,
            histories.item, histories.at_s, histories.action, ring.RANK_WEIGHT,
            shelves.category, shelves.brand, shelves.log_price,
            self._ints, self._floats, into.action, self._scratch, self._tags, self._table, self._answers,
        )  # fmt: skip
        numbers = self._answers.tolist()
        into.n_seeds, into.n_session, into.n_hidden, into.n_events, into.session, into.session_from_s = map(
            int, numbers[: ring.PRICE_MEAN]
        )
        into.price_mean, into.price_sd = numbers[ring.PRICE_MEAN :]
        into.t_s, into.n_context = t_s, n_context
        into.hour, into.device, into.region, into.personalized = hour, device, region, personalized
        return into

    def view(
        self, interest: Interest, item_name: Callable[[int], str],
        *, user_id: str | None, anon_id: str | None, consent: ConsentName, personalization: bool, offset: int,
    ) -> InterestView:  # fmt: skip
        """The interest in words a person can read; weights are shares, strongest first."""
        n = interest.n_seeds
        total = max(float(interest.weight[:n].sum()), 1e-9)
        items = [
            Weighted(
                item_name(int(interest.seeds[k])), float(interest.weight[k]) / total, float(k < interest.n_session)
            )
            for k in range(n)
        ]
        catalogue = self._catalogue
        known_price = not math.isnan(interest.price_mean)
        return InterestView(
            user_id=user_id,
            anon_id=anon_id,
            warmth=interest.warmth,
            items=sorted(items, key=lambda one: -one.weight),
            categories=weighted_tags(
                interest.categories, interest.category_short, interest.category_long,
                lambda tag: " > ".join(catalogue.category_path(tag)),
            ),
            brands=weighted_tags(interest.brands, interest.brand_short, interest.brand_long, catalogue.brands.name),
            price_level=math.exp(interest.price_mean) if known_price else None,
            session_events=interest.n_session - interest.n_context,
            total_events=interest.n_events,
            consent=consent,
            personalization=personalization,
            offset=offset,
        )  # fmt: skip


def weighted_tags(tags: I4, short: F4, long: F4, name: Callable[[int], str]) -> list[Weighted]:
    """Named shares of the tags in use."""
    used = int((tags >= 0).sum())
    return [
        Weighted(name(int(tags[k])), (float(short[k]) + float(long[k])) / 2, float(short[k]), float(long[k]))
        for k in range(used)
    ]
