"""Beyond accuracy: what the lists as a whole are like, from the log and the catalogue alone.

    coverage        share of the items listed by then that any list of the test showed
    gini            inequality of exposure over those items: 0 = all equal, 1 = one item has all
    novelty         mean of -log2 p(item), p its share of the last 7 days' events
    new_share       share of exposure on items less than 7 days old
    repeat_share    share of exposure on items the shopper had already touched
    serendipity     share of queries with a hit that is not among the week's 100 most popular items
    diversity       mean distance of two items of a list by category: 0 same leaf, 1/2 same top, 1 other
    calibration     KL(categories of the shopper's history || categories of the list), smoothed by 0.01 (Steck 2018)
    shift_reached   share of category switches after which 3 of the first 10 are of the new category before it ends
    shift_events    mean number of own events in the new category until then (1 = at once)

The last four need categories and are left out without.
"""

from __future__ import annotations

import numpy as np

from endcap.evaluation.dataset import Dataset
from endcap.evaluation.metrics import hits
from endcap.evaluation.plan import DAY_MS, Plan
from endcap.evaluation.slices import Mask
from endcap.types import F8, I4, I8

WEEK_MS = 7 * DAY_MS
SMOOTHING = 0.01
SHIFTED, AMONG = 3, 10  # so many of the first so many


class Log:
    """The data set indexed for questions about single items and moments."""

    def __init__(self, data: Dataset, plan: Plan) -> None:
        self._data, self._plan = data, plan
        self.t_ms = plan.ts
        folded = plan.fold
        self._start = int(data.ts[0])
        self._span = int(data.ts[-1]) - self._start + 2 * WEEK_MS
        order = folded[np.lexsort((data.ts[folded], data.item[folded]))]
        self._by_item: I8 = data.item[order].astype(np.int64) * self._span + (data.ts[order] - self._start)
        self._folded_ts = data.ts[folded]
        self._first_ts = np.full(len(data.item_names), np.iinfo(np.int64).max)
        np.minimum.at(self._first_ts, data.item[folded], data.ts[folded])
        pairs = (data.user[folded].astype(np.int64) << 32) | data.item[folded]
        first = np.unique(pairs, return_index=True)
        self._pairs, self._pair_at = first[0], first[1]
        self.leaf, self.top = category_codes(data)

    def listed_by(self, t_ms: int) -> int:
        """Items that existed at a moment."""
        return int((self._first_ts <= t_ms).sum())

    def recent_share(self, lists: I4) -> F8:
        """[q, K] share of each listed item in the events of the 7 days before the query."""
        since = np.maximum(self.t_ms - WEEK_MS, self._start) - self._start
        until = self.t_ms - self._start
        base = np.maximum(lists, 0).astype(np.int64) * self._span
        count = np.searchsorted(self._by_item, base + until[:, None]) - np.searchsorted(
            self._by_item, base + since[:, None]
        )
        total = np.searchsorted(self._folded_ts, self.t_ms) - np.searchsorted(self._folded_ts, self.t_ms - WEEK_MS)
        share: F8 = np.maximum(count, 1) / np.maximum(total, 1)[:, None]
        return share

    def is_new(self, lists: I4) -> Mask:
        """[q, K] whether the item was first seen less than 7 days before the query."""
        new: Mask = self._first_ts[np.maximum(lists, 0)] > (self.t_ms - WEEK_MS)[:, None]
        return new

    def touched(self, lists: I4) -> Mask:
        """[q, K] whether the query's shopper had an event about the item before."""
        user = self._data.user[self._plan.event].astype(np.int64)
        keys = (user[:, None] << 32) | np.maximum(lists, 0)
        place = np.minimum(np.searchsorted(self._pairs, keys), self._pairs.shape[0] - 1)
        known: Mask = (self._pairs[place] == keys) & (self._pair_at[place] < self._plan.at[:, None])
        return known

    def histories(self) -> F8:
        """[q, tops] share of each top category in the shopper's events before the query; zeros without any."""
        data, plan = self._data, self._plan
        out = np.zeros((len(plan), int(self.top.max()) + 1))
        by_user = plan.fold[np.argsort(data.user[plan.fold], kind="stable")]
        starts = np.searchsorted(data.user[by_user], np.arange(len(data.user_names) + 1))
        for q, event in enumerate(plan.event.tolist()):
            user = data.user[event]
            mine = by_user[starts[user] : starts[user + 1]]
            limit = event if plan.protocol != "leave-one-out" else len(data)
            tops = self.top[data.item[mine[: np.searchsorted(mine, limit)]]]
            tops = tops[tops >= 0]
            if tops.shape[0]:
                out[q] = np.bincount(tops, minlength=out.shape[1]) / tops.shape[0]
        return out


