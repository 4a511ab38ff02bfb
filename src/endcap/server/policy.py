"""Who may do what: one table, route by kind of key. What is not in it is denied, for everyone.

Every route must have a line here and every line a route; otherwise the server does not start. ``PUBLIC`` routes need no
key. Two rules go beyond the table, because a browser key is readable by anyone who opens the shop's page:

* It may write only events a visitor can cause. ``purchase``, ``refund`` and ``rating`` need ``allow`` on the key, no
  event may be older than ten minutes, and it may not name a logged-in ``user_id`` (else anyone could write into, or
  by linking an anonymous id read from, someone else's history) unless the key says ``user_ids``.
* It may ask for slates of an anonymous id, never with ``explain`` and never for a ``user_id`` it may not name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from endcap.errors import ConfigError, Forbidden
from endcap.server.keys import Key
from endcap.types import Interaction, Query, Refusal

PUBLIC = "public"
_SLATES = frozenset({"browser", "server", "admin"})
_CATALOGUE_READ = frozenset({"server", "catalogue", "admin"})
_CATALOGUE_WRITE = frozenset({"catalogue", "admin"})
_PEOPLE = frozenset({"server", "admin"})
_ADMIN = frozenset({"admin"})
_ANYONE = frozenset({PUBLIC})
_EVENTS = frozenset({"browser", "server", "admin"})

POLICY: dict[str, frozenset[str]] = {
    "POST /v1/events": _EVENTS,
    "POST /v1/recommend": _SLATES,
    "GET /v1/recommend": _SLATES,
    "GET /v1/items/{id}/similar": _SLATES,
    "GET /v1/items/{id}/bought-together": _SLATES,
    "GET /v1/trending": _SLATES,
    "GET /v1/search": _SLATES,
    "GET /v1/items": _CATALOGUE_READ,
    "POST /v1/items": _CATALOGUE_WRITE,
    "GET /v1/items/{id}": _CATALOGUE_READ,
    "PUT /v1/items/{id}": _CATALOGUE_WRITE,
    "PATCH /v1/items/{id}": _CATALOGUE_WRITE,
    "DELETE /v1/items/{id}": _CATALOGUE_WRITE,
    "PUT /v1/items/{id}/vectors/{name}": _CATALOGUE_WRITE,
    "GET /v1/items/{id}/vectors/{name}": _CATALOGUE_READ,
    "DELETE /v1/items/{id}/vectors/{name}": _CATALOGUE_WRITE,
    "GET /v1/vectors": _CATALOGUE_READ,
    "DELETE /v1/vectors/{id}": _CATALOGUE_WRITE,
    "GET /v1/users/{id}": _PEOPLE,
    "PUT /v1/users/{id}": _PEOPLE,
    "DELETE /v1/users/{id}": _ADMIN,
    "GET /v1/users/{id}/export": _ADMIN,
    "GET /v1/users/{id}/interest": _PEOPLE,
    "GET /v1/users/{id}/similar": _PEOPLE,
    "DELETE /v1/users/{id}/interest": _PEOPLE,
    "GET /v1/users/{id}/events": _ADMIN,
    "GET /v1/items/{id}/facts": _CATALOGUE_READ,
    "GET /v1/quality": _ADMIN,
    "GET /v1/reports": _ADMIN,
    "GET /v1/reports/{id}": _ADMIN,
    "POST /v1/tracker": frozenset({"browser"}),
    "POST /v1/why-not": _PEOPLE,
    "GET /v1/placements": frozenset({"server", "catalogue", "admin"}),
    "GET /v1/rules": frozenset({"server", "catalogue", "admin"}),
    "GET /v1/experiments": _PEOPLE,
    "POST /v1/experiments": _ADMIN,
    "GET /v1/experiments/{id}": _PEOPLE,
    "GET /v1/experiments/{id}/history": _PEOPLE,
    "POST /v1/experiments/{id}/stop": _ADMIN,
    "GET /v1/models": _ADMIN,
    "POST /v1/models/promote": _ADMIN,
    "POST /v1/models/rollback": _ADMIN,
    "GET /v1/models/training": _ADMIN,
    "POST /v1/models/training": _ADMIN,
    "GET /v1/system": _ADMIN,
    "GET /v1/system/settings": _ADMIN,
    "GET /v1/system/checks": _ADMIN,
    "POST /v1/system/snapshot": _ADMIN,
    "GET /v1/placements/{id}/feedback": _PEOPLE,
    "GET /v1/requests/{id}": _PEOPLE,
    "GET /v1/feeds": frozenset({"server", "catalogue", "admin"}),
    "POST /v1/feeds/{id}/poll": _CATALOGUE_WRITE,
    "GET /v1/quarantine": _ADMIN,
    "POST /v1/t": _EVENTS,
    "POST /v1/track": _EVENTS,
    "POST /v1/i": _EVENTS,
    "POST /v1/identify": _EVENTS,
    "POST /v1/p": _EVENTS,
    "POST /v1/page": _EVENTS,
    "POST /v1/a": _EVENTS,
    "POST /v1/alias": _EVENTS,
    "POST /v1/g": _EVENTS,
    "POST /v1/group": _EVENTS,
    "POST /v1/s": _EVENTS,
    "POST /v1/screen": _EVENTS,
    "POST /v1/b": _EVENTS,
    "POST /v1/batch": _EVENTS,
    "POST /v1/import": _EVENTS,
    "POST /mp/collect": _EVENTS,
    "POST /v2/{id}/userEvents:write": _EVENTS,
    "POST /v2/{id}/userEvents:import": _EVENTS,
    "GET /v2/{id}/userEvents:collect": _EVENTS,
    "POST /events": _EVENTS,
    "POST /v1/cloudevents": _EVENTS,
    "POST /v1/recombee": _EVENTS,
    "POST /v1/shopify/pixel": _EVENTS,
    "POST /v1/shopify/webhooks": _ANYONE,  # signed
    "POST /v1/woocommerce/webhooks": _ANYONE,
    "GET /sourceConfig": _ANYONE,
    "GET /sourceConfig/": _ANYONE,
    "GET /v1/tail": _ADMIN,
    "POST /v1/events/check": _ADMIN,
    "GET /metrics": frozenset({"metrics", "admin"}),
    "GET /livez": _ANYONE,
    "GET /readyz": _ANYONE,
    "GET /health/live": _ANYONE,
    "GET /health/ready": _ANYONE,
    "GET /openapi.json": _ANYONE,
}

SERVER_ONLY_TYPES = frozenset({"purchase", "refund", "rating"})
BACKDATE_MS = 600_000


def refuse_unguarded(routes: Iterable[str], policy: Mapping[str, frozenset[str]] = POLICY) -> None:
    """Raise ``ConfigError`` unless routes and policy name exactly the same things."""
    served, guarded = set(routes), set(policy)
    if served != guarded:
        raise ConfigError(
            f"routes without a policy: {sorted(served - guarded)}; policies without a route: {sorted(guarded - served)}"
        )


def refuse_browser_event(event: Interaction, key: Key, now: int, index: int) -> Refusal | None:
    """Why a browser key may not write this event, or None when it may. ``now`` is epoch ms."""
    if event.type in SERVER_ONLY_TYPES and event.type not in key.allow:
        return Refusal(
            index=index,
            code="type_not_allowed",
            field="type",
            value=event.type,
            message=f"a browser key may not write {event.type!r}; send it from your backend with a server key",
        )
    if event.user_id is not None and not key.user_ids:
        return Refusal(
            index=index,
            code="user_not_allowed",
            field="user_id",
            message="a browser key may not name a user_id; send anon_id, and tie the two together from your backend",
        )
    if event.ts and event.ts < now - BACKDATE_MS:
        return Refusal(
            index=index,
            code="backdated",
            field="ts",
            value=str(event.ts),
            message="a browser key may not write events older than 10 minutes; leave ts out or use a server key",
        )
    return None


def refuse_browser_query(query: Query, key: Key) -> None:
    """Raise ``Forbidden`` for a question that would show a browser more than its own slates."""
    if query.user_id is not None and not key.user_ids:
        raise Forbidden("a browser key may ask for an anon_id only; ask for a user_id from your backend")
    if query.explain:
        raise Forbidden("a browser key may not use explain; ask with a server key")
