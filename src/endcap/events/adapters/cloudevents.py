"""CloudEvents 1.0: the structured form and batches as JSON; the route makes a record of the binary form too.

The type is ``<reverse domain>.<one of our types>.v1``, the subject the user; ``source`` and ``id`` together name the
event. ``data`` holds the other fields of our event, by their own names.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec

from endcap.events.adapters.mapping import Mapped, fingerprint
from endcap.events.adapters.tables import Fields, Table
from endcap.events.records import Problem
from endcap.events.values import action_of
from endcap.types import Event, Interaction

ENVELOPE: Fields = {"ts": "time", "user_id": "subject"}
OURS = frozenset(Interaction.__struct_fields__) - {"type", "event_id", "received_at"}  # what data may say

_envelope = Table(ENVELOPE)


class CloudEvents(Mapped):
    """Events in the CNCF envelope."""

    name = "cloudevents"

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        version = record.get("specversion")
        if version != "1.0":
            raise Problem("wrong_type", f"specversion {str(version)[:20]!r}: expected 1.0", "specversion")
        facts = _envelope.read(record)
        given = payload(record)
        data = {name: value for name, value in given.items() if name in OURS and value is not None}
        ts = facts.get("ts", 0) or (data.get("ts") if isinstance(data.get("ts"), int) else 0) or 0
        if not ts and not received_at:
            raise Problem("bad_time", "time: no time in this record", "ts")
        named = record.get("id")
        source_id = f"{record.get('source') or ''}#{named}" if named is not None else fingerprint(record)
        fields = {**data, **facts, "ts": ts, "type": kind_of(record.get("type")), "event_id": source_id}
        if not received_at:
            fields["received_at"] = ts
        try:
            yield msgspec.convert(fields, Interaction)
        except msgspec.ValidationError as wrong:
            raise Problem("wrong_type", f"data: {wrong}") from None


def kind_of(given: Any) -> str:
    """Our type from the envelope's: its last word that is not a version."""
    words = given.split(".") if isinstance(given, str) else []
    while words and words[-1][:1] == "v" and words[-1][1:].isdigit():
        words.pop()
    if not words or not words[-1]:
        raise Problem(
            "missing_type", "type: expected <reverse domain>.<type>.v1, for example example.shop.view.v1", "type"
        )
    try:
        return action_of(words[-1])
    except ValueError as wrong:
        raise Problem("unknown_type", str(wrong), "type") from None


def payload(record: dict[str, Any]) -> dict[str, Any]:
    """The data of an event, an object: as JSON, as JSON in a text, or as that in base64."""
    data = record.get("data")
    encoded = record.get("data_base64")
    try:
        if data is None and isinstance(encoded, str):
            data = base64.b64decode(encoded, validate=True)
        if isinstance(data, str | bytes):
            data = msgspec.json.decode(data)
    except (ValueError, RecursionError) as wrong:  # of base64 and of JSON alike
        raise Problem("bad_json", f"data: {wrong}", "data") from None
    if data is not None and not isinstance(data, dict):
        raise Problem("wrong_type", f"data: expected an object, got {type(data).__name__}", "data")
    return data or {}
