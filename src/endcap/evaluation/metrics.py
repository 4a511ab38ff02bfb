"""Ranking metrics, from lists and relevant sets; exact definitions.

Per query: G the relevant items, L_K the first K of the list, r the 1-based place of a hit.

    hr@K      1 if any of G is in L_K
    mrr@K     1 / r of the first hit, 0 without one
    ndcg@K    sum over hits of 1 / log2(r + 1), divided by the same sum for min(K, |G|) hits at the top
    recall@K  hits / |G|
    capped@K  hits / min(K, |G|)      (``pooled_recall``: both summed over queries first, the OTTO challenge's recall)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from endcap.types import F8, I4, I8

METRICS = ("hr@10", "hr@20", "mrr@20", "ndcg@10", "ndcg@20", "recall@20", "capped@20")


def hits(lists: I4, ends: I8, relevant: I4) -> NDArray[np.bool_]:
    """[q, K]: whether the place holds a relevant item that no earlier place of the list holds.

    ``relevant[ends[q-1]:ends[q]]`` answers query q.
    """
    n_queries, n_places = lists.shape
    query = np.repeat(np.arange(n_queries, dtype=np.int64), np.diff(ends, prepend=0))
    wanted = np.unique((query << 32) | (relevant.astype(np.int64) & 0xFFFFFFFF))
    asked = (np.arange(n_queries, dtype=np.int64)[:, None] << 32) | (lists.astype(np.int64) & 0xFFFFFFFF)
    found = np.isin(asked, wanted)
    for place in range(1, n_places):  # a list that repeats an item must not profit
        found[:, place] &= ~(lists[:, :place] == lists[:, place, None]).any(axis=1)
    return found


def per_query(lists: I4, ends: I8, relevant: I4) -> dict[str, F8]:
    """Every metric of ``METRICS`` for every query."""
    found = hits(lists, ends, relevant)
    n_relevant = np.diff(ends, prepend=0)
    discount = 1.0 / np.log2(np.arange(2, found.shape[1] + 2))
    ideal = np.concatenate(([0.0], np.cumsum(discount)))
    values: dict[str, F8] = {}
    for name in METRICS:
        kind, _, depth = name.partition("@")
        k = min(int(depth), found.shape[1])
        top = found[:, :k]
        n_hits: F8 = np.asarray(top.sum(axis=1), np.float64)
        if kind == "hr":
            values[name] = np.minimum(n_hits, 1.0)
        elif kind == "mrr":
            first: F8 = 1.0 / (1.0 + top.argmax(axis=1))
            values[name] = np.where(n_hits > 0, first, 0.0)
        elif kind == "ndcg":
            ideals = np.maximum(ideal[np.minimum(n_relevant, k)], discount[0])
            values[name] = np.divide((top * discount[:k]).sum(axis=1), ideals, dtype=np.float64)
        else:
            n_wanted = np.minimum(n_relevant, k) if kind == "capped" else n_relevant
            values[name] = n_hits / np.maximum(n_wanted, 1)
    return values


def pooled_recall(lists: I4, ends: I8, relevant: I4, k: int = 20) -> float:
    """Sum of hits / sum of min(K, |G|) over all queries."""
    found = hits(lists[:, :k], ends, relevant)
    return float(found.sum() / max(1, np.minimum(np.diff(ends, prepend=0), k).sum()))
