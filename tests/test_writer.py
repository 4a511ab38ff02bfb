"""The writer: many submissions, few commits, every answer exactly once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from endcap.errors import Overloaded, StoreError
from endcap.events.writer import Group, Writer
from endcap.preprocess.decode import RefusedRecord
from endcap.protocols import Refused
from endcap.stores.memory import MemoryLog
from endcap.stores.sqlite import SqliteLog
from endcap.types import Ack, Event, Interaction, Refusal

WAIT_S = 20.0


def view(k: int) -> Interaction:
    return Interaction(type="view", event_id=f"e{k}", ts=1_700_000_000_000, user_id="ann", item_id="i")


class SlowLog(MemoryLog):
    """Holds every append until it is let go, so that a test decides what gathers in the meantime."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Semaphore(0)
        self.busy = threading.Event()
        self.groups: list[int] = []
        self.fail: BaseException | None = None

    def append(self, events: Sequence[Event], refused: Sequence[Refused] = ()) -> list[int]:
        self.busy.set()
        assert self.go.acquire(timeout=WAIT_S)
        if self.fail is not None:
            failure, self.fail = self.fail, None
            raise failure
        self.groups.append(len(events))
        return super().append(events, refused)


class Answers:
    """Collects answers by submission, and counts them."""

    def __init__(self) -> None:
        self.got: dict[int, list[Ack | BaseException]] = {}

    def of(self, k: int) -> Callable[[Ack | BaseException], None]:
        return self.got.setdefault(k, []).append


def acknowledge(group: Group) -> None:
    """What an engine does, without the fold."""
    for submission in group.submissions:
        submission.answer(submission.ack(group.stored[-1].offset if group.stored else 0))


@pytest.fixture
def slow() -> Iterator[SlowLog]:
    log = SlowLog()
    yield log
    for _ in range(100):
        log.go.release()


def test_what_waits_while_the_disk_works_becomes_one_group(slow: SlowLog) -> None:
    answers = Answers()
    writer = Writer(slow, acknowledge)
    writer.submit([view(0)], (), answers.of(0))
    assert slow.busy.wait(WAIT_S)
    for k in range(1, 6):
        writer.submit([view(k), view(k + 100)], (), answers.of(k))
    assert writer.pending == 11
    slow.go.release()
    slow.go.release()
    writer.close()
    assert slow.groups == [1, 10]
    assert writer.pending == 0
    assert answers.got == {
        0: [Ack(accepted=1, offset=1, durable=False)],
        **{k: [Ack(accepted=2, offset=11, durable=False)] for k in range(1, 6)},
    }


def test_a_group_stops_growing_at_its_limit(slow: SlowLog) -> None:
    writer = Writer(slow, acknowledge, group_max=4)
    writer.submit([view(0)], (), Answers().of(0))
    assert slow.busy.wait(WAIT_S)
    for k in range(1, 6):
        writer.submit([view(10 * k), view(10 * k + 1)], (), Answers().of(k))
    for _ in range(9):
        slow.go.release()
    writer.close()
    assert slow.groups == [1, 4, 4, 2]


