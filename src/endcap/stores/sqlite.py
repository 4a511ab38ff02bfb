"""The event log in one SQLite file.

Idea: events are appended in groups and one commit (one fsync) makes a whole group durable; the cost of the disk is
shared by everybody who waits. Ids, order and payload are stored; every number served is folded from them.

Layout: ``events(offset, event_id, user_id, anon_id, crc, payload)``. The payload is the event as JSON with its
``kind``; ``crc`` is CRC-32 of offset and payload, checked at every read. Offsets start at 1 and have no gaps until
somebody is erased, so a missing event is noticed too.

Cost: the interpreter lock is what an append competes for, because ``sqlite3`` gives it up and takes it back around
every statement and every row. So a group without duplicates is ONE statement in autocommit mode: ``INSERT ... VALUES``
with as many rows as events. ``benchmarks/append.py`` compares that with ``executemany`` and with one ``json_each``
statement. Duplicates make the statement fail as a whole; then, and only then, known ids are looked up and the rest is
inserted.

When not to use it: more than one writing machine. See DESIGN section 10 for the same socket on a log service.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import msgspec

from endcap.errors import CorruptStore, InvalidInput, StoreError
from endcap.protocols import Refused
from endcap.runtime import Runtime
from endcap.stores import enclosed, quarantine
from endcap.stores.connection import connect, explained
from endcap.stores.lock import WriterLock
from endcap.stores.quarantine import Quarantined
from endcap.types import Event, Stored

ROWS = 512  # most rows of one INSERT; 6 parameters each, well below SQLite's limit of 32,766
COLUMNS = 6
SEARCHED = 200_000  # events behind a slate among which those that name it are looked for: a fraction of a second
ROW = "(?,?,?,?,?,?)"
ONE = "SELECT 1 FROM events WHERE event_id = ?"
ABOUT = """DELETE FROM events WHERE json_extract(payload, '$.item_id') = :item
    OR EXISTS (SELECT 1 FROM json_each(payload, '$.items') WHERE value = :item)"""
INSERT = "INSERT INTO events (offset, event_id, user_id, anon_id, crc, payload) VALUES "


class SqliteLog:
    """``EventLog`` on one SQLite file; one process writes, any thread may call.

    ``durability`` "always": an event is on the disk when ``append`` returns. "os": it survives the death of the
    process, not of the machine. ``read_only``: follow a log that another process writes; takes no lock.
    """

    def __init__(
        self,
        path: str | Path,
        durability: Literal["always", "os"] = "always",
        runtime: Runtime | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        """Open or create. Raises ``StoreLocked``, ``CorruptStore`` or ``StoreError``."""
        self.path = Path(path)
        self.durable = durability == "always"
        self._fault = (runtime or Runtime()).fault
        self._write = threading.RLock()
        self._read = threading.RLock()
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Event).decode
        self._writer: sqlite3.Connection | None = None
        self._last = 0
        self._count = -1
        self._closed = False
        self._lock = None if read_only else WriterLock(Path(f"{self.path}.lock"))
        try:
            if not read_only:
                self._open_writer()
            self._reader = connect(self.path, read_only=True)
        except BaseException:
            self.close()
            raise

    def _open_writer(self) -> None:
        self._writer = connect(self.path, durable=self.durable)
        self._last = self._newest(self._writer)

    @staticmethod
    def _newest(connection: sqlite3.Connection) -> int:
        """The newest offset ever given, even if its event has been erased since."""
        row = connection.execute(
            "SELECT max(coalesce((SELECT max(offset) FROM events), 0), "
            "coalesce((SELECT value FROM meta WHERE name = 'last_offset'), 0))"
        ).fetchone()
        return int(row[0])

    # ------------------------------------------------------------ write

    def append(self, events: Sequence[Event], refused: Sequence[Refused] = ()) -> list[int]:
        """Store events in order and refused records beside them, durably, all or nothing.

        Gives one offset per event, 0 for an ``event_id`` that is in the log already. On ``StoreError`` nothing of the
        group was stored, or it is unknown whether it was; sending it again is safe in both cases.
        """
        with self._write:
            to = self._writable()
            self._fault("append.before")
            try:
                offsets = self._append(to, events, refused)
            except sqlite3.Error as broken:
                raise self._failed(broken) from broken
            self._fault("append.after_commit")
            return offsets

    def _append(self, to: sqlite3.Connection, events: Sequence[Event], refused: Sequence[Refused]) -> list[int]:
        if len(events) <= ROWS and not refused:
            try:
                self._insert(to, events)
            except sqlite3.IntegrityError:
                pass  # a duplicate: nothing was stored; find out which below
            else:
                return self._appended(len(events))
        to.execute("BEGIN IMMEDIATE")
        try:
            new = self._unknown(to, events)
            self._insert(to, [event for event, is_new in zip(events, new, strict=True) if is_new])
            if refused:
                quarantine.insert(to, refused)
            self._fault("append.after_insert")  # the one-statement form above has no such moment
            to.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                to.execute("ROLLBACK")
            raise
        given = iter(self._appended(sum(new)))
        return [next(given) if is_new else 0 for is_new in new]

    def _insert(self, to: sqlite3.Connection, events: Sequence[Event]) -> None:
        """Insert events under the offsets that follow ``_last``, at most ``ROWS`` per statement."""
        encode, offset = self._encode, self._last
        for begin in range(0, len(events), ROWS):
            some = events[begin : begin + ROWS]
            values: list[Any] = []
            for event in some:
                if not event.event_id:
                    raise InvalidInput("an event without event_id cannot be stored; validate() gives it one")
                payload = encode(event)
                offset += 1
                values += (
                    offset,
                    event.event_id,
                    getattr(event, "user_id", None),
                    getattr(event, "anon_id", None),
                    crc32(payload, offset & 0xFFFFFFFF),
                    payload.decode(),
                )
            to.execute(INSERT + ",".join([ROW] * len(some)), values)

    def _unknown(self, to: sqlite3.Connection, events: Sequence[Event]) -> list[bool]:
        """For each event: is its id neither in the log nor earlier in the group?"""
        ids = self._encode([event.event_id for event in events]).decode()
        known = to.execute("SELECT event_id FROM events WHERE event_id IN (SELECT value FROM json_each(?))", (ids,))
        seen = {event_id for (event_id,) in known.fetchall()}
        for event in events:  # SQLite's JSON ends a text at its first zero
            if "\0" in event.event_id and to.execute(ONE, (event.event_id,)).fetchone():
                seen.add(event.event_id)
        new = []
        for event in events:
            new.append(event.event_id not in seen)
            seen.add(event.event_id)
        return new

    def _appended(self, n: int) -> list[int]:
        first = self._last + 1
        self._last += n
        if self._count >= 0:
            self._count += n
        return list(range(first, first + n))

    def _writable(self) -> sqlite3.Connection:
        """The writing connection; opened anew when an error made us drop it."""
        if self._lock is None or self._closed:
            raise StoreError(f"{self.path} is not open for writing: it was opened read-only, or is closed")
        if self._writer is None:
            self._open_writer()
        assert self._writer is not None
        return self._writer

    def _failed(self, broken: sqlite3.Error) -> StoreError:
        """After an error the connection is not trusted: a retried fsync that succeeds would prove nothing."""
        if self._writer is not None:
            with contextlib.suppress(sqlite3.Error):
                self._writer.close()
        self._writer, self._count = None, -1
        return explained(broken, self.path)

    # ------------------------------------------------------------ read

    def read(self, after: int, limit: int) -> list[Stored]:
        """Up to ``limit`` events with offset > ``after``, in order. ``CorruptStore`` names a damaged or missing one."""
        stored = self._stored("offset > ?1 ORDER BY offset LIMIT ?2", (after, limit))
        last = stored[-1].offset if stored else after
        missing = last - after - len(stored)
        if missing and not self._erased():
            raise CorruptStore(
                f"{self.path}: {missing} events are missing between the offsets {after} and {last}, and nobody was "
                f"erased. Restore a backup with: endcap restore BACKUP"
            )
        return stored

    def _stored(self, where: str, values: tuple[Any, ...]) -> list[Stored]:
        # As a BLOB the payload comes as the bytes that the checksum and the decoder want.
        query = f"SELECT offset, crc, CAST(payload AS BLOB) FROM events WHERE {where}"
        with self._read:
            try:
                rows = self._reader.execute(query, values).fetchall()
            except sqlite3.Error as broken:
                raise explained(broken, self.path) from broken
        decode = self._decode
        for offset, crc, payload in rows:
            if payload is None or crc32(payload, offset & 0xFFFFFFFF) != crc:
                raise CorruptStore(
                    f"{self.path}: the event at offset {offset} does not match its checksum; the disk changed it. "
                    f"Restore a backup with: endcap restore BACKUP"
                )
        try:
            return [Stored(offset, decode(payload)) for offset, _, payload in rows]
        except msgspec.MsgspecError as wrong:
            raise StoreError(
                f"{self.path}: an event at or after offset {rows[0][0]} is intact but unknown to this version "
                f"({wrong}); upgrade Endcap"
            ) from wrong

    def find(self, event_id: str) -> Stored | None:
        """The event with this id, None when there is none."""
        found = self._stored("event_id = ?1", (event_id,))
        return found[0] if found else None

    def naming(self, request_id: str, after: int, limit: int) -> list[Event]:
        """Up to ``limit`` events behind offset ``after`` that name a request. Looks at ``SEARCHED`` events at most."""
        where = (
            "offset > ?1 AND offset <= ?1 + ?4 AND json_extract(payload, '$.request_id') = ?2 ORDER BY offset LIMIT ?3"
        )
        return [entry.event for entry in self._stored(where, (after, request_id, limit, SEARCHED))]

    def _erased(self) -> int:
        """How many events were deleted on somebody's wish."""
        with self._read:
            row = self._reader.execute("SELECT value FROM meta WHERE name = 'erased'").fetchone()
        return int(row[0]) if row else 0

    def last_offset(self) -> int:
        """The newest offset, 0 for an empty log."""
        if self._lock is not None:
            return self._last
        with self._read:
            return self._newest(self._reader)

    def count(self) -> int:
        """Events held. The first call counts rows; later ones are free for the writing process."""
        if self._count < 0 or self._lock is None:
            with self._write, self._read:
                self._count = int(self._reader.execute("SELECT count(*) FROM events").fetchone()[0])
        return self._count

    def size_bytes(self) -> int:
        """What the log takes on disk, its write-ahead part included."""
        files = (self.path, Path(f"{self.path}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def quarantine(self, limit: int = 100, before: int = 0) -> list[Quarantined]:
        """Refused records, newest first; ``before`` (an id) continues a listing."""
        with self._read:
            return quarantine.newest(self._reader, limit, before)

    def quarantined(self) -> dict[str, int]:
        """Refused records held, by code, the most frequent first."""
        with self._read:
            return quarantine.tally(self._reader)

    # ------------------------------------------------------------ people's rights, backup

    def events_of(self, user_id: str | None, anon_ids: Sequence[str] = ()) -> list[Event]:
        """Every event of a person, in order. An event with both ids belongs to its ``user_id``."""
        return [entry.event for entry in self._stored(f"{theirs(anon_ids)} ORDER BY offset", (user_id, *anon_ids))]

    def newest_of(
        self, user_id: str | None, anon_ids: Sequence[str] = (), limit: int = 50, before: int = 0
    ) -> list[Stored]:
        """Up to ``limit`` events of a person with offset < ``before`` (0 = from the newest), newest first."""
        where = f"({theirs(anon_ids)}) AND offset < ? ORDER BY offset DESC LIMIT ?"
        return self._stored(where, (user_id, *anon_ids, before or 2**63 - 1, limit))

    def erase_user(self, user_id: str | None, anon_ids: Sequence[str] = (), item_id: str = "") -> int:
        """Delete every event of a person, overwrite the space, empty the write-ahead log. Gives the number deleted.

        ``item_id``: an item that stands for the person; what others did to it, and slates that showed it, go too, as do
        quarantined records that name the person. Offsets are never given out again.
        """
        with self._write, self._read:
            to = self._writable()
            try:
                removed = self._erase(to, user_id, anon_ids)
                removed += self._erase_item(to, item_id) if item_id else 0
                busy = to.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.Error as broken:
                raise self._failed(broken) from broken
            self._count = -1
        if busy:
            raise StoreError(
                f"the events are deleted, but another program reads {self.path} and keeps old pages in its write-ahead "
                f"log; close that program and erase again"
            )
        return removed

    def _erase(self, to: sqlite3.Connection, user_id: str | None, anon_ids: Sequence[str]) -> int:
        to.execute("BEGIN IMMEDIATE")
        try:
            removed = to.execute(f"DELETE FROM events WHERE {theirs(anon_ids)}", (user_id, *anon_ids)).rowcount
            to.execute("INSERT OR REPLACE INTO meta VALUES ('last_offset', ?)", (self._last,))
            to.execute("INSERT OR REPLACE INTO meta VALUES ('erased', ?)", (self._erased() + removed,))
            quarantine.forget(to, [key for key in (user_id, *anon_ids) if key])
            to.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                to.execute("ROLLBACK")
            raise
        return int(removed)

    def _erase_item(self, to: sqlite3.Connection, item_id: str) -> int:
        """Reads the whole log. A slate that showed the item goes as a whole."""
        to.execute("BEGIN IMMEDIATE")
        removed = to.execute(ABOUT, {"item": item_id}).rowcount
        to.execute("INSERT OR REPLACE INTO meta VALUES ('last_offset', ?)", (self._last,))
        to.execute("INSERT OR REPLACE INTO meta VALUES ('erased', ?)", (self._erased() + removed,))
        quarantine.forget(to, [item_id])
        to.execute("COMMIT")
        return int(removed)

    def secret(self) -> bytes:
        """32 random bytes made with the file: the key of the hashes in erasure receipts."""
        with self._read:
            row = self._reader.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()
        return bytes(row[0])

    def backup(self, path: str | Path, beside: Sequence[str] = ()) -> None:
        """Copy a consistent state of the log to a new file while writing goes on.

        ``beside``: files of the log's directory that the copy shall hold too (stores/enclosed.py).
        """
        target = Path(path)
        if target.exists():
            raise StoreError(f"{target} exists; a backup never overwrites a file. Name another, or remove it first")
        part = target.with_name(f".{target.name}.part")
        part.unlink(missing_ok=True)
        try:
            copy = sqlite3.connect(part)
            with contextlib.closing(copy), contextlib.closing(connect(self.path, read_only=True)) as source:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
                enclosed.enclose(copy, self.path.parent, beside)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.rename(target)
        except (sqlite3.Error, OSError) as broken:
            part.unlink(missing_ok=True)
            raise StoreError(f"the backup to {target} failed: {broken}") from broken

    def close(self) -> None:
        """Release files and locks. Harmless when called twice."""
        self._closed = True
        for name in ("_reader", "_writer"):
            connection = getattr(self, name, None)
            if connection is not None:
                connection.close()
        self._writer = None
        if self._lock is not None:
            self._lock.release()


def theirs(anon_ids: Sequence[str]) -> str:
    """The condition for a person's events; its values are the user id and the anonymous ids."""
    return f"user_id = ? OR (user_id IS NULL AND anon_id IN ({','.join('?' * len(anon_ids))}))"
