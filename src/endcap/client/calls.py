"""What a client asks, when it asks again, and what it makes of the answers; without a socket and without a clock.

Every call is a generator of steps: ``Exchange`` (send this, give me the answer) and ``Pause`` (wait). ``Client``
carries them out by blocking, ``AsyncClient`` by awaiting, so that nothing is written twice and a test can carry them
out by hand.

Asking again is safe for everything here: events carry ids, records replace records, questions change nothing. It
happens on 429, 502, 503, 504 and on connections that fail, after a pause that doubles and is drawn at random below that
(so that a thousand clients do not come back together), or after what Retry-After says, while the time of the call
allows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode
from uuid import uuid4

import msgspec

from endcap.errors import EndcapError, Forbidden, InvalidInput, NotFound, Overloaded, TooLarge
from endcap.types import Ack, Context, Interaction, Item, Placed, Query, Slate, User

AGAIN = frozenset({429, 502, 503, 504})
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
MAX_BATCH = 500  # records of one request
MAX_BYTES = 1_000_000  # of one request
T = TypeVar("T")

encode = msgspec.json.Encoder().encode
_ack = msgspec.json.Decoder(Ack).decode
_slate = msgspec.json.Decoder(Slate).decode
_item = msgspec.json.Decoder(Item).decode
_user = msgspec.json.Decoder(User).decode


class Unreachable(EndcapError):
    """No answer came: no connection, or none in time."""

    code = "unreachable"


@dataclass(frozen=True, slots=True)
class Exchange:
    """Send this; the next ``send`` into the generator is an ``Answer`` or None when none came."""

    method: str
    path: str
    body: bytes | None = None
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``status`` 0: nothing did, and ``body`` says why."""

    status: int
    body: bytes
    retry_after_s: float | None = None


Steps = Generator[Exchange | Pause, Any, T]


@dataclass(slots=True)
class Calls:
    """The questions of one client. ``offset`` is the newest event that it knows to be stored."""

    timeout_s: float  # a whole call, with its pauses
    attempts: int
    now_s: Callable[[], float]  # monotonic
    draw: Callable[[], float] = random.random
    offset: int = 0

    # ------------------------------------------------------------ one exchange, again where that helps

    def ask(self, method: str, path: str, body: bytes | None = None) -> Steps[bytes]:
        """The body of a good answer. Raises one of ours for every other."""
        deadline = self.now_s() + self.timeout_s
        for attempt in range(1, self.attempts + 1):
            answer: Answer = yield Exchange(method, path, body, max(0.001, deadline - self.now_s()))
            if 200 <= answer.status < 300:
                return answer.body
            pause = self.pause(attempt, answer.retry_after_s)
            late = self.now_s() + pause >= deadline
            if (answer.status and answer.status not in AGAIN) or attempt == self.attempts or late:
                raise error_of(answer)
            yield Pause(pause)
        raise AssertionError("attempts is at least 1")

    def pause(self, attempt: int, retry_after_s: float | None = None) -> float:
        """Seconds until the next attempt: at random, up to a bound that doubles; never less than asked for."""
        bound = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (attempt - 1))
        drawn = bound * self.draw()
        return drawn if retry_after_s is None else retry_after_s + drawn

    # ------------------------------------------------------------ slates

    def recommend(self, query: Query, shown: bool, default: Sequence[str] | None) -> Steps[Slate]:
        """A slate, never older than what this client has sent. With ``default`` no failure is raised."""
        path = f"/v1/recommend{'' if shown else '?shown=0'}"

        def asked(offset: int) -> Steps[bytes]:
            return self.ask("POST", path, encode(msgspec.structs.replace(query, at_least=offset)))

        try:
            return _slate((yield from self._known(asked, query.at_least)))
        except msgspec.MsgspecError as wrong:
            if default is None:
                raise broken(wrong) from wrong
            return fallback(query.placement, default, "bad_answer")
        except Exception as wrong:  # a page is being made: whatever it is, the shopper must not see it
            if default is None:
                raise
            code = wrong.code if isinstance(wrong, EndcapError) else "bad_query"
            return fallback(query.placement, default, code)

    def search(self, text: str, asked: Mapping[str, str | int | Sequence[str] | None]) -> Steps[Slate]:
        """Items for typed words. ``asked``: parameters of the address; empty ones are left out."""

        def found(offset: int) -> Steps[bytes]:
            given = {name: value for name, value in {"q": text, "at_least": offset, **asked}.items() if value}
            return self.ask("GET", f"/v1/search?{urlencode(given, doseq=True)}")

        return decoded(_slate, (yield from self._known(found)))

    def _known(self, ask: Callable[[int], Steps[bytes]], at_least: int = 0) -> Steps[bytes]:
        """``ask`` for an answer that knows all that was sent, or, unless the caller named an offset, for an older one:
        another server, or one restored from a backup, has nothing newer."""
        try:
            return (yield from ask(at_least or self.offset))
        except Overloaded as busy:
            if busy.code != "behind" or at_least:
                raise
            self.offset = 0
            return (yield from ask(0))

    # ------------------------------------------------------------ writing

    def send(self, events: Iterable[Interaction | Mapping[str, Any]]) -> Steps[Ack]:
        """Events in one request after the other; the acknowledgement of all of them together."""
        records = [encode(with_id(event)) for event in events]
        return (yield from self.post_all("/v1/events", b'{"events":[', records))

    def put_items(self, items: Iterable[Item | Mapping[str, Any]]) -> Steps[Ack]:
        """Create or replace records."""
        return (yield from self.post_all("/v1/items", b'{"items":[', [encode(item) for item in items]))

    def post_all(self, path: str, opening: bytes, records: Sequence[bytes]) -> Steps[Ack]:
        """In requests of bounded size. Places in ``rejected`` are those of the whole call."""
        total, done = Ack(accepted=0, offset=self.offset), 0
        while done < len(records):
            n = batch_of(records, done)
            body = yield from self.ask("POST", path, opening + b",".join(records[done : done + n]) + b"]}")
            ack = self.noted(body)
            rejected = [msgspec.structs.replace(one, index=one.index + done) for one in ack.rejected]
            total = Ack(
                accepted=total.accepted + ack.accepted, duplicates=total.duplicates + ack.duplicates,
                rejected=total.rejected + rejected, offset=max(total.offset, ack.offset),
                durable=total.durable and ack.durable,
            )  # fmt: skip
            done += n
        return total

    def noted(self, body: bytes) -> Ack:
        """The acknowledgement, whose offset later questions carry."""
        try:
            ack = _ack(body)
        except msgspec.MsgspecError as wrong:
            raise broken(wrong) from wrong
        self.offset = max(self.offset, ack.offset)
        return ack

    def write(self, method: str, path: str, body: bytes | None = None) -> Steps[Ack]:
        """One record."""
        return self.noted((yield from self.ask(method, path, body)))

    def item(self, item_id: str) -> Steps[Item]:
        """A catalogue record."""
        return decoded(_item, (yield from self.ask("GET", f"/v1/items/{quote(item_id, safe='')}")))

    def user(self, user_id: str) -> Steps[User]:
        """The shop's record of a user."""
        return decoded(_user, (yield from self.ask("GET", f"/v1/users/{quote(user_id, safe='')}")))

    def erase(self, person: str, anonymous: bool) -> Steps[None]:
        """Forget a person."""
        yield from self.ask("DELETE", f"/v1/users/{quote(person, safe='')}{'?anon=1' if anonymous else ''}")


