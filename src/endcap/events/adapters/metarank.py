"""Metarank: its event files (items, users, rankings, interactions), for those who move.

A ranking becomes one impression per item, at its place and with the ranking's id as the request, so that interactions
find it. The last event of an item is its record: fields that only an earlier one had are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from endcap.events.adapters.gorse import attributes
from endcap.events.adapters.mapping import Mapped, each_read, known_action, left_over, made, trait_values
from endcap.events.adapters.tables import Fields, Table
from endcap.events.records import Problem
from endcap.types import Event, Item, ItemChange, User, UserChange

EVENT: Fields = {
    "event_id": "id",
    "ts": "timestamp",
    "user_id": "user",
    "session_id": "session",
}
INTERACTION: Fields = {"item_id": "item", "request_id": "ranking"}
ITEM: Fields = {  # names of fields that shops give -> ours; the others become attributes
    "title": ("title", "name"),
    "description": "description",
    "categories": ("category", "categories", "genres"),
    "brand": "brand",
    "price": "price",
    "tags": "tags",
    "url": "url",
    "image_urls": ("image", "image_url"),
}

_event, _interaction, _item, _shown = Table(EVENT), Table(INTERACTION), Table(ITEM), Table({"item_id": "id"})


class Metarank(Mapped):
    """Events of Metarank."""

    name = "metarank"

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        facts = _event.read(record)
        source_id, ts = facts.pop("event_id", None), facts.pop("ts", 0)
        kind, values = record.get("event"), fields_of(record.get("fields"))
        if not ts and not received_at:
            raise Problem("bad_time", "timestamp: no time in this record", "ts")
        received = 0 if received_at else ts
        if kind == "item":
            item_id = _interaction.read(record).get("item_id")
            if item_id is None:
                raise Problem("missing_item", "item: every item event needs one", "item_id")
            other = {name: value for name, value in values.items() if name not in _item.tops()}
            item = Item(item_id=item_id, **_item.read(values), attributes=attributes(other))
            event_id = f"{source_id}:item" if source_id else ""
            yield ItemChange(event_id=event_id, item_id=item_id, ts=ts, received_at=received, item=item)
        elif kind == "user":
            user_id = facts.get("user_id")
            if user_id is None:
                raise Problem("missing_user", "user: every user event needs one", "user_id")
            user = User(user_id=user_id, traits=trait_values(values, self.reading.traits))
            event_id = f"{source_id}:user" if source_id else ""
            yield UserChange(event_id=event_id, user_id=user_id, ts=ts, received_at=received, user=user)
        elif kind == "ranking":
            facts["request_id"] = source_id
            listed = [
                each if isinstance(each, Problem) else {**each, "position": place}
                for place, each in enumerate(each_read(_shown, record.get("items"), "items"))
            ]
            yield from made((None, "impression"), facts, listed, source_id, ts, not received_at)
        elif kind == "interaction":
            given = record.get("type")
            if not isinstance(given, str) or not given:
                raise Problem("missing_type", "type: the record does not say what happened", "type")
            action = known_action(given)
            props = left_over(values, frozenset()) | ({"event": given[:256]} if action == "custom" else {})
            facts |= {**_interaction.read(record), "props": props or None}
            yield from made((None, action), facts, [{}], source_id, ts, not received_at)
        else:
            raise Problem(
                "unknown_type", f"event {str(kind)[:80]!r}: expected item, user, ranking or interaction", "event"
            )


def fields_of(given: Any) -> dict[str, Any]:
    """The list of fields as an object."""
    return {
        field["name"]: field.get("value")
        for field in (given if isinstance(given, list) else ())
        if isinstance(field, dict) and isinstance(field.get("name"), str)
    }
