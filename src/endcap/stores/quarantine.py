"""Records that were not taken, with the reason: the place to look when a sender's events do not arrive.

Bounded: the newest ``KEEP`` records, ``MAX_RAW`` bytes of each. Written in the same transaction as the events of their
batch, so an answer that reports a refusal can be looked up after a crash too.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from msgspec import Struct

from endcap.protocols import Refused

KEEP = 100_000
MAX_RAW = 4_096


class Quarantined(Struct, frozen=True, kw_only=True):
    """One refused record. ``raw`` is what was sent, shortened, undecodable bytes replaced."""

    id: int
    received_at: int  # epoch ms
    code: str
    message: str
    field: str | None
    raw: str


def insert(connection: sqlite3.Connection, refused: Sequence[Refused]) -> None:
    """Add records and drop the oldest beyond ``KEEP``. The caller owns the transaction."""
    connection.executemany(
        "INSERT INTO quarantine (received_at, code, field, message, raw) VALUES (?, ?, ?, ?, ?)",
        [(r.received_at, r.refusal.code, r.refusal.field, r.refusal.message, r.raw[:MAX_RAW]) for r in refused],
    )
    connection.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (KEEP,))


def newest(connection: sqlite3.Connection, limit: int, before: int) -> list[Quarantined]:
    """Up to ``limit`` records with id < ``before`` (0 = from the newest), newest first."""
    rows = connection.execute(
        "SELECT id, received_at, code, message, field, raw FROM quarantine WHERE ? = 0 OR id < ? "
        "ORDER BY id DESC LIMIT ?",
        (before, before, limit),
    ).fetchall()
    return [
        Quarantined(
            id=at, received_at=received, code=code, message=message, field=field, raw=raw.decode(errors="replace")
        )
        for at, received, code, message, field, raw in rows
    ]


def forget(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Drop records whose raw text names one of these ids as a JSON string. The caller owns the transaction."""
    for key in ids:
        for form in {json.dumps(key), json.dumps(key, ensure_ascii=False)}:
            connection.execute("DELETE FROM quarantine WHERE instr(raw, CAST(? AS BLOB)) > 0", (form,))
