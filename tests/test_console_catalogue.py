"""Catalogue, Users and Quality of the console in a real browser, over real HTTP, on real purchases.

``ENDCAP_SCREENSHOT=1 pytest tests/test_console_catalogue.py`` also writes docs/images/console-*.png. With
``ENDCAP_REPORT`` the report shown there is that file, as ``endcap evaluate --save`` wrote it.
"""

# ruff: noqa: F811  (fixtures of another file are imported by their names)

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import logs
from endcap.config import Config
from endcap.demo import prepare
from endcap.evaluation import saved
from endcap.evaluation.lane import FROZEN
from endcap.evaluation.plan import make_plan
from endcap.evaluation.replay import Delay, Replay
from endcap.evaluation.summary import summarise
from served import Served, serving
from test_console import PAYLOADS, browser, card, enter, opened, page, picture, signed_in, violations  # noqa: F401
from test_console import pytestmark as pytestmark

NEWEST = 3_000
VECTOR = {"vector": [1.0, 0.5], "encoder": "eye", "version": "1"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("console_catalogue")
    prepare(directory, newest=NEWEST).close()
    with serving(directory, keys=True) as served:
        served.client.headers.update(served.headers("admin"))
        yield served


@pytest.fixture(scope="module")
def shelf(shop: Served) -> list[dict[str, Any]]:
    """A few records of the shop, the best sellers among them."""
    found: list[dict[str, Any]] = shop.client.get("/v1/items", params={"n": 30}).json()["items"]
    return [item for item in found if item.get("title")]


@pytest.fixture(scope="module")
def report(shop: Served) -> str:
    """A kept evaluation report; gives its name."""
    directory = shop.engine.directory
    assert directory is not None
    if given := os.environ.get("ENDCAP_REPORT"):
        (directory / "reports").mkdir()
        shutil.copy(given, directory / "reports")
        return Path(given).stem
    data = logs.clustered(n_sessions=90)
    plan = make_plan(data, "prequential", "next", limit=150)
    models = ["covisit", "session_knn", "popular_1d"]
    run = Replay(data, plan, Config(), delays=[Delay("inf", FROZEN)], models=models).run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("endcap.evaluation.summary.SMALL", 1)  # the log is short: else no step of time would be drawn
        verdict = summarise(data, run, draws=20) | {"leaks": []}
    return saved.save(directory, verdict, "endcap evaluate --data <folder>", 1_790_000_000_000).stem


def person(shop: Served, who: str, items: list[dict[str, Any]]) -> None:
    """Somebody who looked at these items."""
    shop.send(*[{"type": "view", "user_id": who, "item_id": item["item_id"]} for item in items])


# ---------------------------------------------------------------- catalogue


def test_an_item_is_found_by_words_and_shows_its_record_and_neighbours(
    page: Any,
    shop: Served,
) -> None:
    trending = [one["item_id"] for one in shop.client.get("/v1/trending", params={"shown": 0}).json()["items"]]
    records = [shop.client.get(f"/v1/items/{item_id}").json() for item_id in trending]
    chosen = next(record for record in records if record.get("title"))
    put = shop.client.put(f"/v1/items/{chosen['item_id']}/vectors/image", json=VECTOR)
    assert put.status_code == 200, put.text
    enter(page, "catalogue")
    page.wait_for_selector("[data-card=items] tbody tr")
    assert card(page, "items").locator("tbody tr").count() == 50
    page.get_by_role("button", name="Further items").click()
    page.wait_for_function("() => document.querySelectorAll('[data-card=items] tbody tr').length === 100")
    enter(page, "catalogue", "/console/catalogue?q=lantern")
    page.wait_for_selector("[data-card=items] tbody tr")
    picture(page, "catalogue")
    words = " ".join(reversed(chosen["title"].lower().split()))
    page.get_by_label("Words of title or brand").fill(words)
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/catalogue?q=*")
    page.wait_for_selector("[data-card=items] h2:text('Items found')")
    page.wait_for_selector("[data-card=items] tbody tr")
    assert chosen["item_id"] in card(page, "items").locator("tbody tr").first.inner_text()
    page.get_by_role("link", name=chosen["item_id"], exact=True).first.click()
    page.wait_for_selector("[data-card=record]")
    assert page.locator("h1").inner_text() == chosen["title"]
    facts = card(page, "record").locator("dl.facts").inner_text()
    assert "in the catalogue" in facts
    assert "image" in facts
    assert card(page, "counts").locator("tbody tr").count() == 3
    neighbours = card(page, "neighbours")
    page.wait_for_selector("[data-card=neighbours] tbody tr")
    offered = neighbours.locator("option").all_inner_texts()
    assert "image" in offered
    assert "audio" not in offered  # no vector of that set: the answer would be an error
    before = shop.engine.offset
    for way in ("behaviour", "text", "all"):
        slate = shop.client.get(f"/v1/items/{chosen['item_id']}/similar", params={"by": way, "n": 12, "shown": 0})
        neighbours.get_by_label("Alike by").select_option(way)
        wanted = [one["item_id"] for one in slate.json()["items"]]
        page.wait_for_function(
            "ids => JSON.stringify([...document.querySelectorAll('[data-card=neighbours] tbody th code')]"
            ".map(one => one.textContent)) === ids",
            arg=json.dumps(wanted, separators=(",", ":")),
        )
    assert shop.engine.offset == before  # nothing of this was logged as shown
    page.evaluate("scrollTo(0, 0)")
    picture(page, "item")


def test_an_item_that_only_events_name_has_a_page_and_pictures_are_not_loaded_from_elsewhere(
    page: Any,
    shop: Served,
) -> None:
    shop.send({"type": "view", "anon_id": "v", "item_id": "only/in events?"})
    enter(page, "catalogue", "/console/catalogue/only%2Fin%20events%3F")
    page.wait_for_selector("[data-card=record] >> text=named by events only")
    addresses = ["https://cdn.example/a.png", "javascript:alert(1)", "/static/shop.svg", "data:image/svg+xml,<svg/>"]
    shop.client.put("/v1/items/pictured", json={"title": "Pictured", "image_urls": addresses})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    enter(page, "catalogue", "/console/catalogue/pictured")
    page.wait_for_selector("[data-card=record] img")
    assert [one.get_attribute("src") for one in page.locator("main img").all()] == [f"{shop.url}/static/shop.svg"]
    assert [one.get_attribute("href") for one in card(page, "record").locator("li a").all()] == addresses[:1]
    assert all(address.startswith(shop.url) for address in asked)


def test_the_quality_report_names_what_is_missing_and_leads_to_it(page: Any, shop: Served) -> None:
    shop.client.put("/v1/items/untitled", json={"price": 3})
    shop.send({"type": "view", "anon_id": "v", "item_id": "ghost"}, {"type": "gaze", "anon_id": "v"})
    enter(page, "catalogue")
    page.get_by_role("button", name="Check the catalogue").click()
    page.wait_for_selector("[data-quality]")
    quality = card(page, "quality")
    rows = {
        row.locator("[data-finding]").get_attribute("data-finding"): row for row in quality.locator("tbody tr").all()
    }
    served = {one["code"]: one for one in shop.client.get("/v1/quality").json()["findings"]}
    assert set(rows) == set(served)
    assert "ghost" in rows["unlisted"].inner_text()
    assert "untitled" in rows["no_title"].inner_text()
    assert "unknown_type" in quality.inner_text()
    quality.scroll_into_view_if_needed()
    picture(page, "data-quality")
    rows["no_title"].get_by_role("link", name="untitled").click()
    page.wait_for_selector("[data-card=record] >> text=untitled")


# ---------------------------------------------------------------- users


def test_a_person_is_found_and_a_deleted_tag_changes_what_they_are_shown(
    page: Any,
    shop: Served,
    shelf: list[dict[str, Any]],
) -> None:
    person(shop, "ann lee", shelf[:6])
    shop.client.put("/v1/users/ann%20lee", json={"traits": {"tier": "gold"}})
    enter(page, "users")
    page.get_by_label("Id", exact=True).fill("ann lee")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-card=interest] tbody tr")
    assert page.url.endswith("/console/users/ann%20lee")
    assert card(page, "timeline").locator("tbody tr").count() == 7
    assert "gold" in card(page, "timeline").inner_text()
    picture(page, "users")
    first = card(page, "interest").locator("[data-tags=item] tbody tr").first
    name = first.locator("code").inner_text()
    before = shop.client.post("/v1/recommend?shown=0", json={"user_id": "ann lee"}).json()["items"]
    first.get_by_role("button", name=f"Delete {name}").click()
    first.get_by_role("button", name="No").click()  # thought better of it
    assert name in {one["name"] for one in shop.client.get("/v1/users/ann%20lee/interest").json()["items"]}
    first.get_by_role("button", name=f"Delete {name}").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement?.textContent === 'No'")  # the harmless answer has the focus
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"[data-card=timeline] >> text=deleted the tag {name}")
    page.wait_for_function("() => document.activeElement?.closest('[data-tags=item]')")
    left = [one["name"] for one in shop.client.get("/v1/users/ann%20lee/interest").json()["items"]]
    assert name not in left
    assert len(left) == 5
    shown = card(page, "interest").locator("[data-tags=item] tbody code").all_inner_texts()
    assert shown == left
    after = shop.client.post("/v1/recommend?shown=0", json={"user_id": "ann lee"}).json()["items"]
    assert [(one["item_id"], one["score"]) for one in before] != [(one["item_id"], one["score"]) for one in after]
    page.get_by_role("link", name="The list this person gets now").click()
    page.wait_for_selector("main[data-page=placements] [data-card=preview]")
    assert card(page, "preview").get_by_label("User id").input_value() == "ann lee"


