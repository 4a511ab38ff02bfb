"""The Segment and RudderStack routes over real HTTP: keys, bodies, what is kept of what is refused."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from endcap.server.foreign import SEGMENT_ROUTES
from endcap.types import Interaction, User
from served import Served, error_of, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("segment")
    with serving(folder, keys=True, allow_origins=["https://shop.example"]) as running:
        yield running


def basic(secret: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{secret}:".encode()).decode()}


def track(event: str, message_id: str, **properties: Any) -> dict[str, Any]:
    return {"type": "track", "event": event, "messageId": message_id, "anonymousId": "anon", "properties": properties}


def send(served: Served, body: Any, route: str = "batch", kind: str = "server") -> dict[str, Any]:
    answer = served.client.post(f"/v1/{route}", json=body, headers=basic(served.secrets[kind]))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def stored(served: Served, event_id: str) -> Interaction | None:
    for entry in served.engine.log.read(0, 10**6):
        if isinstance(entry.event, Interaction) and entry.event.event_id == event_id:
            return entry.event
    return None


@pytest.mark.parametrize(("route", "kind"), SEGMENT_ROUTES.items())
def test_every_route_takes_its_message_whatever_the_content_type(served: Served, route: str, kind: str) -> None:
    message: dict[str, Any] = {"messageId": f"m-{route}", "anonymousId": "a", "userId": "u", "event": "Product Viewed"}
    message["properties"] = {"product_id": "p1"}
    body: dict[str, Any] = message if kind != "batch" else {"batch": [{**message, "type": "track"}]}
    headers = {**basic(served.secrets["server"]), "content-type": "text/plain"}
    answer = served.client.post(f"/v1/{route}", content=json.dumps(body), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["rejected"] == []
    assert answer.json()["accepted"] == 1


def test_an_event_is_in_the_next_slate_and_a_second_delivery_counts_once(served: Served) -> None:
    order = track(
        "Order Completed", "o-1", order_id="o", products=[{"product_id": "p1"}, {"product_id": "p2", "quantity": 3}]
    )
    first, again = send(served, {"batch": [order]}), send(served, {"batch": [order]})
    assert (first["accepted"], first["duplicates"]) == (2, 0)
    assert (again["accepted"], again["duplicates"]) == (0, 2)
    line = stored(served, "o-1:1")
    assert line is not None
    assert (line.type, line.item_id, line.quantity, line.order_id) == ("purchase", "p2", 3.0, "o")


def test_gzip_is_read_within_the_limit_and_other_compression_refused(served: Served) -> None:
    headers = {**basic(served.secrets["server"]), "content-encoding": "gzip"}
    body = json.dumps({"batch": [track("Product Viewed", "zip-1", product_id="p1")]}).encode()
    assert served.client.post("/v1/batch", content=gzip.compress(body), headers=headers).json()["accepted"] == 1
    bomb = gzip.compress(b" " * 50_000_000)
    error_of(served.client.post("/v1/batch", content=bomb, headers=headers), 413)
    error_of(served.client.post("/v1/batch", content=gzip.compress(body)[:-9], headers=headers), 400)
    error_of(served.client.post("/v1/batch", content=body, headers=headers), 400)
    error_of(served.client.post("/v1/batch", content=body, headers={**headers, "content-encoding": "br"}), 415)


@pytest.mark.parametrize("how", ["basic", "bearer", "body"])
def test_a_key_comes_by_any_of_its_ways(served: Served, how: str) -> None:
    secret = served.secrets["browser"]
    headers = {"basic": basic(secret), "bearer": {"authorization": f"Bearer {secret}"}, "body": {}}[how]
    body = track("Product Viewed", f"key-{how}", product_id="p1") | ({"writeKey": secret} if how == "body" else {})
    assert served.client.post("/v1/t", json=body, headers=headers).json()["accepted"] == 1


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Basic !!"}, {"authorization": "Basic eDo="}, {"authorization": "Digest x"}]
)
def test_without_a_right_key_nothing_is_taken(served: Served, headers: dict[str, str]) -> None:
    error_of(served.client.post("/v1/t", json=track("Product Viewed", "no", product_id="p"), headers=headers), 401)
    error_of(served.client.post("/v1/t", content=b"[" * 10_000, headers=headers), 401)
    assert stored(served, "no:0") is None


def test_a_browser_key_names_no_user_but_loses_no_event(served: Served) -> None:
    message = track("Product Viewed", "b-1", product_id="p1", name="Fake title") | {"userId": "someone"}
    assert send(served, {"batch": [message]}, kind="browser")["accepted"] == 1
    event = stored(served, "b-1:0")
    assert event is not None
    assert (event.user_id, event.anon_id) == (None, "anon")
    assert served.client.get("/v1/items/p1", headers=served.headers("admin")).status_code == 404, (
        "no hints from a browser"
    )
    refused = send(served, {"batch": [track("Order Completed", "b-2", products=[{"product_id": "p"}])]}, kind="browser")
    assert [refusal["code"] for refusal in refused["rejected"]] == ["type_not_allowed"]


def test_traits_are_laid_over_what_the_shop_said_and_hints_never_are(served: Served) -> None:
    served.engine.put_user(User(user_id="u-1", traits={"plan": "free", "own": 1.0}))
    message = {"type": "identify", "messageId": "i-1", "userId": "u-1", "anonymousId": "a-1"}
    send(served, {"batch": [message | {"traits": {"plan": "gold", "email": "jane@example.com"}}]})
    user = served.engine.user("u-1")
    assert (user.traits, user.anon_ids) == ({"plan": "gold", "own": 1.0}, ["a-1"])
    viewed = track("Product Viewed", "h-1", product_id="hinted", name="First", category="A > B")
    send(
        served,
        {"batch": [viewed, viewed | {"messageId": "h-2", "properties": {"product_id": "hinted", "name": "Second"}}]},
    )
    item = served.engine.item("hinted")
    assert (item.title, item.categories) == ("First", [["A", "B"]])
    served.engine.delete_items(["hinted"])
    send(served, {"batch": [viewed | {"messageId": "h-3"}]})
    assert served.client.get("/v1/items/hinted", headers=served.headers("admin")).status_code == 404


def test_what_is_refused_is_kept_with_its_record_and_the_name_of_the_adapter(served: Served) -> None:
    good = track("Product Viewed", "d-1", product_id="p1")
    answer = send(served, {"batch": [good, track("Product Viewed", "d-2"), "text", {"type": "dance"}]})
    assert answer["success"] is True
    assert answer["accepted"] == 1
    assert [(refusal["index"], refusal["code"]) for refusal in answer["rejected"]] == [
        (1, "missing_item"), (2, "wrong_type"), (3, "unknown_type"),
    ]  # fmt: skip
    kept = served.client.get("/v1/quarantine?n=3", headers=served.headers("admin")).json()["records"]
    assert {record["source"] for record in kept} == {"segment"}
    assert {record["raw"] for record in kept} >= {'"text"', '{"type":"dance"}'}
    error_of(served.client.post("/v1/b", content=b'{"batch": [', headers=basic(served.secrets["server"])), 400)
    (unread,) = served.client.get("/v1/quarantine?n=1", headers=served.headers("admin")).json()["records"]
    assert (unread["source"], unread["raw"]) == ("segment", '{"batch": [')


def test_erasing_a_person_takes_foreign_refusals_along(served: Served) -> None:
    send(served, {"batch": [{"type": "dance", "userId": 4711}, {"type": "dance", "userId": 47115}]})
    served.client.delete("/v1/users/4711", headers=served.headers("admin")).raise_for_status()
    kept = served.client.get("/v1/quarantine", headers=served.headers("admin")).text
    assert "47115" in kept
    assert "4711}" not in kept


def test_half_characters_and_nan_cost_their_own_record_only(served: Served) -> None:
    body = (
        b'{"batch":[{"type":"track","event":"Product Viewed","anonymousId":"\\ud83d","properties":{"product_id":"p"}},'
        b'{"type":"track","event":"Product Viewed","anonymousId":"a","properties":{"product_id":"p","price":NaN}},'
        b'{"type":"track","event":"Product Viewed","anonymousId":"a","properties":{"product_id":"p"}}]}'
    )
    answer = served.client.post("/v1/batch", content=body, headers=basic(served.secrets["server"]))
    assert answer.status_code == 200
    assert [refusal["code"] for refusal in answer.json()["rejected"]] == ["bad_encoding", "bad_number"]
    assert answer.json()["accepted"] == 1


def test_a_batch_over_the_limit_is_refused_whole(served: Served) -> None:
    headers = basic(served.secrets["server"])
    error_of(served.client.post("/v1/batch", json={"batch": [{}] * 5_001}, headers=headers), 413)
    wide = track("Order Completed", "w", products=[{"product_id": "p"}] * 1_000)
    error_of(served.client.post("/v1/batch", json={"batch": [wide] * 25}, headers=headers), 413)


def test_the_source_configuration_and_the_browsers_question_before(served: Served) -> None:
    origin = {"origin": "https://shop.example"}
    answer = served.client.get("/sourceConfig?p=npm&v=3.34.1&writeKey=x", headers=origin)
    assert answer.json()["source"]["enabled"] is True
    assert answer.headers["access-control-allow-origin"] == origin["origin"]
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "anonymousid,authorization"}
    allowed: httpx.Response = served.client.request("OPTIONS", "/v1/track", headers=origin | asked)
    assert allowed.status_code == 200
    assert {"anonymousid", "authorization", "content-type"} <= set(
        allowed.headers["access-control-allow-headers"].split(", ")
    )
