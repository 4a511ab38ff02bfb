"""Gauges: figures that are read when /metrics is asked for, because nothing happens that could be counted.

Each costs a file's facts or the length of a table, so that a scrape every few seconds is not felt. A figure that there
is not (no snapshot yet, a log in memory) is left out, for a 0 would look like one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from endcap.engine import Engine
from endcap.stores.sqlite import SqliteLog


def state_gauges(engine: Engine) -> dict[str, float]:
    """What the folded state holds."""
    state = engine.state
    return {
        "log_offset": float(engine.offset),
        "users": float(len(state.users)),
        "items": float(len(state.items)),
        **{f"feedback_{name}": float(n) for name, n in state.slates.tally().items()},
    }


def disk_gauges(engine: Engine) -> dict[str, float]:
    """Log, snapshots and free space; nothing of what is not on disk."""
    found: dict[str, float] = {}
    if isinstance(engine.log, SqliteLog):
        found["log_bytes"] = float(engine.log.size_bytes())
    if engine.directory is not None:
        found["disk_free_bytes"] = float(shutil.disk_usage(engine.directory).free)
        found |= newest_snapshot(engine.directory / "snapshots")
    return found


def newest_snapshot(folder: Path) -> dict[str, float]:
    """Offset and time of the newest snapshot file, nothing when there is none."""
    found = []
    for path in folder.glob("*.snapshot"):
        try:
            found.append((path.stat().st_mtime, int(path.stem)))
        except (OSError, ValueError):  # dropped just now for a newer one, or not of ours
            continue
    if not found:
        return {}
    written, offset = max(found)
    return {"snapshot_offset": float(offset), "snapshot_timestamp_seconds": written}
