"""What the console's page System shows: the process, its log, snapshots, memory, settings, checks.

Cost: sizes of the folded state are read as a snapshot reads them, some milliseconds per million records on the thread
that serves; everything that touches the disk happens on a thread of its own. So: for a person who looks, not for a
monitor, which reads ``/metrics``.
"""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from msgspec import Struct

from endcap.errors import InvalidInput, NotFound
from endcap.models.encoders.active import MODALITIES, Standing, standing
from endcap.server.checks import Check, encoder_checks, log_checks, machine_checks
from endcap.server.service import Service
from endcap.server.settings import Setting, in_force
from endcap.server.training import TrainingState
from endcap.server.wire import Call, Reply, encode
from endcap.state import State
from endcap.stores.snapshots import FileSnapshotter
from endcap.stores.sqlite import SqliteLog


class LogView(Struct, frozen=True, kw_only=True):
    """The event log."""

    offset: int  # the newest that answers know
    events: int | None  # held; null where the log is no file
    bytes: int | None
    newest_at: int | None  # epoch ms, as the event says
    durability: str


class SnapshotView(Struct, frozen=True, kw_only=True):
    """One saved state."""

    offset: int
    saved_at: int  # epoch ms
    bytes: int


class SnapshotList(Struct, frozen=True, kw_only=True):
    """What is saved, newest first."""

    snapshots: list[SnapshotView]


class Now(Struct, frozen=True, kw_only=True):
    """An empty object, or no body at all."""


class Memory(Struct, frozen=True, kw_only=True):
    """Bytes in memory."""

    process: int | None  # resident now, null where the system does not tell
    peak: int
    parts: dict[str, int]  # of the folded state, by part


class Start(Struct, frozen=True, kw_only=True):
    """How the state came back at the last start."""

    from_snapshot: bool
    snapshot_offset: int
    replayed: int
    seconds: float


class Jobs(Struct, frozen=True, kw_only=True):
    """What goes on beside requests."""

    training: TrainingState | None
    feeds: int
    experiments: int  # running
    live_views: int
    pending_events: int  # sent to the log, not yet acknowledged


class System(Struct, frozen=True, kw_only=True):
    """The server at this moment."""

    version: str
    python: str
    platform: str
    pid: int
    now: int  # epoch ms
    started_at: int  # epoch ms
    directory: str | None
    keys: bool  # False: an open server, on loopback only
    users: int
    items: int
    sessions: int
    log: LogView
    snapshots: list[SnapshotView]
    start: Start
    memory: Memory
    encoders: list[Standing]
    jobs: Jobs


class Settings(Struct, frozen=True, kw_only=True):
    """Every setting in force, in the order of docs/configuration.md."""

    settings: list[Setting]


class CheckList(Struct, frozen=True, kw_only=True):
    """What ``endcap doctor`` would find while the server runs."""

    checks: list[Check]


# ---------------------------------------------------------------- routes


async def show(service: Service, call: Call) -> Reply:
    """The server at this moment."""
    engine, directory = service.engine, service.engine.directory
    state, recovered = engine.state, engine.recovered
    parts = sizes(state)
    system = System(
        version=version("endcap"), python=platform.python_version(), platform=platform.platform(), pid=os.getpid(),
        now=engine.runtime.now(), started_at=service.started_at,
        directory=str(directory.absolute()) if directory else None, keys=call.key is not None,
        users=len(state.users), items=len(state.items), sessions=state.cleaner.n_sessions,
        log=await asyncio.to_thread(log_view, service),
        snapshots=await asyncio.to_thread(snapshots_in, directory),
        start=Start(
            from_snapshot=recovered.from_snapshot, snapshot_offset=recovered.snapshot_offset,
            replayed=recovered.replayed, seconds=recovered.seconds,
        ),
        memory=Memory(process=resident(), peak=max(peak(), resident() or 0), parts=parts),  # two clocks of the kernel
        encoders=await asyncio.to_thread(lambda: [standing(modality) for modality in MODALITIES]),
        jobs=Jobs(
            training=await asyncio.to_thread(service.training.state) if service.training else None,
            feeds=len(service.config.feeds),
            experiments=sum(one.running for one in engine.experiments.all()), live_views=service.tails,
            pending_events=service.pending_events,
        ),
    )  # fmt: skip
    return Reply(encode(system))


async def settings(service: Service, _call: Call) -> Reply:
    """The settings in force."""
    return Reply(encode(Settings(settings=in_force(service.config, service.sources))))


async def checks(service: Service, _call: Call) -> Reply:
    """Look at machine and data."""
    return Reply(encode(CheckList(checks=await asyncio.to_thread(checked, service.engine.directory))))


async def snapshot(service: Service, _call: Call) -> Reply:
    """Save the folded state now; the answer comes when it is on disk."""
    engine = service.engine
    if engine.directory is None:
        raise NotFound("this server has no data directory, so it saves no snapshots; open the engine with one")
    if engine.offset == 0:
        raise InvalidInput("the log is empty, so there is nothing to save; send some events first")
    await asyncio.to_thread(engine.snapshot)
    return Reply(encode(SnapshotList(snapshots=await asyncio.to_thread(snapshots_in, engine.directory))))


# ---------------------------------------------------------------- what they show


def sizes(state: State) -> dict[str, int]:
    """Bytes of the folded state by part, the largest first."""
    found: Counter[str] = Counter()
    for name, array in state.arrays().items():
        found[name.partition(".")[0]] += array.nbytes
    return dict(found.most_common())


def log_view(service: Service) -> LogView:
    """The log, read over a connection of its own: counting must not keep writers waiting."""
    engine = service.engine
    durability = service.config.log.durability
    if engine.directory is None or not isinstance(engine.log, SqliteLog):
        return LogView(offset=engine.offset, events=None, bytes=None, newest_at=None, durability=durability)
    log = SqliteLog(engine.log.path, read_only=True)
    try:
        newest = log.read(max(0, log.last_offset() - 1), 1)
        return LogView(
            offset=engine.offset, events=log.count(), bytes=log.size_bytes(),
            newest_at=newest[0].event.ts if newest else None, durability=durability,
        )  # fmt: skip
    finally:
        log.close()


def snapshots_in(directory: Path | None) -> list[SnapshotView]:
    """Saved states, newest first."""
    found = []
    for path in FileSnapshotter(directory / "snapshots").files() if directory else ():
        try:
            facts = path.stat()
        except OSError:  # a newer one took its place
            continue
        found.append(SnapshotView(offset=int(path.stem), saved_at=facts.st_mtime_ns // 1_000_000, bytes=facts.st_size))
    return found


def checked(directory: Path | None) -> list[Check]:
    """The doctor's checks that a running server does not stand in the way of."""
    if directory is None:
        return list(encoder_checks())
    return [*machine_checks(directory), *log_checks(directory), *encoder_checks()]


def resident() -> int | None:
    """Bytes of this process in memory."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * resource.getpagesize()


def peak() -> int:
    """The most bytes this process ever had in memory."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
