"""AWS Personalize: ``PutEvents`` requests, and the CSV files of a dataset group (interactions, items, users).

Which of the three a CSV record is follows from its columns. Event types are free text: names that other systems use
are understood, others become ``custom``. An ``EVENT_VALUE`` is kept as the event's value where it fits (1 to 5 stars
for a rating, a share for what was watched), else in ``props``. Who has no ``userId`` is known by the session.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from endcap.events.adapters.mapping import Mapped, fingerprint, fitted, known_action, left_over, made, trait_values
from endcap.events.adapters.tables import Fields, Table
from endcap.events.records import Problem
from endcap.events.values import number, texts
from endcap.types import ActionName, Event, Item, ItemChange, User, UserChange

TYPES: dict[str, ActionName] = {  # names of the domain datasets; the others are found by ``action_of``
    "View": "view",
    "Purchase": "purchase",
    "Click": "click",
    "AddToCart": "cart_add",
    "Watch": "consume",
}
EVENT: Fields = {
    "event_id": "eventId",
    "ts": ("TIMESTAMP", "sentAt"),
    "user_id": ("USER_ID", "userId"),
    "session_id": ("SESSION_ID", "sessionId"),
    "item_id": ("ITEM_ID", "itemId"),
    "request_id": ("RECOMMENDATION_ID", "recommendationId"),
}


def separated(value: Any) -> list[str]:
    """Texts between bars."""
    return texts(value, "|")


def levels(value: Any) -> list[list[str]]:
    """Categories of a first level, each a path."""
    return [[name] for name in separated(value)]


ITEM: Fields = {
    "item_id": "ITEM_ID",
    "title": "TITLE",
    "description": "PRODUCT_DESCRIPTION",
    "price": "PRICE",
    "categories": (("CATEGORY_L1", levels), ("CATEGORIES", levels), ("GENRES", levels)),
    "published_at": "CREATION_TIMESTAMP",
    "gender": "GENDER",
    "age_group": "AGE_GROUP",
    "adult": "ADULT",
}

_event, _item = Table(EVENT), Table(ITEM)
_taken = _event.tops() | {"EVENT_TYPE", "eventType", "EVENT_VALUE", "eventValue", "IMPRESSION", "impression",
                          "properties", "trackingId"}  # fmt: skip


class Personalize(Mapped):
    """Interactions, items and users of Personalize."""

    name = "personalize"

    def records(self, body: Any) -> list[Any]:
        """The events of a request, each with what the request says for all."""
        if not (isinstance(body, dict) and isinstance(body.get("eventList"), list)):
            return body if isinstance(body, list) else [body]
        shared = {name: body[name] for name in ("userId", "sessionId") if body.get(name) is not None}
        return [{**shared, **event} if isinstance(event, dict) else event for event in body["eventList"]]

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        if "TIMESTAMP" in record or not ("ITEM_ID" in record or "USER_ID" in record):
            yield from self.interaction(record, received_at)
        elif "ITEM_ID" in record:
            yield listed(record)
        else:
            traits = trait_values({name.lower(): value for name, value in record.items()}, self.reading.traits)
            user_id = str(record["USER_ID"])
            yield UserChange(event_id="", user_id=user_id, ts=0, user=User(user_id=user_id, traits=traits))

    def interaction(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        facts = _event.read(record)
        ts = facts.pop("ts", 0)
        if not ts and not received_at:
            raise Problem("bad_time", "TIMESTAMP: no time in this record", "ts")
        source_id = facts.pop("event_id", None) or (fingerprint(record) if ts else None)
        if not facts.get("user_id") and facts.get("session_id"):
            facts["anon_id"] = facts["session_id"]
        given = record.get("EVENT_TYPE") or record.get("eventType")
        if given is None and "USER_ID" not in record:
            raise Problem("missing_type", "eventType: the record does not say what happened", "type")
        kind = "view" if given is None else TYPES.get(str(given)) or known_action(str(given))
        props = properties(record)
        if kind == "custom":
            props["event"] = str(given)[:256]
        value = number(record.get("EVENT_VALUE", record.get("eventValue")))
        if value is not None:
            kept = fitted(kind, value)
            if kept is None:
                props["event_value"] = value
            else:
                facts["value"] = kept
        shown = record.get("IMPRESSION") or record.get("impression")
        item_id = facts.pop("item_id", None)
        each = {"item_id": item_id} if item_id else {}
        price = number(props.pop("price", None)) if "price" in props else None
        if price is not None:
            each["price"] = price
        history = not received_at
        yield from made((None, kind), {**facts, "props": props or None}, [each], source_id, ts, history)
        facts.pop("value", None)
        seen = [{"item_id": one, "position": place} for place, one in enumerate(separated(shown)[:200])]
        yield from made((None, "impression"), facts, seen, f"{source_id}:shown" if source_id else None, ts, history)


def properties(record: dict[str, Any]) -> dict[str, Any]:
    """Properties, which a request carries as JSON in a text; columns of a file that have no place of their own."""
    held = record.get("properties")
    if isinstance(held, str):
        try:
            held = msgspec.json.decode(held)
        except (msgspec.MsgspecError, RecursionError) as wrong:
            raise Problem("wrong_type", f"properties: expected JSON in a text: {wrong}", "props") from None
    return {**left_over(record, _taken), **left_over(held, frozenset())}


def listed(record: dict[str, Any]) -> ItemChange:
    """An item of the catalogue; columns without a place of their own become attributes."""
    fields = _item.read(record)
    if "item_id" not in fields:
        raise Problem("missing_item", "ITEM_ID: every item needs one", "item_id")
    known = _item.tops()
    extra: dict[str, Any] = {
        name.lower(): value if isinstance(value, bool) else number(value) if isinstance(value, int | float) else
        separated(value) if "|" in str(value) else str(value)
        for name, value in record.items()
        if name not in known and isinstance(value, str | int | float)
    }  # fmt: skip
    path = [str(record[level]) for level in ("CATEGORY_L1", "CATEGORY_L2", "CATEGORY_L3") if record.get(level)]
    if len(path) > 1:
        fields["categories"] = [path]
        extra = {name: value for name, value in extra.items() if name not in ("category_l2", "category_l3")}
    return ItemChange(event_id="", item_id=fields["item_id"], ts=0, item=Item(**fields, attributes=extra))
