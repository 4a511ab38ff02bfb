"""Likeness: how close a candidate stands to what the shopper last touched, by vectors.

Idea: two tables of unit vectors by item, one from factorised behaviour (``factors``), one from what the catalogue says
(``content``). A candidate is compared with the shopper's newest items one by one, and with the weighted mean of all of
them. Behaviour vectors say what goes together in practice, content vectors also speak for items that nobody has
touched yet.

Columns (float32): see ``COLUMNS``; features 36 to 38 of the usual sets. A missing vector, on either side, counts as 0,
"neither like nor unlike". Every value depends on the shopper and the item alone (law L5); nothing is folded here, for
the vectors are trained elsewhere.

Cost: candidates x (seeds compared + 3) dot products, ~20 us for 100 candidates and 64 dimensions; nothing while no
vectors exist. Not for: finding candidates, which is the sources' work.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numba import njit

from endcap.types import ACTION_CODE, F4, I1, I4, Interest

COLUMNS: tuple[str, ...] = (
    "cos_factors_last",  # cosine with the newest seed
    "cos_factors_mean",  # over the five newest seeds that have a vector
    "cos_factors_max",
    "cos_factors_sd",
    "cos_factors_user",  # with the mean of all seeds, weighted as in the interest
    "cos_factors_cart",  # with the newest item in the cart
    "cos_factors_bought",  # with the newest item bought
    "cos_content_last",  # with the newest seed
    "cos_content_last3",  # mean over the three newest seeds that have a vector
    "cos_content_max3",  # the closest of these three
    "cos_content_user",  # with the weighted mean of all seeds
)
N_COLUMNS = len(COLUMNS)
NEWEST_FACTORS, NEWEST_CONTENT = 5, 3
PURCHASE, CART_ADD = ACTION_CODE["purchase"], ACTION_CODE["cart_add"]
LAST, MEAN, MAX, SD, USER, CART, BOUGHT = range(7)  # rows of answers before they become columns
N_ANSWERS = 7


class Vectors(Protocol):
    """Unit vectors of items."""

    unit: F4  # [rows, dim], a row of zeros = none
    row_of: I4  # by dense item id, -1 = no vector; may end before the newest items


@njit(cache=True, nogil=True)
def row_for(item: int, row_of: I4) -> int:
    """The row of an item's vector, -1 when it has none."""
    return int(row_of[item]) if 0 <= item < row_of.shape[0] else -1


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def dot(a: F4, b: F4) -> float:
    """Sum of products, in vectors."""
    total = np.float32(0.0)
    for d in range(a.shape[0]):
        total += a[d] * b[d]
    return float(total)


@njit(cache=True, nogil=True)
def profile(seeds: I4, weight: F4, n_seeds: int, unit: F4, row_of: I4, mean: F4) -> None:
    """``mean`` = the unit vector of the seeds' weighted sum, zeros when no seed has a vector."""
    mean[:] = 0.0
    for j in range(n_seeds):
        row = row_for(seeds[j], row_of)
        if row >= 0:
            for d in range(mean.shape[0]):
                mean[d] += weight[j] * unit[row, d]
    length = np.sqrt(dot(mean, mean))
    if length > 0.0:
        for d in range(mean.shape[0]):
            mean[d] /= length


@njit(cache=True, nogil=True)
def newest_with(seeds: I4, action: I1, n_context: int, n_seeds: int, code: int, row_of: I4) -> int:
    """Row of the newest own seed whose furthest step is ``code`` and that has a vector, -1 when there is none."""
    for j in range(n_context, n_seeds):
        if action[j] == code and row_for(seeds[j], row_of) >= 0:
            return row_for(seeds[j], row_of)
    return -1


@njit(cache=True, nogil=True)
def compare(
    seeds: I4, weight: F4, action: I1, n_context: int, n_seeds: int, newest: int, unit: F4, row_of: I4, items: I4,
    rows: I4, mean: F4, answers: F4,
) -> None:  # fmt: skip
    """answers[r] = the N_ANSWERS likenesses of items[r]. Scratch: ``rows`` [newest], ``mean`` [dim]."""
    profile(seeds, weight, n_seeds, unit, row_of, mean)
    n = 0
    for j in range(n_seeds):
        if n < newest and row_for(seeds[j], row_of) >= 0:
            rows[n] = row_for(seeds[j], row_of)
            n += 1
    last = row_for(seeds[0], row_of) if n_seeds > 0 else -1
    cart = newest_with(seeds, action, n_context, n_seeds, CART_ADD, row_of)
    bought = newest_with(seeds, action, n_context, n_seeds, PURCHASE, row_of)
    for r in range(items.shape[0]):
        answers[r, :] = 0.0
        row = row_for(items[r], row_of)
        if row < 0 or n == 0:
            continue
        total = squares = 0.0
        best = -1.0
        for k in range(n):
            cosine = dot(unit[row], unit[rows[k]])
            total += cosine
            squares += cosine * cosine
            best = max(best, cosine)
        answers[r, MEAN] = total / n
        answers[r, MAX] = best
        answers[r, SD] = np.sqrt(max(0.0, squares / n - (total / n) ** 2))
        answers[r, USER] = dot(unit[row], mean)
        answers[r, LAST] = dot(unit[row], unit[last]) if last >= 0 else 0.0
        answers[r, CART] = dot(unit[row], unit[cart]) if cart >= 0 else 0.0
        answers[r, BOUGHT] = dot(unit[row], unit[bought]) if bought >= 0 else 0.0


class Likeness:
    """Reads the columns. Owns scratch; one per engine."""

    def __init__(self, factors: Vectors, content: Vectors) -> None:
        self._factors, self._content = factors, content
        self._rows: I4 = np.zeros(max(NEWEST_FACTORS, NEWEST_CONTENT), np.int32)
        self._answers: F4 = np.zeros((0, N_ANSWERS), np.float32)

    def read(self, interest: Interest, items: I4, out: F4) -> None:
        """items [n] dense ids -> out [n, len(COLUMNS)]."""
        out[:] = 0.0
        if items.shape[0] > self._answers.shape[0]:
            self._answers = np.zeros((items.shape[0], N_ANSWERS), np.float32)
        answers = self._answers[: items.shape[0]]
        if self._factors.unit.shape[0]:
            self._compare(interest, self._factors, NEWEST_FACTORS, items, answers)
            out[:, :7] = answers
        if self._content.unit.shape[0]:
            self._compare(interest, self._content, NEWEST_CONTENT, items, answers)
            out[:, 7], out[:, 8], out[:, 9], out[:, 10] = (answers[:, k] for k in (LAST, MEAN, MAX, USER))

    def _compare(self, interest: Interest, vectors: Vectors, newest: int, items: I4, answers: F4) -> None:
        compare(
            interest.seeds, interest.weight, interest.action, interest.n_context, interest.n_seeds, newest,
            vectors.unit, vectors.row_of, items, self._rows, np.empty(vectors.unit.shape[1], np.float32), answers,
        )  # fmt: skip
