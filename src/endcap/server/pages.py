"""What a person opens in a browser: the documentation, the demo shop and their files. And the tracker of shops.

Everything is served from this package; nothing is loaded from elsewhere, so the pages work offline and the content
security policy can name this origin alone. ``/shop`` and addresses below it give the same page, which reads the
address.
"""

from __future__ import annotations

import gzip
import re
from hashlib import blake2b
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from endcap.server.wire import error_reply

STATIC = Path(__file__).parent / "static"

PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",  # ask again each time; unchanged files answer 304 by their ETag
}


class Guarded:
    """Adds the page headers to whatever an inner application answers."""

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(PAGE_HEADERS)
            await send(message)

        try:
            await self.inner(scope, receive, send_guarded)
        except HTTPException as refused:  # no such file, or not a GET
            code = "not_found" if refused.status_code == 404 else "method_not_allowed"
            await error_reply(refused.status_code, code, "no such page; the routes are listed at /docs").send(send)


class Page:
    """One HTML file at a fixed address."""

    def __init__(self, file: Path) -> None:
        self.file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405)
        await FileResponse(self.file, media_type="text/html; charset=utf-8")(scope, receive, send)


class Redirect:
    """Sends the browser on."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await RedirectResponse(self.address, status_code=307)(scope, receive, send)


TEXTS = re.compile(r'("(?:[^"\\]|\\.)*")')


def squeezed(script: str) -> str:
    """A script without its whole-line comments and without spaces that mean nothing.

    It knows no more of JavaScript than the tracker needs: texts in double quotes on one line, no space in a regular
    expression, a semicolon behind every statement that does not end in a brace.
    """
    lines = (line.strip() for line in script.splitlines())
    parts = TEXTS.split("\n".join(line for line in lines if not line.startswith("//")))
    return "".join(
        part if at % 2 else re.sub(r"\s*([{}()\[\],;:?=<>&|+!])\s*", r"\1", part) for at, part in enumerate(parts)
    )


class Tracker:
    """``/t.js``: kept squeezed and compressed, free to be loaded by every shop's pages."""

    def __init__(self, file: Path) -> None:
        self.plain = squeezed(file.read_text("utf-8")).encode()
        self.compressed = gzip.compress(self.plain, 9, mtime=0)
        self.headers = {
            "content-type": "text/javascript; charset=utf-8",
            "etag": f'"{blake2b(self.plain, digest_size=8).hexdigest()}"',
            "cache-control": "public, max-age=3600",
            "vary": "accept-encoding",
            "access-control-allow-origin": "*",
            "cross-origin-resource-policy": "cross-origin",
            "x-content-type-options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = dict(scope["headers"])
        if scope["method"] not in ("GET", "HEAD"):
            await error_reply(405, "method_not_allowed", "the tracker is read with GET").send(send)
        elif asked.get(b"if-none-match", b"").decode("latin-1") == self.headers["etag"]:
            await Response(status_code=304, headers=self.headers)(scope, receive, send)
        elif b"gzip" in asked.get(b"accept-encoding", b""):
            answer = Response(self.compressed, headers={**self.headers, "content-encoding": "gzip"})
            await answer(scope, receive, send)
        else:
            await Response(self.plain, headers=self.headers)(scope, receive, send)


def pages() -> list[BaseRoute]:
    """The routes of all pages. The shop is there when its page is."""
    shop, docs, console = STATIC / "shop.html", STATIC / "docs" / "docs.html", STATIC / "console" / "console.html"
    routes: list[BaseRoute] = [
        Route("/console", Guarded(Page(console))),
        Route("/console/{address:path}", Guarded(Page(console))),
        Route("/docs", Guarded(Page(docs))),
        Route("/t.js", Tracker(STATIC / "t.js")),
        Mount("/static", Guarded(StaticFiles(directory=STATIC))),
    ]
    if shop.exists():
        routes.append(Route("/shop", Guarded(Page(shop))))
        routes.append(Route("/shop/{address:path}", Guarded(Page(shop))))
    routes.append(Route("/", Redirect("/shop" if shop.exists() else "/docs")))
    return routes
