"""The examples of docs/rankers.md run, one after the other, on a small shop's log; Keras only where it is installed."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest

from endcap.cli import models
from endcap.config import Config, LearningConfig
from endcap.engine import Engine
from endcap.runtime import Runtime, VirtualClock
from test_cli import Run, run  # noqa: F401  # a fixture
from test_docs import DOCS, blocks
from test_train import START_MS, shop

PAGE = DOCS / "rankers.md"
SETTINGS = "[learning]\nqueries = 300\nwindow_d = 60.0\n"
ESTIMATOR, CONVERTED, KERAS = blocks(PAGE, "python")


@pytest.fixture
def place(run: Run, tmp_path: Path) -> Path:  # noqa: F811  # run makes it the working directory
    """A working directory with a shop's data and its training table."""
    config = Config(learning=LearningConfig(queries=300, window_d=60.0))
    with Engine.open("endcap-data", config, Runtime(VirtualClock(START_MS))) as engine:
        engine.observe([stored.event for stored in shop(150).read(0, 100_000)])
    (tmp_path / "endcap.toml").write_text(SETTINGS)
    (command,) = commands("endcap train")
    assert run(*command).status == 0
    return tmp_path


def commands(start: str) -> list[list[str]]:
    """Shell lines of the page that start so, as arguments of ``endcap``."""
    lines = [line for block in blocks(PAGE, "sh") for line in block.splitlines() if line.startswith(start)]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def execute(code: str) -> None:
    exec(compile(code, PAGE.name, "exec"), {"__name__": "example"})


def test_an_estimator_serves(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    execute(ESTIMATOR)
    said = capsys.readouterr().out
    assert "'ranker': 'boosted'" in said
    assert len(re.findall(r"\('i\d+', 0\.\d+\)", said)) == 5


def test_a_converted_estimator_is_added_and_serves(place: Path, run: Run) -> None:  # noqa: F811
    pytest.importorskip("onnxruntime")
    pytest.importorskip("skl2onnx")
    execute(CONVERTED)
    serves(run)


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
def test_a_keras_network_is_exported_added_and_serves(place: Path, run: Run) -> None:  # noqa: F811
    execute(KERAS)
    serves(run)


def serves(run: Run) -> None:  # noqa: F811
    for command in commands("endcap models"):
        done = run(*command)
        assert done.status == 0, done.err
    slate = json.loads(run("recommend", "--user", "u1", "--json").out)
    assert (slate["versions"]["ranker"], slate["degraded"]) == ("onnx-1", [])
    assert slate["items"]


def test_the_page_of_training_names_commands_that_exist() -> None:
    known = {
        command.name or command.callback.__name__ for command in models.app.registered_commands if command.callback
    }
    text = (DOCS / "training.md").read_text("utf-8")
    assert set(re.findall(r"endcap models (\w+)", text)) <= known
