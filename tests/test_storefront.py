"""The storefront in a real browser, over real HTTP, on real purchases.

``ENDCAP_SCREENSHOT=1 pytest -m browser tests/test_storefront.py`` also writes docs/images/storefront.png.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from endcap.demo import prepare
from served import serving

playwright = pytest.importorskip("playwright.sync_api", reason="needs the playwright package")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
AXE = Path(__file__).parent / "assets" / "axe.min.js"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
NEWEST = 60_000
FOR_YOU = "[data-shelf=for_you]"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"needs Chromium; none at {CHROMIUM}"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("storefront")
    prepare(directory, newest=NEWEST).close()
    with serving(directory) as served:
        yield served.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, shop: str) -> Iterator[Any]:
    """A page of a new visitor; whatever the browser complains about fails the test, content policy violations too."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, reduced_motion="reduce", base_url=shop)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    assert complaints == []


def enter(page: Any, address: str = "/shop") -> None:
    page.goto(address)
    page.wait_for_selector(f"{FOR_YOU} [data-item]")


def shelf(page: Any, name: str = "for_you") -> list[str]:
    found = page.eval_on_selector_all(f"[data-shelf={name}] [data-item]", "cards => cards.map(c => c.dataset.item)")
    return list(found)


def click_card(page: Any, place: int) -> str:
    """Open a product of the personal shelf, wait until that shelf answers to the click; gives the product's id."""
    card = page.locator(f"{FOR_YOU} [data-item]").nth(place)
    item_id = str(card.get_attribute("data-item"))
    revision = int(page.get_attribute("main", "data-revision"))
    card.locator(".card-link").click()
    page.wait_for_selector(f"{FOR_YOU}[data-revision='{revision + 1}']")
    return item_id


def test_two_clicks_change_the_shelf_and_its_reasons_name_what_was_clicked(page: Any) -> None:
    enter(page)
    before = shelf(page)
    assert len(before) == 12
    clicked = [click_card(page, 0), click_card(page, 2)]
    page.get_by_role("link", name="Endcap").click()
    page.wait_for_selector("h1 >> text=The shelf")
    after = shelf(page)
    assert set(after) - set(before)
    causes = page.eval_on_selector_all(f"{FOR_YOU} .why", "all => all.map(w => w.dataset.cause)")
    assert set(causes) & set(clicked)
    cause = next(cause for cause in causes if cause in clicked)
    title = page.evaluate("id => fetch(`/v1/items/${id}`).then(r => r.json()).then(i => i.title)", cause)
    assert page.locator(f"{FOR_YOU} .why[data-cause='{cause}'] a").first.inner_text() == title
    assert page.locator(".speed[data-clicks='2'] .figure strong").inner_text().isdigit()
    if os.environ.get("ENDCAP_SCREENSHOT"):
        IMAGES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=IMAGES / "storefront.png")


def test_the_panel_tells_what_the_engine_believes_and_forgets_on_request(page: Any) -> None:
    enter(page)
    assert page.get_attribute(".warmth", "data-warmth") == "cold"
    item_id = click_card(page, 1)
    page.wait_for_selector(".warmth[data-warmth=warm]")
    title = page.locator("main h1").inner_text()
    assert title in page.locator(".mind").inner_text()
    assert title in page.locator(".steps").inner_text()
    visitor = page.evaluate("JSON.parse(localStorage['endcap.visitor'])")
    page.get_by_role("button", name="Forget me").click()
    page.wait_for_selector(".notice p")
    assert page.evaluate("JSON.parse(localStorage['endcap.visitor'])") != visitor
    page.wait_for_selector(".warmth[data-warmth=cold]")
    known = page.evaluate("id => fetch(`/v1/users/${id}/interest?anon=1`).then(r => r.json())", visitor)
    assert known.get("items", []) == []
    assert item_id


def test_the_moment_changes_what_is_trending(page: Any) -> None:
    enter(page)
    page.wait_for_selector("[data-shelf=trending] [data-item]")
    here = shelf(page, "trending")
    page.get_by_label("Country").select_option("Germany")
    page.wait_for_function(
        "old => { const now = [...document.querySelectorAll('[data-shelf=trending] [data-item]')]"
        ".map(c => c.dataset.item).join(); return now && now !== old; }",
        arg=",".join(here),
    )
    assert "Germany" in page.locator("#shelf-trending").inner_text()


