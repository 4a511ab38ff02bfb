"""Team draft: fair, without repeats, true to both lists; and a sign test that may be watched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.errors import InvalidInput
from endcap.feedback.interleaving import credit, draft, preference
from endcap.types import I4
from rows import at_leisure

lists = st.lists(st.integers(0, 30), max_size=20, unique=True).map(lambda ids: np.array(ids, np.int32))
tosses = st.integers(0, 2**63 - 1)


@at_leisure
@given(lists, lists, st.integers(0, 25), tosses)
def test_a_draft_holds_what_it_should(one: I4, two: I4, n: int, chance: int) -> None:
    items, teams = draft(one, two, n, chance)
    assert len(set(items.tolist())) == items.shape[0] == teams.shape[0]
    assert items.shape[0] == min(n, len({*one.tolist(), *two.tolist()})), "it ends early only when both lists do"
    again = draft(one, two, n, chance)
    assert items.tolist() == again[0].tolist()
    assert teams.tolist() == again[1].tolist()


@at_leisure
@given(lists, lists, st.integers(0, 25), tosses)
def test_every_prefix_is_a_prefix_of_both_lists_together(one: I4, two: I4, n: int, chance: int) -> None:
    items, teams = draft(one, two, n, chance)
    for end in range(items.shape[0]):
        shown = set(items[:end].tolist())
        best = next(item for item in (one, two)[teams[end]].tolist() if item not in shown)
        assert items[end] == best, "each team puts the best of its list that is not there yet"
    assert draft(one, two, n // 2, chance)[0].tolist() == items[: n // 2].tolist()


@at_leisure
@given(lists, st.integers(0, 25), tosses)
def test_no_team_is_ever_more_than_one_ahead(one: I4, n: int, chance: int) -> None:
    two = one[::-1].copy()
    _, teams = draft(one, two, n, chance)
    ahead = np.cumsum(1 - 2 * teams)
    assert np.abs(ahead).max(initial=0) <= 1


@at_leisure
@given(lists, lists, st.integers(1, 25), tosses)
def test_exchanging_lists_and_tosses_exchanges_the_teams(one: I4, two: I4, n: int, chance: int) -> None:
    items, teams = draft(one, two, n, chance)
    mirrored_items, mirrored = draft(two, one, n, chance ^ (2**63 - 1))
    assert items.tolist() == mirrored_items.tolist()
    assert teams.tolist() == (1 - mirrored).tolist()


def test_equal_lists_give_every_place_to_both_teams_alike() -> None:
    same = np.arange(8, dtype=np.int32)
    shares = np.mean([draft(same, same, 8, bits)[1] for bits in range(16)], axis=0)  # all tosses of the four rounds
    assert shares.tolist() == [0.5] * 8


def test_a_list_that_runs_out_leaves_the_rest_to_the_other() -> None:
    items, teams = draft(np.array([1], np.int32), np.array([2, 3, 4], np.int32), 4, 0)
    assert items.tolist() == [1, 2, 3, 4]
    assert teams.tolist() == [0, 1, 1, 1]


def test_credit_is_the_reward_of_one_team_less_the_others() -> None:
    teams = np.array([0, 1, 1, 0], np.int8)
    assert credit(teams, np.array([0, 1, 3]), np.array([1.0, 6.0, 3.0])) == -2.0
    assert credit(teams, np.array([], np.int64), np.array([])) == 0.0


def test_positions_and_tosses_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"positions \[2\] on a slate of 2 items; expected 0 to 1"):
        credit(np.array([0, 1], np.int8), np.array([2]), np.array([1.0]))
    with pytest.raises(InvalidInput, match="tosses is -1"):
        draft(np.array([1], np.int32), np.array([2], np.int32), 2, -1)


def test_the_verdict_counts_slates_and_drops_ties() -> None:
    found = preference([1.0] * 80 + [-6.0] * 20 + [0.0] * 50)
    assert (found.wins, found.losses, found.ties, found.share) == (80, 20, 50, 0.8)
    assert found.low < 0.8 < found.high
    assert found.low > 0.5, "eighty of a hundred is no chance"
    assert found.p < 0.001
    nothing = preference([0.0])
    assert (nothing.share, nothing.low, nothing.high, nothing.p) == (None, 0.0, 1.0, 1.0)


def test_a_better_ranker_wins_and_an_equal_one_does_not() -> None:
    """A hundred items, one of which the shopper wants; the better ranker has it at the top more often."""
    random = np.random.default_rng(3)

    def slate(skill: float) -> float:
        wanted = int(random.integers(100))
        ranked = [random.permutation(100).astype(np.int32) for _ in range(2)]
        for team, chance in ((0, skill), (1, 0.3)):
            if random.random() < chance:
                ranked[team] = np.r_[wanted, ranked[team][ranked[team] != wanted]].astype(np.int32)
        items, teams = draft(ranked[0], ranked[1], 10, int(random.integers(2**63)))
        places = np.flatnonzero(items == wanted)
        return credit(teams, places, np.ones(places.shape[0]))

    assert preference(slate(0.45) for _ in range(1_500)).low > 0.5
    equal = preference(slate(0.3) for _ in range(1_500))
    assert equal.low < 0.5 < equal.high
