"""From the bytes of a request to interactions, losing only the records that are broken.

Idea: one typed ``msgspec`` decode of the whole body is the fast path. When it fails, the body is cut into raw records
and each is decoded alone, so that the good ones are kept and each bad one gets a refusal that names its field. Only a
body that is no JSON at all, too large or nested too deep is refused whole, with ``InvalidInput`` or ``TooLarge``.

Shapes: ``[event, ...]``, ``{"events": [event, ...]}`` or a single event. Cost: under a microsecond per event on the
fast path. The codes of refusals: unknown_type, missing_type, wrong_type, unknown_kind, bad_number, bad_encoding,
bad_json, too_deep.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw, Struct

from endcap.errors import InvalidInput, TooLarge
from endcap.types import ACTIONS, Interaction, Refusal

MAX_BODY = 4_000_000
MAX_BATCH = 5_000


class Envelope(Struct):
    """``{"events": [...]}``."""

    events: list[Interaction]


class RawEnvelope(Struct):
    """The same with undecoded records."""

    events: list[Raw]


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A refused record with what was sent, as the quarantine keeps it."""

    refusal: Refusal
    raw: bytes
    received_at: int
    source: str = ""  # name of the adapter that refused it; "" = our own format


_list = msgspec.json.Decoder(list[Interaction]).decode
_envelope = msgspec.json.Decoder(Envelope).decode
_single = msgspec.json.Decoder(Interaction).decode
_raw_list = msgspec.json.Decoder(list[Raw]).decode
_raw_envelope = msgspec.json.Decoder(RawEnvelope).decode
_set = msgspec.structs.force_setattr


