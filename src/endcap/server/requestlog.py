"""The request log: one JSON line on stderr for a request that failed or was slow; every request at level debug.

Lines are bounded per second, so that a flood of errors does not become a flood of lines; the next line says how many
were left out. Addresses are shown as route patterns and bodies never, so that no id of a person gets into the log.
"""

from __future__ import annotations

import logging
import sys
from time import monotonic
from typing import Any

import structlog

SLOW_S = 0.25
LINES_PER_S = 20


class RequestLog:
    """Writes canonical request lines."""

    def __init__(self, level: str = "info", stream: Any = None) -> None:
        self._all = level == "debug"
        self._second = 0
        self._lines = 0
        self._left_out = 0
        self._log = structlog.wrap_logger(
            structlog.WriteLogger(stream or sys.stderr),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        )

    def wants(self, status: int, seconds: float) -> bool:
        """Cheap test made on every request: is this one worth a line?"""
        return self._all or status >= 500 or seconds >= SLOW_S

    def request(self, route: str, status: int, seconds: float, fault: BaseException | None = None) -> None:
        """One finished request, with the trace of the fault that ended it."""
        if not self._room():
            return
        more: dict[str, Any] = {} if fault is None else {"exc_info": fault}
        if self._left_out:
            more["lines_left_out"], self._left_out = self._left_out, 0
        write = self._log.error if fault is not None else self._log.warning if status >= 500 else self._log.info
        write("request", route=route, status=status, ms=round(seconds * 1e3, 3), **more)

    def event(self, event: str, **more: Any) -> None:
        """Something that happened to the server itself: start, drain, stop."""
        self._log.info(event, **more)

    def said(self, event: str, message: str) -> None:
        """An event with a sentence."""
        self._log.info(event, message=message)

    def _room(self) -> bool:
        second = int(monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines > LINES_PER_S:
            self._left_out += 1
            return False
        return True
