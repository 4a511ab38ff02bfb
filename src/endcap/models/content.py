"""Content: what the catalogue says of an item, as a vector; so an item that nobody has touched can be proposed.

Idea: words and character n-grams of the title, brand, category path, attributes and price are hashed into ``BUCKETS``
counts, weighed by how rare they are (TF-IDF) and projected to ``dim`` numbers (latent semantic analysis: truncated SVD
of the catalogue; Deerwester et al., JASIS 1990; feature hashing: Weinberger et al., ICML 2009). The vector of an item
is one weighted sum of rows of a projection matrix, so a new item has its vector before its ``POST`` is answered, and
nothing but that matrix has to be kept: no vocabulary, no words.

Until a catalogue has been fitted (learning/content.py) a random projection stands in (Johnson and Lindenstrauss): it
keeps cosines of word counts roughly, and works from the first item on.

Layout: ``ItemVectors`` (models/vectors.py), each item's nearest others kept (models/nearest.py); ``projection`` float32
[BUCKETS, dim], row b = idf of bucket b times its place in the space. Vectors are a cache of the catalogue's records,
brought up to date by ``catch_up``; no state.

Cost: ~25 us an item, most of it reading texts; 16 MB for the matrix, 264 bytes an item. Not for: texts whose
meaning is not in their words (an encoder's vectors are), nor for long documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numba import njit

from endcap.artifacts import read_artifact, write_artifact
from endcap.candidates import Candidates
from endcap.errors import ArtifactError
from endcap.models.nearest import Nearest
from endcap.models.terms import BUCKETS, bag_of
from endcap.models.vectors import EXACT, ItemVectors
from endcap.types import F4, I4, Arrays, Interest, Item

SCHEMA = "endcap-content-1"
DIM = 64
NEWEST = 3  # seeds that speak, if the query names no item itself
LIKE = 0.25  # cosines below say nothing


@cache
def random_projection() -> F4:
    """The same for everybody, always: Gaussian rows whose expected length is 1."""
    drawn: F4 = np.random.default_rng(20_090_614).standard_normal((BUCKETS, DIM), np.float32)
    drawn /= np.float32(DIM**0.5)
    return drawn


@dataclass(frozen=True, slots=True)
class ContentModel:
    """What a fit gives: data only."""

    projection: F4  # [BUCKETS, dim]
    centres: F4  # [clusters, dim]; none for small catalogues
    meta: dict[str, Any] = field(default_factory=dict)  # number of items, log range, share of variance kept

    def save(self, path: Path) -> None:
        """Write the artifact; rows of buckets that never occurred are left out."""
        used = np.flatnonzero(self.projection.any(axis=1)).astype(np.int32)
        arrays: Arrays = {"buckets": used, "rows": self.projection[used], "centres": self.centres}
        write_artifact(path, arrays, SCHEMA, self.meta)

    @classmethod
    def load(cls, path: Path) -> ContentModel:
        """Read an artifact. ``ArtifactError`` when it is missing, damaged or not what it says."""
        found = read_artifact(path, SCHEMA)
        try:
            used, rows, centres = (found.arrays[name] for name in ("buckets", "rows", "centres"))
            projection = np.zeros((BUCKETS, rows.shape[1]), np.float32)
            projection[used] = rows
        except (KeyError, IndexError, ValueError) as wrong:
            raise ArtifactError(f"{path} holds no content model: {wrong!r}; fit again") from wrong
        model = cls(projection, centres, dict(found.meta))
        model.check()
        return model

    def check(self) -> None:
        """``ArtifactError`` unless shapes fit and every number is finite."""
        if self.projection.ndim != 2 or self.projection.shape[0] != BUCKETS or self.centres.ndim != 2:
            raise ArtifactError(f"a content model has {BUCKETS} rows, not {self.projection.shape}; fit again")
        if not (np.isfinite(self.projection).all() and np.isfinite(self.centres).all()):
            raise ArtifactError("the content model holds NaN or infinite numbers; fit again")


def untrained() -> ContentModel:
    """The random projection."""
    return ContentModel(random_projection(), np.zeros((0, DIM), np.float32))


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
        self.model: ContentModel | None = None  # None: the random projection, made when the first record comes
        self._next: tuple[ContentModel, ItemVectors] | None = None
        self._catalogue = catalogue
        self._version = 0
        self._waiting: dict[int, None] = {}  # items to be read, in order

    # ------------------------------------------------------------ vectors

    def use(self, model: ContentModel) -> None:
        """Serve another model as soon as ``catch_up`` has read the whole catalogue with it; until then the old one."""
        model.check()
        self._next = (model, ItemVectors(model.projection.shape[1]))
        self._waiting = dict.fromkeys(range(self._catalogue.n_items()))

    def catch_up(self, most: int) -> int:
        """Give vectors to what the catalogue gained or changed, at most ``most`` items; returns how many still wait."""
        self._note_changes()
        if self._waiting:
            now = [item for item, _ in zip(self._waiting, range(most), strict=False)]
            for item in now:
                del self._waiting[item]
            model, vectors = self._next or (self._serving(), self.vectors)
            self._read(now, model, vectors)
        if self._next is not None and not self._waiting:
            self.model, built = self._next
            if built.n > EXACT and self.model.centres.shape[0]:
                built.cluster(self.model.centres)
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
            self._read(list(dict.fromkeys(items)), self._serving(), self.vectors)

    def _serving(self) -> ContentModel:
        if self.model is None:
            self.model = untrained()
        return self.model

    def _read(self, items: list[int], model: ContentModel, vectors: ItemVectors) -> None:
        """Vectors of items with a record; those that lost theirs become nobody's neighbour."""
        records = [(item, self._catalogue.record(item)) for item in items]
        listed = [(item, record) for item, record in records if record is not None]
        gone = np.array([item for item, record in records if record is None], np.int32)
        gone = gone[vectors.known(gone) >= 0]
        self._put(vectors, gone, np.zeros((gone.shape[0], vectors.unit.shape[1]), np.float32))
        if listed:
            dense = np.array([item for item, _ in listed], np.int32)
            self._put(vectors, dense, vectors_of([record for _, record in listed], model.projection))

    def _put(self, vectors: ItemVectors, items: I4, units: F4) -> None:
        """Store what is not there already: most changes of a record are of its stock."""
        rows = vectors.known(items)
        new = np.flatnonzero((rows < 0) | (vectors.unit[rows] != units).any(axis=1)) if vectors.n else slice(None)
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
