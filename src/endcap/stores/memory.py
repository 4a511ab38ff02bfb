"""The event log in memory: for evaluation on a virtual clock, and for tests that need no disk.

Same contract as the SQLite log, except that nothing survives the process (``durable`` is False). Cost: one dictionary
entry and one list entry per event.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from endcap.errors import StoreError
from endcap.protocols import Refused
from endcap.types import Event, Refusal, Stored


class MemoryLog:
    """``EventLog`` without a disk."""

    durable = False

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []
        self._stored: list[Stored] = []
        self._known: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False

    def append(self, events: Sequence[Event], refused: Sequence[Refused] = ()) -> list[int]:
        """Keep events in order; gives one offset each, 0 for a duplicate."""
        offsets = []
        with self._lock:
            if self._closed:
                raise StoreError("the log is closed")
            for event in events:
                if event.event_id in self._known:
                    offsets.append(0)
                    continue
                self._known.add(event.event_id)
                offset = len(self._stored) + 1
                self._stored.append(Stored(offset, event))
                offsets.append(offset)
            self.refusals.extend(record.refusal for record in refused)
        return offsets

    def read(self, after: int, limit: int) -> list[Stored]:
        """Up to ``limit`` events with offset > ``after``, in order."""
        return self._stored[after : after + limit]

    def last_offset(self) -> int:
        """The newest offset, 0 for an empty log."""
        return len(self._stored)

    def count(self) -> int:
        """Events held."""
        return len(self._stored)

    def close(self) -> None:
        """No more writes."""
        self._closed = True
