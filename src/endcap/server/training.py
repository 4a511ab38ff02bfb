"""Training on a schedule: the server starts ``endcap train`` beside itself, and the gate and the watch do the rest.

Every ``learning.every_h``, when enough new events have arrived, the command runs in a process of its own, with the
server's settings and a low priority, so that requests do not wait for it. What it says goes to the server's log. A
ranker that passes the gate is swapped in by ``server/models.py`` as after any other training. One training runs at a
time on a data directory: a second one, by whomever, is refused by a lock. ``POST /v1/models/training`` starts one at
once, and ``GET`` tells how far it is.

When the last training was is read from the newest file in ``models/``, so a restart does not train anew.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from endcap.artifacts import read_artifact, replace_file
from endcap.engine import Engine
from endcap.errors import ArtifactError, ConfigError, InvalidInput, StoreError
from endcap.learning.store import FOLDER, KINDS, ModelStore

PERIOD_S = 1.0
LEAST_NEW_EVENTS = 1_000  # since the last training; with fewer there is nothing to find out
NICENESS = 10
STOP_S = 10.0
MOST_SAID = 2_000  # characters of a training's output
SETTINGS, OUTPUT, PROGRESS = "training.json", "training.log", "training.progress"


class Stage(Struct, frozen=True, kw_only=True):
    """How far a training is, as its process tells it."""

    stage: str = ""
    done: int = 0
    total: int = 0  # 0 = not known


class TrainingState(Struct, frozen=True, kw_only=True):
    """The training that runs, or the last one that this server started."""

    running: bool
    kinds: list[str]  # asked for; empty = ranker, factors, content, and deep models that serve
    started_at: int  # epoch ms, 0 = none since this server started
    ended_at: int  # epoch ms, 0 = it runs, or none did
    failed: bool
    progress: Stage
    said: str  # the end of what the command printed
    every_h: float  # the schedule, 0 = none


class Training:
    """Starts trainings of one data directory on behalf of one engine."""

    def __init__(self, engine: Engine, directory: Path, say: Callable[[str, str], None]) -> None:
        """``say(event, message)`` writes to the log. ``ConfigError`` for a period that is none."""
        every_h = engine.config.learning.every_h
        if not 0.0 <= every_h <= 24 * 366:
            raise ConfigError(f"learning.every_h is {every_h}; expected hours, 0 for never")
        self._engine = engine
        self._directory = directory
        self._say = say
        self._every_ms = every_h * 3_600_000
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()  # a look runs on a thread and may be under way when the server stops
        self._stopped = False
        self._kinds: list[str] = []
        self._started_ms = self._ended_ms = 0
        self._failed = False
        self._last_ms, self._last_offset = engine.runtime.now(), 0
        if every_h:
            self._last_ms, self._last_offset = last_training(ModelStore(directory), self._last_ms)

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            if self._every_ms or self._process is not None:
                await asyncio.to_thread(self.look)

    def begin(self, kinds: Sequence[str] = ()) -> None:
        """Start a training now. ``InvalidInput`` for an unknown kind, or while another runs."""
        unknown = sorted(set(kinds) - set(KINDS))
        if unknown:
            raise InvalidInput(f"there is no kind {unknown[0][:40]!r}; known: {', '.join(KINDS)}", field="kinds")
        with self._turn:
            if self._process is not None and self._process.poll() is None:
                raise InvalidInput(f"a training runs already, as process {self._process.pid}; wait for its end")
            if self._process is not None:
                self._finish(self._process)
            if self._stopped:
                raise InvalidInput("this server is stopping; start the training after its restart")
            try:
                self._start(kinds)
            except OSError as wrong:
                raise StoreError(f"training could not be started: {wrong}") from wrong

    def state(self) -> TrainingState:
        """The training that runs or ran last. Reads two small files."""
        folder, running = self._directory / FOLDER, self._process is not None
        return TrainingState(
            running=running, kinds=self._kinds, started_at=self._started_ms, ended_at=self._ended_ms,
            failed=self._failed, progress=stage_in(folder / PROGRESS) if running else Stage(),
            said=said_in(folder / OUTPUT) if self._started_ms else "", every_h=self._every_ms / 3_600_000,
        )  # fmt: skip

    def look(self) -> None:
        """Tell how the training that runs has ended, or start one that is due."""
        try:
            with self._turn:
                if self._process is not None:
                    self._finish(self._process)
                elif self._is_due() and not self._stopped:
                    self._start()
        except OSError as wrong:  # no disk, no process to be had: the shop goes on, and it is tried again in time
            self._say("training_failed", f"training could not be started: {wrong}")

    def stop(self) -> None:
        """End the training that runs; what it has stored so far is whole."""
        with self._turn:
            self._stopped = True
            process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _is_due(self) -> bool:
        late = self._engine.runtime.now() - self._last_ms >= self._every_ms
        return late and self._engine.offset - self._last_offset >= LEAST_NEW_EVENTS

    def _start(self, kinds: Sequence[str] = ()) -> None:
        self._last_ms, self._last_offset = self._engine.runtime.now(), self._engine.offset
        folder = self._directory / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        config = self._engine.config  # a training needs no secret, and its file is copied about
        intake = structs.replace(config.intake, shopify_secret="", woocommerce_secret="")
        replace_file(folder / SETTINGS, msgspec.json.encode(structs.replace(config, intake=intake)))
        (folder / PROGRESS).unlink(missing_ok=True)
        command = [sys.executable, "-m", "endcap.cli", "train", *kinds, "--dir", str(self._directory)]
        command += ["--config", str(folder / SETTINGS)]
        outside = {name: value for name, value in os.environ.items() if not name.startswith("ENDCAP_")}
        outside["ENDCAP_PROGRESS"] = str(folder / PROGRESS)
        with (folder / OUTPUT).open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=outside,
                start_new_session=True,  # Ctrl+C is for the server, which ends this one itself
            )  # fmt: skip
        self._kinds, self._started_ms, self._ended_ms, self._failed = list(kinds), self._last_ms, 0, False
        os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)
        self._say(
            "training_started", f"endcap train runs as process {self._process.pid}, events to {self._last_offset}"
        )

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        status = process.poll()
        if status is None:
            return
        self._process = None
        self._ended_ms, self._failed = self._engine.runtime.now(), status != 0
        words = "; ".join(said_in(self._directory / FOLDER / OUTPUT).splitlines())
        if status == 0:
            self._say("training_done", words)
        else:
            self._say("training_failed", f"endcap train ended with status {status}: {words}")


def said_in(file: Path) -> str:
    """The end of what a training printed."""
    try:
        return file.read_text("utf-8", "replace").strip()[-MOST_SAID:]
    except OSError:
        return ""


def stage_in(file: Path) -> Stage:
    """What a training last told; nothing while it has told nothing, or writes."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Stage)
    except (OSError, msgspec.MsgspecError):
        return Stage()


def last_training(store: ModelStore, otherwise_ms: int) -> tuple[int, int]:
    """When the newest artifact was stored (epoch ms), and the log offset that it knew; a start counts as a training."""
    newest = max(store.numbers(), default=0)
    if not newest:
        return otherwise_ms, 0
    path = store.path(newest)
    try:
        meta = read_artifact(path).meta
        return int(path.stat().st_mtime * 1000), int(meta.get("last_offset", meta.get("offset", 0)))
    except (ArtifactError, OSError):
        return otherwise_ms, 0
