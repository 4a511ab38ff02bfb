"""POST /v1/events: from bytes to a durable, folded acknowledgement.

One bad event never costs the others of its batch: it comes back in ``rejected`` with its place and the reason, and
goes to the quarantine with what was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from time import perf_counter

from msgspec import Struct

from endcap.engine import QuarantinedEvent
from endcap.preprocess.validate import decode_events, validate
from endcap.server.keys import Key
from endcap.server.policy import refuse_browser_event
from endcap.server.service import Service
from endcap.server.wire import Call, Reply, encode
from endcap.types import Interaction, Refusal


class EventsBody(Struct, frozen=True, kw_only=True):
    """A batch of events as an object."""

    events: list[Interaction]


async def events(service: Service, call: Call) -> Reply:
    """Take what is good, refuse what is not, answer when the good is on disk and in the next slate."""
    began = perf_counter()
    decoded, refusals = decode_events(call.body, max_batch=service.config.server.max_batch)
    now = service.engine.runtime.now()
    refused = [QuarantinedEvent(refusal, call.body, now) for refusal in refusals]
    taken = sift(service, decoded, refusals, refused, call.key, now)
    ack = await service.write(taken, refused)
    service.metrics.ack(ack)
    body = encode(ack)
    service.metrics.ingest.add(perf_counter() - began)
    return Reply(body)


def sift(
    service: Service,
    decoded: Sequence[Interaction],
    refusals: Sequence[Refusal],
    refused: list[QuarantinedEvent],
    key: Key | None,
    now: int,
) -> list[Interaction]:
    """Events that are valid and allowed, ready for the log; the others are added to ``refused``."""
    taken: list[Interaction] = []
    clean = service.config.clean
    browser = key if key is not None and key.kind == "browser" else None
    lost = {refusal.index for refusal in refusals}
    places = (place for place in count() if place not in lost) if lost else count()
    for index, event in zip(places, decoded, strict=False):
        checked: Interaction | Refusal | None = None
        if browser is not None:
            checked = refuse_browser_event(event, browser, now, index)
        if checked is None:
            checked = validate(event, now=now, config=clean, index=index)
        if isinstance(checked, Refusal):
            refused.append(QuarantinedEvent(checked, encode(event), now))
        else:
            taken.append(checked)
    return taken
