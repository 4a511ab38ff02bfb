"""Bodies that a sender got wrong, and what must come of each.

``CORPUS`` rows: name, body, expected. An ``int`` is the HTTP status of the whole request (400 or 413); a ``str`` is the
code with which one record is refused while the good neighbours around it are taken.
"""

from __future__ import annotations

import json
from typing import Any

NOW = 1_775_000_000_000  # 2026-03-31, epoch ms: "now" for these bodies
GOOD = {"type": "view", "event_id": "good", "ts": NOW - 1_000, "user_id": "ann", "item_id": "tea"}


def with_(**fields: Any) -> dict[str, Any]:
    """The good event, changed; None removes a field."""
    event = {**GOOD, "event_id": "bad", **fields}
    return {key: value for key, value in event.items() if value is not None}


def between(*bad: bytes) -> bytes:
    """Bad records with good neighbours on both sides."""
    first = json.dumps({**GOOD, "event_id": "good-1"}).encode()
    last = json.dumps({**GOOD, "event_id": "good-2"}).encode()
    return b"[" + b",".join([first, *bad, last]) + b"]"


def record(name: str, event: Any, code: str) -> tuple[str, bytes, int | str]:
    raw = event if isinstance(event, bytes) else json.dumps(event).encode()
    return name, between(raw), code


def raw(fields: bytes) -> bytes:
    """The good event with more fields, written by hand."""
    return json.dumps(with_()).encode()[:-1] + b"," + fields + b"}"


ONE = json.dumps(GOOD).encode()

