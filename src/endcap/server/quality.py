"""What is wrong with the catalogue and the events, as far as a machine can see it: ``GET /v1/quality``.

The catalogue is read a slice at a time, so that requests come in between: about 25 us a record. Nothing is kept; two
readings at once wait for each other. What an import found in a file says ``events/quality.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import Struct, field

from endcap.errors import NotFound
from endcap.features.catalogue import DELETED, LISTED, UNLISTED, Catalogue
from endcap.features.counters import GROUPS, HALF_LIVES_S, HORIZONS
from endcap.models.persons import GROUP, PERSON
from endcap.server.service import Service
from endcap.server.wire import Call, Reply, encode
from endcap.state import State
from endcap.stores.sqlite import SqliteLog
from endcap.types import I4, Item

SLICE = 100  # records between two looks at what else waits: two to three milliseconds
EXAMPLES = 10
STALE_MS = 180 * 86_400_000  # a record that says it was not touched for half a year
FAR = 4.0  # standard deviations of log price from the mean of the category

Check = Callable[[Item], bool]
RECORD_CHECKS: dict[str, Check] = {
    "no_title": lambda item: not (item.title or "").strip(),
    "no_category": lambda item: not any(item.categories),
    "no_price": lambda item: item.price is None,
    "no_picture": lambda item: not item.image_urls,
    "no_brand": lambda item: not item.brand,
    "price_above_list": lambda item: item.list_price is not None and item.price is not None
    and item.price > item.list_price,
    "in_stock_with_none": lambda item: item.availability == "in_stock" and item.stock_qty is not None
    and item.stock_qty <= 0,
}  # fmt: skip


class Blemish(Struct, frozen=True, kw_only=True):
    """One thing to look at: how many of how many items, the first of them by id."""

    code: str
    n: int
    of: int
    examples: list[str]


class QualityReport(Struct, frozen=True, kw_only=True):
    """The state of the catalogue and of what is sent."""

    listed: int  # records held
    unlisted: int  # items that events name and nobody listed
    deleted: int
    findings: list[Blemish]
    cleaned: dict[str, int]  # interactions kept out of the statistics, by rule, since the beginning
    refused: dict[str, int]  # records in the quarantine, by code
    seconds: float


class ItemFacts(Struct, frozen=True, kw_only=True):
    """What the engine knows of an item beside its record."""

    item_id: str
    title: str | None
    status: str  # listed, unlisted (named by events only) or deleted
    on_sale: bool  # whether a slate may show it now, rules and consent aside
    first_seen: int | None  # epoch ms
    counts: dict[str, dict[str, float]]  # seen, wanted, bought: by half-life, fading
    vectors: list[str] = field(default_factory=list)  # names of the sets that hold one


class Gathered:
    """Counts with examples, in the order of their codes."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[int, list[str]]] = {}

    def note(self, code: str, item_id: str) -> None:
        """Count one item."""
        n, examples = self.found.get(code, (0, []))
        self.found[code] = n + 1, [*examples, item_id] if len(examples) < EXAMPLES else examples

    def finding(self, code: str, of: int) -> Blemish:
        """The count of one code; none is a count too."""
        n, examples = self.found.get(code, (0, []))
        return Blemish(code=code, n=n, of=of, examples=examples)


class Twins:
    """Records that look like one product listed twice: equal GTIN, or equal title, brand, size and colour.

    Keeps 64-bit hashes, about 60 bytes a record while a report is made.
    """

    def __init__(self) -> None:
        self._met: set[int] = set()

    def is_again(self, item: Item) -> bool:
        """Whether an earlier record is of the same product."""
        if item.group_id:  # the shop has said what belongs together
            return False
        title = " ".join((item.title or "").casefold().split())
        keys = [hash(("gtin", item.gtin))] if item.gtin else []
        keys += [hash((title, item.brand, item.size, item.color))] if title else []
        again = any(key in self._met for key in keys)
        self._met.update(keys)
        return again


