"""The simulator: repeatable shoppers, the attention that was asked for, a shop that never sells what it has not, and a
run on a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.errors import EndcapError, InvalidInput
from endcap.simulator.connection import Connection
from endcap.simulator.estimates import (
    blocks,
    by_rank_and_place,
    clicks_on_new,
    concentration,
    looked_at,
    relearned,
    tried,
)
from endcap.simulator.scenarios import BASE, EQUAL, LEAST, SCENARIOS, Shelf, live, served_theta, simulate
from endcap.simulator.shop import DAY_MS, N_CATEGORIES, Shop
from endcap.simulator.shoppers import WORTH, Habits, Shoppers
from endcap.simulator.verdict import Bar, Curve, Verdict
from endcap.simulator.visits import WIDTH
from endcap.simulator.world import Plan, Record, World
from endcap.types import Interaction, Item, Placed, Query, Slate

START_MS = 1_700_006_400_000  # midnight UTC
PLACES = 6


class Shelves:
    """Stands in for the server where only the world is looked at: slates by a rule, and what was sent, kept.

    Never shows what is sold out, as the server's guard does not either.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.available: dict[str, bool] = {}
        self.items: list[Item] = []
        self.events: list[Interaction] = []

    def put_items(self, items: list[Item]) -> None:
        self.items += items
        self.available.update({item.item_id: item.availability == "in_stock" for item in items})

    def send(self, events: list[Interaction]) -> None:
        self.events += events

    def slates(self, queries: list[Query]) -> list[Slate]:
        assert len(queries) <= WIDTH
        assert len({query.user_id for query in queries}) == len(queries)
        return [self.slate(query) for query in queries]

    def slate(self, query: Query) -> Slate:
        names = [name for name, there in self.available.items() if there]
        chosen = self.random.permutation(len(names))[: query.n]
        return Slate(
            request_id=f"r{query.session_id}-{query.ts}",
            items=[Placed(names[k], 1.0, [], []) for k in chosen],
            placement="home",
        )


def world(
    server: Any, *, requests: int = 600, seed: int = 3, habits: Habits | None = None, shelf: Shelf | None = None,
    **plan: Any,
) -> World:  # fmt: skip
    habits, shelf = habits or Habits(n=80, places=PLACES, base=0.4), shelf or Shelf(60, 12, 0.5, 0.5)
    making = np.random.default_rng(seed)
    shop = Shop(making, START_MS, shelf.n_start, shelf.n_later, 6, spread=shelf.spread, scarce=shelf.scarce)
    return World(Plan(requests, 6, seed, **plan), shop, Shoppers(making, habits, shop), server, START_MS)


def silent(_stage: str, _done: int, _total: int) -> None:
    return None


def run(seed: int = 3, server_seed: int = 0, **more: Any) -> tuple[Shelves, World, Record]:
    server = Shelves(server_seed)
    made = world(server, seed=seed, **more)
    return server, made, made.run(silent, "test")


# ---------------------------------------------------------------- repeatable


def test_the_same_seed_and_slates_give_the_same_events() -> None:
    (first, _, record), (second, _, again) = run(), run()
    assert first.events == second.events
    assert first.items == second.items
    np.testing.assert_array_equal(record.clicked, again.clicked)
    assert len(first.events) > 100


def test_another_seed_gives_other_events() -> None:
    assert run(seed=3)[0].events != run(seed=4)[0].events


def test_other_slates_meet_the_same_visitors_and_the_same_tastes() -> None:
    (_, ours, record), (_, theirs, other) = run(server_seed=0), run(server_seed=9)
    assert (record.items != other.items).any()
    for name in ("ts", "who", "session", "intent", "device", "region"):
        np.testing.assert_array_equal(getattr(ours.visits, name), getattr(theirs.visits, name))
    np.testing.assert_array_equal(ours.shoppers.weights, theirs.shoppers.weights)


def test_the_twin_does_not_choose_by_what_it_is_shown() -> None:
    plenty = Shelf(60, 12, 0.5, 0.0)
    ours, theirs = (run(server_seed=k, organic=True, shelf=plenty)[0] for k in (0, 9))
    assert ours.events == theirs.events
    assert ours.events
    assert not any(event.request_id for event in ours.events)


