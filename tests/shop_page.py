"""Shop pages for tests: a web server of their own origin, a browser, and a visitor's tab that notes what happens."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from endcap.types import Impression, Interaction, Item
from served import Served, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"needs Chromium; none at {CHROMIUM}"),
]
TEMPLATE = """<template><a data-endcap="url"><img data-endcap="image" alt=""><b data-endcap="title"></b>
<span data-endcap="brand"></span><i data-endcap="price"></i><s data-endcap="list_price"></s></a></template>"""


class Shop:
    """A web server for shop pages: an origin of its own."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = shop.pages.get(self.path.partition("?")[0], "").encode()
                self.send_response(200)
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


@contextmanager
def shop_pages() -> Iterator[Shop]:
    opened = Shop()
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def stocked_server(directory: Path, shop: Shop) -> Iterator[Served]:
    """A server that pages of ``shop`` may use, with thirty products and some history."""
    with serving(directory, keys=True, allow_origins=[shop.url]) as running:
        items = [
            Item(
                item_id=f"p{n}", title=f"Product {n}", url=f"/p/p{n}.html", price=10.5 + n, currency="EUR",
                brand="Acme", image_urls=[f"/pictures/{n}.png"], categories=[["Kitchen"]],
            )
            for n in range(30)
        ]  # fmt: skip
        running.engine.put_items(items)
        for visitor in range(8):
            seen = [{"type": "view", "anon_id": f"v{visitor}", "item_id": f"p{n}"} for n in range(visitor, visitor + 6)]
            running.send(*seen, headers=running.headers("server"))
        yield running


@contextmanager
def chromium(playwright: Any) -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


class Visit:
    """A new visitor's tab, with everything the page complained about and every request to the engine."""

    def __init__(self, browser: Any, shop: Shop, served: Served, init: str = "") -> None:
        self.context = browser.new_context(viewport={"width": 1000, "height": 700})
        self.context.add_init_script("window.attacked = () => { window.fell = true; };" + init)
        self.page = self.context.new_page()
        self.shop, self.served = shop, served
        self.errors: list[str] = []
        self.complaints: list[str] = []
        self.sent: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on(
            "request", lambda asked: self.sent.append(asked.post_data or "") if "/v1/tracker" in asked.url else None
        )
        self.before = served.engine.offset

    def open(
        self, body: str, consent: str = 'data-consent="granted"', address: str = "/", head: str = "", key: str = ""
    ) -> Any:
        """A page with the tracker's line in its head."""
        key = key or self.served.secrets["browser"]
        line = f'<script defer src="{self.served.url}/t.js" data-key="{key}" {consent}></script>'
        self.shop.pages[address] = (
            f"<!doctype html><html lang=en><head><title>Shop</title>{head}{line}</head><body>{body}</body></html>"
        )
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


@contextmanager
def visits(browser: Any, shop: Shop, served: Served) -> Iterator[Callable[..., Visit]]:
    """Opens tabs; at the end none may have seen an error of the tracker."""
    opened: list[Visit] = []

    def enter(**more: Any) -> Visit:
        opened.append(Visit(browser, shop, served, **more))
        return opened[-1]

    yield enter
    for one in opened:
        one.context.close()
        assert one.errors == [], "an error of the tracker reached the page"
