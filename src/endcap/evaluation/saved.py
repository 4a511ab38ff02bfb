"""Verdicts kept beside the data they are about: ``<data directory>/reports/NAME.json``, one file each.

``endcap evaluate --save`` writes them, the console shows them. A file is replaced by writing beside it and renaming, so
a reader sees all of a verdict or none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from endcap.artifacts import replace_file
from endcap.errors import NotFound

FOLDER = "reports"
MOST_BYTES = 16_000_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # nothing that could lead out of the folder


class Saved(Struct, frozen=True, kw_only=True):
    """One line of the list of reports."""

    name: str
    saved_at: int  # epoch ms
    data: str = ""
    protocol: str = ""
    target: str = ""
    queries: int = 0
    hr20: float | None = None  # of the hybrid
    error: str | None = None  # why the file cannot be read


class SavedReport(Struct, frozen=True, kw_only=True):
    """A verdict with its name and time."""

    name: str
    saved_at: int  # epoch ms
    command: str  # what makes it again
    verdict: dict[str, Any]


def save(directory: Path, verdict: Mapping[str, Any], command: str, now: int) -> Path:
    """Keep a verdict; gives the file. ``now``: epoch ms. The name says data, protocol, target and time."""
    folder = directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    words = f"{Path(str(verdict['data']['name'])).stem}-{verdict['protocol']}-{verdict['target']}"
    name = f"{re.sub(r'[^A-Za-z0-9_]+', '-', words).strip('-')[:80]}-{now}"
    body = msgspec.json.encode(SavedReport(name=name, saved_at=now, command=command, verdict=dict(verdict)))
    file = folder / f"{name}.json"
    replace_file(file, body)
    return file


def listing(directory: Path) -> list[Saved]:
    """What is kept, newest first; a file that cannot be read is named with the reason."""
    found = []
    for file in (directory / FOLDER).glob("*.json"):
        if not NAME.fullmatch(file.stem):
            continue
        try:
            found.append(line_of(load(directory, file.stem)))
        except (NotFound, msgspec.MsgspecError, OSError, KeyError, TypeError, ValueError) as wrong:
            found.append(Saved(name=file.stem, saved_at=0, error=f"{type(wrong).__name__}: {wrong}"[:200]))
    return sorted(found, key=lambda one: (-one.saved_at, one.name))


def line_of(report: SavedReport) -> Saved:
    """The line of a report in the list."""
    from endcap.evaluation.replay import HYBRID  # not at the start of a server, which seldom lists reports

    verdict = report.verdict
    return Saved(
        name=report.name, saved_at=report.saved_at, data=str(verdict["data"]["name"]),
        protocol=str(verdict["protocol"]), target=str(verdict["target"]), queries=int(verdict["targets"]),
        hr20=float(verdict["models"][HYBRID]["hr@20"]),
    )  # fmt: skip


def load(directory: Path, name: str) -> SavedReport:
    """A kept report; ``NotFound`` for a name that is none."""
    file = directory / FOLDER / f"{name}.json"
    if not NAME.fullmatch(name) or not file.is_file() or file.stat().st_size > MOST_BYTES:
        raise NotFound(f"no report {name[:80]!r}; make one with: endcap evaluate --data DATA --save {directory.name}")
    report = msgspec.json.decode(file.read_bytes(), type=SavedReport)
    return msgspec.structs.replace(report, name=name)
