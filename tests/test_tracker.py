"""The tracker in a real browser, on shop pages of another origin, against the real server with a browser key."""

from __future__ import annotations

import gzip
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from endcap.server.pages import STATIC, squeezed
from endcap.types import Impression, Interaction, Item
from served import Served, error_of, serving

playwright = pytest.importorskip("playwright.sync_api", reason="needs the playwright package")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "shop-page.html"
BIG = 2_048  # bytes: what the tracker may cost a visitor

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"needs Chromium; none at {CHROMIUM}"),
]

PAYLOADS = [
    "<img src=x onerror=attacked()>", "<script>attacked()</script>", "\"><svg onload=attacked()>", "{{constructor.constructor('attacked()')()}}",
    "javascript:attacked()", "&lt;script&gt;attacked()&lt;/script&gt;", "</template><script>attacked()</script>", "${attacked()}",
]  # fmt: skip
TEMPLATE = """<template><a data-endcap="url"><img data-endcap="image" alt=""><b data-endcap="title"></b>
<span data-endcap="brand"></span><i data-endcap="price"></i><s data-endcap="list_price"></s></a></template>"""


class Shop:
    """A web server for shop pages: an origin of its own."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = shop.pages.get(self.path.partition("?")[0])
                body = (page or "").encode()
                self.send_response(200 if page is not None else 404)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    opened = Shop()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("tracker"), keys=True, allow_origins=[shop.url]) as running:
        items = [
            Item(
                item_id=f"p{n}", title=f"Product {n}", url=f"/p/p{n}.html", price=10.5 + n, currency="EUR", brand="Acme",
                image_urls=[f"/pictures/{n}.png"], categories=[["Kitchen"]],
            )
            for n in range(30)
        ]  # fmt: skip
        running.engine.put_items(items)
        for visitor in range(8):
            events = [{"type": "view", "anon_id": f"v{visitor}", "item_id": f"p{n}"} for n in range(visitor, visitor + 6)]
            running.send(*events, headers=running.headers("server"))
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


class Visit:
    """A new visitor's tab, with everything the page complained about and every request to the engine."""

    def __init__(self, browser: Any, shop: Shop, served: Served, init: str = "", headers: dict[str, str] | None = None) -> None:
        self.context = browser.new_context(viewport={"width": 1000, "height": 700}, extra_http_headers=headers or {})
        self.context.add_init_script("window.attacked = () => { window.fell = true; };" + init)
        self.page = self.context.new_page()
        self.shop, self.served = shop, served
        self.errors: list[str] = []
        self.complaints: list[str] = []
        self.sent: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda asked: self.sent.append(asked.post_data or "") if "/v1/tracker" in asked.url else None)
        self.before = served.engine.offset

    def open(self, body: str, consent: str = 'data-consent="granted"', address: str = "/", head: str = "") -> Any:
        """A page with the tracker's line in its head."""
        line = f'<script defer src="{self.served.url}/t.js" data-key="{self.served.secrets["browser"]}" {consent}></script>'
        self.shop.pages[address] = f"<!doctype html><html lang=en><head><title>Shop</title>{head}{line}</head><body>{body}</body></html>"
        self.page.goto(self.shop.url + address)
        return self.page

    def until(self, true: Callable[[], Any]) -> Any:
        """Wait for something that the server learns."""
        for _ in range(300):
            if found := true():
                return found
            self.page.wait_for_timeout(20)
        raise AssertionError("it did not happen")

    def logged(self) -> list[Interaction]:
        """Interactions that came since the tab was opened."""
        return [s.event for s in self.served.engine.log.read(self.before, 10_000) if isinstance(s.event, Interaction)]

    def shown(self) -> list[Impression]:
        return [s.event for s in self.served.engine.log.read(self.before, 10_000) if isinstance(s.event, Impression)]

    def id(self) -> str | None:
        found: str | None = self.page.evaluate("localStorage.endcap ?? null")
        return found


@pytest.fixture
def visit(browser: Any, shop: Shop, served: Served) -> Iterator[Callable[..., Visit]]:
    opened: list[Visit] = []

    def enter(**more: Any) -> Visit:
        opened.append(Visit(browser, shop, served, **more))
        return opened[-1]

    yield enter
    for one in opened:
        one.context.close()
        assert one.errors == [], "an error of the tracker reached the page"


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
    found = tab.until(lambda: (e := tab.logged()) if len(e) >= 10 else None)
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
    assert page.evaluate("dataLayer.length") == 14  # the shop's own queue is as it was


