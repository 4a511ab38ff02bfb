"""The guard: the last check before a slate leaves, on authoritative state, after every fallback.

Idea: whatever proposed an item (a source, a pin, the static list of last resort), it is shown only if at this moment
it is on sale, not for adults only, not excluded by the query, not hidden by this shopper, not blocked by a rule, and
passes the filters. The same test first thins the candidates, so that the check at the end removes nothing in the
ordinary case.

Layout: ``stamp`` int32 by item; an item is excluded for this query when its stamp equals the running generation, so
nothing is cleared between queries. Filters and block rules are masks by item.

Laws: L7 (nothing acknowledged as deleted, hidden or out of stock is shown), L10 (at most n, no repeats). Rules of the
merchant cannot let through what is not on sale. Cost: ~2 us for 150 candidates plus ~1 us per mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from numba import njit

from endcap.blocks import grown
from endcap.types import I4, I8, U1


class Stock(Protocol):
    """What the catalogue says about showing an item, by dense id."""

    sellable: U1
    adult: U1
    published_ms: I8
    expires_ms: I8


@njit(cache=True, nogil=True)
def allowed(
    items: I4, t_ms: int, allow_adult: bool, sellable: U1, adult: U1, published_ms: I8, expires_ms: I8,
    stamp: I4, generation: int, out: U1,
) -> None:  # fmt: skip
    """out[k] = 1 when items[k] may be shown at ``t_ms`` and is not stamped."""
    for k in range(items.shape[0]):
        i = items[k]
        out[k] = (
            0 <= i < sellable.shape[0]
            and sellable[i] != 0
            and (allow_adult or adult[i] == 0)
            and published_ms[i] <= t_ms
            and (expires_ms[i] == 0 or t_ms < expires_ms[i])
            and stamp[i] != generation
        )


@njit(cache=True, nogil=True)
def veto(items: I4, mask: U1, wanted: int, out: U1) -> None:
    """Take out the items whose mask is not ``wanted``; an item beyond the mask has mask 0."""
    for k in range(items.shape[0]):
        if out[k] != 0:
            held = mask[items[k]] if items[k] < mask.shape[0] else 0
            if (held != 0) != (wanted != 0):
                out[k] = 0


@njit(cache=True, nogil=True)
def distinct(items: I4, ok: U1, n: int, positions: I4) -> int:
    """Fill ``positions`` with the places of allowed items, each item once; gives how many, at most ``n``."""
    found = 0
    for k in range(items.shape[0]):
        if ok[k] == 0 or found == n:
            continue
        repeated = False
        for p in range(found):
            repeated = repeated or items[positions[p]] == items[k]
        if not repeated:
            positions[found] = k
            found += 1
    return found


class Guard:
    """One per engine. ``begin`` states what holds for one query; then ``allow`` and ``last`` answer for it."""

    def __init__(self, catalogue: Stock) -> None:
        self._catalogue = catalogue
        self._stamp: I4 = np.zeros(0, np.int32)
        self._generation = 0
        self._ok: U1 = np.zeros(1024, np.uint8)
        self._still: U1 = np.zeros(256, np.uint8)
        self._positions: I4 = np.zeros(256, np.int32)
        self._t_ms = 0
        self._allow_adult = False
        self._masks: list[tuple[U1, int]] = []

    def begin(
        self, t_ms: int, *, exclude: Iterable[int] = (), hidden: I4 | None = None, touched: I4 | None = None,
        keep: Sequence[U1] = (), blocked: Sequence[U1] = (), allow_adult: bool = False,
    ) -> None:  # fmt: skip
        """Start a query at ``t_ms`` (epoch ms).

        ``exclude``, ``hidden``, ``touched``: dense ids not to be shown (-1 ignored). ``keep``: masks by item that must
        be 1 (filters); ``blocked``: masks that must be 0 (block rules).
        """
        n_items = self._catalogue.sellable.shape[0]
        if self._stamp.shape[0] < n_items:
            self._stamp = grown(self._stamp, n_items, 0)
        self._generation += 1
        if self._generation == 2**31 - 1:
            self._stamp[:] = 0
            self._generation = 1
        for item in exclude:
            if item >= 0:
                self._stamp[item] = self._generation
        for items in (hidden, touched):
            if items is not None and items.shape[0]:
                self._stamp[items] = self._generation
        self._t_ms = t_ms
        self._allow_adult = allow_adult
        self._masks = [(mask, 1) for mask in keep]
        self._masks += [(mask, 0) for mask in blocked]

    def allow(self, items: I4) -> U1:
        """1 = may be shown, one entry per entry of ``items`` [m]: a view that the next call overwrites."""
        self._ok = grown(self._ok, items.shape[0], 0)
        return self._decide(items, self._ok[: items.shape[0]])

    def _decide(self, items: I4, out: U1) -> U1:
        have = self._catalogue
        allowed(
            items, self._t_ms, self._allow_adult, have.sellable, have.adult, have.published_ms, have.expires_ms,
            self._stamp, self._generation, out,
        )  # fmt: skip
        for mask, wanted in self._masks:
            veto(items, mask, wanted, out)
        return out

    def last(self, items: I4, n: int) -> I4:
        """The positions in ``items`` [k] that stay: allowed, each item once, in order, at most ``n``: a view.

        What ``allow`` gave before stays as it is.
        """
        self._positions = grown(self._positions, n, 0)
        self._still = grown(self._still, items.shape[0], 0)
        still = self._decide(items, self._still[: items.shape[0]])
        return self._positions[: distinct(items, still, n, self._positions)]


def fill(guard: Guard, items: I4, keep: U1, n: int, compose: Callable[[U1], I4]) -> I4:
    """Compose, check, and compose again without what the check took out, until it takes out nothing.

    ``compose`` turns a mask over the candidate rows ``items`` [m] into ordered rows. ``keep`` [m] is not changed.
    """
    may = keep
    while True:
        rows = compose(may)
        stays = guard.last(items[rows], n)
        if stays.shape[0] == rows.shape[0]:
            return rows
        gone = np.ones(rows.shape[0], np.bool_)
        gone[stays] = False
        may = may.copy()
        may[rows[gone]] = 0
