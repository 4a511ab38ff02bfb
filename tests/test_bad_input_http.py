"""Known ways to get a request wrong, over real HTTP: a clear error for the bad part, the rest taken, never a 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bad_input import CORPUS, NOW, STRANGE_BUT_GOOD
from endcap.runtime import VirtualClock
from served import Served, error_of, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("bad"), clock=VirtualClock(NOW)) as running:
        yield running


@pytest.mark.parametrize(("body", "expected"), [row[1:] for row in CORPUS], ids=[row[0] for row in CORPUS])
def test_a_bad_body_of_events_is_refused_for_its_reason(served: Served, body: bytes, expected: int | str) -> None:
    answer = served.client.post("/v1/events", content=body)
    if isinstance(expected, int):
        error_of(answer, expected)
        return
    assert answer.status_code == 200, answer.text
    ack = answer.json()
    assert [(refusal["index"], refusal["code"]) for refusal in ack["rejected"]] == [(1, expected)]
    assert ack["accepted"] + ack["duplicates"] == 2
    assert ack["rejected"][0]["message"]


@pytest.mark.parametrize("event", [row[1] for row in STRANGE_BUT_GOOD], ids=[row[0] for row in STRANGE_BUT_GOOD])
def test_what_is_only_strange_is_taken(served: Served, event: dict[str, Any]) -> None:
    ack = served.send(event)
    assert ack["rejected"] == []


def nested(depth: int) -> dict[str, Any]:
    """A filter of some depth."""
    tree: dict[str, Any] = {"eq": {"brand": "b"}}
    for _ in range(depth):
        tree = {"not": tree}
    return tree


BAD_QUERIES: list[tuple[str, Any, str | None]] = [
    ("no object", [], None),
    ("n of zero point five", {"n": 0.5}, "n"),
    ("negative n", {"n": -1}, "n"),
    ("n over the limit", {"n": 201}, "n"),
    ("n beyond 64 bits", {"n": 10**30}, "n"),
    ("n that is text", {"n": "12"}, "n"),
    ("an unknown placement", {"placement": "hoem"}, "placement"),
    ("a placement of 10,000 characters", {"placement": "x" * 10_000}, "placement"),
    ("a user id of 10,000 characters", {"user_id": "x" * 10_000}, "user_id"),
    ("a user id of 257 bytes in 129 characters", {"anon_id": "\u00e9" * 129}, "anon_id"),
    ("an empty user id", {"user_id": ""}, "user_id"),
    ("a number for a user id", {"user_id": 7}, "user_id"),
    ("too many items", {"items": ["i"] * 201}, "items"),
    ("an empty item id", {"items": [""]}, "items"),
    ("too many exclusions", {"exclude": ["i"] * 1_001}, "exclude"),
    ("a negative offset", {"at_least": -1}, "at_least"),
    ("an offset beyond 64 bits", {"at_least": 2**63}, "at_least"),
    ("a negative time", {"ts": -1}, "ts"),
    ("a time in microseconds", {"ts": NOW * 1_000}, "ts"),
    ("an impossible zone", {"context": {"utc_offset_min": 10**6}}, "context.utc_offset_min"),
    ("a region of 10,000 characters", {"context": {"region": "x" * 10_000}}, "context.region"),
    ("a context that is text", {"context": "mobile"}, "context"),
    ("a filter that is a list", {"filter": []}, "filter"),
    ("a filter of depth 100", {"filter": nested(100)}, None),
    ("a filter of 300 nodes", {"filter": {"or": [{"eq": {"brand": "b"}}] * 300}}, None),
    ("an unknown field in a filter", {"filter": {"eq": {"brnad": "b"}}}, None),
    ("an operator that does not exist", {"filter": {"like": {"brand": "b"}}}, None),
]


@pytest.mark.parametrize(("query", "field"), [row[1:] for row in BAD_QUERIES], ids=[row[0] for row in BAD_QUERIES])
def test_a_bad_query_is_refused_and_the_field_named(served: Served, query: Any, field: str | None) -> None:
    error = error_of(served.client.post("/v1/recommend", json=query), 400)
    if field is not None:
        assert error["field"] == field
    error_of(served.client.post("/v1/why-not", json={"query": query}), 400)


def test_json_of_any_depth_is_refused_not_recursed_into(served: Served) -> None:
    for body in (b"[" * 100_000, b'{"filter":' + b'{"not":' * 50_000 + b"1" + b"}" * 50_001):
        for method, address in (
            ("POST", "/v1/recommend"),
            ("POST", "/v1/items"),
            ("PUT", "/v1/items/i"),
            ("PUT", "/v1/users/u"),
        ):
            error_of(served.client.request(method, address, content=body), 400)


@pytest.mark.parametrize("text", [
    "n=", "n=x", "n=-1", "n=201", "n=1e3", "n=99999999999999999999999", "nn=3", "explain=maybe", "ts=-1", "at_least=x",
    "user_id=%FF", "anon_id=" + "x" * 300, "utc_offset_min=9999", "placement=nowhere", "%FF=1", "a=1&" * 2_000,
])  # fmt: skip
def test_a_bad_address_is_refused_and_says_why(served: Served, text: str) -> None:
    if text == "n=":
        assert served.client.get(f"/v1/recommend?{text}").status_code == 200, "an empty value is no value"
    else:
        assert error_of(served.client.get(f"/v1/recommend?{text}"), 400)["message"]


BAD_ITEMS: list[tuple[str, bytes]] = [
    ("no JSON", b"title"),
    ("empty", b""),
    ("a list", b"[]"),
    ("null", b"null"),
    ("a NaN price", b'{"price":NaN}'),
    ("an infinite price", b'{"price":1e999}'),
    ("a negative price", b'{"price":-0.01}'),
    ("a price that is text", b'{"price":"3"}'),
    ("a price beyond measure", b'{"price":1e13}'),
    ("an availability we do not know", b'{"availability":"soon"}'),
    ("categories without paths", b'{"categories":["a"]}'),
    ("stock beyond 32 bits", b'{"stock_qty":99999999999}'),
    ("a date beyond 2100", b'{"expires_at":99999999999999}'),
    ("a date beyond 64 bits", b'{"published_at":' + b"9" * 30 + b"}"),
    ("an infinite vector", b'{"vectors":{"text":[1.0,1e999]}}'),
    ("wrong encoding", b'{"title":"\xff"}'),
    ("half a character", b'{"title":"\\ud800"}'),
    ("UTF-16", '{"title":"t"}'.encode("utf-16")),
    ("a record of 100 kB", json.dumps({"description": "x" * 100_000}).encode()),
    ("a group of 10,000 characters", json.dumps({"group_id": "x" * 10_000}).encode()),
]


@pytest.mark.parametrize("body", [row[1] for row in BAD_ITEMS], ids=[row[0] for row in BAD_ITEMS])
def test_a_bad_item_is_refused_alone_and_among_others(served: Served, body: bytes) -> None:
    served.client.put("/v1/items/kept", json={"title": "before"})
    error_of(served.client.put("/v1/items/kept", content=body), 400)
    error_of(served.client.patch("/v1/items/kept", content=body), 400)
    assert served.client.get("/v1/items/kept").json() == {"item_id": "kept", "title": "before"}
    if body.startswith(b"{") and b"\n" not in body:
        record = b'{"item_id":"bad",' + body[1:]
        answer = served.client.post("/v1/items", content=b'{"item_id":"good1"}\n' + record + b'\n{"item_id":"good2"}')
        assert answer.status_code == 200, answer.text
        assert answer.json()["accepted"] == 2
        assert [refusal["index"] for refusal in answer.json()["rejected"]] == [1]


@pytest.mark.parametrize("body", [
    b"", b"[]", b"1", b'{"anon_ids":"a"}', b'{"anon_ids":[""]}', b'{"anon_ids":["' + b"x" * 300 + b'"]}',
    b'{"consent":"yes"}', b'{"created_at":-1}', b'{"traits":{"a":[1]}}', json.dumps({"anon_ids": ["a"] * 65}).encode(),
    json.dumps({"traits": {"a": "x" * 20_000}}).encode(), b'{"personalization":1}',
])  # fmt: skip
def test_a_bad_user_is_refused(served: Served, body: bytes) -> None:
    error_of(served.client.put("/v1/users/u", content=body), 400)
    error_of(served.client.get("/v1/users/u"), 404)
