"""Google Analytics 4: Measurement Protocol requests, and the rows of the BigQuery export (JSON lines or Parquet).

Both name the same events and parameters; they differ in where the parameters lie and in the clock (both count
microseconds). An export has no event id, so one is made of visitor, time, bundle and name; a request may
carry ``event_id`` among its parameters. ``page_view`` is a ``home_view`` on the start page, else ``custom``, like every
event that is not about products. ``value`` is a sum and never a unit price, so it is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from endcap.events.adapters.mapping import (
    Kinds,
    Mapped,
    context_of,
    each_read,
    fingerprint,
    hint,
    kinds_of,
    left_over,
    made,
)
from endcap.events.adapters.tables import Fields, Table
from endcap.events.records import Problem
from endcap.types import Event

TYPES: dict[str, Kinds] = {  # event name -> (the event as a whole, each item in it)
    "view_item": (None, "view"),
    "select_item": (None, "click"),
    "view_item_list": ("list_view", "impression"),
    "add_to_cart": (None, "cart_add"),
    "remove_from_cart": (None, "cart_remove"),
    "view_cart": ("cart_view", None),
    "begin_checkout": ("checkout_start", None),
    "purchase": (None, "purchase"),
    "refund": (None, "refund"),
    "add_to_wishlist": (None, "wishlist_add"),
    "share": (None, "share"),
    "search": ("search", None),
    "view_search_results": ("search", None),
}


def seconds_to_minutes(value: Any) -> int:
    """An offset from UTC."""
    return round(int(value) / 60)


def refusal_of_consent(value: Any) -> str | None:
    """Consent as the export writes it."""
    return "denied" if str(value).lower() in ("no", "denied", "false") else None


EVENT: Fields = {
    "ts": ("event_timestamp", "timestamp_micros"),
    "user_id": "user_id",
    "anon_id": ("user_pseudo_id", "client_id", "app_instance_id"),
    "order_id": ("ecommerce.transaction_id", "params.transaction_id"),
    "session_id": ("params.ga_session_id", "params.session_id"),
    "currency": "params.currency",
    "placement": "params.item_list_id",
    "query": "params.search_term",
    "request_id": "params.request_id",
    "cart_id": "params.cart_id",
    "consent": ("privacy_info.analytics_storage", refusal_of_consent),
}
CONTEXT: Fields = {
    "device": "device.category",
    "region": ("geo.country", "user_location.country_id"),
    "locale": ("device.language", "params.language"),
    "utc_offset_min": ("device.time_zone_offset_seconds", seconds_to_minutes),
    "url": "params.page_location",
    "referrer": "params.page_referrer",
}
ITEM: Fields = {
    "item_id": "item_id",
    "variant_id": "item_variant",
    "price": "price",
    "quantity": "quantity",
    "placement": "item_list_id",
    "position": ("index", "item_list_index"),
    "request_id": "request_id",
}
HINT: Fields = {"item_id": "item_id", "title": "item_name", "brand": "item_brand", "price": "price"}
CATEGORIES = ("item_category", "item_category2", "item_category3", "item_category4", "item_category5")
UNSET = frozenset({"(not set)", "(other)", "(not provided)"})

_event, _context, _item, _hint = Table(EVENT), Table(CONTEXT), Table(ITEM), Table(HINT)
_decided = frozenset({
    "items", "ga_session_id", "session_id", "currency", "transaction_id", "item_list_id", "search_term", "request_id",
    "cart_id", "page_location", "page_referrer", "language", "event_id", "item_id",
})  # fmt: skip


class GoogleAnalytics(Mapped):
    """Events of GA4."""

    name = "ga4"

    def records(self, body: Any) -> list[Any]:
        """The events of a request, each with what the request says for all."""
        if not (isinstance(body, dict) and isinstance(body.get("events"), list)):
            return body if isinstance(body, list) else [body]
        shared = {name: value for name, value in body.items() if name != "events"}
        return [{**shared, **event} if isinstance(event, dict) else event for event in body["events"]]

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        name = record.get("event_name") or record.get("name")
        params = parameters(record.get("event_params") or record.get("params"))
        flat = {**record, "params": params}
        facts = _event.read(flat)
        ts = facts.pop("ts", 0)
        if not ts and not received_at:
            raise Problem("bad_time", "event_timestamp: no time in this record", "ts")
        if "session_id" in facts and "anon_id" in facts:
            facts["session_id"] = f"{facts['anon_id']}.{facts['session_id']}"  # it is unique within a visitor only
        facts["context"] = context_of(_context.read(flat))
        kinds = kinds_of(name, TYPES, ("custom", None))
        items = [cleaned(item) for item in every(record.get("items") or params.get("items"))]
        if not items and "item_id" in params:
            items = [{"item_id": params["item_id"]}]
        if kinds == (None, "share") and not items:
            kinds = ("custom", None)
        rest = left_over(params, _decided)
        if kinds[0] == "custom":
            if name == "page_view" and urlsplit(str(params.get("page_location", "x"))).path in ("", "/"):
                kinds = ("home_view", None)
            rest["event"] = str(name)[:256]
        if rest:
            facts["props"] = rest
        for item in items:
            with suppress(Problem):  # a hint is a favour; the event itself says what is wrong
                yield from self.hints(item, ts or received_at)
        denied = facts.get("consent") == "denied"
        known_by = fingerprint(record) if denied else source_id(record, params, name)  # no id of theirs in ours
        listed: Any = each_read(_item, items, "items") if items or not kinds[0] else ()
        yield from made(kinds, facts, listed, known_by, ts, not received_at)

    def hints(self, item: Any, ts: int) -> Iterator[Event]:
        if not isinstance(item, dict) or not item.get("item_name") or self.reading.known(str(item.get("item_id"))):
            return
        said = _hint.read(item)
        if "item_id" in said:
            path = [str(item[level]) for level in CATEGORIES if item.get(level)]
            yield hint({**said, "categories": [path]} if path else said, ts)


def parameters(given: Any) -> dict[str, Any]:
    """Parameters as a plain object; the export writes a list of keys with typed values."""
    if isinstance(given, dict):
        return given
    found: dict[str, Any] = {}
    for entry in given if isinstance(given, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("key"), str):
            value = entry.get("value")
            if isinstance(value, dict):
                value = next((one for one in value.values() if one is not None), None)
            found[entry["key"]] = value
    return found


def every(items: Any) -> list[Any]:
    """The items of an event, as many as there are."""
    return items if isinstance(items, list) else []


def cleaned(item: Any) -> Any:
    """An item without the words that the export writes for nothing."""
    if not isinstance(item, dict):
        return item
    return {name: value for name, value in item.items() if not (isinstance(value, str) and value in UNSET)}


def source_id(record: dict[str, Any], params: dict[str, Any], name: Any) -> str | None:
    """What tells this event from every other; without a time in it nothing does."""
    given = params.get("event_id")
    if isinstance(given, str | int) and given:
        return str(given)
    bundle = record.get("event_bundle_sequence_id")
    if bundle is None or record.get("user_pseudo_id") is None:
        return fingerprint(record) if "event_timestamp" in record or "timestamp_micros" in record else None
    parts = (record.get("user_pseudo_id"), record.get("event_timestamp"), bundle, record.get("batch_event_index"), name)
    return ".".join("" if part is None else str(part) for part in parts)
