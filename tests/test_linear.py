"""The linear ranker against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from endcap.errors import ConfigError
from endcap.features.rows import columns
from endcap.models.linear import DEFAULT_TERMS, LinearRanker, Term
from endcap.sources import SOURCES
from endcap.types import F4

COLUMNS = columns(SOURCES)
wild_rows = arrays(np.float32, st.tuples(st.integers(0, 12), st.just(len(COLUMNS))), elements=st.floats(width=32))
tame_rows = arrays(
    np.float32, st.tuples(st.integers(1, 12), st.just(len(COLUMNS))), elements=st.floats(-100, 100, width=32)
)


def twin(rows: F4) -> tuple[F4, int]:
    finite = np.isfinite(rows)
    x = np.where(finite, rows, 0.0).astype(np.float64)
    total = np.zeros(len(rows))
    for name, (weight, scale) in DEFAULT_TERMS.items():
        column = x[:, COLUMNS.index(name)]
        total += weight * (column / (np.abs(column) + scale) if scale else column)
    return total.astype(np.float32), int((~finite).sum())


def test_every_default_weight_has_a_feature_column() -> None:
    assert set(DEFAULT_TERMS) <= set(COLUMNS)
    assert LinearRanker(COLUMNS).terms == tuple(name for name in COLUMNS if name in DEFAULT_TERMS)


@settings(deadline=None)
@given(tame_rows)
def test_scores_equal_the_twin(rows: F4) -> None:
    ranker = LinearRanker(COLUMNS)
    assert ranker.score(rows) == pytest.approx(twin(rows)[0], rel=1e-5, abs=1e-5)
    assert ranker.n_nan == 0


@settings(deadline=None)
@given(wild_rows)
def test_whatever_the_features_are_no_score_is_nan_and_broken_values_are_counted(rows: F4) -> None:
    bounded = tuple(f"f{k}" for k in range(len(COLUMNS)))
    ranker = LinearRanker(bounded, {name: Term(1.0, 2.0) for name in bounded})
    assert np.isfinite(ranker.score(rows)).all()
    assert ranker.n_nan == int((~np.isfinite(rows)).sum())
    assert np.abs(ranker.score(rows)).max(initial=0.0) <= len(bounded)


@settings(deadline=None)
@given(tame_rows)
def test_the_terms_of_a_row_sum_to_its_score(rows: F4) -> None:
    unit = np.clip(rows, -1, 1)
    ranker = LinearRanker(COLUMNS)
    parts = ranker.trace(unit).astype(np.float64)
    rounding = 4 * np.finfo(np.float32).eps * np.abs(parts).sum(axis=1)  # of a sum in float32, in any order
    assert (np.abs(parts.sum(axis=1) - ranker.score(unit)) <= rounding).all()


@settings(deadline=None)
@given(tame_rows)
def test_a_row_scores_the_same_alone_as_in_company(rows: F4) -> None:
    ranker = LinearRanker(COLUMNS)
    together = ranker.score(rows)
    alone = np.concatenate([ranker.score(rows[k : k + 1].copy()) for k in range(len(rows))])
    assert together.tobytes() == alone.tobytes()


def test_a_broken_feature_counts_as_nothing() -> None:
    ranker = LinearRanker(("a", "b"), {"a": Term(2.0), "b": Term(1.0, 1.0)})
    rows = np.array([[np.nan, 1.0], [0.5, np.inf], [0.5, 3.0]], np.float32)
    assert ranker.score(rows).tolist() == [0.5, 1.0, 1.75]
    assert ranker.trace(rows).tolist() == [[0.0, 0.5], [1.0, 0.0], [1.0, 0.75]]
    assert ranker.n_nan == 2


def test_a_weight_for_no_column_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'src:covisit'"):
        LinearRanker(COLUMNS, {"src:covist": Term(1.0)})


@pytest.mark.parametrize("term", [Term(float("nan")), Term(1.0, -1.0), Term(1.0, float("inf"))])
def test_a_weight_that_is_no_usable_number_is_refused(term: Term) -> None:
    with pytest.raises(ConfigError, match="finite"):
        LinearRanker(("a",), {"a": term})
