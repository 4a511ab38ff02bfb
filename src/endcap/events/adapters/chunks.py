"""What the file readers hand on: some records as columns, and the records that could not even be split into columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

CHUNK = 20_000  # records per chunk: one commit, one fold


@dataclass(frozen=True, slots=True)
class Broken:
    """A record that is no record: its line, a stable code, and what is wrong."""

    line: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Up to ``CHUNK`` records. All columns have the length of ``lines``; None = no value."""

    lines: Sequence[int]  # 1-based line of each record (row number for Parquet)
    columns: dict[str, Sequence[Any]]
    done: int  # bytes of the file behind this chunk, for progress
    broken: list[Broken] = field(default_factory=list)
