"""Stored rankers: what is saved scores the same, what is damaged or foreign is refused, and the pointer survives."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest

from endcap.artifacts import write_artifact
from endcap.errors import ArtifactError, NotFound
from endcap.learning.rankers import SCHEMA, fingerprint, save_onnx, save_trees
from endcap.learning.store import POINTER, ModelStore
from endcap.models.forest import feature_name
from endcap.models.plugged import OnnxGraph
from endcap.models.tree_ranker import Head, TreeRanker
from endcap.types import F4
from test_factors import random_factors
from test_plugged import network

COLUMNS = ("src:a", "b", "c")


def rows_of(n: int, seed: int = 0) -> F4:
    return np.random.default_rng(seed).normal(size=(n, len(COLUMNS))).astype(np.float32)


def head(seed: int = 0) -> Head:
    rows = rows_of(200, seed)
    data = lightgbm.Dataset(rows, rows[:, seed % 3].copy(), feature_name=[feature_name(name) for name in COLUMNS])
    parameters = {"num_leaves": 8, "verbosity": -1, "min_data_in_leaf": 3, "num_threads": 1}
    return Head("click", lightgbm.train(parameters, data, 5).model_to_string(), 1.5, -2.0, 1.0)


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return [head(seed) for seed in range(3)]


@pytest.fixture
def store(tmp_path: Path, heads: list[Head]) -> ModelStore:
    """Three rankers, none of them serving."""
    made = ModelStore(tmp_path)
    for one in heads:
        made.save(partial(save_trees, heads=[one], columns=COLUMNS, meta={"queries": 7}))
    return made


def test_what_is_saved_scores_the_same(store: ModelStore, heads: list[Head]) -> None:
    rows = rows_of(50, 9)
    for number, one in enumerate(heads, 1):
        assert (store.ranker(number, COLUMNS).score(rows) == TreeRanker("t", COLUMNS, [one]).score(rows)).all()


def test_nothing_serves_before_it_is_promoted_and_rollback_goes_all_the_way_back(store: ModelStore) -> None:
    assert store.serving() == 0
    for number in (1, 3, 2):
        store.promote(number, COLUMNS)
        assert store.serving() == number
    assert store.rollback(COLUMNS) == 3
    assert store.rollback(COLUMNS) == 1
    assert store.rollback(COLUMNS) == 0
    assert store.serving() == 0
    with pytest.raises(NotFound, match="nothing to return from"):
        store.rollback(COLUMNS)


def test_every_change_of_the_pointer_shows(store: ModelStore) -> None:
    stamps = [store.stamp()]
    for number in (1, 2):
        store.promote(number, COLUMNS)
        stamps.append(store.stamp())
    store.rollback(COLUMNS)
    stamps.append(store.stamp())
    assert stamps[0] is None
    assert len(set(stamps)) == 4


def test_an_unknown_number_is_not_found(store: ModelStore) -> None:
    with pytest.raises(NotFound, match="no model 9"):
        store.promote(9, COLUMNS)
    assert store.serving() == 0


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "not_ours"])
def test_a_damaged_file_is_refused_and_the_pointer_stays(store: ModelStore, damage: str) -> None:
    store.promote(1, COLUMNS)
    file = store.folder / "000002.endcap"
    whole = file.read_bytes()
    place = len(whole) // 2
    file.write_bytes(
        {
            "truncated": whole[:-100],
            "flipped": whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
            "empty": b"",
            "not_ours": b"tree\nversion=v4\n" * 20,
        }[damage]
    )
    with pytest.raises(ArtifactError, match="cannot be used"):
        store.promote(2, COLUMNS)
    assert store.serving() == 1
    assert store.models(COLUMNS)[1].error is not None


def test_a_ranker_of_other_features_is_refused(store: ModelStore) -> None:
    for other in ((*COLUMNS, "d"), COLUMNS[::-1]):
        with pytest.raises(ArtifactError, match="was trained on features"):
            store.promote(1, other)


def artifact(**change: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and facts as the store writes them, with changes."""
    from endcap.state import SCHEMA as STATE

    one = head()
    arrays: dict[str, Any] = {
        "scales": np.array([[1.5, -2.0, 1.0]]), "text0": np.frombuffer(one.text.encode(), np.uint8)
    }  # fmt: skip
    meta: dict[str, Any] = {"objectives": ["click"], "features": fingerprint(COLUMNS), "state": STATE}
    for name, value in change.items():
        (arrays if name in arrays else meta)[name] = value
    return arrays, meta


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scales": np.array([[np.nan, -2.0, 1.0]])}, "positive slope"),
        ({"scales": np.array([[1.5, -2.0]])}, "lacks a part"),
        ({"objectives": ["click", "cart"]}, "lacks a part"),
        ({"objectives": None}, "lacks a part"),
        ({"state": "endcap-state-0"}, "trained on state"),
        ({"text0": np.frombuffer(b"\xff\xfe", np.uint8)}, "no text"),
        ({"text0": np.frombuffer(b"tree\nversion=v4\n", np.uint8)}, "cut off"),
        ({"text0": np.frombuffer(head().text.replace("leaf_value=", "leaf_value=nan ").encode(), np.uint8)}, "entries"),
    ],
)
def test_an_intact_file_with_unusable_content_is_refused(store: ModelStore, change: dict[str, Any], says: str) -> None:
    arrays, meta = artifact(**change)
    write_artifact(store.folder / "000009.endcap", arrays, SCHEMA, meta)
    with pytest.raises(ArtifactError, match=says):
        store.load(9, COLUMNS)


