"""Duels against the plain definition: per slate the sign of the credit, whatever the order and the batching."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.batches import SHOWN_ROW, SLATE, Outcomes
from endcap.feedback.duels import Duels
from endcap.feedback.interleaving import credit, preference

N, LABEL = 4, 2


def outcomes(slates: list[list[int]], deeds: list[tuple[int, int, float]]) -> Outcomes:
    """Slates by their teams, all shown first, then ``deeds``: slate, place, reward."""
    records, rows = np.zeros(len(slates), SLATE), np.zeros(len(slates) * N, SHOWN_ROW)
    records["variants"] = -1
    records["variants"][:, 0] = LABEL
    rows["team"] = np.array(slates, np.int8).ravel()
    entries = [(at, at * N, -1, 0.0) for at in range(len(slates))]
    entries += [(at, at * N + place, place, reward) for at, place, reward in deeds]
    slot, row, place_, reward_ = (np.array(column) for column in zip(*entries, strict=True))
    n = len(entries)
    return Outcomes(
        records, rows, slot.astype(np.int32), row.astype(np.int32), place_.astype(np.int32), np.zeros(n, np.int32),
        np.zeros(n, np.int8), reward_.astype(np.float32), np.zeros(n, np.int64),
    )  # fmt: skip


def part(whole: Outcomes, begin: int, end: int) -> Outcomes:
    names = ("slot", "row", "place", "item", "deed", "reward", "ts")
    return Outcomes(whole.slates, whole.rows, **{name: getattr(whole, name)[begin:end] for name in names})


teams = st.lists(st.sampled_from([0, 1]), min_size=N, max_size=N)
deeds = st.lists(st.tuples(st.integers(0, 5), st.integers(0, N - 1), st.sampled_from([1.0, 3.0, -3.0])), max_size=30)


@settings(deadline=None, max_examples=80)
@given(st.lists(teams, min_size=6, max_size=6), deeds, st.integers(0, 36))
def test_counts_are_signs_of_credits(slates: list[list[int]], done: list[tuple[int, int, float]], cut: int) -> None:
    whole = outcomes(slates, done)
    duels, other = Duels(), Duels()
    duels.fold(whole, 5)
    cut = min(cut, len(whole))
    for begin, end in ((0, cut), (cut, len(whole))):
        if end > begin:
            other.fold(part(whole, begin, end), 5)
            other.load({name: array.copy() for name, array in other.arrays(0, 0).items()})
    credits_ = [
        credit(
            np.array(teams_, np.int8),
            np.array([place for slate, place, _ in done if slate == at], np.int64),
            np.array([reward for slate, _, reward in done if slate == at], np.float64),
        )
        for at, teams_ in enumerate(slates)
    ]
    assert duels.preference(LABEL) == other.preference(LABEL) == preference(credits_)
    assert duels.preference(-1).ties == duels.preference(99).ties == 0


def test_slates_of_no_duel_cost_nothing() -> None:
    duels = Duels()
    duels.fold(outcomes([[-1] * N], [(0, 1, 1.0)]), 5)
    assert all(array.shape[0] == 0 for array in duels.arrays(0, 0).values())
