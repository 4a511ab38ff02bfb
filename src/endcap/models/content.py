"""Content: what the catalogue says of an item, as a vector; so an item that nobody has touched can be proposed.

Idea: words and character n-grams of the title, brand, category path, attributes and price are hashed into ``BUCKETS``
counts (feature hashing; Weinberger et al., ICML 2009), weighed by how rare they are (TF-IDF) and projected to ``DIM``
numbers. The first of these are the main directions of the catalogue (latent semantic analysis: truncated SVD;
Deerwester et al., JASIS 1990), fitted in learning/content.py. The others are a random sketch of what these directions
leave over (Johnson and Lindenstrauss, 1984), because products are told apart by rare words that no main direction
holds: on two catalogues the sketch finds the next item up to half again as often as an SVD of the same size. Without a
fit all numbers are sketch, so content works from the first item on, and a word that came after the fit still counts.

The vector of an item is one weighted sum of rows of the projection matrix: a new item has its vector before its
``POST`` is answered, and no vocabulary is kept.

Layout: ``ItemVectors`` (models/vectors.py), each item's nearest others kept (models/nearest.py); ``projection`` float32
[BUCKETS, DIM]. Vectors are a cache of the catalogue's records, brought up to date by ``catch_up``; no state.

Cost: ~25 us an item, most of it reading texts; 32 MB for the matrix, 520 bytes an item. Not for: texts whose meaning is
not in their words (an encoder's vectors are), nor for long documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numba import njit

from endcap.artifacts import read_artifact, write_artifact
from endcap.candidates import Candidates
from endcap.errors import ArtifactError
from endcap.models.nearest import Nearest
from endcap.models.terms import BUCKETS, bag_of
from endcap.models.vectors import ItemVectors
from endcap.types import F4, I4, Arrays, Interest, Item

SCHEMA = "endcap-content-1"
DIM = 128
MAIN = 32  # of them for the main directions, once fitted
NEWEST = 3  # seeds that speak, if the query names no item itself
ROUNDING = 1e-6
LIKE = 0.25  # cosines below say nothing


@cache
def sketch() -> F4:
    """Gaussian numbers [BUCKETS, DIM], the same in every process."""
    drawn: F4 = np.random.default_rng(20_090_614).standard_normal((BUCKETS, DIM), np.float32)
    return drawn


def project_onto(idf: F4, directions: F4) -> F4:
    """The projection matrix [BUCKETS, DIM] for orthonormal ``directions`` [k, BUCKETS], k < DIM."""
    random = sketch()[:, : DIM - directions.shape[0]]
    rest = (random - directions.T @ (directions @ random)) / np.float32(random.shape[1] ** 0.5)
    joined = np.concatenate((directions.T, rest), axis=1, dtype=np.float32)
    joined *= idf[:, None]
    return joined


@dataclass(frozen=True, slots=True)
class ContentModel:
    """What a fit gives: data only."""

    idf: F4  # [BUCKETS]
    directions: F4  # [k, BUCKETS], orthonormal
    meta: dict[str, Any] = field(default_factory=dict)  # number of records, log range, share of variance kept

    def save(self, path: Path) -> None:
        """Write the artifact; buckets that no direction uses are left out."""
        used = np.flatnonzero(self.directions.any(axis=0)).astype(np.int32)
        arrays: Arrays = {
            "idf": self.idf, "used": used, "directions": self.directions[:, used]
        }  # fmt: skip
        write_artifact(path, arrays, SCHEMA, self.meta)

    @classmethod
    def load(cls, path: Path) -> ContentModel:
        """Read an artifact. ``ArtifactError`` when it is missing, damaged or not what it says."""
        found = read_artifact(path, SCHEMA)
        try:
            idf, used, held = (found.arrays[name] for name in ("idf", "used", "directions"))
            directions = np.zeros((held.shape[0], BUCKETS), np.float32)
            directions[:, used] = held
        except (KeyError, IndexError, ValueError) as wrong:
            raise ArtifactError(f"{path} holds no content model: {wrong!r}; fit again") from wrong
        model = cls(idf, directions, dict(found.meta))
        model.check()
        return model

    def check(self) -> None:
        """``ArtifactError`` unless shapes fit and every number is finite."""
        k = self.directions.shape[0]
        fits = self.idf.shape == (BUCKETS,) and self.directions.shape == (k, BUCKETS) and k < DIM
        if not fits:
            raise ArtifactError(f"a content model is for {BUCKETS} buckets, not {self.directions.shape}; fit again")
        if not all(np.isfinite(array).all() for array in (self.idf, self.directions)):
            raise ArtifactError("the content model holds NaN or infinite numbers; fit again")

    def projection(self) -> F4:
        """The matrix [BUCKETS, DIM] that turns weighted terms into numbers. Raises as ``check`` does."""
        self.check()
        return project_onto(self.idf, self.directions)


@cache
def unfitted() -> F4:
    """The projection before any fit."""
    return project_onto(np.ones(BUCKETS, np.float32), np.zeros((0, BUCKETS), np.float32))


@njit(cache=True, nogil=True)
def project(buckets: I4, weight: F4, ends: I4, projection: F4, out: F4) -> None:
    """out[k] = the unit vector of item k, whose terms end at ``ends[k]``; zeros for an item without terms."""
    first = 0
    for k in range(ends.shape[0]):
        out[k, :] = 0.0
        for t in range(first, ends[k]):
            for d in range(out.shape[1]):
                out[k, d] += weight[t] * projection[buckets[t], d]
        first = ends[k]
        total = np.float32(0.0)
        for d in range(out.shape[1]):
            total += out[k, d] * out[k, d]
        if total > 0.0:
            for d in range(out.shape[1]):
                out[k, d] /= np.sqrt(total)


def vectors_of(items: Sequence[Item], projection: F4) -> F4:
    """Unit vectors [n, dim] of records."""
    buckets, weight, ends = bag_of(items)
    out = np.empty((len(items), projection.shape[1]), np.float32)
    project(buckets, weight, ends, projection, out)
    return out


class Records(Protocol):
    """The catalogue's records."""

    version: int

    def n_items(self) -> int: ...
    def record(self, item: int) -> Item | None: ...
    def changed_since(self, version: int) -> I4 | None: ...


