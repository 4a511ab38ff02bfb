"""The documentation page in a real browser: drawn from this server's own document, under the strict content policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from endcap.server.routes import ROUTES
from served import serving

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}: install the chromium package")
def test_the_docs_page_draws_every_route_and_finds_one(tmp_path: Path) -> None:
    with serving(tmp_path) as running, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS.split())
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{running.url}/docs")
        page.wait_for_selector("main[aria-busy=false] article")
        assert page.locator("article").count() == len(ROUTES) == page.locator("nav a").count()
        page.get_by_label("Find a route").fill("bought-together")
        assert page.locator("article:visible h3").all_inner_texts() == ["GET /v1/items/{id}/bought-together"]
        browser.close()
    assert complaints == []
