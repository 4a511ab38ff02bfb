"""Rankers as artifacts: trees as LightGBM's text with their calibration, or an ONNX graph with its columns' names.

A ranker is loaded, checked and compiled as a whole before anybody serves it: the digest, the schema, the feature list,
the meaning of the folded state it learned from, and finite scores for odd rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from endcap.artifacts import Artifact, write_artifact
from endcap.errors import ArtifactError, InvalidInput
from endcap.models import plugged
from endcap.models.plugged import OnnxGraph, plug_onnx
from endcap.models.tree_ranker import Head, TreeRanker
from endcap.protocols import Ranker
from endcap.state import SCHEMA as STATE_SCHEMA
from endcap.types import F8, Arrays

SCHEMA = "endcap-ranker-1"
PROBES = 64


def save_trees(path: Path, heads: Sequence[Head], columns: tuple[str, ...], meta: Mapping[str, Any]) -> None:
    """Write the artifact of a trained ranker."""
    scales: F8 = np.array([[head.slope, head.offset, head.reward] for head in heads], np.float64).reshape(-1, 3)
    arrays: Arrays = {"scales": scales}
    for k, head in enumerate(heads):
        arrays[f"text{k}"] = np.frombuffer(head.text.encode(), np.uint8)
    facts = {
        **meta, "objectives": [head.objective for head in heads], "features": fingerprint(columns),
        "state": STATE_SCHEMA,
    }  # fmt: skip
    write_artifact(path, arrays, SCHEMA, facts)


def save_onnx(path: Path, model: OnnxGraph, meta: Mapping[str, Any]) -> None:
    """Write the artifact of a ranker of one's own."""
    facts = {**meta, "columns": list(model.columns), "state": STATE_SCHEMA}
    write_artifact(path, {"graph": np.frombuffer(model.graph, np.uint8)}, plugged.SCHEMA, facts)


def ranker_of(artifact: Artifact, columns: tuple[str, ...], path: Path) -> Ranker:
    """The ranker of an artifact for rows of these columns, checked. ``ArtifactError`` when it cannot be used."""
    number = int(path.stem)
    if artifact.schema == plugged.SCHEMA:
        check_same("state", artifact.meta.get("state"), STATE_SCHEMA, path)
        names, graph = artifact.meta.get("columns"), artifact.arrays.get("graph")
        if not isinstance(names, list) or graph is None:
            raise ArtifactError(f"{path} lacks a part that a ranker needs; add it again: endcap models add")
        try:
            return plug_onnx(f"onnx-{number}", OnnxGraph(graph.tobytes(), tuple(map(str, names))), columns)
        except InvalidInput as wrong:
            raise ArtifactError(f"{path}: {wrong.message}") from wrong
    check_same("features", artifact.meta.get("features"), fingerprint(columns), path)
    check_same("state", artifact.meta.get("state"), STATE_SCHEMA, path)
    ranker = TreeRanker(f"trees-{number}", columns, heads_of(artifact, path))
    check_scores(ranker, len(columns))
    return ranker


def heads_of(artifact: Artifact, path: Path) -> list[Head]:
    """The objectives of a trained ranker's artifact."""
    objectives = artifact.meta.get("objectives")
    scales = artifact.arrays.get("scales")
    usable = isinstance(objectives, list) and scales is not None and scales.shape == (len(objectives), 3)
    if not usable or any(f"text{k}" not in artifact.arrays for k in range(len(objectives or ()))):
        raise ArtifactError(f"{path} lacks a part that a ranker needs; train it again: endcap train")
    assert scales is not None
    try:
        texts = [artifact.arrays[f"text{k}"].tobytes().decode() for k in range(len(objectives or ()))]
    except UnicodeDecodeError as wrong:
        raise ArtifactError(f"{path} holds trees that are no text; train it again: endcap train") from wrong
    return [
        Head(str(name), text, *(float(x) for x in row))
        for name, text, row in zip(objectives or (), texts, scales, strict=True)
    ]


def check_same(what: str, then: object, now: str, path: Path) -> None:
    """A ranker fits only the rows it learned from: the same columns, read from state of the same meaning."""
    if then != now:
        raise ArtifactError(
            f"{path} was trained on {what} {then!r}, this version has {now!r}; train a new one: endcap train"
        )


def check_scores(ranker: TreeRanker, width: int) -> None:
    """Finite and not negative for any row, odd ones included."""
    rows = np.random.default_rng(0).normal(scale=10.0, size=(PROBES, width)).astype(np.float32)
    rows[0], rows[1], rows[2], rows[3] = np.nan, np.inf, -np.inf, 0.0
    scores = ranker.score(rows)
    if not np.isfinite(scores).all() or (scores < 0).any():
        raise ArtifactError(f"{ranker.name} gives scores that are not finite; train it again: endcap train")


def fingerprint(columns: tuple[str, ...]) -> str:
    """A short hash of the feature list: names and order."""
    return hashlib.blake2b("|".join(columns).encode(), digest_size=8).hexdigest()
