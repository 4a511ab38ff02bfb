"""Records as bags of hashed terms, against a plain twin."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.models.terms import BUCKETS, FNV_PRIME, LONGEST, SHORTEST, bag_of, plain, salt_of, segments_of
from endcap.types import Item

MASK = 2**64 - 1


def bucket(text: str, start: int, border: bool) -> int:
    h = start
    for char in text:
        h = (h ^ ord(char)) * FNV_PRIME & MASK
    if border:
        h = (h ^ 1) * FNV_PRIME & MASK
    h ^= h >> 29
    h = h * 0xBF58476D1CE4E5B9 & MASK
    h ^= h >> 32
    return h & (BUCKETS - 1)


def twin(item: Item) -> Counter[int]:
    """The definition, slowly."""
    bag: Counter[int] = Counter()
    for field, text, (whole, words, grams) in segments_of(item):
        salt = salt_of(field)
        if whole and text:
            bag[bucket(text, salt, True)] += whole
        for word in text.split(" ") if words and text else ():
            bag[bucket(word, salt, True)] += words
            for size in range(SHORTEST, LONGEST + 1) if grams else ():
                for at in range(len(word) - size + 1):
                    kind = salt + 2 + (at == 0)
                    bag[bucket(word[at : at + size], kind, False)] += grams
    return bag


def bags(items: list[Item]) -> list[Counter[int]]:
    buckets, weight, ends = bag_of(items)
    out: list[Counter[int]] = []
    first = 0
    for last in ends.tolist():
        bag: Counter[int] = Counter()
        for b, w in zip(buckets[first:last].tolist(), weight[first:last].tolist(), strict=True):
            bag[b] += w
        out.append(bag)
        first = last
    return out


TEXT = st.text(max_size=30)
RECORDS = st.builds(
    Item,
    item_id=st.just("i"),
    title=st.none() | TEXT,
    description=st.none() | TEXT,
    brand=st.none() | TEXT,
    price=st.none() | st.floats(-5, 1e7),
    categories=st.lists(st.lists(TEXT, max_size=3), max_size=2),
    tags=st.lists(TEXT, max_size=3),
    attributes=st.dictionaries(
        TEXT, st.one_of(TEXT, st.booleans(), st.floats(), st.lists(TEXT, max_size=2)), max_size=3
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORDS, max_size=4))
def test_the_kernel_equals_the_definition(items: list[Item]) -> None:
    for got, item in zip(bags(items), items, strict=True):
        assert dict(got) == pytest.approx(dict(twin(item)), rel=1e-4, abs=1e-6)


def shared(a: Item, b: Item) -> float:
    first, second = bags([a, b])
    return sum(min(w, second[k]) for k, w in first.items() if k in second)


def test_spelling_case_and_accent_forms_do_not_matter() -> None:
    assert plain("  Café—Crème_XL!\t", 99) == "café crème xl"
    assert bags([Item(item_id="1", title="ＲＥＤ Mug")]) == bags([Item(item_id="2", title="red MUG")])


def test_words_match_in_part_by_their_n_grams() -> None:
    mug = Item(item_id="1", title="mugs")
    assert shared(mug, Item(item_id="2", title="mug")) > 0.0
    assert shared(mug, Item(item_id="3", title="lantern")) == 0.0
    assert shared(mug, Item(item_id="4", title="mugs")) > shared(mug, Item(item_id="2", title="mug"))


def test_the_same_word_in_another_field_is_another_term() -> None:
    assert shared(Item(item_id="1", color="red"), Item(item_id="2", brand="red")) == 0.0
    assert shared(Item(item_id="1", color="red"), Item(item_id="2", color="Red")) > 0.0


def test_near_prices_share_a_mark_and_far_ones_do_not() -> None:
    at_ten = Item(item_id="1", price=10.0)
    near, nearer = shared(at_ten, Item(item_id="2", price=12.5)), shared(at_ten, Item(item_id="3", price=10.4))
    assert nearer > near > 0.0
    assert shared(at_ten, Item(item_id="4", price=30.0)) == 0.0


def test_every_level_of_a_category_path_counts() -> None:
    mug = Item(item_id="1", categories=[["Kitchen", "Mugs"]])
    plate = Item(item_id="2", categories=[["Kitchen", "Plates"]])
    assert 0.0 < shared(mug, plate) < shared(mug, mug)


def test_a_record_without_content_has_no_terms() -> None:
    assert bags([Item(item_id="1"), Item(item_id="2", title="mug"), Item(item_id="3", price=-1.0)])[::2] == [{}, {}]
    assert bags([]) == []
