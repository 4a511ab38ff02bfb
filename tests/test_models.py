"""Trained rankers in service: a running server swaps without a failed request and refuses what is damaged."""

from __future__ import annotations

import io
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest

from endcap.config import Config, LearningConfig, LogConfig
from endcap.engine import Engine
from endcap.learning.store import POINTER, ModelStore
from endcap.learning.train import train_and_judge
from endcap.runtime import Runtime, VirtualClock
from endcap.server.requestlog import RequestLog
from endcap.types import Item
from served import Served, serving
from test_cli import Run, run  # noqa: F401  # a fixture
from test_plugged import network
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
            train_and_judge(engine.log, directory, CONFIG, kinds=["ranker"], force=True)
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
        part.write_text('{"ranker": [2, 1]}')
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
    done = run("train", "ranker", "--dir", directory, "--config", config, "--force", "--json")
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
    done = run("train", "ranker", "--dir", directory, "--config", config)
    assert done.status == 0
    assert "model 3 (trees): 300 examples learned from (0 of logged slates" in done.out
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


# ---------------------------------------------------------------- factors, content, a ranker of one's own

KINDS_OF_TEA = ("teapot", "teacup", "kettle", "tray", "spoon")
COLOURS = ("red", "blue", "green", "white", "yellow")


def records(n: int) -> list[Item]:
    return [
        Item(
            item_id=f"r{k}", title=f"{COLOURS[k % 5]} {KINDS_OF_TEA[k // 5 % 5]} model {k}",
            categories=[["home", KINDS_OF_TEA[k // 5 % 5]]], price=5.0 + k % 7,
        )
        for k in range(n)
    ]  # fmt: skip


def in_use(found: Served) -> tuple[bool, bool]:
    recommender = found.engine.recommender
    return "factors" in recommender.sources.serving(), "content" in recommender.sources.serving()


def wait_until(said: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not said():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_factors_and_content_are_swapped_into_a_running_server_and_out_of_it(directory: Path) -> None:
    store, lines = ModelStore(directory), io.StringIO()
    with serving(directory, config=CONFIG, log=RequestLog(stream=lines)) as served:
        served.engine.put_items(records(250))
        assert in_use(served) == (False, False)
        outcome = train_and_judge(served.engine.log, directory, CONFIG, kinds=["factors", "content"])
        assert outcome.vectors == {"factors": 3, "content": 4}
        wait_until(lambda: in_use(served) == (True, True))
        slate = served.slate(user_id="u1", n=12, explain=True)
        assert slate["explanation"]["per_source"]["factors"] > 0
        assert not slate["degraded"]
        file = store.folder / "000003.endcap"
        whole = file.read_bytes()
        store.rollback(served.engine.columns, "factors")
        wait_until(lambda: in_use(served) == (False, True))
        file.write_bytes(whole[:-5])
        part = store.folder / "part"
        part.write_text('{"ranker": [1, 2], "factors": [3], "content": [4]}')
        part.rename(store.folder / POINTER)
        wait_until(lambda: "model_refused" in lines.getvalue())
        assert in_use(served) == (False, True)
        file.write_bytes(whole)
    with serving(directory, config=CONFIG) as served:
        assert in_use(served) == (True, True), "a start takes what serves before the first request"


def test_a_new_product_is_found_once_its_post_is_answered(directory: Path) -> None:
    with serving(directory, config=CONFIG) as served:
        served.engine.put_items(records(250))
        train_and_judge(served.engine.log, directory, CONFIG, kinds=["content"])
        wait_until(lambda: in_use(served)[1])
        new = {
            "item_id": "brand-new",
            "title": "red teapot model 0 deluxe",
            "categories": [["home", "teapot"]],
            "price": 5,
        }
        assert served.client.post("/v1/items", json=[new]).status_code == 200
        found = served.client.get("/v1/items/r0/similar", params={"n": 60}).json()
        (placed,) = [one for one in found["items"] if one["item_id"] == "brand-new"]
        assert placed["sources"] == ["content"]
        served.engine.use_ranker(None)  # the trained one has never seen a product without history
        page = served.slate(anon_id="nobody", placement="product", items=["r0"], n=24)
        assert "brand-new" in [one["item_id"] for one in page["items"]]


def test_a_ranker_of_ones_own_is_added_and_served(run: Run, directory: Path, tmp_path: Path) -> None:  # noqa: F811
    file, names = tmp_path / "mine.onnx", tmp_path / "columns.json"
    file.write_bytes(network(2))
    names.write_text('["src:covisit", "src:popular"]')
    done = run("models", "add", file, "--columns", names, "--dir", directory)
    assert "model 3 is stored" in done.out, done.err
    with serving(directory, config=CONFIG) as served:
        assert ranker(served) == "trees-2"
        assert run("models", "promote", "3", "--dir", directory).status == 0
        wait_for("onnx-3", served)
        slate = served.slate(user_id="u1", n=5, explain=True)
        assert not slate["degraded"]
        for placed in slate["items"]:
            assert sum(placed["trace"].values()) == pytest.approx(placed["score"], rel=1e-5)
            assert placed["reasons"]
    assert "mine.onnx" in run("models", "list", "--dir", directory).out
    wrong = run("models", "add", file, "--dir", directory)
    assert wrong.status == 2
    assert "takes 2 columns" in wrong.err
    names.write_text("{}")
    assert "no list of names" in run("models", "add", file, "--columns", names, "--dir", directory).err
    assert "cannot read" in run("models", "add", tmp_path / "none.onnx", "--dir", directory).err


def test_the_training_table_is_written(run: Run, directory: Path, tmp_path: Path) -> None:  # noqa: F811
    config = tmp_path / "endcap.toml"
    config.write_text(SETTINGS)
    done = run("train", "--export", tmp_path / "table.parquet", "--dir", directory, "--config", config)
    assert done.status == 0, done.err
    assert pl.read_parquet(tmp_path / "table.parquet")["judged"].any()
    assert ModelStore(directory).numbers() == [1, 2]
