"""Segment and RudderStack: the messages their libraries send, live or from an archive of JSON lines.

Source: the ecommerce events of Segment's specification (RudderStack's are the same), with the older names. Times are
corrected for the sender's clock: ``received_at - (sentAt - timestamp)``. ``page`` and ``screen`` are a ``home_view``
where the address or the name says home, else ``custom``; unknown events are ``custom`` and keep their name and plain
properties in ``props``. ``identify`` and ``alias`` tie two ids together and change a user's traits, as far as the shop
allows each trait. What an event says of its product becomes a catalogue hint where the catalogue knows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from endcap.events.adapters.mapping import (
    Kinds,
    Mapped,
    Reading,
    by_plain,
    context_of,
    each_read,
    hint,
    kinds_of,
    left_over,
    made,
    offset_at,
    trait_values,
)
from endcap.events.adapters.tables import Fields, Table, clipped
from endcap.events.records import Problem, understood
from endcap.events.values import from_stars, number, text_of
from endcap.types import Event, User, UserChange

TYPES: dict[str, Kinds] = {  # event name -> (the message as a whole, each product in it)
    "Product Viewed": (None, "view"),
    "Product Clicked": (None, "click"),
    "Product Added": (None, "cart_add"),
    "Wishlist Product Added to Cart": (None, "cart_add"),
    "Product Removed": (None, "cart_remove"),
    "Cart Viewed": ("cart_view", None),
    "Checkout Started": ("checkout_start", None),
    "Order Completed": (None, "purchase"),
    "Order Refunded": (None, "refund"),
    "Order Cancelled": (None, "refund"),
    "Product Added to Wishlist": (None, "wishlist_add"),
    "Product Removed from Wishlist": (None, "wishlist_remove"),
    "Product Reviewed": (None, "rating"),
    "Product Shared": (None, "share"),
    "Products Searched": ("search", None),
    "Product List Viewed": ("list_view", "impression"),
    "Product List Filtered": ("list_view", "impression"),
    "Viewed Product": (None, "view"),
    "Clicked Product": (None, "click"),
    "Added Product": (None, "cart_add"),
    "Removed Product": (None, "cart_remove"),
    "Completed Order": (None, "purchase"),
    "Viewed Product Category": ("list_view", "impression"),
    "Viewed Promotion": ("custom", None),
}
MESSAGE: Fields = {
    "event_id": ("messageId", "message_id"),
    "ts": ("timestamp", "originalTimestamp", "original_timestamp"),
    "sent_at": ("sentAt", "sent_at"),
    "user_id": ("userId", "user_id"),
    "anon_id": ("anonymousId", "anonymous_id"),
    "session_id": "context.sessionId",
}
CONTEXT: Fields = {
    "device": ("device.type", "userAgent"),
    "region": ("location.country", "country"),
    "locale": "locale",
    "page": "page.path",
    "url": "page.url",
    "referrer": "page.referrer",
}


def search_text(value: Any) -> str | None:
    """A query is text, or an object that holds one."""
    if isinstance(value, dict):
        inner = value.get("query") or value.get("text") or value.get("q")
        value = inner if isinstance(inner, str) else msgspec.json.encode(value).decode()
    return clipped(value)


PROPERTIES: Fields = {
    "currency": "currency",
    "order_id": ("order_id", "orderId"),
    "cart_id": ("cart_id", "checkout_id"),
    "placement": ("list_id", "placement"),
    "request_id": "request_id",
    "query": ("query", search_text),
}
PRODUCT: Fields = {
    "item_id": ("product_id", "id", "productId"),
    "variant_id": ("sku", "variant"),
    "price": "price",
    "quantity": "quantity",
    "position": "position",
    "request_id": "request_id",
}
ITEM: Fields = {
    "item_id": PRODUCT["item_id"],
    "title": "name",
    "categories": "category",
    "brand": "brand",
    "price": "price",
    "url": "url",
    "image_urls": "image_url",
}
NAMES = by_plain(TYPES)
KINDS = {
    "track": "track", "identify": "identify", "page": "page", "alias": "alias", "group": "group", "screen": "screen",
}  # fmt: skip
HOME = frozenset({"/", "home", "homepage", "home page", "index"})
TAKEN = frozenset({"product_id", "products", "sku", "variant", "price", "quantity", "position", *PROPERTIES, "list_id"})

_message, _context, _properties, _item = Table(MESSAGE), Table(CONTEXT), Table(PROPERTIES), Table(ITEM)
_decided = TAKEN | _properties.tops() | Table(PRODUCT).tops() | _item.tops() | {"rating", "value"}


class Segment(Mapped):
    """Messages of ``analytics.js`` and its kin."""

    name = "segment"

    def __init__(self, reading: Reading = Reading()) -> None:  # noqa: B008  # frozen
        super().__init__(reading)
        base = reading.position_base

        def place(value: Any) -> int | None:
            found = number(value)
            return None if found is None else max(0, round(found) - base)

        self._product = Table({**PRODUCT, "position": ("position", place)})

    def records(self, body: Any) -> list[Any]:
        """The messages of a batch, each with what the envelope says for all; or the one message."""
        if not (isinstance(body, dict) and isinstance(body.get("batch"), list)):
            return body if isinstance(body, list) else [body]
        shared = {name: body[name] for name in ("sentAt", "context") if body.get(name) is not None}
        if not shared:
            return list(body["batch"])
        return [{**shared, **message} if isinstance(message, dict) else message for message in body["batch"]]

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        facts = _message.read(record)
        source_id = facts.pop("event_id", None)
        ts = corrected(facts.pop("ts", None), facts.pop("sent_at", None), received_at)
        given = record.get("context")
        context = _context.read(given)
        if isinstance(given, dict) and isinstance(given.get("timezone"), str):
            context["utc_offset_min"] = offset_at(given["timezone"], ts or received_at)
        facts["context"] = context_of(context)
        kind = record.get("type")
        if kind == "track" or (kind is None and "event" in record):
            yield from self.tracked(record, facts, source_id, ts, not received_at)
        elif kind == "identify":
            yield from self.identified(record, facts, source_id, ts, not received_at)
        elif kind == "alias":
            facts["anon_id"] = text_of(record.get("previousId"))
            yield from made(
                ("custom", None), {**facts, "props": {"event": "alias"}}, (), source_id, ts, not received_at
            )
        elif kind in ("page", "screen", "group"):
            yield from visited(kind, record, facts, source_id, ts, not received_at)
        else:
            raise Problem("unknown_type", f"type {str(kind)[:80]!r}: expected one of {', '.join(KINDS)}", "type")

    def tracked(
        self, record: dict[str, Any], facts: dict[str, Any], source_id: str | None, ts: int, history: bool
    ) -> Iterator[Event | Problem]:
        name, properties = record.get("event"), record.get("properties")
        kinds = kinds_of(name, NAMES, ("custom", None))
        facts |= _properties.read(properties)
        if not isinstance(properties, dict):
            properties = {}
        rest = left_over(properties, _decided)
        if kinds[0] == "custom":
            rest["event"] = str(name)[:256]
        if rest:
            facts["props"] = rest
        if kinds[0] == "list_view":
            facts["category"] = text_of(properties.get("category"))
        products = properties.get("products")
        if products is None:
            several = kinds[1] in ("purchase", "refund") and not self._product.read(properties).get("item_id")
            products = [] if kinds[0] or several else [properties]
        listed: Any = each_read(self._product, products, "products") if products or not kinds[0] else ()
        if kinds[1] == "rating":
            listed = [
                {
                    **self._product.read(properties),
                    "value": understood("bad_number", "rating", from_stars, properties.get("rating")),
                }
            ]
        if isinstance(products, list):
            yield from self.hints(products, ts)
        yield from made(kinds, facts, listed, source_id, ts, history)

    def hints(self, products: list[Any], ts: int) -> Iterator[Event]:
        known = self.reading.known
        for product in products:
            if not isinstance(product, dict) or "name" not in product:
                continue
            if product.get("product_id") and known(str(product["product_id"])):
                continue
            with suppress(Problem):  # a hint is a favour; the event itself says what is wrong
                item = _item.read(product)
                if "item_id" in item and not known(item["item_id"]):
                    yield hint(item, ts)

    def identified(
        self, record: dict[str, Any], facts: dict[str, Any], source_id: str | None, ts: int, history: bool
    ) -> Iterator[Event | Problem]:
        user_id, anon_id = facts.get("user_id"), facts.get("anon_id")
        given = record.get("traits")
        if not isinstance(given, dict) and isinstance(record.get("context"), dict):
            given = record["context"].get("traits")
        traits = trait_values(given, self.reading.traits)
        if user_id and traits:
            user = User(user_id=user_id, anon_ids=[anon_id] if anon_id else [], traits=traits)
            event_id = f"{source_id}:user" if source_id else ""
            yield UserChange(event_id=event_id, user_id=user_id, ts=ts, received_at=ts if history else 0, user=user)
        yield from made(("custom", None), {**facts, "props": {"event": "identify"}}, (), source_id, ts, history)


def visited(
    kind: str, record: dict[str, Any], facts: dict[str, Any], source_id: str | None, ts: int, history: bool
) -> Iterator[Event | Problem]:
    """A page or screen was seen, or a user joined a group."""
    name, properties = record.get("name"), record.get("properties")
    path = properties.get("path") if isinstance(properties, dict) else None
    at_home = kind != "group" and any(isinstance(text, str) and text.lower() in HOME for text in (name, path))
    props: dict[str, Any] = {"event": kind}
    for key, value in (("name", name), ("group_id", record.get("groupId"))):
        if isinstance(value, str | int):
            props[key] = str(value)[:256]
    yield from made(("home_view" if at_home else "custom", None), {**facts, "props": props}, (), source_id, ts, history)


def corrected(ts: int | None, sent_at: int | None, received_at: int) -> int:
    """The time of a message by our clock; 0 = now. History is taken as it stands."""
    if not received_at:
        if ts is None:
            raise Problem("bad_time", "timestamp: no time in this record", "ts")
        return ts
    if ts is None:
        return 0
    return min(received_at, received_at - (sent_at - ts)) if sent_at is not None else ts