def category_codes(data: Dataset) -> tuple[I4, I4]:
    """By item code: leaf and top category as numbers, -1 = none."""
    leaf = np.full(len(data.item_names), -1, np.int32)
    top = leaf.copy()
    known: dict[tuple[str, ...], int] = {}
    for item, record in data.items.items():
        if record.categories:
            path = tuple(record.categories[0])
            leaf[item] = known.setdefault(path, len(known))
            top[item] = known.setdefault(path[:1], len(known))
    return leaf, top


def beyond(data: Dataset, plan: Plan, log: Log, lists: I4, popular: I4, histories: F8) -> dict[str, float]:
    """The figures of one model's lists [q, K]."""
    shown = lists >= 0
    n_shown = max(1, int(shown.sum()))
    n_listed = max(1, log.listed_by(int(plan.ts[-1])))
    exposure = np.sort(np.bincount(lists[shown], minlength=len(data.item_names)))[::-1][:n_listed][::-1]
    found = hits(lists, plan.ends, plan.relevant)
    expected = (lists[:, :, None] == popular[:, None, :]).any(axis=2)
    figures = {
        "coverage": float((exposure > 0).sum() / n_listed),
        "gini": gini(exposure),
        "novelty": float(-np.log2(log.recent_share(lists))[shown].mean()) if shown.any() else 0.0,
        "new_share": float((log.is_new(lists) & shown).sum() / n_shown),
        "repeat_share": float((log.touched(lists) & shown).sum() / n_shown),
        "serendipity": float((found & ~expected).any(axis=1).mean()),
    }
    if (log.leaf >= 0).any():
        figures["diversity"] = diversity(lists, log)
        figures["calibration"] = calibration(lists, log, histories)
        figures.update(shifts(data, plan, lists, log))
    return figures


def gini(exposure: I8) -> float:
    """Of ascending counts."""
    n, total = exposure.shape[0], exposure.sum()
    if n == 0 or total == 0:
        return 0.0
    return float(((2 * np.arange(1, n + 1) - n - 1) * exposure).sum() / (n * total))


def diversity(lists: I4, log: Log) -> float:
    """Mean category distance of the pairs of a list."""
    known = (lists >= 0) & (log.leaf[np.maximum(lists, 0)] >= 0)
    leaf, top = log.leaf[np.maximum(lists, 0)], log.top[np.maximum(lists, 0)]
    total = np.zeros(lists.shape[0])
    pairs = np.zeros(lists.shape[0])
    for a in range(lists.shape[1]):
        for b in range(a):
            both = known[:, a] & known[:, b]
            distance = 0.5 * (leaf[:, a] != leaf[:, b]) + 0.5 * (top[:, a] != top[:, b])
            total += both * distance
            pairs += both
    return float((total[pairs > 0] / pairs[pairs > 0]).mean()) if (pairs > 0).any() else 0.0


def calibration(lists: I4, log: Log, histories: F8) -> float:
    """Mean KL divergence of the history's categories from the list's, over shoppers with both."""
    n_tops = histories.shape[1]
    top = np.where(lists >= 0, log.top[np.maximum(lists, 0)], -1)
    counts = np.zeros((lists.shape[0], n_tops))
    rows, places = np.nonzero(top >= 0)
    np.add.at(counts, (rows, top[rows, places]), 1.0)
    usable = (counts.sum(axis=1) > 0) & (histories.sum(axis=1) > 0)
    if not usable.any():
        return 0.0
    p = histories[usable]
    q = counts[usable] / counts[usable].sum(axis=1, keepdims=True)
    mixed = (1 - SMOOTHING) * q + SMOOTHING * p
    terms = np.where(p > 0, p * np.log(np.maximum(p, 1e-12) / np.maximum(mixed, 1e-12)), 0.0)
    return float(terms.sum(axis=1).mean())


def shifts(data: Dataset, plan: Plan, lists: I4, log: Log) -> dict[str, float]:
    """How soon lists follow a switch of category inside a session, over switches whose next query was asked."""
    query_of = {int(event): q for q, event in enumerate(plan.event)}
    in_session = np.flatnonzero(data.session >= 0)
    order = in_session[np.argsort(data.session[in_session], kind="stable")]
    starts = np.flatnonzero(np.diff(data.session[order], prepend=-1))
    reached: list[int] = []
    n_switches = 0
    for events in np.split(order, starts[1:]):
        tops = log.top[data.item[events]]
        for s in np.flatnonzero((tops[1:] != tops[:-1]) & (tops[1:] >= 0)) + 1:
            after = s + 1
            asked = False
            while after < events.shape[0] and (q := query_of.get(int(events[after]))) is not None:
                asked = True
                listed = lists[q, :AMONG]
                if (log.top[listed[listed >= 0]] == tops[s]).sum() >= SHIFTED:
                    reached.append(int(after - s))
                    break
                if tops[after] != tops[s]:
                    break
                after += 1
            n_switches += asked
    if not n_switches:
        return {}
    return {
        "shift_reached": len(reached) / n_switches,
        "shift_events": float(np.mean(reached)) if reached else float("nan"),
    }
