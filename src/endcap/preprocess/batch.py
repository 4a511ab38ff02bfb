"""Batch: a run of stored events becomes columns, in log order.

Idea: kernels fold columns, so the strings of an event are turned into dense numbers here and nowhere else. What is
not a row (a catalogue or user change, an erasure, the moment at which an anonymous visitor logs in) cuts the run and is
handed on in place, so that everything happens in the order of the log.

Whose event it is: one with a login id counts for that user; one with an anonymous id alone counts for the user the id
is linked to, if any, else for the anonymous visitor. Keys are "u" + user_id and "a" + anon_id in one numbering. An
event with neither counts for nobody (user -1) and still for the items.

Normalised on the way: device names to codes; the local hour from ``utc_offset_min`` (UTC when not given); regions to
numbers, the first ``MAX_REGIONS`` of them; a rating below the middle of the scale is a dislike; an event that arrived
too long after it happened gets the LATE bit. An impression becomes one row per shown item with the same offset; what
holds for the whole slate goes into ``SlateBatch``.

Cost: about 2 us per event, 12 us for an event alone. Rows are tuples until the cut; one pass per column then is three
times as quick as transposing them all at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from endcap.batches import LATE, MAX_VARIANTS, WARMTH_CODE, ClaimBatch, EventBatch, SlateBatch
from endcap.config import CleanConfig
from endcap.preprocess.identity import Identity
from endcap.preprocess.ids import Ids
from endcap.types import ACTION_CODE, DEVICE_CODE, Context, Impression, Interaction, Stored

MAX_SLATES, MAX_SHOWN = 4_096, 32_768  # slates of one batch, and items on them; ``OpenSlates`` relies on both
MAX_REGIONS = 1024  # each region has a popularity list of its own; names beyond this many count as no region
HOUR_MS = 3_600_000
NAN = float("nan")
IMPRESSION = ACTION_CODE["impression"]
DISLIKE = ACTION_CODE["dislike"]

Row = tuple[int, int, int, int, float, float, float, int, int, int, int]
KINDS: dict[str, Any] = {
    "offset": np.int64, "ts": np.int64, "user": np.int32, "action": np.int8,
    "value": np.float32, "quantity": np.float32, "price": np.float32,
    "hour": np.int8, "device": np.int8, "region": np.int16, "flags": np.uint8,
}  # fmt: skip
COLUMNS = tuple((name, kind, itemgetter(place)) for place, (name, kind) in enumerate(KINDS.items()))


@dataclass(frozen=True, slots=True)
class Link:
    """An anonymous id that has a history turned out to be a known user. Both are dense user ids."""

    anon: int
    user: int


def request_hash(request_id: str) -> int:
    """A request id as a number that is never 0. Our own ids, 12 random hexadecimal digits and a counter, are quick."""
    if request_id[12:13] == "-":
        try:
            return (int(request_id[:12], 16) * 0x9E3779B97F4A7C15 + int(request_id[13:], 16)) & 0x7FFFFFFFFFFFFFFF or 1
        except ValueError:
            pass
    return int.from_bytes(blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1 or 1


class Run:
    """Rows that gather until something structural, or their number, cuts them off.

    A slate is one entry here, whatever it shows: its rows differ in the item alone, and are made by the cut.
    """

    __slots__ = ("claims", "items", "rows", "slates")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing gathered."""
        self.rows: list[Row] = []  # one per event
        self.items: list[int] = []  # one per batch row
        self.claims: list[tuple[int, int, int, int]] = []  # row, request, placement, position: few rows have any
        self.slates: list[SlateEntry] = []

    def batch(self) -> EventBatch:
        """The rows in the order of ``COLUMNS`` as a batch that is not cleaned yet; the run is empty after it."""
        rows, n = self.rows, len(self.rows)
        with np.errstate(over="ignore"):  # a price beyond float32 becomes infinite here and none in cleaning
            columns = {name: np.fromiter(map(place, rows), kind, n) for name, kind, place in COLUMNS}
        if self.slates:
            times = np.ones(n, np.int64)
            times[[entry.event for entry in self.slates]] = [len(entry.slate.items) for entry in self.slates]
            columns = {name: np.repeat(column, times) for name, column in columns.items()}
            n = len(self.items)
        columns["item"] = np.fromiter(self.items, np.int32, n)
        claims = claim_batch(self.claims, n) if self.claims else None
        slates = slate_batch(self.slates) if self.slates else None
        self.clear()
        return EventBatch(session=np.full(n, -1, np.int32), claims=claims, slates=slates, **columns)