class ContentSource:
    """Proposes what reads like the items that the shopper is looking at."""

    name = "content"

    def __init__(self, catalogue: Records) -> None:
        self.vectors = ItemVectors(DIM)
        self.nearest = Nearest(self.vectors, LIKE)
        self.model: ContentModel | None = None
        self._projection: F4 | None = None  # None: ``unfitted``, made when the first record comes
        self._next: tuple[ContentModel | None, F4, ItemVectors] | None = None
        self._catalogue = catalogue
        self._version = 0
        self._waiting: dict[int, None] = {}  # items to be read, in order

    # ------------------------------------------------------------ vectors

    def use(self, model: ContentModel | None, projection: F4) -> None:
        """Serve another model as soon as ``catch_up`` has read the whole catalogue with it; until then the old one.

        ``projection`` is ``model.projection()``, or ``unfitted()`` for None: it takes half a second, for which nobody
        should hold a lock.
        """
        self._next = (model, projection, ItemVectors(DIM))
        self._waiting = dict.fromkeys(range(self._catalogue.n_items()))

    def catch_up(self, most: int) -> int:
        """Give vectors to what the catalogue gained or changed, at most ``most`` items; returns how many still wait."""
        self._note_changes()
        if self._waiting:
            now = list(islice(self._waiting, most))
            for item in now:
                del self._waiting[item]
            if self._next is None:
                self._read(now, self.projection, self.vectors)
            else:
                self._read(now, *self._next[1:])
        if self._next is not None and not self._waiting:
            self.model, self._projection, built = self._next
            self.vectors.become(built)
            self.nearest.clear()
            self._next = None
        return len(self._waiting)

    def _note_changes(self) -> None:
        if self._version == self._catalogue.version:
            return
        changed = self._catalogue.changed_since(self._version) if self._version else None
        items = range(self._catalogue.n_items()) if changed is None else changed.tolist()
        self._version = self._catalogue.version
        self._waiting.update(dict.fromkeys(items))
        if self._next is not None and changed is not None:  # a new item does not wait for the new model
            self._read(list(dict.fromkeys(items)), self.projection, self.vectors)

    @property
    def projection(self) -> F4:
        """The matrix that serves."""
        return unfitted() if self._projection is None else self._projection

    def _read(self, items: list[int], projection: F4, vectors: ItemVectors) -> None:
        """Vectors of items with a record; those that lost theirs become nobody's neighbour."""
        records = [(item, self._catalogue.record(item)) for item in items]
        listed = [(item, record) for item, record in records if record is not None]
        gone = np.array([item for item, record in records if record is None], np.int32)
        gone = gone[vectors.known(gone) >= 0]
        self._put(vectors, gone, np.zeros((gone.shape[0], DIM), np.float32))
        if listed:
            dense = np.array([item for item, _ in listed], np.int32)
            self._put(vectors, dense, vectors_of([record for _, record in listed], projection))

    def _put(self, vectors: ItemVectors, items: I4, units: F4) -> None:
        """Store what is not there already: most changes of a record are of its stock."""
        rows = vectors.known(items)
        new = np.arange(items.shape[0])
        if vectors.n:
            new = np.flatnonzero((rows < 0) | (np.abs(vectors.unit[rows] - units).max(axis=1) > ROUNDING))
        vectors.put(items[new], units[new])
        if vectors is self.vectors:
            self.nearest.changed(items[new], units[new])

    # ------------------------------------------------------------ retrieval

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose about ``n`` items nearest to the items named by the query, else to the newest.

        A score is the cosine with one of these, times its weight beside the heaviest of them.
        """
        if self.vectors.n == 0 or interest.n_seeds == 0:
            return
        places = self._looked_at(interest)
        heaviest = max((float(interest.weight[j]) for j in places), default=0.0)
        for j in places:
            items, cosines = self.nearest.of(int(interest.seeds[j]))
            strength = float(interest.weight[j]) / heaviest if heaviest > 0.0 else 1.0
            size = min(items.shape[0], -(-n // len(places)))
            into.propose(column, items[:size], cosines[:size] * np.float32(strength), np.full(size, j, np.int32))

    def _looked_at(self, interest: Interest) -> list[int]:
        """Places of the seeds that speak."""
        last = min(interest.n_context, NEWEST) or interest.n_seeds
        return [j for j, item in enumerate(interest.seeds[:last].tolist()) if self.vectors.row(item) >= 0][:NEWEST]

    def similar(self, item: int, n: int) -> tuple[I4, F4]:
        """(items, cosines) of up to ``n`` items that read most like one, best first; empty when it has no record."""
        items, cosines = self.nearest.of(item)
        return items[:n].copy(), cosines[:n].copy()
