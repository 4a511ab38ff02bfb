"""Is this event usable? One pure function from an event to the event as stored, or to the reason why not.

Idea: refuse per event, never per batch, and say what happened, the value got, what was expected and what to do. Nothing
is repaired silently except the two things a sender cannot know: the time of arrival and a small lead of its clock.

Every rule, with the code of its refusal:

    missing_user      neither user_id nor anon_id, unless consent is denied (then both ids are dropped)
    missing_item      an action on an item without item_id
    too_long          an id over 256 bytes, another text over its limit, props over 8 KiB
    bad_encoding      text that is not valid Unicode
    bad_time          negative, in seconds, micro- or nanoseconds, before 2000, too far in the future
    bad_number        price, quantity, value or position is not finite or outside its range
    bad_currency      not three letters
    bad_context       an impossible offset from UTC
    bad_props         props that are not JSON

Ids are opaque bytes: control characters, spaces, any script are legal and never normalised, so that two ids are never
merged by accident. Cost: about a microsecond per event.
"""

from __future__ import annotations

from copy import copy
from hashlib import blake2b
from math import inf, isfinite

import msgspec

from endcap.config import CleanConfig
from endcap.preprocess.decode import RefusedRecord, decode_events, places, refused_records
from endcap.types import ITEM_ACTIONS, Context, Interaction, Refusal

MAX_ID = 256  # bytes of UTF-8
MAX_TEXT = 2_048  # bytes of a query, url or referrer
MAX_PROPS = 8_192  # bytes of JSON
MAX_QUANTITY = 1e6
MAX_PRICE = 1e12
MAX_POSITION = 100_000
SAFE = 64  # characters: no text this short is over 256 bytes, if it is ASCII or not
YEAR_2000 = 946_684_800_000  # epoch ms
YEAR_2100 = 4_102_444_800_000

_encode = msgspec.json.Encoder().encode
_set = msgspec.structs.force_setattr


class Unusable(Exception):
    """Inside this file: the way out of the rules. ``args``: code, field, value, message."""


def validate(event: Interaction, *, now: int, config: CleanConfig, index: int) -> Interaction | Refusal:
    """The event as it will be stored, with ``ts``, ``received_at`` and ``event_id`` set; or why it cannot be.

    ``now`` is the time of arrival, epoch ms; for imported history the importer sets ``received_at`` and the caller
    passes that. ``index`` is the event's place in its batch, for the refusal. ``event`` itself is not changed.
    """
    try:
        check_texts(event)
        check_numbers(event)
        ts = checked_time(event.ts, now, config.future_s * 1000)
        denied = event.consent == "denied"
        if not (event.user_id or event.anon_id or denied):
            raise Unusable("missing_user", "user_id", "", "an event needs user_id, anon_id or both")
        if not event.item_id and event.type in ITEM_ACTIONS:
            raise Unusable("missing_item", "item_id", event.item_id or "", f"{event.type} is about an item: say which")
        if event.context is not None:
            check_context(event.context)
        if event.props is not None:
            check_props(event.props)
    except Unusable as reason:
        code, field, value, message = reason.args
        return refusal(index, code, field, value, message)
    taken = copy(event)
    _set(taken, "ts", ts)
    _set(taken, "received_at", event.received_at or now)
    if denied:
        _set(taken, "user_id", None)
        _set(taken, "anon_id", None)
    elif not (event.user_id and event.anon_id):
        _set(taken, "user_id", event.user_id or None)
        _set(taken, "anon_id", event.anon_id or None)
    if not event.event_id:
        _set(taken, "event_id", content_id(taken))
    return taken


def content_id(event: Interaction) -> str:
    """An idempotency key from the content, for senders without one: a repeated delivery gives the same key.

    The parts are JSON-encoded as a list, not joined, so that no two different lists give the same bytes.
    """
    parts: tuple[object, ...] = (
        event.user_id, event.anon_id, event.type, event.item_id, event.ts, event.order_id, event.variant_id,
        event.position,
    )  # fmt: skip
    if event.item_id is None and (event.query is not None or event.category is not None):
        # what a search or a category page is about, as the item is of all other events
        parts = (*parts, event.query, event.category)
    return blake2b(_encode(parts), digest_size=16).hexdigest()


# ---------------------------------------------------------------- the rules


def check_texts(event: Interaction) -> None:
    """Ids and texts within their limits, and encodable."""
    for text in (
        event.user_id, event.anon_id, event.item_id, event.session_id, event.event_id, event.variant_id,
        event.order_id, event.cart_id, event.placement, event.request_id, event.category, event.query,
    ):  # fmt: skip
        if text is not None and (len(text) > SAFE or not text.isascii()):
            check_long_texts(event)
            break
    if event.currency is not None and not (len(event.currency) == 3 and event.currency.isalpha()):
        raise Unusable("bad_currency", "currency", event.currency, "expected three letters of ISO 4217, such as EUR")


