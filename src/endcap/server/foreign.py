"""Routes in the shapes of other platforms: their libraries and webhooks send here what they send to their own servers.

    body -> records -> adapter -> our rules for events -> log

Answers are 200 as soon as the body could be read, because the libraries repeat what is answered with an error: what is
refused is in the answer and, with the record as it was sent and the name of the adapter, in ``GET /v1/quarantine``. A
body that cannot be read at all gets 400 and is kept there too. A library's key arrives as Basic user name or in the
body (``writeKey``); a browser key may do here what it may do everywhere (``policy.py``), with one difference: a
``user_id`` that it may not name is left out where an anonymous id remains.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Struct, field

from endcap.engine import Engine, as_logged
from endcap.errors import InvalidInput, NotFound, TooLarge
from endcap.events.adapters.cloudevents import CloudEvents
from endcap.events.adapters.mapping import Mapped, Reading, is_hint, knows_all
from endcap.events.adapters.retail import GoogleRetail
from endcap.events.adapters.segment import Segment
from endcap.preprocess.decode import RefusedRecord
from endcap.preprocess.validate import validate
from endcap.protocols import Adapter
from endcap.server.catalogue import check_item
from endcap.server.keys import Key
from endcap.server.people import MAX_ANON_IDS, check_user
from endcap.server.policy import refuse_browser_event
from endcap.server.service import Service, check_id
from endcap.server.wire import BadText, Call, Reply, encode
from endcap.types import Ack, Event, Interaction, ItemChange, Refusal, User, UserChange

SPREAD = 4  # events that the records of a request may become, per record of ``server.max_batch``
FindKey = Callable[[dict[bytes, bytes], bytes, bytes], bytes]  # headers, query string, body -> key or nothing
COLLECT_NAMES = frozenset({"userEvent", "key", "uri", "ets", "prebuiltRule", "rawJson", "alt"})
KEPT = 4_096  # bytes of an unreadable body that the quarantine gets

_decode = msgspec.json.Decoder().decode


class Taken(Struct, frozen=True, kw_only=True):
    """What became of the records of a request. ``index`` of a refusal is the record's place in it."""

    success: bool = True
    accepted: int
    duplicates: int
    rejected: list[Refusal] = field(default_factory=list)
    offset: int


# ---------------------------------------------------------------- any platform


async def take(service: Service, key: Key | None, adapter: Adapter, records: Sequence[Any]) -> Reply:
    """Store what the records say and answer with what was refused."""
    began = perf_counter()
    now = service.engine.runtime.now()
    most = service.config.server.max_batch
    if len(records) > most:
        raise TooLarge(f"{len(records)} records in one request; at most {most} are taken (server.max_batch)")
    taken: list[Event] = []
    refused: list[RefusedRecord] = []
    users: dict[str, User] = {}
    for index, record in enumerate(records):
        for outcome in adapter.read(record, index, now):
            checked = outcome if isinstance(outcome, Refusal) else accepted(service, key, outcome, index, users, now)
            if isinstance(checked, Refusal):
                refused.append(RefusedRecord(checked, as_sent(record), now, adapter.name))
            else:
                taken.append(checked)
        if len(taken) + len(refused) > SPREAD * most:
            raise TooLarge(f"the records hold more than {SPREAD * most} events; send smaller batches")
    ack = await service.write(taken, refused)
    service.metrics.ack(ack)
    service.metrics.ingest.add(perf_counter() - began)
    answer = Taken(accepted=ack.accepted, duplicates=ack.duplicates, rejected=ack.rejected, offset=ack.offset)
    try:
        return Reply(encode(answer))
    except UnicodeEncodeError:  # a refusal quotes half a character
        return Reply(json.dumps(msgspec.to_builtins(answer)).encode())


def accepted(
    service: Service, key: Key | None, event: Event, index: int, users: dict[str, User], now: int
) -> Event | Refusal:
    """The event as it will be stored, or why it will not be. ``users``: as this request has changed them so far."""
    browser = key if key is not None and key.kind == "browser" else None
    if isinstance(event, Interaction):
        if browser is not None:
            if event.user_id is not None and event.anon_id is not None and not browser.user_ids:
                event = msgspec.structs.replace(event, user_id=None)
            barred = refuse_browser_event(event, browser, now, index)
            if barred is not None:
                return barred
        return validate(event, now=now, config=service.config.clean, index=index)
    if browser is not None and not (isinstance(event, UserChange) and browser.user_ids):
        message = "a browser key may not change users or items; send this from your backend with a server key"
        return Refusal(index=index, code="type_not_allowed", message=message)
    if isinstance(event, ItemChange) and key is not None and key.kind != "admin" and not is_hint(event):
        message = f"a {key.kind} key may not change the catalogue; send this with an admin key, or POST /v1/items"
        return Refusal(index=index, code="type_not_allowed", message=message)
    return changed(service.engine, event, index, users)


