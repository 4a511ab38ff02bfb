"""Events that wait to be sent, while the server is busy or away: bounded, in order, and open about what it drops.

The newest say most about what a shopper wants now, so a full outbox drops the oldest. Whatever is dropped is counted
by reason and told to ``on_drop``: nothing disappears in silence. A batch stays inside until it is settled, so a server
that does not answer costs waiting, not events.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from endcap.client.calls import AGAIN, Answer, Exchange, Steps, batch_of, error_of
from endcap.errors import EndcapError

log = logging.getLogger("endcap.client")
OPENING = b'{"events":['


@dataclass(frozen=True, slots=True)
class Dropped:
    """Events that will not be sent, as JSON, and why: full, closed, or the server's refusal."""

    reason: str
    events: list[bytes]
    message: str = ""


OnDrop = Callable[[Dropped], None]


def complain(dropped: Dropped) -> None:
    """What happens to drops that nobody asked for: a warning in the log, without the events."""
    log.warning("%d events dropped, %s: %s", len(dropped.events), dropped.reason, dropped.message)


class Outbox:
    """The waiting line of one client; safe to use from several threads."""

    def __init__(self, limit: int, on_drop: OnDrop | None) -> None:
        self.limit = limit
        self.dropped: dict[str, int] = {}  # by reason
        self._on_drop = on_drop or complain
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._settling = 0  # leading events that are on their way

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: bytes) -> None:
        """Add one; a full line loses its oldest that is not on its way."""
        lost: bytes | None = None
        with self._lock:
            if len(self._waiting) >= self.limit:
                if self._settling >= len(self._waiting):
                    lost = event
                else:
                    lost = self._waiting[self._settling]
                    del self._waiting[self._settling]
            if lost is not event:
                self._waiting.append(event)
        if lost is not None:
            self.drop("full", [lost], f"{self.limit} events wait already")

    def drop(self, reason: str, events: list[bytes], message: str = "") -> None:
        """Count and tell. What ``on_drop`` raises stays here."""
        if not events:
            return
        self.dropped[reason] = self.dropped.get(reason, 0) + len(events)
        try:
            self._on_drop(Dropped(reason, events, message))
        except Exception:
            log.exception("on_drop failed")

    def empty(self, reason: str) -> None:
        """Drop all that waits."""
        with self._lock:
            rest = list(self._waiting)
            self._waiting.clear()
            self._settling = 0
        self.drop(reason, rest)

    def deliver(self, timeout_s: float, most: int | None = None) -> Steps[tuple[Answer, list[bytes]]]:
        """Send the oldest batch once. Settled events leave; those that may be sent again stay for the next time."""
        with self._lock:
            batch = [event for event, _ in zip(self._waiting, range(most or len(self._waiting)), strict=False)]
            batch = batch[: batch_of(batch)]
            self._settling = len(batch)
        try:
            body = OPENING + b",".join(batch) + b"]}"
            answer: Answer = yield Exchange("POST", "/v1/events", body, timeout_s)
            if answer.status == 0 or answer.status in AGAIN:
                return answer, batch
            if answer.status == 413 and len(batch) > 1:
                return (yield from self.deliver(timeout_s, len(batch) // 2))
            with self._lock:
                for _ in batch:
                    self._waiting.popleft()
            if not 200 <= answer.status < 300:
                wrong: EndcapError = error_of(answer)
                self.drop(wrong.code, batch, wrong.message)
            return answer, batch
        finally:
            self._settling = 0
