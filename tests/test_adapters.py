"""Adapters: recorded shapes become the right events, ours survive a round trip, spoiled payloads break nothing."""

from __future__ import annotations

import base64
import hmac
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.config import CleanConfig, Config, IntakeConfig
from endcap.events.adapters import ga4, gorse, metarank, personalize, recombee, retail, segment, shopify, snowplow
from endcap.events.adapters.cloudevents import CloudEvents
from endcap.events.adapters.ga4 import GoogleAnalytics
from endcap.events.adapters.gorse import Gorse
from endcap.events.adapters.mapping import Mapped, Reading
from endcap.events.adapters.metarank import Metarank
from endcap.events.adapters.personalize import Personalize
from endcap.events.adapters.recombee import Recombee
from endcap.events.adapters.retail import GoogleRetail
from endcap.events.adapters.segment import Segment
from endcap.events.adapters.shopify import ShopifyPixel
from endcap.events.adapters.snowplow import Snowplow
from endcap.events.adapters.tables import Table
from endcap.preprocess.validate import validate
from endcap.runtime import VirtualClock
from endcap.server.catalogue import merged
from endcap.server.foreign import take_history
from endcap.types import ACTIONS, Context, Interaction, Refusal
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
    named: str | None = "{}:0"  # how its id becomes ours; None: it has no id, so one is made of the record
    sums: bool = False  # it carries the price of the whole line, which divides back to the last bits only


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