def test_a_purchase_counts_once_when_the_thank_you_page_is_opened_again(visit: Callable[..., Visit]) -> None:
    tab = visit()
    assert tab.served.ring is not None
    _, secret = tab.served.ring.create("browser", allow=["purchase"])
    order = 'dataLayer = [["event", "purchase", {transaction_id: "T7", currency: "EUR", items: [{item_id: "p5", price: 3}]}]]'
    for _ in range(2):
        with tab.page.expect_response("**/v1/tracker"):
            tab.open("", f'data-consent="granted" data-key="{secret}"', head=f"<script>{order}</script>".replace("data-key", ""))
            tab.page.evaluate("endcap.track({type: 'home_view'})")
    assert [e.order_id for e in tab.until(lambda: [e for e in tab.logged() if e.type == "home_view"] and tab.logged()) if e.type == "purchase"] == ["T7"]


def test_the_product_described_for_search_engines_is_a_view(visit: Callable[..., Visit]) -> None:
    tab = visit()
    product = '{"@context": "https://schema.org", "@graph": [{"@type": "WebSite"}, {"@type": ["Product"], "sku": "p6", "name": "x"}]}'
    tab.open(f'<script type="application/ld+json">{{broken</script><script type="application/ld+json">{product}</script>')
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
    assert shown.items[2] in str(story["credited"] if "credited" in story else story)


def test_a_shelf_knows_the_view_of_its_own_page(visit: Callable[..., Visit]) -> None:
    tab = visit()
    pushed = '<script>dataLayer = [["event", "view_item", {items: [{item_id: "p20"}]}]]</script>'
    tab.open(f'<div data-endcap-placement="product" data-endcap-n="5">{TEMPLATE}</div>', head=pushed)
    tab.page.wait_for_selector("[data-endcap-placement] a")
    assert [e.item_id for e in tab.logged()] == ["p20"]
    interest = tab.served.client.get(f"/v1/users/{tab.id()}/interest?anon=1", headers=tab.served.headers("server")).json()
    assert [one["name"] for one in interest["items"]] == ["p20"]
    assert "p20" not in tab.until(tab.shown)[0].items  # the item on the page is no recommendation for it
    assert len(tab.sent) == 1  # the event and the question went together


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
    tab.page.evaluate(f"document.querySelector('main').innerHTML = `<div data-endcap-placement=home data-endcap-items='p1 p2'>{TEMPLATE}</div>`")
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
        hrefs = tab.page.evaluate("[...document.querySelectorAll('[data-endcap-placement] a')].map(a => a.getAttribute('href'))")
        assert not [href for href in hrefs if href and not href.startswith("http")]
        for at in range(len(titles)):
            tab.page.evaluate("n => { const a = document.querySelectorAll('[data-endcap-placement] a')[n]; a.target = 'nowhere'; a.dispatchEvent(new MouseEvent('click')); }", at)
        tab.page.wait_for_timeout(100)
        assert tab.page.evaluate("window.fell") is None
    finally:
        tab.served.engine.delete_items([item.item_id for item in evil])


# ---------------------------------------------------------------- consent


PUSHED = """<script>window.dataLayer = window.dataLayer || []; function gtag() { dataLayer.push(arguments); }
%s
gtag("event", "view_item", { items: [{ item_id: "p3" }] });</script>"""
SHELF = f'<div data-endcap-placement="home" data-endcap-n="3">{TEMPLATE}</div>'


@pytest.mark.parametrize(
    ("attribute", "said", "state"),
    [
        ("", "", "unknown"),
        ('data-consent="denied"', "", "denied"),
        ("", 'gtag("consent", "default", {analytics_storage: "denied"});', "waiting"),
        ("", 'gtag("consent", "update", {analytics_storage: "denied"});', "denied"),
        ("", 'gtag("consent", "update", {analytics_storage: "granted", personalization_storage: "denied"});', "denied"),
        ("", 'gtag("consent", "default", {analytics_storage: "granted", region: ["US"]});', "unknown"),
        ("", 'gtag("consent", "default", {analytics_storage: "denied", region: ["ES"]}); gtag("consent", "default", {analytics_storage: "granted"});', "waiting"),
        ('data-consent="granted"', 'gtag("consent", "default", {analytics_storage: "denied"});', "waiting"),
    ],
)  # fmt: skip
def test_without_consent_nothing_is_stored_and_nothing_identifies(
    visit: Callable[..., Visit], attribute: str, said: str, state: str
) -> None:
    tab = visit()
    tab.open(SHELF, attribute, head=PUSHED % said)
    tab.page.wait_for_selector("[data-endcap-placement] a")  # a shelf for nobody in particular
    tab.page.locator("[data-endcap-placement] a").first.evaluate("a => { a.removeAttribute('href'); a.click(); }")
    tab.page.evaluate("dispatchEvent(new Event('pagehide'))")
    tab.page.wait_for_timeout(500)
    assert tab.page.evaluate("document.documentElement.dataset.endcapConsent") == state
    assert tab.page.evaluate("[Object.keys(localStorage).length, Object.keys(sessionStorage).length, document.cookie]") == [0, 0, ""]
    assert tab.logged() == []
    assert all("anon_id" not in text and '"events":[]' in text for text in tab.sent)
    assert [(one.anon_id, one.user_id) for one in tab.until(tab.shown)] == [(None, None)]


