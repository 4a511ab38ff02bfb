"""Gorse: its dumps of feedback, items and users, for those who move. Which of the three a record is follows from its
fields. Feedback types are free text: names that other systems use are understood, others become ``custom``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from endcap.events.adapters.mapping import Mapped, fingerprint, fitted, known_action, made, trait_values
from endcap.events.adapters.tables import Fields, Table
from endcap.events.records import Problem
from endcap.events.values import epoch_ms, number, texts
from endcap.types import ActionName, Event, Item, ItemChange, User, UserChange

TYPES: dict[str, ActionName] = {
    "star": "like",
    "read": "view",
    "like": "like",
    "click": "click",
}  # others: by any usual name


def moment(value: Any) -> int | None:
    """A time; the year 1 is Go's for none."""
    return None if str(value).startswith("0001-") else epoch_ms(value)


def single(value: Any) -> list[list[str]]:
    """Categories, each a path of its own."""
    return [[name] for name in texts(value, "|,")]


FEEDBACK: Fields = {
    "ts": (("Timestamp", moment), ("time_stamp", moment), ("timestamp", moment)),
    "user_id": ("UserId", "user_id"),
    "item_id": ("ItemId", "item_id"),
}
ITEM: Fields = {
    "item_id": ("ItemId", "item_id"),
    "title": ("Comment", "comment", "description"),
    "categories": (("Categories", single), ("categories", single)),
    "hidden": ("IsHidden", "is_hidden"),
    "published_at": (("Timestamp", moment), ("time_stamp", moment), ("timestamp", moment)),
}

_feedback, _item = Table(FEEDBACK), Table(ITEM)


class Gorse(Mapped):
    """Feedback, items and users of Gorse."""

    name = "gorse"

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        labels = record.get("Labels", record.get("labels"))
        kind = record.get("FeedbackType") or record.get("feedback_type")
        if kind is not None:
            yield from self.feedback(record, str(kind), received_at)
        elif "ItemId" in record or "item_id" in record:
            fields = _item.read(record)
            if "item_id" not in fields:
                raise Problem("missing_item", "ItemId: every item needs one", "item_id")
            item = Item(**fields, attributes=attributes(labels))
            yield ItemChange(event_id="", item_id=item.item_id, ts=0, item=item)
        elif user_id := _feedback.read(record).get("user_id"):
            traits = trait_values(labels, self.reading.traits)
            yield UserChange(event_id="", user_id=user_id, ts=0, user=User(user_id=user_id, traits=traits))
        else:
            raise Problem("missing_type", "neither feedback, nor an item, nor a user", "type")

    def feedback(self, record: dict[str, Any], kind: str, received_at: int) -> Iterator[Event | Problem]:
        facts = _feedback.read(record)
        ts = facts.pop("ts", 0)
        if not ts and not received_at:
            raise Problem("bad_time", "Timestamp: no time in this record", "ts")
        action = TYPES.get(kind) or known_action(kind)
        props: dict[str, Any] = {"event": kind[:256]} if action == "custom" else {}
        value = number(record.get("Value", record.get("value")))
        if value:
            kept = fitted(action, value)
            facts |= {"value": kept} if kept is not None else {}
            props |= {"value": value} if kept is None else {}
        facts["props"] = props or None
        yield from made((None, action), facts, [{}], fingerprint(record) if ts else None, ts, not received_at)


def attributes(labels: Any) -> dict[str, Any]:
    """Labels as attributes: plain values, lists of texts; a bare list is called labels."""
    if isinstance(labels, list):
        labels = {"labels": labels}
    found: dict[str, Any] = {}
    for name, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(value, list):
            found[name[:64]] = texts(value)[:64]
        elif isinstance(value, bool | str):
            found[name[:64]] = value
        elif isinstance(value, int | float):
            found[name[:64]] = float(value)
    return found
