"""The console's pages for those who run the server: Experiments, Models, System. A real browser, real files.

``ENDCAP_SCREENSHOT=1 pytest tests/test_console_operating.py`` also writes docs/images/console-*.png.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from endcap.config import Config, FeedConfig, IntakeConfig, LearningConfig, LogConfig, Rule
from endcap.engine import Engine
from endcap.learning.rankers import save_trees
from endcap.learning.store import ModelStore
from endcap.learning.train import train_and_judge
from endcap.runtime import Runtime, VirtualClock
from endcap.server.experiments import Results, results, start_in, stop_in
from endcap.server.trend import Trend, point_of, units_of
from endcap.stores.memory import MemoryLog
from endcap.types import Item
from served import Served, serving
from test_console import PAYLOADS, browser, card, enter, opened, page, picture, signed_in, violations  # noqa: F401
from test_console import pytestmark as pytestmark
from test_experiments import experiment
from test_experiments_served import wait_until
from test_scoreboard import Deed, outcomes, slots_of
from test_train import START_MS
from test_train import shop as small_shop

CONFIG = Config(
    log=LogConfig(durability="os"),
    learning=LearningConfig(trees=8, leaves=4, queries=300, window_d=60.0),
    intake=IntakeConfig(shopify_secret="a-secret-of-shopify"),
)
HOUR_MS = 3_600_000
STEPS = 24


def trained(directory: Path, log: MemoryLog) -> None:
    """A data directory with a log and a training's models, the ranker of which was stored and promoted twice."""
    with Engine.open(directory, CONFIG, Runtime(VirtualClock(START_MS))) as engine:
        engine.observe([stored.event for stored in log.read(0, 100_000)])
        engine.put_items([Item(item_id=f"i{k}", title=f"Lantern number {k}") for k in range(60)])
        columns = engine.columns
    outcome, store = train_and_judge(log, directory, CONFIG, force=True), ModelStore(directory)
    again = store.save(lambda path: path.write_bytes(store.path(outcome.number).read_bytes()))
    store.promote(again, columns)


def compared(served: Served, name: str, lift: float, seed: int) -> None:
    """An experiment whose shoppers came little by little, with a point noted at each step."""
    engine, directory = served.engine, served.engine.directory
    assert directory is not None
    now, choose = engine.runtime.now(), random.Random(seed)
    begun = now - STEPS * HOUR_MS
    one = start_in(directory, experiment(name=name, share=0.5), CONFIG.placements, engine.columns, begun)
    trend, state = Trend(directory), engine.state
    labels = [state.labels.intern(f"variant:{name}/{variant}") for variant in one.variants]
    first, each = len(state.users) + 1_000 * seed, 40
    state.scoreboard.grow(first + STEPS * each, 0)
    slots = slots_of(*((first + k, labels[k % 2]) for k in range(STEPS * each)))
    for step in range(STEPS):
        deeds = []
        for k in range(step * each, (step + 1) * each):
            deeds.append(Deed(k))
            if choose.random() < 0.5 + lift * (k % 2):
                deeds.append(Deed(k, 0, "click", 1.0))
        state.scoreboard.fold(outcomes(deeds, slots))
        found = results(one, state)
        assert isinstance(found, Results)
        point = point_of(found.variants, units_of(one, state), begun + (step + 1) * HOUR_MS)
        trend.note(name, point)


def skewed(served: Served) -> None:
    """An A/A experiment all of whose shoppers came to one variant."""
    engine, directory = served.engine, served.engine.directory
    assert directory is not None
    alike = experiment(name="skewed", placement="trending", kind="aa", variants={n: {"weight": 0.5} for n in "ab"})
    start_in(directory, alike, CONFIG.placements, engine.columns, engine.runtime.now())
    label, first = engine.state.labels.intern("variant:skewed/a"), 10_000
    engine.state.labels.intern("variant:skewed/b")
    engine.state.scoreboard.grow(first + 400, 0)
    slots = slots_of(*((first + k, label) for k in range(400)))
    engine.state.scoreboard.fold(outcomes([Deed(k) for k in range(400)], slots))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("operating")
    trained(directory, small_shop())
    with serving(directory, keys=True, config=CONFIG) as served:
        served.client.headers.update(served.headers("admin"))
        service = served.server.service
        service.sources = {"learning.trees": "endcap.toml", "intake.shopify_secret": "ENDCAP_INTAKE__SHOPIFY_SECRET"}
        compared(served, "wider-home", 0.4, 1)
        trial = experiment(name="over", placement="cart", share=1.0)
        begun = served.engine.runtime.now() - 9 * STEPS * HOUR_MS
        start_in(directory, trial, CONFIG.placements, served.engine.columns, begun)
        stop_in(directory, "over", "it was a trial", begun + HOUR_MS)
        skewed(served)
        mixed = experiment(name="mixed", placement="email", kind="interleave")
        start_in(directory, mixed, CONFIG.placements, served.engine.columns, served.engine.runtime.now())
        wait_until(lambda: len(served.engine.experiments.all()) == 4)  # the server follows the file once a second
        yield served


