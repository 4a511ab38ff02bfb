"""How the log's SQLite file is opened, and what its errors mean.

WAL journal, so that readers never wait for the writer; ``synchronous=FULL``, so that a commit is on the disk before it
returns (``OFF`` when the durability setting leaves that to the operating system); ``secure_delete``, so that erased
rows are overwritten with zeros. SQLite keeps no page checksums: every payload carries a CRC of its own.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from endcap.errors import CorruptStore, StoreError

SCHEMA_VERSION = 2  # PRAGMA user_version; raise together with a migration
APPLICATION_ID = 0x656E6463  # "endc": tells our file from any other SQLite file

SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE events (
    offset   INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE CHECK (event_id <> ''),
    user_id  TEXT,
    anon_id  TEXT,
    crc      INTEGER NOT NULL,
    payload  TEXT NOT NULL
);
CREATE INDEX events_by_user ON events (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX events_by_anon ON events (anon_id) WHERE anon_id IS NOT NULL;
CREATE TABLE quarantine (
    id          INTEGER PRIMARY KEY,
    received_at INTEGER NOT NULL,
    code        TEXT NOT NULL,
    field       TEXT,
    message     TEXT NOT NULL,
    raw         BLOB NOT NULL,
    source      TEXT NOT NULL DEFAULT ''
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO meta VALUES ('secret', randomblob(32));
PRAGMA application_id = {application_id};
PRAGMA user_version = {version};
COMMIT;
"""
MIGRATIONS = {  # from this version to the next
    1: (
        "BEGIN IMMEDIATE; ALTER TABLE quarantine ADD COLUMN source TEXT NOT NULL DEFAULT ''; "
        "PRAGMA user_version = 2; COMMIT;"
    ),
}


def connect(path: Path, *, durable: bool = True, read_only: bool = False) -> sqlite3.Connection:
    """An autocommit connection that any thread may use, one at a time. Creates the tables in a new file.

    Raises ``StoreError`` for a file of a newer version or of another program, ``CorruptStore`` for a damaged one.
    """
    mode = "ro" if read_only else "rwc"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=32,
        )
    except sqlite3.Error as wrong:
        raise explained(wrong, path) from wrong
    try:
        connection.execute("PRAGMA busy_timeout = 10000")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
            connection.execute("PRAGMA fullfsync = ON")  # macOS: reach the platter, not the drive's cache
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")  # pages: a checkpoint every 16 MB
            connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA cache_size = -65536")
        check_version(connection, path, create=not read_only)
    except sqlite3.Error as wrong:
        connection.close()
        raise explained(wrong, path) from wrong
    except StoreError:
        connection.close()
        raise
    return connection


def check_version(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    """Refuse files that are not ours or not of our time; give a new file its tables."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if version == 0 and owner == 0 and empty:
        if not create:
            raise StoreError(f"{path} holds no log yet; start the engine on its directory once")
        connection.executescript(SCHEMA.format(application_id=APPLICATION_ID, version=SCHEMA_VERSION))
        return
    if owner != APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file of another program, not an Endcap log; name another directory")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}, written by a newer Endcap; this one knows up to {SCHEMA_VERSION}. "
            f"Upgrade Endcap, or restore a backup made with this version"
        )
    if create:
        for old in range(version, SCHEMA_VERSION):
            connection.executescript(MIGRATIONS[old])


def explained(wrong: sqlite3.Error, path: Path) -> StoreError:
    """SQLite's error as one of ours, with what mends it."""
    code = getattr(wrong, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CorruptStore(f"{path} is damaged ({wrong}); restore a backup with: endcap restore BACKUP")
    if code == sqlite3.SQLITE_FULL:
        return StoreError(f"no space left for {path} ({wrong}); nothing was acknowledged. Free disk space and retry")
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreError(f"cannot open {path} ({wrong}); its directory must exist and be readable")
    if code == sqlite3.SQLITE_READONLY:
        return StoreError(f"{path} cannot be written ({wrong}); check the owner and mode of the file and directory")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(f"{path} is held by another program ({wrong}); close it (an open sqlite3 shell?) and retry")
    return StoreError(f"{path} failed ({wrong}); nothing was acknowledged. Check the disk, then retry")
