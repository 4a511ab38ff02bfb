"""The few ASGI pieces every route shares: a call, a reply, reading a bounded body, and errors as JSON.

Handlers see a ``Call`` and give a ``Reply``; they know nothing of ASGI, so they can be tested as plain functions and
the server underneath can be replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from endcap.errors import EndcapError, Forbidden, InvalidInput, NotFound, Overloaded, StoreError, TooLarge
from endcap.server.keys import Key

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
T = TypeVar("T")

JSON_TYPE: Header = (b"content-type", b"application/json")
NO_SNIFF: Header = (b"x-content-type-options", b"nosniff")
NO_STORE: Header = (b"cache-control", b"no-store")
API_HEADERS: tuple[Header, ...] = (JSON_TYPE, NO_SNIFF, NO_STORE)

encode = msgspec.json.Encoder().encode


class ClientGone(Exception):
    """The client closed the connection before its request was complete; there is nobody to answer."""


class Reply:
    """An answer: status, body, headers. ``headers`` must not hold content-length."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, status: int = 200, headers: Iterable[Header] = API_HEADERS) -> None:
        self.body = body
        self.status = status
        self.headers = headers

    async def send(self, send: Send, extra: Iterable[Header] = ()) -> None:
        """Give the answer to the server."""
        headers = [*self.headers, (b"content-length", b"%d" % len(self.body)), *extra]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


class Stream(Reply):
    """An answer in pieces: server-sent events, until there are no more or the client has gone."""

    __slots__ = ("_pieces", "_receive")

    def __init__(self, pieces: AsyncGenerator[bytes, None], receive: Receive) -> None:
        super().__init__(b"", headers=((b"content-type", b"text/event-stream"), NO_SNIFF, NO_STORE))
        self._pieces = pieces
        self._receive = receive

    async def send(self, send: Send, extra: Iterable[Header] = ()) -> None:
        """Give the pieces to the server as they come."""
        gone = asyncio.ensure_future(self._gone())
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": [*self.headers, *extra]})
            async with contextlib.aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    if gone.done():
                        break
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def no_more() -> Message:
    """What a call made without a connection receives."""
    return {"type": "http.disconnect"}


class Call:
    """One request as a handler sees it."""

    __slots__ = ("body", "headers", "id", "key", "name", "query_string", "receive")

    def __init__(
        self, headers: dict[bytes, bytes], query_string: bytes, key: Key | None, body: bytes = b"", path_id: str = "",
        path_name: str = "", receive: Receive = no_more,
    ) -> None:  # fmt: skip
        self.headers = headers
        self.query_string = query_string
        self.key = key  # None: the server runs open, on loopback, without keys
        self.body = body
        self.id = path_id
        self.name = path_name  # the {name} of the address
        self.receive = receive  # only a stream needs it: it tells when the client has gone

    def parameters(self, known: frozenset[str]) -> Parameters:
        """The query string; a name that is not known is refused, so that a typing error does not pass unseen."""
        try:
            text = self.query_string.decode("ascii")
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1_000)
        except ValueError as broken:
            raise InvalidInput(f"the query string cannot be read: {broken}; percent-encode UTF-8") from broken
        for name, _ in pairs:
            if name not in known:
                raise InvalidInput(
                    f"no parameter {name[:64]!r}; known here: {', '.join(sorted(known))}", field=name[:64]
                )
        return Parameters(pairs)


class Parameters:
    """Decoded query string values with their checks."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def text(self, name: str) -> str | None:
        """The last value given, None when there is none or it is empty."""
        found = None
        for key, value in self._pairs:
            if key == name:
                found = value
        return found or None

    def texts(self, name: str) -> list[str]:
        """Every value given for a repeated name."""
        return [value for key, value in self._pairs if key == name and value]

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """An integer within ``low..high``."""
        text = self.text(name)
        if text is None:
            return default
        try:
            value = int(text) if len(text) <= 20 else None
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise InvalidInput(f"{name} is {text[:32]!r}; expected an integer from {low} to {high}", field=name)
        return value

    def flag(self, name: str) -> bool:
        """``1``/``true`` or ``0``/``false``; absent is False."""
        text = self.text(name)
        if text in (None, "0", "false"):
            return False
        if text in ("1", "true"):
            return True
        raise InvalidInput(f"{name} is {str(text)[:32]!r}; expected 1 or 0", field=name)


async def read_body(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The whole body, never more than ``limit`` bytes of it: a larger one is refused before or while it is read."""
    declared = headers.get(b"content-length")
    if declared is not None and (len(declared) > 18 or int(declared) > limit):
        raise too_large(limit)
    coding = headers.get(b"content-encoding", b"identity").lower()
    if coding == b"gzip":
        return unzipped(await whole_body(receive, limit), limit)
    if coding != b"identity":
        raise UnsupportedEncoding("of compressed bodies only gzip is read; send Content-Encoding: gzip, or none")
    return await whole_body(receive, limit)


