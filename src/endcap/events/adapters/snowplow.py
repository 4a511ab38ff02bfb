"""Snowplow: enriched events as tab-separated lines, or as the JSON that its analytics libraries make of them.

The ecommerce schemas carry what a shop needs: an action (``type``, ``name``) and entities (``product``,
``transaction``, ``refund``, ``cart``). Page views on the start page are a ``home_view``; events that are not about
products become ``custom`` with their name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from endcap.events.adapters.mapping import Kinds, Mapped, context_of, each_read, left_over, made, offset_at
from endcap.events.adapters.tables import Fields, Table, clipped
from endcap.events.records import Problem
from endcap.events.values import text_of
from endcap.types import Event

TYPES: dict[str, Kinds] = {  # type of the ecommerce action -> (the event as a whole, each product in it)
    "product_view": (None, "view"),
    "list_click": (None, "click"),
    "list_view": ("list_view", "impression"),
    "add_to_cart": (None, "cart_add"),
    "remove_from_cart": (None, "cart_remove"),
    "checkout_step": ("checkout_start", None),
    "transaction": (None, "purchase"),
    "refund": (None, "refund"),
}
EVENT: Fields = {
    "event_id": "event_id",
    "ts": ("derived_tstamp", "collector_tstamp", "dvce_created_tstamp"),
    "user_id": "user_id",
    "anon_id": ("domain_userid", "network_userid"),
    "session_id": "domain_sessionid",
}
CONTEXT: Fields = {
    "device": "useragent",
    "region": "geo_country",
    "locale": "br_lang",
    "url": "page_url",
    "page": "page_urlpath",
    "referrer": "page_referrer",
}
PRODUCT: Fields = {
    "item_id": "id",
    "variant_id": "variant",
    "price": "price",
    "quantity": "quantity",
    "position": "position",
    "currency": "currency",
    "request_id": "request_id",
}
# The columns of a line, by their place; only those that are read have a name here.
PLACES = {
    3: "collector_tstamp", 4: "dvce_created_tstamp", 5: "event", 6: "event_id", 12: "user_id", 15: "domain_userid",
    17: "network_userid", 18: "geo_country", 29: "page_url", 31: "page_referrer", 35: "page_urlpath", 52: "contexts",
    58: "unstruct_event", 77: "useragent", 83: "br_lang", 115: "geo_timezone", 123: "domain_sessionid",
    124: "derived_tstamp", 126: "event_name",
}  # fmt: skip
COLUMNS = tuple(PLACES.get(place, f"column_{place}") for place in range(131))
ENTITY = re.compile(r"(?:contexts|unstruct_event)_com_snowplowanalytics_snowplow(?:_ecommerce)?_(\w+?)_\d+$")
SCHEMA = re.compile(r"iglu:com\.snowplowanalytics\.snowplow(?:\.ecommerce)?/(\w+)/")

_event, _context, _product = Table(EVENT), Table(CONTEXT), Table(PRODUCT)


class Snowplow(Mapped):
    """Enriched events."""

    name = "snowplow"
    columns = COLUMNS

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        facts = _event.read(record)
        source_id, ts = facts.pop("event_id", None), facts.pop("ts", 0)
        if not ts and not received_at:
            raise Problem("bad_time", "derived_tstamp: no time in this record", "ts")
        context = _context.read(record)
        if isinstance(record.get("geo_timezone"), str):
            context["utc_offset_min"] = offset_at(record["geo_timezone"], ts or received_at)
        facts["context"] = context_of(context)
        entities = entities_of(record)
        action = first(entities, "snowplow_ecommerce_action")
        kinds = TYPES.get(str(action.get("type")), ("custom", None))
        name = action.get("type") or record.get("event_name") or record.get("event")
        if not isinstance(name, str) or not name:
            raise Problem("missing_type", "the record does not say what happened", "type")
        bought = first(entities, "transaction") or first(entities, "refund")
        facts["placement"] = text_of(action.get("name"))
        facts["order_id"] = text_of(bought.get("transaction_id"))
        facts["currency"] = text_of(bought.get("currency"))
        facts["cart_id"] = text_of(first(entities, "cart").get("cart_id"))
        if name == "site_search":
            kinds = ("search", None)
            terms = first(entities, "site_search").get("terms")
            facts["query"] = clipped(" ".join(map(str, terms)) if isinstance(terms, list) else None)
        elif kinds[0] == "custom":
            kinds = ("home_view", None) if name == "page_view" and record.get("page_urlpath") == "/" else kinds
            facts["props"] = {**left_over(action, frozenset({"type", "name"})), "event": name[:256]}
        products = entities.get("product", [])
        listed: Any = each_read(_product, products, "product") if products or not kinds[0] else ()
        yield from made(kinds, facts, listed, source_id, ts, not received_at)


def entities_of(record: dict[str, Any]) -> dict[str, list[Any]]:
    """What stands in the event's own schema and in its contexts, by the schema's name."""
    found: dict[str, list[Any]] = {}
    for column, value in record.items():
        if named := ENTITY.match(column):
            found.setdefault(named.group(1), []).extend(value if isinstance(value, list) else [value])
    for column in ("contexts", "unstruct_event"):
        held = record.get(column)
        if isinstance(held, str):
            try:
                held = msgspec.json.decode(held)
            except (msgspec.MsgspecError, RecursionError) as wrong:
                raise Problem("bad_json", f"{column}: {wrong}", column) from None
        inner = held.get("data") if isinstance(held, dict) else held
        for entity in inner if isinstance(inner, list) else [inner]:
            if not isinstance(entity, dict):
                continue
            if named := SCHEMA.match(str(entity.get("schema"))):
                found.setdefault(named.group(1), []).append(entity.get("data"))
    return found


def first(entities: dict[str, list[Any]], name: str) -> dict[str, Any]:
    """The first entity of a kind, empty where there is none."""
    for entity in entities.get(name, ()):
        if isinstance(entity, dict):
            return entity
    return {}
