"""The table of candidates."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.candidates import Candidates

IDS = st.integers(0, 19)


@settings(deadline=None)  # the first call compiles
@given(st.lists(IDS), st.lists(IDS), st.lists(st.integers(-1, 40)))
def test_rows_of_finds_what_this_query_proposed_and_nothing_else(before: list[int], now: list[int], asked: list[int]):
    table = Candidates(("a", "b"))
    for items in (before, now):
        table.begin(20)
        table.propose(1, np.array(items, np.int32), np.ones(len(items), np.float32))
    assert [int(table.items[row]) for row in table.rows_of(asked)] == [item for item in asked if item in now]
