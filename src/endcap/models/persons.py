"""Persons: which items are people or groups, and whom they stand for.

Idea: a network recommends people as a shop recommends goods, so a person is an item too. The item's id is the user's
id behind ``user:``, a group's is whatever the product calls it behind ``group:``. To follow, hide or look at somebody
is an event with that item; a catalogue record of that item gives a name, tags and the switch ``hidden``. Somebody can
be suggested once anybody followed them or the catalogue knows them.

Layout: by dense item ``person``, ``group``, ``thing`` uint8 and ``user_of`` int32; by dense user ``item_of`` int32;
-1 = none. All of it follows from the two dictionaries of names, so it is a cache and no state.

Cost: 0.3 us per new name, once; 9 bytes an item and a user, where the product has ties between people at all.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from endcap.blocks import grown
from endcap.types import I4, U1

PERSON, GROUP = "user:", "group:"
USER_KEY = "u"  # users' keys begin with it, anonymous visitors' with another letter
Shows = Literal["people", "groups", "items"]


class Names(Protocol):
    """A dictionary of keys to dense ids in order of first appearance."""

    def get(self, key: str) -> int: ...
    def name(self, number: int) -> str: ...
    def __len__(self) -> int: ...


class Persons:
    """Who is who. Ask after ``catch_up``."""

    def __init__(self, users: Names, items: Names) -> None:
        self._users, self._items = users, items
        self.reset()

    def reset(self) -> None:
        """The dictionaries were replaced: read them anew."""
        self._n_users = self._n_items = 0
        self.person: U1 = np.zeros(0, np.uint8)
        self.group: U1 = np.zeros(0, np.uint8)
        self.thing: U1 = np.zeros(0, np.uint8)
        self.user_of: I4 = np.full(0, -1, np.int32)
        self.item_of: I4 = np.full(0, -1, np.int32)

    def is_person(self, item: int) -> bool:
        """Whether a dense item is a person."""
        return self._items.name(item).startswith(PERSON)

    def item_named(self, user_id: str) -> int:
        """The dense item that stands for a user, -1 when nobody ever named it; nobody need know the user."""
        return self._items.get(PERSON + user_id)

    def item_id(self, user_id: str) -> str:
        """Its id, "" when nobody ever named it."""
        return PERSON + user_id if self.item_named(user_id) >= 0 else ""

    def catch_up(self) -> None:
        """Take in the names that are new since the last time."""
        n_users, n_items = len(self._users), len(self._items)
        if n_items > self._n_items:
            self.person, self.group = grown(self.person, n_items, 0), grown(self.group, n_items, 0)
            self.thing, self.user_of = grown(self.thing, n_items, 0), grown(self.user_of, n_items, -1)
        self.item_of = grown(self.item_of, n_users, -1)
        for item in range(self._n_items, n_items):
            name = self._items.name(item)
            if name.startswith(PERSON):
                self.person[item] = 1
                self._tell(item, self._users.get(USER_KEY + name[len(PERSON) :]))
            elif name.startswith(GROUP):
                self.group[item] = 1
            else:
                self.thing[item] = 1
        for user in range(self._n_users, n_users):
            name = self._users.name(user)
            if name.startswith(USER_KEY):
                self._tell(self._items.get(PERSON + name[1:]), user)
        self._n_users, self._n_items = n_users, n_items

    def _tell(self, item: int, user: int) -> None:
        if item >= 0 and user >= 0:
            self.user_of[item], self.item_of[user] = user, item

    def mask(self, shows: Shows) -> U1:
        """uint8 [items], 1 = one of these: a view."""
        self.catch_up()
        return {"people": self.person, "groups": self.group, "items": self.thing}[shows][: self._n_items]
