"""The console in a real browser, over real HTTP, on real purchases, signed in with a real key.

``ENDCAP_SCREENSHOT=1 pytest tests/test_console.py`` also writes docs/images/console-*.png.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from endcap.config import Config, Rule
from endcap.demo import prepare
from served import Served, serving
from test_storefront import ARGUMENTS, AXE, CHROMIUM, IMAGES, playwright

NEWEST = 6_000
MOST_SCRIPT_BYTES = 60_000
RULES = [
    Rule(name="season", action="boost", filter={"brand": "Retrospot"}, starts_at="2020-01-01T00:00:00+00:00"),
    Rule(name="over", action="pin", items=["85123A"], ends_at="2020-01-01T00:00:00+00:00", placements=["home"]),
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"needs Chromium; none at {CHROMIUM}"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("console")
    prepare(directory, newest=NEWEST).close()
    config = msgspec.structs.replace(Config(), rules=RULES)
    with serving(directory, keys=True, config=config) as served:
        served.client.headers.update(served.headers("admin"))
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


def opened(browser: Any, shop: Served, complaints: list[str], **more: Any) -> Any:
    """A page of a new browser profile; what the browser complains about is noted, content policy violations too."""
    settings = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **more}
    page = browser.new_context(reduced_motion="reduce", base_url=shop.url, **settings).new_page()

    def hear(said: Any) -> None:
        if said.type in ("error", "warning") and "a status of 400" not in said.text:  # 400: a visitor typed nonsense
            complaints.append(said.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    return page


@pytest.fixture
def page(browser: Any, shop: Served) -> Iterator[Any]:
    """A signed-in page that must not complain."""
    complaints: list[str] = []
    found = opened(browser, shop, complaints)
    signed_in(found, shop)
    yield found
    found.context.close()
    assert complaints == []


def signed_in(page: Any, shop: Served) -> None:
    """Put the key where signing in puts it, before the first script runs."""
    page.add_init_script(f"sessionStorage.setItem('endcap.key', {json.dumps(shop.secrets['admin'])})")


def enter(page: Any, name: str, address: str = "") -> None:
    page.goto(address or f"/console/{name}")
    page.wait_for_selector(f"main[data-page={name}] h1")


def picture(page: Any, name: str) -> None:
    """A screenshot for the documentation, when one is wanted."""
    if os.environ.get("ENDCAP_SCREENSHOT"):
        IMAGES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=IMAGES / f"console-{name}.png")


def card(page: Any, name: str) -> Any:
    return page.locator(f"[data-card={name}]")


# ---------------------------------------------------------------- frame


def test_a_wrong_key_is_refused_and_an_admin_key_opens_the_console(browser: Any, shop: Served) -> None:
    page = opened(browser, shop, [])  # the browser notes the 401 that this test is about
    page.goto("/console")
    page.get_by_label("Admin key").fill("adm_" + "0" * 64)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("[role=alert]")
    assert "unknown, revoked or expired key" in page.locator("[role=alert]").inner_text()
    page.get_by_label("Admin key").fill(shop.secrets["admin"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("main[data-page=live]")
    assert page.evaluate("sessionStorage['endcap.key']") == shop.secrets["admin"]
    assert page.evaluate("JSON.stringify(localStorage)").count("adm_") == 0
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_selector("form.signin")
    assert page.evaluate("sessionStorage.length") == 0
    page.context.close()


def test_the_first_load_is_small_and_says_no_inline_script(shop: Served) -> None:
    """Every module reached from the page by import, gzipped; pages that are fetched when they are opened are not."""
    seen: dict[str, int] = {}
    queue = ["/static/console/main.js"]
    answer = shop.client.get("/console")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert re.findall(r"<script(?![^>]*src=)", answer.text) == []
    while queue:
        path = queue.pop()
        if path in seen:
            continue
        text = shop.client.get(path).text
        seen[path] = len(gzip.compress(text.encode()))
        for target in re.findall(r"""(?:from|import)\s*["'](\.[^"']+)["']""", text):
            queue.append(os.path.normpath(f"{os.path.dirname(path)}/{target}"))
    print(f"{sum(seen.values())} bytes of scripts, gzipped, in {len(seen)} files")
    assert "/static/vendor/uplot.js" in seen
    assert "/static/console/placements.js" not in seen
    assert sum(seen.values()) <= MOST_SCRIPT_BYTES


def test_both_languages_say_everything_and_every_key_used_exists(page: Any) -> None:
    enter(page, "live")
    folder = Path(__file__).parents[1] / "src" / "endcap" / "server" / "static" / "console"
    later = [f"/static/console/{file.name}" for file in folder.glob("*.js") if "say({" in file.read_text("utf-8")]
    page.evaluate("paths => Promise.all(paths.map(path => import(path)))", later)  # pages bring sentences of their own
    messages = page.evaluate("import('/static/console/messages.js').then(found => found.MESSAGES)")
    gaps = re.compile(r"\{\w+\}")
    for key, both in messages.items():
        english, chinese = both
        assert english, key
        assert chinese, key
        assert sorted(gaps.findall(english)) == sorted(gaps.findall(chinese)), key
    used = {key for file in folder.glob("*.js") for key in re.findall(r"\bt\(\"([\w.]+)\"", file.read_text("utf-8"))}
    assert used - set(messages) == set()


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_the_console_speaks_the_browsers_language_and_can_be_switched(browser: Any, shop: Served, locale: str) -> None:
    complaints: list[str] = []
    page = opened(browser, shop, complaints, locale=locale)
    signed_in(page, shop)
    enter(page, "live")
    mine, other = ("Live", "实时") if locale == "en-GB" else ("实时", "Live")
    assert page.locator("h1").inner_text() == mine
    page.locator(".tools select").nth(1).select_option("zh-CN" if locale == "en-GB" else "en")
    page.wait_for_function("word => document.querySelector('h1').innerText === word", arg=other)
    assert page.evaluate("document.documentElement.lang") == ("zh-CN" if locale == "en-GB" else "en")
    page.context.close()
    assert complaints == []


def test_colours_follow_the_system_until_they_are_chosen(browser: Any, shop: Served) -> None:
    complaints: list[str] = []
    page = opened(browser, shop, complaints, color_scheme="dark")
    signed_in(page, shop)
    enter(page, "live")
    shade = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(shade)
    page.get_by_label("Colours").select_option("light")
    light = page.evaluate(shade)
    assert light != dark
    page.reload()
    page.wait_for_selector("main[data-page=live] h1")
    assert page.evaluate(shade) == light
    page.context.close()
    assert complaints == []


def test_the_console_can_be_walked_through_with_the_keyboard(page: Any) -> None:
    enter(page, "live")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_role("navigation").get_by_role("link").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement?.tagName === 'H1'")


# ---------------------------------------------------------------- pages


def test_live_shows_events_as_they_arrive_and_what_was_refused(page: Any, shop: Served) -> None:
    enter(page, "live")
    page.wait_for_selector("[data-card=tail] tbody tr")
    shop.send({"type": "search", "anon_id": "live-visitor", "query": "a very particular lantern"})
    page.wait_for_selector("[data-card=tail] >> text=a very particular lantern")
    offset = int(card(page, "tail").locator("tbody tr").first.locator("td").first.inner_text())
    assert offset == shop.engine.offset
    shop.send({"type": "gaze", "anon_id": "live-visitor"})
    card(page, "quarantine").get_by_role("button", name="Refresh").click()
    page.wait_for_selector("[data-card=quarantine] >> text=unknown_type")
    page.wait_for_function("() => document.querySelectorAll('.figure dd')[5].innerText.replace(/\\D/g, '') > 0")
    page.evaluate("scrollTo(0, 0)")
    picture(page, "live")
    card(page, "rates").get_by_role("button", name="Show as table").click()
    assert card(page, "rates").locator("table tbody tr").count() >= 1


def test_the_debugger_tells_what_would_be_taken_and_stores_nothing(page: Any, shop: Served) -> None:
    enter(page, "live")
    before, refused = shop.engine.offset, len(shop.client.get("/v1/quarantine").json()["records"])
    debugger = card(page, "debugger")
    events = [
        {"type": "view", "anon_id": "d", "item_id": "no-such-item"},
        {"type": "gaze", "anon_id": "d", "item_id": "x"},
        {"type": "purchase", "anon_id": "d", "item_id": "no-such-item"},
    ]
    debugger.get_by_label("Event as JSON").fill(json.dumps(events))
    debugger.get_by_role("button", name="Check").click()
    page.wait_for_selector("[data-verdict]")
    assert debugger.locator("[data-verdict]").inner_text() == "2 would be taken, 1 refused."
    assert "unknown_type" in debugger.inner_text()
    assert "no-such-item" in debugger.locator(".notice.warn").inner_text()
    debugger.get_by_label("as if sent with a browser key").check()
    debugger.get_by_role("button", name="Check").click()
    page.wait_for_selector("[data-card=debugger] >> text=type_not_allowed")
    assert debugger.locator("[data-verdict]").inner_text() == "1 would be taken, 2 refused."
    debugger.get_by_label("Event as JSON").fill("{")
    debugger.get_by_role("button", name="Check").click()
    page.wait_for_selector("[data-card=debugger] [role=alert]", timeout=5_000)
    assert shop.engine.offset == before
    assert len(shop.client.get("/v1/quarantine").json()["records"]) == refused


def test_a_placement_shows_its_strategy_rules_and_a_list_with_its_score_trace(page: Any, shop: Served) -> None:
    items = [item["item_id"] for item in shop.client.get("/v1/items", params={"n": 3}).json()["items"]]
    shop.send(*[{"type": "view", "user_id": "preview-user", "item_id": item_id} for item_id in items])
    before = shop.engine.offset
    enter(page, "placements")
    page.get_by_role("combobox", name="Placement").select_option("home")
    page.wait_for_selector("[data-card=strategy] >> text=session_knn")
    states = card(page, "rules").locator("tbody tr").all_inner_texts()
    assert len(states) == 2
    assert "active" in states[0]
    assert "not active" in states[1]
    preview = card(page, "preview")
    preview.get_by_label("User id").fill("preview-user")
    preview.get_by_role("button", name="Show").click()
    page.wait_for_selector("[data-slate]")
    shown = preview.locator("tbody tr").count()
    slate = shop.client.post("/v1/recommend?shown=0", json={"user_id": "preview-user", "explain": True}).json()
    assert shown == len(slate["items"]) > 0
    first = preview.locator("tbody tr").first
    assert slate["items"][0]["item_id"] in first.inner_text()
    first.locator("summary").click()
    assert first.locator("dl.facts dt").count() == sum(1 for term in slate["items"][0]["trace"].values() if term)
    preview.get_by_label("Item id").fill("never-heard-of")
    preview.get_by_role("button", name="Why not this item?").click()
    page.wait_for_selector("[data-finding=unknown_item]")
    preview.scroll_into_view_if_needed()
    picture(page, "placements")
    assert shop.engine.offset == before  # nothing of this was logged as shown


# ---------------------------------------------------------------- text that others wrote

VECTORS = (
    "<script>{}</script>",
    "<img src=x onerror={}>",
    "<svg onload={}>",
    '"><script>{}</script>',
    "'><img src=x onerror={}>",
    "<iframe srcdoc='<script>parent.{}</script>'></iframe>",
    "<a href=javascript:{}>x</a>",
    "</title><script>{}</script>",
    "</textarea><script>{}</script>",
    "<body onload={}>",
    "<details open ontoggle={}>",
    "<math><mi xlink:href=javascript:{}>",
    "${{{}}}",
    "{{{{{}}}}}",
    "`${{{}}}`",
    "javascript:{}",
    "<input autofocus onfocus={}>",
    "<video><source onerror={}>",
    "<style>@import 'javascript:{}'</style>",
    "<object data=javascript:{}>",
    "<embed src=javascript:{}>",
    "<!--><script>{}</script>-->",
    "<marquee onstart={}>",
    "<base href=javascript:{}//>",
    "<form action=javascript:{}><button>x</button></form>",
    "<template><script>{}</script></template>",
    "\\u003cscript\\u003e{}\\u003c/script\\u003e",
    "&lt;script&gt;{}&lt;/script&gt;",
    "<scr<script>ipt>{}</script>",
    "%3Cscript%3E{}%3C/script%3E",
)
CALLS = ("alert(1)", "top.pwned=1", "document.body.dataset.pwned=1", "confirm(2)", "window['pwned']=1")
PAYLOADS = [vector.format(call) for vector in VECTORS for call in CALLS]


def test_150_payloads_stored_in_all_that_others_write_never_execute(browser: Any, shop: Served) -> None:
    assert len(set(PAYLOADS)) == 150
    items = [
        {"item_id": f"x{k}", "title": text, "brand": text, "categories": [[text]], "attributes": {"note": text}}
        for k, text in enumerate(PAYLOADS)
    ]
    assert shop.client.post("/v1/items", json=items).json()["accepted"] == 150
    complaints: list[str] = []
    page = opened(browser, shop, complaints)
    signed_in(page, shop)

    def untouched(address: str) -> None:
        marks = page.evaluate(
            "[window.pwned, document.body.dataset.pwned, document.querySelectorAll('main script').length]"
        )
        assert marks == [None, None, 0], address
        assert page.locator("main img, main svg, main iframe, main object, main embed").count() == 0, address

    for begin in range(0, 150, 50):
        events = [
            {
                "event_id": f"x{begin}-{k}", "type": "search", "anon_id": "<b>writer</b>", "query": text,
                "context": {"device": text, "region": text[:60]}, "props": {"user_agent": text},
            }
            for k, text in enumerate(PAYLOADS[begin : begin + 50])
        ]  # fmt: skip
        shop.send(*events, *[{"type": text, "anon_id": "w"} for text in PAYLOADS[begin : begin + 50]])
        enter(page, "live")
        page.wait_for_function(
            "texts => texts.every(text => document.querySelector('[data-card=tail]')?.innerText.includes(text))",
            arg=[text for text in PAYLOADS[begin : begin + 50] if "  " not in text],
        )
        page.wait_for_selector("[data-card=quarantine] tbody tr")
        untouched("/console/live")
    enter(page, "placements", "/console/placements/product")
    preview = card(page, "preview")
    for begin in range(0, 150, 10):
        preview.get_by_label("Items on the page").fill(", ".join(f"x{k}" for k in range(begin, begin + 10)))
        preview.get_by_label("User id").fill(PAYLOADS[begin])
        preview.get_by_role("button", name="Show").click()
        page.wait_for_selector("[data-slate], [role=alert]")
    untouched("/console/placements")
    page.context.close()
    assert complaints == []


# ---------------------------------------------------------------- accessibility

ADDRESSES = {"live": "/console/live", "placements": "/console/placements/home"}

LOADED = {"live": "[data-card=tail] tbody tr", "placements": "[data-card=strategy] .tag"}


@pytest.mark.parametrize(
    ("scheme", "width", "locale"), [("light", 1280, "en-GB"), ("dark", 1280, "zh-CN"), ("light", 390, "en-GB")]
)
def test_no_page_violates_an_accessibility_rule(
    browser: Any, shop: Served, scheme: str, width: int, locale: str
) -> None:
    complaints: list[str] = []
    page = opened(
        browser, shop, complaints, color_scheme=scheme, locale=locale, viewport={"width": width, "height": 900}
    )
    page.goto("/console")
    page.wait_for_selector("form.signin")
    assert violations(page) == [], "sign-in"
    complaints.clear()  # the 401 before signing in
    signed_in(page, shop)
    for name, address in ADDRESSES.items():
        enter(page, name, address)
        page.wait_for_load_state("load")
        page.wait_for_selector(LOADED[name])
        assert violations(page) == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{address} scrolls sideways"
    page.context.close()
    assert complaints == []


def violations(page: Any) -> list[Any]:
    page.evaluate(AXE.read_text("utf-8"))  # through the debugger: the page's own policy stays as strict as served
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [(rule["id"], [node["html"][:160] for node in rule["nodes"][:3]]) for rule in found["violations"]]
