"""A server in a process of its own, loaded with synthetic traffic, for the parts that measure over HTTP.

``python -m endcap.bench.served DIR PORT ITEMS EVENTS`` is the process; ``running`` starts and stops it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from endcap.errors import EndcapError

HOST = "127.0.0.1"
EXPLORED = "explored"  # the home placement with arms and exploration
START_S = 240  # first compile included


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    host: str
    port: int
    pid: int
    n_items: int
    n_users: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(n_items: int, n_events: int) -> Iterator[Served]:
    """Start the server on an empty data directory, wait until it is ready, stop it at the end."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="endcap-bench-") as folder:
        command = [sys.executable, "-m", "endcap.bench.served", folder, str(port), str(n_items), str(n_events)]
        with started(command, port, Path(folder) / "server.log", {"ENDCAP_BENCH": "1"}) as pid:
            yield Served(HOST, port, pid, n_items, users_of(n_events))


@contextmanager
def started(command: list[str], port: int, output: Path, environ: dict[str, str] | None = None) -> Iterator[int]:
    """Run ``command``, which serves on ``port``; gives its process id once it is ready, and stops it at the end.

    What it says goes to ``output``. Raises ``EndcapError`` with its last words when it does not get ready.
    """
    with output.open("wb") as sink:
        process = subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, env={**os.environ, **(environ or {})}
        )
    try:
        wait_ready(process, f"http://{HOST}:{port}/readyz", output)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def users_of(n_events: int) -> int:
    """Users among whom the synthetic events are spread."""
    return max(1_000, n_events // 12)


def wait_ready(process: subprocess.Popen[bytes], url: str, output: Path) -> None:
    """Return when ``url`` answers 200; explain with the server's own words when it does not."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    state = f"ended with status {process.returncode}" if process.poll() is not None else "was not ready in time"
    raise EndcapError(f"the server {state}:\n{output.read_text('utf-8', 'replace')[-2000:]}")


def serve(directory: Path, port: int, n_items: int, n_events: int) -> None:
    """The child: an engine with a real log, synthetic state, and the real server, without keys on loopback."""
    from endcap.bench.preload import fill, traffic
    from endcap.config import Config, ExploreConfig
    from endcap.engine import Engine
    from endcap.server.serving import run

    config = msgspec.structs.replace(
        Config(), server=msgspec.structs.replace(Config().server, host=HOST, port=port, max_in_flight=2_000)
    )
    home = config.placements["home"]
    tried = msgspec.structs.replace(home, arms={"one": {}, "other": {}}, explore=ExploreConfig(share=0.02))
    config = msgspec.structs.replace(config, placements={**config.placements, EXPLORED: tried})
    engine = Engine.open(directory, config)
    n_users = users_of(n_events)
    fill(engine.state, traffic(n_events, n_items, n_users, engine.runtime.now()), n_items, n_users)
    run(engine, None, config)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), *(int(argument) for argument in sys.argv[2:5]))