# ---------------------------------------------------------------- experiments


def test_an_experiment_shows_who_won_how_sure_that_is_and_since_when(page: Any, shop: Served) -> None:  # noqa: F811
    enter(page, "experiments", "/console/experiments/wider-home")
    page.wait_for_selector("[data-card=results] tbody tr")
    view = shop.client.get("/v1/experiments/wider-home").json()["results"]
    range_ = view["variants"]["wide"]["reward_difference"]
    assert range_["low"] > 0, "the shop was made so that wide wins"
    results_ = card(page, "results")
    assert results_.locator("[data-winner]").inner_text() == "wide is better than now. You may stop and keep it."
    assert results_.locator("[data-sample=fine]").count() == 1
    row = results_.locator("tbody tr").nth(1).inner_text()
    assert f"+{range_['value']:.4f}".rstrip("0") in row
    assert "better" in row
    assert "diversity = 0.6" in row
    chart = card(page, "history").locator("[role=img]")
    assert "difference: " in chart.get_attribute("aria-label")
    assert chart.locator("canvas").count() == 1
    results_.evaluate("card => card.scrollIntoView()")
    picture(page, "experiments")
    card(page, "history").get_by_role("button", name="Show as table").click()
    assert card(page, "history").locator("tbody tr").count() == STEPS + 1, "every point and the present"
    page.get_by_role("link", name="over").click()
    page.wait_for_selector("[data-card=about] >> text=it was a trial")
    assert page.get_by_role("button", name="Stop this experiment").count() == 0


def test_a_sample_ratio_alarm_and_an_interleaving_are_told(page: Any, shop: Served) -> None:  # noqa: F811
    enter(page, "experiments", "/console/experiments/skewed")
    page.wait_for_selector("[data-sample=alarm]")
    assert "Believe nothing below" in card(page, "results").inner_text()
    assert "too little to say" in card(page, "results").inner_text()
    assert "No point yet" in card(page, "history").inner_text()
    page.get_by_role("link", name="mixed").click()
    page.wait_for_selector("[data-card=about] >> text=interleaving")
    won = "Of 0 lists with a winner, now won – (95 % range 0 % to 100 %); 0 ties."
    assert won in card(page, "results").locator("[data-winner]").inner_text()


def test_an_experiment_is_started_and_stopped_from_the_page(page: Any, shop: Served) -> None:  # noqa: F811
    enter(page, "experiments")
    form = card(page, "start")
    form.get_by_label("Experiment", exact=True).fill("from-the-page")
    form.get_by_label("Placement").select_option("product")
    form.get_by_label("Share of traffic").fill("50")
    form.get_by_label("Settings that differ").fill('{"diversty": 1}')
    form.get_by_role("button", name="Start").click()
    page.wait_for_selector("[data-card=start] [role=alert]")
    assert "did you mean" in form.locator("[role=alert]").inner_text()
    form.get_by_label("Settings that differ").fill('{"diversity": 0.9}')
    form.get_by_role("button", name="Start").click()
    page.wait_for_selector("[data-card=about] >> text=from-the-page")
    assert page.url.endswith("/console/experiments/from-the-page")
    made = shop.engine.experiments.get("from-the-page")
    assert (made.share, made.placement, made.variants["new"].settings) == (0.5, "product", {"diversity": 0.9})
    about = card(page, "about")
    about.get_by_label("Reason").fill("seen enough")
    about.get_by_role("button", name="Stop this experiment").click()
    about.get_by_role("button", name="No").click()
    assert shop.engine.experiments.get("from-the-page").running
    about.get_by_role("button", name="Stop this experiment").click()
    about.get_by_role("button", name="Yes, do it").click()
    page.wait_for_selector("[data-card=about] >> text=seen enough")
    assert shop.engine.experiments.get("from-the-page").stopped == "seen enough"


# ---------------------------------------------------------------- models


