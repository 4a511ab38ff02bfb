"""One writer per data directory.

Idea: ``flock`` on a small file beside the log. The kernel releases it when the process ends in whatever way, so there
is no stale lock to clean up after a crash. The file holds the owner's pid for the error message only. Works on local
file systems; over NFS ``flock`` may be advisory between hosts, so keep the data directory on a local disk.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from endcap.errors import StoreError, StoreLocked


class WriterLock:
    """Held from construction to ``release``. Raises ``StoreLocked`` when another process holds it."""

    __slots__ = ("_fd",)

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as wrong:
            raise StoreError(
                f"cannot open the lock file {path}: {wrong.strerror}; the directory must exist and be writable"
            ) from wrong
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as held:
            owner = os.read(self._fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreLocked(
                f"{path.parent} is being written by process {owner}; one process writes a data directory at a time. "
                f"Stop that process, or use another directory (--dir)"
            ) from held
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode("ascii"), 0)

    def release(self) -> None:
        """Let the next process in. Harmless when called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
