"""Dense ids: numbering, lookup, snapshots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.preprocess.ids import Ids

any_text = st.text(alphabet=st.characters(exclude_categories=()), max_size=8)  # lone surrogates and NUL included


def test_numbers_are_given_in_order_of_first_appearance() -> None:
    ids = Ids()
    assert [ids.intern(key) for key in ["b", "a", "b", "c", "a"]] == [0, 1, 0, 2, 1]
    assert len(ids) == 3


def test_an_unknown_key_has_no_number_and_asking_does_not_give_it_one() -> None:
    ids = Ids()
    assert ids.get("x") == -1
    assert len(ids) == 0


def test_a_number_that_was_never_given_has_no_name() -> None:
    ids = Ids()
    ids.intern("only")
    assert ids.name(0) == "only"
    with pytest.raises(IndexError):
        ids.name(1)
    with pytest.raises(IndexError, match="-1"):
        ids.name(-1)


@given(st.lists(any_text, max_size=30), st.lists(any_text, max_size=30))
def test_saving_and_loading_in_between_changes_nothing(before: list[str], after: list[str]) -> None:
    straight, saved = Ids(), Ids()
    for key in before:
        straight.intern(key)
        saved.intern(key)
    loaded = Ids()
    loaded.load(saved.arrays())
    numbers = {key: number for number, key in enumerate(dict.fromkeys(before + after))}
    for key in after:
        assert straight.intern(key) == loaded.intern(key) == numbers[key]
    assert [loaded.name(k) for k in range(len(loaded))] == list(numbers)
    for name, array in straight.arrays().items():
        assert np.array_equal(array, loaded.arrays()[name])


def test_arrays_can_be_taken_again_after_more_keys_came() -> None:
    ids = Ids()
    ids.intern("héllo")
    first = ids.arrays()
    ids.intern("x")
    second = ids.arrays()
    assert first["ends"].tolist() == [6]
    assert second["ends"].tolist() == [6, 7]
    assert second["bytes"].tobytes() == "héllox".encode()
