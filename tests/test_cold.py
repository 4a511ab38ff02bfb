"""Cold items: the map to the factors' space, against a plain regression; and a new item in the very next slate."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from endcap.config import Config
from endcap.engine import Engine
from endcap.errors import ArtifactError
from endcap.features.catalogue import Catalogue
from endcap.learning import cold
from endcap.learning.cold import fit_projection
from endcap.learning.store import ModelStore
from endcap.learning.train import train_and_judge
from endcap.learning.vectors import refit_vectors
from endcap.models.cold import ColdItems, Projection, inputs
from endcap.models.factors import Factors, FactorsSource
from endcap.models.vector_sets import Space, VectorSets
from endcap.preprocess.ids import Ids
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import F4, Event, Interaction, Item, ItemChange, VectorChange
from proposals import interest_of, order_of, proposed
from served import serving

KINDS = ("lantern", "kettle", "scarf", "spade")
COLOURS = ("red", "blue", "green", "amber", "ivory", "violet", "teal", "rose")
N, SEEN, HEARD = 240, 8, 6


def record(k: int) -> Item:
    return Item(item_id=f"i{k}", title=f"{COLOURS[k // 4 % 8]} {KINDS[k % 4]} number {k}")


def as_change(name: str, vector: F4, item_id: str = "") -> VectorChange:
    return VectorChange(
        event_id="v", item_id=item_id, name=name, encoder="eye", version="1", vector=vector.astype("<f4").tobytes(),
        ts=1, received_at=1,
    )  # fmt: skip


def a_shop(missing: float = 0.0, seed: int = 0) -> tuple[F4, list[Item], VectorSets, VectorSets]:
    """Learned vectors of two halves: one that a picture shows, one that a sound tells; words say nothing.

    Second set: no sounds.
    """
    rng = np.random.default_rng(seed)
    seen, heard = rng.standard_normal((N, SEEN)), rng.standard_normal((N, HEARD))
    both = rng.standard_normal((SEEN, 6)), rng.standard_normal((HEARD, 6))
    sets, deaf = VectorSets(), VectorSets()
    for k in range(N):
        seen[k], heard[k] = seen[k] / np.linalg.norm(seen[k]), heard[k] / np.linalg.norm(heard[k])
        if rng.random() >= missing:
            sets.fold(as_change("image", seen[k], f"i{k}"), k)
            deaf.fold(as_change("image", seen[k], f"i{k}"), k)
        sets.fold(as_change("audio", heard[k], f"i{k}"), k)
    vectors = seen @ both[0] + heard @ both[1] + 0.3
    return vectors.astype(np.float32), [Item(item_id=f"i{k}") for k in range(N)], sets, deaf


def cosines(a: F4, b: F4) -> float:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / lengths).mean())


def fitted(vectors: F4, records: list[Item], sets: VectorSets, n: int = 180) -> Projection:
    warm = np.arange(n, dtype=np.int32)
    found = fit_projection(warm, vectors[:n], np.full(n, 5, np.int32), list(records[:n]), sets)
    assert found is not None
    return found


def test_with_everything_at_hand_it_is_the_plain_ridge_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold, "PRESENT", 1.0)
    monkeypatch.setattr(cold, "RIDGES", (3.0,))
    vectors, records, sets, _ = a_shop()
    users = np.random.default_rng(1).integers(1, 50, N).astype(np.int32)
    made = fit_projection(np.arange(N, dtype=np.int32), vectors, users, list(records), sets)
    assert made is not None
    x, known = inputs(np.arange(N, dtype=np.int32), records, made.sets, sets)
    assert known.all()
    weight = np.log1p(users)
    weight = weight / weight.mean()
    mean = np.average(vectors, axis=0, weights=weight)
    root = np.sqrt(weight)[:, None]
    wide = np.vstack([root * x[:, 1:], np.sqrt(3.0) * np.eye(x.shape[1] - 1)])
    right = np.vstack([root * (vectors - mean), np.zeros((x.shape[1] - 1, vectors.shape[1]))])
    plain = np.vstack([mean, np.linalg.lstsq(wide, right, rcond=None)[0]])
    scale = made.weights[0, 0] / plain[0, 0]
    np.testing.assert_allclose(made.weights, scale * plain, atol=2e-4)


def test_every_modality_helps_and_none_is_needed() -> None:
    vectors, records, sets, deaf = a_shop()
    made = fitted(vectors, records, sets)
    new = np.arange(180, N, dtype=np.int32)
    whole, without = (made.vectors(new, records[180:], given) for given in (sets, deaf))
    assert cosines(whole, vectors[180:]) > 0.9
    assert 0.5 < cosines(without, vectors[180:]) < cosines(whole, vectors[180:])
    nothing = made.vectors(new, records[180:], VectorSets())
    assert not nothing.any()


def test_cold_vectors_have_a_fixed_share_of_the_length_of_learned_ones() -> None:
    vectors, records, sets, _ = a_shop(missing=0.3)
    made = fitted(vectors, records, sets).vectors(np.arange(180, N, dtype=np.int32), records[180:], sets)
    lengths = [float(np.sqrt((one**2).sum(axis=1).mean())) for one in (made, vectors[180:])]
    assert lengths[0] == pytest.approx(cold.LENGTH * lengths[1], rel=0.2)


def test_a_set_of_another_encoder_counts_as_missing() -> None:
    vectors, records, sets, deaf = a_shop()
    made = fitted(vectors, records, sets)
    new = np.arange(180, N, dtype=np.int32)
    other = VectorSets()
    for k in new.tolist():
        view, sound = sets.vector("image", k), sets.vector("audio", k)
        assert view is not None
        assert sound is not None
        other.fold(as_change("image", view, f"i{k}"), k)
        other.fold(VectorChange(
            event_id="v", item_id=f"i{k}", name="audio", encoder="ear", version="2",
            vector=sound.astype("<f4").tobytes(), ts=1, received_at=1,
        ), k)  # fmt: skip
    np.testing.assert_array_equal(made.vectors(new, records[180:], other), made.vectors(new, records[180:], deaf))


def test_what_says_nothing_gives_no_map() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((N, 8)).astype(np.float32)  # no mean, nothing to see
    bare: list[Item | None] = [Item(item_id=f"i{k}") for k in range(N)]
    everything = np.arange(N, dtype=np.int32)
    assert fit_projection(everything, vectors, np.ones(N, np.int32), bare, VectorSets()) is None
    few = fit_projection(everything[:50], vectors[:50], np.ones(50, np.int32), bare[:50], VectorSets())
    assert few is None


# ---------------------------------------------------------------- in the source


def shelf(n: int) -> tuple[Catalogue, Ids]:
    ids = Ids()
    catalogue = Catalogue(ids)
    for k in range(n):
        put(catalogue, ids, record(k))
    return catalogue, ids


def put(catalogue: Catalogue, ids: Ids, one: Item | None, item_id: str = "") -> int:
    item = ids.intern(one.item_id if one else item_id)
    catalogue.grow(0, len(ids))
    catalogue.put(item, one, 1_000)
    return item


def by_kind(n: int) -> F4:
    """Learned vectors that follow the kind of thing."""
    rng = np.random.default_rng(3)
    centres = 2.0 * np.eye(4, 8)
    return (centres[np.arange(n) % 4] + 0.1 * rng.standard_normal((n, 8))).astype(np.float32)


def source_of(n: int = 200) -> tuple[FactorsSource, Catalogue, Ids, VectorSets, Factors]:
    catalogue, ids = shelf(n)
    sets, vectors = VectorSets(), by_kind(n)
    projection = fitted(vectors, [record(k) for k in range(n)], sets, n)
    gram = vectors.T.astype(np.float64) @ vectors + np.eye(8)
    factors = Factors("als", [f"i{k}" for k in range(n)], vectors, np.linalg.inv(gram), 10.0, {}, projection)
    source = FactorsSource(ColdItems(catalogue, sets))
    source.use(factors, ids)
    assert source.catch_up(10_000) == 0
    return source, catalogue, ids, sets, factors


def test_a_new_item_is_proposed_to_those_who_like_its_kind() -> None:
    source, catalogue, ids, _, _ = source_of()
    new = put(catalogue, ids, Item(item_id="new", title="pink lantern with a handle"))
    assert new not in proposed(source, interest_of([0, 4, 8]), 300, n=200)
    source.catch_up(64)
    lanterns = order_of(proposed(source, interest_of([0, 4, 8]), 300, n=48))
    assert new in lanterns
    assert new not in order_of(proposed(source, interest_of([1, 5, 9]), 300, n=40))


def test_someone_who_saw_only_a_new_item_is_understood() -> None:
    source, catalogue, ids, _, _ = source_of()
    new = put(catalogue, ids, Item(item_id="new", title="pink lantern with a handle"))
    source.catch_up(64)
    got = order_of(proposed(source, interest_of([new]), 300, n=20))
    assert {item % 4 for item in got} == {0}


def test_a_changed_record_moves_a_cold_item_and_a_deleted_one_is_gone() -> None:
    source, catalogue, ids, _, factors = source_of()
    new = put(catalogue, ids, Item(item_id="new", title="pink lantern"))
    source.catch_up(64)
    put(catalogue, ids, Item(item_id="new", title="pink kettle"))
    source.catch_up(64)
    assert new in proposed(source, interest_of([1, 5, 9]), 300, n=60)
    assert new not in proposed(source, interest_of([0, 4, 8]), 300, n=40)
    row = source.vectors.row(new)
    y = source.vectors.unit[row] * source.vectors.scale[row]
    np.testing.assert_allclose(source.ready[row], y @ factors.inverse_gram, rtol=1e-4, atol=1e-6)
    put(catalogue, ids, None, "new")
    source.catch_up(64)
    assert new not in proposed(source, interest_of([1, 5, 9]), 300, n=300)


def test_a_learned_vector_stays_and_takes_the_place_of_a_projected_one() -> None:
    source, catalogue, ids, _, factors = source_of()
    before = source.vectors.unit[source.vectors.row(0)].copy()
    put(catalogue, ids, Item(item_id="i0", title="steel spade"))
    new = put(catalogue, ids, Item(item_id="new", title="pink lantern"))
    source.catch_up(64)
    np.testing.assert_array_equal(source.vectors.unit[source.vectors.row(0)], before)
    learned = np.vstack([factors.vectors, np.full((1, 8), -1.0, np.float32)])
    source.use(
        Factors("als", [*factors.item_ids, "new"], learned, factors.inverse_gram, 10.0, {}, factors.projection), ids
    )
    source.catch_up(10_000)
    row = source.vectors.row(new)
    np.testing.assert_allclose(source.vectors.unit[row] * source.vectors.scale[row], learned[-1], rtol=1e-5)


def test_a_picture_that_comes_later_counts() -> None:
    vectors, records, sets, _ = a_shop()
    made = fitted(vectors, records, sets, N)
    ids = Ids()
    catalogue = Catalogue(ids)
    for one in records:
        put(catalogue, ids, one)
    factors = Factors("als", [one.item_id for one in records], vectors, np.eye(6), 1.0, {}, made)
    source = FactorsSource(ColdItems(catalogue, sets))
    source.use(factors, ids)
    new = put(catalogue, ids, Item(item_id="new"))
    source.catch_up(10_000)
    assert source.vectors.row(new) < 0
    sets.fold(as_change("image", np.arange(SEEN, dtype=np.float32), "new"), new)
    source.catch_up(64)
    assert source.vectors.scale[source.vectors.row(new)] > 0.0
    sets.fold(VectorChange(event_id="d", name="image", ts=1, received_at=1), -1)  # the set is dropped
    source.catch_up(10_000)
    assert source.vectors.scale[source.vectors.row(new)] == 0.0


def test_an_artifact_keeps_the_map_and_refuses_one_that_does_not_fit(tmp_path: Path) -> None:
    *_, factors = source_of()
    assert factors.projection is not None
    held = Projection(np.zeros((1 + 128 + 1 + 3 + 1, 8), np.float32), (("image", Space("eye", "1", 3)),))
    for made in (factors.projection, held):
        Factors("als", factors.item_ids, factors.vectors, factors.inverse_gram, 1.0, {"offset": 3}, made).save(
            tmp_path / "one"
        )
        loaded = Factors.load(tmp_path / "one")
        assert loaded.projection is not None
        np.testing.assert_array_equal(loaded.projection.weights, made.weights)
        assert (loaded.projection.sets, loaded.meta) == (made.sets, {"offset": 3})
    for weights in (held.weights[:-1], np.full_like(held.weights, np.nan)):
        wrong = Factors(
            "als", factors.item_ids, factors.vectors, factors.inverse_gram, 1.0, {}, Projection(weights, held.sets)
        )
        with pytest.raises(ArtifactError, match="projection of cold items"):
            wrong.check()


# ---------------------------------------------------------------- in the engine, and served


def history(start_ms: int) -> list[Event]:
    """A catalogue, and shoppers each of whom likes one kind of thing."""
    rng = np.random.default_rng(11)
    events: list[Event] = [
        ItemChange(event_id=f"r{k}", item_id=f"i{k}", ts=start_ms, received_at=start_ms, item=record(k))
        for k in range(200)
    ]
    for user in range(120):
        kind = user % 4
        for step, k in enumerate(rng.choice(50, 8, replace=False)):
            ts = start_ms + 60_000 * user + 1_000 * step
            events.append(Interaction(
                event_id=f"e{user}.{step}", type="view", user_id=f"u{user}", item_id=f"i{4 * k + kind}", ts=ts,
                received_at=ts,
            ))  # fmt: skip
    return events


def test_another_content_model_does_not_touch_cold_items() -> None:
    start = 1_760_000_000_000
    clock = VirtualClock(start + 60_000 * 120)
    with Engine(MemoryLog(), Config(), Runtime(clock, seed=1)) as engine:
        engine.replay(history(start))
        assert refit_vectors(engine)["factors"] == "used"
        ts = clock.ts
        engine.replay([ItemChange(event_id="n", item_id="new", ts=ts, received_at=ts, item=Item(
            item_id="new", title="amber lantern"))])  # fmt: skip
        source = engine.recommender.sources.factors
        row = source.vectors.row(engine.state.items.get("new"))
        before = source.vectors.unit[row].copy()
        assert before.any()
        assert refit_vectors(engine, ["content"]) == {"content": "used"}
        np.testing.assert_array_equal(source.vectors.unit[row], before)
        again = engine.recommender.over(engine.state).sources
        again.catch_up(10_000)
        now = again.factors.vectors
        np.testing.assert_allclose(now.unit[now.row(engine.state.items.get("new"))], before, atol=1e-6)


def test_a_server_proposes_a_new_item_in_the_next_slate(tmp_path: Path) -> None:
    now = int(1_000 * time.time())
    with Engine.open(tmp_path) as engine:
        engine.submit(history(now - 60_000 * 130)).result()
    with Engine.open(tmp_path) as engine:
        train_and_judge(engine.log, tmp_path, engine.config, kinds=["factors"])
    assert ModelStore(tmp_path).serving("factors") == 1
    with serving(tmp_path) as running:
        deadline = time.monotonic() + 20.0
        while "factors" not in running.engine.recommender.sources.serving():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        sent = running.client.post("/v1/items", json=[{"item_id": "new", "title": "amber lantern number 500"}])
        assert sent.status_code == 200
        body = {"user_id": "u0", "placement": "similar_behaviour", "n": 60, "explain": True}
        found = running.client.post("/v1/recommend", params={"shown": "0"}, json=body).json()
        assert "factors" in {one["item_id"]: one["sources"] for one in found["items"]}["new"]
