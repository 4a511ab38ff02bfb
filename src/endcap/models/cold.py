"""Cold: vectors in the factors' space for items that no training has seen, from what the catalogue and the shop say.

Idea: among warm items, a linear map is learned from what an item looks like to the vector that behaviour gave it
(attribute-to-feature mapping: Gantner et al., ICDM 2010; learning/cold.py). A new item's own words, and its vectors of
text, image and audio where the shop has such sets, then give it a place among the factors before anybody touched it.

What never goes stale: words are read by ``unfitted()`` (models/content.py), the projection that no training changes, so
another content model leaves the map right. A vector set may change its encoder; the map remembers the space it was
learned in, and a set of another space counts as missing. Of what is missing nothing enters the sum.

Layout: ``weights`` float32 [rows, dim]: the mean vector, then for each modality its numbers and one row for having it
at all. Cost: ~20 us an item among many, ~0.3 ms for one that comes alone, and a row more for every search of the
factors. Not for: warm items; what shoppers did says more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from endcap.errors import ArtifactError
from endcap.models.content import DIM, unfitted, vectors_of
from endcap.models.vector_sets import Space, VectorSets
from endcap.types import F4, I4, Item


@dataclass(frozen=True, slots=True)
class Projection:
    """The learned map: data only."""

    weights: F4  # [1 + DIM + 1 + (numbers + 1) of each set, dim]
    sets: tuple[tuple[str, Space], ...] = ()  # in the order of their rows

    @property
    def size(self) -> int:
        """Rows that ``weights`` must have."""
        return n_inputs([space for _, space in self.sets])

    def check(self, dim: int) -> None:
        """``ArtifactError`` unless it gives finite vectors of ``dim`` numbers."""
        if self.weights.shape != (self.size, dim) or not np.isfinite(self.weights).all():
            raise ArtifactError(
                f"the projection of cold items is {self.weights.shape}, expected finite numbers of shape "
                f"{(self.size, dim)}; train again: endcap train factors"
            )

    def told(self) -> list[Any]:
        """The sets as JSON can hold them."""
        return [[name, space.encoder, space.version, space.dim] for name, space in self.sets]

    @classmethod
    def read(cls, weights: F4, told: list[Any]) -> Projection:
        """The inverse of ``told``. ``TypeError`` or ``ValueError`` when it is no such list."""
        return cls(weights, tuple((str(n), Space(str(e), str(v), int(d))) for n, e, v, d in told))

    def vectors(self, items: I4, records: Sequence[Item | None], sets: VectorSets) -> F4:
        """Vectors [n, dim] of items with these records; zeros where nothing is known."""
        x, known = inputs(items, records, self.sets, sets)
        out: F4 = x @ self.weights
        out[~known] = 0.0
        return out


def n_inputs(spaces: Sequence[Space]) -> int:
    """Numbers that an item is described by."""
    return 1 + DIM + 1 + sum(space.dim + 1 for space in spaces)


def inputs(
    items: I4, records: Sequence[Item | None], spaces: Sequence[tuple[str, Space]], sets: VectorSets
) -> tuple[F4, NDArray[np.bool_]]:
    """What is known of items [n]: x [n, n_inputs], and whether that is anything [n]. A deleted item has no record."""
    n = items.shape[0]
    x = np.zeros((n, n_inputs([space for _, space in spaces])), np.float32)
    x[:, 0] = 1.0
    listed = [k for k, record in enumerate(records) if record is not None]
    if listed:
        x[listed, 1 : 1 + DIM] = vectors_of([record for record in records if record is not None], unfitted())
    x[:, 1 + DIM] = x[:, 1 : 1 + DIM].any(axis=1)
    first = 1 + DIM + 1
    known = x[:, 1 + DIM] > 0.0
    for name, space in spaces:
        table = sets.table(name) if sets.spaces.get(name) == space else None
        if table is not None:
            rows = table.known(items)
            there = np.flatnonzero((rows >= 0) & (table.scale[rows] > 0.0))
            x[there, first : first + space.dim] = table.unit[rows[there]]
            x[there, first + space.dim] = 1.0
        known |= x[:, first + space.dim] > 0.0
        first += space.dim + 1
    return x, known


class Records(Protocol):
    """The catalogue's records."""

    version: int

    def n_items(self) -> int: ...
    def record(self, item: int) -> Item | None: ...
    def changed_since(self, version: int) -> I4 | None: ...


class ColdItems:
    """What of the catalogue and the sets waits to be projected."""

    def __init__(self, catalogue: Records, sets: VectorSets) -> None:
        self._catalogue, self._sets = catalogue, sets
        self._version = self._sets_version = 0
        self._waiting: dict[int, None] = {}  # in order

    def restart(self) -> None:
        """Everything waits."""
        self._version, self._sets_version = self._catalogue.version, self._sets.version
        self._waiting = dict.fromkeys(range(self._catalogue.n_items()))

    def take(self, most: int) -> list[int]:
        """At most ``most`` of the items that are new or changed, which wait no longer."""
        self._note_changes()
        if not self._waiting:
            return []
        found = list(islice(self._waiting, most))
        for item in found:
            del self._waiting[item]
        return found

    def __len__(self) -> int:
        return len(self._waiting)

    def _note_changes(self) -> None:
        if self._version == self._catalogue.version and self._sets_version == self._sets.version:
            return
        changes = self._catalogue.changed_since(self._version), self._sets.changed_since(self._sets_version)
        if any(one is None for one in changes):
            self.restart()
            return
        for one in changes:
            self._waiting.update(dict.fromkeys(one.tolist() if one is not None else ()))
        self._version, self._sets_version = self._catalogue.version, self._sets.version

    def vectors(self, projection: Projection, items: I4) -> F4:
        """Vectors [n, dim] of items as they are now."""
        return projection.vectors(items, [self._catalogue.record(item) for item in items.tolist()], self._sets)