CORPUS: list[tuple[str, bytes, int | str]] = [
    # ------------------------------------------------ the body as a whole
    ("an empty body", b"", 400),
    ("only spaces", b" \n\t", 400),
    ("not JSON", b"hello", 400),
    ("HTML", b"<html><body>502 Bad Gateway</body></html>", 400),
    ("XML", b"<?xml version='1.0'?><event/>", 400),
    ("a form", b"type=view&user_id=ann&item_id=tea", 400),
    ("CSV", b"user_id,item_id\nann,tea\n", 400),
    ("JSON lines", ONE + b"\n" + ONE + b"\n", 400),
    ("a truncated list", b"[" + ONE, 400),
    ("a truncated object", ONE[:-5], 400),
    ("a trailing comma", b"[" + ONE + b",]", 400),
    ("something after the end", b"[" + ONE + b"] x", 400),
    ("single quotes", str(GOOD).encode(), 400),
    ("UTF-16", b"\xff\xfe" + ONE.decode().encode("utf-16-le"), 400),
    ("UTF-32", ONE.decode().encode("utf-32-be"), 400),
    ("gzip", b"\x1f\x8b\x08\x00" + bytes(40), 400),
    ("zeros", bytes(100), 400),
    ("random bytes", bytes((k * 151 + 89) % 256 for k in range(300)), 400),
    ("brackets to any depth", b"[" * 100_000, 400),
    ("balanced brackets to any depth", b"[" * 100_000 + b"]" * 100_000, 400),
    ("deep JSON in a field we read", between(raw(b'"props":{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}")), 400),
    ("deep JSON in a field we ignore", between(raw(b'"zzz":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000)), 400),
    ("NaN in a body that is broken otherwise", b"[{\"price\": NaN}", 400),
    ("5 MB", b"[" + b",".join([ONE] * 50_000) + b"]", 413),
    ("one string of 5 MB", between(raw(b'"query":"' + b"x" * 5_000_000 + b'"')), 413),
    ("a million small records", b"[" + b"{}," * 999_999 + b"{}]", 413),
    ("a batch above the limit", b"[" + b",".join([b"{}"] * 5_001) + b"]", 413),
    # ------------------------------------------------ no event at all
    record("a number", 5, "wrong_type"),
    record("a text", "view", "wrong_type"),
    record("null", None, "wrong_type"),
    record("a list", [GOOD], "wrong_type"),
    record("true", True, "wrong_type"),
    record("an empty object", {}, "missing_type"),
    record("no type", with_(type=None), "missing_type"),
    # ------------------------------------------------ type
    record("an unknown type", with_(type="viw"), "unknown_type"),
    record("a type in capitals", with_(type="VIEW"), "unknown_type"),
    record("GA4's name", with_(type="add_to_cart"), "unknown_type"),
    record("an empty type", with_(type=""), "unknown_type"),
    record("a type of 10,000 characters", with_(type="x" * 10_000), "unknown_type"),
    record("a type that is a number", with_(type=3), "wrong_type"),
    record("a type with quotes and ticks", with_(type="`'\"$.type`"), "unknown_type"),
    record("an impression by its kind", with_(kind="impression"), "unknown_kind"),
    record("an item by its kind", {"kind": "item", "item_id": "x"}, "unknown_kind"),
    # ------------------------------------------------ ids
    record("no user", with_(user_id=None), "missing_user"),
    record("an empty user", with_(user_id="", anon_id=""), "missing_user"),
    record("a user that is a number", with_(user_id=17850), "wrong_type"),
    record("a user that is a list", with_(user_id=["ann"]), "wrong_type"),
    record("no item", with_(item_id=None), "missing_item"),
    record("an empty item", with_(item_id=""), "missing_item"),
    record("a purchase without item", with_(type="purchase", item_id=None), "missing_item"),
    record("an item id of 10,000 characters", with_(item_id="x" * 10_000), "too_long"),
    record("an item id of 257 bytes", with_(item_id="x" * 257), "too_long"),
    record("an item id of 86 three-byte characters", with_(item_id="\u5317" * 86), "too_long"),
    record("an event id of 300 bytes", with_(event_id="e" * 300), "too_long"),
    record("an anonymous id of 300 bytes", with_(anon_id="e" * 300), "too_long"),
    record("a session id of 300 bytes", with_(session_id="e" * 300), "too_long"),
    record("a query of 3,000 bytes", with_(query="e" * 3_000), "too_long"),
    record("a region of 300 bytes", with_(context={"region": "r" * 300}), "too_long"),
    record("a url of 3,000 bytes", with_(context={"url": "u" * 3_000}), "too_long"),
    record("props of 9 KiB", with_(props={"a": "x" * 9_000}), "too_long"),
    record("bytes that are not UTF-8", raw(b'"query":"caf\xe9"'), "bad_encoding"),
    record("half a character", raw(b'"query":"\\ud83d"'), "bad_encoding"),
    # ------------------------------------------------ numbers
    record("a NaN price", raw(b'"price":NaN'), "bad_number"),
    record("an infinite price", raw(b'"price":Infinity'), "bad_number"),
    record("a price of -Infinity", raw(b'"price":-Infinity'), "bad_number"),
    record("a price beyond all floats", raw(b'"price":1e999'), "bad_number"),
    record("a price beyond all reason", with_(price=1e300), "bad_number"),
    record("a negative price", with_(price=-0.01), "bad_number"),
    record("a price as text", with_(price="9.99"), "wrong_type"),
    record("a quantity of zero", with_(quantity=0), "bad_number"),
    record("a negative quantity", with_(quantity=-3), "bad_number"),
    record("a quantity of two million", with_(quantity=2_000_000), "bad_number"),
    record("a NaN quantity", raw(b'"quantity":NaN'), "bad_number"),
    record("a null quantity", raw(b'"quantity":null'), "wrong_type"),
    record("a rating of 4 stars", with_(type="rating", value=4), "bad_number"),
    record("a rating without value", with_(type="rating"), "bad_number"),
    record("a NaN rating", raw(b'"type":"rating","value":NaN'), "bad_number"),
    record("a share consumed of 120 %", with_(type="consume", value=1.2), "bad_number"),
    record("a NaN weight", raw(b'"type":"custom","value":NaN'), "bad_number"),
    record("a negative position", with_(position=-1), "bad_number"),
    record("a position of a billion", with_(position=10**9), "bad_number"),
    record("a position beyond 64 bits", with_(position=10**30), "bad_number"),
    record("a position of one and a half", with_(position=1.5), "wrong_type"),
    record("a currency sign", with_(currency="\u20ac"), "bad_currency"),
    record("a currency in words", with_(currency="Euro"), "bad_currency"),
    # ------------------------------------------------ time
    record("seconds", with_(ts=NOW // 1000), "bad_time"),
    record("microseconds", with_(ts=NOW * 1000), "bad_time"),
    record("nanoseconds", with_(ts=NOW * 1_000_000), "bad_time"),
    record("a day in the future", with_(ts=NOW + 86_400_000), "bad_time"),
    record("the year 2100", with_(ts=4_102_444_800_000), "bad_time"),
    record("before 2000", with_(ts=900_000_000_000), "bad_time"),
    record("the year 1970", with_(ts=1), "bad_time"),
    record("a negative time", with_(ts=-5), "bad_time"),
    record("a time beyond 64 bits", with_(ts=10**30), "bad_time"),
    record("a time of 5,000 digits", raw(b'"ts":' + b"9" * 5_000), "bad_number"),
    record("ISO 8601", with_(ts="2026-03-31T00:00:00Z"), "wrong_type"),
    record("a time with a fraction", with_(ts=NOW - 0.5), "wrong_type"),
    record("a NaN time", raw(b'"ts":NaN'), "wrong_type"),
    # ------------------------------------------------ the rest
    record("a consent we do not know", with_(consent="maybe"), "wrong_type"),
    record("a consent of true", with_(consent=True), "wrong_type"),
    record("a context that is text", with_(context="mobile"), "wrong_type"),
    record("an offset of 100 hours", with_(context={"utc_offset_min": 6_000}), "bad_context"),
    record("an offset beyond 64 bits", with_(context={"utc_offset_min": 10**40}), "bad_context"),
    record("props that are a list", with_(props=[1, 2]), "wrong_type"),
    record("a device that is a number", with_(context={"device": 1}), "wrong_type"),
]  # fmt: skip

# Strange, and none of our business: all of these are taken as they are.
STRANGE_BUT_GOOD: list[tuple[str, dict[str, Any]]] = [
    ("an id with a zero", with_(user_id="a\x00b")),
    ("an id with a newline", with_(user_id="a\nb")),
    ("an id that climbs", with_(item_id="../../etc/passwd")),
    ("an id that injects", with_(item_id="'; DROP TABLE events; --")),
    ("an id that scripts", with_(item_id="<script>alert(1)</script>")),
    ("a prototype", with_(user_id="__proto__")),
    ("right to left", with_(user_id="\u202eabc")),
    ("another script", with_(item_id="\u5317\u4eac")),
    ("composed and decomposed are two ids", with_(item_id="e\u0301")),
    ("a space", with_(user_id=" ")),
    ("exactly 256 bytes", with_(item_id="x" * 256)),
    ("64 four-byte characters", with_(item_id="\U0001f375" * 64)),
    ("a free item", with_(price=0)),
    ("half a kilo", with_(quantity=0.5)),
    ("a clock a little ahead", with_(ts=NOW + 60_000)),
    ("no time", with_(ts=None)),
    ("unknown fields", with_(colour="red", nested={"a": [1, 2, {"b": None}]})),
    ("an unknown device", with_(context={"device": "fridge", "zone": 4})),
    ("a search without item", with_(type="search", item_id=None, query="tea")),
    ("only an anonymous id", with_(user_id=None, anon_id="x")),
    ("consent denied, so no user", with_(user_id=None, consent="denied")),
]
