"""Limits below the routes: how large a request head may be and how long a client may take to send a request.

uvicorn bounds neither, so a client that sends headers without end, or one byte a minute, would hold memory and a
connection for as long as it likes. ``BoundedProtocol`` counts header bytes and notes when a request began;
``close_stalled``, run every few seconds, closes connections whose request has not arrived whole in time.
Bodies are bounded where they are read (``wire.read_body``), the number of requests under way in ``app.App``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 32_768  # address and headers together
MAX_HEADERS = 128
SLOWEST_REQUEST_S = 30.0  # for a request to arrive whole; 4 MB in 30 s is a slow phone
SWEEP_S = 5.0

TOO_LARGE_HEAD = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: 98\r\n\r\n"
    b'{"error":{"code":"too_large","message":"the headers are over 32768 bytes or more than 128 lines"}}'
)


class HeadTooLarge(Exception):
    """Stops the parser."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a bounded head."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self.waiting_since: float | None = None  # loop time; None while no request is on its way in

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        super().connection_made(transport)
        self.waiting_since = self.loop.time()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self.waiting_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        self._bound(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._bound(len(name) + len(value))
        super().on_header(name, value)

    def on_message_complete(self) -> None:
        self.waiting_since = None
        super().on_message_complete()

    def _bound(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            raise HeadTooLarge

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls this for any parser error, ours included."""
        if self._head_bytes > MAX_HEAD_BYTES or (self.headers is not None and len(self.headers) >= MAX_HEADERS):
            self.transport.write(TOO_LARGE_HEAD)
            self.transport.close()
        else:
            super().send_400_response(msg)


async def close_stalled(connections: Callable[[], Iterable[Any]], slowest_s: float = SLOWEST_REQUEST_S) -> None:
    """Close, for ever and every few seconds, connections that have kept us waiting for ``slowest_s``."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(min(SWEEP_S, slowest_s))
        latest = loop.time() - slowest_s
        for connection in list(connections()):
            since = getattr(connection, "waiting_since", None)
            if since is not None and since < latest and connection.transport is not None:
                connection.transport.close()