def test_cart_and_checkout_reach_the_log(page: Any) -> None:
    enter(page)
    item_id = click_card(page, 0)
    page.get_by_role("button", name="Add to cart").click()
    page.get_by_role("link", name="Cart 1").first.click()
    assert page.locator(".cart-line").count() == 1
    page.wait_for_selector("[data-shelf=complete] [data-item]")
    with page.expect_response(lambda answer: answer.url.endswith("/v1/events")) as sent:
        page.get_by_role("button", name="Buy").click()
    bought = json.loads(sent.value.request.post_data)["events"]
    assert [(event["type"], event["item_id"]) for event in bought] == [("purchase", item_id)]
    assert sent.value.json()["accepted"] == 1
    assert "Your cart is empty" in page.locator("main").inner_text()


def test_search_and_departments_find_products(page: Any) -> None:
    enter(page)
    page.get_by_label("Search products").fill("red retro bag")
    page.wait_for_selector("main > .cards [data-item]")
    titles = page.locator("main > .cards .card-title").all_inner_texts()
    assert titles
    assert all("Red" in title and "Bag" in title for title in titles)
    page.get_by_role("navigation", name="Departments").get_by_role("link", name="Garden").click()
    page.wait_for_selector("[data-shelf=department] [data-item]")
    inside = page.evaluate(
        "ids => Promise.all(ids.map(id => fetch(`/v1/items/${id}`).then(r => r.json())))", shelf(page, "department")
    )
    assert {item["categories"][0][0] for item in inside} == {"Garden"}


def test_the_shop_can_be_walked_through_with_the_keyboard(page: Any) -> None:
    enter(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator(f"{FOR_YOU} .card-link").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".product-text h1")
    page.wait_for_function("() => document.activeElement?.tagName === 'H1'")


def test_the_shop_speaks_chinese_to_a_browser_that_prefers_it_and_to_whoever_chooses_it(
    browser: Any, shop: str
) -> None:
    context = browser.new_context(locale="zh-CN", viewport={"width": 1440, "height": 1000}, base_url=shop)
    opened = context.new_page()
    enter(opened)
    assert opened.get_attribute("html", "lang") == "zh-CN"
    assert opened.locator("main h1").inner_text() == "随您目光而变的货架"
    click_card(opened, 0)
    assert opened.get_by_role("button", name="加入购物车").is_visible()
    opened.goto("/shop")
    opened.wait_for_selector(f"{FOR_YOU} .why[data-cause]:not([data-cause=''])")
    said = opened.locator(f"{FOR_YOU} .why").all_inner_texts()
    assert said
    assert [one for one in said if not re.search("[\u4e00-\u9fff]", one)] == []
    opened.evaluate(AXE.read_text("utf-8"))
    assert opened.evaluate("axe.run({ resultTypes: ['violations'] }).then(found => found.violations.length)") == 0
    opened.get_by_label("语言").select_option("en")
    opened.wait_for_selector("main h1 >> text=The shelf")
    assert opened.get_attribute("html", "lang") == "en"
    opened.get_by_label("Language").select_option("zh")
    opened.wait_for_selector("main h1 >> text=货架")
    context.close()


@pytest.mark.parametrize(
    ("scheme", "width", "pages"),
    [("light", 1440, "home product cart search"), ("dark", 1440, "home product"), ("light", 390, "home cart")],
)
def test_no_page_violates_an_accessibility_rule(browser: Any, shop: str, scheme: str, width: int, pages: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce", base_url=shop
    )
    opened = context.new_page()
    enter(opened)
    item_id = click_card(opened, 0)
    opened.get_by_role("button", name="Add to cart").click()
    opened.wait_for_selector(".held a")
    addresses = {
        "home": "/shop", "product": f"/shop/p/{item_id}", "cart": "/shop/cart", "search": "/shop/search?q=bag"
    }  # fmt: skip
    for address in (addresses[page] for page in pages.split()):
        enter(opened, address)
        opened.evaluate(AXE.read_text("utf-8"))  # through the debugger: the page's own policy stays as strict as served
        found = opened.evaluate("axe.run({ resultTypes: ['violations'] })")
        told = [(rule["id"], [node["html"][:160] for node in rule["nodes"][:3]]) for rule in found["violations"]]
        assert told == [], address
        assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{address} scrolls sideways"
    context.close()