def iso(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_cloudevent(event: dict[str, Any]) -> dict[str, Any]:
    """The envelope says what, when, who; its data the rest, by our names."""
    source, _, own = event["event_id"].partition("#")
    said = {name: value for name, value in event.items() if name not in ("type", "event_id", "ts", "user_id")}
    subject = {"subject": event["user_id"]} if "user_id" in event else {}
    kind = f"example.shop.{event['type']}.v1"
    return {
        "specversion": "1.0",
        "id": own,
        "source": source,
        "type": kind,
        "time": iso(event["ts"]),
        **subject,
        "data": said,
    }


def as_recombee(event: dict[str, Any]) -> dict[str, Any]:
    kind = {"click": "view"}.get(event["type"], event["type"])
    name = next(name for name, kinds in recombee.TYPES.items() if kind in kinds)
    record = written(Table(recombee.EVENT), event, {"ts": iso})
    if "price" in event:
        record["price"] = event["price"] * event.get("quantity", 1.0)
    if event["type"] in recombee.VALUE:
        record[recombee.VALUE[event["type"]]] = event["value"]
    return {"type": name, **record}


def as_recombee_batch(event: dict[str, Any]) -> dict[str, Any]:
    """The same as one of the requests of a batch."""
    params = as_recombee(event)
    name = params.pop("type")
    method, path = next(place for place, request in recombee.REQUESTS.items() if request == name)
    return {"requests": [{"method": method, "path": f"/{path}/", "params": params}], "distinctRecomms": True}


AGENTS = {"mobile": "Mozilla/5.0 (iPhone) Mobile Safari", "tablet": "Mozilla/5.0 (iPad) Safari"}
ECOMMERCE = "com.snowplowanalytics.snowplow.ecommerce"


def snowplow_parts(event: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Plain columns, the action, and the entities beside it."""
    name = next(name for name, kinds in snowplow.TYPES.items() if event["type"] in kinds)
    plain = {**event, "event_id": event["event_id"].removesuffix(":0")}
    record = {"event": "unstruct", "event_name": "snowplow_ecommerce_action"}
    record |= written(Table(snowplow.EVENT), plain, {"ts": lambda ts: iso(ts).replace("T", " ")[:-1]})
    record |= written(Table(snowplow.CONTEXT), event.get("context", {}), {"device": AGENTS.get})
    action = {"type": name} | ({"name": event["placement"]} if "placement" in event else {})
    entities = {"product": written(Table(snowplow.PRODUCT), event)}
    if "order_id" in event:
        entities["refund" if event["type"] == "refund" else "transaction"] = {"transaction_id": event["order_id"]}
    if "cart_id" in event:
        entities["cart"] = {"cart_id": event["cart_id"]}
    return record, action, entities


def as_snowplow_json(event: dict[str, Any]) -> dict[str, Any]:
    """As the analytics libraries write it: a column per schema."""
    record, action, entities = snowplow_parts(event)
    under = ECOMMERCE.replace(".", "_")
    record[f"unstruct_event_{under}_snowplow_ecommerce_action_1"] = action
    return {**record, **{f"contexts_{under}_{name}_1": [entity] for name, entity in entities.items()}}


def as_snowplow_columns(event: dict[str, Any]) -> dict[str, Any]:
    """As a line holds it: two columns of JSON that describes itself."""
    record, action, entities = snowplow_parts(event)

    def described(name: str, data: Any) -> dict[str, Any]:
        return {"schema": f"iglu:{ECOMMERCE}/{name}/jsonschema/1-0-0", "data": data}

    around = "iglu:com.snowplowanalytics.snowplow/{}/jsonschema/1-0-0"
    record["unstruct_event"] = json.dumps(
        {"schema": around.format("unstruct_event"), "data": described("snowplow_ecommerce_action", action)}
    )
    listed = [described(name, entity) for name, entity in entities.items()]
    record["contexts"] = json.dumps({"schema": around.format("contexts"), "data": listed})
    return record


def as_gorse(event: dict[str, Any]) -> dict[str, Any]:
    record = written(Table(gorse.FEEDBACK), event, {"ts": iso})
    kind = {"view": "read", "like": "star"}.get(event["type"], event["type"])
    value = {"Value": event["value"] * 2 + 3} if event["type"] == "rating" else {}
    return {"FeedbackType": kind, **record, **value}


def as_metarank(event: dict[str, Any]) -> dict[str, Any]:
    record = written(Table(metarank.EVENT), event, {"event_id": lambda text: text.removesuffix(":0"), "ts": str})
    record |= written(Table(metarank.INTERACTION), event)
    return {"event": "interaction", "type": event["type"], **record}


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
    "cloudevents": Shape(
        CloudEvents(Reading()), frozenset(PLAIN) | {"context"}, frozenset(ACTIONS), as_cloudevent, named="shop#{}"
    ),
    **{
        name: Shape(
            Recombee(Reading()),
            frozenset({"ts", "user_id", "session_id", "request_id", "quantity", "price"}),
            frozenset({
                "view", "click", "purchase", "rating", "cart_add", "wishlist_add", "consume", "refund", "cart_remove",
                "wishlist_remove",
            }), write, named=None, sums=True,
        )
        for name, write in (("recombee", as_recombee), ("recombee batch", as_recombee_batch))
    },
    **{
        name: Shape(
            Snowplow(Reading()), frozenset(PLAIN) - {"query"} | {"context"},
            frozenset({"view", "click", "cart_add", "cart_remove", "purchase", "refund"}), write,
        )
        for name, write in (("snowplow", as_snowplow_json), ("snowplow columns", as_snowplow_columns))
    },
    "gorse": Shape(
        Gorse(Reading()), frozenset({"ts", "user_id"}), frozenset(ACTIONS) - {"consume"}, as_gorse, named=None
    ),
    "metarank": Shape(
        Metarank(Reading()), frozenset({"ts", "user_id", "session_id", "request_id"}),
        frozenset(ACTIONS) - {"custom", "rating", "consume"}, as_metarank,
    ),
}  # fmt: skip


@st.composite
def events_for(draw: st.DrawFn, shape: Shape) -> dict[str, Any]:
    kind = draw(st.sampled_from(sorted(shape.types)))
    event: dict[str, Any] = {
        "type": kind,
        "event_id": (shape.named or "{}").format(draw(TEXTS)),
        "item_id": draw(TEXTS),
    }
    for name in sorted(shape.carries - {"context", "item_id"}):
        if name == "ts" or draw(st.booleans()):
            event[name] = draw(PLAIN[name])
    if "user_id" not in event and "anon_id" not in event:
        event["anon_id" if "anon_id" in shape.carries else "user_id"] = draw(TEXTS)
    if "session_id" in event and "anon_id" not in shape.carries:
        event["user_id"] = draw(TEXTS)
    if isinstance(shape.adapter, Recombee):  # a view that a recommendation led to is a click there
        event.pop("request_id", None)
        event |= {"request_id": draw(TEXTS)} if kind == "click" else {}
    if kind == "consume":
        event["value"] = draw(st.floats(0, 1))
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
    if shape.named is None:
        assert found.event_id
        expected = msgspec.structs.replace(expected, event_id=found.event_id)
    if shape.sums and expected.price is not None:
        assert found.price == pytest.approx(expected.price, rel=1e-12, abs=1e-300)
        expected = msgspec.structs.replace(expected, price=found.price)
    assert found == expected


def test_a_cloudevent_in_binary_mode_is_the_same_as_in_structured_mode(served: Served) -> None:
    event = {
        "type": "cart_add", "event_id": "https://shop.example#b-1", "ts": RECEIVED - 5_000, "user_id": "Jos\u00e9 #7%",
        "item_id": "mug \u676f", "quantity": 2.0, "price": 9.5, "currency": "EUR",
        "context": {"region": "M\u00fcnchen"},
    }  # fmt: skip
    envelope = as_cloudevent(event)
    data = json.dumps(envelope.pop("data")).encode()
    headers = {f"ce-{name}": quote(value, safe=" !$&'()*+,-./:;<=>?@[]^_`{|}~") for name, value in envelope.items()}
    before = served.engine.offset
    answer = served.client.post(
        "/v1/cloudevents", content=data, headers={**headers, "content-type": "application/json"}
    )
    assert answer.status_code == 200
    assert answer.json()["rejected"] == []
    (stored,) = [
        one.event
        for one in served.engine.log.read(before, 100)
        if isinstance(one.event, Interaction) and one.event.event_id == event["event_id"]
    ]
    expected = msgspec.convert({"kind": "interaction", **event, "received_at": RECEIVED}, Interaction)
    assert stored == msgspec.structs.replace(expected, received_at=stored.received_at)
    again = served.client.post("/v1/cloudevents", json=as_cloudevent(event))  # the other mode: the same event
    assert (again.json()["accepted"], again.json()["duplicates"]) == (0, 1)
    batch = [as_cloudevent({**event, "event_id": f"shop#b-{n}"}) for n in (2, 3)]
    taken = served.client.post(
        "/v1/cloudevents", content=json.dumps(batch), headers={"content-type": "application/cloudevents-batch+json"}
    )
    assert taken.json()["accepted"] == 2


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        ({"ce-specversion": "0.3"}, b"{}", 200, "wrong_type"),
        ({"ce-type": "shop.example.view"}, b"", 200, "missing_item"),
        ({"ce-type": "v1"}, b"{}", 200, "missing_type"),
        ({"ce-time": "yesterday"}, b"{}", 200, "bad_time"),
        ({}, b"[1]", 200, "wrong_type"),
        ({}, b"{", 400, "invalid_input"),
    ],
)
def test_a_binary_cloudevent_that_is_wrong_says_where(
    served: Served, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    plain = {
        "ce-specversion": "1.0",
        "ce-type": "shop.example.view.v1",
        "ce-source": "s",
        "ce-id": "w",
        "ce-subject": "u",
    }
    answer = served.client.post("/v1/cloudevents", content=content, headers={**plain, **headers})
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert (said["error"] if status == 400 else said["rejected"][0])["code"] == code, said


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
