"""Where experiments are kept: ``experiments.json`` in the data directory, ended ones included.

Idea: a small file, replaced whole, so a reader sees the old or the new one and never a part. The command line and a
server both write it; a lock beside it makes read, change and write one step.

What a record is, the caller says (``kind``): a store knows no feature. A file that cannot be read is refused, never
repaired or overwritten: it decides who sees what, and a guess would deal visitors anew.

When not to use it: for more than some hundred experiments; the file is read and written whole.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from endcap.artifacts import replace_file
from endcap.errors import CorruptStore, StoreError

FILE, LOCK = "experiments.json", ".experiments.lock"

T = TypeVar("T", bound=Struct)


class ExperimentStore(Generic[T]):
    """The experiments of one data directory."""

    def __init__(self, directory: Path, kind: type[T]) -> None:
        self.path = directory / FILE
        self._kind = kind
        self._lock = directory / LOCK

    def read(self) -> list[T]:
        """All there are, in order of start. ``CorruptStore`` when the file is not what was written."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as wrong:
            raise StoreError(f"cannot read {self.path}: {wrong.strerror or wrong}") from wrong
        try:
            return msgspec.json.decode(data, type=list[self._kind])  # type: ignore[name-defined]  # known at run time
        except (msgspec.MsgspecError, UnicodeDecodeError) as wrong:
            raise CorruptStore(
                f"{self.path} cannot be used: {wrong}; restore it from a backup, or move it away, which ends all "
                "experiments and deals visitors anew when they are started again"
            ) from wrong

    def change(self, by: Callable[[list[T]], list[T]]) -> list[T]:
        """Replace what there is with ``by`` of it, durably, and give that; nothing changes when ``by`` raises."""
        try:
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as wrong:
            raise StoreError(f"cannot open {self._lock}: {wrong.strerror}; the directory must be writable") from wrong
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            new = by(self.read())
            try:
                replace_file(self.path, msgspec.json.format(msgspec.json.encode(new), indent=1) + b"\n")
            except OSError as wrong:
                raise StoreError(
                    f"cannot write {self.path}: {wrong.strerror or wrong}; the previous file is untouched"
                ) from wrong
            return new
        finally:
            os.close(lock)

    def stamp(self) -> tuple[int, int] | None:
        """Differs after every change; None when there is no file."""
        try:
            facts = self.path.stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_ino
