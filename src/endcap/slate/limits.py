"""Limits: what keeps a loop that learns from its own slates from running away.

A recommender that learns from clicks on what it showed shows what was clicked, and so on: the rich get richer. Four
limits of a placement, all off by default, hold against that, whatever the scores say:

* ``head_share``: at most this share of the places goes to the ``HEAD`` most viewed items of the week.
* ``novel_share``: at least this share goes to items that this shopper has not touched.
* ``item_share``: an item whose share of all impressions is above this rests until it is below.
* ``impressions_per_unit``: an item of which few are left is not dangled before everybody. It is drawn once a day for
  each shopper whether they may see it, with the same probability for all: the impressions that its stock is good for
  over those that it gets.

Cost: nothing when off; 10 to 30 us for the first two, 5 us for the others. Not for: fairness between suppliers over a
long time, which needs a target, not a limit. Chaney, Stewart, Engelhardt, RecSys 2018 (feedback loops homogenise).
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numba import njit

from endcap.config import LimitsConfig
from endcap.slate.predicates import Fields
from endcap.types import F4, F8, I4, U1

HEAD = 100
EVERY = 256  # events after which the number of all impressions is read anew
DAYS = 14.0 / math.log(2.0)  # a count with a half-life of 14 days holds this many days' worth


class Shown(Protocol):
    """How often items were shown, faded with a half-life of 14 days."""

    def shown(self, items: I4) -> F4: ...
    def all_shown(self) -> float: ...


@njit(cache=True, nogil=True)
def lottery(items: I4, stock: F8, shown: F4, per_unit: float, shopper: int, day: int, keep: U1) -> None:
    """Take out scarce items that this shopper did not draw today."""
    for k in range(items.shape[0]):
        if math.isnan(stock[k]):
            continue
        daily = shown[k] / DAYS
        good_for = max(0.0, stock[k]) * per_unit
        if daily > good_for:
            mixed = np.uint64(items[k]) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= np.uint64(shopper + 1) * np.uint64(0xC2B2AE3D27D4EB4F)
            mixed ^= np.uint64(day) * np.uint64(0x165667B19E3779F9)
            mixed ^= mixed >> np.uint64(29)
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(32)
            if float(mixed >> np.uint64(11)) / 9007199254740992.0 >= good_for / daily:
                keep[k] = 0


class Limits:
    """Holds a placement's limits against one slate. One per read side."""

    def __init__(self, catalogue: Fields, exposure: Shown) -> None:
        self._catalogue = catalogue
        self._exposure = exposure
        self._all_shown = 0.0
        self._read_at = -EVERY

    def rest(self, limits: LimitsConfig, items: I4, keep: U1, offset: int, shopper: int, t_s: int) -> U1:
        """``keep`` [m] without items that are shown too often, or too scarce for this shopper; a copy if any."""
        if limits.item_share < 1.0:
            if offset - self._read_at >= EVERY or offset < self._read_at:
                self._all_shown, self._read_at = self._exposure.all_shown(), offset
            keep = keep & (self._exposure.shown(items) <= max(1.0, limits.item_share * self._all_shown))
        if limits.impressions_per_unit > 0:
            column = self._catalogue.column("stock_qty")
            stock = column.number[column.codes[items]]
            keep = keep.copy()
            shown = self._exposure.shown(items)
            lottery(items, stock, shown, float(limits.impressions_per_unit), shopper, t_s // 86_400, keep)
        return keep

    def surplus(self, limits: LimitsConfig, rows: I4, items: I4, n: int, head: I4, touched: I4) -> I4:
        """Of ``rows`` (candidate rows in slate order) those that a share of the ``n`` places has no room for."""
        placed = items[rows]
        over = np.zeros(rows.shape[0], np.bool_)
        for members, most in (
            (head, math.floor(limits.head_share * n + 1e-9)),
            (touched, n - math.ceil(limits.novel_share * n - 1e-9)),
        ):
            if most < n:
                inside = np.isin(placed, members)
                over |= inside & (np.cumsum(inside) > most)
        surplus: I4 = rows[over]
        return surplus
