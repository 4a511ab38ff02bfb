"""Routes about people: their record, what the engine believes they want, their right to a copy and to be forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Struct

from endcap.errors import InvalidInput, NotFound
from endcap.server.service import LAST_MS, Service, check_id, check_ids
from endcap.server.wire import Call, Reply, decode_as, decode_error, encode
from endcap.types import Event, User, UserNeighbour

MAX_USER_BYTES = 16_384
MAX_ANON_IDS = 64
ANON_NAMES = frozenset({"anon"})
SIMILAR_NAMES = frozenset({"n"})

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class UserNeighbours(Struct, frozen=True, kw_only=True):
    """Users with similar histories, most similar first."""

    users: list[UserNeighbour]


class UserExport(Struct, frozen=True, kw_only=True):
    """Everything held of one user: the shop's record and every event, of linked anonymous ids too."""

    user: User | None
    events: list[Event]


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
    anonymous = call.parameters(ANON_NAMES).flag("anon")
    user_id, anon_id = (None, call.id) if anonymous else (call.id, None)
    await service.write(())  # what is on its way to the log arrives first, or it would arrive after the person is gone
    return Reply(encode(await asyncio.to_thread(service.engine.erase, user_id, anon_id)))


async def export(service: Service, call: Call) -> Reply:
    """A copy of everything held of one user."""

    def read() -> bytes:
        try:
            user = service.engine.user(call.id)
        except NotFound:
            user = None
        events = service.engine.export_user(call.id)
        if user is None and not events:
            raise NotFound(f"nothing is held of user {call.id[:80]!r}")
        return encode(UserExport(user=user, events=events))

    return Reply(await asyncio.to_thread(read))


async def interest(service: Service, call: Call) -> Reply:
    """What the engine believes this shopper wants now."""
    anonymous = call.parameters(ANON_NAMES).flag("anon")
    user_id, anon_id = (None, call.id) if anonymous else (call.id, None)
    return Reply(encode(service.engine.interest(user_id, anon_id)))


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
