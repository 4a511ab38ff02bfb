"""Limits over real sockets: what is too large, too many, too deep or too slow is refused by name; nothing fails."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.errors import StoreError
from endcap.server.limits import MAX_HEADERS, close_stalled
from endcap.server.requestlog import RequestLog
from served import Served, error_of, serving, view


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("http"), max_batch=50, max_body_bytes=60_000, behind_wait_ms=50) as running:
        for shopper in range(6):
            for item in ("lamp", "shade", "bulb"):
                running.send(view(f"crowd{shopper}", item))
        yield running


def test_a_body_over_the_limit_is_refused_before_it_is_read(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=10) as raw:
        raw.sendall(b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000000000\r\n\r\n")
        assert raw.recv(65_536).startswith(b"HTTP/1.1 413")


def test_a_body_without_a_length_is_refused_while_it_is_read(served: Served) -> None:
    answer = served.client.post("/v1/events", content=(b" " * 10_000 for _ in range(20)))
    assert error_of(answer, 413)["code"] == "too_large"


def test_a_batch_over_the_limit_is_refused_whole(served: Served) -> None:
    before = served.engine.offset
    error_of(served.client.post("/v1/events", json=[view("z", f"i{n}") for n in range(51)]), 413)
    error_of(served.client.post("/v1/items", json=[{"item_id": f"i{n}"} for n in range(51)]), 413)
    assert served.engine.offset == before


def test_a_compressed_body_is_refused_by_name(served: Served) -> None:
    answer = served.client.post("/v1/events", content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert error_of(answer, 415)["code"] == "unsupported_encoding"


@pytest.mark.parametrize("lines", [["x-long: " + "y" * 40_000], [f"x-{n}: y" for n in range(MAX_HEADERS + 1)]])
def test_a_head_over_the_limit_is_refused(served: Served, lines: list[str]) -> None:
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=10) as raw:
        raw.sendall(("GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431")
    assert json.loads(body)["error"]["code"] == "too_large"
    assert f"content-length: {len(body)}".encode() in head


@pytest.mark.parametrize(
    "begun", [b"", b"GET /livez HT", b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n["]
)
def test_a_client_that_does_not_finish_its_request_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr("endcap.server.serving.close_stalled", partial(close_stalled, slowest_s=0.2))
    with serving(tmp_path) as running:
        with socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])), timeout=10) as raw:
            raw.sendall(begun)
            assert raw.recv(65_536) == b""
        assert running.client.get("/livez").status_code == 200
        time.sleep(0.5)
        assert running.client.get("/livez").status_code == 200, "a connection that waits for its next request may wait"


def test_more_requests_than_the_limit_are_shed_and_the_others_are_not(tmp_path: Path) -> None:
    with serving(tmp_path, max_in_flight=1) as running:
        with socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])), timeout=10) as slow:
            slow.sendall(b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\n\r\n[")
            while running.client.get("/livez").status_code == 200:
                time.sleep(0.01)
            answer = running.client.post("/v1/recommend", json={})
            assert error_of(answer, 503)["code"] == "overloaded"
            assert answer.headers["retry-after"] == "1"
            assert len(answer.content) < 200
            slow.sendall(b"]")
            assert slow.recv(65_536).startswith(b"HTTP/1.1 200")
        assert running.client.post("/v1/recommend", json={}).status_code == 200
        assert "endcap_shed_total 0.0" not in running.client.get("/metrics").text


def test_writers_are_told_to_wait_while_the_disk_is_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path, max_pending_events=3) as running:
        disk = threading.Event()
        append = running.engine.log.append

        def slow(*arguments: Any) -> list[int]:
            disk.wait(10)
            return append(*arguments)

        monkeypatch.setattr(running.engine.log, "append", slow)
        held: list[dict[str, Any]] = []
        batch = [view("w", f"i{n}") for n in range(3)]
        waiting = threading.Thread(target=lambda: held.append(running.send(*batch)))
        waiting.start()
        while "endcap_pending_events 3.0" not in running.client.get("/metrics").text:
            time.sleep(0.01)
        answer = running.client.post("/v1/events", json=batch)
        assert error_of(answer, 429)["code"] == "too_many_events"
        assert int(answer.headers["retry-after"]) >= 1
        assert running.client.post("/v1/recommend", json={}).status_code == 200
        disk.set()
        waiting.join()
        assert held[0]["accepted"] == 3
        assert running.send(*batch)["durable"]


def test_a_failing_disk_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any) -> list[int]:
        raise StoreError("the disk is full")

    written = io.StringIO()
    with serving(tmp_path, log=RequestLog(stream=written)) as running:
        with monkeypatch.context() as patched:
            patched.setattr(running.engine.log, "append", broken)
            answer = running.client.post("/v1/events", json=[view("a", "i")])
            assert error_of(answer, 503)["code"] == "store"
            assert "disk is full" not in answer.text
        assert running.send(view("a", "i"))["accepted"] == 1
    assert "the disk is full" in written.getvalue()


NAMES = [
    "events", "items", "item_id", "type", "anon_id", "user_id", "n", "ts", "placement", "filter", "context", "price",
    "query", "attributes", "categories",
]  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(categories=["L", "Cc", "Cs"]), max_size=8)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)


@given(body=st.binary(max_size=200) | TREES.map(lambda tree: json.dumps(tree).encode()))
@settings(max_examples=60, deadline=None)
def test_no_body_whatever_makes_the_server_fail(served: Served, body: bytes) -> None:
    for method, address in (
        ("POST", "/v1/events"), ("POST", "/v1/recommend"), ("POST", "/v1/items"), ("PUT", "/v1/items/fuzz"),
        ("PATCH", "/v1/items/fuzz"), ("PUT", "/v1/users/fuzz"), ("POST", "/v1/why-not"),
    ):  # fmt: skip
        answer = served.client.request(method, address, content=body)
        assert answer.status_code in (200, 400, 404, 413), (method, address, body, answer.text)
        assert answer.headers["content-type"] == "application/json"


@given(text=st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_no_address_whatever_makes_the_server_fail(served: Served, text: str) -> None:
    encoded = quote(text, safe="", errors="surrogatepass")
    for address in (
        f"/v1/items/{encoded}",
        f"/v1/users/{encoded}/interest",
        f"/{encoded}",
        f"/v1/recommend?anon_id={encoded}&n={encoded}",
    ):
        assert served.client.get(address).status_code in (200, 307, 400, 404)
