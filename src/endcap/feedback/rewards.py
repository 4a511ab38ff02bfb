"""Rewards: what each thing a shopper does after a slate is worth.

Idea: one explicit table, ``feedback.rewards``, by deed. Several actions are one deed: a view of the product after the
slate is the click that many shops do not send. A rating is worth its value on -1..1 times its weight, a consumed share
the same on 0..1; a rating below the middle has been made a dislike before it comes here.

Cost: two table lookups per event.
"""

from __future__ import annotations

import difflib
import math

import numpy as np

from endcap.batches import DEEDS
from endcap.errors import ConfigError
from endcap.types import ACTIONS, F4, I1

CLICK, CART, PURCHASE, RATING, LIKE, CONSUME, DISLIKE, REFUND = range(len(DEEDS))
NO_DEED = -1

_DEED_OF_ACTION = {
    "view": CLICK, "click": CLICK, "cart_add": CART, "purchase": PURCHASE, "refund": REFUND, "rating": RATING,
    "like": LIKE, "share": LIKE, "wishlist_add": LIKE, "follow": LIKE, "consume": CONSUME, "dislike": DISLIKE,
    "hide": DISLIKE,
}  # fmt: skip
DEED_OF_ACTION: I1 = np.array([_DEED_OF_ACTION.get(name, NO_DEED) for name in ACTIONS], np.int8)


def reward_table(rewards: dict[str, float]) -> F4:
    """float32 [len(DEEDS)]: the worth of each deed; one that the settings leave out is worth nothing.

    ``ConfigError`` for a name that is no deed and for a worth that is not finite.
    """
    table = np.zeros(len(DEEDS), np.float32)
    for name, worth in rewards.items():
        if name not in DEEDS:
            near = difflib.get_close_matches(name, DEEDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(DEEDS)}"
            raise ConfigError(f"feedback.rewards names {name!r}, which is no deed; {hint}")
        if not math.isfinite(worth) or abs(worth) > 1e6:
            raise ConfigError(f"feedback.rewards.{name} is {worth}; expected a finite number within a million")
        table[DEEDS.index(name)] = worth
    return table
