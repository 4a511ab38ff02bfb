"""Adapters: recorded shapes become the right events, ours survive a round trip, spoiled payloads break nothing."""

from __future__ import annotations

import base64
import hmac
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.config import CleanConfig, Config, IntakeConfig
from endcap.events.adapters import ga4, personalize, retail, segment, shopify
from endcap.events.adapters.ga4 import GoogleAnalytics
from endcap.events.adapters.mapping import Mapped, Reading
from endcap.events.adapters.personalize import Personalize
from endcap.events.adapters.retail import GoogleRetail
from endcap.events.adapters.segment import Segment
from endcap.events.adapters.shopify import ShopifyPixel
from endcap.events.adapters.tables import Table
from endcap.preprocess.validate import validate
from endcap.runtime import VirtualClock
from endcap.server.catalogue import merged
from endcap.server.foreign import take_history
from endcap.types import Context, Interaction, Refusal
from foreign import ADAPTERS, READING, RECEIVED, all_cases, cases, mutated, outcomes, written
from served import Served, serving

QUICK, SLOW = 300, 10_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config = Config(intake=IntakeConfig(traits=["plan", "age_group"], shopify_secret=SECRET, woocommerce_secret=SECRET))
    with serving(tmp_path_factory.mktemp("adapters"), config=config, clock=VirtualClock(RECEIVED)) as running:
        yield running


# ---------------------------------------------------------------- recorded shapes


@pytest.mark.parametrize(
    ("name", "case"), all_cases(), ids=lambda given: given if isinstance(given, str) else given["title"]
)
def test_a_recorded_shape_becomes_what_it_says(name: str, case: dict[str, Any]) -> None:
    assert outcomes(ADAPTERS[name](READING), case["input"]) == case["expected"]


@pytest.mark.parametrize(
    ("name", "case"), all_cases(), ids=lambda given: given if isinstance(given, str) else given["title"]
)
def test_every_event_of_a_recorded_shape_is_usable_live_and_as_history(name: str, case: dict[str, Any]) -> None:
    for received_at in (RECEIVED, 0):
        for outcome in outcomes(ADAPTERS[name](READING), case["input"], received_at):
            if outcome.get("kind") == "interaction":
                event = msgspec.convert(outcome, Interaction)
                checked = validate(event, now=event.received_at or RECEIVED, config=CleanConfig(), index=0)
                if isinstance(checked, Refusal):
                    off_scale = checked.code == "bad_number" and event.type == "rating" and event.value is None
                    assert off_scale or checked.code in ("missing_item", "missing_user"), checked
                assert received_at or event.received_at == event.ts > 0


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_repeated_delivery_gives_the_same_ids_and_no_id_twice(name: str) -> None:
    for case in cases(name):
        first, again = (outcomes(ADAPTERS[name](READING), case["input"], at) for at in (RECEIVED, RECEIVED + 60_000))
        ids = [outcome["event_id"] for outcome in first if outcome.get("event_id")]
        assert ids == [outcome["event_id"] for outcome in again if outcome.get("event_id")], case["title"]
        assert len(ids) == len(set(ids)), case["title"]


# ---------------------------------------------------------------- there and back


@dataclass(frozen=True)
class Shape:
    """How an event of ours is written in a foreign shape: the inverse of an adapter, from the adapter's own tables."""

    adapter: Mapped
    carries: frozenset[str]  # fields that the shape has a place for
    types: frozenset[str]
    write: Any
    rounds: dict[str, Any] = field(default_factory=dict)


def as_segment(event: dict[str, Any]) -> dict[str, Any]:
    name = next(name for name, kinds in segment.TYPES.items() if event["type"] in kinds)
    message = written(Table(segment.MESSAGE), event, {"event_id": lambda text: text.rpartition(":")[0] or text})
    message["context"] = {**message.get("context", {}), **written(Table(segment.CONTEXT), event.get("context", {}))}
    properties = written(Table(segment.PROPERTIES), event)
    product = written(Table(segment.PRODUCT), event, {"position": lambda place: place + 1})
    if event["type"] == "rating":
        product["rating"] = str(event["value"] * 2 + 3)
    return {**message, "type": "track", "event": name, "properties": {**properties, **product}}


def as_ga4(event: dict[str, Any]) -> dict[str, Any]:
    name = next(name for name, kinds in ga4.TYPES.items() if event["type"] in kinds)
    session = {"session_id": lambda text: text.partition(".")[2]} if "anon_id" in event else {}
    record = written(Table(ga4.EVENT), event, {"ts": lambda ts: ts * 1000, **session})
    record = merged(record, written(Table(ga4.CONTEXT), event.get("context", {})))
    params = [{"key": key, "value": {"string_value": value}} for key, value in record.pop("params", {}).items()]
    params.append({"key": "event_id", "value": {"string_value": event["event_id"].rpartition(":")[0]}})
    return {**record, "event_name": name, "event_params": params, "items": [written(Table(ga4.ITEM), event)]}


