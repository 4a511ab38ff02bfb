"""Webhooks of Shopify and WooCommerce: signed by the platform, so they need no key of ours.

Both sign the raw body: base64 of its HMAC-SHA256 under a secret that the shop shares with us, in the settings
``intake.shopify_secret`` and ``intake.woocommerce_secret``; the comparison takes constant time. Both deliver at least
once: orders are known by their own ids and changes of products by the delivery's, so a repetition changes nothing.
What cannot be used is answered with 200 and kept in the quarantine: a platform ends a webhook that fails too often.

A wish to be forgotten is fulfilled before the answer; a wish for a copy is put where the operator looks.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from typing import Any

from endcap.errors import Forbidden
from endcap.events.adapters.shopify import ShopifyWebhook, as_object, bare
from endcap.events.adapters.woocommerce import WooCommerce
from endcap.preprocess.decode import RefusedRecord
from endcap.protocols import Adapter
from endcap.server.foreign import KEPT, Taken, adapter_of, readable, take
from endcap.server.service import Service
from endcap.server.wire import Call, Reply, encode
from endcap.stores.sqlite import SqliteLog
from endcap.types import Interaction, Refusal


async def shopify(service: Service, call: Call) -> Reply:
    """One webhook of Shopify."""
    secret = service.config.intake.shopify_secret
    check_signature(call, secret, b"x-shopify-hmac-sha256", "intake.shopify_secret")
    adapter = adapter_of(service, ShopifyWebhook)
    topic = header(call, b"x-shopify-topic")
    payload = await readable(service, adapter, call.body)
    if topic == "customers/redact":
        return await forget(service, bare(as_object(as_object(payload).get("customer")).get("id")))
    if topic in ("customers/data_request", "shop/redact"):
        return await noted(service, adapter, topic, call.body)
    if topic == "refunds/create" and isinstance(payload, dict):
        payload = payload | buyer(service, f"shopify:order:{payload.get('order_id')}:0")
    record = {"topic": topic, "shop": header(call, b"x-shopify-shop-domain"), "payload": payload}
    delivery = header(call, b"x-shopify-event-id") or header(call, b"x-shopify-webhook-id")
    return await take(service, None, adapter, [record | ({"delivery": delivery} if delivery else {})])


async def woocommerce(service: Service, call: Call) -> Reply:
    """One webhook of WooCommerce; the form that it sends when a webhook is made is answered and not read."""
    if call.body.startswith(b"webhook_id="):
        return Reply(encode(Taken(accepted=0, duplicates=0, offset=service.engine.offset)))
    secret = service.config.intake.woocommerce_secret
    check_signature(call, secret, b"x-wc-webhook-signature", "intake.woocommerce_secret")
    adapter = adapter_of(service, WooCommerce)
    topic = header(call, b"x-wc-webhook-topic")
    payload = await readable(service, adapter, call.body)
    if topic == "customer.deleted":
        return await forget(service, bare(as_object(payload).get("id")))
    delivery = header(call, b"x-wc-delivery-id")
    record = {"topic": topic, "payload": payload} | ({"delivery": delivery} if delivery else {})
    return await take(service, None, adapter, [record])


def header(call: Call, name: bytes) -> str:
    """A header's text, empty where there is none."""
    return call.headers.get(name, b"").decode("latin-1")


def check_signature(call: Call, secret: str, name: bytes, setting: str) -> None:
    """Raise ``Forbidden`` unless the body is signed with ``secret``."""
    if not secret:
        raise Forbidden(f"no secret to check this webhook with; set {setting}", authenticated=False)
    expected = base64.b64encode(hmac.digest(secret.encode(), call.body, hashlib.sha256))
    if not hmac.compare_digest(expected, call.headers.get(name, b"").strip()):
        raise Forbidden(
            f"the signature in {name.decode()} does not fit the body and {setting}; compare the secret with the "
            f"platform's", authenticated=False,
        )  # fmt: skip


def buyer(service: Service, event_id: str) -> dict[str, Any]:
    """Who bought, from the order's first line in our log: a refund does not say it."""
    log = service.engine.log
    found = log.find(event_id) if isinstance(log, SqliteLog) else None
    if found is None or not isinstance(found.event, Interaction):
        return {}
    return {"customer": {"id": found.event.user_id}, "anon_id": found.event.anon_id}


async def forget(service: Service, user_id: str | None) -> Reply:
    """Erase a customer, before the answer."""
    if user_id:
        await service.write(())  # what is on its way to the log arrives first
        await asyncio.to_thread(service.engine.erase, user_id, None)
    return Reply(encode(Taken(accepted=0, duplicates=0, offset=service.engine.offset)))


async def noted(service: Service, adapter: Adapter, topic: str, body: bytes) -> Reply:
    """Put a wish that a person has to fulfil into the quarantine."""
    code = topic.replace("/", "_")
    message = f"{topic}: answer it with GET /v1/users/ID/export" if "data" in topic else f"{topic}: delete the data"
    refusal = Refusal(index=0, code=code, message=message, field="topic")
    now = service.engine.runtime.now()
    ack = await service.write((), [RefusedRecord(refusal, body[:KEPT], now, adapter.name)])
    return Reply(encode(Taken(accepted=0, duplicates=0, rejected=ack.rejected, offset=ack.offset)))
