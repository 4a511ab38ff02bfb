"""Lessons: from a log, the requests that a ranker can learn from, and what turned out right.

Before an interaction of the window stands a request that could have been made: the same shopper, the same moment, the
log up to there. What was right is what followed: the item itself where it is a look (``click``), what the shopper put
in the cart (``cart``) or bought (``purchase``) within a day. Part of the requests ask on a product page, about the item
before.

One pass over the log, which keeps 40 bytes per interaction.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from endcap.errors import InvalidInput
from endcap.protocols import EventLog
from endcap.types import ACTION_CODE, ACTION_GROUP, BOUGHT, I1, I4, I8, SEEN, WANTED, Interaction

OBJECTIVES = ("click", "cart", "purchase")
CHUNK = 20_000
DAY_MS = 86_400_000
ON_PRODUCT = 4  # every fourth request asks on a product page
SESSION_MS = 1_800_000


@dataclass(frozen=True, slots=True)
class Lesson:
    """One request: ask when everything before ``offset`` is known."""

    offset: int  # of the interaction that follows
    ts: int
    page_item: str | None  # the product page asked on, None = the home page
    relevant: tuple[set[str], set[str], set[str]]  # by objective


def touches(log: EventLog, until: int) -> Iterator[tuple[int, str, str, Interaction]]:
    """(offset, shopper, item id, event) of every interaction with an item up to offset ``until``.

    A shopper is "u" and the user id, else "a" and the anonymous id; events of nobody are left out.
    """
    after = 0
    while after < until and (chunk := log.read(after, CHUNK)):
        after = chunk[-1].offset
        for stored in chunk:
            event = stored.event
            if not isinstance(event, Interaction) or event.item_id is None or stored.offset > until:
                continue
            who = f"u{event.user_id}" if event.user_id else f"a{event.anon_id}" if event.anon_id else None
            if who is not None:
                yield stored.offset, who, event.item_id, event


class Story:
    """The interactions of a log as columns."""

    def __init__(self, log: EventLog, until: int) -> None:
        """Read the log up to offset ``until``."""
        self._items: dict[str, int] = {}
        users: dict[str, int] = {}
        offset, ts, user, item, group = array("q"), array("q"), array("i"), array("i"), array("b")
        for at, who, item_id, event in touches(log, until):
            kind = int(ACTION_GROUP[ACTION_CODE[event.type]])
            if kind < 0:
                continue
            offset.append(at)
            ts.append(event.ts)
            user.append(users.setdefault(who, len(users)))
            item.append(self._items.setdefault(item_id, len(self._items)))
            group.append(kind)
        self.offset: I8 = np.array(offset, np.int64)
        self.ts: I8 = np.array(ts, np.int64)
        self.group: I1 = np.array(group, np.int8)
        self._item: I4 = np.array(item, np.int32)
        self._user: I4 = np.array(user, np.int32)
        self._names: list[str] = list(self._items)
        self._mine = np.lexsort((self.offset, self._user))  # each user's interactions together, in order
        self._place = np.empty(len(self), np.int64)
        self._place[self._mine] = np.arange(len(self))

    def __len__(self) -> int:
        return int(self.offset.shape[0])

    def lessons(self, since_ms: int, most: int, seed: int) -> list[Lesson]:
        """Up to ``most`` requests from ``since_ms`` on, spread evenly over the interactions, in order of the log."""
        due = np.flatnonzero(self.ts >= since_ms)
        if due.shape[0] > most:
            due = np.sort(np.random.default_rng(seed).choice(due, most, replace=False))
        return [self._lesson(int(k), n) for n, k in enumerate(due.tolist())]

    def _lesson(self, k: int, n: int) -> Lesson:
        later = list(self._within_a_day(k))
        click = {self._name(k)} if self.group[k] == SEEN else set()
        cart, bought = ({self._name(m) for m in later if self.group[m] == kind} for kind in (WANTED, BOUGHT))
        page = self._before(k) if n % ON_PRODUCT == ON_PRODUCT - 1 else None
        return Lesson(int(self.offset[k]), int(self.ts[k]), page, (click, cart, bought))

    def _within_a_day(self, k: int) -> Iterator[int]:
        """This interaction and the same shopper's of the next 24 hours."""
        place = int(self._place[k])
        while place < len(self):
            m = int(self._mine[place])
            if self._user[m] != self._user[k] or self.ts[m] > self.ts[k] + DAY_MS:
                return
            yield m
            place += 1

    def _before(self, k: int) -> str | None:
        """The item of the shopper's interaction before, if that was in the same visit."""
        place = int(self._place[k])
        if place == 0:
            return None
        m = int(self._mine[place - 1])
        same = (
            self._user[m] == self._user[k] and self.ts[k] - self.ts[m] <= SESSION_MS and self._item[m] != self._item[k]
        )
        return self._name(m) if same else None

    def _name(self, k: int) -> str:
        return self._names[int(self._item[k])]


def window_start(story: Story, days: float) -> int:
    """Epoch ms from which on requests teach: the newest ``days``, but at least half of a short log stays warm-up."""
    if not len(story):
        raise InvalidInput("the log holds no interaction of a shopper with an item; there is nothing to learn from")
    first, last = int(story.ts.min()), int(story.ts.max())
    return max(int(last - days * DAY_MS), first + (last - first) // 2)
