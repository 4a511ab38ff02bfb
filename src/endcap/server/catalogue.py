"""Routes of the catalogue: items one by one, in bulk, as a list."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import msgspec
from msgspec import Struct

from endcap.errors import InvalidInput, TooLarge
from endcap.item_vectors import check_record_vectors
from endcap.server.service import LAST_MS, Service, check_id
from endcap.server.wire import BadText, Call, Reply, decode_as, decode_error, encode
from endcap.types import Ack, Item, Refusal

MAX_ITEM_BYTES = 65_536
MAX_PRICE = 1e12
LIST_NAMES = frozenset({"after", "n", "q"})
READ_AT_ONCE = 200  # records that a search reads before others have their turn: about 2 ms
READ_AT_MOST = 50_000  # records of one search; the next page goes on from there

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_item = msgspec.json.Decoder(Item).decode


class ItemPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of the catalogue; ``next`` is the ``after`` of the following page, absent on the last one."""

    items: list[Item]
    next: str | None = None


class ItemsBody(Struct, frozen=True, kw_only=True):
    """Many items as an object."""

    items: list[Item]


async def get(service: Service, call: Call) -> Reply:
    """The record as it was sent."""
    return Reply(encode(service.engine.item(call.id)))


async def put(service: Service, call: Call) -> Reply:
    """Create or replace the whole record."""
    return await _store(service, call.id, decode_as(_decode_object, call.body))


async def patch(service: Service, call: Call) -> Reply:
    """Change the named fields (JSON merge patch): null sets a field back to its default."""
    changes = decode_as(_decode_object, call.body)
    async with service.patching:  # two patches of one item must not both start from the old record
        record = merged(msgspec.to_builtins(service.engine.item(call.id)), changes)
        return await _store(service, call.id, record)


def merged(record: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """JSON merge patch, RFC 7396: objects merge, null removes, everything else replaces."""
    for name, value in changes.items():
        if value is None:
            record.pop(name, None)
        elif isinstance(value, dict):
            old = record.get(name)
            record[name] = merged(old if isinstance(old, dict) else {}, value)
        else:
            record[name] = value
    return record


async def delete(service: Service, call: Call) -> Reply:
    """Take the item out of every later slate. Deleting an unknown item is not an error."""
    check_id("id", call.id)
    return Reply(encode(await service.write(service.engine.item_changes([(call.id, None)]))))


async def _store(service: Service, item_id: str, fields: dict[str, Any]) -> Reply:
    if fields.setdefault("item_id", item_id) != item_id:
        raise InvalidInput("item_id in the body differs from the id in the address; leave it out", field="item_id")
    try:
        item = msgspec.convert(fields, Item)
    except (msgspec.ValidationError, RecursionError) as wrong:
        raise decode_error(wrong) from wrong
    check_item(item)
    check_record_vectors(service.engine, item)
    return Reply(encode(await service.write(service.engine.item_changes([(item_id, item)]))))


async def bulk(service: Service, call: Call) -> Reply:
    """Many records: a JSON array, ``{"items": [...]}``, or JSON Lines. A bad one is refused, the others are taken."""
    records = _split(call.body)
    if len(records) > service.config.server.max_batch:
        raise TooLarge(
            f"{len(records)} items in one request; expected at most {service.config.server.max_batch} "
            "(setting server.max_batch)"
        )
    items: list[tuple[str, Item | None]] = []
    refusals: list[Refusal] = []
    for index, record in enumerate(records):
        try:
            item = decode_as(_decode_item, record)
            check_item(item)
            check_record_vectors(service.engine, item)
        except (InvalidInput, UnicodeEncodeError) as broken:
            wrong = broken if isinstance(broken, InvalidInput) else BadText()
            refusals.append(Refusal(index=index, code=wrong.code, message=wrong.message, field=wrong.field))
        else:
            items.append((item.item_id, item))
    ack = await service.write(service.engine.item_changes(items)) if items else Ack(accepted=0)
    return Reply(encode(msgspec.structs.replace(ack, rejected=refusals, offset=ack.offset or service.engine.offset)))


def _split(body: bytes) -> list[Any]:
    """The records of a bulk body, each still encoded."""
    text = body.lstrip()
    if text.startswith(b"["):
        return decode_as(_decode_raws, body)
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) != 1:
        return lines
    whole = decode_as(msgspec.json.Decoder(dict[str, msgspec.Raw]).decode, body)
    return decode_as(_decode_raws, bytes(whole["items"])) if "items" in whole else lines


async def page(service: Service, call: Call) -> Reply:
    """The catalogue in a stable order, a page at a time; with ``q`` the records that match it."""
    parameters = call.parameters(LIST_NAMES)
    n, after, words = parameters.number("n", 100, 1, 1_000), parameters.text("after"), parameters.text("q")
    if words is not None:
        return Reply(encode(await matching(service, words, after, n)))
    items = service.engine.items(after, n)
    return Reply(encode(ItemPage(items=items, next=items[-1].item_id if len(items) == n else None)))


async def matching(service: Service, words: str, after: str | None, n: int) -> ItemPage:
    """Records whose id begins with the words, or in whose title or brand every word occurs; in catalogue order.

    Reads the catalogue from ``after`` on, ``READ_AT_MOST`` records at most: a page may be short, even empty, and
    ``next`` goes on all the same. For a ranked search by relevance this is not meant.
    """
    wanted, found, read = words.casefold().split(), list[Item](), 0
    begins = words.casefold()
    while read < READ_AT_MOST:
        records = service.engine.items(after, READ_AT_ONCE)
        for record in records:
            read, after = read + 1, record.item_id
            if record.item_id.casefold().startswith(begins) or has_words(record, wanted):
                found.append(record)
                if len(found) == n:
                    return ItemPage(items=found, next=after)
        if len(records) < READ_AT_ONCE:
            return ItemPage(items=found)
        await asyncio.sleep(0)
    return ItemPage(items=found, next=after)


def has_words(item: Item, wanted: list[str]) -> bool:
    """Whether every word occurs in the title or the brand."""
    text = f"{item.title or ''} {item.brand or ''}".casefold()
    return bool(wanted) and all(word in text for word in wanted)


def check_item(item: Item) -> None:
    """Raise ``InvalidInput`` for values that no item can have or that would not fit."""
    check_id("item_id", item.item_id)
    for name, price in (("price", item.price), ("list_price", item.list_price)):
        if price is not None and not (math.isfinite(price) and 0 <= price <= MAX_PRICE):
            raise InvalidInput(f"{name} is {price}; expected 0 to {MAX_PRICE:.0e}", field=name)
    for name, moment in (
        ("published_at", item.published_at),
        ("expires_at", item.expires_at),
        ("updated_at", item.updated_at),
    ):
        if moment is not None and not 0 <= moment <= LAST_MS:
            raise InvalidInput(f"{name} is {moment}; expected epoch milliseconds before the year 2100", field=name)
    for name, count in (("stock_qty", item.stock_qty), ("rating_count", item.rating_count)):
        if count is not None and not -(2**31) <= count < 2**31:
            raise InvalidInput(f"{name} is {count}; expected a 32-bit integer", field=name)
    if item.group_id is not None:
        check_id("group_id", item.group_id)
    size = len(encode(msgspec.structs.replace(item, vectors={}) if item.vectors else item))
    if size > MAX_ITEM_BYTES:
        raise InvalidInput(f"the record has {size} bytes; expected at most {MAX_ITEM_BYTES}", field="item")
