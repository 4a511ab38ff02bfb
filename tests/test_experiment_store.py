"""experiments.json: what was written comes back, two writers lose nothing, a broken file is refused and kept."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from endcap.errors import CorruptStore, InvalidInput, StoreError
from endcap.feedback.experiments import Experiment, stopped
from endcap.stores.experiments import FILE, ExperimentStore
from test_experiments import experiment


def store_of(directory: Path) -> ExperimentStore[Experiment]:
    return ExperimentStore(directory, Experiment)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    assert store.read() == []
    assert store.stamp() is None
    kept = [experiment(name="old", ended_at=9, stopped="enough"), experiment(kind="ab", share=0.3)]
    assert store.change(lambda _: kept) == kept
    assert store_of(tmp_path).read() == kept
    before = store.stamp()
    store.change(lambda all_: stopped(all_, "spread", "enough", 7))
    assert store.stamp() != before
    assert [one.running for one in store.read()] == [False, False]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".experiments.lock", FILE]


def test_a_refused_change_changes_nothing(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    store.change(lambda _: [experiment(ended_at=3)])
    before = store.path.read_bytes()
    with pytest.raises(InvalidInput, match="has ended already"):
        store.change(lambda all_: stopped(all_, "spread", "again", 7))
    assert store.path.read_bytes() == before


def test_two_writers_at_a_time_lose_nothing(tmp_path: Path) -> None:
    def add(first: int) -> None:
        for k in range(first, first + 20):
            store_of(tmp_path).change(lambda all_, k=k: [*all_, experiment(name=f"e{k}")])  # type: ignore[misc]

    threads = [threading.Thread(target=add, args=(begin,)) for begin in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.name for one in store_of(tmp_path).read()}) == 60


@pytest.mark.parametrize("text", [
    "", "{", '[{"name": "x"}]', '[{"name": "x", "placement": "home", "variants": {}, "colour": 1}]', '{"a": 1}',
    "[\xff]",
])  # fmt: skip
def test_a_broken_file_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    data = text.encode("latin-1")
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(CorruptStore, match=r"experiments\.json cannot be used: .* restore it from a backup"):
        store_of(tmp_path).read()
    with pytest.raises(CorruptStore):
        store_of(tmp_path).change(lambda all_: [*all_, experiment()])
    assert (tmp_path / FILE).read_bytes() == data


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot open .*\.experiments\.lock"):
        store_of(tmp_path / "nowhere").change(lambda all_: all_)
    os.mkdir(tmp_path / FILE)
    with pytest.raises(StoreError, match="cannot read"):
        store_of(tmp_path).read()
