"""Session-kNN against a twin in plain Python, and on data whose answer is known by construction."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.batches import BOT, EventBatch
from endcap.config import SessionKnnConfig
from endcap.models.session_knn import FEW, LENGTH, SessionKnn
from proposals import batch_of, interest_of, order_of, proposed

N_ITEMS = 12
SMALL = SessionKnnConfig(m=6, k=3, max_sessions=10, posting=4)

Event = tuple[int, int, str, int]  # session, item, action, flags


def events(rows: Sequence[Event]) -> EventBatch:
    return batch_of([(0, *row) for row in rows])


def views(*sessions: Sequence[int]) -> list[Event]:
    """Sessions one after the other, numbered from 0."""
    return [(number, item, "view", 0) for number, items in enumerate(sessions) for item in items]


def folded(rows: Sequence[Event], config: SessionKnnConfig = SMALL, n_items: int = N_ITEMS) -> SessionKnn:
    index = SessionKnn(config)
    index.grow(0, n_items)
    index.fold(events(rows))
    return index


def answer(
    index: SessionKnn,
    seeds: Sequence[int],
    *,
    n_session: int | None = None,
    n_context: int = 0,
    own: int = -1,
    n: int = 50,
) -> dict[int, tuple[float, int]]:
    asked = interest_of(seeds, n_session=n_session, n_context=n_context, session=own)
    return proposed(index, asked, N_ITEMS, n)


class Twin:
    """The same index as dictionaries and lists."""

    def __init__(self, config: SessionKnnConfig) -> None:
        self.config = config
        self.posts: dict[int, list[int]] = defaultdict(list)
        self.sessions: dict[int, list[int]] = {}
        self.count: dict[int, int] = defaultdict(int)
        self.newest = -1
        self.counted = 0

    def fold(self, rows: Sequence[Event]) -> None:
        for session, item, action, flags in rows:
            if item < 0 or session < 0 or flags or action not in ("view", "cart_add", "purchase"):
                continue
            if session <= self.newest - self.config.max_sessions:
                continue
            held = self.sessions.get(session, [])
            if item in held:
                held.remove(item)
            elif self.has_place(item, session):
                self.posts[item] = sorted([*self.posts[item], session])[-self.config.posting :]
                self.count[item] += 1
            self.newest = max(self.newest, session)
            self.counted += session not in self.sessions
            self.sessions[session] = [*held, item][-LENGTH:]
            for old in [number for number in self.sessions if number <= self.newest - self.config.max_sessions]:
                del self.sessions[old]

    def has_place(self, item: int, session: int) -> bool:
        posts = self.posts[item]
        return session not in posts and (len(posts) < self.config.posting or session > posts[0])

    def retrieve(self, query: Sequence[int], n_context: int, own: int) -> dict[int, tuple[float, int]]:
        n = len(query)
        near = sorted({s for item in query for s in self.posts[item] if s in self.sessions and s != own}, reverse=True)
        shared = {s: [j for j in range(n) if s in self.posts[query[j]]] for s in near[: self.config.m]}
        ranked = sorted(shared, key=lambda s: (-sum(n - j for j in shared[s]), -s))[: self.config.k]
        votes: dict[int, list[float]] = defaultdict(lambda: [0.0] * n)
        for s in ranked:
            for item in self.sessions[s]:
                for j in shared[s]:
                    if query[j] != item:
                        votes[item][j] += (n - j) / n * (1 - 0.1 * shared[s][0])
        scores = {}
        for item, by_seed in votes.items():
            score = sum(by_seed) * math.log((self.counted + 1) / self.count[item])
            if score > 1e-9 and item not in query[:n_context]:
                scores[item] = (score, by_seed.index(max(by_seed)))
        return scores


def assert_same(index: SessionKnn, twin: Twin, seeds: Sequence[int], n_context: int, own: int) -> None:
    got = answer(index, seeds, n_context=n_context, own=own)
    wanted = twin.retrieve(seeds, n_context, own)
    assert got.keys() == wanted.keys()
    for item, (score, seed) in got.items():
        assert score == pytest.approx(wanted[item][0], rel=1e-5)
        assert seed == wanted[item][1]


streams = st.lists(
    st.tuples(
        st.integers(-1, 4),  # sessions back from the newest; -1 starts one
        st.integers(-1, N_ITEMS - 1),
        st.sampled_from(["view"] * 6 + ["cart_add", "purchase", "hide", "cart_remove", "impression"]),
        st.sampled_from([0] * 9 + [BOT]),
    ),
    max_size=120,
)
queries = st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=LENGTH, unique=True)


def numbered(stream: Sequence[tuple[int, int, str, int]]) -> list[Event]:
    newest, rows = 0, []
    for back, item, action, flags in stream:
        newest += back == -1
        rows.append((max(-1, newest - max(0, back)), item, action, flags))
    return rows


@settings(max_examples=150, deadline=None)
@given(streams, queries, st.integers(0, 2), st.integers(-1, 30))
def test_index_and_answers_equal_the_twin(stream: list[Event], seeds: list[int], n_context: int, own: int) -> None:
    rows = numbered(stream)
    index, twin = folded(rows), Twin(SMALL)
    twin.fold(rows)
    assert {item: n for item in range(N_ITEMS) if (n := int(index.count[item]))} == {
        item: n for item, n in twin.count.items() if n
    }
    assert int(index.clock[1]) == twin.counted
    assert_same(index, twin, seeds, n_context, own)


@settings(max_examples=60, deadline=None)
@given(streams, st.lists(st.integers(0, 120), max_size=6))
def test_any_cut_into_batches_gives_the_same_bytes(stream: list[Event], cuts: list[int]) -> None:
    rows = numbered(stream)
    whole, parts = folded(rows), SessionKnn(SMALL)
    parts.grow(0, 3)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for begin, end in pairwise(bounds):
        parts.grow(0, N_ITEMS)
        parts.fold(events(rows[begin:end]))
        saved = {name: array.copy() for name, array in parts.arrays(0, N_ITEMS).items()}
        parts = SessionKnn(SMALL)
        parts.load(saved)
    ours, theirs = parts.arrays(0, N_ITEMS), whole.arrays(0, N_ITEMS)
    if not rows:
        return
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype
        assert np.array_equal(array, theirs[name]), name


def test_retrieving_leaves_the_state_as_it_was() -> None:
    index = folded(views([0, 1, 2], [1, 2, 3], [0, 3]))
    before = {name: array.copy() for name, array in index.arrays(0, N_ITEMS).items()}
    assert answer(index, [1, 2])
    assert all(np.array_equal(array, before[name]) for name, array in index.arrays(0, N_ITEMS).items())


def test_two_clusters_never_mix() -> None:
    left, right = [0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]
    rng = np.random.default_rng(5)
    rows = views(*[rng.permutation(left if k % 2 else right)[:3].tolist() for k in range(40)])
    index = folded(rows, SessionKnnConfig(m=40, k=20))
    assert set(answer(index, [0, 1])) == set(left)
    assert set(answer(index, [6])) == set(right) - {6}


def test_the_partner_of_the_newest_item_leads() -> None:
    pairs = [[0, 1], [2, 3], [4, 5]] * 4  # item 2k is always followed by 2k + 1
    got = answer(folded(views(*pairs), SessionKnnConfig()), [4, 2, 0])
    assert order_of(got)[:3] == [5, 3, 1]
    assert [got[item][1] for item in (5, 3, 1)] == [0, 1, 2]


def test_a_rare_item_counts_more_than_a_common_one_with_the_same_votes() -> None:
    got = answer(folded(views([0, 1, 2], [1, 3], [1, 4], [1, 5], [6, 7])), [0])
    assert got[2][0] > got[1][0] > 0


def test_ties_at_the_k_th_neighbour_go_to_the_more_recent_session() -> None:
    config = SessionKnnConfig(m=10, k=2)
    got = answer(folded(views([0, 1], [0, 2], [0, 3], [4, 5], [6, 7]), config), [0])
    assert set(got) == {2, 3}


def test_more_than_m_sessions_are_never_looked_at() -> None:
    config = SessionKnnConfig(m=2, k=2)
    # the oldest session shares both query items, yet two newer ones share one
    got = answer(folded(views([0, 1, 2], [0, 3], [0, 4], [5, 6]), config), [0, 1])
    assert set(got) == {3, 4}


def test_the_running_session_does_not_vote_for_itself() -> None:
    index = folded(views([0, 1], [0, 2], [3, 4]))
    assert set(answer(index, [0], own=1)) == {1}


def test_items_named_by_the_query_are_not_proposed_but_the_rest_of_the_session_may_be() -> None:
    index = folded(views([0, 1, 2], [0, 1, 3], [4, 5]))
    assert set(answer(index, [0, 1])) == {0, 1, 2, 3}
    assert set(answer(index, [0, 1], n_context=1)) == {1, 2, 3}


def test_without_a_running_session_the_newest_of_the_history_ask() -> None:
    index = folded(views([0, 9], [FEW, 10], [5, 11], [6, 7]))
    assert set(answer(index, list(range(FEW + 1)), n_session=0)) == {9}


def test_nothing_known_proposes_nothing() -> None:
    assert answer(folded([]), []) == {}
    assert answer(folded([]), [0, 1]) == {}


def test_only_n_items_are_proposed_and_they_are_the_best() -> None:
    index = folded(views([0, 1, 2, 3], [0, 1, 2], [0, 1], [5, 6]), SessionKnnConfig())
    everything = answer(index, [0])
    two = answer(index, [0], n=2)
    assert set(two) == set(order_of(everything)[:2])
