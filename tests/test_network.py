"""The serving half of deep models: windows, remembered vectors, the artifact, and what a gate makes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.artifacts import read_artifact, write_artifact
from endcap.blocks import Blocks
from endcap.candidates import Candidates
from endcap.errors import ArtifactError
from endcap.features.retrieval import columns as retrieval_columns
from endcap.interest.interest import empty_interest
from endcap.learning.examples import Table
from endcap.learning.worth import Blind, masked, without
from endcap.models.network import DEPTH, JUST_S, LEAST, Network, NetworkSource, Window
from endcap.preprocess.ids import Ids
from endcap.types import ACTION_CODE, F4, Interest

VIEW, CART, HIDE = ACTION_CODE["view"], ACTION_CODE["cart_add"], ACTION_CODE["hide"]
N, DIM = 12, 4


class Ring:
    """One shopper's ring, user 0."""

    def __init__(self, entries: list[tuple[int, int, int]]) -> None:
        n = len(entries)
        self.item = np.array([one[0] for one in entries] or [0], np.int32)
        self.at_s = np.array([one[1] for one in entries] or [0], np.uint32)
        self.action = np.array([one[2] for one in entries] or [0], np.int8)
        self.count = np.array([n], np.int32)
        self.blocks = Blocks({"item": np.int32})
        self.blocks.start = np.zeros(1, np.int64)
        self.blocks.length = np.array([n], np.int32)


class Mean(NetworkSource):
    """The plainest model: the mean of the window's vectors, and how often it was computed."""

    name = "sasrec"
    most = 5

    def __init__(self, rings: Ring) -> None:
        super().__init__(rings)
        self.asked: list[Window] = []

    def encode(self, window: Window) -> F4:
        assert self.network is not None
        self.asked.append(replace(window, place=window.place.copy(), age_s=window.age_s.copy()))
        found: F4 = self.network.vectors[window.place].mean(axis=0)
        return found


class Visit(Mean):
    gap_s = 1_800


def network(n: int = N, seed: int = 0) -> Network:
    vectors = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return Network(
        "sasrec", [f"p{k}" for k in range(n)], vectors, {"user": b"graph"}, {"bias": vectors[:, 0].copy()},
        {"offset": 7},
    )  # fmt: skip


def names(n: int = N) -> Ids:
    ids = Ids()
    for k in range(n):
        ids.intern(f"p{k}")
    return ids


def asked_at(t_s: int, context: list[int] | None = None) -> Interest:
    interest = empty_interest()
    interest.user, interest.t_s = 0, t_s
    for k, item in enumerate(context or []):
        interest.seeds[k] = item
    interest.n_context = interest.n_seeds = len(context or [])
    return interest


def source_of(entries: list[tuple[int, int, int]], kind: type[Mean] = Mean) -> Mean:
    source = kind(Ring(entries))
    source.use(network(), names())
    return source


def test_artifact_comes_back_equal(tmp_path: Path) -> None:
    made = network()
    made.save(tmp_path / "1.endcap")
    back = Network.load(tmp_path / "1.endcap")
    assert (back.model, back.item_ids, back.graphs, back.meta) == (made.model, made.item_ids, made.graphs, made.meta)
    np.testing.assert_array_equal(back.vectors, made.vectors)
    np.testing.assert_array_equal(back.arrays["bias"], made.arrays["bias"])


@pytest.mark.parametrize("where", ["vectors", "bias"])
def test_numbers_that_are_none_are_refused(where: str) -> None:
    broken = network()
    (broken.vectors if where == "vectors" else broken.arrays["bias"]).flat[3] = np.nan
    with pytest.raises(ArtifactError, match=where):
        broken.check()


def test_an_artifact_that_lacks_a_part_says_so(tmp_path: Path) -> None:
    network().save(tmp_path / "1.endcap")
    found = read_artifact(tmp_path / "1.endcap")
    arrays = {key: value for key, value in found.arrays.items() if key != "vectors"}
    write_artifact(tmp_path / "2.endcap", arrays, found.schema, found.meta)
    with pytest.raises(ArtifactError, match="train again"):
        Network.load(tmp_path / "2.endcap")


def test_window_is_the_newest_positive_known_entries() -> None:
    source = source_of([(1, 10, VIEW), (2, 20, HIDE), (99, 30, VIEW), (3, 40, CART), (4, 50, VIEW)])
    source.look_ahead(asked_at(900))
    (window,) = source.asked
    assert window.place.tolist() == [1, 3, 4]
    assert window.age_s.tolist() == [40, 10, 0]


ENTRY = st.tuples(st.integers(0, N + 2), st.integers(1, 9_000), st.sampled_from([VIEW, CART, HIDE]))


