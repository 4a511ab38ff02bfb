"""A data set as columns in time order, and the events that the engine is fed from it.

Idea: an evaluation needs two views of the same log: whole columns, to plan queries and to cut slices, and events, which
enter the engine one by one through the same door as a shop's own. Columns are small (some 60 bytes per event); events
are made only for the stretch that is being replayed.

Items: the sets at hand do not say when a product was listed, so by default an item enters the catalogue right before
the first event about it is folded, with that event's price. A query therefore never sees an item that did not exist.

Times are epoch ms. Events of one moment keep the order of the file, except where a basket's lines are sorted by item
id: that order would give the rest of a basket away, so the lines are shuffled (counted as ``shuffled``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec import structs

from endcap.types import ACTION_CODE, ACTIONS, F4, I1, I4, I8, U1, Context, Event, Interaction, Item, ItemChange

TRAIN, VALID, TEST = 1, 2, 3
SPLITS = {"train": TRAIN, "valid": VALID, "validation": VALID, "test": TEST}
VIEW, CLICK = ACTION_CODE["view"], ACTION_CODE["click"]
SORTED_SHARE = 0.9  # of baskets with sorted lines from which on the order is taken for the file's, not the shopper's


@dataclass(frozen=True, slots=True)
class Dataset:
    """Interactions in time order as columns of length n; ids are codes into the name lists."""

    name: str
    ts: I8  # epoch ms, ascending
    user: I4
    item: I4
    action: I1  # code in ACTIONS
    session: I4  # the file's own session, invoice or basket; -1 = none
    price: F4  # NaN = none
    quantity: F4
    value: F4  # NaN = none
    split: I1  # 0 none, TRAIN, VALID, TEST
    region: I4  # -1 = none
    user_names: list[str]
    is_guest: U1  # by user: known by an anonymous id only
    item_names: list[str]
    session_names: list[str]
    region_names: list[str]
    items: dict[int, Item]  # catalogue records by item code
    counts: dict[str, int] = field(default_factory=dict)  # rows read, kept, dropped per reason

    def __len__(self) -> int:
        return int(self.ts.shape[0])

    def first_events(self) -> I8:
        """By item code: position of the first event about it (n for an item without events)."""
        first = np.full(len(self.item_names), len(self), np.int64)
        np.minimum.at(first, self.item, np.arange(len(self)))
        return first

    def interaction(self, k: int) -> Interaction:
        """Event k as a shop would send it."""
        user, session, price, region = int(self.user[k]), int(self.session[k]), float(self.price[k]), self.region[k]
        value, ts, name = float(self.value[k]), int(self.ts[k]), self.user_names[user]
        return Interaction(
            type=ACTIONS[self.action[k]],
            event_id=f"{self.name}:{k}",
            ts=ts,
            received_at=ts,
            user_id=None if self.is_guest[user] else name,
            anon_id=name if self.is_guest[user] else None,
            session_id=self.session_names[session] if session >= 0 else None,
            item_id=self.item_names[self.item[k]],
            quantity=float(self.quantity[k]),
            price=price if price == price else None,
            value=value if value == value else None,
            context=Context(region=self.region_names[region]) if region >= 0 else None,
        )

    def listing(self, item: int, k: int) -> Event | None:
        """The catalogue record of an item that event k is the first about, priced as in that event."""
        record = self.items.get(item)
        if record is None:
            return None
        price = float(self.price[k])
        if price == price:
            record = structs.replace(record, price=price)
        ts = int(self.ts[k])
        return ItemChange(
            event_id=f"{self.name}:item:{item}", item_id=record.item_id, ts=ts, received_at=ts, item=record
        )

    def events(self, positions: Sequence[int], first: I8) -> Iterator[Event]:
        """The events at ``positions``, each item's record before the first event about it."""
        for k in positions:
            item = int(self.item[k])
            if first[item] == k and (listing := self.listing(item, k)) is not None:
                yield listing
            yield self.interaction(k)


def in_time_order(ts: I8, session: I4, item_names: Sequence[str], item: I4, seed: int) -> tuple[I8, int]:
    """The order of rows by time, and the number of rows of shuffled baskets."""
    order = np.argsort(ts, kind="stable").astype(np.int64)
    in_basket = session[order] >= 0
    same = (session[order][1:] == session[order][:-1]) & (ts[order][1:] == ts[order][:-1]) & in_basket[1:]
    if same.sum() < 100:
        return order, 0
    rank = np.argsort(np.argsort(np.array(item_names)))
    ascending = (np.diff(rank[item[order]]) >= 0)[same].mean()
    numbers = np.array([int(name) if name.isdigit() else -1 for name in item_names])
    by_number = (np.diff(numbers[item[order]]) >= 0)[same].mean()
    if max(float(ascending), float(by_number)) < SORTED_SHARE:
        return order, 0
    shuffled = np.random.default_rng(seed).permutation(ts.shape[0])
    order = np.lexsort((shuffled, session, ts)).astype(np.int64)
    return order, int(same.sum())


def usual_action(dataset: Dataset) -> tuple[int, ...]:
    """What "the next event" means here: views and clicks where there are any, else the commonest action."""
    present = np.bincount(dataset.action, minlength=len(ACTIONS))
    if present[VIEW] or present[CLICK]:
        return VIEW, CLICK
    return (int(present.argmax()),)
