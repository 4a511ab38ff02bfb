"""A run: shoppers ask for slates, look, click, fill carts and buy later; the shop sells out, refills and grows.

One step of virtual time: the page views of the step ask for slates, all at once; their shoppers choose; what they did,
and purchases that have become due, go to the server in one batch; then the shop sends what changed. Every page view
draws the same number of random values whatever it is shown, so the same seed and slates give the same choices, and two
runs on one seed differ only where their slates do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from endcap.simulator.connection import Connection
from endcap.simulator.shop import DAY_MS, Shop
from endcap.simulator.shoppers import BUY, CART, DEVICES, REGIONS, Shoppers
from endcap.simulator.visits import WIDTH, Visits, draw_visits
from endcap.types import F4, F8, I1, I4, Context, Interaction, Query, Slate

PLACEMENT = "home"
SECOND_MS = 1_000
LOOK_MS = 3 * SECOND_MS  # from one place to the next
CART_MS = 40 * SECOND_MS  # from click to cart
BUY_LATER_H = 2.0  # from cart to purchase, on average
LATEST_H = 20.0

Mask = NDArray[np.bool_]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of."""

    requests: int
    days: float
    seed: int
    organic: bool = False  # choices are made from random items of the shop instead of from the slate
    warm_up: int = 0  # page views of that kind on the day before
    switch_at: int = 0  # the page view before which the moment turns around; 0 = never


