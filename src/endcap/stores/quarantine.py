"""Records that were not taken, with the reason: the place to look when a sender's events do not arrive.

Bounded: the newest ``KEEP`` records, ``MAX_RAW`` bytes of each. Written in the same transaction as the events of their
batch, so an answer that reports a refusal can be looked up after a crash too.
"""

from __future__ import annotations

import json
import re
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
    source: str = ""  # the adapter that refused it, segment for example; "" = our own format


def insert(connection: sqlite3.Connection, refused: Sequence[Refused]) -> None:
    """Add records and drop the oldest beyond ``KEEP``. The caller owns the transaction."""
    connection.executemany(
        "INSERT INTO quarantine (received_at, code, field, message, raw, source) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                r.received_at,
                r.refusal.code,
                legible(r.refusal.field),
                legible(r.refusal.message),
                r.raw[:MAX_RAW],
                r.source,
            )
            for r in refused
        ],
    )
    connection.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (KEEP,))


def newest(connection: sqlite3.Connection, limit: int, before: int) -> list[Quarantined]:
    """Up to ``limit`` records with id < ``before`` (0 = from the newest), newest first."""
    rows = connection.execute(
        "SELECT id, received_at, code, message, field, raw, source FROM quarantine WHERE ? = 0 OR id < ? "
        "ORDER BY id DESC LIMIT ?",
        (before, before, limit),
    ).fetchall()
    return [
        Quarantined(
            id=at,
            received_at=received,
            code=code,
            message=message,
            field=field,
            raw=raw.decode(errors="replace"),
            source=source,
        )
        for at, received, code, message, field, raw, source in rows
    ]


def tally(connection: sqlite3.Connection) -> dict[str, int]:
    """How many records there are by code, the most frequent first."""
    return dict(connection.execute("SELECT code, count(*) FROM quarantine GROUP BY code ORDER BY 2 DESC, 1").fetchall())


def forget(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Drop records whose raw text names one of these ids: as a JSON string, or, in a foreign format, as any word of it.

    The caller owns the transaction.
    """
    for key in ids:
        for form in {json.dumps(key), json.dumps(key, ensure_ascii=False)}:
            connection.execute("DELETE FROM quarantine WHERE instr(raw, CAST(? AS BLOB)) > 0", (form,))
        word = re.compile(rb"(?<![\w-])" + re.escape(key.encode()) + rb"(?![\w-])")  # ids as numbers, lines of a table
        foreign = "SELECT id, raw FROM quarantine WHERE source <> '' AND instr(raw, CAST(? AS BLOB)) > 0"
        named = [(at,) for at, raw in connection.execute(foreign, (key,)) if word.search(raw)]
        connection.executemany("DELETE FROM quarantine WHERE id = ?", named)


def legible(text: str | None) -> str | None:
    """The text with half characters, which JSON can carry and SQLite cannot, written as escapes."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()
