"""The Python clients against the real server, and against servers that are busy, broken or away."""

# ruff: noqa: N815  (http.server names its methods so)
from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from endcap.client import AsyncClient, Client, Dropped, Unreachable
from endcap.client.calls import Answer, Calls, Exchange, Pause, batch_of
from endcap.client.transport import seconds_of
from endcap.errors import Forbidden, InvalidInput, NotFound, Overloaded
from endcap.types import Context, Interaction, Item, User
from served import Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("client"), keys=True, max_batch=500) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, served.secrets["admin"]) as opened:
        yield opened


class Stub:
    """A server that answers as it is told, and keeps what it got."""

    def __init__(self) -> None:
        self.script: list[tuple[int, dict[str, str], bytes]] = []
        self.otherwise: tuple[int, dict[str, str], bytes] = (200, {}, b'{"accepted":1,"offset":7}')
        self.got: list[tuple[str, Any]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                stub.got.append((f"{self.command} {self.path}", json.loads(body) if body else None))
                status, headers, text = stub.script.pop(0) if stub.script else stub.otherwise
                if status == -1:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    opened = Stub()
    yield opened
    opened.close()


def until(true: Callable[[], Any]) -> None:
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def error(code: str, message: str = "no") -> bytes:
    return json.dumps({"error": {"code": code, "message": message}}).encode()


# ---------------------------------------------------------------- against the real server


def test_what_was_sent_is_known_to_the_next_slate(client: Client) -> None:
    items = [Item(item_id=f"p{n}", title=f"Product {n}", categories=[["Kitchen"]], price=1.0 + n) for n in range(1_200)]
    ack = client.put_items(items)  # more than one request may hold
    assert (ack.accepted, ack.rejected) == (1_200, [])
    assert client.item("p7") == items[7]
    events: list[Any] = [Interaction(type="view", anon_id="a", item_id=f"p{n}") for n in range(6)]
    ack = client.send(*events, {"type": "vew", "anon_id": "a"}, {"type": "purchase", "user_id": "u/1", "item_id": "p6"})
    assert (ack.accepted, [(one.index, one.code) for one in ack.rejected]) == (7, [(6, "unknown_type")])
    slate = client.recommend("home", anon_id="a", n=5, context=Context(device="mobile"), exclude=["p0"])
    assert slate.offset >= ack.offset == client.offset
    assert len(slate.items) == 5
    assert slate.warmth == "hot"
    cheap = client.recommend(anon_id="a", filter={"lt": {"price": 3}}, shown=False)
    assert {placed.item_id for placed in cheap.items} <= {"p0", "p1"}
    assert cheap.impression == "not_asked"


def test_records_and_people(client: Client) -> None:
    client.put_items([{"item_id": "a/b c", "title": "Odd"}])
    client.patch_item("a/b c", title="Even", price=2.0)
    assert client.item("a/b c") == Item(item_id="a/b c", title="Even", price=2.0)
    client.delete_item("a/b c")
    with pytest.raises(NotFound, match="no item"):
        client.item("a/b c")
    user = User(user_id="u/2", traits={"tier": "gold"})
    client.put_user(user)
    assert client.user("u/2") == user
    client.send({"type": "view", "user_id": "u/2", "item_id": "p1"})
    client.erase(user_id="u/2")
    with pytest.raises(NotFound):
        client.user("u/2")


def test_the_same_events_sent_twice_count_once(client: Client) -> None:
    event = {"type": "view", "anon_id": "twice", "item_id": "p1", "event_id": "mine-1"}
    assert client.send(event).accepted == 1
    assert client.send(event).duplicates == 1


def test_tracked_events_arrive_in_order_with_an_id_and_their_time(served: Served, client: Client) -> None:
    before, began = served.engine.offset, round(time.time() * 1000)
    for n in range(700):
        client.track(type="view", anon_id="tracker", item_id=f"p{n}")
    client.track({"type": "search", "query": "tea"}, anon_id="tracker")
    assert client.flush()
    events = [stored.event for stored in served.engine.log.read(before, 10_000)]
    assert [event.item_id for event in events if isinstance(event, Interaction)] == [f"p{n}" for n in range(700)] + [
        None
    ]
    assert len({event.event_id for event in events}) == 701
    assert all(began <= event.ts <= event.received_at for event in events if isinstance(event, Interaction))
    assert client.offset == served.engine.offset
    assert client.dropped == {}


def test_an_event_that_is_none_or_refused_is_told(served: Served) -> None:
    told: list[Dropped] = []
    with Client(served.url, served.secrets["server"], on_drop=told.append) as client:
        client.track({"type": "vew"}, anon_id="a")
        client.track(None)
        client.track(type="view", anon_id="a", item_id="x" * 300)
        client.track(type="view", anon_id="a", item_id="good")
        assert client.flush()
        assert client.dropped == {"unusable": 2, "too_long": 1}
    assert [one.reason for one in told] == ["unusable", "unusable", "too_long"]
    assert b"xxx" in told[2].events[0]


def test_errors_are_ours_and_a_default_hides_them(served: Served) -> None:
    with Client(served.url, "srv_wrong") as client:
        with pytest.raises(Forbidden, match="unknown"):
            client.recommend()
        slate = client.recommend("home", default=["best", "second"])
        assert [placed.item_id for placed in slate.items] == ["best", "second"]
        assert (slate.request_id, slate.rung, slate.degraded) == ("", "static", ["client:unauthorized"])
    with Client(served.url, served.secrets["server"]) as client:
        with pytest.raises(InvalidInput, match="no placement"):
            client.recommend("hoem")
        assert client.recommend("hoem", default=[]).items == []
        assert client.recommend(context=object(), default=[]).degraded == ["client:bad_query"]  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        Client(served.url, attempts=0)


def test_the_asyncio_client_does_the_same(served: Served) -> None:
    async def visit() -> None:
        async with AsyncClient(served.url, served.secrets["admin"]) as client:
            await client.put_items([Item(item_id=f"q{n}", title="t") for n in range(10)])
            await client.put_user(User(user_id="async"))
            assert (await client.user("async")).user_id == "async"
            ack = await client.send(*({"type": "view", "user_id": "async", "item_id": f"q{n}"} for n in range(4)))
            assert ack.accepted == 4
            for n in range(600):
                client.track(type="view", user_id="async", item_id=f"q{n % 10}", event_id=f"async-{n}")
            client.track(type="nothing")
            assert await client.flush()
            assert client.dropped == {"unusable": 1}
            slates = await asyncio.gather(*(client.recommend(user_id="async", n=3) for _ in range(20)))
            assert {len(slate.items) for slate in slates} == {3}
            assert min(slate.offset for slate in slates) >= ack.offset
            await client.patch_item("q1", price=1.0)
            await client.delete_item("q2")
            assert (await client.item("q1")).price == 1.0
            with pytest.raises(NotFound):
                await client.item("q2")
            await client.erase(user_id="async")
            assert (await client.recommend("hoem", default=["x"])).items[0].item_id == "x"

    asyncio.run(visit())


# ---------------------------------------------------------------- servers in trouble


def carried_out(calls: Calls, answers: list[Answer], steps: Any) -> tuple[list[float], Any]:
    """The pauses of a call whose exchanges give ``answers``, and its result or error."""
    pauses: list[float] = []
    reply: Any = None
    try:
        while True:
            step = steps.send(reply)
            reply = answers.pop(0) if isinstance(step, Exchange) else None
            if isinstance(step, Pause):
                pauses.append(step.seconds)
    except StopIteration as done:
        return pauses, done.value
    except Exception as wrong:
        return pauses, wrong


def test_pauses_double_are_drawn_at_random_and_obey_retry_after() -> None:
    calls = Calls(timeout_s=100.0, attempts=5, now_s=lambda: 0.0, draw=lambda: 0.5)
    lost = Answer(0, b"no answer")
    pauses, body = carried_out(
        calls, [lost, lost, Answer(503, b"", 3.0), lost, Answer(200, b"ok")], calls.ask("GET", "/x")
    )
    assert (pauses, body) == ([0.05, 0.1, 3.2, 0.4], b"ok")
    pauses, wrong = carried_out(calls, [lost] * 5, calls.ask("GET", "/x"))
    assert (len(pauses), type(wrong)) == (4, Unreachable)
    for status in (400, 401, 404, 500):  # asking again would not help
        assert carried_out(calls, [Answer(status, b"")], calls.ask("GET", "/x"))[0] == []


def test_no_pause_goes_beyond_the_time_of_the_call() -> None:
    calls = Calls(timeout_s=2.0, attempts=5, now_s=lambda: 0.0)
    pauses, wrong = carried_out(calls, [Answer(503, error("overloaded"), 30.0)], calls.ask("GET", "/x"))
    assert (pauses, type(wrong), wrong.retry_after_s) == ([], Overloaded, 30)


def test_a_busy_server_is_asked_again_with_the_same_events(stub: Stub) -> None:
    stub.script = [(429, {"retry-after": "0"}, error("too_many_events")), (503, {}, b"<html>"), (-1, {}, b"")]
    with Client(stub.url, attempts=5, timeout_s=5.0) as client:
        assert client.send({"type": "view", "anon_id": "a", "item_id": "i"}).offset == 7
        bodies = [body for _, body in stub.got]
        assert len(bodies) == 4
        assert all(body == bodies[0] for body in bodies)  # the id was made once, at the client
        assert client.offset == 7


def test_a_server_that_knows_less_is_asked_without_the_offset(stub: Stub) -> None:
    slate = b'{"request_id":"r","items":[],"placement":"home","offset":3}'
    stub.script = [(200, {}, b'{"accepted":1,"offset":99}'), (503, {}, error("behind")), (200, {}, slate)]
    with Client(stub.url, attempts=1) as client:
        client.send({"type": "view", "anon_id": "a", "item_id": "i"})
        assert client.recommend(anon_id="a").request_id == "r"
        assert [body.get("at_least", 0) for _, body in stub.got[1:]] == [99, 0]
        assert client.offset == 0


def test_a_search_is_asked_without_the_offset_as_well(stub: Stub) -> None:
    slate = b'{"request_id":"r","items":[],"placement":"search","offset":3}'
    stub.script = [(200, {}, b'{"accepted":1,"offset":99}'), (503, {}, error("behind")), (200, {}, slate)]
    with Client(stub.url, attempts=1) as client:
        client.send({"type": "view", "anon_id": "a", "item_id": "i"})
        assert client.search("red mug").request_id == "r"
        assert [path for path, _ in stub.got[1:]] == [
            "GET /v1/search?q=red+mug&at_least=99",
            "GET /v1/search?q=red+mug",
        ]


def test_a_flush_rests_between_failures(stub: Stub) -> None:
    stub.otherwise = (503, {}, b"{}")

    async def hurry() -> bool:
        async with AsyncClient(stub.url) as client:
            client.track(type="view", anon_id="a", item_id="i")
            return await client.flush(2.0)

    assert not asyncio.run(hurry())
    assert 1 <= len(stub.got) <= 20  # without a rest between them it was 43


def test_answers_that_are_no_answers(stub: Stub) -> None:
    stub.otherwise = (200, {}, b"<html>welcome to the hotel</html>")
    with Client(stub.url) as client:
        for call in (client.recommend, lambda: client.item("a"), lambda: client.send({"type": "home_view"})):
            with pytest.raises(Unreachable, match="is this the address"):
                call()
        assert client.recommend(default=[]).degraded == ["client:bad_answer"]
    stub.otherwise = (500, {}, b"\xff\xfe")
    with Client(stub.url) as client, pytest.raises(Unreachable, match="500"):
        client.item("a")


def test_events_wait_while_the_server_is_away_and_the_oldest_give_way() -> None:
    told: list[Dropped] = []
    stub = Stub()
    stub.close()
    client = Client(stub.url, outbox=5, timeout_s=0.2, every_s=0.0, on_drop=told.append)
    for n in range(3):
        client.track(type="view", anon_id="a", item_id=f"i{n}")
    until(lambda: client.waiting == 3)
    assert client.recommend(default=["x"]).items[0].item_id == "x"
    time.sleep(0.3)  # it has been tried, and nothing was lost by that
    assert client.waiting == 3
    for n in range(3, 9):
        client.track(type="view", anon_id="a", item_id=f"i{n}")
    assert client.waiting == 5
    assert client.dropped == {"full": 4}
    client.close(timeout_s=1.0)
    assert client.dropped == {"full": 4, "closed": 5}
    assert sum(len(one.events) for one in told) == 9
    assert len({event for one in told for event in one.events}) == 9
    client.track(type="view", anon_id="a", item_id="late")  # after the end: told, not raised
    assert client.waiting <= 1


def test_events_that_waited_arrive_when_the_server_is_back(tmp_path: Path, stub: Stub) -> None:
    stub.otherwise = (503, {"retry-after": "0"}, error("overloaded"))
    with Client(stub.url, timeout_s=1.0, every_s=0.0) as client:
        for n in range(4):
            client.track(type="view", anon_id="a", item_id=f"i{n}")
        until(lambda: len(stub.got) >= 2)
        stub.otherwise = (200, {}, b'{"accepted":4,"offset":4}')
        assert client.flush(10.0)
        last = stub.got[-1][1]["events"]
        assert last[-1]["item_id"] == "i3"
        assert client.dropped == {}
        assert client.offset == 4


def test_a_batch_that_is_too_large_is_halved_and_one_that_is_refused_is_told(stub: Stub) -> None:
    told: list[Dropped] = []
    stub.script = [
        (413, {}, error("too_large")),
        (200, {}, b'{"accepted":2,"offset":2}'),
        (401, {}, error("unauthorized", "unknown key")),
    ]
    with Client(stub.url, every_s=0.3, on_drop=told.append) as client:
        for n in range(4):
            client.track(type="view", anon_id="a", item_id=f"i{n}")
        until(lambda: not client.waiting)
    assert [len(body["events"]) for _, body in stub.got] == [4, 2, 2]
    assert [(one.reason, len(one.events), one.message) for one in told] == [("unauthorized", 2, "unknown key")]


def test_what_on_drop_raises_stays_there() -> None:
    def angry(_: Dropped) -> None:
        raise RuntimeError("no")

    with Client("http://127.0.0.1:1", on_drop=angry) as client:
        client.track(type="vew")
        assert client.dropped == {"unusable": 1}


def test_many_threads_share_a_client(served: Served) -> None:
    before = served.engine.offset
    with Client(served.url, served.secrets["server"]) as client:

        def visitor(number: int) -> None:
            for n in range(50):
                client.track(type="view", anon_id=f"t{number}", item_id=f"p{n}")
                client.recommend(anon_id=f"t{number}", n=2, shown=False)

        threads = [threading.Thread(target=visitor, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush()
    events = [stored.event for stored in served.engine.log.read(before, 10_000)]
    assert len({event.event_id for event in events}) == 300
    for number in range(6):
        mine = [event.item_id for event in events if isinstance(event, Interaction) and event.anon_id == f"t{number}"]
        assert mine == [f"p{n}" for n in range(50)]


def test_batches_are_bounded_in_number_and_size() -> None:
    assert batch_of([b"x"] * 2_000) == 500
    assert batch_of([b"x" * 400_000] * 5) == 2
    assert batch_of([b"x" * 2_000_000]) == 1
    assert batch_of([b"x"] * 10, 8) == 2


@pytest.mark.parametrize(
    ("text", "low", "high"), [("3", 3, 3), ("0.5", 0.5, 0.5), ("-1", 0, 0), ("Wed, 01 Jan 2020 00:00:00 GMT", 0, 0)]
)
def test_retry_after_is_seconds_or_a_date(text: str, low: float, high: float) -> None:
    found = seconds_of(text)
    assert found is not None
    assert low <= found <= high


@pytest.mark.parametrize("text", [None, "", "soon"])
def test_retry_after_that_is_neither_is_none(text: str | None) -> None:
    assert seconds_of(text) is None
