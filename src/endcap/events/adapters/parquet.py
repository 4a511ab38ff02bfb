"""Parquet, read in slices so that a file may be larger than the memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from endcap.errors import InvalidInput
from endcap.events.adapters.chunks import CHUNK, Chunk

SLICE = 10  # chunks decoded at once: a slice decodes the row groups it touches


def read_parquet(path: Path, size: int = CHUNK) -> Iterator[Chunk]:
    """The rows of a file, in order. ``InvalidInput`` when it is truncated, damaged or no Parquet."""
    if not path.is_file():
        raise InvalidInput(f"no file at {path}; check the path")
    file_size = path.stat().st_size
    try:
        frame = pl.scan_parquet(path)
        names = frame.collect_schema().names()
        n_rows = int(frame.select(pl.len()).collect().item())
        for begin in range(0, max(n_rows, 1), size * SLICE):
            some = frame.slice(begin, size * SLICE).collect()
            for at in range(0, max(some.height, 1), size):
                part = some.slice(at, size)
                first = begin + at + 1
                yield Chunk(
                    lines=range(first, first + part.height),
                    columns={name: part.get_column(name).to_list() for name in names},
                    done=file_size * (begin + at + part.height) // max(n_rows, 1),
                )
    except (pl.exceptions.PolarsError, OSError) as wrong:
        raise InvalidInput(
            f"{path} cannot be read as Parquet: {wrong}; it may be truncated or still being written. Copy it again"
        ) from None
