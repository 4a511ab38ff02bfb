"""Vectors that a shop brings: over HTTP, in records, in the log, in snapshots; what is refused, and how it is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endcap.config import Config, LogConfig
from endcap.engine import Engine
from endcap.errors import InvalidInput, NotFound
from endcap.item_vectors import drop_vectors, put_vectors, vector_of, vector_sets
from endcap.models.vector_sets import MOST_NUMBERS, MOST_SETS, VectorSets
from endcap.runtime import Runtime, VirtualClock
from endcap.types import F4, Interaction, Item, VectorChange
from served import Served, error_of, serving

CONFIG = Config(log=LogConfig(durability="os"))
START_MS = 1_760_000_000_000
GOOD = {"vector": [3.0, 4.0], "encoder": "eye", "version": "2"}


def opened(directory: Path) -> Engine:
    return Engine.open(directory, CONFIG, Runtime(VirtualClock(START_MS), seed=1))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with opened(tmp_path) as made:
        made.put_items([Item(item_id=f"i{k}", title=f"Thing {k}") for k in range(6)])
        yield made


def put(engine: Engine, item_id: str, *numbers: float, name: str = "image", encoder: str = "eye") -> None:
    ack = put_vectors(engine, name, encoder, "1", [item_id], [np.array(numbers, np.float32)])
    assert not ack.rejected, ack.rejected


# ---------------------------------------------------------------- the set


def change(name: str, item_id: str | None, numbers: list[float] | None, encoder: str = "eye") -> VectorChange:
    packed = None if numbers is None else np.array(numbers, "<f4").tobytes()
    return VectorChange(event_id="x", name=name, ts=0, item_id=item_id, vector=packed, encoder=encoder, version="1")


def test_a_vector_is_kept_with_length_one() -> None:
    sets = VectorSets()
    sets.fold(change("image", "a", [3, 4]), 0)
    assert sets.vector("image", 0) == pytest.approx([0.6, 0.8])
    assert (sets.held("image"), sets.held("text")) == (1, 0)
    assert sets.vector("image", 1) is None
    assert sets.vector("text", 0) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(-5, 5), min_size=3, max_size=3)), max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_near_and_search_are_those_of_plain_cosines(steps: list[tuple[int, list[int]]]) -> None:
    """After any sets and removals (zeros here mean: taken away), with lists asked for in between."""
    sets, held = VectorSets(), dict[int, F4]()
    for item, numbers in steps:
        taken_away = not any(numbers)
        sets.fold(change("image", "x", None if taken_away else [float(x) for x in numbers]), item)
        if taken_away:
            held.pop(item, None)
        else:
            held[item] = np.array(numbers) / np.linalg.norm(numbers)
        sets.near("image", item)
    assert sets.held("image") == len(held)
    for item, unit in held.items():
        cosines = {other: float(unit @ vector) for other, vector in held.items() if other != item}
        wanted = {other: cosine for other, cosine in cosines.items() if cosine > 1e-5}
        for items, found in (sets.near("image", item), sets.search("image", unit.astype(np.float32), 9, item)):
            got = {i: c for i, c in zip(items.tolist(), found.tolist(), strict=True) if c > 1e-5}
            assert got == pytest.approx(wanted, abs=1e-5)
            assert np.all(np.diff(found) <= 0)


def test_a_set_has_one_encoder_until_it_is_dropped_or_empty() -> None:
    sets = VectorSets()
    sets.fold(change("image", "a", [1, 0]), 0)
    sets.fold(change("image", "b", [1, 0], encoder="other"), 1)
    sets.fold(change("image", "c", [1, 0, 0]), 2)
    assert (sets.held("image"), sets.has("image", 1), sets.has("image", 2)) == (1, False, False)
    assert "never mixed" in sets.conflict("image", "other", "1", 2)
    assert "with 2 numbers; got 'eye' version '1' with 3" in sets.conflict("image", "eye", "1", 3)
    sets.fold(change("image", "a", None), 0)
    assert sets.conflict("image", "other", "1", 5) == ""
    sets.fold(change("image", "b", [1, 0, 1], encoder="other"), 1)
    sets.fold(change("image", None, None), -1)
    assert len(sets) == 0
    for k in range(MOST_SETS):
        sets.fold(change(f"s{k}", "a", [1]), 0)
    sets.fold(change("more", "a", [1]), 0)
    assert len(sets) == MOST_SETS
    assert f"there are {MOST_SETS} sets" in sets.conflict("more", "eye", "1", 1)


@pytest.mark.parametrize("numbers", [[], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0], [1.0] * 4097])
def test_what_a_log_may_hold_but_nobody_can_use_is_passed_over(numbers: list[float]) -> None:
    sets = VectorSets()
    sets.fold(change("image", "a", numbers), 0)
    sets.take(0, {"own": numbers, "No name": [1.0], "all": [1.0]})
    assert len(sets) == 0


def test_what_is_saved_does_not_depend_on_searches_and_comes_back_whole() -> None:
    """Above 8,192 rows a search lays rows elsewhere; the state must not notice."""
    rng = np.random.default_rng(1)
    quiet, searched, loaded = VectorSets(), VectorSets(), VectorSets()
    for k in range(9_000):
        one = change("image", "x", rng.standard_normal(4).tolist())
        quiet.fold(one, k)
        searched.fold(one, k)
    for item in (7, 8_500, 7):
        searched.near("image", item)
        searched.search("image", np.ones(4, np.float32) / 2, 50)
        one = change("image", "x", rng.standard_normal(4).tolist())
        gone = change("image", "x", None)
        for sets in (quiet, searched):
            sets.fold(one, item)
            sets.fold(gone, item + 1)
    expected = quiet.arrays(0, 0)
    loaded.load({name: array.copy() for name, array in expected.items()})
    for sets in (searched, loaded):
        found = sets.arrays(0, 0)
        assert found.keys() == expected.keys()
        for name, array in found.items():
            assert array.tobytes() == expected[name].tobytes()
    assert (loaded.held("image"), loaded.has("image", 8), loaded.has("image", 7)) == (8_998, False, True)


# ---------------------------------------------------------------- the engine


def test_vectors_are_there_after_a_crash_a_snapshot_and_a_rebuild(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    engine = opened(tmp_path)
    engine.put_items([Item(item_id=f"i{k}", vectors={"own": rng.standard_normal(5).tolist()}) for k in range(20)])
    put_vectors(engine, "image", "eye", "1", [f"i{k}" for k in range(20)], rng.standard_normal((20, 7)))
    engine.snapshot()
    put(engine, "i3", *rng.standard_normal(7).tolist())
    before, told, kept = engine.state_hash(), vector_sets(engine), vector_of(engine, "image", "i3")
    near = [array.copy() for array in engine.state.vectors.near("image", 3)]
    engine.close(snapshot=False)
    with opened(tmp_path) as again:
        assert (again.recovered.from_snapshot, again.recovered.replayed) == (True, 1)
        assert (again.state_hash(), vector_sets(again), vector_of(again, "image", "i3")) == (before, told, kept)
        for one, other in zip(again.state.vectors.near("image", 3), near, strict=True):
            np.testing.assert_array_equal(one, other)
        again.rebuild()
        assert again.state_hash() == before


def test_a_record_that_does_not_speak_of_vectors_keeps_them(engine: Engine) -> None:
    put(engine, "i0", 1, 2)
    engine.put_items([Item(item_id="i0", title="Anew", vectors={"own": [5.0, 0.0]})])
    assert vector_of(engine, "image", "i0").vector == pytest.approx([0.4472136, 0.8944272])
    assert vector_of(engine, "own", "i0").vector == [1.0, 0.0]
    assert (vector_of(engine, "own", "i0").encoder, engine.item("i0").vectors) == ("unnamed", {})
    engine.put_items([Item(item_id="i0", title="Again")])
    assert vector_of(engine, "own", "i0").vector == [1.0, 0.0]


def test_deleting_an_item_erases_its_vectors_for_good(engine: Engine) -> None:
    put(engine, "i0", 1, 2)
    put(engine, "i1", 1, 1)
    engine.delete_items(["i0"])
    with pytest.raises(NotFound, match="has no vector called 'image'"):
        vector_of(engine, "image", "i0")
    assert engine.state.vectors.near("image", 1)[0].tolist() == []
    ack = put_vectors(engine, "image", "eye", "1", ["i0"], np.ones((1, 2)))
    assert [refusal.code for refusal in ack.rejected] == ["no_item"]
    engine.put_items([Item(item_id="i0")])
    assert engine.state.vectors.held("image") == 1


def test_an_item_known_from_events_may_have_vectors(engine: Engine) -> None:
    engine.observe([Interaction(type="view", anon_id="a", item_id="seen")])
    put(engine, "seen", 1, 2)
    assert vector_of(engine, "image", "seen").dim == 2


def test_each_bad_vector_of_many_is_refused_and_the_others_are_taken(engine: Engine) -> None:
    vectors = [[1, 2], [0, 0], [float("nan"), 1], [1, 2, 3], [4, 5], [1, 1], [6, 7]]
    ids = ["i0", "i1", "i2", "i3", "ghost", "i4", "i5"]
    ack = put_vectors(engine, "image", "eye", "1", ids, [np.array(one, np.float32) for one in vectors])
    assert ack.accepted == 3
    assert [(one.index, one.code) for one in ack.rejected] == [
        (1, "bad_vector"), (2, "bad_vector"), (3, "mixed"), (4, "no_item")
    ]  # fmt: skip
    assert all(one.message for one in ack.rejected)
    assert vector_sets(engine)[0].items == 3


def test_another_encoder_is_refused_as_a_whole_until_the_set_is_dropped(engine: Engine) -> None:
    put(engine, "i0", 1, 2)
    with pytest.raises(InvalidInput, match=r"encoder 'eye' version '1' with 2 numbers; got 'new'.*--replace"):
        put_vectors(engine, "image", "new", "1", ["i0"], np.ones((1, 3)))
    drop_vectors(engine, "image")
    assert put_vectors(engine, "image", "new", "1", ["i0"], np.ones((1, 3))).accepted == 1
    with pytest.raises(NotFound, match="no set of vectors called 'audio'; there are: image"):
        drop_vectors(engine, "audio")


# ---------------------------------------------------------------- over HTTP


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("vectors"), keys=True) as running:
        running.client.headers.update(running.headers("catalogue"))
        for item_id in ("lamp", "a/b", "desk"):
            answer = running.client.put(f"/v1/items/{item_id.replace('/', '%2F')}", json={"title": item_id})
            assert answer.status_code == 200
        yield running


def test_put_get_delete(served: Served) -> None:
    at = "/v1/items/a%2Fb/vectors/picture"
    assert served.client.put(at, json=GOOD).json()["accepted"] == 1
    assert served.client.get(at).json() == {
        "item_id": "a/b", "name": "picture", "vector": pytest.approx([0.6, 0.8]), "encoder": "eye", "version": "2",
        "dim": 2,
    }  # fmt: skip
    told = {"name": "picture", "encoder": "eye", "version": "2", "dim": 2, "items": 1}
    assert told in served.client.get("/v1/vectors").json()["sets"]
    assert served.client.delete(at).status_code == 200
    assert "no set of vectors called 'picture'" in error_of(served.client.get(at), 404)["message"]
    assert served.client.delete(at).status_code == 200
    assert "no set" in error_of(served.client.delete("/v1/vectors/picture"), 404)["message"]


@pytest.mark.parametrize(("body", "says"), [
    ({**GOOD, "vector": []}, "has 0 numbers"),
    ({**GOOD, "vector": [0.0, 0]}, "all zeros"),
    ({**GOOD, "vector": [1e39, 1]}, "infinite"),
    ({**GOOD, "vector": [1.0] * (MOST_NUMBERS + 1)}, f"expected 1 to {MOST_NUMBERS}"),
    ({**GOOD, "vector": ["1", 2]}, "float"),
    ({**GOOD, "vector": "abc"}, "array"),
    ({**GOOD, "encoder": ""}, "encoder is ''"),
    ({**GOOD, "version": "v" * 200}, "version is"),
    ({"vector": [1.0], "encoder": "eye"}, "version"),
])  # fmt: skip
def test_a_vector_that_cannot_be_used_is_refused_clearly(served: Served, body: dict[str, Any], says: str) -> None:
    assert says in error_of(served.client.put("/v1/items/lamp/vectors/image", json=body), 400)["message"]


def test_nan_in_json_is_refused(served: Served) -> None:
    answer = served.client.put(
        "/v1/items/lamp/vectors/image", content=b'{"vector": [NaN, 1], "encoder": "e", "version": "1"}'
    )
    assert "not valid JSON" in error_of(answer, 400)["message"]


@pytest.mark.parametrize("name", ["Image", "all", "behaviour", "x" * 33, "9", "a%20b"])
def test_a_name_that_is_none_is_refused(served: Served, name: str) -> None:
    assert error_of(served.client.put(f"/v1/items/lamp/vectors/{name}", json=GOOD), 400)["field"] == "name"


def test_mixing_is_refused_with_the_way_out(served: Served) -> None:
    assert served.client.put("/v1/items/lamp/vectors/sound", json=GOOD).status_code == 200
    for wrong in ({"encoder": "ear"}, {"version": "3"}, {"vector": [1, 2, 3]}):
        message = error_of(served.client.put("/v1/items/desk/vectors/sound", json={**GOOD, **wrong}), 400)["message"]
        assert "'eye' version '2' with 2 numbers" in message
        assert "DELETE /v1/vectors/sound" in message
    assert served.client.delete("/v1/vectors/sound").status_code == 200
    assert served.client.put("/v1/items/desk/vectors/sound", json={**GOOD, "encoder": "ear"}).status_code == 200


def test_an_unknown_item_is_not_found(served: Served) -> None:
    assert "send it first" in error_of(served.client.put("/v1/items/ghost/vectors/image", json=GOOD), 404)["message"]


def test_records_bring_vectors_and_one_bad_one_costs_its_record_alone(served: Served) -> None:
    records = [
        {"item_id": "r1", "vectors": {"own": [1, 2]}},
        {"item_id": "r2", "vectors": {"own": [0, 0]}},
        {"item_id": "r3", "vectors": {"own": [2, 1]}},
        {"item_id": "r4", "vectors": {"Own": [2, 1]}},
    ]
    ack = served.client.post("/v1/items", json=records).json()
    assert (ack["accepted"], [refusal["index"] for refusal in ack["rejected"]]) == (2, [1, 3])
    assert served.client.get("/v1/items/r1/vectors/own").json()["encoder"] == "unnamed"
    wrong = served.client.put("/v1/items/r1", json={"vectors": {"own": [1, 2, 3]}})
    assert "with 2 numbers" in error_of(wrong, 400)["message"]
    assert served.client.patch("/v1/items/r1", json={"title": "T"}).status_code == 200
    assert served.client.get("/v1/items/r1/vectors/own").json()["vector"] == pytest.approx([0.4472136, 0.8944272])


def test_a_large_vector_fits_into_a_record(served: Served) -> None:
    numbers = np.random.default_rng(0).standard_normal(MOST_NUMBERS).tolist()
    assert served.client.put("/v1/items/big", json={"vectors": {"large": numbers}}).status_code == 200
    assert served.client.get("/v1/items/big/vectors/large").json()["dim"] == MOST_NUMBERS


def test_only_catalogue_keys_write_vectors(served: Served) -> None:
    for kind in ("browser", "server"):
        answer = served.client.put("/v1/items/lamp/vectors/image", json=GOOD, headers=served.headers(kind))
        error_of(answer, 403)