def check_long_texts(event: Interaction) -> None:
    """The exact form of the check, for the few events that the quick one cannot clear."""
    for field in (
        "user_id", "anon_id", "item_id", "session_id", "event_id", "variant_id", "order_id", "cart_id", "placement",
        "request_id", "category",
    ):  # fmt: skip
        check_length(field, getattr(event, field), MAX_ID)
    check_length("query", event.query, MAX_TEXT)


def check_length(field: str, text: str | None, limit: int) -> None:
    """At most ``limit`` bytes of UTF-8."""
    if text is None or (len(text) <= SAFE and text.isascii()):
        return
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Unusable(
            "bad_encoding", field, ascii(text), "expected valid Unicode; this holds half a character"
        ) from None
    if size > limit:
        raise Unusable("too_long", field, text, f"{size} bytes; at most {limit} are taken")


def check_numbers(event: Interaction) -> None:
    """Finite, and inside the range that makes sense for each."""
    price, quantity, value, position = event.price, event.quantity, event.value, event.position
    if price is not None and not 0.0 <= price <= MAX_PRICE:
        raise Unusable("bad_number", "price", repr(price), f"expected a unit price from 0 to {MAX_PRICE:.0e}; {SIGN}")
    if not 0.0 < quantity <= MAX_QUANTITY:
        raise Unusable("bad_number", "quantity", repr(quantity), f"expected more than 0, at most 1,000,000; {SIGN}")
    if position is not None and not 0 <= position <= MAX_POSITION:
        raise Unusable("bad_number", "position", str(position), f"expected 0 (the first) to {MAX_POSITION}")
    if event.type == "rating":
        if value is None or not -1.0 <= value <= 1.0:
            raise Unusable(
                "bad_number", "value", repr(value), "a rating is -1 to 1; for 1 to 5 stars send (stars - 3) / 2"
            )
    elif value is not None:
        low, high, what = (0.0, 1.0, "a share of 0 to 1") if event.type == "consume" else (-inf, inf, "a finite number")
        if not (isfinite(value) and low <= value <= high):
            raise Unusable("bad_number", "value", repr(value), f"expected {what}")


SIGN = "send what was given back as type refund with positive numbers"


def checked_time(ts: int, now: int, lead: int) -> int:
    """``ts`` in epoch ms, ``now`` for 0, clamped to ``now`` when it is at most ``lead`` ms ahead."""
    if YEAR_2000 <= ts <= now:
        return ts
    if ts == 0 or now < ts <= now + lead:
        return now
    for unit, per_ms in (("seconds", 0.001), ("microseconds", 1_000.0), ("nanoseconds", 1_000_000.0)):
        if YEAR_2000 <= ts / per_ms <= YEAR_2100 and ts > 0 and ts < 1 << 63:
            raise Unusable("bad_time", "ts", str(ts), f"looks like {unit}; send epoch milliseconds")
    if ts > now:
        ahead = (ts - now) // 1000
        raise Unusable(
            "bad_time", "ts", str(ts), f"{ahead} s in the future; set the sender's clock, or send ts 0 for now"
        )
    raise Unusable("bad_time", "ts", str(ts), "before the year 2000; expected epoch milliseconds")


def check_context(context: Context) -> None:
    """Texts within limits, a possible offset from UTC."""
    for text in (
        context.device, context.region, context.locale, context.experiment, context.page, context.url, context.referrer,
    ):  # fmt: skip
        if text is not None and (len(text) > SAFE or not text.isascii()):
            for field in ("device", "region", "locale", "experiment"):
                check_length(f"context.{field}", getattr(context, field), MAX_ID)
            for field in ("page", "url", "referrer"):
                check_length(f"context.{field}", getattr(context, field), MAX_TEXT)
            break
    offset = context.utc_offset_min
    if offset is not None and not -1_440 <= offset <= 1_440:
        raise Unusable(
            "bad_context", "context.utc_offset_min", str(offset), "expected minutes east of UTC, -1440 to 1440"
        )


def check_props(props: dict[str, object]) -> None:
    """JSON, and not too much of it."""
    try:
        size = len(_encode(props))
    except (TypeError, ValueError, RecursionError) as wrong:
        raise Unusable("bad_props", "props", type(props).__name__, f"not JSON: {wrong}") from None
    if size > MAX_PROPS:
        raise Unusable("too_long", "props", "", f"{size} bytes of JSON; at most {MAX_PROPS} are taken")


def refusal(index: int, code: str, field: str, value: str, message: str) -> Refusal:
    """A refusal whose text names the field and a shortened value."""
    short = value if len(value) <= 80 else value[:77] + "..."
    got = f" {short}" if short else ""
    return Refusal(index=index, code=code, field=field, value=short or None, message=f"{field}{got}: {message}")


__all__ = ["RefusedRecord", "content_id", "decode_events", "places", "refused_records", "validate"]
