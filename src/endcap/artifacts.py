"""Named arrays and a header in one file: snapshots, indexes, models. Data only, never code, so never pickle.

Layout of a file:

    magic      8 bytes  "ENDCAP\\x00\\x01"
    length     8 bytes  size of the header, little endian
    header     JSON: schema, meta, and for each array its name, dtype, shape and place in the body
    padding    zeros to a multiple of 64
    body       the arrays, raw, little endian, C order, each at a multiple of 64
    digest     32 bytes SHA-256 of all the above

A file is complete or it does not exist: it is written under another name, synced, renamed, and the directory synced.
Reading checks the digest before anything else is believed, then every place against the size of the body.

Cost: loading is one read and one hash; the arrays are views into one buffer, aligned and writable. Whoever keeps them
should copy those that will grow, or the whole buffer stays.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from endcap.errors import ArtifactError
from endcap.types import U1, Arrays

MAGIC = b"ENDCAP\x00\x01"
ALIGN = 64
MAX_HEADER = 1 << 26
DIGEST = 32
KINDS = "biufSU"  # bool, integers, floats, fixed-width bytes and text; no objects


class Placed(Struct, frozen=True):
    """One array of the body."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    at: int  # byte of the body where it starts


class Header(Struct, frozen=True, kw_only=True):
    """What the file says about itself. ``schema`` names layout and meaning of the arrays."""

    schema: str
    meta: dict[str, Any] = field(default_factory=dict)
    arrays: list[Placed] = field(default_factory=list)


class Artifact(Struct, frozen=True):
    """A file read back."""

    schema: str
    meta: dict[str, Any]
    arrays: Arrays


def no_fault(_point: str) -> None:
    """Nothing goes wrong."""


def write_artifact(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    schema: str,
    meta: Mapping[str, Any] | None = None,
    fault: Callable[[str], None] = no_fault,
) -> None:
    """Write or replace ``path``, atomically and durably. Raises ``ArtifactError`` for arrays of objects or a full disk.

    ``fault`` is passed the points "artifact.before_rename" and "artifact.after_rename".
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            write_to(file, arrays, schema, dict(meta or {}))
            file.flush()
            os.fsync(file.fileno())
        fault("artifact.before_rename")
        part.rename(path)
        sync_directory(path.parent)
        fault("artifact.after_rename")
    except OSError as wrong:
        part.unlink(missing_ok=True)
        raise ArtifactError(
            f"cannot write {path}: {wrong.strerror or wrong}; the previous file is untouched"
        ) from wrong


def write_to(file: BinaryIO, arrays: Mapping[str, NDArray[Any]], schema: str, meta: dict[str, Any]) -> None:
    """The bytes of the file, in order, with their digest at the end."""
    flat: list[NDArray[Any]] = []
    placed: list[Placed] = []
    at = 0
    for name, array in arrays.items():
        if array.dtype.kind not in KINDS:
            raise ArtifactError(
                f"array {name} has dtype {array.dtype}; only numbers and fixed-width text can be stored"
            )
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)
        placed.append(Placed(name, array.dtype.str, array.shape, at))
        flat.append(array)
        at = aligned(at + array.nbytes)
    header = msgspec.json.encode(Header(schema=schema, meta=meta, arrays=placed))
    start = MAGIC + len(header).to_bytes(8, "little") + header
    digest = hashlib.sha256()

    def put(data: bytes | memoryview) -> None:
        digest.update(data)
        file.write(data)

    put(start + bytes(aligned(len(start)) - len(start)))
    for array in flat:
        if array.nbytes:
            put(array.reshape(-1).view(np.uint8).data)
        put(bytes(aligned(array.nbytes) - array.nbytes))
    file.write(digest.digest())


def read_artifact(path: Path, schema: str | None = None) -> Artifact:
    """Read a file whole, checked. ``ArtifactError`` when it is missing, damaged or of another schema than asked for."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data: U1 = np.empty(size, np.uint8)
            read = file.readinto(data.data)
    except OSError as wrong:
        raise ArtifactError(f"cannot read {path}: {wrong.strerror or wrong}") from wrong
    if read != size or size < len(MAGIC) + 8 + DIGEST:
        raise damaged(path, f"{size} bytes are too few")
    if data[: len(MAGIC)].tobytes() != MAGIC:
        raise damaged(path, "it does not start like an Endcap artifact of this format")
    if hashlib.sha256(data[:-DIGEST].data).digest() != data[-DIGEST:].tobytes():
        raise damaged(path, "its SHA-256 does not match, so it is truncated or changed")
    header, body = opened(path, data)
    if schema is not None and header.schema != schema:
        raise ArtifactError(f"{path} has schema {header.schema!r}, expected {schema!r}; it must be made anew")
    return Artifact(header.schema, header.meta, {entry.name: taken(path, entry, body) for entry in header.arrays})


def opened(path: Path, data: U1) -> tuple[Header, U1]:
    """Header and body of a file whose digest is right."""
    begin = len(MAGIC) + 8
    length = int.from_bytes(data[len(MAGIC) : begin].tobytes(), "little")
    if length > MAX_HEADER or begin + length > data.shape[0] - DIGEST:
        raise damaged(path, f"a header of {length} bytes does not fit")
    try:
        header = msgspec.json.decode(data[begin : begin + length].tobytes(), type=Header)
    except msgspec.MsgspecError as wrong:
        raise damaged(path, f"unreadable header: {wrong}") from wrong
    return header, data[aligned(begin + length) : -DIGEST]


def taken(path: Path, entry: Placed, body: U1) -> NDArray[Any]:
    """One array as a view of the body."""
    try:
        dtype = np.dtype(entry.dtype)
    except TypeError as wrong:
        raise damaged(path, f"array {entry.name} has the unknown dtype {entry.dtype!r}") from wrong
    nbytes = math.prod(entry.shape) * dtype.itemsize
    if dtype.kind not in KINDS or min((entry.at, *entry.shape)) < 0 or entry.at + nbytes > body.shape[0]:
        raise damaged(path, f"array {entry.name} ({entry.dtype}, {entry.shape}) does not fit")
    return body[entry.at : entry.at + nbytes].view(dtype).reshape(entry.shape)


def aligned(n: int) -> int:
    """The next multiple of ``ALIGN``."""
    return -(-n // ALIGN) * ALIGN


def damaged(path: Path, what: str) -> ArtifactError:
    """The error for a file that cannot be used."""
    return ArtifactError(f"{path} cannot be used: {what}; delete it, it is made anew from the log")


def replace_file(path: Path, data: bytes) -> None:
    """Write or replace a small file, atomically and durably. ``OSError`` when that fails: the old file is whole."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make renames and deletions in ``directory`` durable."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
