"""Weights of modalities: what likeness by words, text, picture and sound says of what goes together in the log.

Idea: pairs that the log's co-visitation holds against pairs drawn at random, from the likeness by each modality, by
logistic regression (Newton's steps; Cox, 1958). For each category of the first item the same, pulled to the global
weights as if ``SHRUNK`` pairs of average information had said those; a category with few pairs stays near them. The
others of the random pairs are those of true pairs, mixed anew, so popularity tells nothing. A weight below 0 would say
that unlike items go together; it becomes 0, and such items are left to behaviour.

Cost: ``MOST`` pairs with their negatives, a product of vectors each: 11,000 pairs 0.2 s. Not for: shops
without vector sets, where there is nothing to weigh.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from endcap.engine import Engine
from endcap.features.covisit import Covisit
from endcap.learning.boosting import TooFewExamples
from endcap.models.fusion import FUSED, MEANS_BELOW, FusedSource, Fusion
from endcap.types import F4, F8, I4

LEAST = 200  # pairs
LEAST_OF_CATEGORY = 20
SHRUNK = 200.0
MOST = 20_000  # pairs
NEIGHBOURS = 5  # of an item
NEGATIVES = 4  # for a pair
STEPS = 25
RIDGE = 1e-3


def fit_fusion(engine: Engine, meta: dict[str, Any] | None = None) -> Fusion:
    """Learn from what an engine has folded. ``TooFewExamples`` when there is only one modality or too few pairs."""
    source, state = engine.recommender.sources.alike, engine.state
    engine.recommender.sources.catch_up(len(state.items))
    if not source.spaces():
        raise TooFewExamples("weights of modalities need a set of vectors called text, image or audio; there is none")
    first, second = pairs_of(state.covisit, len(state.items), seed=0)
    first, second = with_vectors(source, first, second)
    if first.shape[0] < LEAST:
        raise TooFewExamples(
            f"weights of modalities need {LEAST} pairs of items with vectors that shoppers saw together, there are "
            f"{first.shape[0]}; train again when there is more traffic"
        )
    category = np.where(first < state.catalogue.category.shape[0], state.catalogue.category[first], -1)
    rng = np.random.default_rng(0)
    mixed = [rng.permutation(second) for _ in range(NEGATIVES)]
    cosines = [np.stack([cosines_of(source, name, first, other) for name in FUSED], 1) for other in (second, *mixed)]
    means = np.clip(np.nan_to_num(np.array([mean_of(cosines[1:], m) for m in range(len(FUSED))])), 0.0, MEANS_BELOW)
    x = np.nan_to_num((np.concatenate(cosines) - means) / (1.0 - means))
    x = np.hstack([x, np.ones((x.shape[0], 1))])
    right = np.repeat([1.0, *([0.0] * NEGATIVES)], first.shape[0])
    nothing = np.zeros(x.shape[1])
    everywhere = logistic(x, right, nothing, RIDGE * np.eye(x.shape[1]))
    usual = information(x, everywhere) / x.shape[0]
    rows, names = [shares(everywhere, np.ones(len(FUSED)))], []
    for c in np.unique(category[category >= 0]).tolist():
        if int((category == c).sum()) >= LEAST_OF_CATEGORY:
            own = np.tile(category == c, 1 + NEGATIVES)
            rows.append(shares(logistic(x[own], right[own], everywhere, SHRUNK * usual), rows[0]))
            names.append(state.catalogue.categories.name(c))
    told = {"pairs_of_items": int(first.shape[0]), **(meta or {})}
    return Fusion(np.array(rows, np.float32), means.astype(np.float32), names, source.spaces(), told)


def pairs_of(covisit: Covisit, n_items: int, seed: int) -> tuple[I4, I4]:
    """Items and those most often seen with them, at most ``NEIGHBOURS`` each and ``MOST`` in all."""
    first, second = [], []
    length = covisit.blocks.length[:n_items]
    for item in np.random.default_rng(seed).permutation(np.flatnonzero(length))[: MOST // 2].tolist():
        begin = int(covisit.blocks.start[item])
        places = np.arange(begin, begin + int(length[item]))
        strongest = places[np.argsort(-covisit.weight[places].sum(axis=1), kind="stable")[:NEIGHBOURS]]
        first.append(np.full(strongest.shape[0], item, np.int32))
        second.append(covisit.other[strongest])
    if not first:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    return np.concatenate(first)[:MOST], np.concatenate(second)[:MOST].astype(np.int32)


def with_vectors(source: FusedSource, first: I4, second: I4) -> tuple[I4, I4]:
    """Pairs of different items that at least one modality can compare."""
    comparable = np.zeros(first.shape[0], bool)
    for name in FUSED:
        comparable |= np.isfinite(cosines_of(source, name, first, second))
    comparable &= first != second
    return first[comparable], second[comparable]


def cosines_of(source: FusedSource, modality: str, first: I4, second: I4) -> F8:
    """Cosines [n] of pairs, NaN where one of the two has no vector."""
    table = source.table(modality)
    out = np.full(first.shape[0], np.nan)
    if table is None:
        return out
    rows, others = table.known(first), table.known(second)
    there = np.flatnonzero((rows >= 0) & (others >= 0))
    there = there[(table.scale[rows[there]] > 0.0) & (table.scale[others[there]] > 0.0)]
    left: F4 = table.unit[rows[there]]
    out[there] = np.einsum("nd,nd->n", left, table.unit[others[there]])
    return out


def mean_of(cosines: list[F8], m: int) -> float:
    """Mean cosine of random pairs, 0 where none can be compared."""
    found = np.concatenate([one[:, m] for one in cosines])
    return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0


def logistic(x: F8, right: F8, prior: F8, precision: F8) -> F8:
    """Coefficients [k] that make ``right`` [n] likeliest, with a Gaussian prior around ``prior``."""
    found = prior.copy()
    for _ in range(STEPS):
        slope = x.T @ (right - expit(x @ found)) - precision @ (found - prior)
        step = np.linalg.solve(information(x, found) + precision + 1e-9 * np.eye(x.shape[1]), slope)
        found = found + step
        if float(np.abs(step).max()) < 1e-8:
            break
    return found


def information(x: F8, coefficients: F8) -> F8:
    """What the rows tell of the coefficients [k, k]."""
    p = expit(x @ coefficients)
    found: F8 = (x * (p * (1.0 - p))[:, None]).T @ x
    return found


def shares(coefficients: F8, otherwise: F8) -> F8:
    """Weights [modalities] that are not below 0 and sum to 1."""
    above = np.maximum(coefficients[:-1], 0.0)
    found: F8 = above / above.sum() if above.sum() > 0.0 else otherwise / otherwise.sum()
    return found
