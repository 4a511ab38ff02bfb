"""POST /v1/events: from bytes to a durable, folded acknowledgement.

One bad event never costs the others of its batch: it comes back in ``rejected`` with its place and the reason, and
goes to the quarantine with what was sent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from time import perf_counter

import msgspec
from msgspec import Struct

from endcap.preprocess.decode import RefusedRecord, decode_events, places, refused_records
from endcap.preprocess.validate import validate
from endcap.server.keys import Key
from endcap.server.policy import refuse_browser_event
from endcap.server.service import Service
from endcap.server.wire import Call, Reply, encode
from endcap.types import Ack, Interaction, Refusal

_set = msgspec.structs.force_setattr


class EventsBody(Struct, frozen=True, kw_only=True):
    """A batch of events as an object."""

    events: list[Interaction]


async def events(service: Service, call: Call) -> Reply:
    """Take what is good, refuse what is not, answer when the good is on disk and in the next slate."""
    began = perf_counter()
    body = encode(await take(service, call.body, call.key))
    service.metrics.ingest.add(perf_counter() - began)
    return Reply(body)


async def take(service: Service, body: bytes, key: Key | None, anon_id: str | None = None) -> Ack:
    """Store the events of a body. ``anon_id`` is given to those that name nobody."""
    limits = service.config.server
    decoded, refusals = decode_events(body, max_body=limits.max_body_bytes, max_batch=limits.max_batch)
    if anon_id is not None:
        for event in decoded:
            if event.user_id is None and event.anon_id is None:
                _set(event, "anon_id", anon_id)
    now = service.engine.runtime.now()
    refused = refused_records(body, refusals, now) if refusals else []
    where = places(len(decoded), refusals) if refusals else range(len(decoded))
    taken = sift(service, decoded, where, refused, key, now)
    if refused:
        refused.sort(key=lambda record: record.refusal.index)
    ack = await service.write(taken, refused)
    service.metrics.ack(ack)
    return ack


def sift(
    service: Service,
    decoded: Sequence[Interaction],
    where: Sequence[int],
    refused: list[RefusedRecord],
    key: Key | None,
    now: int,
) -> list[Interaction]:
    """Events that are valid and allowed, ready for the log; the others are added to ``refused``.

    ``where`` gives the place of each decoded event in the request.
    """
    taken: list[Interaction] = []
    clean = service.config.clean
    browser = key if key is not None and key.kind == "browser" else None
    for index, event in zip(where, decoded, strict=True):
        checked: Interaction | Refusal | None = None
        if browser is not None:
            checked = refuse_browser_event(event, browser, now, index)
        if checked is None:
            checked = validate(event, now=now, config=clean, index=index)
        if isinstance(checked, Refusal):
            refused.append(RefusedRecord(checked, as_sent(event), now))
        else:
            taken.append(checked)
    return taken


def as_sent(event: Interaction) -> bytes:
    """The event as JSON for the quarantine; one with half a surrogate pair is written in escapes."""
    try:
        return encode(event)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(event)).encode()
