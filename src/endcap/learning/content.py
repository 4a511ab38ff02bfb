"""Fitting of the content space: TF-IDF and truncated SVD of the catalogue, by scikit-learn.

The terms of a record come from the same kernel that serves (models/terms.py), so a fitted item and a new one get their
vectors in the same way. What is kept is how rare each bucket is and the catalogue's main directions.

Refit: the main directions should follow the catalogue. ``is_due`` says when: after the first ``LEAST`` records, and
whenever there are half again as many as the last fit saw.

Cost: 10,000 records ~2 s, 100,000 ~15 s, one core. Not for: fewer than ``LEAST`` records; the plain sketch serves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, vstack
from threadpoolctl import threadpool_limits

from endcap.learning.boosting import TooFewExamples
from endcap.models.content import MAIN, ContentModel
from endcap.models.terms import BUCKETS, bag_of
from endcap.types import Item

LEAST = 200
GROWTH = 1.5
CHUNK = 4096


def is_due(n_records: int, fitted: int) -> bool:
    """Whether a catalogue of ``n_records`` deserves a fit, the last one having seen ``fitted`` (0 = none yet)."""
    return n_records >= LEAST and n_records >= GROWTH * fitted


def term_matrix(items: list[Item]) -> csr_matrix:
    """records x buckets, weights summed."""
    parts: list[csr_matrix] = []
    for first in range(0, len(items), CHUNK):
        chunk = items[first : first + CHUNK]
        buckets, weight, ends = bag_of(chunk)
        starts = np.concatenate(([0], ends))
        part = csr_matrix((weight.copy(), buckets.copy(), starts), shape=(len(chunk), BUCKETS))
        part.sum_duplicates()
        parts.append(part)
    return vstack(parts).tocsr()


def fit_content(records: Iterable[Item], seed: int = 0, meta: dict[str, Any] | None = None) -> ContentModel:
    """Fit on catalogue records. Raises ``TooFewExamples`` below ``LEAST`` of them."""
    from sklearn.decomposition import TruncatedSVD  # the heavy import waits until there is something to fit
    from sklearn.feature_extraction.text import TfidfTransformer

    items = list(records)
    if len(items) < LEAST:
        raise TooFewExamples(f"a content space needs {LEAST} catalogue records, there are {len(items)}")
    with threadpool_limits(1, "blas"):
        weigher = TfidfTransformer()
        weighed = weigher.fit_transform(term_matrix(items))
        svd = TruncatedSVD(n_components=MAIN, n_iter=4, random_state=seed)
        svd.fit(weighed)
    idf, directions = weigher.idf_.astype(np.float32), svd.components_.astype(np.float32)
    return ContentModel(
        idf, directions,
        {"records": len(items), "variance": float(svd.explained_variance_ratio_.sum()), **(meta or {})},
    )  # fmt: skip
