"""Checks of machine and data that ``endcap doctor`` and the console both show.

Each looks at one thing and says what it found and what mends it. They take no lock of the data directory, so a server
may run; imports that cost time stay inside.
"""

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

from msgspec import Struct

from endcap.errors import EndcapError

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
