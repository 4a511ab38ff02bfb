"""What the handlers share: the engine, the settings, the counters, and the two ways of waiting for the log.

Everything here runs on the server's one loop thread. Folds run there too (``Engine.deliver_on``), so an acknowledgement
that a handler awaits means that the very next answer knows the event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from endcap.config import Config
from endcap.engine import Engine
from endcap.errors import Behind, InvalidInput, NotFound, Overloaded, StoreError
from endcap.feedback.impressions import impression_of
from endcap.protocols import Refused
from endcap.search import PLACEMENT as SEARCH
from endcap.server.gauges import disk_gauges, state_gauges
from endcap.server.meters import Meters
from endcap.server.metrics import Metrics
from endcap.server.wire import Throttled
from endcap.types import Ack, Event, Query, Slate

if TYPE_CHECKING:
    from endcap.server.feeds import Feeds
    from endcap.server.models import ModelWatch
    from endcap.server.training import Training

MAX_ID_BYTES = 256
MAX_SLATE = 200
MAX_QUERY_ITEMS = 200
MAX_EXCLUDE = 1_000
LAST_MS = 4_102_444_800_000  # the year 2100; folded state counts whole seconds in 32 bits
POLL_S = 0.002
LINGER, LINGER_S = 256, 0.02  # impressions handed to the log together, and how long the first one waits


class Service:
    """The engine as the routes use it."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self.engine = engine
        self.config = config
        self.pending_events = 0  # sent to the log, not yet acknowledged
        self.draining = False
        self.tails = 0  # live views under way
        self._shown: list[Event] = []  # impressions on their way to the log
        self.patching = asyncio.Lock()
        self.surveying = asyncio.Lock()  # of the catalogue, for its quality: one at a time
        self.openapi = b""
        self.adapters: dict[tuple[type, bool], Any] = {}  # of other platforms, made when first asked for
        self.feeds: Feeds | None = None  # set where a server reads feeds
        self.models: ModelWatch | None = None  # set where a server has a data directory
        self.training: Training | None = None
        self.started_at = engine.runtime.now()
        self.sources: Mapping[str, str] | None = None  # of the settings; None: the engine was built in Python
        self.meters = Meters()
        self.metrics = Metrics(config.placements, self.gauges, lambda: engine.state.cleaner.counts())

    def gauges(self) -> dict[str, float]:
        """Figures that are read, not counted."""
        return {
            "pending_events": float(self.pending_events),
            "draining": float(self.draining),
            **state_gauges(self.engine),
            **disk_gauges(self.engine),
        }

    def title_of(self, item_id: str) -> str | None:
        """What people call an item; None where the catalogue does not say."""
        try:
            return self.engine.item(item_id).title
        except NotFound:
            return None

    async def write(self, events: Sequence[Event], refused: Sequence[Refused] = ()) -> Ack:
        """Make events durable and fold them. Raises ``Throttled`` when too many wait already."""
        done: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()

        def answer(result: Ack | BaseException) -> None:
            if done.done():  # the handler was cancelled; the events are stored all the same
                return
            if isinstance(result, BaseException):
                done.set_exception(result)
            else:
                done.set_result(result)

        self.log_shown()
        try:
            self.engine.submit_nowait(events, refused, answer)
        except Overloaded as full:
            raise Throttled(full.message, retry_after_s=full.retry_after_s) from full
        self.pending_events += len(events)
        try:
            return await done
        finally:
            self.pending_events -= len(events)

    async def serve(self, query: Query) -> Slate:
        """A slate whose impression goes to the log; with ``feedback.wait_for_log``, once it is there.

        Otherwise nobody waits for it, so it may wait for others: until ``LINGER_S``, ``LINGER`` of them or a write,
        whatever comes first. A write never overtakes it: a click is in the log behind its slate.
        """
        engine = self.engine
        if self.config.feedback.wait_for_log:
            slate = engine.recommend(query, engine.may_log(query))
            if slate.impression == "logged" and slate.items:
                try:
                    await self.write([impression_of(query, slate)])
                except (Throttled, StoreError):  # the shopper's slate matters more than the note that it was shown
                    self.metrics.impressions_dropped += 1
                    return msgspec.structs.replace(slate, impression="overloaded")
            return slate
        if self.pending_events + len(self._shown) >= self.config.server.max_pending_events:
            self.metrics.impressions_dropped += 1
            return engine.recommend(query, "overloaded")
        slate = engine.recommend(query, engine.may_log(query))
        if slate.impression == "logged" and slate.items:
            self._shown.append(impression_of(query, slate))
            if len(self._shown) == 1:
                asyncio.get_running_loop().call_later(LINGER_S, self.log_shown)
            elif len(self._shown) >= LINGER:
                self.log_shown()
        return slate

    def log_shown(self) -> None:
        """Hand the impressions that linger to the log."""
        if self._shown:
            shown, self._shown = self._shown, []
            try:
                self.engine.submit_nowait(shown, (), ignore)
            except (Overloaded, StoreError):
                self.metrics.impressions_dropped += len(shown)

    async def caught_up(self, at_least: int) -> None:
        """Return when answers know the event at ``at_least``; raise ``Behind`` after ``server.behind_wait_ms``."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.config.server.behind_wait_ms / 1e3
        while self.engine.offset < at_least:
            if clock() >= deadline:
                raise Behind(
                    f"at_least asks for offset {at_least}, this server knows {self.engine.offset}; "
                    "use the offset of an acknowledgement from this server's log"
                )
            await asyncio.sleep(POLL_S)

    def check_query(self, query: Query) -> None:
        """Refuse what is out of bounds, so that the engine sees only sane questions."""
        if not 0 <= query.n <= MAX_SLATE:
            raise InvalidInput(f"n is {query.n}; expected 1 to {MAX_SLATE}, 0 for the placement's own", field="n")
        if query.placement not in self.config.placements and query.placement != SEARCH:
            known = ", ".join(sorted(self.config.placements))
            raise InvalidInput(f"no placement {query.placement[:64]!r}; configured here: {known}", field="placement")
        if not 0 <= query.ts <= LAST_MS:
            raise InvalidInput(f"ts is {query.ts}; expected epoch milliseconds, or leave it out for now", field="ts")
        if not 0 <= query.at_least < 2**63:
            raise InvalidInput(
                f"at_least is {query.at_least}; expected the offset of an acknowledgement", field="at_least"
            )
        for name, value in (("user_id", query.user_id), ("anon_id", query.anon_id), ("session_id", query.session_id)):
            if value is not None:
                check_id(name, value)
        check_ids("items", query.items, MAX_QUERY_ITEMS)
        check_ids("exclude", query.exclude, MAX_EXCLUDE)
        context = query.context
        if context is not None:
            if context.region is not None:
                check_id("context.region", context.region)
            if context.utc_offset_min is not None and not -1_440 <= context.utc_offset_min <= 1_440:
                raise InvalidInput(
                    f"utc_offset_min is {context.utc_offset_min}; expected minutes from -1440 to 1440",
                    field="context.utc_offset_min",
                )


def ignore(_result: Ack | BaseException) -> None:
    """Nobody waits for it."""


def check_id(name: str, value: str) -> None:
    """An id is opaque text of 1 to 256 bytes in UTF-8."""
    if not value or len(value) > MAX_ID_BYTES or (not value.isascii() and len(value.encode()) > MAX_ID_BYTES):
        raise InvalidInput(
            f"{name} has {len(value)} characters; expected 1 to {MAX_ID_BYTES} bytes of UTF-8", field=name
        )


def check_ids(name: str, values: Sequence[str], most: int) -> None:
    """A bounded list of ids."""
    if len(values) > most:
        raise InvalidInput(f"{name} has {len(values)} entries; expected at most {most}", field=name)
    for value in values:
        check_id(name, value)
