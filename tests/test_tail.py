"""The live stream over real HTTP: resuming, figures, its end, and its bound; and the dry run of events."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from endcap.server import tail
from endcap.server.metrics import BOUNDS_S, quantile_ms
from served import Served, error_of, serving, view


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("tail")) as running:
        yield running


def heard(served: Served, path: str = "/v1/tail?seconds=1", **headers: str) -> list[dict[str, Any]]:
    """Every message of one stream, as fields."""
    answer = served.client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream"
    blocks = [block for block in answer.text.split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]  # type: ignore[misc]


def offsets(messages: list[dict[str, Any]]) -> list[int]:
    return [int(message["id"]) for message in messages if message.get("event") == "event"]


def test_a_stream_tells_every_event_once_and_resumes_where_it_was(served: Served) -> None:
    served.send(*[view("a", f"i{k}") for k in range(5)])
    first = heard(served)
    assert offsets(first) == list(range(1, served.engine.offset + 1))
    told = [json.loads(message["data"]) for message in first if message.get("event") == "event"]
    assert [one["event"]["item_id"] for one in told] == [f"i{k}" for k in range(5)]
    served.send(view("a", "later"))
    assert offsets(heard(served, **{"last-event-id": str(max(offsets(first)))})) == [6]
    assert offsets(heard(served, "/v1/tail?seconds=1&after=4")) == [5, 6]
    assert offsets(heard(served, "/v1/tail?seconds=1&after=9999")) == []


def test_an_event_sent_meanwhile_arrives_and_counts(served: Served) -> None:
    sender = threading.Timer(0.3, lambda: served.send(view("b", "meanwhile")))
    sender.start()
    messages = heard(served, "/v1/tail?seconds=3")
    sender.join()
    assert offsets(messages)[-1] == served.engine.offset
    pulses = [json.loads(message["data"]) for message in messages if message.get("event") == "pulse"]
    assert pulses[-1]["offset"] == served.engine.offset
    assert max(pulse["events_per_s"] for pulse in pulses) > 0
    assert max(pulse["ingest_p50_ms"] or 0 for pulse in pulses) > 0


def test_more_events_than_anybody_reads_are_left_out_and_counted(served: Served) -> None:
    before = served.engine.offset
    served.send(*[view("c", f"many{k}") for k in range(tail.MOST + 30)])
    messages = heard(served, f"/v1/tail?seconds=1&after={before}")
    assert offsets(messages) == list(range(before + 31, before + 31 + tail.MOST))
    assert json.loads(messages[-1]["data"])["left_out"] == 30


def test_only_so_many_streams_are_open_and_a_client_that_goes_frees_its_place(served: Served) -> None:
    service = served.server.service
    with served.client.stream("GET", "/v1/tail?seconds=60") as answer:
        next(answer.iter_bytes())
        assert service.tails == 1
        service.tails += tail.MOST_TAILS
        try:
            assert error_of(served.client.get("/v1/tail"), 503)["code"] == "overloaded"
        finally:
            service.tails -= tail.MOST_TAILS
    deadline = time.monotonic() + 10
    while service.tails and time.monotonic() < deadline:
        time.sleep(0.05)
    assert service.tails == 0


@pytest.mark.parametrize("header", ["x", "-1", "9" * 17])
def test_a_last_event_id_that_is_no_offset_is_refused(served: Served, header: str) -> None:
    answer = served.client.get("/v1/tail?seconds=1", headers={"last-event-id": header})
    assert error_of(answer, 400)["field"] == "Last-Event-ID"


def test_a_dry_run_says_what_would_come_of_each_event_and_changes_nothing(served: Served) -> None:
    served.send(view("d", "known", event_id="once"))
    state, records = served.engine.state_hash(), served.client.get("/v1/quarantine").json()
    events = [view("d", "known", event_id="once"), {"type": "gaze", "anon_id": "d"}, view("d", "brand-new")]
    found = served.client.post("/v1/events/check", json=events).json()
    assert [event["item_id"] for event in found["taken"]] == ["known", "brand-new"]
    assert all(event["ts"] > 0 for event in found["taken"])
    assert [(one["index"], one["code"]) for one in found["rejected"]] == [(1, "unknown_type")]
    assert found["duplicates"] == ["once"]
    assert found["new_items"] == ["brand-new"]
    assert served.engine.state_hash() == state
    assert served.client.get("/v1/quarantine").json() == records
    taken = served.client.post("/v1/events/check?browser=1", json={"events": [{**view("d", "x"), "user_id": "u"}]})
    assert [one["code"] for one in taken.json()["rejected"]] == ["user_not_allowed"]


def test_a_quantile_lies_in_the_bucket_that_holds_it() -> None:
    counts = [0] * (len(BOUNDS_S) + 1)
    assert quantile_ms(counts, 0.5) is None
    counts[3] = 90  # 1 to 2.5 ms
    counts[6] = 10  # 10 to 25 ms
    middle, high = quantile_ms(counts, 0.5), quantile_ms(counts, 0.99)
    assert middle is not None
    assert high is not None
    assert 1.0 < middle < 2.5
    assert 10.0 < high < 25.0
    counts[-1] = 1_000
    assert quantile_ms(counts, 0.99) == 1e3 * BOUNDS_S[-1]
