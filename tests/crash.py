"""Kill -9, again and again, on a real engine and a real file: the harness of law L12.

One warm process (the zygote) imports everything once and forks a child per kill, so that a kill costs a fraction of a
second. A child opens the engine on a directory that earlier children died in, checks that what it recovered equals a
rebuild from the log, and then writes numbered events as fast as it can, saying each number when its acknowledgement has
arrived. It is killed after a random time, or at a named fault point inside the write path. The harness then reads the
file itself: every acknowledged event is there, once, unchanged.

Between the events slates are served, said to the harness like an answer to a shopper, and clicked: at once, twice, or
in the next life, when the process that showed them is dead. In the end every click must be joined to its slate, once.

Run alone for a long time: ``ENDCAP_KILLS=3000 python -m pytest tests/test_crash.py -s``.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from endcap.config import CleanConfig, Config, FeedbackConfig, LogConfig, SnapshotConfig
from endcap.engine import Engine
from endcap.preprocess.validate import validate
from endcap.runtime import Runtime
from endcap.state import State
from endcap.stores.sqlite import SqliteLog
from endcap.types import Ack, Interaction, Item, Query

START_MS = 1_760_000_000_000
POINTS = (
    "append.before",
    "append.after_insert",
    "append.after_commit",
    "artifact.before_rename",
    "artifact.after_rename",
)
LIFE_S = 0.35  # longest life of a child that is killed at a random time
PATIENCE_S = 20.0  # how long a child may take to reach its fault point
LIVES = 12  # kills per directory: then the log is long enough
IN_FLIGHT = 8
ACTIONS = ("view", "view", "view", "click", "cart_add", "purchase", "wishlist_add", "hide")


def event(k: int) -> Interaction:
    """The k-th event of a directory, always the same."""
    made = Interaction(
        type=ACTIONS[k * 7 % len(ACTIONS)],  # type: ignore[arg-type]  # one of the names above
        event_id=f"k{k}",
        ts=START_MS + k * 37_000,
        received_at=START_MS + k * 37_000,
        user_id=f"u{k % 5}" if k % 3 else None,
        anon_id=f"a{k % 7}" if k % 4 == 0 or k % 3 == 0 else None,
        item_id=f"i{k * k % 23}",
        price=1.0 + k % 9,
    )
    checked = validate(made, now=made.received_at, config=CleanConfig(), index=0)
    assert isinstance(checked, Interaction)
    return checked


def settings(durability: str) -> Config:
    """Snapshots as often as possible, so that kills meet them."""
    return Config(
        log=LogConfig(durability="always" if durability == "always" else "os"),
        snapshot=SnapshotConfig(every_events=40),
        feedback=FeedbackConfig(wait_for_log=True),
    )


def click(request: str, item: str, ts: int, number: int) -> Interaction:
    """A click on a slate, by a shopper of its own so that no cleaning rule is met."""
    made = Interaction(
        type="click", event_id=f"c{number}:{request}", ts=ts + 5_000, received_at=ts + 5_000, item_id=item,
        user_id=f"s{number}:{request}", request_id=request,
    )  # fmt: skip
    checked = validate(made, now=made.received_at, config=CleanConfig(), index=0)
    assert isinstance(checked, Interaction)
    return checked


# ---------------------------------------------------------------- the child


def say(**message: Any) -> None:
    """One line to the harness; lines are short enough to be written whole or not at all."""
    os.write(1, json.dumps(message).encode() + b"\n")


def live(directory: Path, first: int, durability: str, seed: int, shown: list[tuple[str, str, int]]) -> None:
    """Recover, compare with a rebuild, click what was ``shown`` by the dead, then write events until death."""
    config = settings(durability)
    with Engine.open(directory, config, Runtime()) as engine:
        fresh = State(config)
        while chunk := engine.log.read(fresh.offset, 7):
            fresh.fold(chunk)
        say(recovered=engine.state_hash(), rebuilt=fresh.hash(), snapshot=engine.recovered.snapshot_offset)
        for request, item, ts in shown:
            engine.observe([click(request, item, ts, 0)])
            say(clicked=[request, 0])
        write(engine, first, random.Random(seed))


def write(engine: Engine, first: int, chance: random.Random) -> None:
    """Batches of one to four events, some again, some beside a bad one, with several commits under way."""
    waiting: dict[Future[Ack], list[int]] = {}
    k = max(0, first - 3)  # a client that got no answer sends again
    while True:
        numbers = list(range(k, k + chance.randint(1, 4)))
        k = numbers[-1] + 1
        kind = chance.random()
        if kind < 0.15:
            bad = Interaction(type="view", user_id="x", item_id="i", price=-1.0)
            ack = engine.observe([*map(event, numbers), bad])
            assert (ack.accepted + ack.duplicates, len(ack.rejected)) == (len(numbers), 1)
            say(acked=numbers)
            continue
        if kind < 0.2:
            engine.put_items([Item(item_id=f"i{chance.randrange(23)}", title="T", price=2.0)])
        elif kind < 0.5:
            slate = engine.serve(Query(user_id=f"w{k}", ts=START_MS + k * 37_000))
            if slate.items:
                seen = (slate.request_id, slate.items[0].item_id, slate.ts)
                say(shown=seen)
                for number in range(chance.randint(0, 2)):
                    engine.observe([click(*seen, number), click(*seen, number)])
                    say(clicked=[slate.request_id, number])
        waiting[engine.submit([event(n) for n in numbers])] = numbers
        while len(waiting) >= IN_FLIGHT:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                say(acked=waiting.pop(future))


# ---------------------------------------------------------------- the zygote


def warm() -> None:
    """Compile or load every kernel before the first fork; leaves no thread behind."""
    with tempfile.TemporaryDirectory() as directory, Engine.open(directory, settings("os")) as engine:
        engine.observe([event(k) for k in range(60)])
        engine.recommend(Query(user_id="u1"))


def zygote() -> None:
    """Read one order per line; fork a child for it, kill it in time, tell how it died."""
    warm()
    say(ready=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 3
            try:
                if order["fault"]:
                    os.environ["ENDCAP_FAULT"] = order["fault"]
                live(Path(order["directory"]), order["first"], order["durability"], order["seed"], order["shown"])
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        deadline = time.monotonic() + order["life_s"]
        status, late = 0, False
        while True:
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                break
            if not late and time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                late = True
            time.sleep(0.001)
        say(died=os.waitstatus_to_exitcode(status), at=order["fault"].partition(":")[0] if not late else "random time")


# ---------------------------------------------------------------- the harness


@dataclass
class Outcome:
    """What the kills did."""

    kills: int = 0
    acked: int = 0
    lost: int = 0
    duplicated: int = 0
    changed: int = 0
    recoveries: int = 0
    from_snapshot: int = 0
    unequal: int = 0
    clicks: int = 0
    unjoined: int = 0
    credited_twice: int = 0
    by_point: Counter[str] = field(default_factory=Counter)

    @property
    def bound(self) -> float:
        """95 % upper bound of the chance that a kill loses something, when none did (rule of three)."""
        return 3.0 / max(1, self.kills)

    def __str__(self) -> str:
        points = ", ".join(f"{point} {n}" for point, n in sorted(self.by_point.items()))
        return (
            f"{self.kills} kills ({points}): {self.acked} acknowledged, {self.lost} lost, {self.duplicated} doubled, "
            f"{self.changed} changed; {self.recoveries} recoveries ({self.from_snapshot} from a snapshot), "
            f"{self.unequal} unequal to a rebuild; {self.clicks} clicks, {self.unjoined} not joined to their slate, "
            f"{self.credited_twice} credited twice; 95 % bound 3/N = {self.bound:.2%}"
        )


def inspect(directory: Path, acked: set[int], outcome: Outcome) -> None:
    """Read the file as the next start would, and count what is not as it was acknowledged."""
    log = SqliteLog(directory / "endcap.db")
    events = [entry.event for entry in log.read(0, 1_000_000)]
    log.close()
    stored = {one.event_id: msgspec.json.encode(one) for one in events}
    outcome.duplicated += len(events) - len(stored)
    outcome.lost += sum(f"k{k}" not in stored for k in acked)
    outcome.changed += sum(stored.get(f"k{k}", sent) != sent for k in acked for sent in [msgspec.json.encode(event(k))])


def inspect_joins(directory: Path, clicked: set[tuple[str, int]], outcome: Outcome) -> None:
    """Fold the file, and compare what was credited with the clicks that were acknowledged."""
    log, state = SqliteLog(directory / "endcap.db"), State(settings("os"))
    named: set[tuple[str, int]] = set()
    while chunk := log.read(state.offset, 500):
        state.fold(chunk)
        for entry in chunk:
            if isinstance(entry.event, Interaction) and entry.event.request_id:
                named.add((entry.event.request_id, int(entry.event.event_id[1])))
    log.close()
    tally = state.slates.tally()
    outcome.clicks += len(named)
    outcome.lost += len(clicked - named)
    outcome.unjoined += len(named) - tally["by_request"] - tally["waited"]
    credited = int(((state.slates.rows["done"] & 1) > 0).sum())
    outcome.credited_twice += credited - len({request for request, _ in named})


class Harness:
    """Drives a zygote through ``kills`` kills."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.chance = random.Random(seed)
        self.outcome = Outcome()
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, kills: int) -> Outcome:
        """Kill ``kills`` times; directories change every ``LIVES`` kills, durability with them."""
        assert self.hear()["ready"]
        for number in range(-(-kills // LIVES)):
            durability = "os" if number % 3 == 2 else "always"
            self.one_directory(self.root / f"shop-{number}", durability, min(LIVES, kills - number * LIVES))
        return self.outcome

    def one_directory(self, directory: Path, durability: str, lives: int) -> None:
        """Several lives of one engine; its file is read after each death."""
        acked: set[int] = set()
        self.shown: dict[str, tuple[str, str, int]] = {}  # by request: slates that nobody clicked so far
        self.clicked: set[tuple[str, int]] = set()
        for _ in range(lives):
            point = POINTS[self.outcome.kills // 2 % len(POINTS)] if self.outcome.kills % 2 else ""
            order = {
                "directory": str(directory),
                "first": max(acked, default=-1) + 1,
                "durability": durability,
                "seed": self.chance.randrange(1 << 30),
                "fault": f"{point}:{self.chance.randint(1, 6 if point.startswith('append') else 2)}" if point else "",
                "shown": list(self.shown.values()),
                "life_s": PATIENCE_S if point else self.chance.uniform(0.0, LIFE_S),
            }
            self.tell(order)
            acked.update(self.watch())
            self.outcome.kills += 1
            if (directory / "endcap.db").exists():
                inspect(directory, acked, self.outcome)
            else:
                self.outcome.lost += len(acked)
        self.outcome.acked += len(acked)
        inspect_joins(directory, self.clicked, self.outcome)

    def watch(self) -> list[int]:
        """Listen to one child until it is dead; gives the numbers it had acknowledgements for."""
        acked: list[int] = []
        while True:
            message = self.hear()
            if "acked" in message:
                acked += message["acked"]
            elif "shown" in message:
                self.shown[message["shown"][0]] = message["shown"]
            elif "clicked" in message:
                self.clicked.add(tuple(message["clicked"]))
                self.shown.pop(message["clicked"][0], None)
            elif "recovered" in message:
                self.outcome.recoveries += 1
                self.outcome.from_snapshot += message["snapshot"] > 0
                self.outcome.unequal += message["recovered"] != message["rebuilt"]
            elif "died" in message:
                assert message["died"] == -signal.SIGKILL, "the child failed by itself; its traceback is on stderr"
                self.outcome.by_point[message["at"]] += 1
                return acked

    def tell(self, order: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the zygote is gone; its traceback is on stderr"
        return dict(json.loads(line))

    def close(self) -> None:
        """End the zygote."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


if __name__ == "__main__":
    zygote()
