"""The way to the server: kept-alive connections, one question each at a time, answers in the order of the questions.

They take turns, so that none is idle for so long that the server closes it.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from endcap.bench.load import request, response_end
from endcap.errors import EndcapError
from endcap.types import Ack, Interaction, Item, Query, Slate

PATIENCE_S = 120
MAX_RECORDS = 2_000  # of one POST

_encode = msgspec.json.Encoder().encode
_slate = msgspec.json.Decoder(Slate).decode
_ack = msgspec.json.Decoder(Ack).decode


class Connection:
    """``width`` sockets to one server that runs without keys."""

    def __init__(self, host: str, port: int, width: int) -> None:
        self._sockets = deque(socket.create_connection((host, port), PATIENCE_S) for _ in range(width))
        for sock in self._sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()

    def slates(self, queries: Sequence[Query]) -> list[Slate]:
        """Shown slates for at most ``width`` queries, asked at once."""
        pairs = [(self._turn(), query) for query in queries]
        for sock, query in pairs:
            sock.sendall(request("POST", "/v1/recommend", _encode(query)))
        return [_slate(receive(sock)) for sock, _ in pairs]

    def send(self, events: Sequence[Interaction]) -> None:
        """Store events; the next slate knows them."""
        for begin in range(0, len(events), MAX_RECORDS):
            self._write("/v1/events", {"events": events[begin : begin + MAX_RECORDS]})

    def put_items(self, items: Sequence[Item]) -> None:
        """Create or replace catalogue records."""
        for begin in range(0, len(items), MAX_RECORDS):
            self._write("/v1/items", {"items": items[begin : begin + MAX_RECORDS]})

    def get(self, path: str) -> Any:
        """What is at ``path``; None when this server has no such thing."""
        sock = self._turn()
        sock.sendall(request("GET", path))
        text = receive(sock, missing_ok=True)
        return msgspec.json.decode(text) if text else None

    def _turn(self) -> socket.socket:
        """The socket that has waited longest."""
        self._sockets.rotate(-1)
        return self._sockets[-1]

    def _write(self, path: str, body: object) -> None:
        sock = self._turn()
        sock.sendall(request("POST", path, _encode(body)))
        ack = _ack(receive(sock))
        if ack.rejected:
            raise EndcapError(f"the server refused {len(ack.rejected)} records of {path}: {ack.rejected[0].message}")


def receive(sock: socket.socket, *, missing_ok: bool = False) -> bytes:
    """The body of the next answer. ``EndcapError`` when it is not a 200; a 404 may be empty instead."""
    data = b""
    while not (end := response_end(data)):
        part = sock.recv(1 << 18)
        if not part:
            raise EndcapError("the server closed the connection in the middle of an answer")
        data += part
    body = data[data.index(b"\r\n\r\n") + 4 : end]
    if data[9:12] == b"404" and missing_ok:
        return b""
    if data[9:12] != b"200":
        raise EndcapError(f"the server answered {data[9:12].decode()}: {body[:500].decode('utf-8', 'replace')}")
    return body
