"""Identity: which anonymous id turned out to be which known user.

Idea: an event that carries both a login id and an anonymous id ties the two. From then on, events with the anonymous
id alone count for that user, and what the anonymous visitor did before moves into the user's history once. On a
shared device the last login wins: the link moves, histories already merged stay merged (they cannot be told apart).

Layout: ``to_user`` int32 [users]: dense id of an anonymous visitor -> dense id of the user, -1 = none. Anonymous and
known users share one numbering, and links are one step deep: a user is never linked further.

Cost: 4 bytes per dense user id, one array read per anonymous event.
"""

from __future__ import annotations

import numpy as np

from endcap.blocks import grown
from endcap.types import I4, Arrays


class Identity:
    """Links from anonymous ids to users, by dense id."""

    __slots__ = ("to_user",)

    def __init__(self) -> None:
        self.to_user: I4 = np.full(0, -1, np.int32)

    def resolve(self, anon: int) -> int:
        """The user that an anonymous id belongs to, or the anonymous id itself while nobody has claimed it."""
        if anon < 0 or anon >= self.to_user.shape[0]:
            return anon
        user = int(self.to_user[anon])
        return anon if user < 0 else user

    def is_linked(self, anon: int) -> bool:
        """Whether some user has claimed this anonymous id."""
        return 0 <= anon < self.to_user.shape[0] and bool(self.to_user[anon] >= 0)

    def link(self, anon: int, user: int) -> bool:
        """Tie ``anon`` to ``user``. True when that is news, False when it was known already."""
        self.grow(max(anon, user) + 1, 0)
        if self.to_user[anon] == user:
            return False
        self.to_user[anon] = user
        return True

    def anonymous_ids(self, user: int) -> I4:
        """Dense ids of all anonymous visitors that are this user, ascending. Scans all links; for export, erasure."""
        return np.flatnonzero(self.to_user == user).astype(np.int32)

    def grow(self, n_users: int, _n_items: int) -> None:
        """Make room for dense ids below ``n_users``."""
        self.to_user = grown(self.to_user, n_users, -1)

    def arrays(self, n_users: int, _n_items: int) -> Arrays:
        """``to_user`` int32 [n_users]."""
        self.grow(n_users, 0)
        return {"to_user": self.to_user[:n_users]}

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self.to_user = np.array(arrays["to_user"], np.int32)