@given(st.lists(ENTRY, max_size=20), st.integers(0, 12_000), st.booleans())
def test_window_equals_a_plain_reading(entries: list[tuple[int, int, int]], t_s: int, visit: bool) -> None:
    entries = sorted(entries, key=lambda one: one[1])
    kind = Visit if visit else Mean
    source = source_of(entries, kind)
    source.user_vector(asked_at(t_s))
    past = [one for one in entries if one[1] <= t_s]
    if visit:
        run, later = [], t_s if len(past) < len(entries) or not past else past[-1][1]
        for one in reversed(past):
            if later - one[1] > kind.gap_s:
                break
            run, later = [one, *run], one[1]
        past = [] if past and t_s - past[-1][1] > kind.gap_s else run
    expected = [one for one in past if one[0] < N and one[2] != HIDE][-kind.most :]
    assert [window.place.tolist() for window in source.asked] == ([[one[0] for one in expected]] if expected else [])


def test_a_vector_is_computed_once_per_event_and_again_for_a_new_one() -> None:
    source = source_of([(1, 10, VIEW), (2, 20, VIEW)])
    source.look_ahead(asked_at(900))
    first = source.user_vector(asked_at(30))
    source.user_vector(asked_at(40))
    assert len(source.asked) == 1
    ring = source._rings
    ring.blocks.length[0], ring.count[0] = 1, 3
    second = source.user_vector(asked_at(50))
    assert len(source.asked) == 2
    assert first is not None
    assert second is not None
    assert not np.array_equal(first, second)


def test_followed_or_asked_late_is_the_same() -> None:
    entries = [(k, 10 * k + 1, VIEW) for k in range(6)]
    early, late = source_of(entries), source_of(entries)
    early.look_ahead(asked_at(900))
    np.testing.assert_array_equal(early.user_vector(asked_at(1_000)), late.user_vector(asked_at(1_000)))


def test_a_query_of_the_past_does_not_see_later_events_and_leaves_nothing_behind() -> None:
    source = source_of([(1, 10, VIEW), (2, 20, VIEW)])
    np.testing.assert_array_equal(source.user_vector(asked_at(15)), network().vectors[1])
    np.testing.assert_allclose(source.user_vector(asked_at(25)), network().vectors[[1, 2]].mean(axis=0))


@given(st.lists(ENTRY, min_size=1, max_size=8), st.integers(0, 90), st.booleans())
def test_looking_ahead_changes_no_answer_and_leaves_nothing_to_search(
    entries: list[tuple[int, int, int]], later_s: int, named: bool
) -> None:
    entries = sorted(entries, key=lambda one: one[1])
    t_s = entries[-1][1] + later_s
    interest = asked_at(t_s, [entries[-1][0]] if named else None)
    early, late = source_of(entries), source_of(entries)
    early.look_ahead(asked_at(entries[-1][1]))
    computed, searched = len(early.asked), set(early._answers)
    tables = []
    for source in (early, late):
        table = Candidates(("sasrec",))
        table.begin(N + 3)
        source.retrieve(interest, table, 0, 4)
        tables.append((table.items[: len(table)].tolist(), table.score[: len(table)].tolist()))
    assert tables[0] == tables[1]
    if not named or (later_s <= JUST_S and entries[-1][2] != HIDE):
        assert len(early.asked) == computed
        assert set(early._answers) == searched


def test_an_item_that_the_query_names_was_touched_just_now_counts_once() -> None:
    entries = [(1, 10, VIEW), (2, 20, VIEW)]
    for at_s, window in ((20 + JUST_S, [1, 2]), (21 + JUST_S, [1, 2, 2])):
        source = source_of(entries)
        source.user_vector(asked_at(at_s, [2]))
        assert source.asked[-1].place.tolist() == window
    source = source_of(entries)
    source.user_vector(asked_at(25, [1]))
    assert source.asked[-1].place.tolist() == [1, 2, 1]


def test_items_of_the_query_come_last_in_the_window() -> None:
    source = source_of([(1, 10, VIEW)])
    source.user_vector(asked_at(100, [5, 99]))
    assert source.asked[-1].place.tolist() == [1, 5]
    assert source.asked[-1].age_s.tolist() == [90, 0]


def test_proposals_are_the_best_products() -> None:
    source = source_of([(1, 10, VIEW)])
    table = Candidates(("sasrec",))
    table.begin(N)
    interest = asked_at(20)
    interest.seeds[0], interest.n_seeds = 1, 1
    source.retrieve(interest, table, 0, 4)
    products = network().vectors @ network().vectors[1]
    best = np.argsort(-products)[:4]
    assert set(table.items[: len(table)].tolist()) == set(best.tolist())
    expected = np.maximum(np.exp(products[best] - products[best[0]]), LEAST)
    found = {int(item): float(score) for item, score in zip(table.items[:4], table.score[:4, 0], strict=True)}
    np.testing.assert_allclose([found[int(item)] for item in best], expected, rtol=1e-4)
    assert (table.seeds[:4, 0] == 0).all()


