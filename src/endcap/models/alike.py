"""Alike: items that are near the one a page is about, by vectors that the shop brought or an encoder made.

Idea: one source per modality (text, image, audio) that reads the vector set of that name (models/vector_sets.py). A
score is the cosine with an item that the query names, else with the newest that the shopper touched; the best of
several counts. An item without a vector, or a shop without such a set, is no error: the source is silent.

Cost: a lookup, for lists of nearest items are kept; the first question about an item is a search (models/vectors.py).
Not for: what goes together without being alike, which behaviour knows.
"""

from __future__ import annotations

import numpy as np

from endcap.candidates import Candidates
from endcap.models.vector_sets import VectorSets
from endcap.types import Interest

MODALITIES = ("text", "image", "audio")
NEWEST = 3  # seeds that speak, if the query names no item itself


class AlikeSource:
    """Proposes the nearest items of one vector set."""

    def __init__(self, name: str, sets: VectorSets) -> None:
        self.name = name
        self._sets = sets

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose about ``n`` items that are alike."""
        if not self._sets.held(self.name):
            return
        last = min(interest.n_context, NEWEST) or interest.n_seeds
        seeds = interest.seeds[:last].tolist()
        speaking = [j for j, item in enumerate(seeds) if self._sets.has(self.name, item)][:NEWEST]
        for j in speaking:
            items, cosines = self._sets.near(self.name, seeds[j])
            size = min(items.shape[0], -(-n // len(speaking)))
            into.propose(column, items[:size], cosines[:size], np.full(size, j, np.int32))