class SlateEntry(NamedTuple):
    """A slate of a run."""

    event: int  # place in ``Run.rows``
    first: int  # its first batch row
    placement: int
    arm: int
    variants: list[int]
    slate: Impression


def claim_batch(claims: list[tuple[int, int, int, int]], n: int) -> ClaimBatch:
    """What rows say about their slate, as columns of length ``n``."""
    said = ClaimBatch(np.zeros(n, np.int64), np.full(n, -1, np.int16), np.full(n, -1, np.int16))
    for row, request, placement, position in claims:
        said.request[row], said.placement[row], said.position[row] = request, placement, position
    return said


def slate_batch(entries: list[SlateEntry]) -> SlateBatch:
    """What holds for whole slates, as columns."""
    slates = [entry.slate for entry in entries]
    n = len(slates)
    propensity: list[float] = []
    rank: list[int] = []
    score: list[float] = []
    team: list[int] = []
    for slate in slates:
        k = len(slate.items)
        propensity += column_of(slate.propensities, k) or [1.0] * k
        rank += column_of(slate.ranks, k) or range(k)
        score += column_of(slate.scores, k) or [0.0] * k
        team += column_of(slate.teams, k) or [-1] * k
    return SlateBatch(
        first=np.fromiter([entry.first for entry in entries], np.int64, n),
        n=np.fromiter([len(slate.items) for slate in slates], np.int32, n),
        request=np.fromiter([request_hash(slate.request_id) for slate in slates], np.int64, n),
        placement=np.fromiter([entry.placement for entry in entries], np.int16, n),
        arm=np.fromiter([entry.arm for entry in entries], np.int16, n),
        arm_propensity=np.fromiter([slate.arm_propensity for slate in slates], np.float32, n),
        warmth=np.fromiter([WARMTH_CODE.get(slate.warmth, 0) for slate in slates], np.int8, n),
        session_events=np.fromiter([min(slate.session_events, 32_767) for slate in slates], np.int16, n),
        variants=np.array([entry.variants for entry in entries], np.int32),
        propensity=np.array(propensity, np.float32),
        rank=np.array(rank, np.int16),
        score=np.array(score, np.float32),
        team=np.array(team, np.int8),
    )


def column_of(values: list[Any], n: int) -> list[Any]:
    """A column of a slate of ``n`` items; none when it has another length, which only foreign logs hold."""
    return values if len(values) == n else []


