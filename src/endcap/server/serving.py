"""Starting and stopping: keys, the bind rule, uvicorn, the drain.

A stop (SIGTERM, Ctrl+C) goes in this order: no new connections; requests under way are finished (``server.drain_s``);
what the writer holds is committed and folded; a snapshot is saved; the data directory is released.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn

from endcap.config import Config
from endcap.engine import Engine, Progress, silent
from endcap.errors import ConfigError
from endcap.server.app import App
from endcap.server.echo import BENCH_POLICY, BENCH_ROUTES
from endcap.server.experiments import ExperimentWatch
from endcap.server.feeds import Feeds
from endcap.server.keys import KeyRing, first_keys
from endcap.server.limits import BoundedProtocol, close_stalled
from endcap.server.models import ModelWatch
from endcap.server.requestlog import RequestLog
from endcap.server.service import Service
from endcap.server.training import Training
from endcap.server.warmup import warm_up
from endcap.server.wire import Receive, Scope, Send

KEY_FILE = "keys.json"


def prepare_keys(
    directory: Path, now: Callable[[], int], host: str, open_: bool = False
) -> tuple[KeyRing | None, dict[str, str]]:
    """The key ring for a server on ``host`` and the keys made just now, ``{kind: secret}``, to be shown once.

    ``open_`` gives no ring: everything is allowed, and only a loopback address may be bound. On loopback the first
    start makes one key of each kind. Beyond loopback keys must exist already, so that they are made and noted on
    purpose.
    """
    loopback = is_loopback_address(host)
    if open_:
        if not loopback:
            raise ConfigError(
                f"will not listen on {host} without keys: anyone could read and write everything; leave out --open"
            )
        return None, {}
    ring = KeyRing(directory / KEY_FILE, now)
    if not loopback and not len(ring):
        raise ConfigError(
            f"will not listen on {host} without keys; make them first: endcap keys create server --dir {directory}"
        )
    return ring, first_keys(ring)


def is_loopback_address(host: str) -> bool:
    """Whether an address to bind reaches this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Lifespan:
    """The application with its start and stop around it."""

    def __init__(self, app: App, engine: Engine, connections: Callable[[], Any], progress: Progress) -> None:
        self.app = app
        self.models = ModelWatch(engine, engine.directory, app.log.said) if engine.directory else None
        if self.models is not None:
            app.service.metrics.models = self.models.numbers
        self.experiments = ExperimentWatch(app.service, engine.directory, app.log.said) if engine.directory else None
        self.training = Training(engine, engine.directory, app.log.said) if engine.directory else None
        self.feeds = Feeds(app.service, engine.directory, app.log.said)
        app.service.feeds = self.feeds
        app.service.models, app.service.training = self.models, self.training
        self.engine = engine
        self.progress = progress
        self._connections = connections
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        await receive()
        self.start()
        if self.experiments is not None:
            await self.experiments.look()  # before the first visitor: nobody changes variant by a restart
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def start(self) -> None:
        """Compile before the first visitor; from now on folds run on this loop's thread, between requests."""
        warm_up(self.engine.config, self.progress)
        if self.models is not None:
            self.models.look()  # before folds move to the loop: the catalogue is read whole, not in slices
        loop = asyncio.get_running_loop()
        self.engine.deliver_on(loop.call_soon_threadsafe)
        self._tasks.append(loop.create_task(close_stalled(self._connections)))
        if self.models is not None:
            self._tasks.append(loop.create_task(self.models.run()))
        if self.experiments is not None:
            self._tasks.append(loop.create_task(self.experiments.run()))
        self._tasks.append(loop.create_task(self.feeds.run()))
        if self.training is not None:
            self._tasks.append(loop.create_task(self.training.run()))
        gc.collect()
        gc.freeze()  # what exists now lives as long as the process: do not walk through it again

    async def stop(self) -> None:
        """Requests are done; finish what the log holds and release it."""
        for task in self._tasks:
            task.cancel()
        if self.training is not None:
            await asyncio.to_thread(self.training.stop)
        self.app.service.log_shown()
        # Groups still come back to this loop, in order, while the close waits in its own thread.
        await asyncio.to_thread(self.engine.close)


class Server(uvicorn.Server):
    """uvicorn's server; a stop by signal is a normal end (exit status 0), not a death by that signal."""

    service: Service
    listening: Callable[[], None] = staticmethod(lambda: None)  # called once, when the first request can be answered

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Compile, then listen, then say so."""
        await super().startup(sockets)
        if self.started:
            self.listening()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop. ``ConfigError`` when the address cannot be bound."""
        super().run(sockets or [bound(self.config.host, self.config.port)])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.service.draining = True
        if self.should_exit:  # asked twice: do not wait for slow clients
            self.force_exit = sig == signal.SIGINT
        super().handle_exit(sig, frame)


def bound(host: str, port: int) -> socket.socket:
    """A socket with the address taken, not yet listening: while kernels compile, clients are refused at once."""
    taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
    except OSError as refused:
        taken.close()
        raise ConfigError(
            f"cannot listen on {host}:{port}: {refused.strerror or refused}; choose another address or port "
            "(server.host, server.port, --port), or stop what listens there"
        ) from refused
    return taken


def build(
    engine: Engine,
    keys: KeyRing | None,
    config: Config | None = None,
    *,
    log: RequestLog | None = None,
    progress: Progress = silent,
    sources: Mapping[str, str] | None = None,
) -> Server:
    """A server ready to ``run()`` or ``await serve()``; it closes the engine when it stops.

    ``progress`` hears of the warm-up, which takes half a minute where no kernel is compiled yet. ``sources``: where the
    settings come from, as ``load_config`` tells it, for people to see.
    """
    config = config or engine.config
    service = Service(engine, config)
    service.sources = sources
    log = log or RequestLog(os.environ.get("ENDCAP_LOG", "info"))
    bench = os.environ.get("ENDCAP_BENCH") == "1"
    app = App(service, keys, log, BENCH_ROUTES, BENCH_POLICY) if bench else App(service, keys, log)
    lifespan = Lifespan(app, engine, lambda: server.server_state.connections, progress)
    server = Server(
        uvicorn.Config(
            lifespan,
            host=config.server.host,
            port=config.server.port,
            http=BoundedProtocol,
            loop="uvloop",
            ws="none",
            lifespan="on",
            log_level="error",  # what clients do wrong is answered and counted, not written down line by line
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=1024,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(config.server.drain_s)),
        )
    )
    server.service = service
    return server


def run(
    engine: Engine, keys: KeyRing | None, config: Config | None = None, progress: Progress = silent,
    listening: Callable[[], None] | None = None, sources: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Serve until SIGTERM or Ctrl+C, then drain, save and close the engine; ``listening`` is called when it answers."""
    try:
        server = build(engine, keys, config, progress=progress, sources=sources)
        server.listening = listening or server.listening
        server.run()
    except ConfigError:
        engine.close()
        raise
