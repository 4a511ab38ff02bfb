"""Fusion: items that are alike by words, text vectors, picture and sound taken together, each with a learned weight.

Idea: late fusion. Cosines of two modalities mean different things (two random pictures may be at .5, two random titles
at .0), so each is first put on one scale: u = (cosine - mean) / (1 - mean), 0 = two random items, 1 = the same. The
score of a pair is the weighted mean of u over the modalities that the item asked about has; what the other item lacks
counts as 0, "neither like nor unlike", so a missing modality is no error and no merit. The weights are those of a
logistic regression of what goes together in the log, for each category of the item asked about, shrunk to the global
ones (learning/fusion.py). Without them, or once a vector set changed its encoder, all weigh the same and the means are
0.

Candidates: the nearest others by each modality, 48 each, from lists that are kept (models/nearest.py); all of them
then get their exact score, so an item that is second by everything beats one that is first by one thing.

Cost: a union of at most 192 items and their products, ~0.12 ms an item asked about; nothing is kept but the lists. Not
for: what goes together without being alike, which behaviour knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from endcap.artifacts import read_artifact, write_artifact
from endcap.candidates import Candidates
from endcap.errors import ArtifactError
from endcap.models.alike import MODALITIES, NEWEST
from endcap.models.factors import split_ids
from endcap.models.nearest import Nearest
from endcap.models.vector_sets import Space, VectorSets
from endcap.models.vectors import ItemVectors
from endcap.types import F4, I4, Arrays, Interest

SCHEMA = "endcap-fusion-1"
FUSED = ("content", *MODALITIES)  # in the order of the weights
MEANS_BELOW = 0.99  # a mean cosine above says that the vectors tell nothing apart


@dataclass(frozen=True, slots=True)
class Fusion:
    """Learned weights: data only."""

    weights: F4  # [1 + categories, modalities], rows sum to 1; the first is for all other categories
    means: F4  # [modalities] cosine of two random items
    categories: list[str]  # paths, as the catalogue writes them
    sets: tuple[tuple[str, Space], ...] = ()  # what was there at training
    meta: dict[str, Any] = field(default_factory=dict)  # log range, pairs

    def save(self, path: Path) -> None:
        """Write the artifact."""
        encoded = [name.encode() for name in self.categories]
        arrays: Arrays = {
            "weights": self.weights, "means": self.means, "ids": np.frombuffer(b"".join(encoded), np.uint8),
            "ends": np.cumsum([len(one) for one in encoded], dtype=np.int64),
        }  # fmt: skip
        told = [[name, space.encoder, space.version, space.dim] for name, space in self.sets]
        write_artifact(path, arrays, SCHEMA, {**self.meta, "sets": told})

    @classmethod
    def load(cls, path: Path) -> Fusion:
        """Read an artifact. ``ArtifactError`` when it is missing, damaged or not what it says."""
        found = read_artifact(path, SCHEMA)
        arrays, meta = found.arrays, dict(found.meta)
        try:
            sets = tuple((str(n), Space(str(e), str(v), int(d))) for n, e, v, d in meta.pop("sets"))
            made = cls(arrays["weights"], arrays["means"], split_ids(arrays["ids"], arrays["ends"]), sets, meta)
        except (KeyError, ValueError, TypeError) as wrong:
            raise ArtifactError(f"{path} holds no weights of modalities: {wrong!r}; train again") from wrong
        made.check()
        return made

    def check(self) -> None:
        """``ArtifactError`` unless shapes fit and the numbers can be weights."""
        fits = self.weights.shape == (1 + len(self.categories), len(FUSED)) and self.means.shape == (len(FUSED),)
        if not fits:
            raise ArtifactError(f"weights of modalities do not fit together: {self.weights.shape}; train again")
        usable = (
            np.isfinite(self.weights).all() and (self.weights >= 0.0).all() and (self.weights.sum(axis=1) > 0).all()
        )
        if not usable or not (np.abs(self.means) <= MEANS_BELOW).all():
            raise ArtifactError("weights of modalities must be finite, none below 0 and not all 0; train again")


class Content(Protocol):
    """What the catalogue's words say."""

    vectors: ItemVectors
    nearest: Nearest


