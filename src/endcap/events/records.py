"""From the columns of a chunk to events and items, one record at a time.

Only the columns that a field took are touched. A value that cannot be understood refuses its record, with the file and
line; the rest of the rules (lengths, ranges, missing ids) are those of every event and are applied by the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from endcap.events.adapters.chunks import Chunk
from endcap.events.values import action_of, category_paths, epoch_ms, from_stars, money, number, text_of, texts, truth
from endcap.types import DEVICE_CODE, Context, Interaction, Item

Refuse = Callable[[str, str, str], None]  # place, code, message
FUTURE_MS = 86_400_000  # clocks and time zones: a day ahead is let through and clamped to now
TEXTS = ("event_id", "user_id", "anon_id", "session_id", "item_id", "variant_id", "currency", "order_id", "cart_id",
         "placement", "request_id", "query", "category")  # fmt: skip
MAX_ATTRIBUTES = 64
MAX_ID = 256  # bytes of UTF-8, as for events


def values_of(part: Chunk, column: str) -> Any:
    """The values of a column, or of a constant ("=purchase")."""
    return [column[1:]] * len(part.lines) if column.startswith("=") else part.columns[column]


class EventRecords:
    """The events of one chunk."""

    def __init__(self, file: str, found: Mapping[str, str], part: Chunk, now: int) -> None:
        """``found`` is field -> column, ``now`` epoch ms."""
        self.file = file
        self.now = now
        self.lines = part.lines
        given = {field: values_of(part, column) for field, column in found.items()}
        self.ts = given["ts"]
        self.type = given.get("type")
        self.texts = [(field, given[field]) for field in TEXTS if field in given]
        self.rest = {field: values for field, values in given.items() if field not in (*TEXTS, "ts", "type")}

    def convert(self, refuse: Refuse) -> Iterator[tuple[str, Interaction]]:
        """Each usable event with its place in the file; the others go to ``refuse``."""
        for row, line in enumerate(self.lines):
            place = f"{self.file}:{line}"
            try:
                yield place, self.event(row)
            except Problem as wrong:
                refuse(place, wrong.code, wrong.message)

    def event(self, row: int) -> Interaction:
        """One event. Raises ``Problem``."""
        ts = self.time(row)
        fields: dict[str, Any] = {"ts": ts, "received_at": ts}
        try:
            for field, values in self.texts:
                fields[field] = text_of(values[row])
        except ValueError as wrong:
            raise Problem("wrong_type", f"{field}: {wrong}") from None
        self.add_type(row, fields)
        self.add_numbers(row, fields)
        self.add_context(row, fields)
        if fields.get("event_id") is None:
            fields["event_id"] = ""
        return Interaction(**fields)

    def time(self, row: int) -> int:
        ts: int = understood("bad_time", "ts", epoch_ms, self.ts[row])
        if ts > self.now:
            if ts > self.now + FUTURE_MS:
                raise Problem("bad_time", f"ts {self.ts[row]}: in the future; is it in the unit and zone you meant?")
            return self.now
        return ts

    def add_type(self, row: int, fields: dict[str, Any]) -> None:
        if self.type is None:
            fields["type"] = "rating"
        elif self.type[row] is None:
            raise Problem("missing_type", "no type in this record")
        else:
            fields["type"] = understood("unknown_type", "type", action_of, self.type[row])

    def add_numbers(self, row: int, fields: dict[str, Any]) -> None:
        for field in ("quantity", "price", "value", "position"):
            if field in self.rest:
                value = understood("bad_number", field, number, self.rest[field][row])
                if value is not None:
                    fields[field] = int(value) if field == "position" else value
        if "stars" in self.rest and fields["type"] == "rating":
            fields["value"] = understood("bad_number", "rating", from_stars, self.rest["stars"][row])
        if fields["type"] == "refund" and "quantity" in fields:
            fields["quantity"] = abs(fields["quantity"])  # many systems book returns as negative sales

    def add_context(self, row: int, fields: dict[str, Any]) -> None:
        rest = self.rest
        if "consent" in rest and rest["consent"][row] is not None:
            fields["consent"] = understood("wrong_type", "consent", consent, rest["consent"][row])
        region = text_of(rest["region"][row]) if "region" in rest else None
        device = text_of(rest["device"][row]) if "device" in rest else None
        if "context" in rest and rest["context"][row] is not None:
            fields["context"] = understood("wrong_type", "context", as_context, rest["context"][row])
        elif region or device:
            device = device.lower() if device else None
            fields["context"] = Context(region=region, device=device if device in DEVICE_CODE else device and "other")
        if "props" in rest and rest["props"][row] is not None:
            if not isinstance(rest["props"][row], dict):
                raise Problem("wrong_type", "props: expected an object")
            fields["props"] = rest["props"][row]


class ItemRecords:
    """The catalogue records of one chunk."""

    def __init__(self, file: str, found: Mapping[str, str], part: Chunk) -> None:
        """``found`` is field -> column; columns that no field took become attributes."""
        self.file = file
        self.lines = part.lines
        self.given = [(field, values_of(part, column)) for field, column in found.items()]
        used = set(found.values())
        self.others = [(name, values) for name, values in part.columns.items() if name not in used][:MAX_ATTRIBUTES]

    def convert(self, refuse: Refuse) -> Iterator[tuple[str, Item]]:
        """Each usable item with its place in the file; the others go to ``refuse``."""
        for row, line in enumerate(self.lines):
            place = f"{self.file}:{line}"
            try:
                yield place, self.item(row)
            except Problem as wrong:
                refuse(place, wrong.code, wrong.message)

    def item(self, row: int) -> Item:
        """One item. Raises ``Problem``."""
        fields: dict[str, Any] = {}
        for field, values in self.given:
            value = values[row]
            if value is not None:
                converted = understood("wrong_type", field, ITEM_VALUES.get(field, text_of), value)
                if converted is not None:
                    fields[field] = converted
        if not fields.get("item_id"):
            raise Problem("missing_item", "item_id: every item needs one")
        if len(fields["item_id"].encode()) > MAX_ID:
            raise Problem("too_long", f"item_id {fields['item_id'][:40]}...: at most {MAX_ID} bytes are taken")
        if not 0.0 <= fields.get("price", 0.0) <= 1e12:
            raise Problem("bad_number", f"price {fields['price']:g}: expected 0 or more")
        attributes = {**fields.get("attributes", {}), **self.attributes(row)}
        if attributes:
            fields["attributes"] = attributes
        try:
            return msgspec.convert(fields, Item)
        except msgspec.ValidationError as wrong:
            raise Problem("wrong_type", str(wrong)) from None

    def attributes(self, row: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, values in self.others:
            value = values[row]
            if isinstance(value, list | tuple):
                found[name] = texts(value)
            elif isinstance(value, bool | float | str):
                found[name] = value
            elif isinstance(value, int):
                found[name] = float(value)
            elif value is not None and not isinstance(value, dict):
                found[name] = str(value)
        return found


class Problem(Exception):
    """Why one record cannot be used."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


