"""The contract of an event log, run against both of ours, and what only the SQLite one promises."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.errors import CorruptStore, InvalidInput, StoreError, StoreLocked
from endcap.preprocess.decode import RefusedRecord
from endcap.protocols import EventLog
from endcap.runtime import Runtime
from endcap.stores import quarantine
from endcap.stores.memory import MemoryLog
from endcap.stores.sqlite import ROWS, SqliteLog
from endcap.types import (
    Context,
    Erasure,
    Event,
    Impression,
    Interaction,
    Item,
    ItemChange,
    Refusal,
    Shown,
    Stored,
    User,
    UserChange,
)


def view(k: int, user: str | None = "ann", anon: str | None = None) -> Interaction:
    return Interaction(type="view", event_id=f"e{k}", ts=1_700_000_000_000 + k, user_id=user, anon_id=anon, item_id="i")


def refused(raw: bytes = b'{"type":"viw"}', code: str = "unknown_type") -> RefusedRecord:
    return RefusedRecord(Refusal(index=0, code=code, message="no", field="type"), raw, 1_700_000_000_000)


ONE_OF_EACH: list[Event] = [
    Interaction(
        type="purchase", event_id="a", ts=1, user_id="ü\x00\n", item_id="'; DROP TABLE events; --", price=1.25,
        context=Context(region="北京"), props={"deep": {"x": [1, None, "y"]}},
    ),
    Impression.of(event_id="b", request_id="r", ts=2, user_id="ann", shown=(Shown("i", 0, 0.5),), versions={"m": "1"}),
    ItemChange(event_id="c", item_id="i", ts=3, item=Item(item_id="i", title="Tea", categories=[["a", "b"]])),
    ItemChange(event_id="d", item_id="i", ts=4),
    UserChange(event_id="e", user_id="ann", ts=5, user=User(user_id="ann", anon_ids=["x"], traits={"vip": True})),
    Erasure(event_id="f", user_hash="00", ts=6, n_events=3),
]  # fmt: skip


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventLog]:
    made: EventLog = MemoryLog() if request.param == "memory" else SqliteLog(tmp_path / "log.db", "os")
    yield made
    made.close()


@pytest.fixture
def sqlite_log(tmp_path: Path) -> Iterator[SqliteLog]:
    made = SqliteLog(tmp_path / "log.db", "os")
    yield made
    made.close()


# ---------------------------------------------------------------- both


def test_an_empty_log_has_offset_zero_and_nothing_to_read(log: EventLog) -> None:
    assert log.last_offset() == 0
    assert log.read(0, 10) == []
    assert log.append([]) == []


def test_every_kind_of_event_comes_back_as_it_went_in(log: EventLog) -> None:
    assert log.append(ONE_OF_EACH) == [1, 2, 3, 4, 5, 6]
    assert log.read(0, 100) == [Stored(at, event) for at, event in enumerate(ONE_OF_EACH, 1)]


def test_reading_starts_after_an_offset_and_stops_at_the_limit(log: EventLog) -> None:
    log.append([view(k) for k in range(10)])
    assert [entry.offset for entry in log.read(3, 4)] == [4, 5, 6, 7]
    assert [entry.offset for entry in log.read(8, 4)] == [9, 10]
    assert log.read(10, 4) == []
    assert log.last_offset() == 10


def test_a_known_event_id_is_a_duplicate_in_the_group_and_across_groups(log: EventLog) -> None:
    assert log.append([view(1), view(2), view(1)]) == [1, 2, 0]
    assert log.append([view(2), view(3)]) == [0, 3]
    assert log.append([view(3)]) == [0]
    assert [entry.event.event_id for entry in log.read(0, 9)] == ["e1", "e2", "e3"]


def test_the_first_event_with_an_id_stays(log: EventLog) -> None:
    log.append([view(1, user="ann")])
    log.append([view(1, user="bob")])
    (entry,) = log.read(0, 9)
    assert isinstance(entry.event, Interaction)
    assert entry.event.user_id == "ann"


def test_a_closed_log_takes_nothing(log: EventLog) -> None:
    log.close()
    log.close()
    with pytest.raises(StoreError):
        log.append([view(1)])


@given(st.lists(st.lists(st.integers(0, 20), max_size=8), max_size=6))
@settings(max_examples=40, deadline=None)
def test_both_logs_answer_alike_however_the_stream_is_cut(groups: list[list[int]]) -> None:
    memory = MemoryLog()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        patch.setattr("endcap.stores.sqlite.ROWS", 3)  # so that small groups span several statements
        real = SqliteLog(Path(directory) / "log.db", "os")
        for group in groups:
            events = [view(k) for k in group]
            assert real.append(events) == memory.append(events)
        assert real.read(0, 999) == memory.read(0, 999)
        assert real.last_offset() == memory.last_offset()
        assert real.count() == memory.count()
        real.close()


# ---------------------------------------------------------------- SQLite


def test_events_survive_closing_and_opening(tmp_path: Path) -> None:
    first = SqliteLog(tmp_path / "log.db")
    first.append(ONE_OF_EACH)
    secret = first.secret()
    first.close()
    second = SqliteLog(tmp_path / "log.db")
    assert [entry.event for entry in second.read(0, 100)] == ONE_OF_EACH
    assert second.append([view(9), ONE_OF_EACH[0]]) == [7, 0]
    assert second.secret() == secret
    assert len(secret) == 32
    second.close()


def test_a_group_of_several_statements_is_one_transaction(sqlite_log: SqliteLog) -> None:
    events = [view(k) for k in range(2 * ROWS + 5)]
    assert sqlite_log.append(events) == list(range(1, len(events) + 1))
    with pytest.raises(InvalidInput):
        sqlite_log.append([view(k + 10_000) for k in range(ROWS)] + [msgspec.structs.replace(view(1), event_id="")])
    assert sqlite_log.last_offset() == len(events)
    assert sqlite_log.append([view(10_000)]) == [len(events) + 1]


def test_offsets_have_no_gaps_after_duplicates(sqlite_log: SqliteLog) -> None:
    sqlite_log.append([view(1)])
    sqlite_log.append([view(1), view(1)])
    assert sqlite_log.append([view(2)]) == [2]


def test_a_durable_log_syncs_every_commit(tmp_path: Path) -> None:
    for durability, level in (("always", 2), ("os", 0)):
        log = SqliteLog(tmp_path / f"{durability}.db", durability)  # type: ignore[arg-type]
        assert log._writer is not None
        assert log._writer.execute("PRAGMA synchronous").fetchone()[0] == level
        assert log._writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert log.durable == (durability == "always")
        log.close()


def test_a_second_writer_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom endcap.stores.sqlite import SqliteLog\n"
        "log = SqliteLog(sys.argv[1])\nprint('open', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "log.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"open\n"
        with pytest.raises(StoreLocked, match=str(owner.pid)):
            SqliteLog(tmp_path / "log.db")
        with pytest.raises(StoreError, match="read-only"):
            SqliteLog(tmp_path / "log.db", read_only=True).append([view(1)])
        owner.kill()
        owner.wait()
        SqliteLog(tmp_path / "log.db").close()  # the lock died with its owner


def test_a_reader_follows_a_log_that_is_being_written(sqlite_log: SqliteLog) -> None:
    reader = SqliteLog(sqlite_log.path, read_only=True)
    assert reader.last_offset() == 0
    sqlite_log.append([view(1), view(2)])
    assert reader.last_offset() == 2
    assert reader.read(1, 10) == [Stored(2, view(2))]
    assert reader.count() == 2
    reader.close()


def test_a_changed_payload_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log = SqliteLog(path)
    log.append([view(k) for k in range(5)])
    log.close()
    raw = sqlite3.connect(path)
    raw.execute("UPDATE events SET payload = replace(payload, 'ann', 'eve') WHERE offset = 3")
    raw.commit()
    raw.close()
    log = SqliteLog(path)
    assert len(log.read(3, 10)) == 2
    with pytest.raises(CorruptStore, match="offset 3"):
        log.read(0, 10)
    log.close()


def test_a_missing_event_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log = SqliteLog(path)
    log.append([view(k) for k in range(5)])
    log.close()
    raw = sqlite3.connect(path)
    raw.execute("DELETE FROM events WHERE offset = 3")
    raw.commit()
    raw.close()
    log = SqliteLog(path)
    with pytest.raises(CorruptStore, match="1 events are missing between the offsets 1 and 5"):
        log.read(1, 10)
    log.close()


def test_a_flipped_bit_is_never_read_as_another_event(tmp_path: Path) -> None:
    """A bit flip anywhere in the file is either harmless to what is read, or reported."""
    path, events = tmp_path / "log.db", [view(k) for k in range(40)]
    log = SqliteLog(path)
    log.append(events)
    log.close()
    clean = path.read_bytes()
    reported = 0
    for at in range(0, len(clean), 211):
        path.write_bytes(clean[:at] + bytes([clean[at] ^ (1 << at % 8)]) + clean[at + 1 :])
        try:
            damaged = SqliteLog(path)
        except StoreError:
            reported += 1
            continue
        try:
            got = [entry.event for entry in damaged.read(0, 100)]
            assert got == events[: len(got)]
            reported += len(got) != len(events)
        except StoreError:
            reported += 1
        finally:
            damaged.close()
    assert reported > 0


def test_a_file_that_is_no_database_is_named_as_damaged(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"hello" * 1000)
    with pytest.raises(CorruptStore, match=r"log\.db.*restore"):
        SqliteLog(tmp_path / "log.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE notes (x)")
    other.close()
    with pytest.raises(StoreError, match="another program"):
        SqliteLog(tmp_path / "other.db")
    with pytest.raises(StoreError, match="cannot open"):
        SqliteLog(tmp_path / "missing" / "log.db")


def test_a_newer_schema_is_refused_with_the_remedy(tmp_path: Path) -> None:
    SqliteLog(tmp_path / "log.db").close()
    raw = sqlite3.connect(tmp_path / "log.db")
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(StoreError, match=r"version 99, written by a newer Endcap.*Upgrade"):
        SqliteLog(tmp_path / "log.db")


def test_a_full_disk_fails_the_group_and_the_log_goes_on_afterwards(sqlite_log: SqliteLog) -> None:
    sqlite_log.append([view(1)])
    assert sqlite_log._writer is not None
    pages = sqlite_log._writer.execute("PRAGMA page_count").fetchone()[0]
    sqlite_log._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="no space left"):
        sqlite_log.append([view(k) for k in range(2, 400)])
    assert sqlite_log.last_offset() == 1
    assert sqlite_log.append([view(k) for k in range(1, 401)]) == [0, *range(2, 401)]
    assert [entry.offset for entry in sqlite_log.read(0, 1000)] == list(range(1, 401))


def test_the_fault_points_lie_before_inside_and_after_the_commit(tmp_path: Path) -> None:
    class Crash(Exception):
        pass

    def crash_at(point: str) -> Callable[[str], None]:
        def fault(passed: str) -> None:
            if passed == point:
                raise Crash

        return fault

    kept = {"append.before": 0, "append.after_insert": 0, "append.after_commit": 1}
    for point, expected in kept.items():
        path = tmp_path / f"{point}.db"
        log = SqliteLog(path, "os", Runtime(fault=crash_at(point)))
        with pytest.raises(Crash):
            log.append([view(1)], [refused()])
        log.close()
        log = SqliteLog(path)
        assert log.count() == len(log.quarantine()) == expected, point
        log.close()


def test_refused_records_are_listed_newest_first_and_kept_bounded(
    sqlite_log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "KEEP", 3)
    for k in range(5):
        sqlite_log.append([], [refused(raw=b"\xff" + bytes([97 + k]) * 9_000)])
    listed = sqlite_log.quarantine()
    assert [record.id for record in listed] == [5, 4, 3]
    assert listed[0].raw[:3] == "�ee"
    assert len(listed[0].raw) == quarantine.MAX_RAW
    assert listed[0].code == "unknown_type"
    assert [record.id for record in sqlite_log.quarantine(limit=1, before=5)] == [4]


def test_a_persons_events_are_those_under_their_name_and_their_anonymous_ones(sqlite_log: SqliteLog) -> None:
    sqlite_log.append([
        view(1, "ann"), view(2, None, "x"), view(3, "bob", "x"), view(4, None, "y"), view(5, "ann", "y"),
        *ONE_OF_EACH,
    ])  # fmt: skip
    assert [event.event_id for event in sqlite_log.events_of("ann", ["x"])] == ["e1", "e2", "e5", "b", "e"]
    assert [event.event_id for event in sqlite_log.events_of(None, ["y"])] == ["e4"]
    assert sqlite_log.events_of("nobody") == []


def test_erasing_leaves_no_byte_of_the_person_in_any_file(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    name, anon = "zebulon-quux-7", "anon-wibble-9"
    for k in range(0, 300, 3):
        log.append([view(k, name), view(k + 1, "bob"), view(k + 2, None, anon)])
    log.append([view(900, name)], [refused(json.dumps({"type": "viw", "user_id": name}).encode()), refused()])
    assert log.erase_user(name, [anon]) == 201
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert name.encode() not in on_disk
    assert anon.encode() not in on_disk
    assert b"bob" in on_disk
    assert log.count() == 100
    assert len(log.quarantine()) == 1
    log.close()


def test_an_erased_offset_is_never_given_out_again(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    log.append([view(1, "bob"), view(2, "ann")])
    log.erase_user("ann")
    assert log.last_offset() == 2
    log.close()
    log = SqliteLog(tmp_path / "log.db")
    assert log.last_offset() == 2
    assert log.append([view(3)]) == [3]
    assert [entry.offset for entry in log.read(0, 9)] == [1, 3]
    log.close()


def test_a_backup_is_a_log_of_its_own_and_never_overwrites(sqlite_log: SqliteLog, tmp_path: Path) -> None:
    sqlite_log.append(ONE_OF_EACH)
    sqlite_log.backup(tmp_path / "copy.db")
    sqlite_log.append([view(1)])
    copy = SqliteLog(tmp_path / "copy.db")
    assert [entry.event for entry in copy.read(0, 100)] == ONE_OF_EACH
    copy.close()
    with pytest.raises(StoreError, match="never overwrites"):
        sqlite_log.backup(tmp_path / "copy.db")
    with pytest.raises(StoreError, match="failed"):
        sqlite_log.backup(tmp_path / "missing" / "copy.db")


def test_reads_on_other_threads_see_whole_groups_only(sqlite_log: SqliteLog) -> None:
    done, seen = threading.Event(), set()

    def follow() -> None:
        while not done.is_set():
            seen.add(len(sqlite_log.read(0, 10_000)))

    follower = threading.Thread(target=follow)
    follower.start()
    for k in range(30):
        sqlite_log.append([view(100 * k + j) for j in range(50)])
    done.set()
    follower.join()
    assert {n % 50 for n in seen} == {0}


def test_size_counts_the_write_ahead_part(sqlite_log: SqliteLog) -> None:
    before = sqlite_log.size_bytes()
    sqlite_log.append([view(k) for k in range(2_000)])
    assert sqlite_log.size_bytes() > before + 2_000 * 100


def test_an_id_with_a_zero_in_it_is_known_again_and_erased(sqlite_log: SqliteLog) -> None:
    odd = [
        Interaction(type="view", event_id=name, ts=1, anon_id="a\0b", item_id="i") for name in ("\0", "e\0f", "e\0g")
    ]
    assert sqlite_log.append(odd[:2]) == [1, 2]
    assert sqlite_log.append(odd) == [0, 0, 3]
    assert [event.event_id for event in sqlite_log.events_of(None, ["a\0b"])] == ["\0", "e\0f", "e\0g"]
    assert sqlite_log.events_of(None, ["a"]) == []
    assert sqlite_log.erase_user(None, ["a\0b"]) == 3


def test_a_file_of_the_first_version_gets_what_it_lacks(tmp_path: Path) -> None:
    SqliteLog(tmp_path / "log.db").close()
    raw = sqlite3.connect(tmp_path / "log.db")
    raw.executescript("ALTER TABLE quarantine DROP COLUMN source; PRAGMA user_version = 1")
    raw.close()
    log = SqliteLog(tmp_path / "log.db")
    log.append([], [RefusedRecord(Refusal(index=0, code="c", message="m"), b"raw", 1, "segment")])
    assert log.quarantine()[0].source == "segment"
    log.close()
