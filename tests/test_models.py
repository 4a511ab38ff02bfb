"""Trained rankers in service: a running server swaps without a failed request and refuses what is damaged."""

from __future__ import annotations

import io
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from endcap.config import Config, LearningConfig, LogConfig
from endcap.engine import Engine
from endcap.learning.store import POINTER, ModelStore
from endcap.learning.train import train_and_judge
from endcap.runtime import Runtime, VirtualClock
from endcap.server.requestlog import RequestLog
from served import Served, serving
from test_cli import Run, run  # noqa: F401  # a fixture
from test_train import START_MS, shop

CONFIG = Config(
    log=LogConfig(durability="os"), learning=LearningConfig(trees=8, leaves=4, queries=300, window_d=60.0)
)  # fmt: skip
SETTINGS = "[learning]\ntrees = 8\nleaves = 4\nqueries = 300\nwindow_d = 60.0\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a log and two rankers, the second of which serves."""
    directory = tmp_path_factory.mktemp("trained")
    events = [stored.event for stored in shop(150).read(0, 100_000)]
    with Engine.open(directory, CONFIG, Runtime(VirtualClock(START_MS))) as engine:
        engine.observe(events)
        for _ in range(2):
            train_and_judge(engine.log, directory, CONFIG, force=True)
    return directory


@pytest.fixture
def directory(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "data"))


@pytest.fixture
def served(directory: Path) -> Iterator[Served]:
    with serving(directory, config=CONFIG) as found:
        yield found


def ranker(found: Served) -> str:
    name: str = found.slate(user_id="u1", n=5)["versions"]["ranker"]
    return name


def wait_for(name: str, found: Served) -> None:
    deadline = time.monotonic() + 20
    while ranker(found) != name:
        assert time.monotonic() < deadline, f"{name} does not serve"
        time.sleep(0.05)


def test_a_server_starts_with_the_ranker_that_serves_and_follows_the_pointer(served: Served, directory: Path) -> None:
    store, columns = ModelStore(directory), served.engine.columns
    assert ranker(served) == "trees-2"
    assert store.rollback(columns) == 1
    wait_for("trees-1", served)
    assert store.rollback(columns) == 0
    wait_for("linear", served)
    store.promote(2, columns)
    wait_for("trees-2", served)


def test_requests_under_way_do_not_notice_a_swap(served: Served, directory: Path) -> None:
    store, columns = ModelStore(directory), served.engine.columns
    failures: list[str] = []
    seen: set[str] = set()
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=served.url, timeout=30) as client:
            while not stop.is_set():
                answer = client.post("/v1/recommend", json={"user_id": "u1", "n": 5})
                if answer.status_code != 200 or answer.json().get("degraded") or len(answer.json()["items"]) != 5:
                    failures.append(answer.text)
                seen.add(answer.json()["versions"]["ranker"])

    shoppers = [threading.Thread(target=ask) for _ in range(2)]
    for shopper in shoppers:
        shopper.start()
    for number in (1, 2, 1):
        store.promote(number, columns)
        wait_for(f"trees-{number}", served)
    stop.set()
    for shopper in shoppers:
        shopper.join()
    assert failures == []
    assert seen == {"trees-1", "trees-2"}


def test_a_damaged_ranker_is_refused_and_the_old_one_goes_on(directory: Path) -> None:
    store, lines = ModelStore(directory), io.StringIO()
    with serving(directory, config=CONFIG, log=RequestLog(stream=lines)) as served:
        assert ranker(served) == "trees-2"
        file = store.folder / "000001.endcap"
        file.write_bytes(file.read_bytes()[:-1])
        part = store.folder / "part"
        part.write_text('{"history": [2, 1]}')
        part.rename(store.folder / POINTER)
        deadline = time.monotonic() + 20
        while "model_refused" not in lines.getvalue():
            assert time.monotonic() < deadline, "nothing was said"
            time.sleep(0.05)
        assert ranker(served) == "trees-2"
        assert "SHA-256" in lines.getvalue()
        store.promote(2, served.engine.columns)
        wait_for("trees-2", served)


def test_an_explained_slate_tells_the_trees_terms(served: Served) -> None:
    slate = served.slate(user_id="u1", n=5, explain=True)
    for placed in slate["items"]:
        assert sum(placed["trace"].values()) == pytest.approx(placed["score"], rel=1e-3)
        assert placed["score"] > 0


# ---------------------------------------------------------------- command line


def test_train_list_promote_and_rollback(run: Run, directory: Path, tmp_path: Path) -> None:  # noqa: F811
    config = tmp_path / "endcap.toml"
    config.write_text(SETTINGS)
    done = run("train", "--dir", directory, "--config", config, "--force", "--json")
    assert done.status == 0, done.err
    told = json.loads(done.out)
    assert (told["model"], told["promoted"]) == (3, True)
    assert told["gate"]["queries"] > 30
    listed = json.loads(run("models", "list", "--dir", directory, "--json").out)["models"]
    assert [(one["number"], one["serving"]) for one in listed] == [(1, False), (2, False), (3, True)]
    assert run("models", "promote", "1", "--dir", directory).status == 0
    assert "model 3 serves again" in run("models", "rollback", "--dir", directory).out
    asked = run("recommend", "--user", "u1", "--dir", directory, "--json")
    assert json.loads(asked.out)["versions"]["ranker"] == "trees-3"


def test_train_speaks_plainly(run: Run, directory: Path, tmp_path: Path) -> None:  # noqa: F811
    config = tmp_path / "endcap.toml"
    config.write_text(SETTINGS)
    done = run("train", "--dir", directory, "--config", config)
    assert done.status == 0
    assert "model 3: 300 requests learned from" in done.out
    assert "NDCG@20" in done.out


def test_a_damaged_ranker_is_listed_and_cannot_be_promoted(run: Run, directory: Path) -> None:  # noqa: F811
    (directory / "models" / "000001.endcap").write_bytes(b"nothing")
    assert "unusable" in run("models", "list", "--dir", directory).out
    done = run("models", "promote", "1", "--dir", directory)
    assert done.status == 2
    assert "cannot be used" in done.err
    (directory / "models" / "000002.endcap").write_bytes(b"nothing")
    asked = run("recommend", "--user", "u1", "--dir", directory, "--json")
    assert json.loads(asked.out)["versions"]["ranker"] == "linear"
    assert "the trained ranker is not used" in asked.err


def test_training_without_data_says_what_to_do(run: Run, tmp_path: Path) -> None:  # noqa: F811
    assert "no data directory" in run("train", "--dir", tmp_path / "none").err
    Engine.open(tmp_path / "empty", CONFIG).close()
    done = run("train", "--dir", tmp_path / "empty")
    assert done.status == 2
    assert "nothing to learn from" in done.err
