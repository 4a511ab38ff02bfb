"""Routes for those who run the server: health, metrics, placements, the quarantine."""

from __future__ import annotations

from msgspec import Struct

from endcap.config import PlacementConfig, Rule
from endcap.errors import NotFound
from endcap.server.metrics import CONTENT_TYPE
from endcap.server.service import Service
from endcap.server.wire import NO_SNIFF, NO_STORE, Call, Reply, encode
from endcap.slate.filter import epoch_ms
from endcap.stores.quarantine import Quarantined
from endcap.stores.sqlite import SqliteLog

QUARANTINE_NAMES = frozenset({"n", "before"})


class Health(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether the process lives, and how far its answers know the log."""

    status: str
    offset: int | None = None


class Placements(Struct, frozen=True, kw_only=True):
    """The configured surfaces."""

    placements: dict[str, PlacementConfig]


async def live(_service: Service, _call: Call) -> Reply:
    """The process answers. Restart it when this fails."""
    return Reply(b'{"status":"live"}')


async def ready(service: Service, _call: Call) -> Reply:
    """Requests may be sent here. Not while the server drains."""
    if service.draining:
        return Reply(encode(Health(status="draining")), 503)
    return Reply(encode(Health(status="ready", offset=service.engine.offset)))


async def metrics(service: Service, _call: Call) -> Reply:
    """Counters and gauges as Prometheus reads them."""
    return Reply(service.metrics.text(), headers=((b"content-type", CONTENT_TYPE), NO_SNIFF, NO_STORE))


async def placements(service: Service, _call: Call) -> Reply:
    """Every placement with its settings in force."""
    return Reply(encode(Placements(placements=service.config.placements)))


class RuleView(Struct, frozen=True, kw_only=True):
    """A merchant's rule and whether it holds now."""

    rule: Rule
    active: bool


class RuleList(Struct, frozen=True, kw_only=True):
    """Every configured rule, in the order of the settings."""

    rules: list[RuleView]


async def rules(service: Service, _call: Call) -> Reply:
    """The rules of the settings."""
    now = service.engine.runtime.now()
    found = [RuleView(rule=rule, active=holds(rule, now)) for rule in service.config.rules]
    return Reply(encode(RuleList(rules=found)))


def holds(rule: Rule, now: int) -> bool:
    """Whether a rule's time has come and is not over; its dates were checked when the engine started."""
    begun = not rule.starts_at or epoch_ms(rule.starts_at, rule.name) <= now
    return begun and (not rule.ends_at or now < epoch_ms(rule.ends_at, rule.name))


class Quarantine(Struct, frozen=True, kw_only=True):
    """Refused records; pass the last ``id`` as ``before`` for the following page."""

    records: list[Quarantined]


async def quarantine(service: Service, call: Call) -> Reply:
    """What was refused and why, newest first."""
    parameters = call.parameters(QUARANTINE_NAMES)
    log = service.engine.log
    if not isinstance(log, SqliteLog):
        raise NotFound(f"this server's log keeps no quarantine: {type(log).__name__}")
    n, before = parameters.number("n", 100, 1, 1_000), parameters.number("before", 0, 0, 2**53)
    return Reply(encode(Quarantine(records=log.quarantine(n, before))))
