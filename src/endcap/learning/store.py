"""Store: the trained rankers of a data directory, and which of them serves.

    models/000001.endcap ...   one artifact per ranker: trees as LightGBM's text, calibration, and how it came about
    models/serving.json        {"history": [1, 3]}: the last one serves, the ones before are what a rollback returns to

Both are replaced by writing beside them and renaming, so a reader sees the old or the new file and never a part. A
ranker is loaded, which checks everything, before it is named in ``serving.json``; a damaged file there (a disk, a
careless copy) is refused at loading, and whoever serves keeps the ranker in use.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from endcap.artifacts import Artifact, read_artifact, sync_directory, write_artifact
from endcap.errors import ArtifactError, NotFound
from endcap.models.tree_ranker import Head, TreeRanker
from endcap.state import SCHEMA as STATE_SCHEMA
from endcap.types import F8, Arrays

SCHEMA = "endcap-ranker-1"
FOLDER, POINTER = "models", "serving.json"
KEPT_HISTORY = 20
PROBES = 64


class Pointer(Struct, frozen=True):
    """What ``serving.json`` holds."""

    history: list[int] = []


class Model(Struct, frozen=True, kw_only=True):
    """One stored ranker."""

    number: int
    name: str
    serving: bool
    meta: dict[str, Any]
    error: str | None = None  # why it cannot be used


class ModelStore:
    """The rankers of one data directory."""

    def __init__(self, directory: Path) -> None:
        self.folder = directory / FOLDER

    # ------------------------------------------------------------ write

    def save(self, heads: Sequence[Head], columns: tuple[str, ...], meta: Mapping[str, Any]) -> int:
        """Store a ranker; gives its number. It does not serve before ``promote``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = max(self.numbers(), default=0) + 1
        scales: F8 = np.array([[head.slope, head.offset, head.reward] for head in heads], np.float64).reshape(-1, 3)
        arrays: Arrays = {"scales": scales}
        for k, head in enumerate(heads):
            arrays[f"text{k}"] = np.frombuffer(head.text.encode(), np.uint8)
        facts = {
            **meta, "objectives": [head.objective for head in heads], "features": fingerprint(columns),
            "state": STATE_SCHEMA,
        }  # fmt: skip
        write_artifact(self._path(number), arrays, SCHEMA, facts)
        return number

    def promote(self, number: int, columns: tuple[str, ...]) -> TreeRanker:
        """Let a ranker serve, from the next look of a server at the pointer on. Raises when it cannot be used."""
        ranker = self.load(number, columns)
        history = [*(one for one in self._pointer().history if one != number), number]
        self._point(history)
        return ranker

    def rollback(self, columns: tuple[str, ...]) -> int:
        """Return to the ranker that served before; gives its number, 0 for the fixed weights."""
        history = self._pointer().history
        if not history:
            raise NotFound("no trained ranker serves, so there is nothing to return from; train one: endcap train")
        if len(history) > 1:
            self.load(history[-2], columns)
        self._point(history[:-1])
        return history[-2] if len(history) > 1 else 0

    # ------------------------------------------------------------ read

    def load(self, number: int, columns: tuple[str, ...]) -> TreeRanker:
        """A stored ranker for rows of these columns.

        ``NotFound`` for an unknown number; ``ArtifactError`` when the file is damaged, of another schema, trained on
        other features, or gives scores that are not finite.
        """
        if number not in self.numbers():
            raise NotFound(f"no model {number} in {self.folder}; endcap models list shows what there is")
        artifact = read_artifact(self._path(number), SCHEMA)
        check_features(artifact, columns, self._path(number))
        ranker = TreeRanker(f"trees-{number}", columns, heads_of(artifact, self._path(number)))
        check_scores(ranker, len(columns))
        return ranker

    def stamp(self) -> tuple[int, int] | None:
        """Differs after every change of the pointer; None when there is none."""
        try:
            facts = (self.folder / POINTER).stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_ino

    def serving(self) -> int:
        """The number of the ranker that serves, 0 = none: the fixed weights do."""
        history = self._pointer().history
        return history[-1] if history else 0

    def models(self, columns: tuple[str, ...]) -> list[Model]:
        """Everything stored, oldest first, each with what is wrong with it if anything is."""
        serving, found = self.serving(), []
        for number in self.numbers():
            meta: dict[str, Any] = {}
            error = None
            try:
                meta = read_artifact(self._path(number), SCHEMA).meta
                self.load(number, columns)
            except ArtifactError as wrong:
                error = wrong.message
            found.append(
                Model(number=number, name=f"trees-{number}", serving=number == serving, meta=meta, error=error)
            )
        return found

    def numbers(self) -> list[int]:
        """Numbers of the stored rankers, ascending."""
        return sorted(int(path.stem) for path in self.folder.glob("*.endcap") if path.stem.isdigit())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.endcap"

    def _pointer(self) -> Pointer:
        file = self.folder / POINTER
        try:
            return msgspec.json.decode(file.read_bytes(), type=Pointer)
        except FileNotFoundError:
            return Pointer()
        except (OSError, msgspec.MsgspecError) as wrong:
            raise ArtifactError(
                f'{file} cannot be read: {wrong}; expected {{"history": [1, 2]}}. '
                "Delete it and name the ranker that shall serve: endcap models promote NUMBER"
            ) from wrong

    def _point(self, history: list[int]) -> None:
        part = self.folder / f".{POINTER}.part"
        with part.open("wb") as file:
            file.write(msgspec.json.encode(Pointer(history[-KEPT_HISTORY:])))
            file.flush()
            os.fsync(file.fileno())
        part.rename(self.folder / POINTER)
        sync_directory(self.folder)


def heads_of(artifact: Artifact, path: Path) -> list[Head]:
    """The objectives of a ranker's artifact."""
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


def check_features(artifact: Artifact, columns: tuple[str, ...], path: Path) -> None:
    """A ranker fits only the rows it learned from: the same columns, read from state of the same meaning."""
    for what, now in (("features", fingerprint(columns)), ("state", STATE_SCHEMA)):
        then = artifact.meta.get(what)
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