def as_pixel(event: dict[str, Any]) -> dict[str, Any]:
    """A view, or a change of the cart with its quantity."""
    variant = written(Table(shopify.VARIANT), event)
    line = {"cartLine": {"merchandise": variant, "quantity": event.get("quantity")}}
    record = written(Table(shopify.EVENT), event, {"event_id": lambda text: text.rpartition(":")[0]})
    record["context"] = written(Table(shopify.CONTEXT), event.get("context", {}))
    name = next(name for name, kinds in shopify.TYPES.items() if event["type"] in kinds)
    data = {**record.pop("data", {}), **({"productVariant": variant} if event["type"] == "view" else line)}
    return {**record, "name": name, "data": data}


def as_retail(event: dict[str, Any]) -> dict[str, Any]:
    name = next(name for name, kinds in retail.TYPES.items() if event["type"] in kinds)
    record = written(Table(retail.EVENT), event, {"event_id": lambda text: text.rpartition(":")[0]})
    return {**record, "eventType": name, "productDetails": [written(Table(retail.PRODUCT), event)]}


def as_personalize(event: dict[str, Any]) -> dict[str, Any]:
    record = written(Table(personalize.EVENT), event, {"ts": lambda ts: ts / 1000})
    properties = {"properties": json.dumps({"price": event["price"]})} if "price" in event else {}
    record["eventId"] = event["event_id"].rpartition(":")[0]
    return {**record, **properties, "EVENT_TYPE": event["type"]}


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(
    lambda text: len(text.encode()) <= 200 and not text.startswith("gid:")
)
PLAIN = {
    "ts": st.integers(1_000_000_000_000, RECEIVED),
    "user_id": TEXTS, "anon_id": TEXTS, "session_id": TEXTS, "item_id": TEXTS, "variant_id": TEXTS, "order_id": TEXTS,
    "cart_id": TEXTS, "placement": TEXTS, "request_id": TEXTS, "query": TEXTS,
    "price": st.floats(0, 1e6), "quantity": st.floats(0.01, 1e5), "position": st.integers(0, 500),
    "currency": st.sampled_from(["EUR", "USD", "CNY"]),
}  # fmt: skip
SHAPES: dict[str, Shape] = {
    "segment": Shape(
        Segment(Reading()), frozenset(PLAIN) | {"context"},
        frozenset({"view", "click", "cart_add", "cart_remove", "purchase", "wishlist_add", "rating", "share"}),
        as_segment,
    ),
    "ga4": Shape(
        GoogleAnalytics(Reading()), frozenset(PLAIN) - {"session_id"} | {"context"},
        frozenset({"view", "click", "cart_add", "cart_remove", "purchase", "refund", "wishlist_add", "share"}), as_ga4,
    ),
    "retail": Shape(
        GoogleRetail(Reading()),
        frozenset(PLAIN) - {"variant_id", "placement", "request_id", "position", "item_id"},
        frozenset({"view", "cart_add", "cart_remove", "purchase"}), as_retail,
    ),
    "shopify": Shape(
        ShopifyPixel(Reading()), frozenset({"ts", "anon_id", "variant_id", "price", "currency"}),
        frozenset({"view", "cart_add", "cart_remove"}), as_pixel,
    ),
    "personalize": Shape(
        Personalize(Reading()), frozenset({"ts", "user_id", "session_id", "request_id", "price"}),
        frozenset({"view", "click", "cart_add", "purchase", "like", "share"}), as_personalize,
    ),
}  # fmt: skip


@st.composite
def events_for(draw: st.DrawFn, shape: Shape) -> dict[str, Any]:
    kind = draw(st.sampled_from(sorted(shape.types)))
    event: dict[str, Any] = {"type": kind, "event_id": draw(TEXTS) + ":0", "item_id": draw(TEXTS)}
    for name in sorted(shape.carries - {"context", "item_id"}):
        if name == "ts" or draw(st.booleans()):
            event[name] = draw(PLAIN[name])
    if "user_id" not in event and "anon_id" not in event:
        event["anon_id" if "anon_id" in shape.carries else "user_id"] = draw(TEXTS)
    if "session_id" in event and "anon_id" not in shape.carries:
        event["user_id"] = draw(TEXTS)
    if kind == "rating":
        event["value"] = draw(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]))
    if "context" in shape.carries and draw(st.booleans()):
        event["context"] = {
            "device": draw(st.sampled_from(["mobile", "tablet"])),
            "region": draw(TEXTS),
            "url": draw(TEXTS),
        }
    return event


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None)
@given(data=st.data())
def test_an_event_of_ours_survives_the_foreign_shape(name: str, data: st.DataObject) -> None:
    shape = SHAPES[name]
    event = data.draw(events_for(shape))
    (back,) = (
        one
        for one in outcomes(shape.adapter, json.loads(json.dumps(shape.write(event))), 0)
        if one.get("kind") != "item"
    )
    assert "refused" not in back, back
    expected = msgspec.convert({"kind": "interaction", **event, "received_at": event["ts"]}, Interaction)
    found = msgspec.structs.replace(msgspec.convert(back, Interaction), props=None)
    assert found == expected


