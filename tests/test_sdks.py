"""The real Segment and RudderStack libraries against a real server, in Chromium and in Node."""

from __future__ import annotations

import functools
import http.server
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from endcap.types import Interaction
from sdks import installed
from served import Served, serving

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
PLUGINS = json.dumps({"Segment.io": True})


@pytest.fixture(scope="module")
def libraries() -> Path:
    found = installed()
    if isinstance(found, str):
        pytest.skip(f"the libraries are not there: {found}")
    return found


@contextmanager
def shop(folder: Path, pages: dict[str, str]) -> Iterator[str]:
    """A web shop on an origin of its own: the folder of the libraries, and some pages."""

    class Pages(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            page = "" if self.path == "/favicon.ico" else pages.get(self.path.partition("?")[0])
            if page is None:
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Pages, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def arrived(served: Served, wanted: int) -> list[Interaction]:
    """The interactions in the log, once there are ``wanted`` or after ten seconds."""
    deadline = time.monotonic() + 10
    while True:
        found = [entry.event for entry in served.engine.log.read(0, 1_000) if isinstance(entry.event, Interaction)]
        if len(found) >= wanted or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def browse(url: str, done: str) -> list[str]:
    """Open a page in Chromium, wait until ``done`` holds; gives what the console complained of."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: install the chromium package")
    complaints: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS.split())
        page = browser.new_page(timezone_id="Asia/Shanghai", locale="en-GB")
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        try:
            page.wait_for_function(done, timeout=10_000)
            page.wait_for_timeout(500)
        except sync_api.TimeoutError:
            complaints.append(f"{done} did not hold")
        browser.close()
    return complaints


SEGMENT_PAGE = """<!doctype html><title>Shop</title>
<script src="/node_modules/@segment/analytics-next/dist/umd/index.js"></script><script>(async () => {
  const [loaded] = await AnalyticsNext.AnalyticsBrowser.load(
    {writeKey: "KEY", cdnSettings: {integrations: {"Segment.io": {apiKey: "KEY"}}, plan: {}}},
    {integrations: {"Segment.io": {apiHost: "HOST/v1", protocol: "http", deliveryStrategy: STRATEGY}}});
  await loaded.page();
  await loaded.track("Product Viewed", {product_id: "tea", name: "Tea", price: 3.5, currency: "EUR", position: 2});
  await loaded.track("Product Added", {product_id: "tea", quantity: 2});
  await loaded.track("Order Completed", {order_id: "o1", products: [{product_id: "tea"}, {product_id: "mug"}]});
  await loaded.identify("user-1", {plan: "gold", email: "jane@example.com"});
  window.finished = true;
})();</script>"""


@pytest.mark.browser
@pytest.mark.parametrize("strategy", ["{}", '{strategy: "batching", config: {size: 2, timeout: 200}}'])
def test_segments_browser_library_delivers(tmp_path: Path, libraries: Path, strategy: str) -> None:
    with shop(libraries, pages := {}) as origin, serving(tmp_path, keys=True, allow_origins=[origin]) as served:
        assert served.ring is not None
        _, key = served.ring.create("browser", allow=["purchase"], user_ids=True)
        host = served.url.removeprefix("http://")
        pages["/"] = SEGMENT_PAGE.replace("KEY", key).replace("HOST", host).replace("STRATEGY", strategy)
        complaints = browse(f"{origin}/", "window.finished")
        events = arrived(served, 6)
        assert complaints == []
        assert sorted(event.type for event in events) == [
            "cart_add", "custom", "home_view", "purchase", "purchase", "view",
        ]  # fmt: skip
        view = next(event for event in events if event.type == "view")
        assert (view.item_id, view.price, view.currency, view.position) == ("tea", 3.5, "EUR", 1)
        assert view.context is not None
        assert (view.context.device, view.context.locale) == ("desktop", "en-GB")
        assert view.context.utc_offset_min == 480
        assert len({event.anon_id for event in events}) == 1
        assert served.engine.user("user-1").traits == {"plan": "gold"}


RUDDER_PAGE = """<!doctype html><title>Shop</title>
<script src="/node_modules/@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js"></script><script>
  const analytics = new rudderanalytics.RudderAnalytics();
  analytics.load("KEY", "HOST", {configUrl: "HOST", storage: {encryption: {version: "legacy"}}});
  analytics.ready(() => { window.ready = true; });
  analytics.page();
  analytics.track("Product Viewed", {product_id: "tea", price: 3.5, currency: "EUR", position: 2});
  analytics.track("Order Completed", {order_id: "o1", products: [{product_id: "tea"}, {product_id: "mug"}]});
  analytics.identify("user-1", {plan: "gold", email: "jane@example.com"});
</script>"""


@pytest.mark.browser
def test_rudderstacks_browser_library_delivers(tmp_path: Path, libraries: Path) -> None:
    with shop(libraries, pages := {}) as origin, serving(tmp_path, keys=True, allow_origins=[origin]) as served:
        assert served.ring is not None
        _, key = served.ring.create("browser", allow=["purchase"], user_ids=True)
        pages["/"] = RUDDER_PAGE.replace("KEY", key).replace("HOST", served.url)
        complaints = browse(f"{origin}/", "window.ready")
        events = arrived(served, 5)
        assert complaints == []
        assert sorted(event.type for event in events) == ["custom", "home_view", "purchase", "purchase", "view"]
        assert len({event.session_id for event in events}) == 1
        assert next(event for event in events if event.type == "view").position == 1
        assert served.engine.user("user-1").traits == {"plan": "gold"}


NODE = """
const {Analytics} = require('@segment/analytics-node');
const analytics = new Analytics({writeKey: process.argv[1], host: process.argv[2], flushAt: 3, maxRetries: 0});
analytics.on('error', (problem) => { console.error(problem); process.exitCode = 1; });
analytics.track({userId: 'u1', event: 'Product Viewed', properties: {product_id: 'tea', name: 'Tea'}});
analytics.track({userId: 'u1', event: 'Order Completed', properties: {order_id: 'o1',
  products: [{product_id: 'tea', quantity: 2, price: 3.5}, {product_id: 'mug'}]}});
analytics.identify({userId: 'u1', anonymousId: 'a1', traits: {plan: 'gold'}});
analytics.alias({userId: 'u1', previousId: 'a0'});
analytics.closeAndFlush().then(() => console.log('flushed'));
"""


def test_segments_node_library_delivers(tmp_path: Path, libraries: Path) -> None:
    with serving(tmp_path, keys=True) as served:
        command = ["node", "-e", NODE, served.secrets["server"], served.url]
        done = subprocess.run(command, cwd=libraries, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout.strip()) == (0, "flushed"), done.stderr
        events = arrived(served, 5)
        assert [event.type for event in events] == ["view", "purchase", "purchase", "custom", "custom"]
        assert [(event.item_id, event.quantity) for event in events[1:3]] == [("tea", 2.0), ("mug", 1.0)]
        assert served.engine.item("tea").title == "Tea"
        assert served.engine.user("u1").traits == {"plan": "gold"}
