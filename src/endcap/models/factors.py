"""Factors: matrix factorisation of behaviour, with the shopper's vector solved anew at every request.

Idea: users x items is factorised into short vectors (ALS: Hu, Koren, Volinsky, ICDM 2008; BPR: Rendle et al., UAI
2009; trained in the background by ``implicit``, see learning/factors.py). Trained user vectors are old as soon as the
shopper clicks, so none is kept: the vector that ALS would give to exactly these weighted items is solved at the
request. With Y the vectors of the shopper's n items, d their confidence above 1, and B = Y'Y of all items + lambda I:

    x = (B + Y' diag(d) Y)^-1 Y' (1 + d)

Since B is the same for everybody, Z = Y B^-1 is computed once for all items, and what is left is a symmetric, well
conditioned n x n system (Woodbury, push-through): M = I + E (Y Z') E with E = diag(sqrt d); M s = E^-1 (1 + d);
x = Z' E s. Shoppers with few items cost next to nothing, and a shopper of today needs no training.

Layout: ``ItemVectors`` (models/vectors.py) for Y, ``ready`` float32 [rows, dim] for Z, both by row. BPR's item bias is
one more number of Y. Artifact: item ids as bytes and ends, vectors, B^-1, and the map that gives items that were not
there at training a vector by what they look like (models/cold.py), until a training gives them one of their own.

Cost: n^2 dim / 2 + n^3 / 6 steps for n seeds: ~10 us for 20, ~60 us for 64 of 64 dimensions; then one search. Not for:
shops with very little behaviour.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numba import njit

from endcap.artifacts import read_artifact, write_artifact
from endcap.blocks import grown
from endcap.candidates import Candidates
from endcap.errors import ArtifactError
from endcap.models.cold import ColdItems, Projection
from endcap.models.vectors import Codes, ItemVectors, coded, dot
from endcap.types import F4, F8, I4, I8, MAX_SEEDS, U1, Arrays, Interest

SCHEMA = "endcap-factors-1"
METHODS = ("als", "bpr", "mf")
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Factors:
    """What a training gives: data only."""

    method: str
    item_ids: list[str]  # n
    vectors: F4  # [n, dim]
    inverse_gram: F8  # [dim, dim]: (Y'Y + lambda I)^-1
    alpha: float  # confidence of an item of weight w is 1 + alpha w
    meta: dict[str, Any]  # log range, settings, metrics
    projection: Projection | None = None  # of items without a vector

    def save(self, path: Path) -> None:
        """Write the artifact."""
        encoded = [item_id.encode() for item_id in self.item_ids]
        arrays: Arrays = {
            "ids": np.frombuffer(b"".join(encoded), np.uint8),
            "ends": np.cumsum([len(one) for one in encoded], dtype=np.int64),
            "vectors": self.vectors,
            "inverse_gram": self.inverse_gram,
        }
        meta = {**self.meta, "method": self.method, "alpha": self.alpha}
        if self.projection is not None:
            arrays["projection"] = self.projection.weights
            meta["projection_sets"] = self.projection.told()
        write_artifact(path, arrays, SCHEMA, meta)

    @classmethod
    def load(cls, path: Path) -> Factors:
        """Read an artifact. ``ArtifactError`` when it is missing, damaged or not what it says."""
        found = read_artifact(path, SCHEMA)
        arrays, meta = found.arrays, dict(found.meta)
        try:
            item_ids = split_ids(arrays["ids"], arrays["ends"])
            told, weights = meta.pop("projection_sets", []), arrays.get("projection")
            made = cls(
                str(meta.pop("method")), item_ids, arrays["vectors"], arrays["inverse_gram"],
                float(meta.pop("alpha")), meta, None if weights is None else Projection.read(weights, told),
            )  # fmt: skip
            made.check()
        except (KeyError, ValueError, TypeError) as wrong:
            raise ArtifactError(f"{path} holds no factors: {wrong!r}; train again") from wrong
        return made

    def check(self) -> None:
        """``ArtifactError`` unless shapes fit each other and every number is finite."""
        dim = self.vectors.shape[1] if self.vectors.ndim == 2 else -1
        fits = self.vectors.shape == (len(self.item_ids), dim) and self.inverse_gram.shape == (dim, dim)
        if not fits or self.method not in METHODS or not self.alpha > 0.0:
            raise ArtifactError(
                f"factors do not fit together: {len(self.item_ids)} items, {self.vectors.shape} vectors"
            )
        if not all(np.isfinite(array).all() for array in (self.vectors, self.inverse_gram)):
            raise ArtifactError("factors hold NaN or infinite numbers; train again")
        if self.projection is not None:
            self.projection.check(dim)


def split_ids(data: U1, ends: I8) -> list[str]:
    """The strings of a byte column."""
    raw, places = data.tobytes(), [0, *ends.tolist()]
    return [raw[a:b].decode() for a, b in pairwise(places)]


@njit(cache=True, nogil=True)
def solve(system: F4, right: F4, n: int) -> None:
    """``right[:n]`` becomes the solution of the symmetric positive definite ``system[:n, :n]``, which is used up."""
    for i in range(n):
        for j in range(i + 1):
            total = system[i, j] - dot(system[i, :j], system[j, :j])
            system[i, j] = np.sqrt(total) if i == j else total / system[j, j]
    for i in range(n):
        right[i] = (right[i] - dot(system[i, :i], right[:i])) / system[i, i]
    for i in range(n - 1, -1, -1):
        right[i] /= system[i, i]
        for j in range(i):
            right[j] -= system[i, j] * right[i]


@njit(cache=True, nogil=True)
def fold_in(
    seeds: I4, weight: F4, n_seeds: int, alpha: float, row_of: I4, unit: F4, scale: F4, ready: F4,
    rows: I4, places: I4, root: F4, system: F4, share: F4, x: F4,
) -> int:  # fmt: skip
    """``x`` = the vector of a shopper with these seeds; returns how many of them have a vector.

    ``rows``, ``places`` and ``share`` say for each of those which row and seed it is and its part: x = sum share ready.
    """
    n = 0
    for j in range(n_seeds):
        if seeds[j] < row_of.shape[0] and row_of[seeds[j]] >= 0 and weight[j] > 0.0:
            rows[n], places[n] = row_of[seeds[j]], j
            root[n] = np.sqrt(alpha * weight[j])
            n += 1
    for i in range(n):
        for j in range(i + 1):
            system[i, j] = root[i] * root[j] * scale[rows[i]] * dot(unit[rows[i]], ready[rows[j]])
        system[i, i] += 1.0
        share[i] = 1.0 / root[i] + root[i]
    solve(system, share, n)
    x[:] = 0.0
    for i in range(n):
        share[i] *= root[i]
        for d in range(x.shape[0]):
            x[d] += share[i] * ready[rows[i], d]
    return n


class Names(Protocol):
    """The dictionary of item ids."""

    def get(self, key: str) -> int: ...


class FactorsSource:
    """Proposes what the shopper's folded-in vector points at. Silent until ``use`` was called."""

    name = "factors"

    def __init__(self, cold: ColdItems | None = None) -> None:
        """``cold``: items that may get a vector by what they look like; None = nobody does."""
        self.vectors = ItemVectors()
        self.ready: F4 = np.zeros((0, 0), np.float32)
        self.factors: Factors | None = None
        self.codes: Codes | None = None  # of its vectors as they were trained
        self._cold = cold
        self._learned: set[int] = set()  # items whose vector behaviour gave
        self._moves = 0
        self._rows: I4 = np.zeros(MAX_SEEDS, np.int32)
        self._places: I4 = np.zeros(MAX_SEEDS, np.int32)
        self._root: F4 = np.zeros(MAX_SEEDS, np.float32)
        self._share: F4 = np.zeros(MAX_SEEDS, np.float32)
        self._system: F4 = np.zeros((MAX_SEEDS, MAX_SEEDS), np.float32)
        self._x: F4 = np.zeros(0, np.float32)
        self._looks_of: Factors | None = None
        self._looks: F4 = np.zeros((0, 0), np.float32)  # by dense item id: NaN = not asked yet

    def use(self, factors: Factors | None, items: Names, codes: Codes | None = None) -> None:
        """Serve other factors from the next query on, or none; those of items that are unknown here are left out.

        ``codes``: ``coded(factors.vectors)``, made where nobody waits for it.
        """
        self.codes = None
        if factors is None:
            self.vectors.clear(0)
            self.factors = None
            return
        factors.check()
        dense = np.array([items.get(item_id) for item_id in factors.item_ids], np.int32)
        known = np.flatnonzero(dense >= 0)
        dim = factors.vectors.shape[1]
        self.codes = codes or coded(factors.vectors)
        self.vectors.hold(dense, factors.vectors, self.codes)
        n = self.vectors.n
        held = self.vectors.unit[:n] * self.vectors.scale[:n, None]
        self.ready = (held @ factors.inverse_gram).astype(np.float32)
        self._moves = self.vectors.moves
        self._x = np.zeros(dim, np.float32)
        self.factors = factors
        self._learned = set(dense[known].tolist())
        if self._cold is not None:
            self._cold.restart()

    def _put(self, items: I4, vectors: F4) -> None:
        """Set vectors [n, dim], and what goes with them."""
        assert self.factors is not None
        self.vectors.put(items, vectors)
        n = self.vectors.n
        rows = np.arange(n) if self.vectors.moves != self._moves else self.vectors.row_of[items]
        self._moves = self.vectors.moves
        self.ready = grown(self.ready, n, 0.0)
        self.ready[rows] = (self.vectors.unit[rows] * self.vectors.scale[rows, None]) @ self.factors.inverse_gram

    def catch_up(self, most: int) -> int:
        """Give cold items that are new or changed a vector, at most ``most``; returns how many still wait."""
        if self._cold is None or self.factors is None or self.factors.projection is None:
            return 0
        waited = self._cold.take(most)
        cold = [item for item in waited if item not in self._learned]
        if cold:
            items = np.array(cold, np.int32)
            vectors = self._cold.vectors(self.factors.projection, items)
            rows = self.vectors.known(items)
            held = self.vectors.unit[rows] * self.vectors.scale[rows, None]
            held[rows < 0] = 0.0
            new = np.abs(vectors - held).max(axis=1) > ROUNDING  # most changes of a record are of its stock
            if new.any():
                self._put(items[new], vectors[new])
        return len(self._cold)

    @contextmanager
    def as_new(self, items: I4) -> Iterator[None]:
        """Within, ``items`` [n] have the vectors that they would have if no training had seen them; the rest as ever.

        Not for seeds: what a shopper touched speaks by its learned vector.
        """
        rows = self.vectors.known(items)
        items, rows = items[rows >= 0], rows[rows >= 0]
        vectors = self.vectors
        unit, scale = vectors.unit[rows], vectors.scale[rows]
        projected = self._projected(items)
        length = np.linalg.norm(projected, axis=1).astype(np.float32)
        vectors.unit[rows] = projected / np.maximum(length, np.float32(1e-12))[:, None]
        vectors.scale[rows] = length
        try:
            yield
        finally:
            vectors.unit[rows], vectors.scale[rows] = unit, scale

    def _projected(self, items: I4) -> F4:
        """What the map of looks says of ``items`` [n], zeros where it says nothing; kept until other factors come."""
        of, dim = self.factors, self.vectors.unit.shape[1]
        if of is None or of.projection is None or self._cold is None:
            return np.zeros((items.shape[0], dim), np.float32)
        size = int(items.max()) + 1 if items.shape[0] else 0
        if self._looks_of is not of:
            self._looks_of, self._looks = of, np.zeros((0, dim), np.float32)
        self._looks = grown(self._looks, size, np.nan)
        asked = items[np.isnan(self._looks[items, 0])]
        if asked.shape[0]:
            self._looks[asked] = self._cold.vectors(of.projection, asked)
        found: F4 = self._looks[items]
        return found

    def fold_in(self, interest: Interest) -> F4:
        """The shopper's vector [dim] now: a view that the next call overwrites."""
        self._fold_in(interest)
        return self._x

    def _fold_in(self, interest: Interest) -> int:
        vectors, alpha = self.vectors, self.factors.alpha if self.factors else 0.0
        return fold_in(
            interest.seeds, interest.weight, interest.n_seeds, alpha, vectors.row_of, vectors.unit, vectors.scale,
            self.ready, self._rows, self._places, self._root, self._system, self._share, self._x,
        )  # fmt: skip

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose the ``n`` items, none of them a seed, with the highest predicted preference."""
        if self.vectors.n == 0 or interest.n_seeds == 0:
            return
        n_base = self._fold_in(interest)
        if n_base:
            self.vectors.retrieve(
                self._x, interest.seeds, interest.n_seeds, self._share, self.ready, self._rows, self._places, n_base,
                into, column, n,
            )  # fmt: skip
