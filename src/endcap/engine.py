"""The corridor that joins the rooms.

    observe(event):   validate -> append to the log (group commit, fsync) -> fold -> acknowledge
    recommend(query): read interest -> retrieve -> filter -> score -> compose -> guard          (never writes)
    serve(query):     recommend, then the impression is observed like any other event

``Engine`` wires and nothing else: the write side's meaning is in ``State``, the read side's in ``Recommender``.
Everything that touches folded state holds one lock; kernels are short, so one thread at a time is the fastest
arrangement in one process. Commits wait for the disk on the writer's thread, outside the lock.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

import msgspec

from endcap.config import Config
from endcap.diagnosis import Finding, findings
from endcap.duel import answer as answer_of
from endcap.errors import NotFound, Overloaded, StoreError
from endcap.events.writer import Group, Schedule, Writer, at_once
from endcap.feedback.experiments import Experiments, unit_of
from endcap.feedback.impressions import impression_of
from endcap.preprocess.decode import RefusedRecord
from endcap.preprocess.validate import validate
from endcap.protocols import EventLog, Ranker, Refused
from endcap.recommend import Recommender
from endcap.runtime import Runtime
from endcap.search import checked, search, vector_of
from endcap.sources import Trained, prepared
from endcap.state import SCHEMA, State, fold_settings
from endcap.stores.snapshots import FileSnapshotter
from endcap.stores.sqlite import SqliteLog
from endcap.types import (
    Ack,
    Erasure,
    Event,
    ImpressionName,
    Interaction,
    InterestView,
    Item,
    ItemChange,
    Query,
    Refusal,
    Slate,
    Stored,
    User,
    UserChange,
    UserNeighbour,
)

REPLAY_CHUNK = 20_000
READ_AT_START = 50_000  # catalogue records turned into vectors before the first answer; more follow in slices
READ_AT_ONCE = 512  # records of one slice: some 15 ms

Progress = Callable[[str, int, int], None]  # stage, done, total
Answer = Callable[[Ack | BaseException], None]


def silent(_stage: str, _done: int, _total: int) -> None:
    """No progress wanted."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """How an engine came back: from what, how much it replayed, how long it took."""

    from_snapshot: bool
    snapshot_offset: int
    replayed: int
    seconds: float


class Engine:
    """One shop's personalization engine. Build it with ``Engine.open``; close it when done."""

    def __init__(
        self, log: EventLog, config: Config, runtime: Runtime, snapshots: FileSnapshotter | None = None,
        progress: Progress = silent, new_state: Callable[[Config], State] = State,
    ) -> None:  # fmt: skip
        self.log = log
        self.directory: Path | None = None  # where ``open`` found the log; trained models lie beside it
        self.config = config
        self.runtime = runtime
        self._snapshots = snapshots
        self._lock = threading.RLock()
        self._schedule = at_once  # where folds run
        self.experiments = Experiments((), config.placements)  # what runs now; replaced whole
        self._snapshot_thread: threading.Thread | None = None
        self._new_state = new_state
        self.state, self.recovered = self._recover(progress)
        self._recommender = Recommender(self.state, config)
        self._recommender.sources.catch_up(READ_AT_START)
        self._snapshot_offset = self.recovered.snapshot_offset
        self._writer = Writer(
            log, self._deliver, group_max=config.log.group_max, max_pending=config.server.max_pending_events
        )

    @classmethod
    def open(
        cls, directory: str | Path, config: Config | None = None, runtime: Runtime | None = None,
        progress: Progress = silent,
    ) -> Engine:  # fmt: skip
        """Open or create the data directory: one SQLite file and its snapshots.

        Raises ``StoreLocked`` when another process writes it, ``CorruptStore`` when a checksum fails.
        """
        directory, config, runtime = Path(directory), config or Config(), runtime or Runtime()
        directory.mkdir(parents=True, exist_ok=True)
        log = SqliteLog(directory / "endcap.db", config.log.durability, runtime)
        snapshots = FileSnapshotter(directory / "snapshots", config.snapshot.keep, runtime)
        engine = cls(log, config, runtime, snapshots, progress)
        engine.directory = directory
        return engine

    # ------------------------------------------------------------ write

    def observe(self, events: Sequence[Event]) -> Ack:
        """Validate, store durably, fold; returns when the next answer knows these events.

        A refused event is in ``Ack.rejected`` and in the quarantine; the others of the batch are taken.
        """
        now = self.runtime.now()
        taken: list[Event] = []
        refusals: list[Refusal] = []
        for index, event in enumerate(events):
            if not isinstance(event, Interaction):
                taken.append(as_logged(event))
                continue
            checked = validate(event, now=event.received_at or now, config=self.config.clean, index=index)
            if isinstance(checked, Refusal):
                refusals.append(checked)
            else:
                taken.append(checked)
        refused = [RefusedRecord(refusal, msgspec.json.encode(events[refusal.index]), now) for refusal in refusals]
        return self.submit(taken, refused).result()

    def submit(self, events: Sequence[Event], refused: Sequence[Refused] = ()) -> Future[Ack]:
        """Queue events that are valid already. The future is done when they are durable and folded."""
        future: Future[Ack] = Future()

        def answer(result: Ack | BaseException) -> None:
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.submit_nowait(events, refused, answer)
        return future

    def submit_nowait(self, events: Sequence[Event], refused: Sequence[Refused], answer: Answer) -> None:
        """Like ``submit``, but calls ``answer`` where folds run (see ``deliver_on``). Raises ``Overloaded``."""
        self._writer.submit(events, refused, answer)

    def deliver_on(self, schedule: Schedule) -> None:
        """Run folds and answers through ``schedule``: a server passes its loop's ``call_soon_threadsafe``."""
        self._schedule = schedule
        self._writer.hand_over_by(schedule)
        schedule(self._catch_up)

    def _deliver(self, group: Group) -> None:
        self._schedule(lambda: self._fold(group))

    def _fold(self, group: Group) -> None:
        """Fold one durable group, then acknowledge each of its submissions."""
        failure: BaseException | None = None
        with self._lock:
            try:
                self.state.fold([entry for entry in group.stored if entry.offset > self.state.offset])
            except Exception as broken:  # the log has it: the answer must not claim that this process knows it
                failure = StoreError(f"the events are stored, but folding them failed: {broken!r}; restart to rebuild")
                failure.__cause__ = broken
            offset = self.state.offset
            self._recommender.sources.follow(group.stored)
        for submission in group.submissions:
            submission.answer(failure or submission.ack(offset))
        self._schedule(self._catch_up)  # once the acknowledgements are out
        if offset - self._snapshot_offset >= self.config.snapshot.every_events:
            self.snapshot(wait=False)

    def _catch_up(self) -> None:
        """Read new and changed items, and when no event waits, look ahead; in slices: requests come in between."""
        sliced = self._schedule is not at_once
        with self._lock:
            sources = self._recommender.sources
            left = sources.catch_up(READ_AT_ONCE if sliced else READ_AT_START)
            ahead = not left and not self._writer.pending and sources.look_ahead()
        if ahead or (left and sliced):
            self._schedule(self._catch_up)

    def put_items(self, items: Sequence[Item]) -> Ack:
        """Create or replace catalogue records."""
        return self.submit(self.item_changes([(item.item_id, item) for item in items])).result()

    def delete_items(self, item_ids: Sequence[str]) -> Ack:
        """Take items out of every later slate."""
        return self.submit(self.item_changes([(item_id, None) for item_id in item_ids])).result()

    def put_user(self, user: User) -> Ack:
        """Create or replace what the shop says about a user."""
        return self.submit([self.user_change(user)]).result()

    def item_changes(self, records: Sequence[tuple[str, Item | None]]) -> list[Event]:
        """Catalogue events for ``submit``; None deletes."""
        now = self.runtime.now()
        new_id = self.runtime.new_id
        return [
            as_logged(ItemChange(event_id=f"item:{new_id()}", item_id=name, ts=now, received_at=now, item=record))
            for name, record in records
        ]

    def user_change(self, user: User) -> Event:
        """A user event for ``submit``."""
        now = self.runtime.now()
        event_id = f"user:{self.runtime.new_id()}"
        return as_logged(UserChange(event_id=event_id, user_id=user.user_id, ts=now, received_at=now, user=user))

    def replay(self, events: Sequence[Event]) -> list[Refusal]:
        """Fold events in the order given, on this thread, without the log: for runs on a virtual clock.

        Interactions are validated as on the way in; the refusals come back. An engine that keeps a log must not be used
        like this: its next start would not know these events.
        """
        stored: list[Stored] = []
        refusals: list[Refusal] = []
        for index, event in enumerate(events):
            checked: Event | Refusal = event
            if isinstance(event, Interaction):
                now = event.received_at or self.runtime.now()
                checked = validate(event, now=now, config=self.config.clean, index=index)
            if isinstance(checked, Refusal):
                refusals.append(checked)
            else:
                stored.append(Stored(self.state.offset + len(stored) + 1, checked))
        with self._lock:
            self.state.fold(stored)
            self._recommender.sources.catch_up(len(stored))
        return refusals

    # ------------------------------------------------------------ read

    @property
    def recommender(self) -> Recommender:
        """The read side, for evaluation and training; not to be kept across a rebuild."""
        return self._recommender

    @property
    def offset(self) -> int:
        """The newest event that answers already know."""
        return self.state.offset

    @property
    def ranker(self) -> Ranker:
        """What scores candidates."""
        return self._recommender.ranker

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the feature row's columns, in order: what a ranker of your own is given."""
        return self._recommender.rows.columns

    def use_ranker(self, ranker: Ranker | None) -> None:
        """Swap the ranker between two requests; None returns to the fixed weights."""
        with self._lock:
            self._recommender.use_ranker(ranker)

    def use_model(self, kind: str, model: Trained | None) -> None:
        """Swap what the source ``kind`` was trained to, between two requests; None = nothing.

        A content space serves once the catalogue has been read with it, in slices; until then the old one does.
        ``ArtifactError`` when the model cannot be right: what served goes on.
        """
        ready = prepared(kind, model)
        with self._lock:
            self._recommender.sources.use(kind, model, ready)
        self._catch_up()

    def recommend(self, query: Query, impression: ImpressionName = "not_asked") -> Slate:
        """The answer to one query; never writes (law L3).

        With ``impression`` "logged" the caller logs it as shown, so arms are drawn and places tried out.
        """
        with self._lock:
            asked = self.experiments.assign(query.placement, unit_of(query))
            t_ms, request_id = query.ts or self.runtime.now(), self.runtime.new_id()
            return answer_of(self._recommender, query, t_ms, request_id, impression, asked)

    def search(self, text: str, query: Query) -> Slate:
        """Items that answer typed words, best first; never writes (search.py). The first one reads the catalogue."""
        vector = vector_of(self._recommender, checked(text))
        while True:
            with self._lock:
                if self._recommender.sources.terms.is_ready(READ_AT_ONCE):
                    t_ms, request_id = query.ts or self.runtime.now(), self.runtime.new_id()
                    return search(self._recommender, checked(text), query, t_ms, request_id, vector)
            sleep(0.0)  # others want the lock too

    def serve(self, query: Query) -> Slate:
        """``recommend``, and the impression is observed: the arrow from the slate back to the log."""
        slate = self.recommend(query, self.may_log(query))
        if slate.impression == "logged" and slate.items:
            try:
                stored = self.submit([impression_of(query, slate)])
                if self.config.feedback.wait_for_log:
                    stored.result()
            except (Overloaded, StoreError):  # the shopper's slate matters more than the note that it was shown
                return msgspec.structs.replace(slate, impression="overloaded")
        return slate

    def may_log(self, query: Query) -> ImpressionName:
        """Whether a slate for this query is to be logged as shown: machines are not shoppers."""
        is_bot = self.state.cleaner.is_bot(self.state.user_of(query), (query.ts or self.runtime.now()) // 1000)
        return "bot" if is_bot else "logged"

    def scores(self, query: Query, item_ids: Sequence[str]) -> dict[str, float]:
        """The ranker's score of given items for a query, whether or not a source proposes them."""
        with self._lock:
            return self._recommender.scores(query, query.ts or self.runtime.now(), item_ids)

    def item(self, item_id: str) -> Item:
        """The catalogue record. ``NotFound`` when it was never sent or is deleted."""
        with self._lock:
            record = self.state.catalogue.record(self.state.items.get(item_id))
        if record is None:
            raise NotFound(f"no item {item_id[:80]!r} in the catalogue; add it with PUT /v1/items/{{id}}")
        return record

    def items(self, after: str | None = None, n: int = 100) -> list[Item]:
        """Catalogue records in order of first appearance, a page at a time.

        ``after`` is the last id of the page before; ``NotFound`` when it is unknown.
        """
        with self._lock:
            state, found = self.state, list[Item]()
            dense = -1 if after is None else state.items.get(after)
            if after is not None and dense < 0:
                raise NotFound(f"no item {after[:80]!r}; `after` takes the last item_id of the page before")
            while len(found) < n and dense + 1 < len(state.items):
                dense += 1
                record = state.catalogue.record(dense)
                if record is not None:
                    found.append(record)
            return found

    def findings(self, query: Query, item_id: str | None = None) -> list[Finding]:
        """Why the answer to ``query`` is as general as it is, or why ``item_id`` is not in it."""
        with self._lock:
            return findings(self._recommender, query, query.ts or self.runtime.now(), item_id)

    def stats(self) -> dict[str, int]:
        """Sizes and counts, among them what each cleaning rule caught."""
        with self._lock:
            state = self.state
            counts = {"offset": state.offset, "users": len(state.users), "items": len(state.items)}
            counts["sessions"] = state.cleaner.n_sessions
            counts["state_bytes"] = sum(array.nbytes for array in state.arrays().values())
            return counts | {f"cleaned_{rule}": n for rule, n in state.cleaner.counts().items()}

    def user(self, user_id: str) -> User:
        """The shop's record of a user; a bare one when only events are known. ``NotFound`` when neither is."""
        with self._lock:
            dense = self.state.users.get("u" + user_id)
            if dense < 0:
                raise NotFound(f"no user {user_id[:80]!r}: no record and no event so far")
            return self.state.people.record(dense) or User(user_id=user_id)

    def interest(self, user_id: str | None, anon_id: str | None = None) -> InterestView:
        """What the engine believes this shopper wants now."""
        with self._lock:
            return self._recommender.view(Query(user_id=user_id, anon_id=anon_id), self.runtime.now())

    def similar_users(self, user_id: str, n: int = 10) -> list[UserNeighbour]:
        """Known users with the most similar histories."""
        with self._lock:
            return self._recommender.similar_users(user_id, n)

    # ------------------------------------------------------------ people's rights

    def export_user(self, user_id: str) -> list[Event]:
        """Every event the log holds of a user and of the anonymous ids linked to them."""
        with self._lock:
            anon_ids = self.state.anon_ids(user_id)
        return self._sqlite().events_of(user_id, anon_ids)

    def erase(self, user_id: str | None, anon_id: str | None = None, progress: Progress = silent) -> Erasure:
        """Remove a person from the log and fold what is left anew, so that nothing derived remembers them (law L8).

        The old state keeps serving others during the rebuild; the person's own history is unknown at once.
        """
        with self._lock:
            anon_ids = self.state.anon_ids(user_id) if user_id else []
            if anon_id:
                anon_ids = [*anon_ids, anon_id]
            self.state.forget(user_id, anon_ids)
        person_item = self.state.persons.item_id(user_id) if user_id else ""
        removed = self._sqlite().erase_user(user_id, anon_ids, person_item)
        if self._snapshots:
            self._snapshots.clear()
        now = self.runtime.now()
        secret = self._sqlite().secret()
        person = hashlib.blake2b((user_id or anon_id or "").encode(), key=secret, digest_size=16).hexdigest()
        receipt = Erasure(
            event_id=f"erase:{self.runtime.new_id()}", user_hash=person, ts=now, received_at=now, n_events=removed
        )
        self.submit([receipt]).result()
        self.rebuild(progress)
        return receipt

    def _sqlite(self) -> SqliteLog:
        if not isinstance(self.log, SqliteLog):
            raise StoreError(f"this needs the SQLite log; got {type(self.log).__name__}")
        return self.log

    # ------------------------------------------------------------ recover, snapshot, swap

    def _schema(self) -> str:
        """Snapshots fit only a state of the same layout that was folded with the same settings."""
        c = self.config
        settings = msgspec.json.encode(fold_settings(c))
        return f"{SCHEMA}:{State(c).layout()}:{hashlib.blake2b(settings, digest_size=8).hexdigest()}"

    def _recover(self, progress: Progress) -> tuple[State, Recovered]:
        began = perf_counter()
        state = self._new_state(self.config)
        saved = self._snapshots.load(self._schema()) if self._snapshots else None
        if saved is not None and saved[0] <= self.log.last_offset():
            state.load(*saved)
        start = state.offset
        replayed = self._replay(state, progress)
        return state, Recovered(start > 0, start, replayed, perf_counter() - began)

    def _replay(self, state: State, progress: Progress = silent) -> int:
        """Fold what the log holds beyond ``state.offset``; gives the number of events."""
        total, first, count = self.log.last_offset(), state.offset, 0
        while chunk := self.log.read(state.offset, REPLAY_CHUNK):
            state.fold(chunk)
            count += len(chunk)
            progress("replay", state.offset - first, max(total - first, 1))
        return count

    def rebuild(self, progress: Progress = silent) -> int:
        """Fold the whole log into a new state beside the serving one, then swap. Gives the number of events."""
        fresh = self._new_state(self.config)
        count = self._replay(fresh, progress)
        with self._lock:
            count += self._replay(fresh)
            self.state = fresh
            self._recommender = self._recommender.over(fresh)
            self._recommender.sources.catch_up(READ_AT_START)
        return count

    def snapshot(self, wait: bool = True) -> None:
        """Save the folded state. Copying holds the lock for milliseconds; writing does not."""
        if self._snapshots is None or (self._snapshot_thread is not None and self._snapshot_thread.is_alive()):
            return
        with self._lock:
            if (offset := self.state.offset) == 0:
                return
            arrays = {name: array.copy() for name, array in self.state.arrays().items()}
            self._snapshot_offset = offset
        writer = threading.Thread(
            target=self._snapshots.save, args=(offset, arrays, self._schema()), name="endcap-snapshot", daemon=True
        )
        self._snapshot_thread = writer
        writer.start()
        if wait:
            writer.join()

    def close(self, snapshot: bool = True) -> None:
        """Finish pending writes, save a snapshot, release the directory."""
        self._writer.close()
        if self._snapshot_thread is not None:
            self._snapshot_thread.join()
        if snapshot and self.state.offset > self._snapshot_offset:
            self.snapshot()
        self.log.close()

    def state_hash(self) -> str:
        """Equal for engines that know the same."""
        with self._lock:
            return self.state.hash()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def as_logged(event: Event) -> Event:
    """The event as a replay will read it: ``price=8`` becomes 8.0, NaN becomes none. What is folded live is that."""
    logged: Event = msgspec.json.decode(msgspec.json.encode(event), type=Event)
    return logged