@pytest.mark.parametrize("said", ['"default", {analytics_storage: "granted"}', '"update", {personalization_storage: "granted"}'])
def test_consent_sends_what_waited(visit: Callable[..., Visit], said: str) -> None:
    tab = visit()
    tab.open(SHELF, "", head=PUSHED % "")
    tab.page.wait_for_timeout(100)
    tab.page.evaluate(f'gtag("consent", {said})')
    (event,) = tab.until(tab.logged)
    assert (event.item_id, event.anon_id) == ("p3", tab.id())
    tab.until(lambda: [one for one in tab.shown() if one.anon_id == tab.id()])


def test_consent_taken_back_forgets_the_visitor(visit: Callable[..., Visit]) -> None:
    tab = visit()
    tab.open("")
    tab.page.evaluate("endcap.track({type: 'home_view'})")
    tab.until(tab.logged)
    first = tab.id()
    assert first == tab.page.evaluate("endcap.id()")
    tab.page.evaluate("endcap.track({type: 'home_view'}); endcap.consent('denied')")
    assert tab.id() is None
    assert tab.page.evaluate("endcap.id() ?? null") is None
    tab.page.evaluate("endcap.track({type: 'home_view'}); endcap.consent('granted'); endcap.track({type: 'cart_view'})")
    tab.until(lambda: len(tab.logged()) == 2)
    assert tab.logged()[-1].type == "cart_view"
    assert tab.id() not in (None, first)


def test_global_privacy_control_outranks_every_consent(visit: Callable[..., Visit]) -> None:
    tab = visit(init="Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true});")
    tab.open(SHELF, head=PUSHED % 'gtag("consent", "update", {analytics_storage: "granted"});')
    tab.page.wait_for_selector("[data-endcap-placement] a")
    tab.page.evaluate("endcap.consent('granted'); endcap.track({type: 'home_view'})")
    tab.page.wait_for_timeout(600)
    assert tab.page.evaluate("document.documentElement.dataset.endcapConsent") == "gpc"  # for the page's own notice
    assert tab.id() is None
    assert tab.logged() == []
    assert all("anon_id" not in text for text in tab.sent)


# ---------------------------------------------------------------- pages that break everything


HOSTILE = {
    "frozen dataLayer": "window.dataLayer = Object.freeze([['event', 'view_item', {items: [{item_id: 'p1'}]}]]);",
    "dataLayer is no list": "window.dataLayer = {push: 1};",
    "dataLayer cannot be read": "Object.defineProperty(window, 'dataLayer', {get() { throw new Error('no'); }});",
    "no localStorage": "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }});",
    "a full localStorage": "Storage.prototype.setItem = () => { throw new Error('full'); };",
    "no IntersectionObserver": "delete window.IntersectionObserver;",
    "no sendBeacon": "delete Navigator.prototype.sendBeacon;",
    "a beacon that refuses": "Navigator.prototype.sendBeacon = () => false;",
    "no fetch": "delete window.fetch;",
    "no crypto": "Object.defineProperty(window, 'crypto', {value: undefined});",
    "no Intl": "delete window.Intl; Number.prototype.toLocaleString = () => { throw new Error('no'); };",
    "everything at once": """window.dataLayer = Object.freeze([]); delete window.IntersectionObserver; delete window.fetch;
        delete Navigator.prototype.sendBeacon; Object.defineProperty(window, 'crypto', {value: undefined});
        Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }});
        URL = undefined; Document.prototype.querySelectorAll = () => { throw new Error('no'); };""",
}  # fmt: skip
STILL_WORKS = {"frozen dataLayer", "no localStorage", "no IntersectionObserver", "no sendBeacon", "a beacon that refuses", "no Intl"}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_ever_thrown_into_the_page(visit: Callable[..., Visit], name: str) -> None:
    tab = visit(init=HOSTILE[name])
    after = """<script>addEventListener("load", () => { try { dataLayer.push({event: "x"}); } catch {} window.alive = true; });</script>"""
    odd = """<script type="application/ld+json">{"@graph": [null, 1, "x", {"@type": null}, {"@type": "Product"}]}</script>"""
    tab.open(SHELF + odd + after)
    tab.page.wait_for_function("window.alive")
    if name in STILL_WORKS:
        tab.page.wait_for_selector("[data-endcap-placement] a")
        tab.page.evaluate("endcap.track({type: 'view', item_id: 'p2'})")
        assert tab.until(lambda: [e for e in tab.logged() if e.item_id == "p2"])
    else:
        tab.page.evaluate("window.endcap?.track({type: 'view', item_id: 'p2'}); window.endcap?.track(null); window.endcap?.consent()")
        tab.page.wait_for_timeout(500)


