"""``endcap train youtube_ranker``: the ranking network from the log into service, past the gate and past a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training the ranking network needs PyTorch: pip install 'endcap[torch]'")
pytest.importorskip("onnxruntime", reason="serving the ranking network needs onnxruntime: pip install 'endcap[onnx]'")

from endcap.config import Config, DeepConfig, LearningConfig, LogConfig
from endcap.engine import Engine
from endcap.learning.lessons import DAY_MS
from endcap.learning.store import ModelStore
from endcap.learning.train import train_and_judge
from endcap.runtime import Runtime, VirtualClock
from endcap.types import Query
from test_cli import Run, run  # noqa: F401  # a fixture
from test_train import START_MS, shop

CONFIG = Config(
    log=LogConfig(durability="os"),
    learning=LearningConfig(trees=8, leaves=4, queries=300, window_d=60.0),
    deep=DeepConfig(epochs=6, threads=1),
)
SETTINGS = "[learning]\ntrees = 8\nleaves = 4\nqueries = 300\nwindow_d = 60.0\n[deep]\nepochs = 6\nthreads = 1\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a log. Models of one test are there for the next: each counts from what it finds."""
    directory = tmp_path_factory.mktemp("log")
    with Engine.open(directory, CONFIG, Runtime(VirtualClock(START_MS))) as engine:
        engine.observe([stored.event for stored in shop().read(0, 100_000)])
    return directory


def test_the_command_trains_judges_serves_and_goes_back(directory: Path, tmp_path: Path, run: Run) -> None:  # noqa: F811
    settings = tmp_path / "endcap.toml"
    settings.write_text(SETTINGS)
    done = run("train", "youtube_ranker", "--dir", directory, "--config", settings, "--json")
    assert done.status == 0, done.err
    told = json.loads(done.out)["youtube_ranker"]
    assert told["promoted"]
    assert told["gate"]["new"] > told["gate"]["old"] + told["gate"]["standard_error"], "better than the fixed weights"
    listed = run("models", "list", "--dir", directory).out
    assert f"* {told['model']:4d}  ranker    network youtube_ranker" in listed

    store = ModelStore(directory)
    with Engine.open(directory, CONFIG, Runtime(VirtualClock(START_MS))) as engine:
        engine.use_ranker(store.ranker(told["model"], engine.columns))
        slate = engine.recommend(Query(user_id="u1", n=5, ts=START_MS + 8 * DAY_MS))
        assert slate.versions["ranker"] == f"onnx-{told['model']}"
        assert slate.rung == "full"
        scores = [placed.score for placed in slate.items]
        assert scores == sorted(scores, reverse=True)
        assert min(scores) > 0.0, "odds"

    again = run("train", "--dir", directory, "--config", settings)
    assert again.status == 0, again.err
    assert "(trees)" in again.out, "without arguments what serves is trained again, trees beside it"
    assert "(youtube_ranker)" in again.out
    assert run("models", "promote", str(told["model"]), "--dir", directory).status == 0
    assert store.serving() == told["model"]
    assert run("models", "rollback", "youtube_ranker", "--dir", directory).status == 0
    assert store.serving() != told["model"]


KILLED = """
import sys, time
from pathlib import Path
from endcap.learning.train import train_and_judge
from endcap.stores.sqlite import SqliteLog
from test_train_network import CONFIG

def slow(stage, done, total):
    if stage == "ranking pass 3":
        print("third", flush=True)
        time.sleep(60)

directory = Path(sys.argv[1])
train_and_judge(SqliteLog(directory / "endcap.db", read_only=True), directory, CONFIG, kinds=["youtube_ranker"],
                progress=slow)
"""


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_to_the_same_network(directory: Path) -> None:
    store = ModelStore(directory)
    (store.folder / "checkpoints" / "ranking.pt").unlink(missing_ok=True)
    stored = store.numbers()
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(directory)], stdout=subprocess.PIPE, cwd=Path(__file__).parent
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == b"third"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert store.numbers() == stored

    stages: list[str] = []
    graphs = []
    with Engine.open(directory, CONFIG, Runtime(VirtualClock(START_MS))) as engine:
        for checkpoint in ("kept", "gone"):
            if checkpoint == "gone":
                (store.folder / "checkpoints" / "ranking.pt").unlink()
            outcome = train_and_judge(
                engine.log, directory, CONFIG, kinds=["youtube_ranker"],
                progress=lambda stage, _done, _total: stages.append(stage),
            ).network  # fmt: skip
            assert outcome is not None
            assert not isinstance(outcome, str)
            graphs.append((outcome.meta["fit"]["epochs"], outcome.verdict))
    passes = [stage for stage in stages if stage.startswith("ranking")]
    assert passes[0] == "ranking pass 3"
    assert "ranking pass 1" in passes, "the second went all the way"
    assert graphs[0] == graphs[1]


def test_too_few_requests_are_said_and_nothing_is_stored(tmp_path: Path) -> None:
    with Engine.open(tmp_path, CONFIG, Runtime(VirtualClock(START_MS))) as engine:
        engine.observe([stored.event for stored in shop(40).read(0, 100_000)])
        outcome = train_and_judge(engine.log, tmp_path, CONFIG, kinds=["youtube_ranker"])
    assert isinstance(outcome.network, str)
    assert outcome.network.startswith("a ranking network needs 200 requests")
    assert ModelStore(tmp_path).numbers() == []
