"""A small demo shop behind a real server, for the tests that go shopping."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from endcap.bench.served import free_port
from endcap.demo import prepare
from endcap.server.serving import build


@contextmanager
def served_shop(directory: Path, newest: int) -> Iterator[str]:
    """Serve the ``newest`` events of the sample from ``directory``; gives the base URL."""
    engine = prepare(directory, newest=newest)
    address = msgspec.structs.replace(engine.config.server, host="127.0.0.1", port=free_port())
    server = build(engine, None, msgspec.structs.replace(engine.config, server=address))
    thread = threading.Thread(target=server.run, name="demo-shop")
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive(), "the server stopped while starting"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        yield f"http://{address.host}:{address.port}"
    finally:
        server.should_exit = True
        thread.join()
