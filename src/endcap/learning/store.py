"""Store: what was trained on a data directory, and what of it serves.

    models/000001.endcap ...   one artifact each: a ranker (trees or an ONNX graph), or what a source was trained to
    models/serving.json        {"ranker": [1, 4], "factors": [2], "gru4rec": [3]}: of each kind the last one serves, the
                               ones before are what a rollback returns to

Both are replaced by writing beside them and renaming, so a reader sees the old or the new file and never a part. An
artifact is loaded, which checks everything, before it is named in ``serving.json``; a damaged file there (a disk, a
careless copy) is refused at loading, and whoever serves keeps what is in use.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from endcap.artifacts import Artifact, read_artifact, replace_file
from endcap.engine import Engine
from endcap.errors import ArtifactError, NotFound
from endcap.learning import rankers
from endcap.learning.rankers import ranker_of
from endcap.models import content, factors, fusion, network, plugged
from endcap.models.content import ContentModel
from endcap.models.factors import Factors
from endcap.models.fusion import Fusion
from endcap.models.network import Network
from endcap.protocols import Ranker
from endcap.sources import TRAINED, Trained

FOLDER, POINTER = "models", "serving.json"
KEPT_HISTORY = 20

RANKER = "ranker"
KINDS = (*TRAINED, RANKER)  # in the order in which they are put to use
SCHEMAS = (rankers.SCHEMA, plugged.SCHEMA, factors.SCHEMA, content.SCHEMA, fusion.SCHEMA, network.SCHEMA)
Loaded = Ranker | Trained
Pointer = dict[str, list[int]]  # by kind: numbers that served, the last of which does


class Model(Struct, frozen=True, kw_only=True):
    """One stored artifact."""

    number: int
    kind: str  # "unknown" when the file cannot be read
    serving: bool
    meta: dict[str, Any]
    error: str | None = None  # why it cannot be used


class ModelStore:
    """The artifacts of one data directory."""

    def __init__(self, directory: Path) -> None:
        self.folder = directory / FOLDER

    # ------------------------------------------------------------ write

    def save(self, write: Callable[[Path], None]) -> int:
        """Store what ``write`` puts into the file it is given; gives its number. It serves only after ``promote``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = max(self.numbers(), default=0) + 1
        write(self.path(number))
        return number

    def promote(self, number: int, columns: tuple[str, ...]) -> str:
        """Let an artifact serve, from the next look of a server at the pointer on. Raises when it cannot be used."""
        kind, _ = self.load(number, columns)
        history = [*(one for one in self.history(kind) if one != number), number]
        self._point(kind, history)
        return kind

    def rollback(self, columns: tuple[str, ...], kind: str = RANKER) -> int:
        """Return to what served before; gives its number, 0 for none (of rankers: the fixed weights)."""
        history = self.history(kind)
        if not history:
            raise NotFound(f"no trained {kind} serves, so there is nothing to return from; train: endcap train")
        if len(history) > 1:
            self.load(history[-2], columns)
        self._point(kind, history[:-1])
        return history[-2] if len(history) > 1 else 0

    # ------------------------------------------------------------ read

    def load(self, number: int, columns: tuple[str, ...]) -> tuple[str, Loaded]:
        """A stored artifact, checked; a ranker for rows of these columns.

        ``NotFound`` for an unknown number; ``ArtifactError`` when the file is damaged, of another schema, trained on
        other features, or gives scores that are not finite.
        """
        if number not in self.numbers():
            raise NotFound(f"no model {number} in {self.folder}; endcap models list shows what there is")
        path = self.path(number)
        artifact = read_artifact(path)
        kind = kind_of(artifact)
        if kind is None:
            raise ArtifactError(f"{path} has schema {artifact.schema!r}, expected one of {', '.join(SCHEMAS)}")
        if kind == "factors":
            return kind, Factors.load(path)
        if kind == "content":
            return kind, ContentModel.load(path)
        if kind == "alike":
            return kind, Fusion.load(path)
        if artifact.schema == network.SCHEMA:
            return kind, Network.of(artifact, path)
        return kind, ranker_of(artifact, columns, path)

    def ranker(self, number: int, columns: tuple[str, ...]) -> Ranker:
        """A stored ranker; ``NotFound`` when the number is of something else."""
        kind, model = self.load(number, columns)
        if isinstance(model, Factors | ContentModel | Fusion | Network):
            raise NotFound(f"model {number} in {self.folder} is of the kind {kind}, not a ranker")
        return model

    def stamp(self) -> tuple[int, int] | None:
        """Differs after every change of the pointer; None when there is none."""
        try:
            facts = (self.folder / POINTER).stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_ino

    def history(self, kind: str = RANKER) -> list[int]:
        """Numbers of this kind that served, the last of which does."""
        return self.pointer().get(kind, [])

    def serving(self, kind: str = RANKER) -> int:
        """The number of the artifact of this kind that serves, 0 = none."""
        return (self.history(kind) or [0])[-1]

    def models(self, columns: tuple[str, ...]) -> list[Model]:
        """Everything stored, oldest first, each with what is wrong with it if anything is."""
        served = {history[-1] for history in self.pointer().values() if history}
        return [structs.replace(self.model(n, columns), serving=n in served) for n in self.numbers()]

    def model(self, number: int, columns: tuple[str, ...]) -> Model:
        """One of them, whether or not it serves."""
        meta: dict[str, Any] = {}
        kind, error = "unknown", None
        try:
            artifact = read_artifact(self.path(number))
            kind, meta = kind_of(artifact) or "unknown", artifact.meta
            self.load(number, columns)
        except ArtifactError as wrong:
            error = wrong.message
        return Model(number=number, kind=kind, serving=False, meta=meta, error=error)

    def numbers(self) -> list[int]:
        """Numbers of what is stored, ascending."""
        return sorted(int(path.stem) for path in self.folder.glob("*.endcap") if path.stem.isdigit())

    def pointer(self) -> Pointer:
        """What serves now."""
        file = self.folder / POINTER
        try:
            found = msgspec.json.decode(file.read_bytes(), type=Pointer)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as wrong:
            raise ArtifactError(
                f'{file} cannot be read: {wrong}; expected {{"ranker": [1, 2]}}. '
                "Delete it and name what shall serve: endcap models promote NUMBER"
            ) from wrong
        unknown = sorted(set(found) - set(KINDS))
        if unknown:
            raise ArtifactError(f"{file} names the kind {unknown[0]!r}; known: {', '.join(KINDS)}")
        return found

    def path(self, number: int) -> Path:
        """The file of an artifact."""
        return self.folder / f"{number:06d}.endcap"

    def _point(self, kind: str, history: list[int]) -> None:
        pointer = {**self.pointer(), kind: history[-KEPT_HISTORY:]}
        replace_file(self.folder / POINTER, msgspec.json.encode(pointer))


def kind_of(artifact: Artifact) -> str | None:
    """What an artifact is: a ranker, or the source that it is for."""
    if artifact.schema == network.SCHEMA:
        return str(artifact.meta.get("model"))
    return {
        rankers.SCHEMA: RANKER, plugged.SCHEMA: RANKER, factors.SCHEMA: "factors", content.SCHEMA: "content",
        fusion.SCHEMA: "alike",
    }.get(artifact.schema)  # fmt: skip


def use(engine: Engine, kind: str, number: int, store: ModelStore) -> None:
    """Let an engine serve artifact ``number`` of a kind, 0 = none. Raises as ``load``, and what served goes on."""
    model = store.load(number, engine.columns)[1] if number else None
    if kind == RANKER:
        assert not isinstance(model, Factors | ContentModel | Fusion | Network)
        engine.use_ranker(model)
    else:
        assert model is None or isinstance(model, Factors | ContentModel | Fusion | Network)
        engine.use_model(kind, model)
