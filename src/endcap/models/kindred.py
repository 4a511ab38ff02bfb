"""Kindred: people whose taste is like the shopper's own, as candidates.

Idea: user-user neighbours (models/user_knn.py) are found by the items that both lately chose; where people are items
too, a neighbour is somebody to meet. The score is the neighbours' similarity as that file defines it.

    score(c) = similarity(me, c)

Layout: none of its own; it reads the lists of ``UserKnn`` and the names of ``Persons``. Cost: as one search for similar
users, ~50 us. When not to use it: in a shop, where customers are nobody's business; and alone, where friendships are
known (friends.py). A person who was shown to nobody by the shop's wish has ``hidden`` in the catalogue.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from endcap.candidates import Candidates
from endcap.models.persons import Persons
from endcap.topn import LIMIT
from endcap.types import F4, I4, Interest

SPARE = 2  # neighbours asked for per candidate wanted: many are known already or are nobody's item


class Neighbours(Protocol):
    """Who is similar to whom; see models/user_knn.py."""

    def similar_users(self, user: int, n: int) -> tuple[I4, F4, I4]: ...


class KindredSource:
    """People of similar taste."""

    name = "kindred"

    def __init__(self, neighbours: Neighbours, persons: Persons) -> None:
        self._neighbours = neighbours
        self._persons = persons

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose the ``n`` people most similar to the shopper."""
        if interest.user < 0:
            return
        self._persons.catch_up()
        users, similarity, _ = self._neighbours.similar_users(interest.user, min(SPARE * n, LIMIT))
        items = self._persons.item_of[users]
        place = np.flatnonzero(items >= 0)[:n]
        into.propose(column, items[place], similarity[place])
