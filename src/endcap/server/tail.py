"""The live view of the console: newest events as they are folded, figures per second, and a dry run of an event.

``GET /v1/tail`` is a stream of server-sent events: ``event`` for each event of the log, with its offset as ``id``, and
``pulse`` once a second. A client that comes back with ``Last-Event-ID`` goes on where it was. A stream ends after
``seconds`` and the client opens another, so nothing is held for a client that has silently gone. At a rate that nobody
could read, the newest ``MOST`` events of each tick are sent and the pulse says how many were left out.

The log is read on a thread of its own, twice a second and per client, so the number of clients is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from msgspec import Struct

from endcap.errors import EndcapError, InvalidInput, Overloaded
from endcap.preprocess.decode import RefusedRecord, decode_events, places, refused_records
from endcap.server.intake import sift
from endcap.server.keys import Key
from endcap.server.metrics import Totals, quantile_ms
from endcap.server.service import Service
from endcap.server.wire import Call, Reply, Stream, encode
from endcap.stores.sqlite import SqliteLog
from endcap.types import Interaction, Refusal

TICK_S = 0.5
MOST = 50  # events of one tick
MOST_TAILS = 16
WINDOW = 20  # ticks that the figures look back
LONGEST_S, USUAL_S = 300, 60
MOST_CHECKED = 100

TAIL_NAMES = frozenset({"after", "seconds"})
CHECK_NAMES = frozenset({"browser"})
BROWSER = Key(id="pub_check", kind="browser", sha256="", created_at=0)


class Pulse(Struct, frozen=True, kw_only=True):
    """Figures of the last ten seconds. Times in milliseconds are null when there was no request."""

    ts: int
    offset: int
    events_per_s: float
    slates_per_s: float
    refused_per_s: float
    recommend_p50_ms: float | None
    recommend_p99_ms: float | None
    ingest_p50_ms: float | None
    ingest_p99_ms: float | None
    pending_events: int
    left_out: int  # events that this stream did not send because there were too many


async def tail(service: Service, call: Call) -> Reply:
    """Events and figures as they come."""
    parameters = call.parameters(TAIL_NAMES)
    seconds = parameters.number("seconds", USUAL_S, 1, LONGEST_S)
    after = parameters.number("after", -1, 0, 2**53)
    if after < 0:
        after = last_event_id(call.headers, max(0, service.engine.offset - MOST))
    if service.tails >= MOST_TAILS:
        raise Overloaded(f"{MOST_TAILS} live views are open already; close one", retry_after_s=5)
    return Stream(pieces(service, after, seconds), call.receive)


def last_event_id(headers: dict[bytes, bytes], otherwise: int) -> int:
    """The offset that a client saw last, as it says when it comes back."""
    text = headers.get(b"last-event-id", b"")
    if not text:
        return otherwise
    if not text.isdigit() or len(text) > 16:
        raise InvalidInput(f"Last-Event-ID is {text[:32]!r}; expected an offset", field="Last-Event-ID")
    return int(text)


async def pieces(service: Service, after: int, seconds: int) -> AsyncGenerator[bytes, None]:
    """The stream, tick by tick."""
    engine, left_out = service.engine, 0
    past: deque[Totals] = deque(maxlen=WINDOW + 1)
    service.tails += 1
    try:
        yield b"retry: 1000\n\n"
        for tick in range(round(seconds / TICK_S)):
            newest = engine.offset
            if newest > after:
                begin = max(after, newest - MOST)
                left_out += begin - after
                try:
                    found = await asyncio.to_thread(engine.log.read, begin, newest - begin)
                except EndcapError:  # the request log and /readyz tell of it; a live view just ends
                    return
                for stored in found:
                    yield b"id: %d\nevent: event\ndata: %b\n\n" % (stored.offset, encode(stored))
                after = newest
            past.append(service.metrics.totals())
            if tick % 2 == 0:
                yield b"event: pulse\ndata: %b\n\n" % encode(pulse(service, past[0], past[-1], len(past) - 1, left_out))
            if service.draining:
                return
            await asyncio.sleep(TICK_S)
    finally:
        service.tails -= 1


def pulse(service: Service, old: Totals, new: Totals, ticks: int, left_out: int) -> Pulse:
    """What changed between two readings, ``ticks`` apart."""
    seconds = max(ticks, 1) * TICK_S
    recommend = [b - a for a, b in zip(old.recommend, new.recommend, strict=True)]
    ingest = [b - a for a, b in zip(old.ingest, new.ingest, strict=True)]
    return Pulse(
        ts=service.engine.runtime.now(),
        offset=service.engine.offset,
        events_per_s=(new.events - old.events) / seconds,
        slates_per_s=(new.slates - old.slates) / seconds,
        refused_per_s=(new.refused - old.refused) / seconds,
        recommend_p50_ms=quantile_ms(recommend, 0.5),
        recommend_p99_ms=quantile_ms(recommend, 0.99),
        ingest_p50_ms=quantile_ms(ingest, 0.5),
        ingest_p99_ms=quantile_ms(ingest, 0.99),
        pending_events=service.pending_events,
        left_out=left_out,
    )


class Checked(Struct, frozen=True, kw_only=True):
    """What would come of these events, had they been sent. Nothing was stored."""

    taken: list[Interaction]  # as they would go to the log
    rejected: list[Refusal]
    duplicates: list[str]  # event ids that the log holds already: they would count as duplicates
    new_items: list[str]  # item ids that no catalogue record and no event has named so far


async def check(service: Service, call: Call) -> Reply:
    """The steps of ``POST /v1/events`` up to the log, no further: log, quarantine and counters stay as they are."""
    browser = call.parameters(CHECK_NAMES).flag("browser")
    most = min(MOST_CHECKED, service.config.server.max_batch)
    decoded, refusals = decode_events(call.body, max_body=service.config.server.max_body_bytes, max_batch=most)
    now = service.engine.runtime.now()
    refused: list[RefusedRecord] = refused_records(call.body, refusals, now) if refusals else []
    taken = sift(
        service, decoded, places(len(decoded), refusals), refused, BROWSER if browser else call.key, now
    )  # fmt: skip
    log, items = service.engine.log, service.engine.state.items
    named = dict.fromkeys(event.item_id for event in taken if event.item_id)
    duplicates: list[str] = []
    if isinstance(log, SqliteLog):
        known = await asyncio.to_thread(lambda: [log.find(event.event_id) for event in taken])
        duplicates = [event.event_id for event, found in zip(taken, known, strict=True) if found is not None]
    answer = Checked(
        taken=taken,
        rejected=sorted((record.refusal for record in refused), key=lambda refusal: refusal.index),
        duplicates=duplicates,
        new_items=[item_id for item_id in named if items.get(item_id) < 0],
    )
    return Reply(encode(answer))
