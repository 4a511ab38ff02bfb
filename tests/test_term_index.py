"""Words that were typed against records: plain oracles, typing errors, scripts without spaces, changes in slices."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.models import term_index
from endcap.models.term_index import TermIndex, weights_of
from endcap.models.vocabulary import LEAST_BEGUN, LEAST_EDITED, MOST, Vocabulary, words_of
from endcap.types import I4, Item


class Shop:
    """A catalogue."""

    def __init__(self, *titles: str) -> None:
        self.version = 0
        self.records: list[Item | None] = []
        self.changes: list[int] = []
        for at, title in enumerate(titles):
            self.put(at, Item(item_id=f"i{at}", title=title))

    def put(self, item: int, record: Item | None) -> None:
        self.records += [None] * (item + 1 - len(self.records))
        self.records[item] = record
        self.changes.append(item)
        self.version += 1

    def n_items(self) -> int:
        return len(self.records)

    def record(self, item: int) -> Item | None:
        return self.records[item]

    def changed_since(self, version: int) -> I4 | None:
        return np.array(self.changes[version:], np.int32)


def index_of(*titles: str) -> TermIndex:
    index = TermIndex(Shop(*titles))
    assert index.is_ready(1_000_000)
    return index


def found(index: TermIndex, text: str, n: int = 10) -> list[int]:
    items: list[int] = index.search(index.meant(text), n)[0].tolist()
    return items


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Red Mugs, set of 2", ["red", "mugs", "set", "of", "2"]),
        ("CAFÉ Ｔｅａ", ["cafe", "tea"]),
        ("手工茶杯", ["手工", "工茶", "茶杯", "手", "工", "茶", "杯"]),
        ("iPhone手机壳15", ["iphone", "手机", "机壳", "手", "机", "壳", "15"]),
        ("杯", ["杯"]),
        ("!?", []),
    ],
)
def test_words_of_texts(text: str, words: list[str]) -> None:
    assert words_of(text, 300) == words


def apart(a: str, b: str) -> int:
    """Optimal string alignment distance, from its definition."""
    table = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i, j] = min(
                table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1]),
                table[i - 2, j - 2] + 1 if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1] else 99,
            )  # fmt: skip
    return table[len(a), len(b)]


NEAR = st.text(alphabet="abc", min_size=1, max_size=7)


@settings(deadline=None)
@given(st.lists(NEAR, min_size=1, max_size=12, unique=True), NEAR)
def test_a_typed_word_means_itself_its_longer_forms_and_those_one_error_away(known: list[str], typed: str) -> None:
    vocabulary = Vocabulary(known)
    held = np.ones(len(known), np.int32)
    got, shares, ends = vocabulary.meant([typed], held)
    means = {known[w]: float(share) for w, share in zip(got.tolist(), shares.tolist(), strict=True)}
    assert ends.tolist() == [len(means)]
    wanted = {word for word in known if word == typed}
    if len(typed) >= 3:
        wanted |= {word for word in known if word.startswith(typed)}
    if len(typed) >= LEAST_EDITED:
        near = {word for word in known if len(word) >= LEAST_BEGUN and apart(typed, word) == 1}
        if typed in known:  # then only a last letter more or less is no mistake
            near = {word for word in near if word.startswith(typed) or word == typed[:-1]}
        wanted |= near
    assert set(means) <= wanted
    assert len(means) == min(MOST, len(wanted))
    assert means.get(typed, 1.0) == 1.0
    assert all(0.0 < share < 1.0 for word, share in means.items() if word != typed)


def test_a_rare_misspelling_in_the_catalogue_still_means_the_common_word() -> None:
    vocabulary = Vocabulary(["candel", "candle"])
    assert vocabulary.meant(["candel"], np.array([1, 5], np.int32))[0].tolist() == [0]
    assert vocabulary.meant(["candel"], np.array([1, 50], np.int32))[0].tolist() == [0, 1]
    assert vocabulary.meant(["candle"], np.array([0, 50], np.int32))[0].tolist() == [1], "what none holds is not meant"


# ---------------------------------------------------------------- search


def test_the_item_with_all_the_words_comes_first() -> None:
    index = index_of("Blue ceramic mug", "Red ceramic mug", "Red woollen scarf", "Teapot")
    assert found(index, "red mug")[0] == 1
    assert set(found(index, "red mug")) == {0, 1, 2}
    assert found(index, "nothing like it") == []
    assert found(index, "") == []


@pytest.mark.parametrize("typed", ["teapto", "tepot", "teapott", "teopot", "TEAPOT", "teapots", "teap", "téapot"])
def test_typing_errors_endings_and_beginnings_find_the_teapot(typed: str) -> None:
    assert found(index_of("Red mug", "Teapot", "Toaster", "Tea towel"), typed)[0] == 1


@pytest.mark.parametrize("typed", ["茶杯", "陶瓷茶怀", "瓷 杯", "茶"])
def test_chinese_finds_by_parts_of_a_title_and_with_a_wrong_character(typed: str) -> None:
    assert found(index_of("羊毛围巾", "手工陶瓷茶杯", "木质相框"), typed)[0] == 1


def test_numbers_are_no_mistakes_of_each_other() -> None:
    assert found(index_of("Frame 1234 mm", "Frame 1235 mm"), "1234") == [0]


def test_every_field_is_searched_and_the_title_counts_most() -> None:
    shop = Shop("Acme", "x")
    shop.put(2, Item(item_id="i2", title="Jug", brand="Acme", categories=[["Kitchen", "Jugs"]], color="teal",
                     tags=["gift"], attributes={"glaze": "matt", "parts": ["lid", "handle"]}, sku="KJ-77"))  # fmt: skip
    shop.put(3, Item(item_id="i3", title="Box", description="Goes with every Acme jug."))
    index = TermIndex(shop)
    assert index.is_ready(100)
    assert found(index, "acme") == [0, 2, 3]
    for text in ("kitchen", "teal", "gift", "matt", "handle", "kj 77", "jug"):
        assert found(index, text)[0] == 2, text


def plain_scores(index: TermIndex, shop: Shop, text: str) -> dict[int, float]:
    """The formula, record by record, from what the words mean."""
    meant = index.meant(text)
    words = [index.vocabulary.words[w] for w in meant.words.tolist()]
    held = dict.fromkeys(index.vocabulary.words, 0)
    weights = {item: weights_of(record) for item, record in enumerate(shop.records) if record is not None}
    for one in weights.values():
        for word in one:
            held[word] += 1
    n = sum(1 for one in weights.values() if one)
    bounds = [0, *meant.ends.tolist()]
    shares = []
    for typed, (a, b) in zip(meant.typed, pairwise(bounds), strict=True):
        _, share, _ = index.vocabulary.meant([typed], index.held)
        records = min(n, sum(held[word] for word in words[a:b]))
        single = term_index.SINGLE if term_index.is_single(typed) else 1.0
        shares.append([float(one) * single * math.log1p((n - records + 0.5) / (records + 0.5)) for one in share])
    strongest = [max(one, default=0.0) for one in shares]
    whole = sum(one or max(strongest, default=0.0) for one in strongest)
    scores = {}
    for item, one in weights.items():
        total = sum(
            max((factor * one.get(word, 0.0) for factor, word in zip(several, words[a:b], strict=True)), default=0.0)
            for several, (a, b) in zip(shares, pairwise(bounds), strict=True)
        )
        if total > 0.0:
            scores[item] = total / whole
    return scores


WORDS = st.sampled_from(["red", "reds", "mugs", "candle", "candles", "candel", "teapot", "茶杯", "茶", "15", "box"])
CHANGES = st.lists(st.tuples(st.integers(0, 12), st.lists(WORDS, max_size=4)), min_size=1, max_size=40)


@settings(deadline=None)
@given(CHANGES, st.lists(WORDS, min_size=1, max_size=4), st.integers(1, 7), st.booleans())
def test_after_any_changes_in_any_slices_scores_are_those_of_the_formula(
    changes: list[tuple[int, list[str]]], query: list[str], slice_size: int, small: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(term_index, "TAIL", 2 if small else 256)
        patch.setattr(term_index, "LEAST_DEAD", 3)
        shop, text = Shop(), " ".join(query)
        index = TermIndex(shop)
        index.asked = True
        for item, words in changes:
            shop.put(item, Item(item_id=f"i{item}", title=" ".join(words)) if words else None)
            index.catch_up(slice_size)
        while not index.is_ready(slice_size):
            pass
        expected = plain_scores(index, shop, text)
        items, scores = index.search(index.meant(text), 20)
        assert dict(zip(items.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, rel=1e-5)
        assert (np.diff(scores) <= 0).all()
        assert 0.0 <= min(expected.values(), default=0.0) <= max(expected.values(), default=0.0) < 1.0
        fresh = TermIndex(shop)
        assert fresh.is_ready(100)
        again = fresh.search(fresh.meant(text), 20)
        assert items.tolist() == again[0].tolist()
        everything = index.everything(index.meant(text))
        assert sorted(everything[0].tolist()) == sorted(expected)


def test_a_change_of_stock_reads_nothing_anew_and_nothing_is_read_before_the_first_search() -> None:
    shop = Shop(*(f"word{k} mug" for k in range(50)))
    index = TermIndex(shop)
    assert index.catch_up(1_000) == 0
    assert index.n_live == 0
    assert index.is_behind
    assert not index.is_ready(20)
    while not index.is_ready(20):
        pass
    rows = index._n
    shop.put(3, Item(item_id="i3", title="word3 mug", stock_qty=0, price=3.0))
    assert index.is_ready(1)
    assert (index._n, index.n_live) == (rows, 50)


def test_what_is_said_names_the_words_of_the_record() -> None:
    index = index_of("Two red candles in a box", "Blue mug")
    some = np.array([0, 1, 99], np.int32)
    assert index.said(index.meant("candle red plum"), some) == [["candles", "red"], [], []]
    assert index.said(index.meant("mugs candel candles"), some) == [["candles"], ["mug"], []]
    assert index.said(index.meant("plum"), some) == [[], [], []]


@settings(deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_taken(text: str) -> None:
    index = index_of(text[:200], "mug")
    items, scores = index.search(index.meant(text), 5)
    assert np.isfinite(scores).all()
    assert set(items.tolist()) <= {0, 1}
