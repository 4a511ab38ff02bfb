"""Fitting of the map from what items look like to the factors that behaviour gave them (models/cold.py).

Idea: ridge regression on warm items, each weighed by log(1 + users), for a vector learned from two shoppers is mostly
chance. The ridge is the one of ``RIDGES`` whose vectors of held-out items point most as the learned ones; a map that
does no better than the mean vector is not kept.

Missing modalities: an item may come with a title and no picture although the warm ones have both. So the map is fitted
as if of each modality every item had only ``PRESENT`` of the time, independently (dropout of inputs, in expectation:
Srivastava et al., JMLR 2014): products of numbers of two modalities then count that much less, nothing is drawn.

Length: regression shrinks, and length is what factors say popularity with, so raw vectors of cold items would never be
among the best. All are scaled by one number, so that held-out items have ``LENGTH`` of the mean length (root of mean
square) of their learned ones. With 1 cold items take more places than they are worth: on Online Retail, with a fifth of
all items cold, the 48 best then hold 16 % of the wanted cold items and lose 20 % of the wanted warm ones; with 0.8, 10
% and 8 %; with 0.5, 2 % and none.

Cost: one reading of the warm items' texts and n k^2 steps for k inputs: 12,000 items with words alone 0.6 s.
Not for: shops with fewer than ``LEAST`` warm items in the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from endcap.models.alike import MODALITIES
from endcap.models.cold import Projection, inputs, n_inputs
from endcap.models.content import DIM
from endcap.models.vector_sets import Space, VectorSets
from endcap.types import F4, F8, I4, Item

LEAST = 100  # warm items
RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
HELD_OUT = 5  # one item of so many
MOST_JUDGED = 4_096  # held-out items
PRESENT = 0.5
LENGTH = 0.8
CHUNK = 4_096


def fit_projection(
    items: I4, vectors: F4, n_users: I4, records: Sequence[Item | None], sets: VectorSets
) -> Projection | None:
    """The map for warm items [n] with learned ``vectors`` [n, dim] that ``n_users`` [n] touched.

    None where it cannot be learned: too few warm items with anything to see, or nothing to be seen in them.
    """
    with threadpool_limits(1, "blas"):
        return _fit(items, vectors, n_users, records, sets)


def _fit(items: I4, vectors: F4, n_users: I4, records: Sequence[Item | None], sets: VectorSets) -> Projection | None:
    spaces = tuple((name, sets.spaces[name]) for name in MODALITIES if sets.held(name))
    rng = np.random.default_rng(0)
    judged = np.zeros(items.shape[0], bool)
    judged[rng.permutation(items.shape[0])[: min(items.shape[0] // HELD_OUT, MOST_JUDGED)]] = True
    if items.shape[0] < LEAST:
        return None
    weight: F8 = np.log1p(np.maximum(n_users, 1).astype(np.float64))
    weight /= weight.mean()
    mean: F8 = weight @ vectors.astype(np.float64) / weight.sum()
    k, dim = n_inputs([space for _, space in spaces]), vectors.shape[1]
    grams, crosses = np.zeros((2, k, k)), np.zeros((2, k, dim))  # of those learned from first, of those held out
    held_x, held_rows, n_seen = [], [], 0
    for first in range(0, items.shape[0], CHUNK):
        part = np.arange(first, min(first + CHUNK, items.shape[0]))
        x, known = inputs(items[part], records[first : first + CHUNK], spaces, sets)
        part, x = part[known], x[known]
        n_seen += part.shape[0]
        for side in (0, 1):
            mine = judged[part] == bool(side)
            wide, rows = x[mine].astype(np.float64), part[mine]
            weighed = weight[rows, None] * wide
            grams[side] += weighed.T @ wide
            crosses[side] += weighed.T @ (vectors[rows] - mean)
        held_x.append(x[judged[part]])
        held_rows.append(part[judged[part]])
    if n_seen < LEAST:
        return None
    rows = np.concatenate(held_rows)
    return _chosen(grams, crosses, mean, np.concatenate(held_x), vectors[rows].astype(np.float64), weight[rows], spaces)


def _chosen(
    grams: F8, crosses: F8, mean: F8, x: F4, true: F8, weight: F8, spaces: tuple[tuple[str, Space], ...]
) -> Projection | None:
    """The map of the best ridge, fitted again on all; None when it says no more than the mean."""
    with_mean = mean * np.ones((x.shape[0], 1))
    best, best_ridge, scale = likeness(with_mean, true, weight), 0.0, 1.0
    for ridge in RIDGES:
        found = x @ solved(grams[0], crosses[0], mean, ridge, spaces)
        if (score := likeness(found, true, weight)) > best:
            best, best_ridge = score, ridge
            scale = float(np.sqrt((true**2).sum() / max((found**2).sum(), 1e-12)))
    if not best_ridge:
        return None
    joined = LENGTH * scale * solved(grams.sum(axis=0), crosses.sum(axis=0), mean, best_ridge, spaces)
    return Projection(np.ascontiguousarray(joined, np.float32), spaces)


def solved(gram: F8, cross: F8, mean: F8, ridge: float, spaces: Sequence[tuple[str, Space]]) -> F8:
    """Weights [rows, dim] of one ridge: the mean, then the regression of what differs from it."""
    block = np.concatenate([np.full(size + 1, k) for k, size in enumerate([DIM, *(one.dim for _, one in spaces)])])
    together = np.where(block[:, None] == block, 1.0, PRESENT)
    system = gram[1:, 1:] * together + ridge * np.eye(block.shape[0])
    out: F8 = np.vstack([mean, np.linalg.solve(system, cross[1:])])
    return out


def likeness(found: F8, true: F8, weight: F8) -> float:
    """Weighted mean cosine of rows."""
    length = np.linalg.norm(found, axis=1) * np.linalg.norm(true, axis=1)
    cosines = (found * true).sum(axis=1) / np.maximum(length, 1e-12)
    return float(weight @ cosines / max(weight.sum(), 1e-12))
