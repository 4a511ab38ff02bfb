"""Retrieval: who proposed an item, at which rank, and how strongly beside the others.

Idea: sources score on their own scales, which drift with the shop. A rank does not. Per source: the item's rank and
its score as a share of the source's best; over all sources: how many proposed it, its best rank, and reciprocal rank
fusion (Cormack, Clarke, Buettcher, SIGIR 2009).

These columns, and only these, depend on the request's other candidates. They are computed once, when the set of
candidates is complete and before anything is ranked, from what the sources themselves proposed: items that join later
without a source change nobody's rank, and the ranker's score of a row depends on that row alone (law L5).

Columns: see ``columns``; features 19 to 21 of the usual sets. Cost: rank by counting, n^2 / 8 vector steps per source,
~10 us for 150 items and 6 sources. Not for: comparing scores of different requests.
"""

from __future__ import annotations

from numba import njit

from endcap.types import F4

MISSING = 999.0
FUSION = 60.0


def columns(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns for these sources."""
    return (
        *(f"rank:{name}" for name in sources),  # 1 = the source's best, ties share a rank, 999 = not proposed
        *(f"share:{name}" for name in sources),  # score / the source's best score, 0 = not proposed
        "n_sources",
        "best_rank",
        "rank_fusion",  # sum of 1 / (60 + rank)
    )


@njit(cache=True, nogil=True, error_model="numpy")
def read_retrieval(scores: F4, column: F4, out: F4) -> None:
    """scores [n, sources], 0 = not proposed -> out [n, 2 sources + 3]. Scratch: ``column`` [n]."""
    n, n_sources = scores.shape
    found, best, fused = 2 * n_sources, 2 * n_sources + 1, 2 * n_sources + 2
    for r in range(n):
        out[r, found], out[r, best], out[r, fused] = 0.0, MISSING, 0.0
    for s in range(n_sources):
        highest = 0.0
        for r in range(n):
            column[r] = scores[r, s]
            highest = max(highest, column[r])
        for r in range(n):
            mine = column[r]
            if mine <= 0.0:
                out[r, s], out[r, n_sources + s] = MISSING, 0.0
                continue
            above = 0
            for q in range(n):
                above += column[q] > mine
            rank = above + 1
            out[r, s] = rank
            out[r, n_sources + s] = mine / highest
            out[r, found] += 1.0
            out[r, best] = min(out[r, best], float(rank))
            out[r, fused] += 1.0 / (FUSION + rank)