def test_the_timeline_goes_back_page_by_page(page: Any, shop: Served, shelf: list[dict[str, Any]]) -> None:
    shop.send(
        *[
            {"type": "view", "anon_id": "old", "item_id": shelf[k % 9]["item_id"], "event_id": f"old{k}"}
            for k in range(30)
        ]
    )
    enter(page, "users", "/console/users/old?anon=1")
    page.wait_for_selector("[data-card=timeline] tbody tr")
    assert card(page, "timeline").locator("tbody tr").count() == 25
    page.get_by_role("button", name="Older events").click()
    page.wait_for_function("() => document.querySelectorAll('[data-card=timeline] tbody tr').length === 30")
    assert page.get_by_role("button", name="Older events").count() == 0


def test_a_copy_is_downloaded_and_erasing_asks_first(page: Any, shop: Served, shelf: list[dict[str, Any]]) -> None:
    person(shop, "leaver", shelf[:3])
    enter(page, "users", "/console/users/leaver")
    rights = card(page, "rights")
    with page.expect_download() as download:
        rights.get_by_role("button", name="Download all that is held").click()
    copy = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert [event["item_id"] for event in copy["events"]] == [item["item_id"] for item in shelf[:3]]
    rights.get_by_role("button", name="Erase this person").click()
    assert len(shop.client.get("/v1/users/leaver/events").json()["events"]) == 3  # not before the question is answered
    rights.get_by_role("button", name="Yes, do it").click()
    page.wait_for_selector("[data-receipt^='erase:']", timeout=120_000)
    page.wait_for_selector("[data-unknown]")
    assert shop.client.get("/v1/users/leaver/events").json() == {"events": []}
    assert card(page, "interest").count() == 0


