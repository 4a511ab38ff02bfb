"""What trained models serve: the server looks at the pointer file every second and swaps between two requests.

Training runs in another process (``endcap train``) and ends with a new pointer; ``endcap models promote`` and
``rollback`` write one too. Reading, checking and compiling happen on a thread of their own; the swap itself happens
under the engine's lock, between two requests, so none fails. What cannot be used is refused with its reason in the log,
once, and what is in use goes on serving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from endcap.engine import Engine
from endcap.errors import EndcapError
from endcap.learning.store import KINDS, ModelStore, use

PERIOD_S = 1.0


class ModelWatch:
    """Follows one data directory's pointer on behalf of one engine."""

    def __init__(self, engine: Engine, directory: Path, say: Callable[[str, str], None]) -> None:
        """``say(event, message)`` writes to the log."""
        self.numbers: dict[str, int] = dict.fromkeys(KINDS, 0)  # in use by kind, 0 = none
        self._engine = engine
        self._store = ModelStore(directory)
        self._say = say
        self._seen: object = None  # the pointer file as it was at the last look

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Use what the pointer names, if it changed since the last look."""
        seen = self._store.stamp()
        if seen == self._seen:
            return
        self._seen = seen
        for kind in KINDS:
            self._follow(kind)

    def _follow(self, kind: str) -> None:
        kept = self.numbers[kind] or "none"
        try:
            number = self._store.serving(kind)
            if number == self.numbers[kind]:
                return
            use(self._engine, kind, number, self._store)
        except EndcapError as wrong:
            self._say("model_refused", f"{wrong.message}; {kind} {kept} goes on serving")
            return
        except Exception as wrong:  # a watch that dies would follow nothing for the life of the server
            self._say("model_refused", f"{kind} cannot be used: {wrong!r}; {kind} {kept} goes on serving")
            return
        self.numbers[kind] = number
        self._say("model_swapped", f"{kind} {number or 'none'} serves from now on")
