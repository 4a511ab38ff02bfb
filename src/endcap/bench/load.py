"""A small HTTP/1.1 load generator: closed loop for throughput, open loop for latency.

The generator shares the machine with the server, so it must cost little: requests are prebuilt bytes, responses are
cut by Content-Length and checked for their status only, connections are kept alive.

* ``Closed``: c connections, each sends its next request as soon as the answer to the last one is in. Gives
  throughput. Its latencies flatter the server (a slow answer delays the questions behind it), so they are not reported.
* ``open_loop``: requests become due at Poisson times whatever the server does; latency counts from the due time, so a
  stall is charged to every request that should have been answered in it (no coordinated omission). It waits in
  ``select``, which unlike an event loop's timers is precise to some tens of microseconds.
"""

from __future__ import annotations

import asyncio
import random
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"

NextRequest = Callable[[], bytes]


def request(method: str, path: str, body: bytes = b"", key: str = "") -> bytes:
    """One HTTP/1.1 request, ready to send."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + HEAD_END + body


def response_end(data: bytes) -> int:
    """Length of the first whole response in ``data``, 0 while it is not whole yet."""
    head = data.find(HEAD_END)
    if head < 0:
        return 0
    lowered = data[:head].lower()
    at = lowered.find(LENGTH)
    length = int(lowered[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    end = head + len(HEAD_END) + length
    return end if len(data) >= end else 0


@dataclass(slots=True)
class Tally:
    """What one slice of load came to."""

    done: int = 0
    failed: int = 0
    first_failure: str = ""
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0

    def failure(self, data: bytes) -> None:
        """Count an answer that is not a 2xx, and keep the first for the message."""
        self.failed += 1
        self.first_failure = self.first_failure or data[:300].decode("utf-8", "replace")


class _Connection(asyncio.Protocol):
    """One kept-alive connection of the closed loop."""

    __slots__ = ("buffer", "owner", "transport")

    def __init__(self, owner: Closed) -> None:
        self.owner = owner
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]  # uvloop's transport is no subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        end = response_end(data)
        if not end:
            self.buffer = data
            return
        self.buffer = b""
        self.owner.answered(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.owner.lost()

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


@dataclass
class Closed:
    """A closed loop over one host and port; run one slice at a time."""

    host: str
    port: int
    connections: list[_Connection] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    _next: NextRequest | None = None
    _busy: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self, c: int) -> None:
        """Have at least ``c`` connections open."""
        loop = asyncio.get_running_loop()
        while len(self.connections) < c:
            _, made = await loop.create_connection(lambda: _Connection(self), self.host, self.port)
            self.connections.append(made)

    async def slice(self, c: int, seconds: float, next_request: NextRequest) -> Tally:
        """Drive ``c`` connections for ``seconds``; answers that are still under way are waited for, and count."""
        await self.connect(c)
        self.tally, self._next, self._busy = Tally(), next_request, c
        self._idle.clear()
        started = time.perf_counter()
        for connection in self.connections[:c]:
            connection.send(next_request())
        await asyncio.sleep(seconds)
        self._next = None
        await asyncio.wait_for(self._idle.wait(), 30)
        self.tally.seconds = time.perf_counter() - started
        return self.tally

    def answered(self, connection: _Connection, data: bytes) -> None:
        """An answer is in: count it, ask again."""
        self.tally.done += 1
        if data[9:10] != b"2":
            self.tally.failure(data)
        if self._next is not None:
            connection.send(self._next())
            return
        self._busy -= 1
        if self._busy == 0:
            self._idle.set()

    def lost(self) -> None:
        """A connection broke under load: that is a failure of the server, not of the bench."""
        if self._next is not None:
            self.tally.failure(b"connection lost")
        self._busy -= 1
        if self._busy <= 0:
            self._idle.set()

    def close(self) -> None:
        """Close every connection."""
        self._next = None
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.close()


def poisson(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Due times from 0 on."""
    chance = random.Random(seed)
    at = 0.0
    while (at := at + chance.expovariate(rate)) < seconds:
        yield at


def open_loop(
    host: str, port: int, rate: float, seconds: float, next_request: NextRequest, *, seed: int = 1, pool: int = 64
) -> tuple[list[float], Tally]:
    """Send ``rate`` requests a second at Poisson times; gives each one's latency in ms from its due time.

    At most ``pool`` are under way; further ones wait in the generator, and their waiting counts.
    """
    idle = [socket.create_connection((host, port)) for _ in range(pool)]
    for sock in idle:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    busy: dict[socket.socket, tuple[float, bytes]] = {}
    waiting: deque[float] = deque()
    due = deque(poisson(rate, seconds, seed))
    latencies: list[float] = []
    tally = Tally()
    started = time.perf_counter()
    try:
        while due or waiting or busy:
            now = time.perf_counter() - started
            while due and due[0] <= now:
                waiting.append(due.popleft())
            while waiting and idle:
                sock = idle.pop()
                sock.sendall(next_request())
                busy[sock] = (waiting.popleft(), b"")
            timeout = max(0.0, due[0] - (time.perf_counter() - started)) if due else 1.0
            for sock in select.select(list(busy), [], [], timeout)[0]:
                asked, held = busy[sock]
                data = held + sock.recv(65536)
                if not response_end(data):
                    if data == held:
                        raise ConnectionError("the server closed a connection under load")
                    busy[sock] = (asked, data)
                    continue
                latencies.append((time.perf_counter() - started - asked) * 1e3)
                tally.done += 1
                if data[9:10] != b"2":
                    tally.failure(data)
                del busy[sock]
                idle.append(sock)
    finally:
        for sock in [*idle, *busy]:
            sock.close()
    tally.seconds = time.perf_counter() - started
    return latencies, tally