def test_silent_without_a_network_and_for_nobody() -> None:
    source = Mean(Ring([]))
    table = Candidates(("sasrec",))
    table.begin(N)
    source.retrieve(asked_at(5), table, 0, 4)
    source.use(network(), names())
    source.look_ahead(asked_at(900))
    stranger = asked_at(900)
    stranger.user = 17
    source.look_ahead(stranger)
    source.retrieve(asked_at(5), table, 0, 4)
    assert len(table) == 0
    source.use(None, names())
    assert source.vectors.n == 0


# ---------------------------------------------------------------- worth

SOURCES = ("covisit", "sasrec")
COLUMNS = (*(f"src:{name}" for name in SOURCES), *retrieval_columns(SOURCES))


def rows_of(ranks: list[tuple[float, float]]) -> F4:
    """Rows of items with these ranks by source, 999 = not proposed."""
    rows = np.zeros((len(ranks), len(COLUMNS)), np.float32)
    for r, pair in enumerate(ranks):
        for s, rank in enumerate(pair):
            known = rank < 999
            rows[r, COLUMNS.index(f"rank:{SOURCES[s]}")] = rank
            rows[r, COLUMNS.index(f"share:{SOURCES[s]}")] = known / rank
            rows[r, s] = known / rank
        rows[r, COLUMNS.index("n_sources")] = sum(rank < 999 for rank in pair)
        rows[r, COLUMNS.index("best_rank")] = min(pair)
        rows[r, COLUMNS.index("rank_fusion")] = sum(1 / (60 + rank) for rank in pair if rank < 999)
    return rows


def test_masked_rows_are_those_of_a_shop_without_the_source() -> None:
    given_rows = rows_of([(1, 2), (999, 1), (3, 999)])
    found, alone = masked(given_rows, COLUMNS, ["sasrec"])
    np.testing.assert_allclose(found[[0, 2]], rows_of([(1, 999), (3, 999)]), atol=1e-6)
    assert alone.tolist() == [False, True, False]
    np.testing.assert_array_equal(given_rows, rows_of([(1, 2), (999, 1), (3, 999)]))


def test_requests_that_only_the_hidden_source_could_answer_are_left_out() -> None:
    table = Table(
        rows_of([(1, 2), (999, 1), (2, 999), (999, 1)]), np.array([[0], [1], [1], [0]], np.uint8),
        np.array([2, 2], np.int32), np.array([5, 6]), np.array([1.0, 2.0], np.float32),
    )  # fmt: skip
    left = without(table, COLUMNS, ["sasrec"])
    assert left.sizes.tolist() == [1]
    assert left.labels.tolist() == [[1]]
    assert left.weights is not None
    assert left.weights.tolist() == [2.0]
    assert without(table, COLUMNS, []) is table


def test_a_blind_ranker_puts_what_it_cannot_know_last() -> None:
    class ByRank:
        name, terms = "by rank", ("rank",)

        def score(self, rows: F4) -> F4:
            return 1.0 / rows[:, COLUMNS.index("best_rank")]

        def trace(self, rows: F4) -> F4:
            return self.score(rows)[:, None]

    scores = Blind(ByRank(), COLUMNS, ["sasrec"]).score(rows_of([(5, 1), (999, 1), (2, 999)]))
    assert np.argsort(-scores).tolist() == [2, 0, 1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 2 * DEPTH), st.booleans()), max_size=12))
def test_remembered_answers_are_what_a_search_finds(asked: list[tuple[int, int, bool]]) -> None:
    n = 3 * DEPTH
    rng = np.random.default_rng(5)
    users = rng.normal(size=(4, DIM)).astype(np.float32)
    source = Mean(Ring([]))
    source.use(network(n), names(n))
    for user, most, changed in asked:
        if changed:
            source.vectors.put(np.array([most], np.int32), rng.normal(size=(1, DIM)).astype(np.float32))
        items, scores = source._best(users[user], most)
        unit, scale, item_of = source.vectors.unit[:n], source.vectors.scale[:n], source.vectors.item_of[:n]
        truth = (unit * scale[:, None]) @ users[user]
        best = np.argsort(-truth, kind="stable")[:most]
        assert items.tolist() == item_of[best].tolist()
        np.testing.assert_allclose(scores, truth[best], atol=1e-4)
