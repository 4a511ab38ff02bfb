"""The bench's own machinery: a generator that miscounts makes every figure a lie."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import msgspec
import numpy as np
import pytest

from endcap.bench import synthetic
from endcap.bench.fresh import run_pairs, staleness
from endcap.bench.load import Closed, open_loop, poisson, request, response_end
from endcap.bench.memory import owner
from endcap.bench.requests import alternating, queries, writes
from endcap.bench.restart import NEWEST_MS, start, write_log
from endcap.bench.serve import closed_rounds, ratio
from endcap.bench.served import running
from endcap.bench.spread import Figures, Options, percentile
from endcap.config import Config
from endcap.state import State
from endcap.types import Interaction, Placed, Query, Reason, Slate

BODY = b'{"ok":true}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
REFUSAL = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


class TinyServer:
    """A real HTTP server of twenty lines on its own thread; counts requests and can stall once or refuse."""

    def __init__(self) -> None:
        self.served = 0
        self.stall_at = 0
        self.stall_s = 0.0
        self.refuse_every = 0
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        self.ready.wait(10)

    def _run(self) -> None:
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(server.sockets[0].getsockname()[1])
        self.ready.set()
        self.loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0.05))
        self.loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
                if lengths:
                    await reader.readexactly(int(lengths[0].split(b":")[1]))
                self.served += 1
                if self.served == self.stall_at:
                    sleep(self.stall_s)  # blocks the whole server, as a stall does
                refuse = self.refuse_every and self.served % self.refuse_every == 0
                answer = REFUSAL if refuse else ANSWER
                writer.write(answer[:20])  # in two pieces: the generator must put them together
                await writer.drain()
                writer.write(answer[20:])
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


@pytest.fixture
def server() -> Iterator[TinyServer]:
    tiny = TinyServer()
    yield tiny
    tiny.stop()


def test_a_response_is_cut_by_its_length() -> None:
    assert response_end(ANSWER) == len(ANSWER)
    assert response_end(ANSWER + b"HTTP/1.1") == len(ANSWER)
    for part in range(len(ANSWER)):
        assert response_end(ANSWER[:part]) == 0


def test_the_closed_loop_counts_what_the_server_served(server: TinyServer) -> None:
    async def run() -> tuple[int, int]:
        load = Closed("127.0.0.1", server.port)
        first = await load.slice(4, 0.2, lambda: request("GET", "/"))
        second = await load.slice(2, 0.1, lambda: request("POST", "/", BODY))
        load.close()
        return first.done + second.done, first.failed + second.failed

    done, failed = asyncio.run(run())
    assert done == server.served > 10
    assert failed == 0


def test_the_closed_loop_counts_refusals_as_failures(server: TinyServer) -> None:
    server.refuse_every = 2

    async def run() -> tuple[int, int, str]:
        load = Closed("127.0.0.1", server.port)
        tally = await load.slice(1, 0.1, lambda: request("GET", "/"))
        load.close()
        return tally.done, tally.failed, tally.first_failure

    done, failed, words = asyncio.run(run())
    assert failed == done // 2 > 0
    assert words.startswith("HTTP/1.1 503")


def test_the_open_loop_sends_every_request_that_was_due(server: TinyServer) -> None:
    latencies, tally = open_loop("127.0.0.1", server.port, 300, 0.5, lambda: request("GET", "/"), seed=3)
    assert len(latencies) == tally.done == server.served == len(list(poisson(300, 0.5, 3)))
    assert min(latencies) > 0


def test_the_open_loop_charges_a_stall_to_every_request_due_in_it(server: TinyServer) -> None:
    server.stall_at, server.stall_s = 20, 0.5
    latencies, _ = open_loop("127.0.0.1", server.port, 200, 1.0, lambda: request("GET", "/"), seed=3, pool=4)
    # about 100 requests fall due during the stall; a generator that waited would show 4 slow ones
    assert sum(latency > 50 for latency in latencies) > 50


def test_requests_are_what_the_server_takes() -> None:
    body = queries("/v1/recommend", 100)().split(b"\r\n\r\n", 1)[1]
    assert msgspec.json.decode(body, type=Query).n == 24
    write, other = writes(100, 1_000), queries("/x", 100)
    events = [msgspec.json.decode(write().split(b"\r\n\r\n", 1)[1], type=Interaction) for _ in range(50)]
    assert len({event.event_id for event in events}) == 50
    both = alternating(write, other)
    assert [both()[:10] for _ in range(4)] == [b"POST /v1/e", b"POST /x HT"] * 2


def test_figures_name_the_bars_they_miss() -> None:
    figures = Figures("any", {"speed": 3.0, "cost": 3.0, "other": 1}, {"speed": ("min", 4), "cost": ("max", 4)})
    assert figures.missed() == ["speed"]
    assert any("speed" in line and "MISSED" in line for line in figures.table())
    assert percentile([1, 2, 3], 50) == 2
    assert np.isnan(percentile([], 50))


def test_synthetic_traffic_is_the_same_for_the_same_seed_and_in_time_order() -> None:
    first, again = (synthetic.events(5_000, 1_000, 300, 5) for _ in range(2))
    for name in type(first).__slots__:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert (np.diff(first.ts) >= 0).all()
    assert first.item.min() >= 0
    assert first.item.max() < 1_000
    share = np.bincount(first.item, minlength=1_000)
    assert share.max() > 20 * max(1, int(np.median(share)))  # Zipf: a few items carry much


def test_an_answer_is_stale_when_it_is_older_or_does_not_name_the_event() -> None:
    def slate(offset: int, warmth: str, cause: str) -> Slate:
        placed = Placed("other", 1.0, [Reason("viewed_together", 1.0, cause)], ["covisit"])
        return Slate(request_id="r", items=[placed], placement="home", offset=offset, warmth=warmth)

    assert staleness(slate(7, "warm", "seen"), "seen", 7) == ""
    assert "offset 6" in staleness(slate(6, "warm", "seen"), "seen", 7)
    assert "cold" in staleness(slate(7, "cold", "seen"), "seen", 7)
    assert "no reason" in staleness(slate(7, "warm", "another"), "seen", 7)


def test_the_served_engine_answers_every_kind_of_load_and_never_stale() -> None:
    said: list[str] = []
    with running(2_000, 60_000) as served:
        rates, _ = asyncio.run(closed_rounds(served, 1, 0.1, Options(say=said.append)))
        outcome, load = asyncio.run(run_pairs(served, 60))
    assert {kind for kind, _ in rates} == {"echo", "recommend", "ingest", "mix"}
    assert all(rate > 0 for cell in rates.values() for rate in cell)
    assert ratio(rates, "echo", 16) == [1.0]
    assert len(outcome.visible) == 60
    assert outcome.stale == []
    assert load.done > 0
    assert said


@pytest.mark.slow
def test_a_restart_answers_as_before_with_and_without_a_snapshot(tmp_path: Path) -> None:
    batch = synthetic.events(20_000, 1_000, 500, 5)
    write_log(tmp_path, batch, Options(say=lambda _line: None))
    user = f"u{batch.user[-1]}"
    rebuilt, _ = start(tmp_path, user)
    loaded, _ = start(tmp_path, user)
    assert int(batch.ts[-1]) < NEWEST_MS
    assert not rebuilt["from_snapshot"]
    assert loaded["from_snapshot"]
    assert rebuilt["replayed"] == 20_000
    assert rebuilt["items"] == loaded["items"] != []


def test_memory_knows_what_every_array_of_the_state_grows_with() -> None:
    owners = {name: owner(name) for name in State(Config()).arrays()}
    assert set(owners.values()) == {"user", "item", "event", "fixed"}
    assert (owners["slates.newest"], owners["scoreboard.head"]) == ("user", "user")
