"""What a backup holds beside the log: experiments, trained models and reports, as pieces in a table of the same file.

Idea: a backup is one file, so that nobody restores half of it. Files are cut into pieces, because SQLite keeps a value
in one go; each piece has a checksum.

Layout: ``enclosed(path, piece, crc, data)``; ``path`` is relative to the data directory, with slashes.

When not to use it: for what can be made anew in a minute (snapshots, what feeds read), or what must not lie in a
backup (keys).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from zlib import crc32

from endcap.artifacts import replace_file
from endcap.errors import CorruptStore, StoreError
from endcap.stores.connection import connect, explained

PIECE_BYTES = 1 << 24
TABLE = "CREATE TABLE enclosed (path TEXT, piece INTEGER, crc INTEGER, data BLOB, PRIMARY KEY (path, piece))"
HOLDS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'enclosed'"
WHOLE = ("experiments.json", "models/serving.json")  # what names others comes first: those exist then
MANY = (("models", "*.endcap"), ("experiments", "*.jsonl"), ("reports", "*.json"))


def beside(directory: Path) -> list[str]:
    """What of a data directory belongs into a backup beside the log, by relative path."""
    found = [path for path in WHOLE if (directory / path).is_file()]
    for folder, pattern in MANY:
        found += sorted(f"{folder}/{file.name}" for file in (directory / folder).glob(pattern) if file.name[0] != ".")
    return found


def enclose(copy: sqlite3.Connection, directory: Path, paths: Sequence[str]) -> None:
    """Put files into a backup that is being written. ``OSError`` when one cannot be read."""
    if not paths:
        return
    copy.execute(TABLE)
    for path in paths:
        with (directory / path).open("rb") as file:
            piece = 0
            while (data := file.read(PIECE_BYTES)) or piece == 0:
                copy.execute("INSERT INTO enclosed VALUES (?, ?, ?, ?)", (path, piece, crc32(data), data))
                piece += 1
    copy.commit()


def unpack(backup: Path, directory: Path) -> list[str]:
    """Write the files of a backup into a data directory and give their paths.

    ``CorruptStore`` for a damaged piece or a path that leads elsewhere; what was written before it stays.
    """
    written: list[str] = []
    try:
        with contextlib.closing(connect(backup, read_only=True)) as source:
            if not source.execute(HOLDS).fetchone():
                return []  # of a version that kept the log alone
            paths = [str(row[0]) for row in source.execute("SELECT DISTINCT path FROM enclosed ORDER BY path")]
            for path in paths:
                if not is_ours(path):
                    raise CorruptStore(f"{backup} holds a file {path[:200]!r}, which no backup of ours does")
                data = b"".join(pieces(source, backup, path))
                (directory / path).parent.mkdir(parents=True, exist_ok=True)
                replace_file(directory / path, data)
                written.append(path)
    except sqlite3.Error as broken:
        raise explained(broken, backup) from broken
    except OSError as wrong:
        raise StoreError(f"cannot write into {directory}: {wrong.strerror or wrong}") from wrong
    return written


def pieces(source: sqlite3.Connection, backup: Path, path: str) -> list[bytes]:
    """The pieces of a file in order, each checked."""
    found = []
    rows = source.execute("SELECT piece, crc, data FROM enclosed WHERE path = ? ORDER BY piece", (path,))
    for wanted, (piece, crc, data) in enumerate(rows):
        if piece != wanted or crc32(data) != crc:
            raise CorruptStore(f"{backup}: piece {wanted} of {path} is damaged or missing; take another backup")
        found.append(bytes(data))
    return found


def is_ours(path: str) -> bool:
    """Whether a backup of ours may hold this path."""
    parts = PurePosixPath(path).parts
    return path in WHOLE or any(
        len(parts) == 2 and parts[0] == folder and PurePosixPath(parts[1]).match(pattern) for folder, pattern in MANY
    )


def let_go(log: Path) -> None:
    """Take the table out of a log that was copied from a backup."""
    try:
        with contextlib.closing(connect(log)) as restored:
            restored.execute("DROP TABLE IF EXISTS enclosed")
    except sqlite3.Error as broken:
        raise explained(broken, log) from broken