def changed(engine: Engine, event: Event, index: int, users: dict[str, User]) -> Event | Refusal:
    """A change of the catalogue or of a user as it will be stored: complete, checked, with an id and times."""
    try:
        if isinstance(event, ItemChange):
            if event.item is not None:
                check_item(event.item)
            prefix = "item"
        elif isinstance(event, UserChange) and event.user is not None:
            event = msgspec.structs.replace(event, user=laid_over(engine, event.user, users))
            prefix = "user"
        else:
            raise InvalidInput("this record cannot be taken here")
        now = engine.runtime.now()
        return as_logged(
            msgspec.structs.replace(
                event,
                event_id=event.event_id or f"{prefix}:{engine.runtime.new_id()}",
                ts=event.ts or now,
                received_at=event.received_at or now,
            )
        )
    except InvalidInput as wrong:
        return Refusal(index=index, code=wrong.code, message=wrong.message, field=wrong.field)
    except msgspec.ValidationError as wrong:
        return Refusal(index=index, code="wrong_type", message=str(wrong))
    except UnicodeEncodeError:
        return Refusal(index=index, code="bad_encoding", message=BadText().message)


def laid_over(engine: Engine, news: User, users: dict[str, User]) -> User:
    """The user's record with what is new in it; what it held stays. ``users`` are on their way to the log."""
    check_id("user_id", news.user_id)
    held = users.get(news.user_id)
    if held is None:
        try:
            held = engine.user(news.user_id)
        except NotFound:
            held = User(user_id=news.user_id)
    user = msgspec.structs.replace(
        held,
        traits={**held.traits, **news.traits},
        anon_ids=list(dict.fromkeys([*held.anon_ids, *news.anon_ids]))[-MAX_ANON_IDS:],
        consent=news.consent if news.consent != "unknown" else held.consent,
        created_at=held.created_at if held.created_at is not None else news.created_at,
    )
    check_user(user)
    users[user.user_id] = user
    return user


def take_history(engine: Engine, name: str, events: Sequence[Event], refused: Sequence[tuple[Refusal, bytes]]) -> Ack:
    """Store what the adapter ``name`` made of a file: events, and what it refused with the records."""
    now = engine.runtime.now()
    taken: list[Event] = []
    kept = [RefusedRecord(refusal, raw, now, name) for refusal, raw in refused]
    rejected: list[Refusal] = []
    users: dict[str, User] = {}
    for index, event in enumerate(events):
        if isinstance(event, Interaction):
            if event.received_at > now:
                event = msgspec.structs.replace(event, received_at=now)
            checked: Event | Refusal = validate(
                event, now=event.received_at or now, config=engine.config.clean, index=index
            )
        else:
            checked = changed(engine, event, index, users)
        if isinstance(checked, Refusal):
            rejected.append(checked)
            kept.append(RefusedRecord(checked, as_sent(event), now, name))
        else:
            taken.append(checked)
    ack = engine.submit(taken, kept).result()
    return msgspec.structs.replace(ack, rejected=rejected)


def reading_of(engine: Engine, hints: bool = True) -> Reading:
    """What an adapter has to know of this shop."""
    settings = engine.config.intake
    known = partial(is_listed, engine) if hints else knows_all
    return Reading(settings.position_base, frozenset(settings.traits), known)


def is_listed(engine: Engine, item_id: str) -> bool:
    """Whether the catalogue ever held this item, deleted ones too: then what events say of it is not needed."""
    state = engine.state
    dense = state.items.get(item_id)
    return 0 <= dense < state.catalogue.listed.shape[0] and bool(state.catalogue.listed[dense])


async def readable(service: Service, adapter: Adapter, body: bytes) -> Any:
    """The JSON of a body whatever its content type says; an unreadable one is kept in the quarantine and refused."""
    try:
        return decoded(body)
    except InvalidInput as wrong:
        now = service.engine.runtime.now()
        refusal = Refusal(index=0, code=wrong.code, message=wrong.message)
        service.metrics.ack(await service.write((), [RefusedRecord(refusal, body[:KEPT], now, adapter.name)]))
        raise


def decoded(body: bytes) -> Any:
    """JSON, and what other languages' writers take for it: NaN, halves of characters."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as wrong:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise InvalidInput(f"the body is not JSON: {wrong}. Nothing of it was taken") from None


def as_sent(record: Any) -> bytes:
    """A record as JSON, for the quarantine."""
    try:
        return encode(record)
    except (UnicodeEncodeError, RecursionError):
        return json.dumps(record, default=str).encode()


def adapter_of(service: Service, kind: type[Mapped], key: Key | None = None) -> Mapped:
    """The platform's adapter for this caller; only those who may be trusted give catalogue hints."""
    trusted = key is None or key.kind != "browser"
    found = service.adapters.get((kind, trusted))
    if found is None:
        found = service.adapters[kind, trusted] = kind(reading_of(service.engine, hints=trusted))
    return found


