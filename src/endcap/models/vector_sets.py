"""Vector sets: the vectors that a shop brings for its items, one set for each name (text, image, audio, its own).

Idea: vectors can be compared only with their like. So a set remembers which encoder made it, in which version and with
how many numbers; the first vector says, and one that differs never enters. To change the encoder, take another name or
drop the whole set. Only the direction of a vector counts: it is kept with length 1.

The sets are folded from the log (``VectorChange``, and ``vectors`` in an item's record), so what is checked here must
not depend on anything but the log: an event that does not fit is passed over, by every replay in the same way. Whoever
writes checks first (``usable``, ``VectorSets.conflict``) and tells the sender.

Layout: an ``ItemVectors`` a set; a vector that was taken away leaves a row of zeros. Rows may lie anywhere, so what is
saved and hashed is put in order of item. Beside it the nearest others of items that were asked for.

Cost: that of models/vectors.py; memory 4 bytes a number, and its codes. Not for: vectors of words or
passages; it is one vector per item and name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec
import numpy as np

from endcap.errors import InvalidInput
from endcap.models.nearest import MANY, Nearest
from endcap.models.vectors import ItemVectors
from endcap.types import F4, I4, Arrays, VectorChange

MOST_SETS = 16
MOST_NUMBERS = 4_096  # of one vector
MOST_BYTES = 128  # of an encoder's id, of a version
NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")
RESERVED = frozenset({"all", "behaviour", "content"})  # ways to ask for similar items that are no set
UNNAMED, NO_VERSION = "unnamed", "0"  # encoder of vectors that came in an item's record, which does not say
FLOOR = 1e-6  # least cosine of a neighbour
CHANGES_KEPT = 4_096


@dataclass(frozen=True, slots=True)
class Space:
    """Where the vectors of one set live."""

    encoder: str
    version: str
    dim: int


def usable(vector: F4) -> str:
    """Why a vector cannot be used, "" when it can."""
    if vector.ndim != 1 or not 1 <= vector.shape[0] <= MOST_NUMBERS:
        size = vector.shape[0] if vector.ndim == 1 else vector.shape
        return f"the vector has {size} numbers; expected 1 to {MOST_NUMBERS}"
    if not np.isfinite(vector).all():
        return "the vector holds NaN or an infinite number; expected finite 32-bit numbers"
    if not vector.any():
        return "the vector is all zeros, which points nowhere; leave the item out or delete its vector"
    return ""


def as_vector(numbers: list[float]) -> F4:
    """Numbers as 32-bit floats; those that are too large for it become infinite, which ``usable`` refuses."""
    with np.errstate(over="ignore"):
        return np.array(numbers, np.float64).astype(np.float32)


def check_space(name: str, encoder: str, version: str) -> None:
    """``InvalidInput`` for a name, an encoder or a version that cannot be one."""
    if not NAME.match(name) or name in RESERVED:
        raise InvalidInput(
            f"a set of vectors cannot be called {name[:64]!r}; expected 1 to 32 of a-z, 0-9, - and _, a letter first, "
            f"and none of {', '.join(sorted(RESERVED))}",
            field="name",
        )
    for field, text in (("encoder", encoder), ("version", version)):
        if not 1 <= len(text.encode("utf-8", "surrogatepass")) <= MOST_BYTES:
            raise InvalidInput(
                f"{field} is {text[:40]!r}; expected 1 to {MOST_BYTES} bytes that name the model, so that vectors of "
                "two models are never mixed",
                field=field,
            )


class VectorSets:
    """All sets by name. A part of the state."""

    def __init__(self) -> None:
        self.spaces: dict[str, Space] = {}
        self._vectors: dict[str, ItemVectors] = {}
        self._nearest: dict[str, Nearest] = {}
        self._held: dict[str, int] = {}  # vectors that are there, without the rows of zeros
        self._touched: dict[str, dict[int, None]] = {}  # items whose change the kept lists do not know yet: scratch
        self.version = 0  # changes so far, for those who follow them; no state
        self._changes: I4 = np.zeros(CHANGES_KEPT, np.int32)
        self._oldest_version = 0

    # ------------------------------------------------------------ write

    def conflict(self, name: str, encoder: str, version: str, dim: int) -> str:
        """Why such a vector may not enter the set, "" when it may."""
        space = self.spaces.get(name)
        if space is None:
            if len(self.spaces) < MOST_SETS:
                return ""
            return f"there are {MOST_SETS} sets of vectors; drop one first: DELETE /v1/vectors/NAME"
        if space == Space(encoder, version, dim):
            return ""
        return (
            f"the vectors called {name!r} come from encoder {space.encoder!r} version {space.version!r} with "
            f"{space.dim} numbers; got {encoder!r} version {version!r} with {dim}. Vectors of two encoders are "
            "never mixed: use another name, or replace the whole set (endcap vectors import --replace, or "
            f"DELETE /v1/vectors/{name} and send all anew)"
        )

    def fold(self, change: VectorChange, item: int) -> None:
        """Learn one change; ``item`` is the dense id, -1 when the event names none or one that is not there."""
        if change.item_id is None:
            self._drop(change.name)
        elif item >= 0 and change.vector is None:
            self._take_away(change.name, item)
        elif item >= 0 and change.vector is not None and len(change.vector) % 4 == 0:
            self._set(change.name, change.encoder, change.version, item, np.frombuffer(change.vector, "<f4"))

    def take(self, item: int, vectors: dict[str, list[float]]) -> None:
        """Vectors in an item's record: those named are set, the others stay."""
        for name, numbers in vectors.items():
            self._set(name, UNNAMED, NO_VERSION, item, as_vector(numbers))

    def forget(self, item: int) -> None:
        """An item was deleted: its vectors go from every set."""
        for name in list(self.spaces):
            self._take_away(name, item)

    def _set(self, name: str, encoder: str, version: str, item: int, vector: F4) -> None:
        try:
            check_space(name, encoder, version)
        except InvalidInput:
            return
        if usable(vector) or self.conflict(name, encoder, version, vector.shape[0]):
            return
        if name not in self.spaces:
            self._begin(name, Space(encoder, version, vector.shape[0]))
        self._held[name] += not self.has(name, item)
        self._put(name, item, (vector / np.linalg.norm(vector.astype(np.float64))).astype(np.float32))

    def _take_away(self, name: str, item: int) -> None:
        if self.has(name, item):
            self._held[name] -= 1
            if self._held[name] == 0:  # the name is free again
                self._drop(name)
            else:
                self._put(name, item, np.zeros(self.spaces[name].dim, np.float32))

    def _begin(self, name: str, space: Space) -> None:
        self.spaces[name] = space
        self._vectors[name] = ItemVectors(space.dim)
        self._held[name] = 0
        self._touched[name] = {}

    def _drop(self, name: str) -> None:
        self.version += 1
        self._oldest_version = self.version  # of all items that had a vector
        for table in (self.spaces, self._vectors, self._nearest, self._held, self._touched):
            table.pop(name, None)

    def _put(self, name: str, item: int, unit: F4) -> None:
        self._vectors[name].put(np.array([item], np.int32), unit[None])
        self._changes[self.version % CHANGES_KEPT] = item
        self.version += 1
        if name in self._nearest:
            self._touched[name][item] = None

    # ------------------------------------------------------------ read

    def __len__(self) -> int:
        return len(self.spaces)

    def changed_since(self, version: int) -> I4 | None:
        """Items of which any vector changed after ``version``, with repeats; None when it cannot be told any more."""
        if version < max(self._oldest_version, self.version - CHANGES_KEPT):
            return None
        return self._changes[np.arange(version, self.version) % CHANGES_KEPT]

    def held(self, name: str) -> int:
        """Items with a vector in a set; 0 for no such set."""
        return self._held.get(name, 0)

    def has(self, name: str, item: int) -> bool:
        """Whether an item has a vector in a set."""
        vectors = self._vectors.get(name)
        row = -1 if vectors is None else vectors.row(item)
        return vectors is not None and row >= 0 and bool(vectors.scale[row] > 0.0)

    def vector(self, name: str, item: int) -> F4 | None:
        """An item's unit vector, None when it has none; a view."""
        if not self.has(name, item):
            return None
        vectors = self._vectors[name]
        unit: F4 = vectors.unit[vectors.row(item)]
        return unit

    def table(self, name: str) -> ItemVectors | None:
        """The vectors of a set, to be read only; None for no such set."""
        return self._vectors.get(name)

    def near(self, name: str, item: int) -> tuple[I4, F4]:
        """(items, cosines) of the nearest others of an item, best first, from a kept list; views."""
        if not self.has(name, item):
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        if name not in self._nearest:
            self._nearest[name] = Nearest(self._vectors[name], FLOOR, kept=1_024)
        self._settle(name)
        return self._nearest[name].of(item)

    def _settle(self, name: str) -> None:
        """Tell the kept lists what changed since they were last read."""
        touched, vectors = self._touched[name], self._vectors[name]
        if len(touched) > MANY:
            self._nearest[name].clear()
        elif touched:
            items: I4 = np.fromiter(touched, np.int32, len(touched))
            self._nearest[name].changed(items, vectors.unit[vectors.known(items)])
        touched.clear()

    def search(self, name: str, x: F4, n: int, but: int = -1) -> tuple[I4, F4]:
        """(items, cosines) of the ``n`` items whose vectors point most as the unit vector x [dim], without ``but``."""
        vectors = self._vectors.get(name)
        if vectors is None or self._held[name] == 0:
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        return vectors.nearest(np.ascontiguousarray(x, np.float32), n, but, FLOOR)

    # ------------------------------------------------------------ state

    def grow(self, _n_users: int, _n_items: int) -> None:
        """Nothing to do: sets grow with their vectors."""

    def arrays(self, _n_users: int, _n_items: int) -> Arrays:
        """What each set is, and its vectors in order of item: ``item``, ``unit`` [n, dim], ``scale``. Copies."""
        told = [
            (name, space.encoder, space.version, space.dim, self._held[name]) for name, space in self.spaces.items()
        ]
        state: Arrays = {"told": np.frombuffer(msgspec.json.encode(told), np.uint8)}
        for k, vectors in enumerate(self._vectors.values()):
            rows = np.flatnonzero((vectors.item_of[: vectors.n] >= 0) & (vectors.scale[: vectors.n] > 0.0))
            rows = rows[np.argsort(vectors.item_of[rows])]  # where a row lies depends on when it was searched
            state |= {
                f"{k}.item": vectors.item_of[rows], f"{k}.unit": vectors.unit[rows], f"{k}.scale": vectors.scale[rows],
            }  # fmt: skip
        return state

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        self.version += 1
        self._oldest_version = self.version
        for name in list(self.spaces):
            self._drop(name)
        told = msgspec.json.decode(arrays["told"].tobytes(), type=list[tuple[str, str, str, int, int]])
        for k, (name, encoder, version, dim, held) in enumerate(told):
            self._begin(name, Space(encoder, version, dim))
            self._held[name] = held
            items, unit = arrays[f"{k}.item"], arrays[f"{k}.unit"]
            vectors = self._vectors[name]
            vectors.put(items, unit)
            rows = vectors.known(items)
            vectors.unit[rows], vectors.scale[rows] = unit, arrays[f"{k}.scale"]  # dividing by the length again rounds
