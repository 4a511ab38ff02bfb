"""The way to the server: kept-alive connections, one question each at a time, answers in the order of the questions.

They take turns, so that none is idle for long. One that the server has closed is opened again and asked once more,
which does no harm: a repeated event counts once.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from endcap.bench.load import HEAD_END, request, response_end
from endcap.errors import EndcapError
from endcap.types import Ack, Interaction, Item, Query, Slate

PATIENCE_S = 120
MAX_RECORDS = 2_000  # of one POST

_encode = msgspec.json.Encoder().encode
_slate = msgspec.json.Decoder(Slate).decode
_ack = msgspec.json.Decoder(Ack).decode


class Line:
    """One connection, opened when it is needed."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._asked = b""

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def ask(self, data: bytes) -> None:
        """Send a request; ``answer`` must be called before the next."""
        self._asked = data
        try:
            self._send(self._socket or self._open())
        except ConnectionError:
            self._send(self._open())

    def answer(self, *, missing_ok: bool = False) -> bytes:
        """The body. ``EndcapError`` when the answer is not a 200; a 404 may be empty instead."""
        assert self._socket is not None
        try:
            data = receive(self._socket)
        except ConnectionError:
            self._send(self._open())
            data = receive(self._socket)
        body = data[data.index(HEAD_END) + len(HEAD_END) : response_end(data)]
        if data[9:12] == b"404" and missing_ok:
            return b""
        if data[9:12] != b"200":
            raise EndcapError(f"the server answered {data[9:12].decode()}: {body[:500].decode('utf-8', 'replace')}")
        return body

    def _open(self) -> socket.socket:
        self.close()
        self._socket = socket.create_connection(self._address, PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _send(self, sock: socket.socket) -> None:
        sock.sendall(self._asked)


class Connection:
    """``width`` lines to one server that runs without keys."""

    def __init__(self, host: str, port: int, width: int) -> None:
        self._lines = deque(Line((host, port)) for _ in range(width))

    def close(self) -> None:
        for line in self._lines:
            line.close()

    def slates(self, queries: Sequence[Query]) -> list[Slate]:
        """Shown slates for at most ``width`` queries, asked at once."""
        assert len(queries) <= len(self._lines)
        lines = [self._ask(request("POST", "/v1/recommend", _encode(query))) for query in queries]
        return [_slate(line.answer()) for line in lines]

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
        text = self._ask(request("GET", path)).answer(missing_ok=True)
        return msgspec.json.decode(text) if text else None

    def _ask(self, data: bytes) -> Line:
        """Send on the line that has waited longest."""
        self._lines.rotate(-1)
        self._lines[-1].ask(data)
        return self._lines[-1]

    def _write(self, path: str, body: object) -> None:
        ack = _ack(self._ask(request("POST", path, _encode(body))).answer())
        if ack.rejected:
            raise EndcapError(f"the server refused {len(ack.rejected)} records of {path}: {ack.rejected[0].message}")


def receive(sock: socket.socket) -> bytes:
    """A whole response. ``ConnectionError`` when the server hangs up before its end."""
    data = b""
    while not response_end(data):
        part = sock.recv(1 << 18)
        if not part:
            raise ConnectionResetError("the server closed the connection in the middle of an answer")
        data += part
    return data