async def cloudevents(service: Service, call: Call) -> Reply:
    """CloudEvents: structured, a batch, or binary with the envelope in ``ce-`` headers."""
    adapter = adapter_of(service, CloudEvents, call.key)
    binary = b"ce-specversion" in call.headers
    body = None if binary and not call.body else await readable(service, adapter, call.body)  # data is optional
    if binary:
        said = {name[3:]: value for name, value in call.headers.items() if name.startswith(b"ce-")}
        envelope = {name.decode("latin-1"): unquote(value.decode("latin-1")) for name, value in said.items()}
        return await take(service, call.key, adapter, [{**envelope, "data": body}])
    return await take(service, call.key, adapter, adapter.records(body))


async def retail_collect(service: Service, call: Call) -> Reply:
    """Google Retail's way for pages: the event as JSON in the address."""
    given = call.parameters(COLLECT_NAMES).text("userEvent")
    adapter = adapter_of(service, GoogleRetail, call.key)
    body = await readable(service, adapter, (given or "").encode())
    return await take(service, call.key, adapter, adapter.records(body))


# ---------------------------------------------------------------- Segment and RudderStack

SEGMENT_ROUTES = {
    "t": "track", "track": "track", "i": "identify", "identify": "identify", "p": "page", "page": "page",
    "a": "alias", "alias": "alias", "g": "group", "group": "group", "s": "screen", "screen": "screen", "b": "batch",
    "batch": "batch", "import": "batch",
}  # fmt: skip


class WriteKey(Struct):
    """The part of a body that says who sends it."""

    writeKey: str = ""  # noqa: N815  # Segment's name for it
    trackingId: str = ""  # noqa: N815  # Personalize's


_decode_key = msgspec.json.Decoder(WriteKey).decode


def write_key(headers: dict[bytes, bytes], _query: bytes, body: bytes) -> bytes:
    """The key in the body, for senders that cannot set a header."""
    if headers.get(b"authorization", b"").lower().startswith((b"basic", b"bearer")):
        return b""
    if b"writeKey" not in body and b"trackingId" not in body:
        return b""
    try:
        said = _decode_key(body)
        return (said.writeKey or said.trackingId).encode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return b""


def platform(kind: type[Mapped]) -> Callable[[Service, Call], Any]:
    """The handler of a route that takes one platform's bodies and needs nothing else."""

    async def handler(service: Service, call: Call) -> Reply:
        adapter = adapter_of(service, kind, call.key)
        return await take(service, call.key, adapter, adapter.records(await readable(service, adapter, call.body)))

    return handler


def query_key(name: str) -> FindKey:
    """The key in the address, where the platform puts its own; a header keeps it out of the logs of proxies."""

    def find(_headers: dict[bytes, bytes], query: bytes, _body: bytes) -> bytes:
        for key, value in parse_qsl(query.decode("latin-1"), max_num_fields=100):
            if key == name:
                return value.encode("latin-1", "replace")
        return b""

    return find


def segment(kind: str) -> Callable[[Service, Call], Any]:
    """The handler of one of the routes; ``kind`` is the type of a message that does not say its own."""

    async def handler(service: Service, call: Call) -> Reply:
        adapter = adapter_of(service, Segment, call.key)
        records = adapter.records(await readable(service, adapter, call.body))
        if kind != "batch":
            for record in records:
                if isinstance(record, dict):
                    record.setdefault("type", kind)
        return await take(service, call.key, adapter, records)

    return handler


class Source(Struct, frozen=True):
    """What RudderStack's browser library asks before it sends: a source that is on, without other destinations."""

    id: str = "endcap"
    name: str = "Endcap"
    writeKey: str = ""  # noqa: N815  # as the library reads it
    enabled: bool = True
    workspaceId: str = "endcap"  # noqa: N815
    config: dict[str, Any] = field(default_factory=dict)
    destinations: list[Any] = field(default_factory=list)
    connections: list[Any] = field(default_factory=list)
    dataplanes: dict[str, Any] = field(default_factory=dict)


class SourceConfig(Struct, frozen=True):
    """The answer of ``/sourceConfig``."""

    source: Source
    updatedAt: str = "2026-01-01T00:00:00.000Z"  # noqa: N815


SOURCE_CONFIG = (
    ("/sourceConfig", "RudderStack: what its libraries ask before they send"),
    ("/sourceConfig/", "RudderStack: the same, as its browser library writes the address"),
)


async def source_config(_service: Service, _call: Call) -> Reply:
    """One answer for every key: nothing in it depends on who asks."""
    return Reply(encode(SourceConfig(Source())))
