"""What a running server counts and writes down, and how it starts and stops."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from endcap.config import Config, ServerConfig
from endcap.engine import Engine
from endcap.errors import ConfigError
from endcap.server.metrics import Latency, Metrics
from endcap.server.requestlog import LINES_PER_S, RequestLog
from endcap.server.serving import run
from endcap.server.warmup import warm_up
from endcap.types import Ack, Refusal, Slate
from served import error_of, serving, view


def test_metrics_count_what_happened_with_bounded_labels(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        running.send(view("a", "lamp"), view("a", "lamp", type="gaze"))
        running.client.post("/v1/recommend?shown=0", json={"anon_id": "a"})
        for n in range(30):
            running.client.get(f"/nothing/{n}")
            running.client.post("/v1/recommend", json={"placement": f"made-up-{n}"})
        text = running.client.get("/metrics").text
    assert 'endcap_slates_total{placement="home",rung=' in text
    assert 'endcap_events_total{result="accepted"} 1.0' in text
    assert 'endcap_refused_total{code="unknown_type"} 1.0' in text
    assert 'endcap_requests_total{route="none",status="404"} 30.0' in text
    assert "endcap_log_offset 1.0" in text
    assert 'endcap_cleaned_total{rule="bot"} 0.0' in text
    assert "process_resident_memory_bytes" in text
    assert "made-up" not in text
    assert "/nothing/" not in text


def test_a_label_outside_the_configured_ones_counts_as_other() -> None:
    metrics = Metrics(["home"], dict, dict)
    for n in range(500):
        metrics.slate(Slate(request_id="r", items=[], placement=f"p{n}"))
        metrics.ack(Ack(accepted=0, rejected=[Refusal(index=0, code=f"c{n}", message="")]))
    text = metrics.text().decode()
    assert 'endcap_slates_total{placement="other",rung="full"} 500.0' in text
    assert text.count("endcap_refused_total{") == 65


def test_the_histogram_puts_a_value_into_the_first_bucket_that_holds_it() -> None:
    latency = Latency()
    for seconds in (0.0001, 0.00025, 0.0003, 9.0):
        latency.add(seconds)
    buckets = dict(latency.buckets())
    assert (buckets["0.00025"], buckets["0.0005"], buckets["2.5"], buckets["+Inf"]) == (2, 3, 3, 4)


def test_a_fault_of_ours_is_logged_with_its_trace_and_answered_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()

    def broken(*_query: Any) -> None:
        raise ZeroDivisionError("secret detail")

    with serving(tmp_path, log=RequestLog(stream=written)) as running:
        monkeypatch.setattr(running.engine, "recommend", broken)
        answer = running.client.post("/v1/recommend", json={"anon_id": "private-person"})
    assert error_of(answer, 500)["code"] == "internal"
    assert "secret detail" not in answer.text
    (line,) = map(json.loads, written.getvalue().splitlines())
    assert (line["route"], line["status"]) == ("POST /v1/recommend", 500)
    assert "ZeroDivisionError: secret detail" in line["exception"]
    assert "private-person" not in written.getvalue()


def test_a_flood_of_errors_is_not_a_flood_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    log = RequestLog(stream=written)
    now = [100.0]
    monkeypatch.setattr("endcap.server.requestlog.monotonic", lambda: now[0])
    for _ in range(LINES_PER_S + 30):
        log.request("POST /v1/events", 503, 0.001)
    assert written.getvalue().count("\n") == LINES_PER_S
    now[0] += 1
    log.request("POST /v1/events", 503, 0.001)
    assert json.loads(written.getvalue().splitlines()[-1])["lines_left_out"] == 30


def test_only_failed_and_slow_requests_are_written_down_by_default() -> None:
    assert [RequestLog().wants(*case) for case in ((200, 0.01), (404, 0.01), (503, 0.01), (200, 0.3))] == [
        False,
        False,
        True,
        True,
    ]
    assert RequestLog("debug").wants(200, 0.0)


CHILD = """
import sys
from pathlib import Path
from endcap.config import Config, ServerConfig
from endcap.config import Config, ServerConfig
from endcap.engine import Engine
from endcap.errors import ConfigError
from endcap.server.serving import run
config = Config(server=ServerConfig(port=int(sys.argv[2])))
run(Engine.open(Path(sys.argv[1]), config), None, config)
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_requests_under_way_and_saves_what_is_known(tmp_path: Path, sent: signal.Signals) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), str(port)], env=os.environ)
    try:
        slow = connected(port, child)
        body = json.dumps([view("a", "i1")]).encode()
        slow.sendall(
            b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body[:10]
        )
        time.sleep(0.2)
        child.send_signal(sent)
        time.sleep(0.3)
        slow.sendall(body[10:])
        answer = slow.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        slow.close()
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()
    with Engine.open(tmp_path) as engine:
        assert engine.offset == 1
        assert engine.recovered.from_snapshot


def connected(port: int, child: subprocess.Popen[bytes]) -> socket.socket:
    """A connection to the child once it listens."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            assert child.poll() is None, "the server ended while starting"
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_an_address_that_is_taken_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        config = Config(server=ServerConfig(port=other.getsockname()[1]))
        with pytest.raises(ConfigError, match="--port"):
            run(Engine.open(tmp_path, config), None, config)
    Engine.open(tmp_path).close()


def test_a_draining_server_says_that_it_is_not_ready(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        running.server.service.draining = True
        assert running.client.get("/readyz").status_code == 503
        assert running.client.get("/livez").status_code == 200


def test_the_warm_up_leaves_nothing_behind_and_says_how_far_it_is() -> None:
    heard: list[tuple[int, int]] = []
    warm_up(Config(), lambda _stage, done, total: heard.append((done, total)))
    assert heard[-1][0] == heard[-1][1] == len(heard)
