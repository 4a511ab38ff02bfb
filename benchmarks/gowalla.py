"""Gowalla, the published LightGCN split: Recall@20 and NDCG@20 of plain collaborative filtering, as JSON.

    python benchmarks/gowalla.py                both models, trained on all of train, judged on test
    python benchmarks/gowalla.py --validate     the search: a fifth of train held out, test never read

Protocol: per user all items but those of train are ranked; means over all users with test items. No times, a random
split: this judges models of who-did-what, not a live system.

* ``factors``: the product's own matrix factorisation (learning/factors.py, default settings), each user's vector solved
  from the finished item vectors, as serving does.
* ``spectral``: a graph filter without training, after GF-CF (Shen et al., CIKM 2021). N = D_user^-POWER R D_item^-1/2,
  V its RANK leading right singular vectors, s the largest singular value:

      score(u) = r N'N / s^2 + SHARE x r D_item^-1/2 V V' D_item^1/2

  A step over items in common, plus what remains of the user on the smooth directions. GF-CF has POWER 1/2, RANK 256:
  busy users deserve a little more weight, and more directions help. It stays a benchmark: the first term is what the
  product's co-visitation counts live, and the second would have to be fitted anew for each new item.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from endcap.config import FactorsConfig
from endcap.learning.factors import als_vectors

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ENDCAP_DATA", ROOT.parent / "shared" / "data")) / "bench_gowalla_lightgcn"
TOP = 20
POWER, RANK, SHARE = 0.3, 768, 0.4  # chosen by --validate
POWERS, RANKS, SHARES = (0.3, 0.4, 0.5, 0.6), (512, 768), (0.2, 0.4, 0.6)  # what it compares
BATCH = 1_000  # users scored at once: 41,000 float32 scores each
HELD_OUT = 0.2  # of train, by --validate
GAIN = 1.0 / np.log2(np.arange(2, TOP + 2))

F4 = NDArray[np.float32]
Score = Callable[[Any], F4]  # rows of the train matrix -> [rows, items]


def read(validate: bool) -> tuple[csr_matrix, csr_matrix]:
    """What is known and what is asked for, users x items, ones."""
    events = pl.read_parquet(DATA / "events.parquet")
    users = np.unique(events["user_id"].to_numpy().astype(str), return_inverse=True)[1]
    items = np.unique(events["item_id"].to_numpy().astype(str), return_inverse=True)[1]
    known = (events["split"] == "train").to_numpy()
    asked = ~known
    shape = (int(users.max()) + 1, int(items.max()) + 1)
    if validate:
        asked = known & (np.random.default_rng(0).random(len(users)) < HELD_OUT)
        known &= ~asked
    ones = np.ones(len(users), np.float32)
    one, other = (csr_matrix((ones[part], (users[part], items[part])), shape=shape) for part in (known, asked))
    return one, other


def factors(known: csr_matrix) -> Score:
    """ALS with the product's settings."""
    config = FactorsConfig()
    vectors = als_vectors(known, config).astype(np.float64)
    base = vectors.T @ vectors + config.regularization * np.eye(vectors.shape[1])

    def score(rows: Any) -> F4:
        users = np.zeros((rows.shape[0], vectors.shape[1]))
        for k in range(rows.shape[0]):
            mine = vectors[rows.indices[rows.indptr[k] : rows.indptr[k + 1]]]
            users[k] = np.linalg.solve(base + config.alpha * mine.T @ mine, (1.0 + config.alpha) * mine.sum(axis=0))
        return np.asarray(users @ vectors.T, np.float32)

    return score


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A train matrix taken apart."""

    normal: csr_matrix  # N / s
    vectors: F4  # [rank, items]
    root: F4  # of each item's degree


def decomposed(known: csr_matrix, power: float, rank: int) -> Spectrum:
    """The normalised matrix and its leading right singular vectors."""
    from sklearn.utils.extmath import randomized_svd

    degree_user, degree_item = (np.maximum(np.asarray(known.sum(axis)).ravel(), 1.0) for axis in (1, 0))
    normal = csr_matrix(diags(degree_user**-power) @ known @ diags(degree_item**-0.5), dtype=np.float32)
    _, sizes, vectors = randomized_svd(normal, n_components=rank, n_iter=4, random_state=0)
    return Spectrum(
        normal / np.float32(sizes[0]),
        np.ascontiguousarray(vectors, np.float32),
        np.sqrt(degree_item).astype(np.float32),
    )


def spectral(parts: Spectrum, rank: int, share: float) -> Score:
    """The graph filter."""
    vectors = parts.vectors[:rank]

    def score(rows: Any) -> F4:
        step = np.asarray(((rows @ parts.normal.T) @ parts.normal).todense(), np.float32)
        within = np.asarray((rows @ diags(1.0 / parts.root)) @ vectors.T, np.float32)
        return np.asarray(step + share * (within @ vectors) * parts.root, np.float32)

    return score


def batches(known: csr_matrix, asked: csr_matrix, most: int) -> Iterator[tuple[Any, Any]]:
    """Rows of both matrices for users with something asked and something known."""
    users = np.flatnonzero((asked.getnnz(1) > 0) & (known.getnnz(1) > 0))
    if 0 < most < len(users):
        users = np.sort(np.random.default_rng(1).choice(users, most, replace=False))
    for begin in range(0, len(users), BATCH):
        chosen = users[begin : begin + BATCH]
        yield known[chosen], asked[chosen]


def judged(known: csr_matrix, asked: csr_matrix, score: Score, most: int = 0) -> dict[str, float]:
    """Mean Recall@20 and NDCG@20 with half the width of their 95 % intervals (users drawn anew)."""
    found: list[NDArray[np.float64]] = []
    for mine, right in batches(known, asked, most):
        scores = score(mine)
        scores[np.repeat(np.arange(mine.shape[0]), np.diff(mine.indptr)), mine.indices] = -np.inf
        top = np.argpartition(-scores, TOP, axis=1)[:, :TOP]
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, 1)
        for k in range(mine.shape[0]):
            wanted = right.indices[right.indptr[k] : right.indptr[k + 1]]
            hit = np.isin(top[k], wanted)
            ideal = GAIN[: min(TOP, len(wanted))].sum()
            found.append(np.array([hit.sum() / len(wanted), (hit * GAIN).sum() / ideal]))
        print(f"{len(found)} users", end="\r", file=sys.stderr)
    table = np.array(found)
    recall, ndcg = table.mean(axis=0).tolist()
    half = (1.96 * table.std(axis=0) / np.sqrt(len(table))).tolist()
    return {"recall@20": recall, "ndcg@20": ndcg, "recall_half": half[0], "ndcg_half": half[1], "users": len(table)}


def main() -> None:
    """Judge, or search."""
    parser = argparse.ArgumentParser(description="Gowalla, the LightGCN split.")
    parser.add_argument("--validate", action="store_true", help="search settings on a part of train")
    parser.add_argument("--users", type=int, default=0, help="most users to judge; 0 = all")
    given = parser.parse_args()
    known, asked = read(given.validate)
    began = perf_counter()
    models: dict[str, dict[str, float]] = {}
    if given.validate:
        for power in POWERS:
            parts = decomposed(known, power, max(RANKS))
            for rank in RANKS:
                for share in SHARES:
                    made = spectral(parts, rank, share)
                    models[f"power {power} rank {rank} share {share}"] = judged(
                        known, asked, made, given.users or 1_500
                    )
    else:
        models["spectral"] = judged(known, asked, spectral(decomposed(known, POWER, RANK), RANK, SHARE), given.users)
        models["factors"] = judged(known, asked, factors(known), given.users)
    print(msgspec.json.encode({"data": DATA.name, "models": models, "seconds": perf_counter() - began}).decode())


if __name__ == "__main__":
    main()
