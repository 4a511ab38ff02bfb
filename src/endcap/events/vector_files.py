"""Vectors of items from files: a NumPy array with a list of ids, Parquet, Arrow.

A file is read in chunks, so it may be larger than the memory. What makes the whole file unusable raises
``InvalidInput`` with the file and the remedy; whether a single vector can be used is judged by whoever stores it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap.errors import InvalidInput
from endcap.types import F4

CHUNK = 2_048  # rows
FRAMES = {".parquet": "Parquet", ".pq": "Parquet", ".arrow": "Arrow", ".feather": "Arrow", ".ipc": "Arrow"}


@dataclass(frozen=True, slots=True)
class VectorChunk:
    """Some rows of a file; a row without a vector has one of no numbers."""

    first: int  # row of the file, 1-based
    item_ids: list[str]
    vectors: list[F4]
    total: int  # rows of the file


def read_vectors(path: Path, ids: Path | None = None, id_column: str = "item_id", column: str = "vector",
                 size: int = CHUNK) -> Iterator[VectorChunk]:  # fmt: skip
    """The rows of a file, in order. ``ids``: for .npy, a text file with one item id a line, as many as rows."""
    if not path.is_file():
        raise InvalidInput(f"no file at {path}; check the path")
    if path.suffix.lower() == ".npy":
        if ids is None:
            raise InvalidInput(f"{path} holds vectors without ids; name a file with one item id a line: --ids FILE")
        return read_array(path, ids, size)
    if path.suffix.lower() not in FRAMES:
        raise InvalidInput(f"{path}: the format is told by the name; expected one ending in .npy, {', '.join(FRAMES)}")
    return read_frame(path, FRAMES[path.suffix.lower()], id_column, column, size)


def read_array(path: Path, ids: Path, size: int) -> Iterator[VectorChunk]:
    """A NumPy array [n, dim] of numbers, mapped, not loaded."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as wrong:
        raise InvalidInput(f"{path} cannot be read as a NumPy array: {wrong}; save it with numpy.save") from None
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InvalidInput(f"{path} holds an array {array.shape} of {array.dtype}; expected numbers, one row an item")
    try:
        names = [line for line in ids.read_text("utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as wrong:
        raise InvalidInput(f"{ids} cannot be read: {wrong}; expected UTF-8 text with one item id a line") from None
    if len(names) != array.shape[0]:
        raise InvalidInput(f"{ids} has {len(names)} ids, {path} has {array.shape[0]} rows; expected as many of both")
    for begin in range(0, len(names), size):
        yield VectorChunk(begin + 1, names[begin : begin + size], rows_of(array[begin : begin + size]), len(names))


def rows_of(block: NDArray[Any]) -> list[F4]:
    """The rows as 32-bit vectors; numbers too large for it become infinite."""
    with np.errstate(over="ignore"):
        return list(np.asarray(block).astype(np.float32))


def read_frame(path: Path, format_name: str, id_column: str, column: str, size: int) -> Iterator[VectorChunk]:
    """A Parquet or Arrow file with a column of ids and one of lists of numbers."""
    import polars as pl

    try:
        frame = scanned(path, format_name)
        schema = frame.collect_schema()
        for name, option in ((id_column, "--id-column"), (column, "--column")):
            if name not in schema:
                raise InvalidInput(
                    f"{path} has no column {name!r}; it has {', '.join(schema)}: say which with {option}"
                )
        if not isinstance(schema[column], pl.List | pl.Array):
            raise InvalidInput(f"{path}: column {column!r} holds {schema[column]}; expected lists of numbers")
        total = int(frame.select(pl.len()).collect().item())
        lists = pl.col(column).cast(pl.List(pl.Float64))
        for begin in range(0, total, size):
            some = frame.slice(begin, size).select(pl.col(id_column).cast(pl.String), lists).collect()
            names = ["" if name is None else name for name in some.get_column(id_column).to_list()]
            yield VectorChunk(begin + 1, names, vectors_of(some.get_column(column)), total)
    except (pl.exceptions.PolarsError, OSError) as wrong:
        raise InvalidInput(
            f"{path} cannot be read as {format_name}: {wrong}; it may be truncated, or hold other things than numbers"
        ) from None


def scanned(path: Path, format_name: str) -> Any:
    """The file as a lazy frame; Arrow in the file or in the stream form."""
    import polars as pl

    if format_name == "Parquet":
        return pl.scan_parquet(path)
    with path.open("rb") as opened:
        is_file = opened.read(6) == b"ARROW1"
    return pl.scan_ipc(path) if is_file else pl.read_ipc_stream(path).lazy()


def vectors_of(series: Any) -> list[F4]:
    """Lists of numbers as vectors; a missing number is NaN, a missing list has no numbers."""
    lengths = series.list.len().fill_null(0).to_numpy()
    flat = series.filter(lengths > 0).explode().to_numpy().astype(np.float64)
    with np.errstate(over="ignore"):
        return np.split(flat.astype(np.float32), np.cumsum(lengths)[:-1])
