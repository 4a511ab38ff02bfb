"""Exploration: what is stated as a propensity is how often it happens, and the bounds hold."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.config import ExploreConfig
from endcap.slate.explore import Draws, Explored, explore, plan, rates

ITEMS = np.arange(100, 140, dtype=np.int32)  # candidates; rows 0..11 are on the slate by score


GROUP = np.full(200, -1, np.int32)  # by dense id
GROUP[[103, 133]] = 7  # two variants of one product, one of them on the slate
GROUP[[138, 139]] = 8  # two, neither of which is


def run(settings_: ExploreConfig, n: int, pool: list[int], pinned: set[int], seed: int) -> Explored:
    draws = Draws(seed)
    drawn = plan(settings_, n, np.array(pool, np.int32), draws)
    return explore(
        np.arange(n, dtype=np.int32), ITEMS, np.array(sorted(pinned), np.int32), GROUP, settings_, drawn, n, draws
    )


@pytest.mark.parametrize("protected", [True, False])
@pytest.mark.parametrize("pool", [[], [130], [101, 130, 131, 132], [133, 134], [133]])
def test_stated_propensities_are_the_frequencies(protected: bool, pool: list[int]) -> None:
    """40,000 slates; each (item, position) appears as often as stated, within five standard errors."""
    settings_, n, times = ExploreConfig(share=0.1, protected=protected, new_items=50), 6, 40_000
    seen: Counter[tuple[int, int]] = Counter()
    stated: dict[tuple[int, int], set[float]] = {}
    for seed in range(times):
        explored = run(settings_, n, pool, {104}, seed)
        for at, (row, chance) in enumerate(zip(explored.rows.tolist(), explored.propensity, strict=True)):
            key = (int(ITEMS[row]), at)
            seen[key] += 1
            stated.setdefault(key, set()).add(round(chance, 12))
    for key, count in seen.items():
        (chance,) = stated[key]  # one propensity per item and position, whatever else was drawn
        error = np.sqrt(max(chance * (1 - chance), 1e-9) / times)
        assert abs(count / times - chance) < 5 * error + 1e-6, (key, count / times, chance)
    for at in range(n):  # and they leave nothing out
        assert sum(min(stated[key]) for key in stated if key[1] == at) == pytest.approx(1.0, abs=0.02)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**63), n=st.integers(0, 12), share=st.floats(0.0, 0.5), protected=st.booleans(),
    pool=st.lists(st.integers(95, 139), max_size=6, unique=True), pinned=st.sets(st.integers(100, 111), max_size=12),
)  # fmt: skip
def test_a_slate_stays_a_slate(
    seed: int, n: int, share: float, protected: bool, pool: list[int], pinned: set[int]
) -> None:
    explored = run(ExploreConfig(share=share, protected=protected), n, pool, pinned, seed)
    rows = explored.rows.tolist()
    assert len(rows) == len(set(rows)) == len(explored.propensity) == n
    assert all(0.0 < chance <= 1.0 for chance in explored.propensity)
    changed = [at for at in range(n) if rows[at] != at]
    assert [at for at, rank in enumerate(explored.rank) if rank is not None] == changed
    assert len(changed) <= 2
    assert all(ITEMS[at] not in pinned for at in changed)
    if protected and n:
        assert rows[0] == 0
    groups = [int(GROUP[ITEMS[row]]) for row in rows if GROUP[ITEMS[row]] >= 0]
    assert len(groups) == len(set(groups)), "one item of a group"
    for at in changed:
        rank = explored.rank[at]
        assert rank is not None
        assert rows[at] == rank if rank >= 0 else ITEMS[rows[at]] in pool


@pytest.mark.parametrize("new_items", [0, 50])
@pytest.mark.parametrize("pool", [0, 40])
def test_the_share_of_changed_places_is_bounded(new_items: int, pool: int) -> None:
    settings_, n = ExploreConfig(share=0.02, new_items=new_items), 12
    swap, fresh = rates(settings_, n, pool if new_items else 0)
    assert (2 * swap + fresh) / n <= 0.02 + 1e-12


def test_draws_depend_on_the_seed_alone_and_are_uniform() -> None:
    one, again = Draws(7), Draws(7)
    assert [one.uniform() for _ in range(5)] == [again.uniform() for _ in range(5)]
    many = np.array([Draws(seed).uniform() for seed in range(20_000)])
    assert abs(many.mean() - 0.5) < 0.01
    assert np.histogram(many, 10, (0, 1))[0].min() > 1_800
    assert {Draws(seed).below(3) for seed in range(100)} == {0, 1, 2}