@dataclass(slots=True)
class Record:
    """What happened, by page view [v] and place [v, places]."""

    visits: Visits
    items: I4  # shown; -1 = the slate was shorter
    ranks: I1  # place by scores alone, -1 = tried out
    clicked: I1
    appeal: F4  # true, of what was shown
    reward: F4  # [v] expected, of the slate shown
    best: I4  # [v, places] the slate of one who knows what is true
    most: F4  # [v] its expected reward
    arms: F8  # [v, 2] what each arm would give, by construction
    arm: list[str]
    first_day: int
    events: int = 0
    lost: int = 0  # purchases of what had sold out in the meantime
    on_sale: list[int] = field(default_factory=list)  # items that have been on sale so far, by day

    @property
    def day(self) -> I4:
        """[v] of the run, from 0."""
        return (self.visits.ts // DAY_MS - self.first_day).astype(np.int32)


class World:
    """One shop, its shoppers and the server they use."""

    def __init__(self, plan: Plan, shop: Shop, shoppers: Shoppers, connection: Connection, start_ms: int) -> None:
        self.plan, self.shop, self.shoppers, self.connection = plan, shop, shoppers, connection
        self.start_ms = start_ms
        coming, choosing, browsing = np.random.default_rng(plan.seed).spawn(3)
        self.visits = draw_visits(coming, shoppers, plan.requests, start_ms, plan.days)
        self._before = draw_visits(coming, shoppers, plan.warm_up, start_ms - DAY_MS, 1.0) if plan.warm_up else None
        self._choosing, self._browsing = choosing, browsing
        self._later: list[tuple[int, int, Interaction]] = []  # purchases to come
        self._orders = 0

    def run(self, step: Progress, stage: str) -> Record:
        """Live through every page view."""
        self.connection.put_items(self.shop.records())
        if self._before is not None:
            self.warm_up(self._before)
        visits, shoppers = self.visits, self.shoppers
        record = self.blank()
        lean = shoppers.lean(visits.device, visits.hour, visits.region)
        if self.plan.switch_at:
            lean[self.plan.switch_at :] *= -1.0
        record.arms = shoppers.arms(lean)
        today = record.first_day
        for views in visits.steps():
            day = int(visits.ts[views.start]) // DAY_MS
            for _ in range(today, day):
                shoppers.next_day()
                record.on_sale.append(self.shop.arrived)
            today = day
            slates = self.connection.slates([self.query(v) for v in views])
            done: list[Interaction] = []
            for v, slate in zip(views, slates, strict=True):
                done += self.choose(record, v, float(lean[v]), slate)
            self.settle(record, done, int(visits.ts[views.stop - 1]))
            step(stage, views.stop, len(visits))
        record.on_sale.append(self.shop.arrived)
        record.lost = self.shop.lost
        return record

    def blank(self) -> Record:
        n, places = len(self.visits), self.shoppers.habits.places
        return Record(
            visits=self.visits,
            items=np.full((n, places), -1, np.int32),
            ranks=np.full((n, places), -1, np.int8),
            clicked=np.zeros((n, places), np.int8),
            appeal=np.zeros((n, places), np.float32),
            reward=np.zeros(n, np.float32),
            best=np.full((n, places), -1, np.int32),
            most=np.zeros(n, np.float32),
            arms=np.zeros((n, 2)),
            arm=[""] * n,
            first_day=self.start_ms // DAY_MS,
        )

    def query(self, v: int) -> Query:
        """The question of one page view."""
        visits = self.visits
        who, session = int(visits.who[v]), int(visits.session[v])
        return Query(
            user_id=f"shopper-{who}", session_id=f"s{session}", placement=PLACEMENT, n=self.shoppers.habits.places,
            ts=int(visits.ts[v]), context=moment(int(visits.device[v]), int(visits.region[v])),
        )  # fmt: skip

    def choose(self, record: Record, v: int, lean: float, slate: Slate) -> list[Interaction]:
        """What the shopper of page view ``v`` does with the slate; notes it in ``record``."""
        who, intent, ts = int(self.visits.who[v]), int(self.visits.intent[v]), int(self.visits.ts[v])
        items = np.array([self.shop.number[placed.item_id] for placed in slate.items], np.int32)
        n = items.shape[0]
        appeal = self.shoppers.appeal(who, intent, lean, items)
        record.items[v, :n] = items
        record.ranks[v, :n] = [at if placed.rank is None else placed.rank for at, placed in enumerate(slate.items)]
        record.appeal[v, :n] = appeal
        record.reward[v] = self.shoppers.reward(appeal)
        record.arm[v] = slate.arm
        self.note_best(record, v, lean)
        chance = self._choosing.random((4, self.shoppers.habits.places))
        if self.plan.organic:
            found = self._browsing.permutation(self.shop.on_sale)[: self.shoppers.habits.places]
            clicked = self.click(who, found, self.shoppers.appeal(who, intent, lean, found), chance[0])
            return self.deeds(v, found, clicked, chance, "", ts)
        clicked = self.click(who, items, appeal, chance[0])
        record.clicked[v, :n] = clicked
        return self.deeds(v, items, clicked, chance, slate.request_id, ts)

    def note_best(self, record: Record, v: int, lean: float) -> None:
        """What would please the shopper of page view ``v`` most."""
        there = self.shop.on_sale
        appeal = self.shoppers.appeal(int(self.visits.who[v]), int(self.visits.intent[v]), lean, there)
        best = np.argsort(-appeal, kind="stable")[: self.shoppers.habits.places]
        record.best[v, : best.shape[0]] = there[best]
        record.most[v] = self.shoppers.reward(appeal[best])

    def click(self, who: int, items: I4, appeal: F8, chance: F8) -> Mask:
        """Which of the items in front of a shopper are clicked; the others tire."""
        n = items.shape[0]
        clicked: Mask = chance[:n] < self.shoppers.theta[:n] * appeal
        self.shoppers.vain[who, items] += ~clicked
        self.shoppers.vain[who, items[clicked]] = 0
        return clicked

    def deeds(self, v: int, items: I4, clicked: Mask, chance: F8, request_id: str, ts: int) -> list[Interaction]:
        """Clicks and carts of one page view; purchases are put off. Without a request id they are plain views."""
        done: list[Interaction] = []
        for at in np.flatnonzero(clicked).tolist():
            item = int(items[at])
            price = float(self.shop.price[item])
            seen = ts + (at + 1) * LOOK_MS
            done.append(self.deed(v, "click" if request_id else "view", item, seen, request_id, at, price))
            if chance[1, at] < CART:
                done.append(self.deed(v, "cart_add", item, seen + CART_MS, request_id, at, price))
                if chance[2, at] < BUY:
                    wait = min(LATEST_H, -BUY_LATER_H * float(np.log1p(-chance[3, at])))
                    due = seen + 2 * CART_MS + int(wait * 3_600_000)
                    self._orders += 1
                    bought = self.deed(v, "purchase", item, due, request_id, at, price, f"order-{self._orders}")
                    heapq.heappush(self._later, (due, self._orders, bought))
        return done

    def deed(
        self, v: int, what: str, item: int, ts: int, request_id: str, at: int, price: float, order_id: str | None = None
    ) -> Interaction:
        """One event of page view ``v``."""
        visits = self.visits
        return Interaction(
            type=what, ts=ts, user_id=f"shopper-{visits.who[v]}", session_id=f"s{visits.session[v]}",  # type: ignore[arg-type]  # plain text
            item_id=self.shop.ids[item], price=price, currency="EUR", order_id=order_id,
            request_id=request_id or None, placement=PLACEMENT if request_id else None,
            position=at if request_id else None, context=moment(int(visits.device[v]), int(visits.region[v])),
        )  # fmt: skip

    def settle(self, record: Record, done: list[Interaction], now: int) -> None:
        """Purchases that are due are made if the item is still there; then everything goes to the server."""
        bought: list[int] = []
        while self._later and self._later[0][0] <= now:
            due, _, purchase = heapq.heappop(self._later)
            item = self.shop.number[str(purchase.item_id)]
            if self.shop.buy(item, due):
                bought.append(item)
                done.append(purchase)
        if done:
            done.sort(key=lambda event: event.ts)
            self.connection.send(done)
            record.events += len(done)
        changed = self.shop.changes(now, bought)
        if changed:
            self.connection.put_items(changed)

    def warm_up(self, visits: Visits) -> None:
        """A day without slates: shoppers find things by themselves, so that the shop is not a blank."""
        lean = self.shoppers.lean(visits.device, visits.hour, visits.region)
        events = []
        for v in range(len(visits)):
            who, ts = int(visits.who[v]), int(visits.ts[v])
            found = self._browsing.choice(self.shop.on_sale, 40, replace=False)
            chance = self.shoppers.appeal(who, int(visits.intent[v]), float(lean[v]), found)
            item = int(found[np.argmax(chance * self._browsing.random(40))])
            events.append(
                Interaction(
                    type="view", ts=ts, user_id=f"shopper-{who}", session_id=f"w{visits.session[v]}",
                    item_id=self.shop.ids[item], price=float(self.shop.price[item]), currency="EUR",
                    context=moment(int(visits.device[v]), int(visits.region[v])),
                )
            )  # fmt: skip
        self.connection.send(events)


def moment(device: int, region: int) -> Context:
    """The context as queries and events carry it."""
    return Context(device=DEVICES[device], region=REGIONS[region])


__all__ = ["PLACEMENT", "WIDTH", "Plan", "Progress", "Record", "World"]