async def report(service: Service, _call: Call) -> Reply:
    """The report, read anew."""
    async with service.surveying:
        clock = asyncio.get_running_loop().time
        began = clock()
        state, now = service.engine.state, service.engine.runtime.now()
        gathered, twins, n_items = Gathered(), Twins(), len(service.engine.state.items)
        for begin in range(0, n_items, SLICE):
            look_at(state, range(begin, min(begin + SLICE, n_items)), now, gathered, twins)
            await asyncio.sleep(0)
        listed = state.catalogue.listed[:n_items]
        sizes = {status: int((listed == status).sum()) for status in (LISTED, DELETED)}
        unlisted = gathered.finding("unlisted", n_items)  # people and groups are no goods, so not counted here
        codes = [*RECORD_CHECKS, "duplicate", "stale", "price_far", "without_events"]
        findings = [gathered.finding(code, sizes[LISTED]) for code in codes]
        found = QualityReport(
            listed=sizes[LISTED], unlisted=unlisted.n, deleted=sizes[DELETED], findings=[unlisted, *findings],
            cleaned=state.cleaner.counts(), refused=await asyncio.to_thread(refused, service),
            seconds=round(clock() - began, 3),
        )  # fmt: skip
    return Reply(encode(found))


def look_at(state: State, some: range, now: int, gathered: Gathered, twins: Twins) -> None:
    """Check a slice of the items."""
    catalogue, dense = state.catalogue, np.arange(some.start, some.stop, dtype=np.int32)
    far = np.abs(np.nan_to_num(catalogue.price_z(dense))) > FAR
    quiet = np.isneginf(state.counters.overall[dense])
    for item, is_far, is_quiet in zip(some, far.tolist(), quiet.tolist(), strict=True):
        name = state.items.name(item)
        if catalogue.listed[item] == UNLISTED and not name.startswith((PERSON, GROUP)):
            gathered.note("unlisted", name)
        record = catalogue.record(item)
        if record is None:
            continue
        for code, holds in RECORD_CHECKS.items():
            if holds(record):
                gathered.note(code, record.item_id)
        if twins.is_again(record):
            gathered.note("duplicate", record.item_id)
        if record.updated_at is not None and record.updated_at < now - STALE_MS:
            gathered.note("stale", record.item_id)
        if is_far:
            gathered.note("price_far", record.item_id)
        if is_quiet:
            gathered.note("without_events", record.item_id)


def refused(service: Service) -> dict[str, int]:
    """Refused records by code."""
    log = service.engine.log
    return log.quarantined() if isinstance(log, SqliteLog) else {}


async def facts(service: Service, call: Call) -> Reply:
    """What the engine knows of one item."""
    state, now = service.engine.state, service.engine.runtime.now()
    item = state.items.get(call.id)
    if item < 0:
        raise NotFound(f"no item {call.id[:80]!r}: not in the catalogue and in no event so far")
    record = state.catalogue.record(item)
    first = int(state.catalogue.first_seen_s[item])
    found = ItemFacts(
        item_id=call.id,
        title=record.title if record else None,
        status=status_of(state.catalogue, item),
        on_sale=bool(state.catalogue.available(np.array([item], np.int32), now)[0]),
        first_seen=first * 1000 if first else None,
        counts=counts_of(state, np.array([item], np.int32), now // 1000),
        vectors=[name for name in state.vectors.spaces if state.vectors.has(name, item)],
    )
    return Reply(encode(found))


def status_of(catalogue: Catalogue, item: int) -> str:
    """Listed, unlisted or deleted."""
    return {LISTED: "listed", UNLISTED: "unlisted", DELETED: "deleted"}[int(catalogue.listed[item])]


def counts_of(state: State, item: I4, t_s: int) -> dict[str, dict[str, float]]:
    """Clean events per group and half-life: each counts 1 and fades. ``item`` [1] dense ids."""
    keys = state.counters.key[item][0]
    values: Any = np.exp2(keys - t_s / HALF_LIVES_S)
    return {
        group: dict(zip(HORIZONS, [round(one, 3) for one in row], strict=True))
        for group, row in zip(GROUPS, values.tolist(), strict=True)
    }