def serving_number(page: Any, kind: str) -> str:  # noqa: F811
    row = card(page, "serving").locator("tbody tr").filter(has=page.locator(f"th:text-is('{kind}')"))
    return str(row.locator("td").first.inner_text())


def test_a_model_is_rolled_back_and_promoted_again(page: Any, shop: Served) -> None:  # noqa: F811
    assert shop.engine.directory is not None
    store = ModelStore(shop.engine.directory)
    newest, before = store.serving(), store.history()[-2]
    enter(page, "models")
    page.wait_for_selector("[data-card=stored] tbody tr")
    stored = card(page, "stored")
    assert stored.locator("tbody tr").count() == len(store.numbers()) == 3
    gate = store.model(newest, shop.engine.columns).meta["gate"]
    word = "passed" if gate["passed"] else "worse"
    assert stored.locator(f"tr:has(th:text-is('{newest}')) [data-gate={word}]").count() == 1
    assert f"{gate['queries']} requests" in stored.inner_text()
    assert serving_number(page, "ranker") == str(newest)
    page.evaluate("scrollTo(0, 0)")
    picture(page, "models")
    card(page, "serving").get_by_role("button", name="Roll back: ranker").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement?.innerText === 'No'")
    assert f"Return to {before}?" in card(page, "serving").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement?.innerText === 'Roll back: ranker'")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement?.innerText === 'No'")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"[data-card=stored] >> text=Promote {newest}")
    assert serving_number(page, "ranker") == str(before)
    assert shop.slate(user_id="u1", n=3)["versions"]["ranker"] == f"trees-{before}"
    stored.get_by_role("button", name=f"Promote {newest}", exact=True).click()
    stored.get_by_role("button", name="Yes, do it").click()
    page.wait_for_selector(f"[data-card=stored] >> text=Promote {before}")
    assert store.serving() == newest
    assert shop.slate(user_id="u1", n=3)["versions"]["ranker"] == f"trees-{newest}"


@pytest.mark.slow
def test_a_training_is_started_and_followed_to_its_end(page: Any, shop: Served) -> None:  # noqa: F811
    assert shop.engine.directory is not None
    store = ModelStore(shop.engine.directory)
    enter(page, "models")
    training = card(page, "training")
    training.get_by_role("combobox", name="What").select_option("factors")
    training.get_by_role("button", name="Start a training").click()
    page.wait_for_selector("[data-training=runs]")
    assert training.get_by_role("button", name="Start a training").is_disabled()
    second = shop.client.post("/v1/models/training", json={})
    assert second.status_code == 400
    assert "a training runs already" in second.json()["error"]["message"]
    page.wait_for_selector("[data-training=done]", timeout=120_000)
    made = max(store.numbers())
    assert "factors" in training.locator("pre").inner_text()
    page.wait_for_function(
        "n => [...document.querySelectorAll('[data-card=serving] td')].some(td => td.innerText == n)", arg=made
    )
    assert serving_number(page, "factors") == str(made)


# ---------------------------------------------------------------- system


def test_system_shows_log_snapshots_memory_settings_and_checks(page: Any, shop: Served) -> None:  # noqa: F811
    enter(page, "system")
    page.wait_for_selector("[data-card=doctor] tbody tr")
    page.wait_for_selector("[data-card=memory] tbody tr")
    system = shop.client.get("/v1/system").json()
    assert f"{system['log']['events']:,}" in page.locator(".figures").inner_text()
    assert card(page, "memory").locator("tbody tr").count() == len(system["memory"]["parts"])
    assert set(shop.engine.state.parts()) <= set(system["memory"]["parts"])
    assert card(page, "encoders").locator("tbody tr").count() == 3
    assert card(page, "doctor").locator("[data-level=ok]").count() >= 4
    page.evaluate("scrollTo(0, 0)")
    picture(page, "system")
    settings = card(page, "settings")
    assert "a-secret-of-shopify" not in settings.inner_text()
    settings.get_by_label("only what differs").check()
    assert settings.locator("tbody tr").all_inner_texts() == [
        "intake.shopify_secret\t(set)\tENDCAP_INTAKE__SHOPIFY_SECRET", "learning.trees\t8\tendcap.toml",
    ]  # fmt: skip
    settings.get_by_label("Find").fill("TREES")
    assert settings.locator("tbody tr").count() == 1


