"""Google Retail (Vertex AI Search for commerce): user events as the API takes them, singly or as an inline import.

A ``detail-page-view`` that carries an ``attributionToken`` is a click on a recommendation. The products of a ``search``
or a category page were seen: they become impressions. The unit price is taken where the product itself tells it; the
revenue of a purchase is a sum and stays in ``props``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from endcap.events.adapters.mapping import Kinds, Mapped, context_of, each_read, fingerprint, kinds_of, made
from endcap.events.adapters.tables import Fields, Table, clipped
from endcap.events.records import Problem
from endcap.events.values import texts
from endcap.types import Event

TYPES: dict[str, Kinds] = {  # eventType -> (the event as a whole, each product in it)
    "detail-page-view": (None, "view"),
    "add-to-cart": (None, "cart_add"),
    "remove-from-cart": (None, "cart_remove"),
    "shopping-cart-page-view": ("cart_view", None),
    "purchase-complete": (None, "purchase"),
    "search": ("search", "impression"),
    "category-page-view": ("list_view", "impression"),
    "home-page-view": ("home_view", None),
    "media-play": (None, "view"),
    "media-complete": (None, "consume"),
}


def first_of(value: Any) -> str | None:
    """The first text of a list."""
    found = texts(value, "\x00")
    return clipped(found[0])[:120] if found else None  # type: ignore[index]  # a text of the list is never None


def joined(value: Any) -> str:
    """Experiments as one text."""
    return ",".join(texts(value))[:120]


EVENT: Fields = {
    "event_id": "eventId",
    "ts": "eventTime",
    "user_id": "userInfo.userId",
    "anon_id": "visitorId",
    "session_id": "sessionId",
    "cart_id": "cartId",
    "order_id": "purchaseTransaction.id",
    "currency": "purchaseTransaction.currencyCode",
    "query": "searchQuery",
    "category": ("pageCategories", first_of),
    "request_id": "attributionToken",
    "placement": "placement",
}
CONTEXT: Fields = {
    "device": "userInfo.userAgent",
    "url": "uri",
    "referrer": "referrerUri",
    "page": "pageViewId",
    "experiment": ("experimentIds", joined),
}
PRODUCT: Fields = {
    "item_id": ("product.id", "id"),
    "quantity": "quantity",
    "price": "product.priceInfo.price",
    "currency": "product.priceInfo.currencyCode",
}

_event, _context, _product = Table(EVENT), Table(CONTEXT), Table(PRODUCT)


class GoogleRetail(Mapped):
    """User events of the Retail API."""

    name = "retail"

    def records(self, body: Any) -> list[Any]:
        """The events of an inline import, of a list, or the one event."""
        for path in (("inputConfig", "userEventInlineSource", "userEvents"), ("userEvents",), ("userEvent",)):
            found = body
            for key in path:
                found = found.get(key) if isinstance(found, dict) else None
            if isinstance(found, list):
                return found
            if isinstance(found, dict):
                return [found]
        return body if isinstance(body, list) else [body]

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        facts = _event.read(record)
        ts = facts.pop("ts", 0)
        if not ts and not received_at:
            raise Problem("bad_time", "eventTime: no time in this record", "ts")
        given = facts.pop("event_id", None)
        source_id = given or (fingerprint(record) if ts else None)
        facts["context"] = context_of(_context.read(record))
        kind = record.get("eventType")
        kinds = kinds_of(kind, TYPES)
        if kind == "detail-page-view" and facts.get("request_id"):
            kinds = (None, "click")
        props = attributes(record)
        if props:
            facts["props"] = props
        details = record.get("productDetails") or []
        listed: Any = each_read(_product, details, "productDetails") if details or not kinds[0] else ()
        if kinds[1] == "impression":
            listed = placed(listed, record.get("offset"))
        elif kind == "media-complete":
            listed = (each if isinstance(each, Problem) else {**each, "value": 1.0} for each in listed)
        yield from made(kinds, facts, listed, source_id, ts, not received_at)


def placed(products: Any, offset: Any) -> Iterator[Any]:
    """Products of a page of results, each at its place among all results."""
    first = offset if isinstance(offset, int) and 0 <= offset < 100_000 else 0
    for place, product in enumerate(products, first):
        yield product if isinstance(product, Problem) else {"position": min(place, 100_000), **product}


def attributes(record: dict[str, Any]) -> dict[str, Any]:
    """Custom attributes, and what a purchase came to."""
    found: dict[str, Any] = {}
    given = record.get("attributes")
    for name, value in given.items() if isinstance(given, dict) else ():
        held = (value.get("text") or value.get("numbers")) if isinstance(value, dict) else None
        if isinstance(held, list) and held and len(found) < 32 and isinstance(held[0], str | int | float):
            found[name[:64]] = held[0] if not isinstance(held[0], str) else held[0][:256]
    bought = record.get("purchaseTransaction")
    if isinstance(bought, dict) and isinstance(bought.get("revenue"), int | float):
        found["revenue"] = bought["revenue"]
    return found