# ---------------------------------------------------------------- visits


def test_page_views_are_in_order_and_steps_hold_no_shopper_twice() -> None:
    made = world(Shelves(), requests=3_000)
    visits = made.visits
    assert len(visits) == 3_000
    assert (np.diff(visits.ts) >= 0).all()
    covered: list[int] = []
    for step in visits.steps():
        who = visits.who[step.start : step.stop].tolist()
        assert len(set(who)) == len(who) <= WIDTH
        assert len(set((visits.ts[step.start : step.stop] // DAY_MS).tolist())) == 1
        covered += step
    assert covered == list(range(3_000))


def test_a_session_is_one_shopper_on_one_device_with_pauses() -> None:
    visits = world(Shelves(), requests=3_000).visits
    for session in np.unique(visits.session)[:200]:
        mine = visits.session == session
        assert len(set(zip(visits.who[mine].tolist(), visits.device[mine].tolist(), strict=True))) == 1
        assert (np.diff(visits.ts[mine]) >= 60_000).all()


# ---------------------------------------------------------------- choices


def test_places_are_clicked_as_often_as_attention_times_appeal() -> None:
    habits = Habits(n=400, places=PLACES, base=0.5, taste=0.0, patience=1.0, attention=0.9)
    _, _, record = run(requests=5_000, habits=habits, shelf=Shelf(60))
    expected = habits.theta() * 0.5
    noise = np.sqrt(expected * (1 - expected) / 5_000)
    assert (np.abs(record.clicked.mean(axis=0) - expected) < 4.5 * noise).all()
    np.testing.assert_allclose(record.reward, WORTH * expected.sum(), rtol=1e-5)


def test_the_reward_of_a_slate_is_what_its_clicks_carts_and_purchases_bring_on_average() -> None:
    habits = Habits(n=400, places=PLACES, base=0.5, patience=1.0)
    server, _, record = run(requests=5_000, habits=habits, shelf=Shelf(60, 0, 0.5))
    worth = {"click": 1.0, "cart_add": 3.0, "purchase": 6.0}
    got = sum(worth[event.type] for event in server.events) / 5_000
    assert got == pytest.approx(record.reward.mean(), rel=0.05)


def test_no_slate_beats_the_one_who_knows() -> None:
    _, made, record = run(requests=600)
    assert (record.most >= record.reward - 1e-6).all()
    assert record.most.mean() > 1.3 * record.reward.mean()
    assert (made.shop.kind[record.best] >= 0).all()
    assert all(len(set(best.tolist())) == PLACES for best in record.best)


def test_deeds_name_their_slate_and_come_after_it() -> None:
    server, made, record = run(requests=800)
    asked = {f"rs{made.visits.session[v]}-{made.visits.ts[v]}": v for v in range(800)}
    bought = [event for event in server.events if event.type == "purchase"]
    for event in server.events:
        v = asked[str(event.request_id)]
        assert event.position is not None
        assert made.shop.ids[record.items[v, event.position]] == event.item_id
        assert record.clicked[v, event.position]
        assert made.visits.ts[v] < event.ts <= made.visits.ts[v] + DAY_MS
        assert event.user_id == f"shopper-{made.visits.who[v]}"
    assert np.median([event.ts - made.visits.ts[asked[str(event.request_id)]] for event in bought]) > 1_800_000


def test_showing_in_vain_tires_and_a_click_or_days_heal() -> None:
    making = np.random.default_rng(0)
    shop = Shop(making, START_MS, 30)
    shoppers = Shoppers(making, Habits(n=5, patience=0.5, drift=0.0), shop)
    items = np.array([3, 4])
    fresh = shoppers.appeal(2, 0, 0.0, items)
    shoppers.vain[2, 3] = 2
    np.testing.assert_allclose(shoppers.appeal(2, 0, 0.0, items), fresh * [0.25, 1.0])
    shoppers.next_day()
    np.testing.assert_allclose(shoppers.appeal(2, 0, 0.0, items), fresh * [0.5, 1.0])


def test_tastes_drift_but_keep_their_mean_and_spread() -> None:
    making = np.random.default_rng(0)
    shoppers = Shoppers(making, Habits(n=2_000, drift=0.2), Shop(making, START_MS, 30))
    before = shoppers.weights
    for _ in range(30):
        shoppers.next_day()
    np.testing.assert_allclose(shoppers.weights.mean(axis=1), 1.0)
    assert np.corrcoef(before.ravel(), shoppers.weights.ravel())[0, 1] < 0.7
    assert shoppers.weights.std() == pytest.approx(before.std(), rel=0.1)


def test_arms_are_worth_what_slates_of_their_kind_are_worth() -> None:
    making = np.random.default_rng(0)
    shop = Shop(making, START_MS, 60)
    shoppers = Shoppers(making, replace(EQUAL, n=10, places=PLACES), shop)
    device, hour, region = np.array([0, 1, 2, 1]), np.array([20, 11, 20, 23]), np.array([2, 0, 1, 3])
    lean = shoppers.lean(device, hour, region)
    assert (lean > 0).tolist() == [True, False, True, False]
    worth = shoppers.arms(lean)
    for v in range(4):
        for kind in (0, 1):
            items = np.flatnonzero(shop.kind == kind)[:PLACES]
            assert shoppers.reward(shoppers.appeal(v, 0, float(lean[v]), items)) == pytest.approx(worth[v, kind])


def test_at_the_switch_the_arms_change_roles() -> None:
    habits = replace(EQUAL, n=80, places=PLACES)
    _, _, steady = run(habits=habits, shelf=Shelf(60))
    _, _, turned = run(habits=habits, shelf=Shelf(60), switch_at=300)
    np.testing.assert_array_equal(turned.arms[:300], steady.arms[:300])
    np.testing.assert_allclose(turned.arms[300:], steady.arms[300:, ::-1])


# ---------------------------------------------------------------- stock


def test_nothing_is_sold_that_is_not_there() -> None:
    server, made, record = run(requests=4_000, habits=Habits(n=300, places=PLACES, base=0.9))
    sales: dict[str, list[int]] = {}
    for event in server.events:
        if event.type == "purchase":
            sales.setdefault(str(event.item_id), []).append(event.ts)
    sold_out = 0
    for name, times in sales.items():
        room = int(made.shop.refill[made.shop.number[name]])
        sold_out += len(times) >= room
        for k in range(room, len(times)):  # of any room + 1 sales in a row, two lie on either side of a sell-out
            assert times[k] - times[k - room] >= 4 * DAY_MS
    assert sold_out > 3
    assert record.lost > 0
    assert (made.shop.stock >= 0).all()


def test_what_sold_out_is_sent_as_such_and_comes_back() -> None:
    shop = Shop(np.random.default_rng(0), START_MS, 40, scarce=1.0)
    k = 7
    for _ in range(int(shop.refill[k])):
        assert shop.buy(k, START_MS)
    assert not shop.buy(k, START_MS)
    assert shop.lost == 1
    (gone,) = shop.changes(START_MS, [k])
    assert (gone.item_id, gone.availability, gone.stock_qty) == (shop.ids[k], "out_of_stock", 0)
    assert k not in shop.on_sale
    assert shop.changes(START_MS + 4 * DAY_MS - 1, []) == []
    (back,) = shop.changes(START_MS + 4 * DAY_MS, [])
    assert (back.availability, back.stock_qty) == ("in_stock", int(shop.refill[k]))


def test_new_items_arrive_evenly_and_not_before_their_time() -> None:
    shop = Shop(np.random.default_rng(0), START_MS, 20, 9, 10)
    assert shop.arrived == 20
    seen = []
    for day in range(11):
        seen += [item.published_at for item in shop.changes(START_MS + day * DAY_MS, [])]
        assert shop.arrived == 20 + max(0, min(9, day))
    assert seen == [START_MS + (k + 1) * DAY_MS for k in range(9)]


def test_every_category_has_items_and_every_item_a_record() -> None:
    shop = Shop(np.random.default_rng(0), START_MS, 120)
    assert np.bincount(shop.category, minlength=N_CATEGORIES).tolist() == [10] * N_CATEGORIES
    for k, record in enumerate(shop.records()):
        assert shop.number[record.item_id] == k
        assert record.title
        assert record.price is not None
        assert record.price > 0
        assert len(record.categories[0]) == 2


# ---------------------------------------------------------------- figures


def swapped(theta: np.ndarray, appeal: np.ndarray, share: float, n: int, seed: int) -> Record:
    """A record of slates whose neighbours were swapped by chance."""
    random = np.random.default_rng(seed)
    places = theta.shape[0]
    ranks = np.tile(np.arange(places), (n, 1))
    here = np.flatnonzero(random.random(n) < share)
    one = random.integers(0, places, here.shape[0])
    other = (one + random.integers(1, places, here.shape[0])) % places
    ranks[here, one], ranks[here, other] = other, one
    _, _, record = run(requests=20)
    clicked = random.random((n, places)) < theta * appeal[ranks]
    return replace(record, ranks=ranks.astype(np.int8), clicked=clicked.astype(np.int8), items=ranks.astype(np.int32))


@pytest.mark.parametrize("seed", range(3))
def test_attention_is_recovered_from_swaps(seed: int) -> None:
    theta, appeal = np.array([1.0, 0.7, 0.45, 0.3]), np.array([0.3, 0.5, 0.2, 0.4])
    record = swapped(theta, appeal, 0.6, 60_000, seed)
    np.testing.assert_allclose(looked_at(*by_rank_and_place(record)), theta, rtol=0.06)
    assert tried(record) == pytest.approx(0.3, abs=0.01)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(0.05, 1.0), min_size=2, max_size=6).flatmap(
        lambda theta: st.tuples(
            st.just(theta), st.lists(st.floats(0.05, 1.0), min_size=len(theta), max_size=len(theta))
        )
    )
)
def test_exact_counts_give_the_exact_attention(truth: tuple[list[float], list[float]]) -> None:
    theta, appeal = (np.array(side) for side in truth)
    shown = np.full((theta.shape[0], theta.shape[0]), 1_000_000)
    clicks = np.rint(shown * np.outer(appeal, theta)).astype(np.int64)
    np.testing.assert_allclose(looked_at(shown, clicks), theta / theta[0], rtol=1e-3)


def test_without_swaps_nothing_is_said_about_attention() -> None:
    shown = np.diag([1_000, 1_000, 1_000])
    found = looked_at(shown, shown // 4)
    assert found[0] == 1.0
    assert np.isnan(found[1:]).all()


def test_served_attention_is_put_in_order_and_scaled() -> None:
    rows = [{"position": 2, "theta": 0.2}, {"position": 0, "theta": 0.8}, {"position": 1, "theta": 0.4}]
    rows += [{"position": 3, "theta": None}, {"position": 9, "theta": 0.1}]
    np.testing.assert_allclose(served_theta({"positions": rows}, 4), [1.0, 0.5, 0.25, np.nan])


def test_learned_again_counts_from_the_switch() -> None:
    share = np.concatenate([np.full(100, 0.9), np.full(40, 0.5), np.full(60, 0.95)])
    assert relearned(share, 100, 0.9, 10) == 49  # one of the ten may still be low: 0.905
    assert relearned(share, 100, 0.96, 10) == -1
    assert blocks(np.array([1.0, 2.0, 3.0, 9.0, 5.0]), np.ones(5), 2) == [1.5, 6.0]


def test_concentration_of_known_exposure() -> None:
    _, made, record = run(requests=400, shelf=Shelf(60))
    even = replace(record, items=np.arange(400 * PLACES, dtype=np.int32).reshape(400, PLACES) % 60)
    assert concentration(even, 0, 5)["gini"] == pytest.approx(0.0)
    one = replace(record, items=np.full((400, PLACES), 7, np.int32))
    figures = concentration(one, 0, 5)
    assert figures["gini"] == pytest.approx(59 / 60)
    assert figures["coverage"] == pytest.approx(1 / 60)
    assert figures["top_1_percent"] == 1.0
    assert figures["true_reward"] == pytest.approx(float(record.reward.mean()))
    assert figures["share_of_the_oracle"] == pytest.approx(float(record.reward.sum() / record.most.sum()))
    assert concentration(one, 0, 5, best=True)["share_of_the_oracle"] == pytest.approx(1.0)
    assert clicks_on_new(record, made.shop) == (0, 0.0)


def test_a_bar_without_a_value_is_missed() -> None:
    assert not Bar("x", None, "<=", 5.0).holds
    assert Bar("x", 5.0, "<=", 5.0).holds
    assert not Bar("x", 4.9, ">=", 5.0).holds


def test_too_few_requests_are_refused_before_anything_starts() -> None:
    with pytest.raises(InvalidInput, match=r"requests is 20; expected at least 1,000, or 0 for 50,000"):
        simulate("arms", 20, 1, silent)


def test_a_verdict_becomes_json_and_pictures_that_stand_alone(tmp_path: Any) -> None:
    curve = Curve("simulate-x", "a & b", [1, 2], ["one", "two"], [("this", [0.1, 0.2])])
    verdict = Verdict("x", 10, 1, ("name", "figure"), [("row", [0.5])], [curve], [Bar("b", 1.0, ">=", 0.5)])
    found = verdict.as_json()
    assert found["rows"] == {"row": {"figure": 0.5}}
    assert found["bars"][0]["holds"] is True
    (path,) = verdict.draw(tmp_path / "new")
    text = path.read_text("utf-8")
    assert path.name == "simulate-x.svg"
    assert 'xmlns="http://www.w3.org/2000/svg"' in text
    assert ElementTree.fromstring(text).tag.endswith("svg")


# ---------------------------------------------------------------- a real server


def test_a_run_on_a_real_server() -> None:
    plan = Plan(300, 3, seed=5, warm_up=200)
    done = live(BASE, Habits(n=60, places=PLACES, base=0.4), Shelf(80, 10, 0.5, 0.3), plan, silent, "requests")
    record = done.record
    assert (record.items >= 0).all()
    assert record.clicked.sum() > 50
    assert record.events > record.clicked.sum()
    assert (record.reward > 0).all()
    assert record.on_sale[-1] > 80
    for shown in record.items:
        assert len(set(shown.tolist())) == PLACES


class Answers(BaseHTTPRequestHandler):
    """Answers by what was sent; the second ``hang-up`` ends the connection without a word."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.asked.append(body.decode())
        if b"hang-up" in body and sum("hang-up" in text for text in self.asked) == 2:
            self.close_connection = True
            return
        if b"nowhere" in body:
            self.reply(400, b'{"error":{"code":"invalid_input","message":"no placement"}}')
        elif b"refuse-me" in body:
            self.reply(200, b'{"accepted":0,"rejected":[{"index":0,"code":"missing_item","message":"say which"}]}')
        else:
            self.reply(200, b'{"accepted":1}')

    def do_GET(self) -> None:
        self.reply(200, b'{"here":1}') if self.path == "/here" else self.reply(404, b'{"error":{}}')

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def connection() -> Iterator[Connection]:
    Answers.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as answering:
        thread = threading.Thread(target=answering.serve_forever)
        thread.start()
        made = Connection("127.0.0.1", answering.server_port, 2)
        try:
            yield made
        finally:
            made.close()
            answering.shutdown()
            thread.join()


def test_what_the_server_refuses_is_said(connection: Connection) -> None:
    with pytest.raises(EndcapError, match=r"400.*no placement"):
        connection.slates([Query(user_id="a", placement="nowhere")])
    with pytest.raises(EndcapError, match=r"refused 1 records of /v1/events: say which"):
        connection.send([Interaction(type="view", user_id="refuse-me")])
    assert connection.get("/here") == {"here": 1}
    assert connection.get("/nothing-of-the-kind") is None


def test_a_line_that_was_closed_is_opened_again(connection: Connection) -> None:
    for _ in range(4):
        connection.send([Interaction(type="view", user_id="hang-up")])
    assert len(Answers.asked) == 5


def test_long_lists_are_sent_in_parts(connection: Connection) -> None:
    connection.put_items([Item(item_id=str(k)) for k in range(4_001)])
    assert len(Answers.asked) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_every_scenario_runs_and_tells_its_figures(name: str, tmp_path: Path) -> None:
    verdict = simulate(name, LEAST, 3, lambda _stage, _done, _total: None)
    told = verdict.as_json()
    assert told["rows"]
    assert told["bars"]
    assert all(path.stat().st_size > 0 for path in verdict.draw(tmp_path))