# ---------------------------------------------------------------- quality


def test_without_a_report_the_page_says_what_makes_one(page: Any, shop: Served) -> None:
    if (Path(str(shop.engine.directory)) / "reports").exists():
        pytest.skip("a report was kept before: this test runs first or alone")
    enter(page, "quality")
    page.wait_for_selector("[data-card=reports] pre")
    assert f"--save {shop.engine.directory}" in card(page, "reports").locator("pre").inner_text()
    page.wait_for_selector("[data-card=stored] >> text=endcap train")


def test_a_kept_report_is_shown_with_its_intervals_and_curve(page: Any, shop: Served, report: str) -> None:
    verdict = shop.client.get(f"/v1/reports/{report}").json()["verdict"]
    enter(page, "quality")
    page.wait_for_selector(f"[data-report='{report}']")
    models = card(page, "models")
    assert models.locator("tbody tr").count() == len(verdict["models"])
    best = max(verdict["models"], key=lambda name: float(verdict["models"][name]["hr@20"]))
    row = models.locator("tbody tr").first.inner_text()
    low, high = verdict["models"][best]["ci"]["hr@20"]
    assert best in row
    assert f"{low:.3f}".rstrip("0").rstrip(".") in row
    assert f"{high:.3f}".rstrip("0").rstrip(".") in row
    assert card(page, "gains").locator("tbody tr").count() == len(verdict["gains"]["hr@20"])
    assert card(page, "slices").locator("tbody tr").count() == len(verdict["slices"])
    page.wait_for_selector("[data-card=curve] canvas")
    page.set_viewport_size({"width": 1280, "height": 1300})
    page.evaluate("() => document.querySelector('[data-report]').scrollIntoView()")
    picture(page, "quality")
    card(page, "curve").get_by_role("button", name="Show as table").click()
    assert card(page, "curve").locator("tbody tr").count() == len(verdict["curve"]["ts"])
    page.get_by_role("link", name="All about them").click()
    page.wait_for_selector("main[data-page=models] h1")


