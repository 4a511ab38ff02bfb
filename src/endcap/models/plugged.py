"""Plugged: a model of your own as the ranker, any object with ``predict`` on feature rows, or an ONNX graph.

Idea: whoever has a scikit-learn estimator, a Keras network or a function that scores rows can let it order slates. The
model gets the columns that it was trained on, by name and in its own order; a NaN or infinite feature counts as 0, as
everywhere. A classifier's score is its probability of the second of its two classes, anything else is scored by what
``predict`` says. Before it may serve it scores odd rows: it must take their width, give one finite number per row, and
the same number for a row alone as for the row among others (law L5).

Reasons: a black box cannot say what moved its score. What is known is which sources proposed the item, so the trace
books the score on them in equal parts, and on the term ``model`` where no source did. Items with a score of 0 or less
have no reasons.

An ONNX graph is data: it cannot run its author's code, so a server may load it from the models folder. Python objects
(pickles) can, so they are only taken from Python (``Engine.use_ranker``). Artifact: the graph's bytes and column names.

Cost: the model's own, once for the candidates and once for the slate's trace. Measured for 120 rows on a shared core: a
small network in onnxruntime 0.2 ms, a logistic regression in scikit-learn 0.8 ms, 100 boosted trees there 5.5 ms; Keras
itself takes tens to hundreds of ms and should be exported. Not for: a model that
compares candidates with each other.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from endcap.errors import ArtifactError, ConfigError, EndcapError, InvalidInput
from endcap.types import F4, I4

SCHEMA = "endcap-onnx-1"
PROBES = 64
CLOSE = 1e-4  # relative difference between a row's scores, alone and among others, that rounding explains
SHOWN = 6  # column names in a message
MODEL = "model"  # the term for what no source proposed

Predict = Callable[[F4], NDArray[Any]]  # rows [n, columns the model takes] -> [n] or [n, 1]


class OnnxGraph(NamedTuple):
    """What is stored of an ONNX model."""

    graph: bytes
    columns: tuple[str, ...]  # that it takes, in its order


class PluggedRanker:
    """A ``Ranker`` around a function."""

    def __init__(self, name: str, columns: Sequence[str], predict: Predict, used: Sequence[str] | None = None) -> None:
        """``columns`` name the feature row (``Engine.columns``); ``used`` those that the model takes, in its order.

        ``used`` None: all. Raises ``InvalidInput`` when a name is unknown or the model cannot score such rows.
        """
        self.name = name
        self.used = tuple(columns if used is None else used)
        self._pick: I4 = np.array(places(name, self.used, columns), np.int32)
        self._predict = predict
        self._proposed: I4 = np.array([k for k, one in enumerate(columns) if one.startswith("src:")], np.int32)
        self.terms: tuple[str, ...] = (*(columns[k] for k in self._proposed.tolist()), MODEL)
        self._check(len(columns))

    def score(self, rows: F4) -> F4:
        """rows [n, columns] -> scores [n]."""
        n = rows.shape[0]
        if n == 0:
            return np.zeros(0, np.float32)
        picked = np.nan_to_num(rows[:, self._pick], copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        found = np.asarray(self._predict(picked), np.float32)
        if found.shape not in ((n,), (n, 1)):
            raise InvalidInput(f"{self.name} gave scores of shape {found.shape} for {n} rows; expected one per row")
        return found.reshape(n)

    def trace(self, rows: F4) -> F4:
        """rows [n, columns] -> the score in equal parts on the sources that proposed the item [n, sources + 1]."""
        scores, proposed = self.score(rows), rows[:, self._proposed] > 0.0
        n = proposed.sum(axis=1)
        out = np.zeros((rows.shape[0], len(self.terms)), np.float32)
        out[:, :-1] = proposed * (scores / np.maximum(n, 1))[:, None]
        out[:, -1] = np.where(n == 0, scores, 0.0)
        return out

    def _check(self, width: int) -> None:
        rows = np.random.default_rng(0).normal(scale=3.0, size=(PROBES, width)).astype(np.float32)
        rows[0], rows[1], rows[2] = 0.0, np.nan, np.inf
        try:
            scores = self.score(rows)
            alone = np.array([float(self.score(rows[k : k + 1])[0]) for k in range(4, 8)])
        except EndcapError:
            raise
        except Exception as wrong:
            raise InvalidInput(
                f"{self.name} cannot score rows of {len(self.used)} columns ({shown(self.used)}): {wrong}; "
                "name the columns that it was trained on, in their order"
            ) from wrong
        if not np.isfinite(scores).all():
            raise InvalidInput(f"{self.name} gives scores that are not finite for ordinary rows; expected numbers")
        if not np.allclose(scores[4:8], alone, rtol=CLOSE, atol=CLOSE):
            raise InvalidInput(
                f"{self.name} scores a row alone with {alone[0]:.6g} and among others with {scores[4]:.6g}; "
                "a score must depend on its row only, so leave out what normalises over the batch"
            )


def places(name: str, used: Sequence[str], columns: Sequence[str]) -> list[int]:
    """Where the columns that a model takes stand in the feature row. ``InvalidInput`` for a name that is not there."""
    place = {column: k for k, column in enumerate(columns)}
    for column in used:
        if column not in place:
            near = difflib.get_close_matches(column, columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {shown(columns)}"
            raise InvalidInput(f"{name} takes the column {column[:80]!r}, which feature rows do not have; {hint}")
    if not used:
        raise InvalidInput(f"{name} takes no column at all; there are {shown(columns)}")
    return [place[column] for column in used]


def shown(columns: Sequence[str]) -> str:
    """Some names, for a message."""
    rest = f" ... and {len(columns) - SHOWN} more (Engine.columns)" if len(columns) > SHOWN else ""
    return ", ".join(columns[:SHOWN]) + rest


# ---------------------------------------------------------------- Python objects


def plug(
    model: Any, columns: Sequence[str], *, used: Sequence[str] | None = None, name: str | None = None
) -> PluggedRanker:
    """A ranker from any object with ``predict_proba`` or ``predict``, such as a fitted scikit-learn estimator.

    ``columns`` is ``engine.columns``; ``used`` names those that the model was trained on, in order. Without it they are
    the names that the model remembers (it was fitted on a data frame), else all.
    """
    name = name or type(model).__name__
    if used is None and (remembered := getattr(model, "feature_names_in_", None)) is not None:
        used = [str(column) for column in remembered]
    width, expected = len(columns if used is None else used), getattr(model, "n_features_in_", None)
    if expected is not None and expected != width:
        raise InvalidInput(
            f"{name} was fitted on {expected} columns and would get {width} ({shown(used or columns)}); "
            "name those that it was fitted on, in their order: used=[...]"
        )
    return PluggedRanker(name, columns, predictor(model, name), used)


def predictor(model: Any, name: str) -> Predict:
    """The function that scores."""
    if callable(getattr(model, "predict_proba", None)):
        classes = getattr(model, "classes_", (0, 1))
        if len(classes) != 2:
            raise InvalidInput(
                f"{name} tells {len(classes)} classes apart ({shown([str(one) for one in classes])}); a ranker's "
                "classifier has two, of which the second is what the shop wants"
            )

        def probability(rows: F4) -> NDArray[Any]:
            return np.asarray(model.predict_proba(rows))[:, 1]

        return probability
    if not callable(getattr(model, "predict", None)):
        raise InvalidInput(f"{name} has neither predict nor predict_proba; expected a fitted model")

    def prediction(rows: F4) -> NDArray[Any]:
        return np.asarray(model.predict(rows))

    return prediction


# ---------------------------------------------------------------- ONNX


def plug_onnx(name: str, model: OnnxGraph, columns: Sequence[str]) -> PluggedRanker:
    """A ranker from an ONNX graph with one input [n, columns] and an output [n], [n, 1] or [n, 2] (probabilities).

    Raises ``ConfigError`` without onnxruntime, ``ArtifactError`` for a graph that cannot be used, ``InvalidInput`` when
    its columns do not fit.
    """
    session = opened(name, model.graph)
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in ("tensor(float)", "tensor(double)") or len(inputs[0].shape) != 2:
        told = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise ArtifactError(f"{name} takes {told}; expected one input of floats, [rows, columns]")
    given, width = inputs[0], inputs[0].shape[1]
    if isinstance(width, int) and width != len(model.columns):
        raise InvalidInput(
            f"{name} takes {width} columns and {len(model.columns)} are named ({shown(model.columns)}); "
            "name those that it was trained on, in their order"
        )
    output = scores_of(name, session.get_outputs())
    kind = np.float64 if given.type == "tensor(double)" else np.float32

    def run(rows: F4) -> NDArray[Any]:
        found = session.run([output], {given.name: rows.astype(kind, copy=False)})[0]
        if found.ndim == 2 and found.shape[1] == 2:
            if not np.allclose(found.sum(axis=1), 1.0, atol=1e-3):
                raise ArtifactError(
                    f"{name}'s output {output} has two columns that are no probabilities of two classes"
                )
            return np.asarray(found[:, 1])
        return np.asarray(found)

    return PluggedRanker(name, columns, run, model.columns)


def opened(name: str, graph: bytes) -> Any:
    """An onnxruntime session on one thread, from bytes: a graph that points to other files is refused."""
    try:
        import onnxruntime
    except ImportError as missing:
        raise ConfigError("an ONNX ranker needs onnxruntime; install it with: pip install 'endcap[onnx]'") from missing
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as wrong:  # onnxruntime has its own errors, of no common kind
        raise ArtifactError(f"{name} is no ONNX graph that onnxruntime can run: {str(wrong)[:300]}") from wrong


def scores_of(name: str, outputs: Sequence[Any]) -> str:
    """The first output that can be scores: floats, one number or two per row."""
    for one in outputs:
        shape: Sequence[Any] = one.shape if one.type in ("tensor(float)", "tensor(double)") else []
        if len(shape) == 1 or (len(shape) == 2 and (not isinstance(shape[1], int) or shape[1] in (1, 2))):
            return str(one.name)
    told = ", ".join(f"{one.name} {one.type}" for one in outputs)
    raise ArtifactError(
        f"{name} gives {told}; expected floats [n], [n, 1] or [n, 2] (from skl2onnx: options={{'zipmap': False}})"
    )