def test_duplicates_and_refusals_are_counted_per_submission(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    refusal = Refusal(index=1, code="bad_time", message="no")
    answers, groups = Answers(), []

    def deliver(group: Group) -> None:
        groups.append(group)
        acknowledge(group)

    writer = Writer(log, deliver)
    writer.submit([view(1), view(2), view(1)], [RefusedRecord(refusal, b"{}", 5)], answers.of(0))
    writer.close()
    assert answers.got[0] == [Ack(accepted=2, duplicates=1, rejected=[refusal], offset=2)]
    assert [entry.offset for entry in groups[0].stored] == [1, 2]
    assert log.quarantine()[0].code == "bad_time"
    log.close()


def test_refusals_without_events_are_written_too(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    answers = Answers()
    writer = Writer(log, acknowledge)
    refusal = Refusal(index=0, code="bad_time", message="no")
    writer.submit([], [RefusedRecord(refusal, b"{}", 5)], answers.of(0))
    writer.close()
    assert answers.got[0] == [Ack(accepted=0, rejected=[refusal])]
    assert len(log.quarantine()) == 1
    log.close()


def test_a_failed_commit_fails_its_group_and_no_other(slow: SlowLog) -> None:
    answers = Answers()
    writer = Writer(slow, acknowledge, group_max=1)
    slow.fail = StoreError("the disk is full")
    for k in range(3):
        writer.submit([view(k)], (), answers.of(k))
    for _ in range(3):
        slow.go.release()
    writer.close()
    (failure,) = answers.got[0]
    assert isinstance(failure, StoreError)
    assert [len(answers.got[k]) for k in (1, 2)] == [1, 1]
    assert all(isinstance(answers.got[k][0], Ack) for k in (1, 2))
    assert slow.count() == 2


def test_too_many_waiting_events_are_refused_and_nothing_of_them_is_taken(slow: SlowLog) -> None:
    answers = Answers()
    writer = Writer(slow, acknowledge, max_pending=10)
    writer.submit([view(k) for k in range(8)], (), answers.of(0))
    with pytest.raises(Overloaded, match="max_pending_events") as shed:
        writer.submit([view(k) for k in range(100, 103)], (), answers.of(1))
    assert shed.value.retry_after_s >= 1
    writer.submit([view(200), view(201)], (), answers.of(2))
    slow.go.release()
    slow.go.release()
    writer.close()
    assert slow.count() == 10
    assert answers.got[1] == []


def test_one_batch_above_the_limit_is_taken_when_nothing_waits(slow: SlowLog) -> None:
    answers = Answers()
    writer = Writer(slow, acknowledge, max_pending=3)
    slow.go.release()
    writer.submit([view(k) for k in range(9)], (), answers.of(0))
    writer.close()
    assert answers.got[0] == [Ack(accepted=9, offset=9, durable=False)]


def test_closing_commits_what_waits_and_takes_no_more(slow: SlowLog) -> None:
    answers = Answers()
    writer = Writer(slow, acknowledge, group_max=2)
    for k in range(7):
        writer.submit([view(k)], (), answers.of(k))
    for _ in range(7):
        slow.go.release()
    writer.close()
    writer.close()
    assert slow.count() == 7
    assert all(len(got) == 1 for got in answers.got.values())
    with pytest.raises(StoreError, match="closing"):
        writer.submit([view(9)], (), answers.of(9))


def test_a_failing_delivery_still_answers_everybody_and_the_thread_lives(slow: SlowLog) -> None:
    answers, calls = Answers(), []

    def deliver(group: Group) -> None:
        calls.append(group)
        group.submissions[0].answer(group.submissions[0].ack(1))
        if len(calls) == 1:
            raise RuntimeError("the loop is closed")
        acknowledge(group)

    writer = Writer(slow, deliver, group_max=2)
    for k in range(4):
        writer.submit([view(k)], (), answers.of(k))
    for _ in range(4):
        slow.go.release()
    writer.close()
    assert [len(got) for got in answers.got.values()] == [1, 1, 1, 1]
    broken = [k for k, got in answers.got.items() if isinstance(got[0], RuntimeError)]
    assert len(broken) == len(calls[0].submissions) - 1


def test_a_failing_callback_costs_nobody_else_an_answer(slow: SlowLog, caplog: pytest.LogCaptureFixture) -> None:
    answers = Answers()

    def rude(_result: Ack | BaseException) -> None:
        raise ValueError("no thanks")

    writer = Writer(slow, acknowledge)
    writer.submit([view(0)], (), rude)
    writer.submit([view(1)], (), answers.of(1))
    slow.go.release()
    slow.go.release()
    writer.close()
    assert len(answers.got[1]) == 1
    assert isinstance(answers.got[1][0], Ack)
    assert "callback" in caplog.text


def test_many_threads_get_one_answer_each_and_every_event_is_stored_once(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db", "os")
    answers = Answers()
    for k in range(400):
        answers.of(k)
    writer = Writer(log, acknowledge, group_max=64)

    def send(first: int) -> None:
        for k in range(first, first + 100):
            writer.submit([view(k), view(k + 1)], (), answers.of(k))  # neighbours overlap: half are duplicates

    threads = [threading.Thread(target=send, args=(first,)) for first in range(0, 400, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    acks = [got[0] for got in answers.got.values() if len(got) == 1 and isinstance(got[0], Ack)]
    assert len(acks) == 400
    assert sum(ack.accepted for ack in acks) == log.count() == 401
    assert sum(ack.duplicates for ack in acks) == 399
    stored = [entry.event.event_id for entry in log.read(0, 1_000)]
    assert sorted(stored) == sorted({f"e{k}" for k in range(401)})
    log.close()


def test_submissions_wait_for_the_end_of_the_turn_and_then_all_go() -> None:
    answers, asked, log = Answers(), list[Callable[[], None]](), MemoryLog()
    writer = Writer(log, acknowledge)
    writer.hand_over_by(asked.append)
    for k in range(5):
        writer.submit([view(k)], (), answers.of(k))
    assert len(asked) == 1  # asked for once a turn
    assert (writer.pending, log.last_offset()) == (5, 0)
    asked.pop()()
    writer.submit([view(5)], (), answers.of(5))
    assert len(asked) == 1
    writer.close()  # does not wait for a loop that may be gone
    asked.pop()()
    assert log.last_offset() == 6
    assert [len(got) for got in answers.got.values()] == [1] * 6
