"""The tracker in a real browser, on shop pages of another origin, against the real server with a browser key."""

# ruff: noqa: E501  (pages and scripts read better unbroken)
from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from endcap.server.pages import STATIC, squeezed
from endcap.types import Item
from served import Served, error_of
from shop_page import NEEDS_CHROMIUM, TEMPLATE, Shop, Visit, chromium, shop_pages, stocked_server, visits

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "shop-page.html"
BIG = 2_048  # bytes: what the tracker may cost a visitor
PAYLOADS = [
    "<img src=x onerror=attacked()>", "<script>attacked()</script>", "\"><svg onload=attacked()>", "{{constructor.constructor('attacked()')()}}",
    "javascript:attacked()", "&lt;script&gt;attacked()&lt;/script&gt;", "</template><script>attacked()</script>", "${attacked()}",
]  # fmt: skip

playwright = pytest.importorskip("playwright.sync_api", reason="needs the playwright package")
pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with shop_pages() as opened:
        yield opened


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> Iterator[Served]:
    with stocked_server(tmp_path_factory.mktemp("tracker"), shop) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(playwright) as opened:
        yield opened


@pytest.fixture
def visit(browser: Any, shop: Shop, served: Served) -> Iterator[Callable[..., Visit]]:
    with visits(browser, shop, served) as enter:
        yield enter


# ---------------------------------------------------------------- the file


