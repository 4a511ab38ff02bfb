"""Recombee: interactions as its requests carry them, alone with a ``type``, or in a batch with method and path.

``price`` is that of the whole line: the unit price is that over ``amount``. Ratings are on -1..1 on both sides. A
detail view with a ``recommId`` is a click on a recommendation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from endcap.events.adapters.mapping import Kinds, Mapped, fingerprint, kinds_of, left_over, made
from endcap.events.adapters.tables import Fields, Table
from endcap.events.records import Problem
from endcap.events.values import number
from endcap.types import Event

TYPES: dict[str, Kinds] = {
    "AddDetailView": (None, "view"),
    "AddPurchase": (None, "purchase"),
    "AddRating": (None, "rating"),
    "AddCartAddition": (None, "cart_add"),
    "AddBookmark": (None, "wishlist_add"),
    "SetViewPortion": (None, "consume"),
    "DeletePurchase": (None, "refund"),
    "DeleteCartAddition": (None, "cart_remove"),
    "DeleteBookmark": (None, "wishlist_remove"),
}
REQUESTS: dict[tuple[str, str], str] = {  # method and path of a request in a batch
    ("POST", "detailviews"): "AddDetailView",
    ("POST", "purchases"): "AddPurchase",
    ("POST", "ratings"): "AddRating",
    ("POST", "cartadditions"): "AddCartAddition",
    ("POST", "bookmarks"): "AddBookmark",
    ("POST", "viewportions"): "SetViewPortion",
    ("DELETE", "purchases"): "DeletePurchase",
    ("DELETE", "cartadditions"): "DeleteCartAddition",
    ("DELETE", "bookmarks"): "DeleteBookmark",
}
EVENT: Fields = {
    "ts": "timestamp",
    "user_id": "userId",
    "session_id": "sessionId",
    "item_id": "itemId",
    "request_id": "recommId",
    "quantity": "amount",
}
VALUE = {"rating": "rating", "consume": "portion"}  # our type -> where its value stands

_event = Table(EVENT)
_decided = _event.tops() | {"type", "price", "rating", "portion", "cascadeCreate", "additionalData"}


class Recombee(Mapped):
    """Interactions of Recombee."""

    name = "recombee"

    def records(self, body: Any) -> list[Any]:
        """The requests of a batch, as single records with their type."""
        requests = body.get("requests") if isinstance(body, dict) else None
        if not isinstance(requests, list):
            return body if isinstance(body, list) else [body]
        return [flat(request) for request in requests]

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        record = flat(record)
        kinds = kinds_of(record.get("type"), TYPES)
        facts = _event.read(record)
        ts = facts.pop("ts", 0)
        if not ts and not received_at:
            raise Problem("bad_time", "timestamp: no time in this record", "ts")
        if kinds[1] == "view" and facts.get("request_id"):
            kinds = (None, "click")
        total = number(record.get("price"))
        if total is not None:
            facts["price"] = total / (facts.get("quantity") or 1.0)
        if kinds[1] in VALUE:
            facts["value"] = number(record.get(VALUE[kinds[1]]))
        extra = record.get("additionalData")
        facts["props"] = {**left_over(extra, frozenset()), **left_over(record, _decided)} or None
        source_id = fingerprint(record) if ts else None
        yield from made(kinds, facts, [{}], source_id, ts, not received_at)


def flat(request: Any) -> Any:
    """A request of a batch as a record; anything else as it is."""
    if not isinstance(request, dict) or not isinstance(request.get("path"), str):
        return request
    words = request["path"].strip("/").split("/")
    method = str(request.get("method", "POST")).upper()
    params = request.get("params")
    return {
        **(params if isinstance(params, dict) else {}),
        "type": REQUESTS.get((method, words[-1]), request["path"][:80]),
    }
