"""Routes about people: their record, what the engine believes they want, their right to a copy and to be forgotten."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from msgspec import Struct

from endcap.engine import as_logged
from endcap.errors import InvalidInput, NotFound
from endcap.server.service import LAST_MS, Service, check_id, check_ids
from endcap.server.wire import Call, Reply, decode_as, decode_error, encode
from endcap.stores.sqlite import SqliteLog
from endcap.types import Event, InterestChange, InterestView, Stored, TagName, User, UserNeighbour

MAX_USER_BYTES = 16_384
MAX_ANON_IDS = 64
ANON_NAMES = frozenset({"anon"})
SIMILAR_NAMES = frozenset({"n"})
TAG_NAMES = frozenset({"anon", "tag", "name"})
TIMELINE_NAMES = frozenset({"anon", "n", "before"})
TAGS: tuple[TagName, ...] = ("category", "brand", "item")

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class UserNeighbours(Struct, frozen=True, kw_only=True):
    """Users with similar histories, most similar first."""

    users: list[UserNeighbour]


class UserExport(Struct, frozen=True, kw_only=True):
    """Everything held of one user: the shop's record and every event, of linked anonymous ids too."""

    user: User | None
    events: list[Event]


class Timeline(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Events of one person, newest first; ``next`` is the ``before`` of the following page, absent on the last one."""

    events: list[Stored]
    next: int | None = None


def ids_of(call: Call, anonymous: bool) -> tuple[str | None, str | None]:
    """The id of the address as a user's or an anonymous one."""
    return (None, call.id) if anonymous else (call.id, None)


async def get(service: Service, call: Call) -> Reply:
    """The shop's record of a user."""
    return Reply(encode(service.engine.user(call.id)))


async def put(service: Service, call: Call) -> Reply:
    """Create or replace the record: traits, links, consent, the personalization switch."""
    fields = decode_as(_decode_object, call.body)
    if fields.setdefault("user_id", call.id) != call.id:
        raise InvalidInput("user_id in the body differs from the id in the address; leave it out", field="user_id")
    try:
        user = msgspec.convert(fields, User)
    except (msgspec.ValidationError, RecursionError) as wrong:
        raise decode_error(wrong) from wrong
    check_user(user)
    return Reply(encode(await service.write([service.engine.user_change(user)])))


async def erase(service: Service, call: Call) -> Reply:
    """Forget a person: their events, and all that was learnt from them. The receipt names nobody."""
    check_id("id", call.id)
    user_id, anon_id = ids_of(call, call.parameters(ANON_NAMES).flag("anon"))
    await service.write(())  # what is on its way to the log arrives first, or it would arrive after the person is gone
    return Reply(encode(await asyncio.to_thread(service.engine.erase, user_id, anon_id)))


async def export(service: Service, call: Call) -> Reply:
    """A copy of everything held of one user, or of one anonymous id."""
    anonymous = call.parameters(ANON_NAMES).flag("anon")

    def read() -> bytes:
        user = None
        if anonymous:
            events = log_of(service).events_of(None, [call.id])
        else:
            with contextlib.suppress(NotFound):
                user = service.engine.user(call.id)
            events = service.engine.export_user(call.id)
        if user is None and not events:
            raise NotFound(f"nothing is held of {'visitor' if anonymous else 'user'} {call.id[:80]!r}")
        return encode(UserExport(user=user, events=events))

    return Reply(await asyncio.to_thread(read))


async def interest(service: Service, call: Call) -> Reply:
    """What the engine believes this shopper wants now."""
    user_id, anon_id = ids_of(call, call.parameters(ANON_NAMES).flag("anon"))
    return Reply(encode(service.engine.interest(user_id, anon_id)))


async def delete_tag(service: Service, call: Call) -> Reply:
    """Take a category, a brand or an item out of what the engine believes this shopper wants, from the next list on.

    It is an event like any other: a restart, a replay and a copy of the person's data know it.
    """
    parameters, engine = call.parameters(TAG_NAMES), service.engine
    user_id, anon_id = ids_of(call, parameters.flag("anon"))
    given, name = parameters.text("tag"), parameters.text("name")
    tag = next((one for one in TAGS if one == given), None)
    if tag is None:
        raise InvalidInput(f"tag is {(given or '')[:40]!r}; expected one of {', '.join(TAGS)}", field="tag")
    if name is None:
        raise InvalidInput(f"name is missing; expected the {tag}'s name as the interest shows it", field="name")
    if name not in tags_of(engine.interest(user_id, anon_id), tag):
        raise NotFound(f"no {tag} {name[:80]!r} in the interest of {call.id[:80]!r}: see GET /v1/users/{{id}}/interest")
    now = engine.runtime.now()
    deleted = InterestChange(
        event_id=f"interest:{engine.runtime.new_id()}", ts=now, received_at=now, tag=tag, name=name,
        user_id=user_id, anon_id=anon_id,
    )  # fmt: skip
    await service.write([as_logged(deleted)])
    return Reply(encode(engine.interest(user_id, anon_id)))


def tags_of(interest: InterestView, tag: TagName) -> set[str]:
    """Names of the tags of one kind."""
    kinds = {"category": interest.categories, "brand": interest.brands, "item": interest.items}
    return {one.name for one in kinds[tag]}


async def timeline(service: Service, call: Call) -> Reply:
    """What a person did and was shown, newest first, of linked anonymous ids too."""
    parameters, log = call.parameters(TIMELINE_NAMES), log_of(service)
    user_id, anon_id = ids_of(call, parameters.flag("anon"))
    n, before = parameters.number("n", 50, 1, 500), parameters.number("before", 0, 0, 2**53)
    anon_ids = [anon_id] if anon_id is not None else service.engine.state.anon_ids(call.id)
    events = await asyncio.to_thread(log.newest_of, user_id, anon_ids, n, before)
    return Reply(encode(Timeline(events=events, next=events[-1].offset if len(events) == n else None)))


def log_of(service: Service) -> SqliteLog:
    """The log, where it can be searched by person."""
    log = service.engine.log
    if not isinstance(log, SqliteLog):
        raise NotFound(f"this server's log cannot be searched by person: {type(log).__name__}")
    return log


async def similar(service: Service, call: Call) -> Reply:
    """Users with the most similar histories."""
    n = call.parameters(SIMILAR_NAMES).number("n", 10, 1, 100)
    return Reply(encode(UserNeighbours(users=service.engine.similar_users(call.id, n))))


def check_user(user: User) -> None:
    """Raise ``InvalidInput`` for a record that cannot be kept."""
    check_id("user_id", user.user_id)
    check_ids("anon_ids", user.anon_ids, MAX_ANON_IDS)
    if user.created_at is not None and not 0 <= user.created_at <= LAST_MS:
        raise InvalidInput(f"created_at is {user.created_at}; expected epoch milliseconds", field="created_at")
    size = len(encode(user))
    if size > MAX_USER_BYTES:
        raise InvalidInput(f"the record has {size} bytes; expected at most {MAX_USER_BYTES}", field="traits")
