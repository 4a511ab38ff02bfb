"""Rankers of one's own: estimators, functions and ONNX graphs score as they should; what does not fit is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.errors import ArtifactError, InvalidInput
from endcap.models.plugged import OnnxGraph, PluggedRanker, plug, plug_onnx
from endcap.types import F4

COLUMNS = ("src:a", "src:b", "price_fit", "pop_day")


def rows_of(n: int, seed: int = 0) -> F4:
    return np.random.default_rng(seed).normal(size=(n, len(COLUMNS))).astype(np.float32)


class Sum:
    """Adds a row up."""

    def predict(self, rows: F4) -> F4:
        return rows.sum(axis=1)


def fitted(kind: str) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = rows_of(400)
    wanted = rows[:, 2] + 0.5 * rows[:, 0] > 0
    if kind == "regressor":
        return HistGradientBoostingRegressor(max_iter=20).fit(rows, rows[:, 2])
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, wanted)


def test_a_classifier_scores_with_the_probability_of_its_second_class() -> None:
    model, rows = fitted("classifier"), rows_of(30, 1)
    ranker = plug(model, COLUMNS)
    assert ranker.name == "Pipeline"
    np.testing.assert_allclose(ranker.score(rows), model.predict_proba(rows)[:, 1], rtol=1e-6)


def test_a_regressor_scores_with_what_it_predicts() -> None:
    model, rows = fitted("regressor"), rows_of(30, 1)
    np.testing.assert_allclose(plug(model, COLUMNS, name="mine").score(rows), model.predict(rows), rtol=1e-6)


def test_a_model_gets_the_columns_that_it_names_in_its_order() -> None:
    seen: list[F4] = []

    class Spy:
        def predict(self, rows: F4) -> F4:
            seen.append(rows.copy())
            return rows[:, 0]

    ranker = plug(Spy(), COLUMNS, used=["pop_day", "src:a"])
    rows = rows_of(5)
    assert (ranker.score(rows) == rows[:, 3]).all()
    assert (seen[-1] == rows[:, [3, 0]]).all()


def test_names_that_an_estimator_remembers_are_used() -> None:
    class Remembers(Sum):
        feature_names_in_ = np.array(["pop_day", "price_fit"])
        n_features_in_ = 2

    rows = rows_of(5)
    np.testing.assert_allclose(plug(Remembers(), COLUMNS).score(rows), rows[:, 3] + rows[:, 2], rtol=1e-6)


def test_a_feature_that_is_no_number_counts_as_zero() -> None:
    rows = rows_of(3)
    clean = rows.copy()
    rows[0, 1], rows[1, 2], rows[2, 3] = np.nan, np.inf, -np.inf
    clean[0, 1], clean[1, 2], clean[2, 3] = 0.0, 0.0, 0.0
    ranker = plug(fitted("classifier"), COLUMNS)
    assert (ranker.score(rows) == ranker.score(clean)).all()


@given(st.integers(0, 40), st.integers(0, 99))
def test_a_trace_books_the_score_on_the_sources_that_proposed_the_item(n: int, seed: int) -> None:
    rows, ranker = rows_of(n, seed), plug(Sum(), COLUMNS)
    trace, scores = ranker.trace(rows), ranker.score(rows)
    assert ranker.terms == ("src:a", "src:b", "model")
    np.testing.assert_allclose(trace.sum(axis=1), scores, rtol=1e-5, atol=1e-5)
    assert (trace[:, :2][rows[:, :2] <= 0] == 0).all()
    assert (trace[(rows[:, :2] > 0).any(axis=1), 2] == 0).all()


class Odd:
    """Answers with what a function makes of the rows."""

    def __init__(self, answer: Any) -> None:
        self.predict = answer


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (object(), "neither predict nor predict_proba"),
        (Odd(lambda rows: rows), "one per row"),
        (Odd(lambda rows: rows[:, 0] / 0.0 * 0.0), "not finite"),
        (Odd(lambda rows: rows[:, 0] - rows[:, 0].mean()), "depend on its row only"),
        (Odd(lambda rows: rows @ np.ones(7)), "cannot score rows of 4 columns"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_cannot_rank_is_refused(model: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        plug(model, COLUMNS)


def test_a_wrong_width_names_the_columns() -> None:
    with pytest.raises(InvalidInput, match=r"fitted on 4 columns and would get 2 \(src:a, pop_day\)"):
        plug(fitted("classifier"), COLUMNS, used=["src:a", "pop_day"])
    with pytest.raises(InvalidInput, match="did you mean 'pop_day'"):
        plug(Sum(), COLUMNS, used=["popday"])
    with pytest.raises(InvalidInput, match="no column at all"):
        plug(Sum(), COLUMNS, used=[])


def test_a_classifier_of_three_classes_is_refused() -> None:
    class Three(Sum):
        classes_ = (0, 1, 2)

        def predict_proba(self, rows: F4) -> F4:
            return rows[:, :3]

    with pytest.raises(InvalidInput, match="3 classes"):
        plug(Three(), COLUMNS)


# ---------------------------------------------------------------- ONNX


def graph(nodes: list[Any], output: Any, width: Any = 4, n_inputs: int = 1, **tensors: F4) -> bytes:
    """An ONNX graph over the input "rows"."""
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    made = onnx.helper
    inputs = [
        made.make_tensor_value_info("rows" if k == 0 else f"more{k}", onnx.TensorProto.FLOAT, ["n", width])
        for k in range(n_inputs)
    ]
    constants = [onnx.numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in tensors.items()]
    whole = made.make_graph(nodes, "ranker", inputs, [output], constants)
    model = made.make_model(whole, opset_imports=[made.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def out(*shape: Any) -> Any:
    onnx = pytest.importorskip("onnx")
    return onnx.helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, list(shape))


def node(kind: str, inputs: list[str], output: str, **more: Any) -> Any:
    return pytest.importorskip("onnx").helper.make_node(kind, inputs, [output], **more)


def network(width: int = 4) -> bytes:
    """sigmoid(rows w): what a small exported network comes to."""
    return graph(
        [node("MatMul", ["rows", "w"], "raw"), node("Sigmoid", ["raw"], "score")], out("n", 1), width,
        w=np.linspace(-1, 1, width)[:, None],
    )  # fmt: skip


def test_an_onnx_network_scores_as_its_definition() -> None:
    rows = rows_of(20)
    ranker = plug_onnx("net", OnnxGraph(network(), COLUMNS), COLUMNS)
    expected = 1.0 / (1.0 + np.exp(-(rows @ np.linspace(-1, 1, 4))))
    np.testing.assert_allclose(ranker.score(rows), expected, rtol=1e-5)
    np.testing.assert_allclose(ranker.trace(rows).sum(axis=1), expected, rtol=1e-5)


def test_a_converted_estimator_scores_as_the_original() -> None:
    pytest.importorskip("onnxruntime")
    skl2onnx = pytest.importorskip("skl2onnx")
    rows = rows_of(200)
    used = COLUMNS[1:]
    for model in (fitted_on(rows[:, 1:], True), fitted_on(rows[:, 1:], False)):
        options = {"zipmap": False} if hasattr(model, "predict_proba") else {}
        data = skl2onnx.to_onnx(model, rows[:1, 1:], options=options).SerializeToString()
        one, other = plug_onnx("converted", OnnxGraph(data, used), COLUMNS), plug(model, COLUMNS, used=used)
        np.testing.assert_allclose(one.score(rows), other.score(rows), rtol=1e-4, atol=1e-5)


def fitted_on(rows: F4, classifier: bool) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor

    if classifier:
        return GradientBoostingClassifier(n_estimators=10).fit(rows, rows[:, 1] > 0)
    return RandomForestRegressor(n_estimators=5, max_depth=4, random_state=0).fit(rows, rows[:, 1])


def test_a_graph_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"takes 3 columns and 4 are named \(src:a, src:b, price_fit, pop_day\)"):
        plug_onnx("net", OnnxGraph(network(3), COLUMNS), COLUMNS)
    with pytest.raises(InvalidInput, match="pop_week"):
        plug_onnx("net", OnnxGraph(network(), ("src:a", "src:b", "price_fit", "pop_week")), COLUMNS)
    whole = network()
    for damaged in (b"", b"tree\nversion=v4", whole[: len(whole) // 2]):
        with pytest.raises(ArtifactError, match="no ONNX graph"):
            plug_onnx("net", OnnxGraph(damaged, COLUMNS), COLUMNS)


def test_outputs_that_are_no_scores_are_refused() -> None:
    three = graph([node("MatMul", ["rows", "w"], "score")], out("n", 3), w=np.ones((4, 3)))
    with pytest.raises(ArtifactError, match="expected floats"):
        plug_onnx("net", OnnxGraph(three, COLUMNS), COLUMNS)
    two = graph([node("MatMul", ["rows", "w"], "score")], out("n", 2), w=np.ones((4, 2)))
    with pytest.raises(ArtifactError, match="no probabilities"):
        plug_onnx("net", OnnxGraph(two, COLUMNS), COLUMNS)
    many = graph([node("Add", ["rows", "more1"], "score")], out("n", 4), n_inputs=2)
    with pytest.raises(ArtifactError, match="one input"):
        plug_onnx("net", OnnxGraph(many, COLUMNS), COLUMNS)
    nan = graph([node("MatMul", ["rows", "w"], "raw"), node("Sqrt", ["raw"], "score")], out("n", 1), w=np.ones((4, 1)))
    with pytest.raises(InvalidInput, match="not finite"):
        plug_onnx("net", OnnxGraph(nan, COLUMNS), COLUMNS)


def test_a_graph_that_normalises_over_the_batch_is_refused() -> None:
    centred = graph(
        [node("MatMul", ["rows", "w"], "raw"), node("ReduceMean", ["raw"], "mean", axes=[0], keepdims=1),
         node("Sub", ["raw", "mean"], "score")], out("n", 1), w=np.ones((4, 1)),
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="depend on its row only"):
        plug_onnx("net", OnnxGraph(centred, COLUMNS), COLUMNS)


def test_a_function_is_enough() -> None:
    ranker = PluggedRanker("mine", COLUMNS, lambda rows: rows[:, :1] * 2.0)
    assert ranker.score(rows_of(4)).shape == (4,)
    assert ranker.score(rows_of(4)[:0]).shape == (0,)
