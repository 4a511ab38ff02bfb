"""Fusion: scores against plain NumPy, weights that follow what goes together, and what happens without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from endcap.artifacts import write_artifact
from endcap.config import Config
from endcap.engine import Engine
from endcap.errors import ArtifactError
from endcap.features.catalogue import Catalogue
from endcap.learning.boosting import TooFewExamples
from endcap.learning.fusion import fit_fusion, logistic
from endcap.learning.store import ModelStore, use
from endcap.models.content import ContentSource
from endcap.models.fusion import FUSED, SCHEMA, FusedSource, Fusion
from endcap.models.vector_sets import Space, VectorSets
from endcap.preprocess.ids import Ids
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import F4, Event, Interaction, Item, ItemChange, VectorChange
from proposals import interest_of, order_of, proposed

START_MS = 1_760_000_000_000
WORDS = ("red", "blue", "round", "tall", "iron", "oak", "small", "lamp", "chair", "vase")


def change(name: str, item_id: str, vector: NDArray[np.floating], encoder: str = "eye") -> VectorChange:
    return VectorChange(
        event_id=f"{name}:{item_id}:{encoder}", item_id=item_id, name=name, encoder=encoder, version="1",
        vector=vector.astype("<f4").tobytes(), ts=START_MS, received_at=START_MS,
    )  # fmt: skip


def shelf(n: int = 60, seed: int = 0) -> FusedSource:
    """Items with words, half of them with a picture, a third with a sound; two categories."""
    rng = np.random.default_rng(seed)
    ids, sets = Ids(), VectorSets()
    catalogue = Catalogue(ids)
    for k in range(n):
        ids.intern(f"i{k}")
        catalogue.grow(0, k + 1)
        title = " ".join(rng.choice(WORDS, 3, replace=False)) if k % 7 else None
        categories = [["A" if k % 2 else "B"]] if title else []
        catalogue.put(k, Item(item_id=f"i{k}", title=title, categories=categories), 1_000)
        if k % 2 == 0:
            sets.fold(change("image", f"i{k}", rng.standard_normal(5) + 1.0), k)
        if k % 3 == 0:
            sets.fold(change("audio", f"i{k}", rng.standard_normal(4)), k)
    content = ContentSource(catalogue)
    content.catch_up(10_000)
    return FusedSource(content, sets, catalogue)


def weights_of(source: FusedSource) -> Fusion:
    rows = np.array([[0.1, 0.0, 0.6, 0.3], [0.7, 0.0, 0.2, 0.1]], np.float32)
    return Fusion(rows, np.array([0.05, 0.0, 0.3, 0.1], np.float32), ["A"], source.spaces(), {"offset": 4})


def vector_of(source: FusedSource, modality: str, item: int) -> F4 | None:
    table = source.table(modality)
    row = -1 if table is None else table.row(item)
    return table.unit[row] if table is not None and row >= 0 and table.scale[row] > 0 else None


def by_definition(source: FusedSource, item: int, fusion: Fusion | None) -> dict[int, float]:
    weights = np.ones(4) if fusion is None else fusion.weights[1 if item % 2 and item % 7 else 0]
    means = np.zeros(4) if fusion is None else fusion.means
    mine = [vector_of(source, name, item) for name in FUSED]
    most = sum(w for w, vector in zip(weights, mine, strict=True) if vector is not None)
    found = {}
    for other in range(60):
        total = 0.0
        for name, w, mean, vector in zip(FUSED, weights, means, mine, strict=True):
            theirs = vector_of(source, name, other)
            if vector is not None and theirs is not None:
                total += w * (float(vector @ theirs) - mean) / (1.0 - mean)
        if other != item and total > 0.0:
            found[other] = total / most
    return found


@pytest.mark.parametrize("learned", [False, True])
def test_scores_are_the_weighted_likenesses(learned: bool) -> None:
    source = shelf()
    fusion = weights_of(source) if learned else None
    source.use(fusion)
    for item in range(60):
        truth = by_definition(source, item, fusion)
        items, scores = source.similar(item, 10)
        got = dict(zip(items.tolist(), scores.tolist(), strict=True))
        assert item not in got
        for other, score in got.items():
            assert score == pytest.approx(truth[other], abs=1e-5)
        assert list(got.values()) == sorted(got.values(), reverse=True)
        best = sorted(truth.values(), reverse=True)[: len(got)]  # lists of 48 of 60 leave nothing out that matters
        assert list(got.values()) == pytest.approx(best, abs=1e-5)


def test_an_item_of_which_nothing_is_known_is_no_error() -> None:
    source = shelf()
    source.use(weights_of(source))
    assert source.similar(7, 10)[0].shape == (0,)  # no title, no picture, no sound
    assert source.similar(999, 10)[0].shape == (0,)
    assert proposed(source, interest_of([7, 999]), 60) == {}


def test_seeds_share_the_places_and_are_the_reason() -> None:
    source = shelf()
    got = proposed(source, interest_of([7, 2, 3], n_context=3), 60, n=10)
    assert {seed for _, seed in got.values()} == {1, 2}
    assert set(order_of(got)) <= {*source.similar(2, 5)[0].tolist(), *source.similar(3, 5)[0].tolist()}


def test_weights_of_another_encoder_are_not_used() -> None:
    source = shelf()
    source.use(weights_of(source))
    assert source.weighing(2)[0].tolist() != [1.0] * 4
    source._sets.fold(VectorChange(event_id="d", name="audio", ts=1, received_at=1), -1)
    assert source.weighing(2)[0].tolist() == [1.0] * 4
    assert source.weighing(2)[1].tolist() == [0.0] * 4
    assert source.similar(2, 10)[0].shape[0] > 0


def test_an_artifact_comes_back_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    source = shelf()
    fusion = weights_of(source)
    fusion.save(tmp_path / "one")
    loaded = Fusion.load(tmp_path / "one")
    np.testing.assert_array_equal(loaded.weights, fusion.weights)
    np.testing.assert_array_equal(loaded.means, fusion.means)
    assert (loaded.categories, loaded.sets, loaded.meta) == (["A"], fusion.sets, {"offset": 4})
    source.use(fusion)
    wrong = [(fusion.weights[:1], fusion.means), (-fusion.weights, fusion.means), (fusion.weights * 0, fusion.means),
             (fusion.weights, fusion.means + 1), (fusion.weights * np.float32("nan"), fusion.means)]  # fmt: skip
    for weights, means in wrong:
        with pytest.raises(ArtifactError, match="weights of modalities"):
            source.use(Fusion(weights, means, ["A"]))
    assert source.fusion is fusion
    write_artifact(tmp_path / "empty", {"weights": fusion.weights}, SCHEMA)
    with pytest.raises(ArtifactError, match="holds no weights"):
        Fusion.load(tmp_path / "empty")


# ---------------------------------------------------------------- learning


def test_the_regression_is_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(2)
    x = np.hstack([rng.standard_normal((500, 3)), np.ones((500, 1))])
    right = (rng.random(500) < 1.0 / (1.0 + np.exp(-x @ [1.0, -0.5, 0.0, 0.2]))).astype(float)
    theirs = LogisticRegression(C=1.0 / 0.7, fit_intercept=False, tol=1e-10, max_iter=500).fit(x, right).coef_[0]
    np.testing.assert_allclose(logistic(x, right, np.zeros(4), 0.7 * np.eye(4)), theirs, atol=1e-5)
    prior = np.array([3.0, 3.0, 3.0, 3.0])
    np.testing.assert_allclose(logistic(x, right, prior, 1e9 * np.eye(4)), prior, atol=1e-5)


def two_tastes(n: int = 160, with_sets: bool = True) -> Engine:
    """In category A shoppers look at what looks alike, in B at what sounds alike; C is hardly visited."""
    rng = np.random.default_rng(4)
    engine = Engine(MemoryLog(), Config(), Runtime(VirtualClock(START_MS + 10**9), seed=1))
    looks, sounds = (rng.standard_normal((20, 8)) for _ in range(2))
    look, sound = rng.integers(0, 20, n), rng.integers(0, 20, n)
    events: list[Event] = []
    for k in range(n):
        kind = "C" if k % 80 == 0 else "BA"[k % 2]
        one = Item(item_id=f"i{k}", categories=[[kind]])
        events.append(ItemChange(event_id=f"r{k}", item_id=one.item_id, ts=START_MS, received_at=START_MS, item=one))
        if with_sets:
            events.append(change("image", f"i{k}", looks[look[k]] + 0.1 * rng.standard_normal(8)))
            events.append(change("audio", f"i{k}", sounds[sound[k]] + 0.1 * rng.standard_normal(8)))
    for visit in range(500):
        k = int(rng.integers(n))
        alike = look == look[k] if k % 2 else sound == sound[k]
        choice = np.flatnonzero(alike & (np.arange(n) % 2 == k % 2))
        for step, other in enumerate((k, int(rng.choice(choice)))):
            ts = START_MS + 60_000 * visit + 1_000 * step
            events.append(Interaction(
                event_id=f"e{visit}.{step}", type="view", user_id=f"u{visit}", item_id=f"i{other}", ts=ts,
                received_at=ts,
            ))  # fmt: skip
    assert not engine.replay(events)
    return engine


def test_weights_follow_what_goes_together_in_each_category(tmp_path: Path) -> None:
    with two_tastes() as engine:
        fusion = fit_fusion(engine)
        image, audio = FUSED.index("image"), FUSED.index("audio")
        rows = dict(zip(["", *fusion.categories], fusion.weights, strict=True))
        assert rows["A"][image] > 2 * rows["A"][audio] > 0
        assert rows["B"][audio] > 2 * rows["B"][image] > 0
        assert rows["A"][image] > rows[""][image] > rows["B"][image]
        assert "C" not in rows  # too few pairs: the global weights
        store = ModelStore(tmp_path)
        number = store.save(fusion.save)
        assert store.promote(number, engine.columns) == "alike"
        before = engine.recommender.sources.alike.similar(1, 5)
        use(engine, "alike", number, store)
        assert "alike" in engine.recommender.sources.serving()
        items, scores = engine.recommender.sources.alike.similar(1, 5)
        assert not np.array_equal(scores, before[1])
        again = engine.recommender.over(engine.state).sources
        again.catch_up(10_000)
        np.testing.assert_allclose(again.alike.similar(1, 5)[1], scores, atol=1e-6)
        use(engine, "alike", 0, store)
        np.testing.assert_array_equal(engine.recommender.sources.alike.similar(1, 5)[0], before[0])
        assert items.shape == (5,)


def test_without_sets_or_pairs_it_says_so() -> None:
    with two_tastes(with_sets=False) as engine, pytest.raises(TooFewExamples, match="need a set of vectors"):
        fit_fusion(engine)
    with Engine(MemoryLog(), Config(), Runtime(VirtualClock(START_MS + 10**9), seed=1)) as engine:
        one = Item(item_id="i0")
        engine.replay([
            ItemChange(event_id="r", item_id="i0", ts=START_MS, received_at=START_MS, item=one),
            change("image", "i0", np.ones(3)),
        ])  # fmt: skip
        with pytest.raises(TooFewExamples, match="there are 0"):
            fit_fusion(engine)


def test_a_set_is_told_by_its_space() -> None:
    source = shelf()
    assert source.spaces() == (("image", Space("eye", "1", 5)), ("audio", Space("eye", "1", 4)))