def unzipped(body: bytes, limit: int) -> bytes:
    """A gzip body, never more than ``limit`` bytes of what it holds."""
    inflate = zlib.decompressobj(wbits=31)
    try:
        plain = inflate.decompress(body, limit + 1)
    except zlib.error as broken:
        raise InvalidInput(f"the body is not gzip, as Content-Encoding says: {broken}") from None
    if len(plain) > limit:
        raise too_large(limit)
    if not inflate.eof:
        raise InvalidInput("the gzip body is cut off; send it whole")
    return plain


async def whole_body(receive: Receive, limit: int) -> bytes:
    """Every byte of a body as it was sent; ``TooLarge`` as soon as there are more than ``limit``."""
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > limit:
            raise too_large(limit)
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise too_large(limit)
    return b"".join(parts)


class KeyInBody(Struct):
    """The part of a body that says who calls."""

    key: str = ""


_decode_key = msgspec.json.Decoder(KeyInBody).decode


def key_in(body: bytes) -> bytes:
    """The key that a JSON body holds, empty when it holds none. ``InvalidInput`` for a body that is no such object."""
    return decode_as(_decode_key, body).key.encode("utf-8", "replace")


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is over {limit} bytes; send smaller batches (setting server.max_body_bytes)")


class UnsupportedEncoding(InvalidInput):
    """The body is compressed."""

    code = "unsupported_encoding"


class BadText(InvalidInput):
    """Text that is not valid Unicode."""

    code = "bad_encoding"

    def __init__(self) -> None:
        super().__init__("text in the request holds half a surrogate pair; send valid Unicode in UTF-8")


class Throttled(Overloaded):
    """More events wait for the disk than the server will hold (HTTP 429)."""

    code = "too_many_events"


# ---------------------------------------------------------------- errors


class ErrorDetail(Struct, frozen=True, omit_defaults=True):
    """What went wrong: ``code`` for programs, ``message`` for people, ``field`` where one is to blame."""

    code: str
    message: str
    field: str | None = None


class ErrorBody(Struct, frozen=True):
    """The body of every answer with a status of 400 or more."""

    error: ErrorDetail


def error_reply(
    status: int, code: str, message: str, field: str | None = None, headers: Iterable[Header] = ()
) -> Reply:
    """An error in the one shape all errors have."""
    return Reply(
        encode(ErrorBody(ErrorDetail(code, legible(message) or "", legible(field)))), status, (*API_HEADERS, *headers)
    )


def legible(text: str | None) -> str | None:
    """The text with half surrogate pairs, which JSON can carry in and UTF-8 cannot carry out, written as escapes."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def reply_for(error: EndcapError) -> Reply:
    """The HTTP answer to one of our errors. What only the operator may know (paths, faults) is left to the log."""
    if isinstance(error, UnsupportedEncoding):
        return error_reply(415, error.code, error.message)
    if isinstance(error, InvalidInput):
        status = 413 if isinstance(error, TooLarge) else 400
        return error_reply(status, error.code, error.message, error.field)
    if isinstance(error, NotFound):
        return error_reply(404, error.code, error.message)
    if isinstance(error, Forbidden):
        if error.authenticated:
            return error_reply(403, error.code, error.message)
        return error_reply(401, "unauthorized", error.message, headers=((b"www-authenticate", b"Bearer"),))
    if isinstance(error, Overloaded):
        status = 429 if isinstance(error, Throttled) else 503
        return error_reply(status, error.code, error.message, headers=(retry_after(error.retry_after_s),))
    if isinstance(error, StoreError):
        hidden = "the data directory cannot be used at the moment; the server's log has the details"
        return error_reply(503, error.code, hidden, headers=(retry_after(5),))
    return error_reply(500, error.code, "a fault of the server; its log has the details")


def retry_after(seconds: int) -> Header:
    return (b"retry-after", b"%d" % seconds)


def decode_error(broken: Exception) -> InvalidInput:
    """A body that is not the JSON we expect, told as one of our errors."""
    if isinstance(broken, RecursionError):
        return InvalidInput("the JSON is nested too deeply; expected a flat object as documented at /docs")
    text = str(broken)
    where = None
    if " - at `" in text:
        text, _, rest = text.partition(" - at `")
        where = rest.rstrip("`").removeprefix("$").removeprefix(".") or None
    if isinstance(broken, msgspec.ValidationError):
        return InvalidInput(f"{text}; see the schema at /docs", field=where)
    return InvalidInput(f"the body is not valid JSON: {text}", field=where)


def decode_as(decode: Callable[[bytes], T], body: bytes) -> T:
    """Decode a body, or raise ``InvalidInput`` that says where it is wrong."""
    try:
        return decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as broken:
        raise decode_error(broken) from broken