def decode_events(
    body: bytes, *, max_body: int = MAX_BODY, max_batch: int = MAX_BATCH
) -> tuple[list[Interaction], list[Refusal]]:
    """The interactions of a request body, and a refusal for each record that is none.

    ``received_at`` is the server's to set: what the sender wrote there is dropped. Refusals carry the record's place
    in the body; ``places`` gives the places of the interactions that remain. Raises ``TooLarge`` over ``max_body``
    bytes or ``max_batch`` records and ``InvalidInput`` when the body as a whole cannot be read.
    """
    if len(body) > max_body:
        raise TooLarge(f"the body has {len(body)} bytes; at most {max_body} are taken. Send smaller batches")
    body = body.removeprefix(b"\xef\xbb\xbf")
    refusals: list[Refusal] = []
    try:
        events = typed(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        events, refusals = one_by_one(records(body), max_batch)
    if len(events) > max_batch:
        raise too_many(len(events), max_batch)
    for event in events:
        if event.received_at:
            _set(event, "received_at", 0)
    return events, refusals


def typed(body: bytes) -> list[Interaction]:
    """The fast path: all or nothing."""
    if body.lstrip()[:1] == b"[":
        return _list(body)
    if b'"events"' in body:
        try:
            return _envelope(body).events
        except msgspec.ValidationError:
            pass  # a single event that says "events" somewhere inside
    return [_single(body)]


def records(body: bytes) -> list[Any]:
    """The undecoded records of a body (``Raw``); decoded builtins when only Python's ``json`` can read them."""
    try:
        if body.lstrip()[:1] == b"[":
            return list(_raw_list(body))
        if b'"events"' in body:
            try:
                return list(_raw_envelope(body).events)
            except msgspec.ValidationError:
                pass  # as above
        msgspec.json.decode(body, type=Raw)
        return [Raw(body)]
    except RecursionError:
        raise InvalidInput("the body is nested too deep to be read; an event is a flat object") from None
    except msgspec.MsgspecError as wrong:
        if LENIENT.search(body):
            return lenient(body, wrong)
        raise InvalidInput(f"the body is not JSON: {wrong}.{hint(body)} Nothing of it was taken") from None


LENIENT = re.compile(rb"NaN|Infinity|\\u[dD][89a-fA-F]")  # what Python's reader takes and strict JSON does not


def lenient(body: bytes, wrong: Exception) -> list[Any]:
    """Read a body with NaN, Infinity or half characters, which many senders write, so that only those events suffer."""
    try:
        tree = json.loads(body.decode("utf-8", "surrogateescape"), parse_int=parsed_int)
    except (ValueError, RecursionError):
        raise InvalidInput(f"the body is not JSON: {wrong}. Nothing of it was taken") from None
    if isinstance(tree, dict):
        tree = tree["events"] if isinstance(tree.get("events"), list) else [tree]
    return tree if isinstance(tree, list) else [tree]


def parsed_int(digits: str) -> int | float:
    """Python refuses to read integers of thousands of digits; no field of ours takes one."""
    return int(digits) if len(digits) < 100 else float("inf")


def hint(body: bytes) -> str:
    """What the first bytes say about a body that is no JSON."""
    if not body.strip():
        return ' It is empty; expected an event, a list of events or {"events": [...]}.'
    if body[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in body[:4]:
        return " It looks like UTF-16; send UTF-8."
    if body[:2] == b"\x1f\x8b":
        return " It is gzip; send it uncompressed."
    if b"}\n{" in body:
        return " It looks like JSON lines; send a list, or import the file with: endcap import events FILE."
    return ""


def one_by_one(raws: Sequence[Any], max_batch: int) -> tuple[list[Interaction], list[Refusal]]:
    """Decode each record alone."""
    if len(raws) > max_batch:
        raise too_many(len(raws), max_batch)
    events: list[Interaction] = []
    refusals: list[Refusal] = []
    for index, raw in enumerate(raws):
        try:
            events.append(_single(raw) if isinstance(raw, Raw) else msgspec.convert(raw, Interaction))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as wrong:
            refusals.append(explained(index, raw, wrong))
    return events, refusals


def too_many(n: int, max_batch: int) -> TooLarge:
    """The error for a batch over its limit."""
    return TooLarge(
        f"{n} records in one request; at most {max_batch} are taken (server.max_batch). Send smaller batches"
    )


# ---------------------------------------------------------------- why a record was refused

PLACE = re.compile(r" - at `\$\.?(.*)`$")
INVALID = re.compile(r"Invalid enum value '(.*)'", re.DOTALL)


def explained(index: int, raw: Any, wrong: Exception) -> Refusal:
    """A refusal from a decoder's error."""
    text = str(wrong)
    place = PLACE.search(text)
    field = place.group(1) if place else None
    what = PLACE.sub("", text)
    if isinstance(wrong, RecursionError):
        return Refusal(index=index, code="too_deep", message="the record is nested too deep; an event is a flat object")
    if isinstance(wrong, UnicodeDecodeError):
        return Refusal(index=index, code="bad_encoding", message=f"the record is not UTF-8: {wrong.reason}; send UTF-8")
    if not isinstance(wrong, msgspec.ValidationError):
        return Refusal(index=index, code="bad_json", message=f"the record is not valid JSON: {text}")
    if field == "type" and (given := INVALID.match(what)):
        return unknown_type(index, given.group(1))
    if "missing required field `type`" in what:
        return Refusal(index=index, code="missing_type", field="type", message=f"no type; expected one of {NAMES}")
    if field == "kind":
        message = "kind must be interaction or left out; impressions, items and users have routes of their own"
        return Refusal(index=index, code="unknown_kind", field="kind", message=message)
    if "out of range" in what:
        return Refusal(
            index=index, code="bad_number", field=field, message=f"{field}: {what}; expected a finite number"
        )
    named = f"{field}: {what}" if field else f"the record: {what}"
    advice = "; put quotes around it" if "got `int`" in what and "`str" in what else ""
    return Refusal(index=index, code="wrong_type", field=field, message=named + advice)


NAMES = ", ".join(ACTIONS)


def unknown_type(index: int, given: str) -> Refusal:
    """The refusal of an action that does not exist, with the nearest one that does."""
    near = nearest_action(given)
    advice = f"did you mean {near}? Known: {NAMES}" if near else f"expected one of {NAMES}"
    short = given if len(given) <= 80 else given[:77] + "..."
    return Refusal(index=index, code="unknown_type", field="type", value=short, message=f"type {short}: {advice}")


def nearest_action(given: str) -> str | None:
    """The known action most like ``given``; the order of its words does not matter (add_to_cart is cart_add)."""

    def words(text: str) -> str:
        return " ".join(sorted(re.findall(r"[a-z]+", text.lower())))

    by_words = {words(name): name for name in ACTIONS}
    near = difflib.get_close_matches(words(given[:64]), by_words, n=1, cutoff=0.6)
    return by_words[near[0]] if near else None


# ---------------------------------------------------------------- for the quarantine


def refused_records(body: bytes, refusals: Sequence[Refusal], now: int) -> list[RefusedRecord]:
    """Each refusal with the raw bytes of its record. ``now`` is the time of arrival, epoch ms."""
    if not refusals:
        return []
    raws = records(body.removeprefix(b"\xef\xbb\xbf"))
    return [RefusedRecord(refusal, raw_bytes(raws[refusal.index]), now) for refusal in refusals]


def raw_bytes(raw: Any) -> bytes:
    """A record as it was sent, or as Python's ``json`` writes it."""
    return bytes(raw) if isinstance(raw, Raw) else json.dumps(raw, ensure_ascii=False).encode("utf-8", "replace")


def places(n: int, refusals: Sequence[Refusal]) -> list[int]:
    """The places in the body of the ``n`` interactions that ``decode_events`` gave beside ``refusals``."""
    taken = {refusal.index for refusal in refusals}
    return [place for place in range(n + len(taken)) if place not in taken]
