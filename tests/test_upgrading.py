"""A newer Endcap on the data directory of an older one: what docs/upgrading.md promises."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest

import endcap.state
from endcap.artifacts import read_artifact, write_artifact
from endcap.config import Config, FeedbackConfig
from endcap.engine import Engine
from endcap.errors import EndcapError
from endcap.learning.store import ModelStore
from endcap.models.linear import LinearRanker
from served import serving, view

PAGE = Path(__file__).parent.parent / "docs/upgrading.md"


def shop(directory: Path) -> str:
    """A data directory with a snapshot at its newest event; gives the state's hash."""
    with serving(directory) as running:
        running.send(*(view(f"a{n % 5}", f"i{n % 7}") for n in range(60)))
        found = running.engine.state_hash()
    assert list((directory / "snapshots").glob("*.snapshot"))
    return found


def test_a_directory_with_a_snapshot_of_an_older_schema_starts_and_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr("endcap.engine.SCHEMA", "endcap-state-0")
        known = shop(tmp_path)
    (old,) = (tmp_path / "snapshots").glob("*.snapshot")
    assert read_artifact(old).schema.startswith("endcap-state-0:")
    assert endcap.state.SCHEMA != "endcap-state-0"
    with serving(tmp_path) as running:
        assert not running.engine.recovered.from_snapshot
        assert running.engine.recovered.replayed == running.engine.offset > 0
        assert running.engine.state_hash() == known
        assert running.slate(anon_id="a0")["items"]
    with serving(tmp_path) as running:
        assert running.engine.recovered.from_snapshot, "the stop has written one that fits"
        assert running.slate(anon_id="a0")["items"]


def test_a_snapshot_whose_arrays_have_another_layout_is_folded_anew(tmp_path: Path) -> None:
    known = shop(tmp_path)
    (path,) = (tmp_path / "snapshots").glob("*.snapshot")
    saved = read_artifact(path)
    schema, layout, settings = saved.schema.split(":")
    arrays = {**saved.arrays, "counters.of_an_older_version": np.zeros(3)}
    write_artifact(path, arrays, f"{schema}:{layout[::-1]}:{settings}", saved.meta)
    with serving(tmp_path) as running:
        assert not running.engine.recovered.from_snapshot
        assert running.engine.state_hash() == known
        assert running.slate(anon_id="a0")["items"]


def test_going_back_to_former_settings_folds_anew_and_forgets_nothing(tmp_path: Path) -> None:
    known = shop(tmp_path)
    with Engine.open(tmp_path, Config(feedback=FeedbackConfig(window_h=1.0))) as engine:
        assert not engine.recovered.from_snapshot
    with Engine.open(tmp_path) as engine:
        assert engine.state_hash() == known


def test_a_ranker_of_other_columns_is_refused_and_the_server_serves_without_it(tmp_path: Path) -> None:
    shop(tmp_path)
    store = ModelStore(tmp_path)
    number = store.save(lambda path: write_artifact(path, {}, "endcap-ranker-0", {"columns": ["of", "then"]}))
    (store.folder / "serving.json").write_text(f'{{"ranker": [{number}]}}')
    with serving(tmp_path) as running:
        assert isinstance(running.engine.ranker, LinearRanker)
        assert running.slate(anon_id="a0")["items"]
        assert 'endcap_model{kind="ranker"} 0.0' in running.client.get("/metrics").text


def test_a_log_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    shop(tmp_path)
    with sqlite3.connect(tmp_path / "endcap.db") as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version + 1}")
    with pytest.raises(EndcapError, match="newer"):
        Engine.open(tmp_path)


def test_the_page_says_what_is_kept_by_the_names_of_the_directory(tmp_path: Path) -> None:
    shop(tmp_path)
    told = set(re.findall(r"^\| `([\w.]+)/?`", PAGE.read_text("utf-8"), re.MULTILINE))
    assert {path.name for path in tmp_path.iterdir() if not re.search(r"-(wal|shm)$|\.lock$", path.name)} <= told