def test_a_server_that_is_down_or_refuses_costs_the_page_nothing(visit: Callable[..., Visit]) -> None:
    tab = visit()
    tab.page.route("**/v1/tracker", lambda route: route.fulfill(status=500, body="<html>"))
    tab.open(f'<div data-endcap-placement="home">{TEMPLATE}<p>Our classics</p></div>')
    tab.page.evaluate("endcap.track({type: 'home_view'})")
    tab.page.wait_for_timeout(600)
    assert tab.page.locator("p").inner_text() == "Our classics"  # what stood there stays
    other = visit()
    other.open(SHELF, 'data-consent="granted"', address="/other")
    other.page.wait_for_selector("[data-endcap-placement] a")
    assert other.complaints == []


def test_the_script_may_be_loaded_late_or_as_a_module(visit: Callable[..., Visit]) -> None:
    tab = visit()
    tab.open(SHELF, address="/late")
    source, key = f"{tab.served.url}/t.js", tab.served.secrets["browser"]
    tab.shop.pages["/late"] = f"<!doctype html><body>{SHELF}</body>"
    tab.page.goto(tab.shop.url + "/late")
    tab.page.evaluate(f"const s = document.createElement('script'); s.src = '{source}'; s.dataset.key = '{key}'; document.head.append(s); 0")
    tab.page.wait_for_selector("[data-endcap-placement] a")
    tab.page.evaluate(f"import('{source}')")  # no current script then: it does nothing, quietly
    tab.page.wait_for_timeout(100)


# ---------------------------------------------------------------- the route


def test_the_key_may_stand_in_the_body_or_in_a_header(served: Served) -> None:
    told = {"anon_id": "direct", "events": [{"type": "view", "item_id": "p1"}], "shelves": [{"placement": "home", "n": 2}]}
    key = served.secrets["browser"]
    answer = served.client.post("/v1/tracker", content=served_json({**told, "key": key}), headers={"content-type": "text/plain"})
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
        ({"events": {"x": 1}}, 200), ({"events": None}, 400), ({"shelves": [{"placement": "nowhere"}]}, 400), ({"shelves": [{}] * 13}, 400),
        ({"anon_id": "x" * 300}, 400), ({"anon_id": ""}, 400), ({"shelves": [{"n": -1}]}, 400), ({"padding": "x" * 70_000}, 413),
    ],
)  # fmt: skip
def test_a_wrong_beacon_is_refused_with_its_reason(served: Served, more: dict[str, Any], status: int) -> None:
    answer = served.client.post("/v1/tracker", json={"key": served.secrets["browser"], "anon_id": "a", **more})
    assert answer.status_code == status, answer.text
    if status == 200:
        assert [refusal["code"] for refusal in answer.json()["rejected"]] == ["missing_type"]


def test_a_broken_event_costs_itself_alone(served: Served) -> None:
    events = [{"type": "view", "item_id": "p1"}, {"type": "vew", "item_id": "p1"}, {"type": "view", "item_id": "p2", "user_id": "somebody"}]
    answer = served.client.post("/v1/tracker", json={"key": served.secrets["browser"], "anon_id": "b", "events": events}).json()
    assert answer["accepted"] == 1
    assert [(refusal["index"], refusal["code"]) for refusal in answer["rejected"]] == [(1, "unknown_type"), (2, "user_not_allowed")]


def test_the_server_honours_global_privacy_control_by_itself(served: Served) -> None:
    before = served.engine.offset
    told = {"key": served.secrets["browser"], "anon_id": "v1", "events": [{"type": "view", "item_id": "p1"}], "shelves": [{"n": 3}]}
    answer = served.client.post("/v1/tracker", json=told, headers={"sec-gpc": "1"}).json()
    assert (answer["accepted"], len(answer["shelves"][0]["items"])) == (0, 3)
    served.send({"type": "home_view", "anon_id": "x"}, headers=served.headers("server"))
    logged = [stored.event for stored in served.engine.log.read(before, 100)]
    assert [(type(event).__name__, getattr(event, "anon_id", None)) for event in logged] == [("Impression", None), ("Interaction", "x")]


def served_json(value: Any) -> bytes:
    import msgspec

    return msgspec.json.encode(value)