class BatchBuilder:
    """Turns stored events into batches and structural changes."""

    __slots__ = ("_identity", "_items", "_labels", "_lateness_ms", "_regions", "_users", "on_the_way")

    def __init__(
        self, users: Ids, items: Ids, regions: Ids, labels: Ids, identity: Identity, config: CleanConfig
    ) -> None:
        self._users = users
        self._items = items
        self._regions = regions
        self._labels = labels
        self.on_the_way: dict[str, list[int]] = {}  # request id -> dense ids of a slate made here and not folded yet
        self._identity = identity
        self._lateness_ms = None if "late" in config.off else config.lateness_h * HOUR_MS

    def split(self, stored: Sequence[Stored]) -> Iterator[EventBatch | Link | Stored]:
        """Batches of rows, cut where something structural happens; that comes out in its place.

        The consumer must apply each part before it asks for the next one: a ``Link`` by ``Identity.link``.
        """
        run = Run()
        for entry in stored:
            event = entry.event
            if not isinstance(event, (Interaction, Impression)):
                if run.rows:
                    yield run.batch()
                yield entry
                continue
            user, anon = self._who(event)
            if anon >= 0:
                if run.rows:
                    yield run.batch()
                yield Link(anon, user)
            if isinstance(event, Impression):
                if event.items:
                    self._take_slate(run, entry.offset, event, user)
                    if len(run.slates) == MAX_SLATES or len(run.items) >= MAX_SHOWN:
                        yield run.batch()
                continue
            if event.request_id or event.placement:
                run.claims.append(self._claim(len(run.items), event))
            run.items.append(-1 if event.item_id is None else self._items.intern(event.item_id))
            run.rows.append(self._row(entry.offset, event, user))
        if run.rows:
            yield run.batch()

    def _who(self, event: Interaction | Impression) -> tuple[int, int]:
        """The dense user of an event, and the anonymous id whose history must move to it first (-1 = none)."""
        user_id, anon_id = event.user_id, event.anon_id
        if anon_id is None:
            return (-1 if user_id is None else self._users.intern("u" + user_id)), -1
        if user_id is None:
            return self._identity.resolve(self._users.intern("a" + anon_id)), -1
        user = self._users.intern("u" + user_id)
        anon = self._users.get("a" + anon_id)
        if anon >= 0 and not self._identity.is_linked(anon):
            return user, anon
        # nothing to move: the visitor is new, or moved to an earlier login on this device; only the link is renewed
        self._identity.link(self._users.intern("a" + anon_id) if anon < 0 else anon, user)
        return user, -1

    def _moment(self, ts: int, context: Context | None) -> tuple[int, int, int]:
        """Local hour, device code, region number."""
        if context is None:
            return ts // HOUR_MS % 24, 0, -1
        local = ts + (context.utc_offset_min or 0) * 60_000
        device = DEVICE_CODE.get(context.device or "", 0)
        return local // HOUR_MS % 24, device, self._region(context.region)

    def _region(self, name: str | None) -> int:
        if not name:
            return -1
        known = self._regions.get(name)
        if known >= 0 or len(self._regions) >= MAX_REGIONS:
            return known
        return self._regions.intern(name)

    def _flags(self, ts: int, received_at: int) -> int:
        late = self._lateness_ms is not None and received_at - ts > self._lateness_ms
        return LATE if late else 0

    def _row(self, offset: int, event: Interaction, user: int) -> Row:
        action, value, price = ACTION_CODE[event.type], event.value, event.price
        if value is None:
            value = NAN
        elif value < 0 and event.type == "rating":
            action = DISLIKE
        hour, device, region = self._moment(event.ts, event.context)
        flags = self._flags(event.ts, event.received_at)
        return (
            offset, event.ts, user, action, value, event.quantity, NAN if price is None else price,
            hour, device, region, flags,
        )  # fmt: skip

    def _take_slate(self, run: Run, offset: int, event: Impression, user: int) -> None:
        """A slate's entry; names are numbered here, in order of the log."""
        intern = self._labels.intern
        placement = intern(f"placement:{event.placement}")
        arm = intern(f"arm:{event.placement}/{event.arm}") if event.arm else -1
        told = sorted(event.variants.items())[:MAX_VARIANTS] if event.variants else ()
        variants = [intern(f"variant:{experiment}/{variant}") for experiment, variant in told]
        variants += [-1] * (MAX_VARIANTS - len(variants))
        run.slates.append(SlateEntry(len(run.rows), len(run.items), placement, arm, variants, event))
        numbers = self.on_the_way.pop(event.request_id, None)
        if numbers is None or self._items.names(numbers) != event.items:
            numbers = self._items.numbers(event.items)
        run.items += numbers
        hour, device, region = self._moment(event.ts, event.context)
        flags = self._flags(event.ts, event.received_at)
        run.rows.append((offset, event.ts, user, IMPRESSION, NAN, 1.0, NAN, hour, device, region, flags))

    def _claim(self, row: int, event: Interaction) -> tuple[int, int, int, int]:
        known = self._labels.get(f"placement:{event.placement}")
        return (
            row,
            request_hash(event.request_id) if event.request_id else 0,
            -1 if event.placement is None else known if known >= 0 else -2,
            -1 if event.position is None else min(event.position, 32_767),
        )
