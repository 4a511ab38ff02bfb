"""``endcap bench restart``: how long a shop is without an engine after a stop.

A log of a million events is written to a new data directory. Then, each in a process of its own: a start without
snapshots, which folds the whole log (rebuild, events per second) and saves a snapshot at its clean stop; starts from
that snapshot. Seconds run from the process's start, so Python, imports and cached kernels are in them, to the first
answer, which must equal the one given before the stop.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec

from endcap.batches import EventBatch
from endcap.bench.preload import traffic
from endcap.bench.spread import Figures, Options
from endcap.config import Config
from endcap.engine import Engine
from endcap.errors import EndcapError
from endcap.runtime import Runtime, VirtualClock
from endcap.types import ACTIONS, DEVICES, Context, Interaction, Query

CHUNK = 5_000
NEWEST_MS = 1_790_000_000_000  # a fixed moment: both answers must be asked for the same time


def interactions(batch: EventBatch) -> Iterator[list[Interaction]]:
    """The synthetic columns as events, a chunk at a time."""
    for start in range(0, len(batch), CHUNK):
        yield [interaction(batch, at) for at in range(start, min(start + CHUNK, len(batch)))]


def interaction(batch: EventBatch, at: int) -> Interaction:
    """One row as the event that a shop would have sent."""
    ts = int(batch.ts[at])
    return Interaction(
        type=ACTIONS[batch.action[at]],
        event_id=f"e{at}",
        ts=ts,
        received_at=ts,
        user_id=f"u{batch.user[at]}",
        item_id=f"i{batch.item[at]}",
        price=round(float(batch.price[at]), 2),
        context=Context(device=DEVICES[batch.device[at]], region=f"r{batch.region[at]}"),
    )


def write_log(directory: Path, batch: EventBatch, options: Options) -> float:
    """Fill the log through the engine; gives seconds."""
    began = perf_counter()
    engine = Engine.open(directory, Config(), Runtime(VirtualClock(NEWEST_MS)))
    for chunk in interactions(batch):
        engine.submit(chunk).result()
    engine.close(snapshot=False)
    shutil.rmtree(directory / "snapshots")  # what was saved on the way: the first start must fold the log alone
    options.say(f"  {len(batch):,} events written and folded live in {perf_counter() - began:.1f} s")
    return perf_counter() - began


def first_answer(directory: Path, user: str) -> None:
    """What the child process does: open, answer, report, stop cleanly."""
    engine = Engine.open(directory, Config(), Runtime(VirtualClock(NEWEST_MS), seed=1))
    slate = engine.recommend(Query(user_id=user, n=24, ts=NEWEST_MS))
    found = {
        "items": [[placed.item_id, round(placed.score, 5)] for placed in slate.items],
        "from_snapshot": engine.recovered.from_snapshot,
        "replayed": engine.recovered.replayed,
        "recover_s": engine.recovered.seconds,
    }
    print(msgspec.json.encode(found).decode(), flush=True)
    engine.close()


def start(directory: Path, user: str) -> tuple[dict[str, Any], float]:
    """(what a fresh process answered, seconds from its start to that answer)."""
    command = [sys.executable, "-m", "endcap.bench.restart", str(directory), user]
    began = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        seconds = perf_counter() - began
    if child.returncode or not line:
        raise EndcapError(f"the restarted process ended with status {child.returncode}")
    return msgspec.json.decode(line), seconds


def measure(options: Options) -> Figures:
    """Write, rebuild, restart; the two answers must be the same."""
    n_events = 200_000 if options.quick else 1_000_000
    n_users = n_events // 12
    batch = traffic(n_events, options.items, n_users, NEWEST_MS - 1_000)
    user = f"u{batch.user[-1]}"
    with tempfile.TemporaryDirectory(prefix="endcap-bench-") as folder:
        directory = Path(folder)
        written_s = write_log(directory, batch, options)
        rebuilt, rebuild_s = start(directory, user)
        restarts = [start(directory, user) for _ in range(2 if options.quick else 3)]
        size = sum(file.stat().st_size for file in (directory / "snapshots").rglob("*") if file.is_file())
    if rebuilt["from_snapshot"]:
        raise EndcapError("the first start used a snapshot; it must fold the log alone")
    for answer, _ in restarts:
        if not answer["from_snapshot"]:
            raise EndcapError("the second start did not use the snapshot")
        if answer["items"] != rebuilt["items"] or not answer["items"]:
            raise EndcapError("the answer from the snapshot differs from the answer before the stop")
    seconds = sorted(taken for _, taken in restarts)
    options.say(f"  rebuild {rebuild_s:.2f} s with {rebuilt['replayed']:,} events replayed; from snapshot {seconds} s")
    values = {
        "events": n_events,
        "snapshot_s": seconds[len(seconds) // 2],
        "snapshot_load_s": min(answer["recover_s"] for answer, _ in restarts),
        "rebuild_s": rebuild_s,
        "rebuild_eps": rebuilt["replayed"] / rebuilt["recover_s"],
        "live_write_eps": n_events / written_s,
        "snapshot_mb": size / 1e6,
    }
    return Figures("restart", values, {"snapshot_s": ("max", 3.0)})


if __name__ == "__main__":
    first_answer(Path(sys.argv[1]), sys.argv[2])