def test_a_snapshot_is_made_from_the_page(page: Any, shop: Served) -> None:  # noqa: F811
    shop.send({"type": "view", "anon_id": "s", "item_id": "i1"})
    enter(page, "system")
    card(page, "snapshots").get_by_role("button", name="Make a snapshot now").click()
    page.wait_for_selector(f"[data-card=snapshots] >> text={shop.engine.offset:,}")
    newest = shop.client.get("/v1/system").json()["snapshots"][0]
    assert newest["offset"] == shop.engine.offset
    assert newest["bytes"] > 1_000


# ---------------------------------------------------------------- what holds of all three

ADDRESSES = {
    "experiments": ("/console/experiments/wider-home", "[data-card=history] canvas"),
    "models": ("/console/models", "[data-card=stored] tbody tr"),
    "system": ("/console/system", "[data-card=doctor] tbody tr"),
}


@pytest.mark.parametrize(
    ("scheme", "width", "locale"), [("light", 1280, "en-GB"), ("dark", 1280, "zh-CN"), ("light", 390, "en-GB")]
)
def test_no_page_violates_an_accessibility_rule(
    browser: Any,  # noqa: F811
    shop: Served,
    scheme: str,
    width: int,
    locale: str,
) -> None:
    complaints: list[str] = []
    size = {"width": width, "height": 900}
    found = opened(browser, shop, complaints, color_scheme=scheme, locale=locale, viewport=size)
    signed_in(found, shop)
    for name, (address, loaded) in ADDRESSES.items():
        enter(found, name, address)
        found.wait_for_selector(loaded)
        assert violations(found) == [], address
        assert found.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{address} scrolls sideways"
    found.context.close()
    assert complaints == []


def test_the_focus_moves_to_the_heading_of_a_page_that_is_fetched_first(page: Any, shop: Served) -> None:  # noqa: F811
    enter(page, "live")
    page.get_by_role("navigation").get_by_role("link", name="System").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("main[data-page=system] h1")
    page.wait_for_function("() => document.activeElement?.tagName === 'H1'")


def test_150_payloads_in_all_that_these_pages_show_never_execute(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    rules = [Rule(name=text, action="boost", items=[text]) for text in PAYLOADS]
    feeds = [FeedConfig(name="f", url="http://user:hidden-word@127.0.0.1:9/feed?token=hidden-token", every_min=1e9)]
    config = Config(log=LogConfig(durability="os"), static_items=PAYLOADS, rules=rules, feeds=feeds)
    with serving(tmp_path, keys=True, config=config) as served:
        served.client.headers.update(served.headers("admin"))
        served.server.service.sources = dict(zip(["static_items", "rules", "server.port"], PAYLOADS, strict=False))
        store, columns = ModelStore(tmp_path), served.engine.columns
        for text in PAYLOADS[:10]:
            meta = {"file": text, "gate": {"new": text, "old": text, "queries": text}, "all": PAYLOADS}
            store.save(partial(save_trees, heads=[], columns=columns, meta=meta))
        groups = [PAYLOADS[k : k + 10] for k in range(0, 150, 10)]
        for k, texts in enumerate(groups):
            settings = {"filter": {"in": {"brand": texts}}}
            variants = {"a": {"weight": 0.5}, "b": {"weight": 0.5, "settings": settings}}
            start_in(tmp_path, experiment(name=f"x{k}", variants=variants), config.placements, columns, k + 1)
            stop_in(tmp_path, f"x{k}", " ".join(texts)[:500], k + 2)
        wait_until(lambda: len(served.engine.experiments.all()) == len(groups))
        served.send(*[{"type": text, "anon_id": "w"} for text in PAYLOADS])
        complaints: list[str] = []
        found = opened(browser, served, complaints)
        signed_in(found, served)
        for name, address, shown in (
            ("models", "/console/models", "[data-card=stored] tbody tr"),
            ("system", "/console/system", "[data-card=settings] tbody tr"),
            *(("experiments", f"/console/experiments/x{k}", "[data-card=about] dd") for k in range(len(groups))),
        ):
            enter(found, name, address)
            found.wait_for_selector(shown)
            for summary in found.locator("main summary").all():
                summary.click()
            marks = "[window.pwned, document.body.dataset.pwned, document.querySelectorAll('main script').length]"
            assert found.evaluate(marks) == [None, None, 0], address
            assert found.locator("main img, main svg, main iframe, main object, main embed").count() == 0, address
            if name == "system":
                text = found.locator("main").inner_text()
                assert PAYLOADS[0] in text
                assert "hidden-word" not in text
                assert "hidden-token" not in text
        found.context.close()
        assert complaints == []