# ---------------------------------------------------------------- spoiled payloads

SECRET = "secret of the webhooks"


def signed(header: str, content: bytes) -> dict[str, str]:
    return {header: base64.b64encode(hmac.digest(SECRET.encode(), content, "sha256")).decode()}


def addressed(name: str, body: Any, number: int) -> tuple[str, Any, str, str]:
    """Where a body goes: address, what is sent there, the header of its topic, the header of its signature."""
    if name in ("shopify_webhook", "woocommerce") and isinstance(body, dict):
        shop = "shopify" if name == "shopify_webhook" else "woocommerce"
        header = "x-shopify-hmac-sha256" if shop == "shopify" else "x-wc-webhook-signature"
        return f"/v1/{shop}/webhooks", body.get("payload"), str(body.get("topic")), header
    plain = {
        "segment": ("/v1/t", "/v1/batch")[number % 2],
        "ga4": "/mp/collect",
        "retail": f"/v2/projects/p/userEvents:{('write', 'import')[number % 2]}",
        "personalize": "/events",
        "shopify": "/v1/shopify/pixel",
        "cloudevents": "/v1/cloudevents",
        "recombee": "/v1/recombee",
    }
    return plain.get(name, "/v1/shopify/webhooks"), body, "", "x-shopify-hmac-sha256"


def spoil(served: Served, name: str, rounds: int, seed: int) -> None:
    """Send spoiled payloads: every answer is below 500, and most bodies can still be read."""
    chance = random.Random(seed)
    bodies = [case["input"] for case in cases(name)]
    if name in ("snowplow", "gorse", "metarank"):  # files only
        adapter = ADAPTERS[name](READING)
        for _ in range(rounds):
            body = json.loads(json.dumps(mutated(chance.choice(bodies), chance)))
            found = [
                one for index, record in enumerate(adapter.records(body)) for one in adapter.read(record, index, 0)
            ]
            events = [one for one in found if not isinstance(one, Refusal)]
            ack = take_history(served.engine, name, events, [(one, b"{}") for one in found if isinstance(one, Refusal)])
            assert ack.accepted + ack.duplicates + len(ack.rejected) == len(events)
        return
    statuses: dict[int, int] = {}
    for number in range(rounds):
        address, body, topic, header = addressed(name, mutated(chance.choice(bodies), chance), number)
        content = json.dumps(body).encode()
        if number % 10 == 0:
            content = content[: chance.randrange(len(content) + 1)] + chance.choice([b"", b"\xff", b"}", b"[" * 2_000])
        topic = "".join(char for char in topic if "!" <= char <= "~")[:100]
        headers = signed(header, content) | {"x-shopify-topic": topic, "x-wc-webhook-topic": topic}
        answer = served.client.post(address, content=content, headers=headers)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        assert answer.status_code in (200, 400, 413), (answer.status_code, content[:500], answer.text)
    print(name, statuses)
    assert statuses[200] > rounds // 2
    served.client.get("/readyz").raise_for_status()


@pytest.mark.parametrize("name", ADAPTERS)
def test_spoiled_payloads_never_break_the_server(served: Served, name: str) -> None:
    spoil(served, name, QUICK, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTERS)
def test_ten_thousand_spoiled_payloads_never_break_the_server(served: Served, name: str) -> None:
    spoil(served, name, SLOW, 2)


def test_a_table_reads_the_first_source_that_holds_a_value() -> None:
    table = Table({"item_id": ("a.b", "c"), "price": ("p", lambda value: float(value) * 2), "ts": "t"})
    assert table.read({"a": {"b": ""}, "c": 7, "p": "3"}) == {"item_id": "7", "price": 6.0}
    assert table.read({"a": "text", "c": "x", "t": 1_700_000_000}) == {"item_id": "x", "ts": 1_700_000_000_000}
    assert table.read(None) == {}
    assert Context() is not None
