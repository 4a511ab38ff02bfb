"""Trainings that a server starts: when they are due, never two at once, and what becomes of them."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import msgspec
import pytest

from endcap.config import Config, IntakeConfig, LearningConfig, LogConfig, load_config
from endcap.engine import Engine
from endcap.errors import ConfigError
from endcap.learning.store import FOLDER, ModelStore
from endcap.runtime import Runtime, VirtualClock
from endcap.server.requestlog import RequestLog
from endcap.server.training import LEAST_NEW_EVENTS, SETTINGS, Training
from endcap.stores.lock import WriterLock
from endcap.types import Interaction
from served import serving
from test_cli import Run, run  # noqa: F401  # a fixture
from test_train import START_MS, shop

HOUR_MS = 3_600_000
LOG = LogConfig(durability="os")


def config(every_h: float) -> Config:
    return Config(log=LOG, learning=LearningConfig(trees=8, leaves=4, queries=300, window_d=60.0, every_h=every_h))


def searches(n: int, begin: int = 0) -> list[Interaction]:
    """Events from which nothing can be learned."""
    return [Interaction(type="search", event_id=f"s{k}", ts=START_MS + k, anon_id="a") for k in range(begin, begin + n)]


class Said:
    """What was said, by event."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, event: str, message: str) -> None:
        self.lines.append((event, message))

    def events(self) -> list[str]:
        return [event for event, _ in self.lines]


def finish(training: Training, said: Said) -> None:
    """Look until the training that runs has ended."""
    deadline = time.monotonic() + 300
    n = len(said.lines)
    while len(said.lines) == n:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        training.look()


def test_a_training_is_due_after_its_time_and_with_news_only(tmp_path: Path) -> None:
    clock, said = VirtualClock(START_MS), Said()
    with Engine.open(tmp_path, config(2.0), Runtime(clock)) as engine:
        training = Training(engine, tmp_path, said)
        engine.observe(searches(LEAST_NEW_EVENTS))
        training.look()
        assert said.lines == []
        clock.ts += 2 * HOUR_MS
        training.look()
        training.look()
        assert said.events() == ["training_started"]
        finish(training, said)
        assert said.events() == ["training_started", "training_failed"]
        assert "status 2: endcap: the log holds no interaction" in said.lines[1][1]
        clock.ts += 2 * HOUR_MS
        engine.observe(searches(LEAST_NEW_EVENTS - 1, LEAST_NEW_EVENTS))
        training.look()
        assert len(said.lines) == 2
        engine.observe(searches(1, 9_000))
        training.look()
        assert said.events()[2:] == ["training_started"]
        training.stop()
        clock.ts += 2 * HOUR_MS
        engine.observe(searches(LEAST_NEW_EVENTS, 10_000))
        training.look()
        assert len(said.lines) == 3, "a server that stops starts nothing"


def test_a_second_training_is_refused_while_one_runs(run: Run, tmp_path: Path) -> None:  # noqa: F811
    with Engine.open(tmp_path, config(0.0)) as engine:
        engine.observe(searches(3))
    (tmp_path / FOLDER).mkdir()
    lock = WriterLock(tmp_path / FOLDER / "training.lock")
    status, _, told = run("train", "--dir", str(tmp_path))
    lock.release()
    assert status == 2
    assert "is being written by process" in told


def test_the_settings_reach_the_training_whole(tmp_path: Path) -> None:
    given = msgspec.structs.replace(config(3.0), static_items=["a", "b"])
    file = tmp_path / SETTINGS
    file.write_bytes(msgspec.json.encode(given))
    assert load_config(file, {})[0] == given
    file.write_text("{")
    with pytest.raises(ConfigError, match="is not valid JSON"):
        load_config(file, {})


def test_a_training_is_given_no_secret(tmp_path: Path) -> None:
    told = msgspec.structs.replace(config(3.0), intake=IntakeConfig(shopify_secret="s3cret", woocommerce_secret="w3b"))
    clock = VirtualClock(START_MS)
    with Engine.open(tmp_path, told, Runtime(clock)) as engine:
        training = Training(engine, tmp_path, Said())
        engine.observe(searches(LEAST_NEW_EVENTS))
        clock.ts += 4 * HOUR_MS
        training.look()
        training.stop()
    written = (tmp_path / FOLDER / SETTINGS).read_text()
    assert "s3cret" not in written
    assert "w3b" not in written
    assert load_config(tmp_path / FOLDER / SETTINGS, {})[0].learning == told.learning


def test_a_period_that_is_none_is_refused(tmp_path: Path) -> None:
    with Engine.open(tmp_path, config(-1.0)) as engine, pytest.raises(ConfigError, match="every_h is -1"):
        Training(engine, tmp_path, Said())


@pytest.mark.slow
def test_a_server_trains_by_itself_and_serves_what_it_learned(tmp_path: Path) -> None:
    events = [stored.event for stored in shop(300).read(0, 100_000)]
    assert len(events) > LEAST_NEW_EVENTS
    with Engine.open(tmp_path, config(0.0), Runtime(VirtualClock(START_MS))) as engine:
        engine.observe(events)
    lines = io.StringIO()
    with serving(tmp_path, config=config(0.0002), log=RequestLog(stream=lines)) as served:
        deadline = time.monotonic() + 300
        while served.slate(user_id="u1", n=5)["versions"]["ranker"] == "linear":
            assert time.monotonic() < deadline, lines.getvalue()
            time.sleep(0.2)
        time.sleep(3.0)
    said = [json.loads(line) for line in lines.getvalue().splitlines()]
    done = [one for one in said if one["event"] == "training_done"]
    assert len(done) == 1, "no news, no second training"
    assert "it serves from now on" in done[0]["message"]
    assert ModelStore(tmp_path).serving() > 0