# ---------------------------------------------------------------- all three


@pytest.mark.slow  # twenty pages
def test_150_payloads_in_records_brands_queries_and_agents_never_execute(
    browser: Any,
    shop: Served,
    report: str,
) -> None:
    items = [
        {"item_id": f"x{k}", "title": text, "brand": text, "categories": [[text]], "image_urls": [text],
         "attributes": {"note": text}}
        for k, text in enumerate(PAYLOADS)
    ]  # fmt: skip
    assert shop.client.post("/v1/items", json=items).json()["accepted"] == 150
    shop.send(*[{"type": "view", "user_id": text, "item_id": f"x{k}"} for k, text in enumerate(PAYLOADS)])
    shop.send(
        *[{"type": "view", "user_id": "reader", "item_id": f"x{k}"} for k in range(0, 150, 3)],
        *[
            {"type": "search", "user_id": "reader", "query": text, "context": {"device": text},
             "props": {"user_agent": text}}
            for text in PAYLOADS
        ],
    )  # fmt: skip
    shop.send(*[{"type": text, "anon_id": "w"} for text in PAYLOADS])
    directory = shop.engine.directory
    assert directory is not None
    verdict = saved.load(directory, report).verdict
    hostile = verdict | {
        "data": {"name": PAYLOADS[0], "hash": ""}, "protocol": PAYLOADS[1], "target": PAYLOADS[2],
        "leaks": PAYLOADS[:5],
        "models": {**verdict["models"], **dict.fromkeys(PAYLOADS[5:], verdict["models"]["hybrid"])},
    }  # fmt: skip
    complaints: list[str] = []
    page = opened(browser, shop, complaints)
    signed_in(page, shop)

    def untouched(address: str, pictures: int = 0) -> None:
        marks = page.evaluate(
            "[window.pwned, document.body.dataset.pwned, document.querySelectorAll('main script').length]"
        )
        assert marks == [None, None, 0], address
        assert page.locator("main svg, main iframe, main object, main embed").count() == 0, address
        assert page.locator("main a[href^='javascript:' i], main img").count() == pictures, address

    enter(page, "catalogue", "/console/catalogue?q=x")
    page.wait_for_selector("[data-card=items] tbody tr")
    while page.get_by_role("button", name="Further items").count():
        shown = page.locator("[data-card=items] tbody tr").count()
        page.get_by_role("button", name="Further items").click()
        page.wait_for_function(
            "n => document.querySelectorAll('[data-card=items] tbody tr').length > n"
            " || !document.querySelector('[data-card=items] p button')", arg=shown,
        )  # fmt: skip
    text = page.locator("[data-card=items]").inner_text()
    assert all(payload in text for payload in PAYLOADS if "  " not in payload)
    page.get_by_role("button", name="Check the catalogue").click()
    page.wait_for_selector("[data-quality]")
    untouched("/console/catalogue")
    for k in range(0, 150, 25):
        enter(page, "catalogue", f"/console/catalogue/x{k}")
        page.wait_for_selector("[data-card=neighbours] [role=status]")
        page.locator("main h1", has_text=PAYLOADS[k]).wait_for()
        untouched(f"/console/catalogue/x{k}")
    enter(page, "users", "/console/users/reader")
    page.wait_for_selector("[data-card=timeline] tbody tr")
    while page.get_by_role("button", name="Older events").count():
        shown = page.locator("[data-card=timeline] tbody tr").count()
        page.get_by_role("button", name="Older events").click()
        page.wait_for_function(
            "n => document.querySelectorAll('[data-card=timeline] tbody tr').length > n"
            " || !document.querySelector('[data-card=timeline] p button')", arg=shown,
        )  # fmt: skip
    untouched("/console/users/reader")
    for k in range(0, 150, 25):
        page.get_by_label("Id", exact=True).fill(PAYLOADS[k])
        page.get_by_role("button", name="Show", exact=True).click()
        page.locator("main h1", has_text=PAYLOADS[k]).wait_for()
        page.wait_for_selector("[data-card=interest]")
        untouched(f"/console/users/{PAYLOADS[k]}")
    name = saved.save(directory, hostile, PAYLOADS[3], 1_790_000_001_000).stem
    enter(page, "quality", f"/console/quality/{name}")
    page.wait_for_selector("[data-card=models] tbody tr")
    untouched("/console/quality")
    (directory / "reports" / f"{name}.json").unlink()
    page.context.close()
    assert complaints == []


