"""Who comes when: every page view of a run, drawn beforehand, so that two runs of a seed see the same visitors.

A session belongs to one shopper, comes for one category, on one device, and asks for a slate on each of its pages.
Sessions start where the day is busy. Page views are handled in steps: neighbours in time, no shopper twice, so that
every query knows what its shopper did before, and several can be under way at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from endcap.simulator.shop import DAY_MS
from endcap.simulator.shoppers import DEVICES, Shoppers
from endcap.types import I4, I8

HOUR_MS = 3_600_000
PAGES = 3.0  # of a session, on average
PAUSE_S = 150.0  # between two pages, on average
LEAST_PAUSE_S = 60.0
AT_HOME = 0.8  # share of sessions on the shopper's usual device
BUSY = np.array([1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 5, 6, 6, 5, 5, 5, 5, 6, 7, 9, 10, 9, 6, 3], np.float64)  # by hour
WIDTH = 16  # most page views of a step


@dataclass(frozen=True, slots=True)
class Visits:
    """[v] page views in order of time."""

    ts: I8
    who: I4
    session: I4
    intent: I4  # category
    device: I4
    region: I4

    @property
    def hour(self) -> I4:
        """Of the day, 0 to 23."""
        return (self.ts // HOUR_MS % 24).astype(np.int32)

    def __len__(self) -> int:
        return int(self.ts.shape[0])

    def steps(self) -> Iterator[range]:
        """Runs of at most ``WIDTH`` page views with no shopper twice, within one day."""
        begin, met = 0, set[int]()
        day = self.ts // DAY_MS
        for k, who in enumerate(self.who.tolist()):
            if who in met or k - begin == WIDTH or (k > begin and day[k] != day[begin]):
                yield range(begin, k)
                begin, met = k, set()
            met.add(who)
        if begin < len(self):
            yield range(begin, len(self))


def draw_visits(rng: np.random.Generator, shoppers: Shoppers, n: int, start_ms: int, days: float) -> Visits:
    """``n`` page views spread over ``days`` days from ``start_ms`` (midnight UTC)."""
    pages = rng.geometric(1 / PAGES, n)
    n_sessions = int(np.searchsorted(pages.cumsum(), n)) + 1
    active = rng.lognormal(0.0, 0.7, shoppers.habits.n)
    who = rng.choice(shoppers.habits.n, n_sessions, p=active / active.sum())
    day = rng.integers(0, max(1, round(days)), n_sessions)
    hour = rng.choice(24, n_sessions, p=BUSY / BUSY.sum())
    begin = start_ms + day * DAY_MS + hour * HOUR_MS + rng.integers(0, HOUR_MS, n_sessions)
    device = np.where(rng.random(n_sessions) < AT_HOME, shoppers.device[who], rng.integers(0, len(DEVICES), n_sessions))
    likes = shoppers.weights[who].cumsum(axis=1)
    intent = (likes < rng.random(n_sessions)[:, None] * likes[:, -1:]).sum(axis=1)
    session = np.repeat(np.arange(n_sessions), pages[:n_sessions])[:n]
    pause = ((LEAST_PAUSE_S + rng.exponential(PAUSE_S - LEAST_PAUSE_S, n)) * 1e3).astype(np.int64)
    passed = pause.cumsum()
    first = np.searchsorted(session, np.arange(n_sessions))
    ts = begin[session] + passed - passed[first[session]]
    order = np.argsort(ts, kind="stable")
    session = session[order]
    return Visits(
        ts=ts[order], who=who[session].astype(np.int32), session=session.astype(np.int32),
        intent=intent[session].astype(np.int32), device=device[session].astype(np.int32),
        region=shoppers.region[who[session]],
    )  # fmt: skip
