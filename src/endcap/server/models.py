"""Which trained ranker serves: the server looks at the pointer file every second and swaps between two requests.

Training runs in another process (``endcap train``) and ends with a new pointer; ``endcap models promote`` and
``rollback`` write one too. Reading, checking and compiling happen on a thread of their own; the swap itself is one
assignment under the engine's lock, so no request waits or fails. A ranker that cannot be used is refused with its
reason in the log, once, and the one in use goes on serving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from endcap.engine import Engine
from endcap.errors import EndcapError
from endcap.learning.store import ModelStore

PERIOD_S = 1.0


class ModelWatch:
    """Follows one data directory's pointer on behalf of one engine."""

    def __init__(self, engine: Engine, directory: Path, say: Callable[[str, str], None]) -> None:
        """``say(event, message)`` writes to the log."""
        self.number = 0  # of the ranker in use, 0 = the fixed weights
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
        try:
            number = self._store.serving()
            ranker = self._store.load(number, self._engine.columns) if number else None
        except EndcapError as wrong:
            self._say("model_refused", f"{wrong.message}; ranker {self._engine.ranker.name} goes on serving")
            return
        if number != self.number:
            self._engine.use_ranker(ranker)
            self.number = number
            self._say("model_swapped", f"ranker {self._engine.ranker.name} serves from now on")
