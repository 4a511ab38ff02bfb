"""The writer: one thread that turns many small writes into few commits.

Idea: whoever wants to write hands over a ``Submission`` and goes on. The writer thread takes everything that waits, up
to ``group_max`` events, and appends it with one commit. While the disk works the next group gathers, so the group size
follows the load by itself: one event per commit when it is quiet, thousands when it is busy. No timer, no tuning.
A server hands over what one turn of its loop brought in one piece (``hand_over_by``): woken for every single event, the
thread would commit them one by one and compete with the loop for the interpreter.

Order: commit, then ``deliver(group)``, which folds and answers. An answer is given exactly once, where the group was
delivered: an ``Ack`` when it is durable and folded, the exception when it is not.

Bounded: beyond ``max_pending`` waiting events ``submit`` raises ``Overloaded`` and takes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from endcap.errors import Overloaded, StoreError
from endcap.protocols import EventLog, Refused
from endcap.types import Ack, Event, Stored

Answer = Callable[[Ack | BaseException], None]
Schedule = Callable[[Callable[[], None]], object]  # runs a call soon, in order, on a thread of its own choice
at_once: Schedule = lambda call: call()  # noqa: E731  # where there is no loop


class Submission:
    """One caller's events on their way to the log. ``offsets`` are set by the commit, 0 = duplicate."""

    __slots__ = ("_answer", "durable", "events", "failure", "offsets", "refused")

    def __init__(self, events: Sequence[Event], refused: Sequence[Refused], answer: Answer) -> None:
        self.events = events
        self.refused = refused
        self.offsets: list[int] = []
        self.durable = True
        self.failure: BaseException | None = None
        self._answer: Answer | None = answer

    def ack(self, offset: int) -> Ack:
        """What to tell the caller; ``offset`` is the newest one folded."""
        duplicates = self.offsets.count(0)
        return Ack(
            accepted=len(self.offsets) - duplicates,
            duplicates=duplicates,
            rejected=[record.refusal for record in self.refused],
            offset=offset,
            durable=self.durable,
        )

    def answer(self, result: Ack | BaseException) -> None:
        """Tell the caller, once. A failed commit outranks ``result``: nothing unstored is ever acknowledged."""
        callback, self._answer = self._answer, None
        if callback is None:
            return
        try:
            callback(result if self.failure is None else self.failure)
        except Exception:  # one caller's mistake must not cost the others of the group their answers
            logging.getLogger(__name__).exception("the callback of a submission failed")


@dataclass(frozen=True, slots=True)
class Group:
    """What one commit made durable: ``stored`` in log order without duplicates; empty when the commit failed."""

    stored: list[Stored]
    submissions: list[Submission]


class Writer:
    """Owns the thread that appends to ``log``.

    ``deliver`` is called on that thread after each commit, and must see to it that every submission of the group is
    answered. An exception of an append fails the submissions of its group and no others.
    """

    def __init__(
        self,
        log: EventLog,
        deliver: Callable[[Group], None],
        *,
        group_max: int = 4_096,
        max_pending: int = 50_000,
    ) -> None:
        self._log = log
        self._deliver = deliver
        self._group_max = group_max
        self._max_pending = max_pending
        self._queue: SimpleQueue[Submission | None] = SimpleQueue()
        self._turn: list[Submission] = []  # taken in, not handed over yet; written under the lock
        self._schedule = at_once
        self._lock = threading.RLock()
        self._submitted = 0  # events ever taken in; written under the lock
        self._done = 0  # events ever delivered; written by the thread alone
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="endcap-writer", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Events that wait for the disk."""
        return self._submitted - self._done

    def submit(self, events: Sequence[Event], refused: Sequence[Refused], answer: Answer) -> None:
        """Queue events and refusals for the next commit; ``answer`` is called once, where the group is delivered.

        Raises ``Overloaded`` when too many events wait, ``StoreError`` after ``close``.
        """
        n = len(events)
        with self._lock:
            if self._closed:
                raise StoreError("the engine is closing; no more events are taken")
            waiting = self._submitted - self._done
            if waiting and waiting + n > self._max_pending:
                raise Overloaded(
                    f"{waiting} events wait for the disk, the limit is {self._max_pending} "
                    f"(server.max_pending_events); send again in a second",
                    retry_after_s=1,
                )
            self._submitted += n
            self._turn.append(Submission(events, refused, answer))
            first = len(self._turn) == 1
        if first:
            self._schedule(self._hand_over)

    def hand_over_by(self, schedule: Schedule) -> None:
        """Let ``schedule`` decide when the thread hears of new submissions; what waits then comes in one piece."""
        self._schedule = schedule

    def _hand_over(self) -> None:
        with self._lock:
            for submission in self._turn:
                self._queue.put(submission)
            self._turn.clear()

    def close(self) -> None:
        """Commit and deliver what waits, then stop. Harmless when called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._hand_over()
                self._queue.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # ------------------------------------------------------------ on the thread

    def _run(self) -> None:
        closing = False
        while not closing:
            first = self._queue.get()
            if first is None:
                return
            submissions, closing = self._gather(first)
            self._commit(submissions)

    def _gather(self, first: Submission) -> tuple[list[Submission], bool]:
        """Everything that waits now, up to ``group_max`` events; and whether the end of the queue was met."""
        submissions, n = [first], len(first.events)
        while n < self._group_max:
            try:
                following = self._queue.get_nowait()
            except Empty:
                break
            if following is None:
                return submissions, True
            submissions.append(following)
            n += len(following.events)
        return submissions, False

    def _commit(self, submissions: list[Submission]) -> None:
        if len(submissions) == 1:
            events, refused = submissions[0].events, submissions[0].refused
        else:
            events = [event for submission in submissions for event in submission.events]
            refused = [record for submission in submissions for record in submission.refused]
        stored: list[Stored] = []
        try:
            offsets = self._log.append(events, refused)
        except BaseException as failure:
            for submission in submissions:
                submission.failure = failure
        else:
            stored = [Stored(at, event) for at, event in zip(offsets, events, strict=True) if at]
            begin = 0
            for submission in submissions:
                submission.durable = self._log.durable
                submission.offsets = offsets[begin : begin + len(submission.events)]
                begin += len(submission.events)
        self._done += len(events)
        try:
            self._deliver(Group(stored, submissions))
        except BaseException as failure:  # nobody may wait for an answer for ever, and the thread must live
            for submission in submissions:
                submission.answer(failure)
