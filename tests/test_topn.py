"""Top-n selection against sorting."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.topn import LIMIT, N_SIZES, RowMap, best, key_id, key_score, pack, ranked

floats = st.floats(width=32, allow_nan=True, allow_infinity=True) | st.sampled_from(
    [0.0, 0.5, 0.5, 1.0, 2.0**-126, 2.0**127]
)


@settings(deadline=None)  # the first call compiles
@given(st.lists(floats, max_size=200), st.integers(1, 60), st.randoms())
def test_best_keeps_what_sorting_would_with_ties_to_the_smaller_id(
    scores: list[float], limit: int, chance: Random
) -> None:
    ids = list(range(len(scores)))
    chance.shuffle(ids)
    wanted = sorted(
        (-np.float32(score), i) for score, i in zip(scores, ids, strict=True) if score > 0 and np.isfinite(score)
    )[:limit]
    heap = np.zeros(LIMIT, np.int64)
    size = best(
        np.array(ids, np.int32), np.array(scores, np.float32), len(scores), limit, np.zeros(N_SIZES, np.int32), heap
    )
    got_ids, got_scores = ranked(heap, size)
    assert list(zip(-got_scores, got_ids, strict=True)) == wanted


@settings(deadline=None)  # the first call compiles
@given(st.floats(width=32, min_value=2.0**-126, max_value=2.0**127), st.integers(0, 2**31 - 1))
def test_a_key_gives_back_its_score_and_id(score: float, ident: int) -> None:
    key = pack(score, ident)
    assert (key_score(key), key_id(key)) == (score, ident)


def test_a_row_map_forgets_between_queries_even_when_generations_run_out() -> None:
    rows = RowMap()
    stamp = rows.begin(10)
    rows.slots[3] = stamp, 7
    assert rows.begin(10) != stamp
    rows.generation = 2**31 - 2
    assert rows.begin(2000) == 1
    assert rows.slots.shape[0] >= 2000
    assert not (rows.slots[:, 0] == 1).any()
