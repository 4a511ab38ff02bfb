"""A real server for tests: real engine, real SQLite file, real sockets, on a free port of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from endcap.config import Config, ServerConfig
from endcap.engine import Engine
from endcap.runtime import Clock, Runtime
from endcap.server.keys import KINDS, KeyRing
from endcap.server.requestlog import RequestLog
from endcap.server.serving import Server, build

START_S = 300  # the first server of a fresh checkout compiles every kernel


@dataclass
class Served:
    """A running server and a client for it."""

    url: str
    client: httpx.Client
    engine: Engine
    server: Server
    ring: KeyRing | None
    secrets: dict[str, str] = field(default_factory=dict)

    def headers(self, kind: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secrets[kind]}"}

    def send(self, *events: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Events in, acknowledgement out."""
        answer = self.client.post("/v1/events", json={"events": list(events)}, **more)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def slate(self, **query: Any) -> dict[str, Any]:
        answer = self.client.post("/v1/recommend", json=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def view(anon: str, item: str, **more: Any) -> dict[str, Any]:
    return {"type": "view", "anon_id": anon, "item_id": item, **more}


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error of an answer, after checking that it has the one shape errors have."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    assert {"code", "message"} <= set(body["error"]) <= {"code", "message", "field"}
    error: dict[str, Any] = body["error"]
    return error


@contextmanager
def serving(
    directory: Path,
    *,
    keys: bool = False,
    config: Config | None = None,
    log: RequestLog | None = None,
    clock: Clock | None = None,
    **server: Any,
) -> Iterator[Served]:
    """Run a server in a thread until the block ends; ``server`` overrides settings of ``[server]``."""
    config = config or Config()
    settings = msgspec.structs.replace(config.server, port=0, **server)
    assert isinstance(settings, ServerConfig)
    config = msgspec.structs.replace(config, server=settings)
    engine = Engine.open(directory, config, Runtime(clock))
    ring = KeyRing(directory / "keys.json", engine.runtime.now) if keys else None
    secrets = {kind: ring.create(kind)[1] for kind in KINDS} if ring is not None else {}
    running = build(engine, ring, config, log=log)
    thread = threading.Thread(target=running.run, name="server-under-test")
    thread.start()
    try:
        deadline = time.monotonic() + START_S
        while not running.started:
            assert thread.is_alive(), "the server ended while starting"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)
        port = running.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=30) as client:
            yield Served(url, client, engine, running, ring, secrets)
    finally:
        running.should_exit = True
        thread.join()
