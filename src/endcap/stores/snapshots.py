"""Snapshots in a folder: one artifact file per snapshot, the newest ``keep`` of them.

Losing them costs time, never data: whatever cannot be used is skipped with a warning, and the log is folded from the
next older one, or from the start. Files are named after their offset and ordered by the time of writing, so that a log
restored from a backup is not overruled by what was saved later in its former life.
"""

from __future__ import annotations

import logging
from pathlib import Path

from endcap.artifacts import read_artifact, sync_directory, write_artifact
from endcap.errors import ArtifactError
from endcap.runtime import Runtime
from endcap.types import Arrays


class FileSnapshotter:
    """``Snapshotter`` on a folder, which is created when it is missing."""

    def __init__(self, directory: str | Path, keep: int = 2, runtime: Runtime | None = None) -> None:
        self.directory = Path(directory)
        self.keep = max(1, keep)
        self._fault = (runtime or Runtime()).fault
        self.directory.mkdir(parents=True, exist_ok=True)

    def save(self, offset: int, arrays: Arrays, schema: str) -> None:
        """Write the state folded up to ``offset``, then drop all but the newest ``keep`` files."""
        path = self.directory / f"{offset:020d}.snapshot"
        write_artifact(path, arrays, schema, {"offset": offset}, self._fault)
        for old in self.files()[self.keep :]:
            old.unlink(missing_ok=True)
        for stale in self.directory.glob(".*.part"):
            stale.unlink(missing_ok=True)

    def load(self, schema: str) -> tuple[int, Arrays] | None:
        """The newest usable snapshot with this schema, or None. Damaged ones are skipped, never half-read."""
        for path in self.files():
            try:
                artifact = read_artifact(path, schema)
                return int(artifact.meta["offset"]), artifact.arrays
            except (ArtifactError, KeyError, ValueError, TypeError) as wrong:
                logging.getLogger(__name__).warning("snapshot skipped: %s", wrong)
        return None

    def clear(self) -> None:
        """Delete all snapshots: they would remember somebody who was erased, or a log that was replaced."""
        for path in (*self.files(), *self.directory.glob(".*.part")):
            path.unlink(missing_ok=True)
        sync_directory(self.directory)

    def files(self) -> list[Path]:
        """Snapshot files, newest first."""
        found = [(path.stat().st_mtime_ns, path) for path in self.directory.glob("*.snapshot")]
        return [path for _, path in sorted(found, reverse=True)]
