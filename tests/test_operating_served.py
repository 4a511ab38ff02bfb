"""Routes for those who run the server: models, trainings, an experiment's history, the system; over real HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import lightgbm
import numpy as np
import pytest

from endcap.bench.served import free_port
from endcap.cli.output import progress_bar
from endcap.config import Config, FeedConfig, IntakeConfig, LogConfig
from endcap.engine import Engine
from endcap.errors import InvalidInput
from endcap.feedback.scoreboard import Interval
from endcap.learning.rankers import save_trees
from endcap.learning.store import ModelStore
from endcap.models.forest import feature_name
from endcap.models.tree_ranker import Head
from endcap.runtime import Runtime, VirtualClock
from endcap.server import trend
from endcap.server.experiments import ExperimentWatch, start_in
from endcap.server.service import Service
from endcap.server.settings import in_force
from endcap.server.training import Stage, Training, stage_in
from endcap.server.trend import Point, Trend
from served import Served, error_of, serving, view
from test_experiments import experiment
from test_scoreboard import Deed, outcomes, slots_of

CONFIG = Config(log=LogConfig(durability="os"))
NOW = 1_790_000_000_000
ROUTES = [
    ("GET", "/v1/models"), ("POST", "/v1/models/promote"), ("POST", "/v1/models/rollback"),
    ("GET", "/v1/models/training"), ("POST", "/v1/models/training"), ("GET", "/v1/system"),
    ("GET", "/v1/system/settings"), ("GET", "/v1/system/checks"), ("POST", "/v1/system/snapshot"),
]  # fmt: skip


def head(columns: tuple[str, ...]) -> Head:
    """A few trees that say nothing of worth."""
    rows = np.random.default_rng(1).normal(size=(200, len(columns))).astype(np.float32)
    data = lightgbm.Dataset(rows, rows[:, 0].copy(), feature_name=[feature_name(name) for name in columns])
    parameters = {"num_leaves": 4, "verbosity": -1, "min_data_in_leaf": 3, "num_threads": 1}
    return Head("click", lightgbm.train(parameters, data, 3).model_to_string(), 1.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("operating")
    store = ModelStore(directory)
    with serving(directory, keys=True, config=CONFIG) as running:
        running.client.headers.update(running.headers("admin"))
        columns = running.engine.columns
        for queries in (7, 8):
            store.save(partial(save_trees, heads=[head(columns)], columns=columns, meta={"queries": queries}))
        store.save(lambda path: path.write_bytes(b"no model at all" * 9))
        yield running


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_only_an_admin_key_opens_them(served: Served, method: str, path: str) -> None:
    for kind in ("browser", "server", "catalogue", "metrics"):
        error_of(served.client.request(method, path, headers=served.headers(kind)), 403)


# ---------------------------------------------------------------- models


def test_models_are_listed_promoted_and_rolled_back(served: Served) -> None:
    client = served.client
    listed = client.get("/v1/models").json()
    assert [one["number"] for one in listed["models"]] == [1, 2, 3]
    assert [one["meta"].get("queries") for one in listed["models"]] == [7, 8, None]
    assert listed["models"][2]["error"]
    assert not any(one["serving"] for one in listed["models"])
    for number in (1, 2):
        found = client.post("/v1/models/promote", json={"number": number}).json()
        assert [one["number"] for one in found["models"] if one["serving"]] == [number]
        kinds = {one["kind"]: one for one in found["kinds"]}
        assert kinds["ranker"]["number"] == number, "in use at once"
        assert kinds["ranker"]["since"] > 0
    assert kinds["ranker"]["before"] == [1]
    assert served.slate(anon_id="x")["versions"]["ranker"] == "trees-2"
    back = [client.post("/v1/models/rollback", json={}).json() for _ in range(2)]
    assert [{one["kind"]: one["number"] for one in found["kinds"]}["ranker"] for found in back] == [1, 0]
    assert served.slate(anon_id="x")["versions"]["ranker"] == "linear"


def test_what_cannot_serve_is_refused_and_changes_nothing(served: Served) -> None:
    client = served.client
    assert "no model 9" in error_of(client.post("/v1/models/promote", json={"number": 9}), 404)["message"]
    assert "cannot be used" in error_of(client.post("/v1/models/promote", json={"number": 3}), 400)["message"]
    assert "no kind 'tree'" in error_of(client.post("/v1/models/rollback", json={"kind": "tree"}), 400)["message"]
    assert "nothing to return from" in error_of(client.post("/v1/models/rollback"), 404)["message"]
    assert "no kind 'x'" in error_of(client.post("/v1/models/training", json={"kinds": ["x"]}), 400)["message"]
    for body in ("{", "[]", '{"number": "1"}', '{"numbers": 1}'):
        error_of(client.post("/v1/models/promote", content=body), 400)
    assert served.slate(anon_id="x")["versions"]["ranker"] == "linear"


def test_a_broken_pointer_is_told_and_what_is_stored_still_listed(served: Served) -> None:
    assert served.engine.directory is not None
    pointer = served.engine.directory / "models" / "serving.json"
    before = pointer.read_bytes() if pointer.exists() else b"{}"
    pointer.write_bytes(b"{")
    try:
        found = served.client.get("/v1/models").json()
        assert "serving.json cannot be read" in found["problem"]
        assert len(found["models"]) == 3
    finally:
        pointer.write_bytes(before)


def test_a_training_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "told"
    monkeypatch.setenv("ENDCAP_PROGRESS", str(file))
    with progress_bar() as step:
        assert stage_in(file) == Stage()
        step("reading", 1, 9)
        assert stage_in(file) == Stage(stage="reading", done=1, total=9)
        step("trees", 0, 0)
        assert stage_in(file) == Stage(stage="trees")
    file.write_bytes(b'{"stage": "tre')
    assert stage_in(file) == Stage()


def test_a_server_that_stops_begins_no_training(tmp_path: Path) -> None:
    with Engine.open(tmp_path, CONFIG) as engine:
        training = Training(engine, tmp_path, lambda *_: None)
        assert training.state().started_at == 0
        training.stop()
        with pytest.raises(InvalidInput, match="is stopping"):
            training.begin()


# ---------------------------------------------------------------- an experiment's history


def point(ts: int, units: int) -> Point:
    return Point(ts=ts, units=units, reward={"b": Interval(value=0.1, low=None, high=None)}, clicks={})


def test_points_are_close_at_first_and_an_hour_apart_later(tmp_path: Path) -> None:
    history = Trend(tmp_path)
    assert not history.is_due("x", 0, NOW)
    assert history.is_due("x", 1, NOW)
    history.note("x", point(NOW, 1_000))
    minute, hour = NOW + trend.MIN_MS, NOW + trend.MAX_MS
    assert not history.is_due("x", 1_030, minute - 1)
    assert history.is_due("x", 1_030, minute)
    assert not history.is_due("x", 1_029, minute)
    assert history.is_due("x", 1_001, hour)
    assert not history.is_due("x", 1_000, hour), "nobody new, nothing new"
    again = Trend(tmp_path)
    assert not again.is_due("x", 1_029, minute), "a restart knows the last point"


@pytest.mark.parametrize("n", [1, 299, 300, 301, 601, 1_000])
def test_a_long_history_is_thinned_and_keeps_its_end(tmp_path: Path, n: int) -> None:
    history = Trend(tmp_path)
    for k in range(n):
        history.note("x", point(NOW + k, k))
    found = history.read("x")
    assert len(found) <= trend.MOST_POINTS
    assert len(found) > min(n, trend.MOST_POINTS) // 2
    assert found[-1].units == n - 1
    assert [one.ts for one in found] == sorted(one.ts for one in found)


def test_a_line_cut_off_by_a_crash_is_skipped(tmp_path: Path) -> None:
    history = Trend(tmp_path)
    assert history.read("x") == []
    history.note("x", point(NOW, 1))
    with (tmp_path / trend.FOLDER / "x.jsonl").open("ab") as file:
        file.write(b'{"ts": 1, "uni\n')
    history.note("x", point(NOW + 1, 2))
    assert [one.units for one in history.read("x")] == [1, 2]


def test_the_watch_notes_points_of_what_runs(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    with Engine.open(tmp_path / "data", CONFIG, Runtime(clock)) as engine:
        service, directory = Service(engine, CONFIG), engine.directory
        assert directory is not None
        start_in(directory, experiment(), CONFIG.placements, engine.columns, NOW)
        watch = ExperimentWatch(service, directory, lambda *_: None)
        asyncio.run(watch.look())
        asyncio.run(watch.note())
        assert Trend(directory).read("spread") == [], "nobody was seen yet"
        labels = [engine.state.labels.intern(f"variant:spread/{name}") for name in ("now", "wide")]
        engine.state.scoreboard.grow(200, 0)
        slots = slots_of(*((u, labels[u % 2]) for u in range(200)))
        deeds = [Deed(u, *more) for u in range(200) for more in ((), (0, "click", 1.0 + u % 2))]
        engine.state.scoreboard.fold(outcomes(deeds, slots))
        asyncio.run(watch.note())
        asyncio.run(watch.note())
        (noted,) = Trend(directory).read("spread")
        assert (noted.ts, noted.units) == (NOW, 200)
        assert noted.reward["wide"].value == 1.0


def test_the_history_of_an_unknown_experiment_is_not_found(served: Served) -> None:
    error_of(served.client.get("/v1/experiments/x/history"), 404)


# ---------------------------------------------------------------- the system


def test_the_system_knows_its_log_snapshots_and_memory(served: Served) -> None:
    client = served.client
    if served.engine.offset == 0:
        assert "nothing to save" in error_of(client.post("/v1/system/snapshot"), 400)["message"]
    ack = served.send(view("ann", "tea"), view("ann", "pot"))
    saved = client.post("/v1/system/snapshot", json={}).json()["snapshots"]
    assert saved[0]["offset"] == ack["offset"]
    system = client.get("/v1/system").json()
    assert system["snapshots"] == saved
    assert system["log"]["events"] >= 2
    assert system["log"]["offset"] >= system["log"]["events"]
    assert system["memory"]["peak"] >= (system["memory"]["process"] or 0) > 0
    assert list(system["memory"]["parts"].values()) == sorted(system["memory"]["parts"].values(), reverse=True)
    assert system["keys"] is True
    assert system["started_at"] <= system["now"]
    assert [one["modality"] for one in system["encoders"]] == ["text", "image", "audio"]


def test_the_doctor_looks_while_the_server_runs(served: Served) -> None:
    checks = {one["name"]: one for one in served.client.get("/v1/system/checks").json()["checks"]}
    assert {"python", "sqlite", "kernels", "disk", "fsync", "log", "text encoder"} <= set(checks)
    assert checks["kernels"]["level"] == "ok"


def test_settings_name_their_source_and_hide_secrets() -> None:
    config = Config(
        intake=IntakeConfig(shopify_secret="hush"),
        feeds=[FeedConfig(name="f", url="https://me:hush@shop.example/feed.xml?token=hush")],
    )
    found = {one.name: one for one in in_force(config, {"intake.shopify_secret": "ENDCAP_INTAKE__SHOPIFY_SECRET"})}
    assert "hush" not in json.dumps({name: one.value for name, one in found.items()})
    assert found["intake.shopify_secret"].value == "(set)"
    assert found["intake.shopify_secret"].source == "ENDCAP_INTAKE__SHOPIFY_SECRET"
    assert found["feeds"].value[0]["url"] == "https://shop.example/feed.xml"
    assert found["intake.woocommerce_secret"].value == ""
    assert found["server.port"].source == "default"
    built = {one.name: one.source for one in in_force(config, None)}
    assert built["intake.shopify_secret"] == built["feeds"] == "program"
    assert built["server.port"] == "default"


def test_settings_in_force_over_http(served: Served) -> None:
    found = {one["name"]: one for one in served.client.get("/v1/system/settings").json()["settings"]}
    assert found["log.durability"] == {"name": "log.durability", "value": "os", "source": "program"}
    assert found["placements.home.n"]["source"] == "default"


@pytest.mark.slow
def test_endcap_serve_tells_the_server_where_its_settings_come_from(tmp_path: Path) -> None:
    (tmp_path / "endcap.toml").write_text("[learning]\ntrees = 7\n")
    port = free_port()
    command = [sys.executable, "-m", "endcap.cli", "serve", "--open", "--port", str(port), "--dir", "data"]
    outside = {**os.environ, "ENDCAP_CLEAN__SESSION_GAP_S": "60"}
    with subprocess.Popen(command, cwd=tmp_path, env=outside, stderr=subprocess.DEVNULL) as server:
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=10), timeout=60) as client:
                found = client.get(f"http://127.0.0.1:{port}/v1/system/settings").json()["settings"]
        finally:
            server.terminate()
    told = {one["name"]: one["source"] for one in found if one["source"] != "default"}
    assert told == {
        "server.port": "--port", "learning.trees": "endcap.toml", "clean.session_gap_s": "ENDCAP_CLEAN__SESSION_GAP_S",
    }  # fmt: skip