class Named(Protocol):
    """A dictionary of dense ids."""

    def name(self, i: int, /) -> str: ...


class Catalogue(Protocol):
    """Categories of items."""

    category: I4

    @property
    def categories(self) -> Named: ...


class FusedSource:
    """Proposes the nearest items by all modalities together."""

    name = "alike"

    def __init__(self, content: Content, sets: VectorSets, catalogue: Catalogue) -> None:
        self.fusion: Fusion | None = None
        self._content, self._sets, self._catalogue = content, sets, catalogue
        self._row_of: dict[str, int] = {}

    def use(self, fusion: Fusion | None) -> None:
        """Serve other weights from the next query on; None = all the same."""
        if fusion is not None:
            fusion.check()
        self.fusion = fusion
        self._row_of = {name: 1 + row for row, name in enumerate(fusion.categories)} if fusion else {}

    def table(self, modality: str) -> ItemVectors | None:
        """The vectors of a modality, None when there are none."""
        return self._content.vectors if modality == "content" else self._sets.table(modality)

    def spaces(self) -> tuple[tuple[str, Space], ...]:
        """The sets that there are now."""
        return tuple((name, self._sets.spaces[name]) for name in MODALITIES if self._sets.held(name))

    def weighing(self, item: int) -> tuple[F4, F4]:
        """(weights, means) [modalities] for an item asked about."""
        fusion = self.fusion
        if fusion is None or fusion.sets != self.spaces():
            return np.ones(len(FUSED), np.float32), np.zeros(len(FUSED), np.float32)
        category = self._catalogue.category[item] if item < self._catalogue.category.shape[0] else -1
        row = self._row_of.get(self._catalogue.categories.name(int(category)), 0) if category >= 0 else 0
        return fusion.weights[row], fusion.means

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose about ``n`` items like those that the query names, else like the newest seeds."""
        last = min(interest.n_context, NEWEST) or interest.n_seeds
        seeds = interest.seeds[:last].tolist()
        speaking = [j for j, item in enumerate(seeds) if any(self._has(name, item) for name in FUSED)][:NEWEST]
        for j in speaking:
            items, scores = self.similar(seeds[j], -(-n // len(speaking)))
            into.propose(column, items, scores, np.full(items.shape[0], j, np.int32))

    def similar(self, item: int, n: int) -> tuple[I4, F4]:
        """(items, scores) of up to ``n`` others with a score above 0, best first."""
        weights, means = self.weighing(item)
        present = [m for m, name in enumerate(FUSED) if weights[m] > 0.0 and self._has(name, item)]
        if not present:
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        near = [self._near(FUSED[m], item) for m in present]
        if len(present) == 1:  # its list is the answer
            union, cosines = near[0]
            mean = np.float32(means[present[0]])
            scores = (cosines - mean) / (np.float32(1.0) - mean)
        else:
            union = np.unique(np.concatenate([items for items, _ in near]))
            scores = np.zeros(union.shape[0], np.float32)
            for m in present:
                scores += weights[m] * self.likeness(FUSED[m], item, union, float(means[m]))
            scores /= weights[present].sum()
        best = np.lexsort((union, -scores))[:n]
        best = best[scores[best] > 0.0]
        return union[best], scores[best]

    def likeness(self, modality: str, item: int, others: I4, mean: float) -> F4:
        """u [n] of others with an item that has the modality; 0 for those that lack it."""
        table = self.table(modality)
        assert table is not None
        rows = table.known(others)
        u: F4 = (table.unit[rows] @ table.unit[table.row(item)] - np.float32(mean)) / np.float32(1.0 - mean)
        u[(rows < 0) | (table.scale[rows] == 0.0)] = 0.0
        return u

    def _has(self, modality: str, item: int) -> bool:
        table = self.table(modality)
        row = -1 if table is None else table.row(item)
        return table is not None and row >= 0 and bool(table.scale[row] > 0.0)

    def _near(self, modality: str, item: int) -> tuple[I4, F4]:
        return self._content.nearest.of(item) if modality == "content" else self._sets.near(modality, item)