def test_the_tracker_costs_at_most_two_kilobytes(served: Served) -> None:
    with served.client.stream("GET", "/t.js", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert len(raw) <= BIG, f"{len(raw)} bytes"
    plain = served.client.get("/t.js", headers={"accept-encoding": "identity"})
    assert plain.text == gzip.decompress(raw).decode() == squeezed((STATIC / "t.js").read_text("utf-8"))
    assert plain.headers["cross-origin-resource-policy"] == "cross-origin"
    assert served.client.get("/t.js", headers={"if-none-match": plain.headers["etag"]}).status_code == 304
    error_of(served.client.post("/t.js"), 405)


def test_squeezing_leaves_texts_alone() -> None:
    script = 'const a = "x : y \\" + { z";  // kept: behind code\n  // gone\n  if (a) {\n    b( "q" );\n  }\n'
    assert squeezed(script) == 'const a="x : y \\" + { z";// kept:behind code\nif(a){b("q");}'


# ---------------------------------------------------------------- what it reads


def test_what_a_shop_pushes_for_google_analytics_arrives(visit: Callable[..., Visit]) -> None:
    tab = visit()
    page = tab.open(
        "",
        head="""<script>
        window.dataLayer = window.dataLayer || [];
        function gtag() { dataLayer.push(arguments); }
        gtag("js", new Date()); gtag("config", "G-1"); dataLayer.push({ ecommerce: null }); dataLayer.push(null); dataLayer.push(function () {});
        gtag("event", "view_item", { currency: "EUR", value: 10.5, items: [{ item_id: "p0", price: "10.50", item_variant: "red" }] });
        </script>""",
    )
    tab.until(lambda: len(tab.logged()) == 1)
    page.evaluate("""() => {
      dataLayer.push({ event: "add_to_cart", ecommerce: { currency: "EUR", items: [{ item_id: "p1", price: 11.5, quantity: 2 }, { item_id: 7 }, { item_name: "no id" }] } });
      gtag("event", "remove_from_cart", { items: [{ item_id: "p1", quantity: "1" }] });
      gtag("event", "add_to_wishlist", { items: [{ item_id: "p2" }] });
      gtag("event", "search", { search_term: "tea" });
      dataLayer.push({ event: "search", search_term: "pot" });
      gtag("event", "view_item_list", { item_list_id: "cat", items: [{ item_id: "p3", index: 0 }, { item_id: "p4", index: "1" }] });
      gtag("event", "select_item", { item_list_id: "cat", items: [{ item_id: "p4", index: 1 }] });
      gtag("event", "some_event_of_the_shop", { items: [{ item_id: "p9" }] });
      gtag("event", "purchase", { transaction_id: "T1", currency: "EUR", items: [{ item_id: "p1", price: 11.5, quantity: 2 }] });
    }""")
    found = tab.until(lambda: tab.logged() if len(tab.logged()) >= 10 else None)
    told = [(e.type, e.item_id, e.quantity, e.price, e.currency, e.placement, e.position, e.query) for e in found]
    assert told == [
        ("view", "p0", 1, 10.5, "EUR", None, None, None),
        ("cart_add", "p1", 2, 11.5, "EUR", None, None, None),
        ("cart_add", "7", 1, None, "EUR", None, None, None),
        ("cart_remove", "p1", 1, None, None, None, None, None),
        ("wishlist_add", "p2", 1, None, None, None, None, None),
        ("search", None, 1, None, None, None, None, "tea"),
        ("search", None, 1, None, None, None, None, "pot"),
        ("impression", "p3", 1, None, None, "cat", 0, None),
        ("impression", "p4", 1, None, None, "cat", 1, None),
        ("click", "p4", 1, None, None, "cat", 1, None),
    ]  # fmt: skip
    assert {e.anon_id for e in found} == {tab.id()}
    refused = tab.served.client.get("/v1/quarantine", headers=tab.served.headers("admin")).json()["records"]
    assert [record["code"] for record in refused] == ["type_not_allowed"]  # this key may not write purchases
    assert page.evaluate("dataLayer.length") == 15  # the shop's own queue is as it was


def test_a_purchase_counts_once_when_the_thank_you_page_is_opened_again(visit: Callable[..., Visit]) -> None:
    tab = visit()
    assert tab.served.ring is not None
    _, secret = tab.served.ring.create("browser", allow=["purchase"])
    order = 'dataLayer = [["event", "purchase", {transaction_id: "T7", currency: "EUR", items: [{item_id: "p5", price: 3}]}]]'
    for _ in range(2):
        with tab.page.expect_response("**/v1/tracker"):
            tab.open("", head=f"<script>{order}</script>", key=secret)
    tab.page.evaluate("endcap.track({type: 'home_view'})")
    tab.until(lambda: [event for event in tab.logged() if event.type == "home_view"])
    assert [(event.type, event.order_id) for event in tab.logged()] == [("purchase", "T7"), ("home_view", None)]


def test_the_product_described_for_search_engines_is_a_view(visit: Callable[..., Visit]) -> None:
    tab = visit()
    product = '{"@context": "https://schema.org", "@graph": [{"@type": "WebSite"}, {"@type": ["Product"], "sku": "p6", "name": "x"}]}'
    tab.open(
        f'<script type="application/ld+json">{{broken</script><script type="application/ld+json">{product}</script>'
    )
    (event,) = tab.until(tab.logged)
    assert (event.type, event.item_id) == ("view", "p6")
    listing = f'<script type="application/ld+json">[{product}, {product}]</script>'
    tab.open(listing, address="/list")
    tab.page.evaluate("endcap.track({type: 'home_view'})")
    tab.until(lambda: len(tab.logged()) == 2)
    assert tab.logged()[-1].type == "home_view"  # many products on a page are a list, not a view


def test_a_view_the_shop_pushed_is_not_told_twice(visit: Callable[..., Visit]) -> None:
    tab = visit()
    pushed = '<script>dataLayer = [["event", "view_item", {items: [{item_id: "p6"}]}]]</script>'
    tab.open('<script type="application/ld+json">{"@type": "Product", "sku": "p6"}</script>', head=pushed)
    tab.until(tab.logged)
    tab.page.evaluate("endcap.track({type: 'home_view'})")
    tab.until(lambda: len(tab.logged()) == 2)
    assert [e.type for e in tab.logged()] == ["view", "home_view"]


# ---------------------------------------------------------------- shelves


def test_a_shelf_is_drawn_and_a_click_is_credited_to_its_request(visit: Callable[..., Visit]) -> None:
    tab = visit()
    tab.open(f'<div data-endcap-placement="home" data-endcap-n="4">{TEMPLATE}<p>Loading</p></div>')
    tab.page.wait_for_selector("[data-endcap-placement] a")
    cards = tab.page.evaluate(
        "[...document.querySelectorAll('[data-endcap-placement] a')].map(a => [a.href, a.querySelector('img').src, "
        "a.querySelector('img').alt, ...['b', 'span', 'i', 's'].map(t => a.querySelector(t).textContent)])"
    )
    assert len(cards) == 4
    for href, picture, alt, title, brand, price, list_price in cards:
        n = title.removeprefix("Product ")
        assert (href, picture) == (f"{tab.shop.url}/p/p{n}.html", f"{tab.shop.url}/pictures/{n}.png")
        assert (alt, brand, price, list_price) == (title, "Acme", f"\u20ac{10.5 + int(n):.2f}", "")
    assert tab.page.locator("p").count() == 0
    (shown,) = tab.until(tab.shown)
    assert (shown.placement, shown.anon_id, len(shown.items)) == ("home", tab.id(), 4)
    assert shown.context is not None
    assert (shown.context.device, shown.context.utc_offset_min) == ("desktop", 0)
    tab.page.locator("[data-endcap-placement] a").nth(2).click()  # leaves the page: the beacon goes with pagehide
    (click,) = tab.until(tab.logged)
    assert (click.type, click.item_id, click.placement, click.position, click.request_id) == (
        "click", shown.items[2], "home", 2, shown.request_id,
    )  # fmt: skip
    story = tab.served.client.get(f"/v1/requests/{shown.request_id}", headers=tab.served.headers("server")).json()
    assert [item["deeds"] for item in story["items"]] == [[], [], ["click"], []]


def test_a_shelf_knows_the_view_of_its_own_page(visit: Callable[..., Visit]) -> None:
    tab = visit()
    pushed = '<script>dataLayer = [["event", "view_item", {items: [{item_id: "p20"}]}]]</script>'
    tab.open(f'<div data-endcap-placement="product" data-endcap-n="5">{TEMPLATE}</div>', head=pushed)
    tab.page.wait_for_selector("[data-endcap-placement] a")
    assert [e.item_id for e in tab.logged()] == ["p20"]
    interest = tab.served.client.get(
        f"/v1/users/{tab.id()}/interest?anon=1", headers=tab.served.headers("server")
    ).json()
    assert [one["name"] for one in interest["items"]] == ["p20"]
    assert "p20" not in tab.until(tab.shown)[0].items  # the item on the page is no recommendation for it
    assert len(tab.sent) == 1  # the event and the question went together


def test_the_page_of_the_documentation_works_as_it_stands(visit: Callable[..., Visit]) -> None:
    tab = visit()
    tab.served.engine.put_items(
        [Item(item_id="mug-blue", title="Blue mug", url="/mug.html", price=8.0, currency="EUR")]
    )
    text = EXAMPLE.read_text("utf-8").replace("https://recs.example.com", tab.served.url)
    tab.shop.pages["/example"] = text.replace("pub_YOUR_KEY", tab.served.secrets["browser"])
    tab.page.goto(f"{tab.shop.url}/example")
    tab.page.wait_for_selector("[data-endcap-placement] a")
    tab.page.get_by_role("button", name="Add to cart").click()
    tab.until(lambda: len(tab.logged()) == 2)
    assert [(event.type, event.item_id, event.price) for event in tab.logged()] == [
        ("view", "mug-blue", 8.0), ("cart_add", "mug-blue", 8.0),
    ]  # fmt: skip
    assert tab.page.locator("[data-endcap-placement] a").count() == 6
    assert tab.complaints == []


def test_a_shelf_below_the_screen_is_asked_for_when_it_comes_near(visit: Callable[..., Visit]) -> None:
    tab = visit()
    tab.open(f'<div style="height: 3000px"></div><div data-endcap-placement="trending">{TEMPLATE}</div>')
    tab.page.evaluate("endcap.track({type: 'home_view'})")
    tab.until(tab.logged)
    assert tab.shown() == []
    tab.page.mouse.wheel(0, 4000)
    tab.page.wait_for_selector("[data-endcap-placement] a")
    assert [one.placement for one in tab.until(tab.shown)] == ["trending"]


def test_a_page_of_an_app_asks_again(visit: Callable[..., Visit]) -> None:
    tab = visit()
    tab.open("<main></main>")
    tab.page.evaluate(
        f"document.querySelector('main').innerHTML = `<div data-endcap-placement=home data-endcap-items='p1 p2'>{TEMPLATE}</div>`"
    )
    tab.page.evaluate("endcap.shelves()")
    tab.page.wait_for_selector("main a")
    assert '"items":["p1","p2"]' in tab.sent[-1]


def test_payloads_in_a_catalogue_never_run(visit: Callable[..., Visit]) -> None:
    tab = visit()
    evil = [
        Item(item_id=f"evil{n}", title=text, brand=text, url=text, image_urls=[text], currency="EUR", price=1.0)
        for n, text in enumerate([*PAYLOADS, "JaVaScRiPt:attacked()", "data:text/html,<script>attacked()</script>", " javascript:attacked()"])
    ]  # fmt: skip
    tab.served.engine.put_items(evil)
    try:
        for n in range(4):
            events = [{"type": "cart_add", "anon_id": f"fan{n}", "item_id": item.item_id} for item in evil]
            tab.served.send(*events, headers=tab.served.headers("server"))
        tab.open(f'<div data-endcap-placement="trending" data-endcap-n="24">{TEMPLATE}</div>')
        tab.page.wait_for_selector("[data-endcap-placement] a")
        titles = tab.page.locator("[data-endcap-placement] b").all_text_contents()
        assert set(PAYLOADS) <= set(titles), "the payloads must be on the page for the test to mean anything"
        hrefs = tab.page.evaluate(
            "[...document.querySelectorAll('[data-endcap-placement] a')].map(a => a.getAttribute('href'))"
        )
        assert not [href for href in hrefs if href and not href.startswith("http")]
        for at in range(len(titles)):
            tab.page.evaluate(
                "n => { const a = document.querySelectorAll('[data-endcap-placement] a')[n]; a.target = 'nowhere'; a.dispatchEvent(new MouseEvent('click')); }",
                at,
            )
        tab.page.wait_for_timeout(100)
        assert tab.page.evaluate("window.fell") is None
    finally:
        tab.served.engine.delete_items([item.item_id for item in evil])


# ---------------------------------------------------------------- the route


def test_the_key_may_stand_in_the_body_or_in_a_header(served: Served) -> None:
    told = {
        "anon_id": "direct",
        "events": [{"type": "view", "item_id": "p1"}],
        "shelves": [{"placement": "home", "n": 2}],
    }
    key = served.secrets["browser"]
    answer = served.client.post(
        "/v1/tracker", content=msgspec.json.encode({**told, "key": key}), headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 200
    body = answer.json()
    assert body["accepted"] == 1
    assert [len(shelf["items"]) for shelf in body["shelves"]] == [2]
    assert served.client.post("/v1/tracker", json=told, headers=served.headers("browser")).status_code == 200
    error_of(served.client.post("/v1/tracker", json=told), 401)
    error_of(served.client.post("/v1/tracker", json={**told, "key": "pub_nothing"}), 401)
    error_of(served.client.post("/v1/tracker", json={**told, "key": served.secrets["admin"]}), 403)
    error_of(served.client.post("/v1/tracker", json={**told, "key": key}, headers={"origin": "https://evil.test"}), 403)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"events": {"x": 1}}, 200), ({"shelves": [{"placement": "nowhere"}]}, 400), ({"shelves": [{}] * 13}, 400),
        ({"anon_id": "x" * 300}, 400), ({"anon_id": ""}, 400), ({"shelves": [{"n": -1}]}, 400), ({"padding": "x" * 70_000}, 413),
    ],
)  # fmt: skip
def test_a_wrong_beacon_is_refused_with_its_reason(served: Served, more: dict[str, Any], status: int) -> None:
    answer = served.client.post("/v1/tracker", json={"key": served.secrets["browser"], "anon_id": "a", **more})
    assert answer.status_code == status, answer.text
    if status == 200:
        assert [refusal["code"] for refusal in answer.json()["rejected"]] == ["missing_type"]


