"""What the tracker does without consent, and on pages where nothing works: no id, no error, no event that tells on anyone."""

# ruff: noqa: E501  (pages and scripts read better unbroken)
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from served import Served
from shop_page import NEEDS_CHROMIUM, TEMPLATE, Shop, Visit, chromium, shop_pages, stocked_server, visits

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
    assert tab.page.evaluate(
        "[Object.keys(localStorage).length, Object.keys(sessionStorage).length, document.cookie]"
    ) == [0, 0, ""]
    assert tab.logged() == []
    assert all("anon_id" not in text and '"events":[]' in text for text in tab.sent)
    assert [(one.anon_id, one.user_id) for one in tab.until(tab.shown)] == [(None, None)]


@pytest.mark.parametrize(
    "said", ['"default", {analytics_storage: "granted"}', '"update", {personalization_storage: "granted"}']
)
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
STILL_WORKS = {
    "frozen dataLayer",
    "no localStorage",
    "no IntersectionObserver",
    "no sendBeacon",
    "a beacon that refuses",
    "no Intl",
}


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
        tab.page.evaluate(
            "window.endcap?.track({type: 'view', item_id: 'p2'}); window.endcap?.track(null); window.endcap?.consent()"
        )
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
    tab.page.evaluate(
        f"const s = document.createElement('script'); s.src = '{source}'; s.dataset.key = '{key}'; document.head.append(s); 0"
    )
    tab.page.wait_for_selector("[data-endcap-placement] a")
    tab.page.evaluate(f"import('{source}')")  # no current script then: it does nothing, quietly
    tab.page.wait_for_timeout(100)