def test_a_file_of_another_schema_is_refused(store: ModelStore) -> None:
    arrays, meta = artifact()
    write_artifact(store.folder / "000009.endcap", arrays, "endcap-ranker-0", meta)
    with pytest.raises(ArtifactError, match="schema"):
        store.load(9, COLUMNS)


def test_a_broken_pointer_is_named_with_what_mends_it(store: ModelStore) -> None:
    (store.folder / POINTER).write_text("{")
    with pytest.raises(ArtifactError, match="endcap models promote"):
        store.serving()


def test_an_empty_directory_has_no_models(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    assert (store.models(COLUMNS), store.serving(), store.stamp()) == ([], 0, None)


def test_kinds_serve_beside_each_other_and_go_back_each_for_itself(store: ModelStore) -> None:
    first, second = (store.save(random_factors(9, 4, 1.0, seed).save) for seed in range(2))
    for number, kind in ((1, "ranker"), (first, "factors"), (2, "ranker"), (second, "factors")):
        assert store.promote(number, COLUMNS) == kind
    assert (store.serving(), store.serving("factors"), store.serving("content")) == (2, second, 0)
    assert store.rollback(COLUMNS, "factors") == first
    assert (store.serving(), store.serving("factors")) == (2, first)
    assert [one.kind for one in store.models(COLUMNS)] == ["ranker"] * 3 + ["factors"] * 2
    assert [one.serving for one in store.models(COLUMNS)] == [False, True, False, True, False]
    with pytest.raises(NotFound, match="not a ranker"):
        store.ranker(first, COLUMNS)


def test_damaged_factors_are_refused(store: ModelStore) -> None:
    broken = random_factors(9, 4, 1.0, 0)
    broken.vectors[2, 1] = np.nan
    number = store.save(broken.save)
    with pytest.raises(ArtifactError, match="NaN"):
        store.promote(number, COLUMNS)
    file = store.folder / f"{number:06d}.endcap"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ArtifactError, match="SHA-256"):
        store.promote(number, COLUMNS)


def test_an_onnx_ranker_is_stored_and_scores_as_before(store: ModelStore) -> None:
    number = store.save(partial(save_onnx, model=OnnxGraph(network(2), ("c", "src:a")), meta={}))
    assert store.promote(number, COLUMNS) == "ranker"
    ranker, rows = store.ranker(number, COLUMNS), rows_of(20)
    assert ranker.name == f"onnx-{number}"
    np.testing.assert_allclose(ranker.score(rows), 1 / (1 + np.exp(rows[:, 2] - rows[:, 0])), rtol=1e-5)
    with pytest.raises(ArtifactError, match="feature rows do not have"):
        store.promote(number, ("src:a", "b"))


def test_an_artifact_that_is_no_model_is_refused(store: ModelStore) -> None:
    write_artifact(store.folder / "000009.endcap", {}, "endcap-snapshot-1", {})
    with pytest.raises(ArtifactError, match="expected one of"):
        store.promote(9, COLUMNS)
