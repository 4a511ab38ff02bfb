"""Foreign records to events, driven by tables that read as data: one small adapter per platform sits on this.

Idea: an adapter is mostly three tables. ``types`` says which of our actions a foreign event is: one for the record as a
whole and one for each product in it. ``Table`` (``tables.py``) says where each of our fields is found. One source
event with N products gives N events with the ids ``<source id>:<index>``, so that a repeated delivery changes nothing.

A value that cannot be understood refuses its event, by name; the other products of the record go on. Texts that are
only notes (addresses of pages) are cut to what an event may hold, because they must not cost the event.

Cost: about 10 us per event. When not to use: our own format, which ``preprocess/decode.py`` reads without any mapping.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

from endcap.events.adapters.tables import Table
from endcap.events.columns import plain
from endcap.events.records import Problem
from endcap.events.values import action_of
from endcap.types import Context, Event, Interaction, Item, ItemChange, Refusal

Kinds = tuple[str | None, str | None]  # our type for the record as a whole, and for each product in it

MAX_PRODUCTS = 1_000  # of one record
MAX_PROPS = 32
MAX_PROP = 256  # characters of one
# What the law calls personal and no recommendation needs: never taken from free-form properties.
PRIVATE = frozenset({
    "email", "phone", "first_name", "last_name", "firstname", "lastname", "address", "street", "birthday", "ip",
    "username", "password", "credit_card", "user_agent", "billing", "shipping_address",
})  # fmt: skip


def offset_at(zone: str, ts: int) -> int | None:
    """Minutes east of UTC in a named zone at a moment; None for a name that no zone has."""
    return _offset(zone, ts // 3_600_000)


@lru_cache(4_096)
def _offset(zone: str, hour: int) -> int | None:
    from datetime import UTC, datetime

    try:
        east = datetime.fromtimestamp(hour * 3600, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    except (KeyError, ValueError, OSError, OverflowError):
        return None
    return None if east is None else round(east.total_seconds() / 60)


def dig(record: Any, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    for key in path.split("."):
        record = record.get(key) if isinstance(record, dict) else None
    return record


def left_over(record: Any, taken: frozenset[str]) -> dict[str, Any]:
    """Plain values that no table took, for ``props``; a few, short, nothing personal."""
    found: dict[str, Any] = {}
    if isinstance(record, dict) and not taken.issuperset(record):
        for name, value in record.items():
            if name in taken or not isinstance(value, str | int | float | bool) or plain(name) in PRIVATE:
                continue
            if len(found) < MAX_PROPS and len(name) <= 64 and not (isinstance(value, str) and len(value) > MAX_PROP):
                found[name] = value
    return found


def trait_values(given: Any, allowed: frozenset[str]) -> dict[str, Any]:
    """Of what is said of a user, what the shop wants kept: plain values, short texts."""
    if not isinstance(given, dict):
        return {}
    held = {name: value for name, value in given.items() if name in allowed}
    return {
        name: value
        for name, value in held.items()
        if isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= 256)
    }


def known_action(name: str) -> str:
    """An action of ours by any usual name for it, else custom: for platforms whose event types are free text."""
    try:
        return action_of(name)
    except ValueError:
        return "custom"


def fitted(kind: str, value: float) -> float | None:
    """The value of an event where it means there what it means here: 1 to 5 stars, a share consumed, a weight."""
    if kind == "rating":
        return (value - 3.0) / 2.0 if 1.0 <= value <= 5.0 else None
    if kind == "consume":
        return value if 0.0 <= value <= 1.0 else None
    return value


def fingerprint(record: dict[str, Any]) -> str:
    """An id for a record that has none: the same bytes give the same id, so a repeated delivery changes nothing."""
    return blake2b(json.dumps(record, default=str).encode(), digest_size=16).hexdigest()


def by_plain(types: Mapping[str, Kinds]) -> dict[str, Kinds]:
    """A table of types that is found by any spelling of its names."""
    return {plain(name): kinds for name, kinds in types.items()} | dict(types)


def knows_all(_item_id: str) -> bool:
    """No catalogue hints are wanted."""
    return True


@dataclass(frozen=True, slots=True)
class Reading:
    """What an adapter has to know of the shop. ``known`` says that the catalogue needs no hint about an item."""

    position_base: int = 1
    traits: frozenset[str] = frozenset()
    known: Callable[[str], bool] = knows_all


class Mapped:
    """An ``Adapter`` on tables: subclasses give ``translate`` and, where a body holds several records, ``records``."""

    name: str = ""
    columns: tuple[str, ...] = ()  # of a file of tab-separated values without a header

    def __init__(self, reading: Reading = Reading()) -> None:  # frozen
        self.reading = reading

    def records(self, body: Any) -> list[Any]:
        """The records of a decoded body."""
        return body if isinstance(body, list) else [body]

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        """The events of one record; a ``Problem`` instead of one that cannot be made."""
        raise NotImplementedError

    def read(self, record: Any, index: int, received_at: int) -> Iterator[Event | Refusal]:
        """Events and refusals of one record; ``index`` is its place, ``received_at`` epoch ms, 0 for history."""
        try:
            if not isinstance(record, dict):
                raise Problem("wrong_type", f"expected an object, got {type(record).__name__}")
            for event in self.translate(record, received_at):
                yield refused(event, index) if isinstance(event, Problem) else event
        except Problem as wrong:
            yield refused(wrong, index)
        except (ValueError, TypeError, OverflowError, RecursionError) as wrong:  # of a value outside the tables
            yield refused(Problem("wrong_type", str(wrong)), index)


def refused(wrong: Problem, index: int) -> Refusal:
    """A problem as the answer names it."""
    return Refusal(index=index, code=wrong.code, message=wrong.message, field=wrong.field)


def kinds_of(name: Any, types: Mapping[str, Kinds], otherwise: Kinds | None = None) -> Kinds:
    """Our types for a foreign event name. ``Problem`` for an unknown one, unless there is an ``otherwise``."""
    if not isinstance(name, str) or not name:
        raise Problem("missing_type", "the record does not say what happened", "type")
    found = types.get(name) or types.get(plain(name)) or otherwise
    if found is None:
        raise Problem("unknown_type", f"{name[:80]!r} is no event of this platform that we know", "type")
    return found


def made(
    kinds: Kinds, facts: dict[str, Any], products: Iterable[dict[str, Any] | Problem], source_id: str | None, ts: int,
    history: bool,
) -> Iterator[Event | Problem]:  # fmt: skip
    """The events of one record: ``facts`` hold for all of them, each of ``products`` adds its own.

    ``props`` in ``facts`` go with the first event only. ``history``: the event was received when it happened.
    """
    whole_type, each_type = kinds
    received = ts if history else 0
    props = facts.pop("props", None)
    if whole_type is not None:
        event_id = source_id or ""
        yield Interaction(type=whole_type, event_id=event_id, ts=ts, received_at=received, props=props, **facts)  # type: ignore[arg-type]
        props = None
    if each_type is None:
        return
    for index, product in enumerate(products):
        if isinstance(product, Problem):
            yield product
            continue
        event_id = f"{source_id}:{index}" if source_id else ""
        fields = {**facts, **product}
        yield Interaction(type=each_type, event_id=event_id, ts=ts, received_at=received, props=props, **fields)  # type: ignore[arg-type]
        props = None


def each_read(table: Table, products: Any, what: str) -> Iterator[dict[str, Any] | Problem]:
    """The fields of each product of a list, or why it has none."""
    if not isinstance(products, list):
        yield Problem("missing_products", f"{what}: expected a list of products", "item_id")
        return
    if not products:
        yield Problem("missing_products", f"{what}: the list of products is empty", "item_id")
    for place, product in enumerate(products):
        if place >= MAX_PRODUCTS:
            yield Problem("too_long", f"{what}: {len(products)} products; the first {MAX_PRODUCTS} were taken", what)
            return
        try:
            if not isinstance(product, dict):
                raise Problem("wrong_type", f"{what}[{place}]: expected an object, got {type(product).__name__}")
            yield table.read(product)
        except Problem as wrong:
            yield wrong


def hint(item: dict[str, Any], ts: int) -> ItemChange:
    """What an event says about its item, for a catalogue that knows nothing of it; the first hint stays."""
    item_id = item["item_id"]
    return ItemChange(event_id=f"hint:{item_id}", item_id=item_id, ts=ts, received_at=ts, item=Item(**item))


def is_hint(change: ItemChange) -> bool:
    """Whether a change of the catalogue is no more than a hint."""
    return change.event_id.startswith("hint:")


def context_of(fields: dict[str, Any]) -> Context | None:
    """A context from the fields that are there; the others are None."""
    return Context(**fields) if fields else None