def query_of(
    placement: str,
    *,
    user_id: str | None,
    anon_id: str | None,
    session_id: str | None,
    n: int,
    items: Sequence[str],
    exclude: Sequence[str],
    filter: Mapping[str, Any] | None,  # noqa: A002  as the interface calls it
    context: Context | None,
    personalization: bool,
    at_least: int,
) -> Query:
    """The question as the server takes it."""
    return Query(
        placement=placement, user_id=user_id, anon_id=anon_id, session_id=session_id, n=n, items=list(items),
        exclude=list(exclude), filter=dict(filter) if filter is not None else None, context=context,
        personalization=personalization, at_least=at_least,
    )  # fmt: skip


def with_id(event: Interaction | Mapping[str, Any]) -> dict[str, Any]:
    """The event with an id of its own, so that sending it again changes nothing."""
    fields: dict[str, Any] = dict(event) if isinstance(event, Mapping) else msgspec.to_builtins(event)
    if not fields.get("event_id"):
        fields["event_id"] = uuid4().hex
    return fields


def batch_of(records: Sequence[bytes], start: int = 0) -> int:
    """How many records from ``start`` go into one request; at least one."""
    n = size = 0
    for at in range(start, min(len(records), start + MAX_BATCH)):
        size += len(records[at]) + 1
        if n and size > MAX_BYTES:
            break
        n += 1
    return n


def fallback(placement: str, items: Sequence[str], why: str) -> Slate:
    """The caller's own list in the shape of a slate; it has no request id, for nothing was learnt from it."""
    placed = [Placed(item_id=item_id, score=0.0, reasons=[], sources=["default"]) for item_id in items]
    return Slate(
        request_id="",
        items=placed,
        placement=placement,
        rung="static" if placed else "refuse",
        degraded=[f"client:{why}"],
    )


def decoded(decode: Callable[[bytes], T], body: bytes) -> T:
    try:
        return decode(body)
    except msgspec.MsgspecError as wrong:
        raise broken(wrong) from wrong


def broken(wrong: Exception) -> Unreachable:
    return Unreachable(f"the answer cannot be read: {wrong}; is this the address of an Endcap server?")


def error_of(answer: Answer) -> EndcapError:
    """The error that an answer is, with the server's own words."""
    try:
        told = msgspec.json.decode(answer.body)["error"]
        code, message, where = str(told["code"]), str(told["message"]), told.get("field")
    except (msgspec.MsgspecError, LookupError, TypeError, AttributeError):
        code, message, where = "", answer.body[:200].decode("utf-8", "replace"), None
    status = answer.status
    wrong: EndcapError
    if status == 0:
        wrong = Unreachable(message)
    elif status in (401, 403):
        wrong = Forbidden(message, authenticated=status == 403)
    elif status == 404:
        wrong = NotFound(message)
    elif status == 413:
        wrong = TooLarge(message, field=where)
    elif status in AGAIN:
        wrong = Overloaded(message, retry_after_s=round(answer.retry_after_s or 1))
    elif 400 <= status < 500:
        wrong = InvalidInput(message, field=where)
    else:
        wrong = Unreachable(f"the server answered {status}: {message}")
    if code:
        wrong.code = code
    return wrong