@pytest.mark.slow  # three times five pages
@pytest.mark.parametrize(
    ("scheme", "width", "locale"), [("light", 1280, "en-GB"), ("dark", 1280, "zh-CN"), ("light", 390, "en-GB")]
)
def test_no_page_violates_an_accessibility_rule(
    browser: Any, shop: Served, shelf: list[dict[str, Any]], report: str,
    scheme: str, width: int, locale: str,
) -> None:  # fmt: skip
    person(shop, f"seen-{scheme}-{width}", shelf[:5])
    item = shelf[0]["item_id"]
    complaints: list[str] = []
    page = opened(
        browser, shop, complaints, color_scheme=scheme, locale=locale, viewport={"width": width, "height": 900}
    )
    signed_in(page, shop)
    for name, address, loaded in (
        ("catalogue", "/console/catalogue", "[data-card=items] tbody tr"),
        ("catalogue", f"/console/catalogue/{item}", "[data-card=neighbours] tbody tr"),
        ("users", "/console/users", "[data-card=find] input"),
        ("users", f"/console/users/seen-{scheme}-{width}", "[data-card=interest] tbody tr"),
        ("quality", f"/console/quality/{report}", "[data-card=curve] canvas"),
    ):
        enter(page, name, address)
        page.wait_for_selector(loaded)
        if address == "/console/catalogue":
            card(page, "quality").get_by_role("button").click()
            page.wait_for_selector("[data-quality]")
        if "/users/" in address:
            card(page, "interest").get_by_role("button").first.click()  # the question before deleting
        assert violations(page) == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{address} scrolls sideways"
        assert not page.evaluate(
            "document.body.innerText.match(/\\b(catalogue|near|quality|users|tags|timeline|rights|reports|stored)\\.[a-z_.]+/)"
        ), address
    page.context.close()
    assert complaints == []
