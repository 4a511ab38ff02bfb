"""``endcap bench memory``: bytes per user, per item and per event.

A state folds synthetic traffic; every array it would save is counted under what it grows with. Lists grow with
evidence, so the figures are averages over this traffic, in which most users and items are seldom seen; a small
catalogue (``--items 10000``) shows items about which much is known. Spare room of growing arrays and Python's objects
for id names are not in the arrays; resident memory, which has them, is printed beside.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path

from endcap.bench.environment import resident_bytes
from endcap.bench.preload import fill, traffic
from endcap.bench.restart import interactions
from endcap.bench.spread import Figures, Options
from endcap.config import Config
from endcap.runtime import SystemClock
from endcap.state import State
from endcap.stores.sqlite import SqliteLog

# What each part grows with; single arrays that differ from their part are named as "part.array".
GROWS_WITH = {
    "users": "user",
    "identity": "user",
    "people": "user",
    "cleaner": "user",
    "cleaner.usual": "item",
    "histories": "user",
    "exposure": "user",
    "items": "item",
    "catalogue": "item",
    "vectors": "item",
    "counters": "item",
    "covisit": "item",
    "item2vec": "item",
    "neighbours": "item",
    "friends": "user",
    "friends.into_start": "item",
    "friends.into_length": "item",
    "friends.into_cap": "item",
    "friends.into_ids": "item",
    "friends.into_kinds": "item",
    "regions": "fixed",
    "labels": "fixed",
    "slates": "fixed",  # rings that hold what is open, up to feedback.slates
    "slates.newest": "user",
    "positions": "fixed",
    "calibration": "fixed",
    "bandit": "fixed",
    "duels": "fixed",
    "scoreboard": "fixed",  # rows of units in experiments, up to its own bound
    "scoreboard.head": "user",
    "rhythm": "item",
    "sessions": "item",
    "sessions.pool": "event",
    "sessions.rows": "event",
}
FIXED = (
    "free",
    "n_free",
    "tail",
    "clock",
    "ring",
    "counts",
    "overall",
    "context",
    "tops",
)  # do not grow with the traffic
LOG_SAMPLE = 40_000


def owner(name: str) -> str:
    """user, item, event or fixed."""
    part, _, array = name.partition(".")
    if any(array == word or array.startswith(word) or array.endswith("_" + word) for word in FIXED):
        return "fixed"
    return GROWS_WITH.get(name) or GROWS_WITH[part]


def log_bytes_per_event(options: Options) -> float:
    """Size of an SQLite log of ordinary events, per event."""
    batch = traffic(LOG_SAMPLE, options.items, LOG_SAMPLE // 12, SystemClock().now())
    with tempfile.TemporaryDirectory(prefix="endcap-bench-") as folder:
        log = SqliteLog(Path(folder) / "endcap.db", "os")
        try:
            for chunk in interactions(batch):
                log.append(chunk)
        finally:
            log.close()
        return sum(file.stat().st_size for file in Path(folder).iterdir()) / LOG_SAMPLE


def measure(options: Options) -> Figures:
    """Count the arrays of a state that has folded the traffic."""
    n_events = 500_000 if options.quick else 5_000_000
    n_users = n_events // 12
    batch = traffic(n_events, options.items, n_users, SystemClock().now())
    before = resident_bytes()
    state = State(Config())
    fill(state, batch, options.items, n_users)
    resident = resident_bytes() - before

    totals: dict[str, int] = defaultdict(int)
    parts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, array in state.arrays().items():
        totals[owner(name)] += array.nbytes
        parts[owner(name)][name.partition(".")[0]] += array.nbytes
    counts = {"user": n_users, "item": options.items, "event": n_events}
    each = {what: {part: round(size / n, 1) for part, size in parts[what].items()} for what, n in counts.items()}
    for what, shares in each.items():
        listed = ", ".join(f"{part} {size}" for part, size in sorted(shares.items(), key=lambda share: -share[1]))
        options.say(f"  per {what}: {listed}")
    log = log_bytes_per_event(options)
    options.say(f"  log: {log:.0f} bytes per event with its indexes; fixed: {totals['fixed'] / 1e6:.1f} MB")
    options.say("  budget: history 512 per user slot, neighbours 800 per item, session index 8 per event")
    values = {
        "bytes_per_user": totals["user"] / n_users,
        "bytes_per_item": totals["item"] / options.items,
        "bytes_per_event": log + totals["event"] / n_events,
        "history_per_user": each["user"]["histories"],
        "neighbours_per_item": each["item"]["covisit"],
        "index_per_event": totals["event"] / n_events,
        "log_per_event": log,
        "fixed_mb": totals["fixed"] / 1e6,
        "arrays_mb": sum(totals.values()) / 1e6,
        "resident_mb": resident / 1e6,
        "events": n_events,
        "users": n_users,
        "items": options.items,
        "parts": each,
    }
    bars = {
        "history_per_user": ("max", 512.0),
        "neighbours_per_item": ("max", 800.0),
        "index_per_event": ("max", 8.0),
    }
    return Figures("memory", values, bars)
