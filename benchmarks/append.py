"""How to put a group of events into SQLite while another thread wants the interpreter.

    python benchmarks/append.py [--durable] [--dir DIRECTORY]

Compares three ways, interleaved in one run, without and with a busy second thread that stands for a server's event loop
(25 us of Python, then a system call, for ever):

    many     known ids looked up, BEGIN, executemany, COMMIT
    json     one INSERT ... SELECT FROM json_each(?) of the whole group
    values   one INSERT ... VALUES (...), (...), ... of the whole group; what ``SqliteLog`` does

Prints per group size the median microseconds per event, and with the busy thread the events per second that got
through and how many thousand turns per second the busy thread still made. Commits are left to the operating system, so
that the interpreter's share shows; with --durable each one waits for the disk.
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from zlib import crc32

import msgspec

from endcap.stores.connection import connect
from endcap.stores.sqlite import COLUMNS, INSERT, ROW
from endcap.types import Context, Interaction

GROUPS = (1, 8, 32, 128, 512)
SLICE_S = 0.4
ROUNDS = 3
Rows = list[tuple[int, str, str | None, str | None, int, str]]

encode = msgspec.json.Encoder().encode
FIELDS = ", ".join(f"json_extract(value, '$[{k}]')" for k in range(COLUMNS))
FROM_JSON = f"INSERT INTO events SELECT {FIELDS} FROM json_each(?)"


def rows_of(n: int, after: int) -> Rows:
    """Encoded events, as every way needs them."""
    rows: Rows = []
    for offset in range(after + 1, after + n + 1):
        event = Interaction(
            type="view", event_id=f"{offset * 2654435761 % 2**32:08x}-{offset}", ts=1_700_000_000_000 + offset,
            received_at=1_700_000_000_000 + offset, user_id=f"user{offset % 500}", item_id=f"item{offset % 997}",
            context=Context(device="mobile", region="DE"),
        )  # fmt: skip
        payload = encode(event)
        rows.append((offset, event.event_id, event.user_id, None, crc32(payload), payload.decode()))
    return rows


def many(to: sqlite3.Connection, rows: Rows) -> None:
    ids = encode([row[1] for row in rows]).decode()
    to.execute("SELECT event_id FROM events WHERE event_id IN (SELECT value FROM json_each(?))", (ids,)).fetchall()
    to.execute("BEGIN IMMEDIATE")
    to.executemany(INSERT + ROW, rows)
    to.execute("COMMIT")


def from_json(to: sqlite3.Connection, rows: Rows) -> None:
    to.execute(FROM_JSON, (encode(rows).decode(),))


def values(to: sqlite3.Connection, rows: Rows) -> None:
    to.execute(INSERT + ",".join([ROW] * len(rows)), [value for row in rows for value in row])


WAYS: dict[str, Callable[[sqlite3.Connection, Rows], None]] = {"many": many, "json": from_json, "values": values}


class BusyThread:
    """Turns like an event loop's until it is stopped."""

    def __init__(self) -> None:
        self.turns, self.stop = 0, False
        self.thread = threading.Thread(target=self.turn)
        self.thread.start()

    def turn(self) -> None:
        sink = os.open(os.devnull, os.O_WRONLY)
        while not self.stop:
            x = 0
            while x < 700:
                x += 1
            os.write(sink, b"x" * 100)
            self.turns += 1
        os.close(sink)


def measured(way: str, group: int, busy: bool, durable: bool, directory: Path) -> tuple[float, float, float]:
    """us per event (median), events/s, busy turns/s over one slice on a new file."""
    path = directory / f"{way}-{group}-{busy}.db"
    connection = connect(path, durable=durable)
    other = BusyThread() if busy else None
    chance, offset, times, began = random.Random(1), 0, [], perf_counter()
    while perf_counter() - began < SLICE_S:
        rows = rows_of(max(1, round(group * (0.5 + chance.random()))), offset)
        start = perf_counter()
        WAYS[way](connection, rows)
        times.append((perf_counter() - start) / len(rows))
        offset += len(rows)
    seconds = perf_counter() - began
    turns = 0
    if other is not None:
        other.stop, turns = True, other.turns
        other.thread.join()
    connection.close()
    for file in directory.glob(f"{path.name}*"):
        file.unlink()
    return median(times) * 1e6, offset / seconds, turns / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, help="where the files are written; the disk to be measured")
    parser.add_argument("--durable", action="store_true", help="sync every commit")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.dir) as name:
        for busy in (False, True):
            print("with a busy thread" if busy else "alone")
            for group in GROUPS:
                rounds = [
                    {way: measured(way, group, busy, given.durable, Path(name)) for way in WAYS} for _ in range(ROUNDS)
                ]
                cells = []
                for way in WAYS:
                    us, eps, turns = (median(each[way][k] for each in rounds) for k in range(3))
                    cells.append(f"{way} {us:8.1f} us {eps:8.0f}/s" + (f" {turns / 1e3:5.1f}k turns" if busy else ""))
                print(f"  group {group:4}  " + "   ".join(cells), flush=True)


if __name__ == "__main__":
    main()