def test_a_broken_event_costs_itself_alone(served: Served) -> None:
    events = [
        {"type": "view", "item_id": "p1"},
        {"type": "vew", "item_id": "p1"},
        {"type": "view", "item_id": "p2", "user_id": "somebody"},
    ]
    answer = served.client.post(
        "/v1/tracker", json={"key": served.secrets["browser"], "anon_id": "b", "events": events}
    ).json()
    assert answer["accepted"] == 1
    assert [(refusal["index"], refusal["code"]) for refusal in answer["rejected"]] == [
        (1, "unknown_type"),
        (2, "user_not_allowed"),
    ]


def test_the_server_honours_global_privacy_control_by_itself(served: Served) -> None:
    before = served.engine.offset
    told = {
        "key": served.secrets["browser"],
        "anon_id": "v1",
        "events": [{"type": "view", "item_id": "p1"}],
        "shelves": [{"n": 3}],
    }
    answer = served.client.post("/v1/tracker", json=told, headers={"sec-gpc": "1"}).json()
    assert (answer["accepted"], len(answer["shelves"][0]["items"])) == (0, 3)
    served.send({"type": "home_view", "anon_id": "x"}, headers=served.headers("server"))
    logged = [stored.event for stored in served.engine.log.read(before, 100)]
    assert [(type(event).__name__, getattr(event, "anon_id", None)) for event in logged] == [
        ("Impression", None),
        ("Interaction", "x"),
    ]
