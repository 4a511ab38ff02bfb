"""``endcap doctor``: is the machine fit, is the data sound, and why does a list look generic?"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import typer
from msgspec import Struct

from endcap.cli.output import DEFAULT_DIRECTORY, AsJson, ConfigFile, Directory, opened, print_json
from endcap.cli.people import AnonOption, ItemsOption, PlacementOption, UserOption
from endcap.config import Config, load_config
from endcap.errors import EndcapError, StoreLocked
from endcap.types import Query

LOW_DISK_BYTES = 1_000_000_000
SLOW_FSYNC_MS = 50.0
SKEW_MS = 120_000
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"}

Level = Literal["ok", "note", "warning", "error"]


class Check(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was looked at."""

    name: str
    level: Level
    message: str
    remedy: str = ""


def doctor(
    user: UserOption = None,
    anon: AnonOption = None,
    items: ItemsOption = None,
    placement: PlacementOption = "home",
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Check the machine and the data, and say why a list (--user, --anon, --items) is generic. Exit 1 on errors."""
    query = Query(user_id=user, anon_id=anon, items=items or [], placement=placement)
    checks = [*machine_checks(directory), *encoder_checks(), *settings_checks(config)]
    if not [check for check in checks if check.level == "error"]:
        checks += data_checks(directory, load_config(config)[0], query)
    if as_json:
        print_json(checks)
    else:
        print_checks(checks)
    if any(check.level == "error" for check in checks):
        raise typer.Exit(1)


def print_checks(checks: list[Check]) -> None:
    """A line per check, its remedy below."""
    from rich.console import Console

    styles = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}
    console = Console(highlight=False, soft_wrap=True)
    for check in checks:
        console.print(f"[{styles[check.level]}]{check.level:<8}[/] {check.name}: ", end="")
        console.print(check.message, markup=False)
        if check.remedy:
            console.print(f"         -> {check.remedy}", markup=False)


# ---------------------------------------------------------------- machine


def machine_checks(directory: Path) -> Iterator[Check]:
    """Python, SQLite, compiled kernels, disk, memory."""
    yield Check(name="python", level="ok", message=f"{platform.python_version()} on {platform.system()}")
    yield Check(name="sqlite", level="ok", message=sqlite3.sqlite_version)
    yield kernel_check()
    place = nearest_existing(directory)
    if not os.access(place, os.W_OK):
        yield Check(
            name="directory", level="error", message=f"{place} cannot be written",
            remedy="change its owner, or name another with --dir",
        )  # fmt: skip
        return
    free = shutil.disk_usage(place).free
    yield Check(
        name="disk",
        level="ok" if free > LOW_DISK_BYTES else "warning",
        message=f"{free / 1e9:,.1f} GB free at {place}",
        remedy="" if free > LOW_DISK_BYTES else "free some space: when the disk is full, events are refused",
    )
    kind = file_system(place)
    if kind in NETWORK_FILE_SYSTEMS:
        yield Check(
            name="file system", level="warning", message=f"{place} is on {kind}, where SQLite's locks are not reliable",
            remedy="put the data directory on a local disk",
        )  # fmt: skip
    yield fsync_check(place)


def nearest_existing(directory: Path) -> Path:
    """The directory, or the parent in which it would be made."""
    place = directory.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def kernel_check() -> Check:
    """Compile or load one kernel: shows whether numba works here and whether its cache can be written."""
    began = time.perf_counter()
    try:
        import numpy as np

        from endcap.candidates import Candidates

        table = Candidates(("any",))
        table.begin(8)
        table.propose(0, np.array([3], np.int32), np.array([1.0], np.float32))
    except Exception as broken:  # numba fails in many ways on machines it does not know
        return Check(
            name="kernels", level="error", message=f"compiled kernels do not work: {broken!r}"[:500],
            remedy="reinstall numba and numpy; set NUMBA_CACHE_DIR to a writable folder",
        )  # fmt: skip
    return Check(name="kernels", level="ok", message=f"compiled kernels work ({time.perf_counter() - began:.1f} s)")


def fsync_check(place: Path) -> Check:
    """How long this disk takes to promise something; an acknowledgement waits for one to two of these."""
    times = []
    with tempfile.TemporaryFile(dir=place) as file:
        for _ in range(5):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1e3)
    middle = sorted(times)[2]
    slow = middle > SLOW_FSYNC_MS
    return Check(
        name="fsync",
        level="warning" if slow else "ok",
        message=f"{middle:.1f} ms (median of 5); an acknowledgement takes one to two of these",
        remedy="use a faster disk, or log.durability = 'os' if losing a second of events is bearable" if slow else "",
    )


def file_system(place: Path) -> str:
    """The type of the file system, as Linux tells it; empty where it does not."""
    best, kind = "", ""
    try:
        mounts = Path("/proc/mounts").read_text("utf-8").splitlines()
    except OSError:
        return ""
    for line in mounts:
        _, point, mounted, *_ = line.split(" ")
        if len(point) > len(best) and (str(place) + "/").startswith(point.rstrip("/") + "/"):
            best, kind = point, mounted
    return kind


def settings_checks(config: Path | None) -> Iterator[Check]:
    """Whether the settings can be read, and what differs from the defaults."""
    try:
        _, sources = load_config(config)
    except EndcapError as wrong:
        yield Check(name="settings", level="error", message=wrong.message, remedy="see docs/configuration.md")
        return
    changed = ", ".join(sorted(sources)) or "all defaults"
    yield Check(name="settings", level="ok", message=changed)


def encoder_checks() -> Iterator[Check]:
    """What makes vectors of texts, pictures and sounds here, and what would make better ones. Loads none of it."""
    from endcap.models.encoders.active import MODALITIES, standing

    for modality in MODALITIES:
        found = standing(modality)
        told = f"{found.id} {found.version}, {found.dim} numbers"
        extra = f'pip install "endcap[{modality}]" (missing: {", ".join(found.missing)})'
        if not found.usable:
            yield Check(
                name=f"{modality} encoder", level="note", message="none: pictures cannot be read without Pillow",
                remedy=extra,
            )  # fmt: skip
        elif found.fallback:
            yield Check(
                name=f"{modality} encoder",
                level="note",
                message=f"{told}: the fallback",
                remedy=f"for a better one: {extra}",
            )
        else:
            yield Check(name=f"{modality} encoder", level="ok", message=told)


# ---------------------------------------------------------------- data


def data_checks(directory: Path, config: Config, query: Query) -> Iterator[Check]:
    """The log, the clocks, the keys; then the questions about one list."""
    if not (directory / "endcap.db").exists():
        yield Check(
            name="log", level="warning", message=f"no log in {directory}: nothing is known about anybody",
            remedy="endcap import events FILE, or start with: endcap serve",
        )  # fmt: skip
        return
    yield from log_checks(directory)
    try:
        with opened(directory, config) as engine:
            state = engine.recovered
            n_users, n_items = len(engine.state.users), len(engine.state.items)
            yield Check(
                name="state", level="ok",
                message=f"{n_users:,} users, {n_items:,} items, up after {state.seconds:.1f} s",
            )  # fmt: skip
            for finding in engine.findings(query):
                found = msgspec.to_builtins(finding)
                level: Level = "note"
                yield Check(name=found["code"], level=level, message=found["message"], remedy=found.get("remedy", ""))
    except StoreLocked as held:
        yield Check(
            name="server", level="note", message=held.message,
            remedy="it runs: ask it why a list is generic with POST /v1/why-not",
        )  # fmt: skip
    except EndcapError as broken:
        yield Check(name="state", level="error", message=broken.message)


def log_checks(directory: Path) -> Iterator[Check]:
    """Size, quarantine, newest event against the clock, keys. Takes no lock."""
    from endcap.stores.sqlite import SqliteLog

    try:
        log = SqliteLog(directory / "endcap.db", read_only=True)
    except EndcapError as broken:
        yield Check(name="log", level="error", message=broken.message)
        return
    try:
        last, refused = log.last_offset(), log.quarantine(1)
        yield Check(
            name="log",
            level="ok" if last else "warning",
            message=f"{log.count():,} events, {log.size_bytes() / 1e6:,.1f} MB",
            remedy="" if last else "no events yet: endcap import events FILE, or send some to POST /v1/events",
        )
        if refused:
            yield Check(
                name="quarantine", level="note", message=f"records were refused; the newest: {refused[0].message}",
                remedy="GET /v1/quarantine lists them",
            )  # fmt: skip
        newest = log.read(max(0, last - 1), 1)
        ahead = newest[0].event.ts - int(time.time() * 1000) if newest else 0
        if ahead > SKEW_MS:
            yield Check(
                name="clock", level="warning", message=f"the newest event lies {ahead / 1000:,.0f} s in the future",
                remedy="set this machine's clock, or the clients'; events ahead of now are not counted yet",
            )  # fmt: skip
    finally:
        log.close()
    if not (directory / "keys.json").exists():
        yield Check(
            name="keys",
            level="note",
            message="no keys yet",
            remedy="the first `endcap serve` makes them and prints them",
        )
