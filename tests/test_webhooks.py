"""Signed webhooks over real HTTP: what is taken, what is not believed, what a customer may ask."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from endcap.config import Config, IntakeConfig
from endcap.types import Interaction
from foreign import cases
from served import Served, error_of, serving

SHOPIFY, WOO = "the secret of one", "the secret of the other"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config = Config(intake=IntakeConfig(shopify_secret=SHOPIFY, woocommerce_secret=WOO))
    with serving(tmp_path_factory.mktemp("webhooks"), keys=True, config=config) as running:
        yield running


def signature(secret: str, body: bytes) -> str:
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def shopify(served: Served, topic: str, payload: Any, **headers: str) -> httpx.Response:
    body = json.dumps(payload).encode()
    said = {"x-shopify-topic": topic, "x-shopify-hmac-sha256": signature(SHOPIFY, body), **headers}
    return served.client.post("/v1/shopify/webhooks", content=body, headers=said)


def woo(served: Served, topic: str, payload: Any, **headers: str) -> httpx.Response:
    body = json.dumps(payload).encode()
    said = {"x-wc-webhook-topic": topic, "x-wc-webhook-signature": signature(WOO, body), **headers}
    return served.client.post("/v1/woocommerce/webhooks", content=body, headers=said)


def payload_of(name: str, title: str) -> Any:
    return next(case["input"]["payload"] for case in cases(name) if case["title"] == title)


def stored(served: Served, prefix: str) -> list[Interaction]:
    events = (entry.event for entry in served.engine.log.read(0, 10**6))
    return [event for event in events if isinstance(event, Interaction) and event.event_id.startswith(prefix)]


def test_an_order_counts_once_whatever_tells_of_it(served: Served) -> None:
    order = payload_of("shopify_webhook", "an order")
    assert shopify(served, "orders/create", order).json()["accepted"] == 2
    assert shopify(served, "orders/paid", order).json()["duplicates"] == 2
    lines = stored(served, f"shopify:order:{order['id']}:")
    assert [(line.item_id, line.quantity, line.price) for line in lines] == [
        ("632910392", 1.0, 199.0), ("632910393", 2.0, 9.5),
    ]  # fmt: skip
    assert {(line.user_id, line.anon_id) for line in lines} == {("115310627314723954", "c-1")}
    paid = payload_of("woocommerce", "an order")
    assert woo(served, "order.created", paid).json()["accepted"] == 2
    assert woo(served, "order.updated", paid | {"status": "completed"}).json()["duplicates"] == 2
    assert woo(served, "order.updated", paid | {"status": "pending"}).json()["accepted"] == 0


def test_a_refund_finds_who_bought(served: Served) -> None:
    order = payload_of("shopify_webhook", "an order") | {"id": 450789469}
    shopify(served, "orders/paid", order)
    refund = dict(payload_of("shopify_webhook", "a refund, its buyer found by the route"))
    del refund["customer"]
    assert shopify(served, "refunds/create", refund).json()["accepted"] == 1
    (line,) = stored(served, "shopify:refund:")
    assert (line.type, line.user_id, line.quantity) == ("refund", "115310627314723954", 1.0)
    unknown = shopify(served, "refunds/create", refund | {"id": 1, "order_id": 2}).json()
    assert [refusal["code"] for refusal in unknown["rejected"]] == ["missing_user"]


def test_a_product_is_in_the_catalogue_and_gone_when_it_goes(served: Served) -> None:
    product = payload_of("shopify_webhook", "a product")
    item = str(product["id"])
    shopify(served, "products/create", product, **{"x-shopify-shop-domain": "acme.example", "x-shopify-event-id": "e1"})
    assert served.engine.item(item).url == "https://acme.example/products/example-t-shirt"
    shopify(served, "products/update", product | {"title": "New"}, **{"x-shopify-event-id": "e2"})
    late = shopify(served, "products/create", product, **{"x-shopify-event-id": "e1"}).json()
    assert (late["accepted"], late["duplicates"]) == (0, 1)
    assert served.engine.item(item).title == "New"
    shopify(served, "products/delete", {"id": product["id"]})
    assert served.client.get(f"/v1/items/{item}", headers=served.headers("admin")).status_code == 404
    woo(served, "product.updated", payload_of("woocommerce", "a product"))
    assert served.engine.item("794").attributes["Color"] == ["Black", "Green"]


@pytest.mark.parametrize("wrong", ["", "AAAA", "x" * 200, "=" * 44])
def test_what_is_not_signed_right_is_not_believed(served: Served, wrong: str) -> None:
    order = payload_of("shopify_webhook", "an order") | {"id": 999}
    error_of(shopify(served, "orders/paid", order, **{"x-shopify-hmac-sha256": wrong}), 401)
    error_of(woo(served, "order.created", order, **{"x-wc-webhook-signature": wrong}), 401)
    body = json.dumps(order).encode()
    other = {"x-shopify-topic": "orders/paid", "x-shopify-hmac-sha256": signature(WOO, body)}
    error_of(served.client.post("/v1/shopify/webhooks", content=body, headers=other), 401)
    changed = {"x-shopify-topic": "orders/paid", "x-shopify-hmac-sha256": signature(SHOPIFY, body)}
    error_of(served.client.post("/v1/shopify/webhooks", content=body + b" ", headers=changed), 401)
    assert stored(served, "shopify:order:999") == []


def test_without_a_secret_no_webhook_is_taken(tmp_path: Any) -> None:
    with serving(tmp_path) as bare:
        assert "intake.shopify_secret" in error_of(shopify(bare, "orders/paid", {}), 401)["message"]
        ping = bare.client.post("/v1/woocommerce/webhooks", content=b"webhook_id=7")
        assert ping.status_code == 200
        assert bare.client.post("/v1/woocommerce/webhooks", content=b"{}").status_code == 401


def test_a_customer_is_forgotten_and_a_wish_for_a_copy_reaches_the_operator(served: Served) -> None:
    order = payload_of("shopify_webhook", "an order") | {"id": 31, "customer": {"id": 4321}, "note_attributes": []}
    shopify(served, "orders/paid", order)
    assert stored(served, "shopify:order:31:")
    shopify(served, "customers/data_request", {"customer": {"id": 4322}})
    (kept,) = served.client.get("/v1/quarantine?n=1", headers=served.headers("admin")).json()["records"]
    assert (kept["code"], kept["source"]) == ("customers_data_request", "shopify_webhook")
    assert shopify(served, "customers/redact", {"customer": {"id": 4321}}).status_code == 200
    assert stored(served, "shopify:order:31:") == []
    paid = payload_of("woocommerce", "an order") | {"id": 32, "customer_id": 555, "meta_data": []}
    woo(served, "order.created", paid)
    assert woo(served, "customer.deleted", {"id": 555}).status_code == 200
    assert stored(served, "woocommerce:order:32:") == []


def test_a_topic_nobody_uses_is_answered_and_kept(served: Served) -> None:
    answer = shopify(served, "app/uninstalled", {"id": 1})
    assert answer.status_code == 200
    assert answer.json()["rejected"][0]["code"] == "unknown_type"
