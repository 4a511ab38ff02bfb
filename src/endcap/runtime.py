"""Clock, randomness and fault points: the only place that reads the outside world's time and chance.

Everything else takes a ``Runtime``. With ``VirtualClock`` and a seed a whole run is repeatable, which is what replay,
evaluation and the law tests rely on.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> int:
        """Epoch milliseconds UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000


class VirtualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, ts: int) -> None:
        self.ts = ts

    def now(self) -> int:
        return self.ts


def _no_fault(_point: str) -> None:
    return None


class Runtime:
    """One per engine. ``fault(point)`` is a no-op in production; crash tests replace it."""

    __slots__ = ("_counter", "_prefix", "clock", "fault")

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        seed: int | None = None,
        fault: Callable[[str], None] | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self._prefix = secrets.token_hex(6) if seed is None else f"{seed:012x}"
        self._counter = 0
        self.fault = fault or fault_from_environment()

    def now(self) -> int:
        return self.clock.now()

    def new_id(self) -> str:
        """An id that is unique across processes (random prefix) and cheap (a counter): 'a1b2c3d4e5f6-1'."""
        self._counter += 1
        return f"{self._prefix}-{self._counter:x}"


def fault_from_environment() -> Callable[[str], None]:
    """``ENDCAP_FAULT=point:k`` kills the process with SIGKILL when ``point`` is passed the k-th time.

    Used by the crash harness on a real server; unset, it costs one no-op call.
    """
    spec = os.environ.get("ENDCAP_FAULT", "")
    if not spec:
        return _no_fault
    point, _, count = spec.partition(":")
    left = [int(count or "1")]

    def fault(passed: str) -> None:
        if passed == point:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return fault