def understood(code: str, field: str, convert: Callable[[Any], Any], value: Any) -> Any:
    """``convert(value)``, or a ``Problem`` that names the field."""
    try:
        return convert(value)
    except (ValueError, TypeError, OverflowError) as wrong:
        raise Problem(code, f"{field}: {wrong}") from None


def consent(value: Any) -> str:
    """granted, denied or unknown; a truth value means the first two."""
    text = str(value).strip().lower()
    if text in ("granted", "denied", "unknown"):
        return text
    return "granted" if truth(value) else "denied"


def as_context(value: Any) -> Context:
    """A context object."""
    return msgspec.convert(value, Context)


def whole(value: Any) -> int | None:
    """A whole number."""
    found = number(value)
    return None if found is None else round(found)


AVAILABILITY = {
    "in_stock": "in_stock", "instock": "in_stock", "available": "in_stock", "out_of_stock": "out_of_stock",
    "outofstock": "out_of_stock", "sold_out": "out_of_stock", "preorder": "preorder", "pre_order": "preorder",
    "presale": "preorder", "backorder": "backorder", "onbackorder": "backorder", "discontinued": "discontinued",
    "soldout": "out_of_stock", "limitedavailability": "in_stock", "limited_availability": "in_stock",
    "onlineonly": "in_stock", "instoreonly": "in_stock", "madetoorder": "in_stock",
}  # fmt: skip


def availability(value: Any) -> str:
    """One of ours; true and false mean in and out of stock."""
    text = "_".join(str(value).strip().lower().replace("-", " ").split())
    known = AVAILABILITY.get(text)
    return known if known is not None else "in_stock" if truth(value) else "out_of_stock"


def as_object(value: Any) -> dict[str, Any]:
    """An object, for attributes and vectors."""
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {type(value).__name__}")
    return value


ITEM_VALUES: dict[str, Callable[[Any], Any]] = {
    "image_urls": lambda value: texts(value, ",|"),
    "categories": category_paths,
    "price": money,
    "list_price": money,
    "availability": availability,
    "stock_qty": whole,
    "tags": texts,
    "rating_avg": number,
    "rating_count": whole,
    "published_at": epoch_ms,
    "expires_at": epoch_ms,
    "updated_at": epoch_ms,
    "adult": truth,
    "hidden": truth,
    "attributes": as_object,
    "vectors": as_object,
}
