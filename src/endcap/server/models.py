"""What trained models serve: the server looks at the pointer file every second and swaps between two requests.

Training runs in another process (``endcap train``) and ends with a new pointer; ``endcap models promote`` and
``rollback`` write one too. Reading, checking and compiling happen on a thread of their own; the swap itself happens
under the engine's lock, between two requests, so none fails. What cannot be used is refused with its reason in the log,
once, and what is in use goes on serving.

The routes list what is stored, promote and roll back by the same pointer, and start a training. A stored file never
changes, so each is read and checked once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from endcap.engine import Engine
from endcap.errors import ArtifactError, EndcapError, InvalidInput, NotFound
from endcap.learning.store import KINDS, RANKER, Model, ModelStore, use
from endcap.server.service import Service
from endcap.server.training import Training, TrainingState
from endcap.server.wire import Call, Reply, decode_as, encode

PERIOD_S = 1.0


class ModelView(Struct, frozen=True, kw_only=True):
    """One stored model."""

    number: int
    kind: str  # "unknown" when the file cannot be read
    serving: bool  # the pointer names it
    stored_at: int  # epoch ms
    bytes: int
    meta: dict[str, Any]  # what it was trained on, and for rankers and deep models the gate's verdict
    error: str | None  # why it cannot be used


class KindView(Struct, frozen=True, kw_only=True):
    """What serves of one kind."""

    kind: str
    number: int  # in use by this server, 0 = none
    since: int  # epoch ms when this server began to use it; after a start that of the start; 0 = none
    before: list[int]  # what served before, the newest last: where a rollback leads


class ModelList(Struct, frozen=True, kw_only=True):
    """Everything stored, oldest first, and what serves."""

    kinds: list[KindView]
    models: list[ModelView]
    problem: str = ""  # why the pointer cannot be read; what is in use goes on serving


class Promote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model shall serve."""

    number: int


class Rollback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which kind the one before shall serve again."""

    kind: str = RANKER


class Train(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to train."""

    kinds: list[str] = field(default_factory=list)  # empty = ranker, factors, content, and deep models that serve


_decode_promote = msgspec.json.Decoder(Promote).decode
_decode_rollback = msgspec.json.Decoder(Rollback).decode
_decode_train = msgspec.json.Decoder(Train).decode


class ModelWatch:
    """Follows one data directory's pointer on behalf of one engine."""

    def __init__(self, engine: Engine, directory: Path, say: Callable[[str, str], None]) -> None:
        """``say(event, message)`` writes to the log."""
        self.numbers: dict[str, int] = dict.fromkeys(KINDS, 0)  # in use by kind, 0 = none
        self.since: dict[str, int] = dict.fromkeys(KINDS, 0)  # epoch ms
        self.store = ModelStore(directory)
        self._engine = engine
        self._say = say
        self._turn = threading.Lock()  # a route may look while the watch does
        self._known: dict[int, tuple[tuple[int, int], Model]] = {}  # as read, by size and time of the file
        self._seen: object = None  # the pointer file as it was at the last look

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Use what the pointer names, if it changed since the last look."""
        with self._turn:
            seen = self.store.stamp()
            if seen == self._seen:
                return
            self._seen = seen
            for kind in KINDS:
                self._follow(kind)

    def listing(self) -> ModelList:
        """What is stored and what serves. Reads and checks files it has not met before, so not for the loop."""
        problem, pointer = "", {}
        try:
            pointer = self.store.pointer()
        except ArtifactError as wrong:
            problem = wrong.message
        served = {history[-1] for history in pointer.values() if history}
        kinds = [
            KindView(
                kind=kind, number=self.numbers[kind], since=self.since[kind], before=pointer.get(kind, [])[:-1],
            )
            for kind in KINDS
        ]  # fmt: skip
        models = []
        for number in self.store.numbers():
            try:
                facts = self.store.path(number).stat()
            except OSError:  # deleted between two steps
                continue
            model = self._model(number, (facts.st_size, facts.st_mtime_ns))
            models.append(
                ModelView(
                    number=number, kind=model.kind, serving=number in served, stored_at=facts.st_mtime_ns // 1_000_000,
                    bytes=facts.st_size, meta=model.meta, error=model.error,
                )
            )  # fmt: skip
        return ModelList(kinds=kinds, models=models, problem=problem)

    def _model(self, number: int, stamp: tuple[int, int]) -> Model:
        known = self._known.get(number)
        if known is None or known[0] != stamp:
            try:
                model = self.store.model(number, self._engine.columns)
            except Exception as wrong:  # a file may break any library that reads it; the list must still be seen
                model = Model(number=number, kind="unknown", serving=False, meta={}, error=repr(wrong)[:500])
            known = self._known[number] = (stamp, model)
        return known[1]

    def _follow(self, kind: str) -> None:
        kept = self.numbers[kind] or "none"
        try:
            number = self.store.serving(kind)
            if number == self.numbers[kind]:
                return
            use(self._engine, kind, number, self.store)
        except EndcapError as wrong:
            self._say("model_refused", f"{wrong.message}; {kind} {kept} goes on serving")
            return
        except Exception as wrong:  # a watch that dies would follow nothing for the life of the server
            self._say("model_refused", f"{kind} cannot be used: {wrong!r}; {kind} {kept} goes on serving")
            return
        self.numbers[kind], self.since[kind] = number, self._engine.runtime.now() if number else 0
        self._say("model_swapped", f"{kind} {number or 'none'} serves from now on")


# ---------------------------------------------------------------- routes


def watch_of(service: Service) -> ModelWatch:
    """Who follows the models of this server."""
    if service.models is None:
        raise NotFound("this server has no data directory, so it keeps no models; open the engine with one")
    return service.models


def training_of(service: Service) -> Training:
    """Who starts trainings here."""
    if service.training is None:
        raise NotFound("this server has no data directory, so it trains nothing; open the engine with one")
    return service.training


async def listing(service: Service, _call: Call) -> Reply:
    """Every stored model."""
    return Reply(encode(await asyncio.to_thread(watch_of(service).listing)))


async def promote(service: Service, call: Call) -> Reply:
    """Let a stored model serve, here at once."""
    number, watch = decode_as(_decode_promote, call.body).number, watch_of(service)
    return await changed(watch, lambda: watch.store.promote(number, service.engine.columns), "number")


async def rollback(service: Service, call: Call) -> Reply:
    """Return to what served before, here at once."""
    kind = decode_as(_decode_rollback, call.body or b"{}").kind
    if kind not in KINDS:
        raise InvalidInput(f"there is no kind {kind[:40]!r}; known: {', '.join(KINDS)}", field="kind")
    watch = watch_of(service)
    return await changed(watch, lambda: watch.store.rollback(service.engine.columns, kind), "kind")


async def changed(watch: ModelWatch, change: Callable[[], object], name: str) -> Reply:
    """Change the pointer and serve what it names. A model that cannot be used is the caller's mistake."""

    def both() -> ModelList:
        change()
        watch.look()
        return watch.listing()

    try:
        return Reply(encode(await asyncio.to_thread(both)))
    except ArtifactError as wrong:
        raise InvalidInput(wrong.message, field=name) from wrong


async def train(service: Service, call: Call) -> Reply:
    """Start a training."""
    kinds = decode_as(_decode_train, call.body or b"{}").kinds
    training = training_of(service)
    await asyncio.to_thread(training.begin, kinds)
    return Reply(encode(training.state()))


async def training(service: Service, _call: Call) -> Reply:
    """How the training goes."""
    found: TrainingState = await asyncio.to_thread(training_of(service).state)
    return Reply(encode(found))
