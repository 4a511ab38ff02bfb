"""Newcomers: the new items that exploration may give a chance.

Idea: a new item is one of the last ``LOOK_BACK`` that entered the catalogue and was shown less often than the
placement's ``new_items``. The newest ``MOST`` of them compete; as they get their chance they leave, and older ones that
never had one follow. A shopper whose taste is known is offered those of the categories they like, if there are any.

Layout: one list of dense ids per bound, read anew after ``EVERY`` events or when an item appears. Cost: 4 us per
request, 30 us per reading. When not to use it: as a source of candidates; the content source finds new items by merit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from endcap.types import F4, I4, U1

LOOK_BACK, MOST, EVERY = 4_096, 64, 256
NONE: I4 = np.zeros(0, np.int32)


@njit(cache=True, nogil=True)
def narrow(items: I4, allowed: U1, category: I4, liked: I4, out: I4) -> int:
    """Allowed items into ``out``, only those of a liked category when there are any; gives how many."""
    n, n_liked = 0, 0
    for k in range(items.shape[0]):
        if allowed[k] == 0:
            continue
        is_liked = False
        for tag in liked:
            is_liked = is_liked or (tag >= 0 and tag == category[items[k]])
        if is_liked and n_liked == 0:
            n = 0  # the first of a liked category: the others no longer count
        if is_liked or n_liked == 0:
            out[n] = items[k]
            n += 1
        n_liked += is_liked
    return n


class Newcomers:
    """Finds new items. Scratch that depends on state alone; one per read side."""

    def __init__(self, shown: Callable[[I4], F4]) -> None:
        """``shown``: how often each of some items was shown."""
        self._shown = shown
        self._read: dict[int, tuple[int, int, I4]] = {}  # bound -> offset and number of items then, the list
        self._out: I4 = np.zeros(MOST, np.int32)

    def listed(self, bound: int, offset: int, n_items: int) -> I4:
        """Dense ids of new items, newest first."""
        was, had, items = self._read.get(bound, (-EVERY, -1, NONE))
        if offset - was >= EVERY or offset < was or had != n_items:
            last = np.arange(n_items - 1, max(-1, n_items - 1 - LOOK_BACK), -1, dtype=np.int32)
            items = last[self._shown(last) < bound][:MOST]
            self._read[bound] = (offset, n_items, items)
        return items

    def pool(self, items: I4, allowed: U1, category: I4, liked: I4) -> I4:
        """Those of ``items`` [m] that may be shown to this shopper: a view that the next call overwrites."""
        return self._out[: narrow(items, allowed, category, liked, self._out)]
