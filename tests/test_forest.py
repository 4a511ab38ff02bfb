"""The forest kernel against LightGBM itself, and what it refuses."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.errors import ArtifactError
from endcap.models.forest import MAX_LEAVES, Forest, feature_name, rounded_down
from endcap.types import F4

COLUMNS = ("src:covisit", "pop", "age", "price", "never_used")


def values(n: int, seed: int, missing: float = 0.1) -> F4:
    """Columns of different nature: continuous, few values, constant zero often, with missing entries."""
    rng = np.random.default_rng(seed)
    rows = np.stack(
        [
            rng.normal(size=n), rng.integers(0, 5, n), np.where(rng.random(n) < 0.6, 0.0, rng.exponential(size=n)),
            rng.lognormal(size=n) * 1e6, np.zeros(n),
        ], axis=1,
    ).astype(np.float32)  # fmt: skip
    rows[rng.random(rows.shape) < missing] = np.nan
    return rows


def trained(rows: F4, label: Any, trees: int = 20, **more: Any) -> lightgbm.Booster:
    parameters = {
        "objective": "regression", "num_leaves": 16, "min_data_in_leaf": 3, "verbosity": -1, "num_threads": 1,
        "seed": 1, **more,
    }  # fmt: skip
    data = lightgbm.Dataset(rows, label, feature_name=[feature_name(name) for name in COLUMNS])
    return lightgbm.train(parameters, data, trees)


def label_of(rows: F4) -> Any:
    clean = np.nan_to_num(rows)
    return clean[:, 0] * (clean[:, 1] > 2) + np.isnan(rows[:, 2]) + np.log1p(clean[:, 3]) * 0.1


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    leaves=st.integers(2, MAX_LEAVES),
    missing=st.sampled_from([0.0, 0.3]),
    n=st.integers(1, 200),
)
def test_scores_are_those_of_lightgbm(seed: int, leaves: int, missing: float, n: int) -> None:
    rows = values(400, seed, missing)
    model = trained(rows, label_of(rows), num_leaves=leaves)
    forest = Forest(model.model_to_string(), COLUMNS)
    new = values(n, seed + 1, 0.2)
    assert forest.score(new) == pytest.approx(model.predict(new, raw_score=True), abs=1e-9)


def test_values_on_a_threshold_and_infinite_ones_fall_as_in_lightgbm() -> None:
    rows = values(600, 5)
    model = trained(rows, label_of(rows), 60)
    forest = Forest(model.model_to_string(), COLUMNS)
    edges = np.unique(np.array([float(x) for x in thresholds(model)]).astype(np.float32))
    around = np.concatenate([edges, np.nextafter(edges, np.float32(np.inf)), np.nextafter(edges, np.float32(-np.inf))])
    odd = np.concatenate([around, np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40], np.float32)])
    for c in range(len(COLUMNS)):
        probe = np.repeat(rows[:1], odd.shape[0], axis=0)
        probe[:, c] = odd
        assert forest.score(probe) == pytest.approx(model.predict(probe, raw_score=True), abs=1e-9)


def thresholds(model: lightgbm.Booster) -> list[str]:
    lines = [line for line in model.model_to_string().splitlines() if line.startswith("threshold=")]
    return [value for line in lines for value in line.split("=")[1].split()]


def test_a_ranker_trained_by_lambdarank_is_read() -> None:
    rows = values(500, 2, 0.0)
    label = (label_of(rows) > np.median(label_of(rows))).astype(int)
    data = lightgbm.Dataset(rows, label, group=[50] * 10, feature_name=[feature_name(c) for c in COLUMNS])
    parameters = {"objective": "lambdarank", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}
    model = lightgbm.train(parameters, data, 30)
    forest = Forest(model.model_to_string(), COLUMNS)
    assert forest.score(rows) == pytest.approx(model.predict(rows, raw_score=True), abs=1e-9)


def test_columns_are_found_by_name_wherever_they_stand() -> None:
    rows = values(300, 3)
    model = trained(rows, label_of(rows))
    order = [3, 1, 4, 0, 2]
    forest = Forest(model.model_to_string(), tuple(COLUMNS[c] for c in order))
    assert forest.score(np.ascontiguousarray(rows[:, order])) == pytest.approx(model.predict(rows, raw_score=True))


def test_a_score_depends_on_its_row_alone() -> None:
    rows = values(150, 4)
    forest = Forest(trained(rows, label_of(rows)).model_to_string(), COLUMNS)
    together = forest.score(rows)
    alone = np.concatenate([forest.score(rows[k : k + 1]) for k in range(len(rows))])
    assert (together == alone).all()


def test_the_trace_adds_up_and_blames_only_columns_that_split() -> None:
    rows = values(200, 6)
    forest = Forest(trained(rows, label_of(rows)).model_to_string(), COLUMNS)
    trace = forest.trace(rows)
    assert forest.base + trace.sum(axis=1) == pytest.approx(forest.score(rows), abs=1e-9)
    assert (trace[:, COLUMNS.index("never_used")] == 0).all()


def test_the_trace_follows_each_path() -> None:
    """One tree of two levels, by hand."""
    rows = np.array([[x, y, 0, 0, 0] for x in (0.0, 1.0) for y in (0.0, 1.0)] * 30, np.float32)
    label = rows[:, 0] * 4 + rows[:, 0] * rows[:, 1] * 2
    model = trained(rows, label, 1, num_leaves=4, learning_rate=1.0, boost_from_average=False, lambda_l2=0.0)
    trace = Forest(model.model_to_string(), COLUMNS).trace(rows[:4])
    assert trace[:, 0].tolist() == pytest.approx([-2.5, -2.5, 2.5, 2.5], abs=1e-5)  # mean 2.5, then 0 or 5
    assert trace[:, 1].tolist() == pytest.approx([0.0, 0.0, -1.0, 1.0], abs=1e-5)


def test_a_model_of_one_leaf_is_a_constant() -> None:
    rows = values(50, 7, 0.0)
    model = trained(rows, np.ones(50), 3)
    assert "num_leaves=1\n" in model.model_to_string()
    forest = Forest(model.model_to_string(), COLUMNS)
    assert forest.score(rows[:3]) == pytest.approx(model.predict(rows[:3], raw_score=True))


def test_rounding_down_never_goes_up() -> None:
    exact = np.array([0.1, -0.1, 1.0, 1e-50, -1e-50, 1e300, -1e300, 3.0000000001])
    near = rounded_down(exact)
    assert (near.astype(np.float64) <= exact).all()
    with np.errstate(over="ignore"):
        assert (np.nextafter(near, np.float32(np.inf)).astype(np.float64) > exact).all()


@pytest.fixture(scope="module")
def text() -> str:
    rows = values(300, 8)
    return str(trained(rows, label_of(rows), 5).model_to_string())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("end of trees", "", "cut off"),
        ("version=v4", "version=v9", "version 'v9'"),
        ("num_class=1", "num_class=3", "several outputs"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=2", "several outputs"),
        ("num_leaves=16", "num_leaves=33", "33 leaves"),
        ("num_leaves=16", "num_leaves=x", "num_leaves"),
        ("num_leaves=16", "num_leaves=15", "entries, expected"),
        ("num_cat=0", "num_cat=1", "categorical"),
        ("is_linear=0", "is_linear=1", "linear"),
        ("feature_names=src.covisit", "feature_names=src.other", "src.other"),
        ("leaf_value=", "leaf_value=nan ", "entries"),
        ("left_child=", "left_child=oops ", "not a list of numbers"),
        ("split_feature=", "split_feature=9", "out of range"),
        ("objective=", "average_output\nobjective=", "random forest"),
    ],
)
def test_what_is_not_supported_is_refused(text: str, old: str, new: str, says: str) -> None:
    assert old in text
    with pytest.raises(ArtifactError, match=says):
        Forest(text.replace(old, new), COLUMNS)


def test_values_that_are_not_finite_are_refused(text: str) -> None:
    line = next(line for line in text.splitlines() if line.startswith("leaf_value="))
    first = line.split("=")[1].split()[0]
    with pytest.raises(ArtifactError, match="not finite"):
        Forest(text.replace(line, line.replace(first, "nan", 1)), COLUMNS)


def test_graphs_that_are_no_trees_are_refused(text: str) -> None:
    line = next(line for line in text.splitlines() if line.startswith("right_child="))
    last = line.split()[-1]
    for bad in ("0", "-1", "77", "-77"):
        if bad != last:
            with pytest.raises(ArtifactError, match="no tree"):
                Forest(text.replace(line, line[: -len(last)] + bad), COLUMNS)


def test_categories_and_zero_as_missing_are_refused() -> None:
    rows = values(300, 9, 0.0)
    with pytest.raises(ArtifactError, match="zero as missing"):
        Forest(trained(rows, label_of(rows), 5, zero_as_missing=True).model_to_string(), COLUMNS)
    data = lightgbm.Dataset(
        rows, label_of(rows), feature_name=[feature_name(c) for c in COLUMNS], categorical_feature=[1]
    )
    parameters = {"verbosity": -1, "min_data_in_leaf": 3, "min_data_per_group": 3, "cat_smooth": 0.1, "num_threads": 1}
    with pytest.raises(ArtifactError, match="categor"):
        Forest(lightgbm.train(parameters, data, 5).model_to_string(), COLUMNS)


@settings(deadline=None, max_examples=60)
@given(cut=st.floats(0, 1), noise=st.lists(st.tuples(st.floats(0, 1), st.characters(codec="ascii")), max_size=3))
def test_damaged_text_is_refused_or_gives_finite_scores(cut: float, noise: list[tuple[float, str]]) -> None:
    rows = values(64, 10)
    whole = TEXT[0] if TEXT else TEXT.append(trained(rows, label_of(rows), 2).model_to_string()) or TEXT[0]
    letters = list(whole if cut > 0.5 else whole[: int(cut * 2 * len(whole))])
    for place, letter in noise:
        if letters:
            letters[int(place * (len(letters) - 1))] = letter
    try:
        forest = Forest("".join(letters), COLUMNS)
    except ArtifactError:
        return
    assert np.isfinite(forest.score(rows)).all()


TEXT: list[str] = []
