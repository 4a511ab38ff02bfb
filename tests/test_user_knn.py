"""User-kNN against a twin in plain Python, and on data whose answer is known by construction."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.batches import BOT
from endcap.config import CovisitConfig, UserKnnConfig
from endcap.features.histories import Histories
from endcap.models.user_knn import ANONYMITY, FAINT, RECENCY_S, SHRINK, TAIL, UserKnn
from endcap.types import ACTION_CODE, ACTION_WEIGHT, Interest
from proposals import batch_of, interest_of, order_of, proposed

N_ITEMS, N_USERS = 12, 10
SMALL = UserKnnConfig(k=3, posting=4, seeds=4)
START_S = 1_700_000_000
STEP_S = 3_600

Event = tuple[int, int, str, int]  # user, item, action, flags


def folded(
    events: Sequence[Event], config: UserKnnConfig = SMALL, cuts: Sequence[int] = ()
) -> tuple[UserKnn, Histories]:
    histories = Histories(CovisitConfig())
    index = UserKnn(config, histories)
    times = [(START_S + STEP_S * k) * 1000 for k in range(len(events))]
    rows = [(user, 0, item, action, flags) for user, item, action, flags in events]
    for begin, end in pairwise([0, *sorted(cuts), len(rows)]):
        for part in (histories, index):
            part.grow(N_USERS, N_ITEMS)
        batch = batch_of(rows[begin:end], times[begin:end])
        histories.fold(batch)
        index.fold(batch)
    return index, histories


def views(*users: Sequence[int]) -> list[Event]:
    """Each user's items, oldest first."""
    return [(user, item, "view", 0) for user, items in enumerate(users) for item in items]


class Twin:
    """The same index as dictionaries and lists."""

    def __init__(self, config: UserKnnConfig) -> None:
        self.config = config
        self.posts: dict[int, list[int]] = defaultdict(list)
        self.count: dict[int, int] = defaultdict(int)
        self.rings: dict[int, list[tuple[int, str, int]]] = defaultdict(list)
        self.known = 0

    def fold(self, events: Sequence[Event]) -> None:
        for k, (user, item, action, flags) in enumerate(events):
            weight = ACTION_WEIGHT[ACTION_CODE[action]]
            if user < 0 or item < 0 or flags or weight == 0:
                continue
            self.rings[user].append((item, action, START_S + STEP_S * k))
            if weight > 0:
                self.count[item] += user not in self.posts[item]
                self.posts[item] = [*(u for u in self.posts[item] if u != user), user][-self.config.posting :]
                self.known = max(self.known, user + 1)

    def nearest(self, seeds: Sequence[int], weight: Sequence[float], own: int) -> dict[int, tuple[float, int]]:
        shared: dict[int, list[float]] = defaultdict(list)
        for item, w in zip(seeds, weight, strict=True):
            if w < np.float32(FAINT) * np.float32(max(weight)):
                continue
            rarity = max(0.0, math.log((self.known + 1) / max(1, self.count[item])))
            for user in self.posts[item]:
                shared[user].append(w / (w + 1) * rarity)
        similar = {}
        for user, parts in shared.items():
            n, held = len(parts), len(self.rings[user])
            value = sum(parts) / math.sqrt(held * len(seeds)) * n / (n + SHRINK)
            if user != own and value > 0:
                similar[user] = (value, n)
        return similar

    def retrieve(self, interest: Interest, k: int) -> dict[int, float]:
        n = min(interest.n_seeds, self.config.seeds)
        seeds, weight = interest.seeds[:n].tolist(), interest.weight[:n].tolist()
        similar = self.nearest(seeds, weight, interest.user)
        held: dict[int, dict[int, float]] = defaultdict(dict)
        for user in sorted(similar, key=lambda u: (-np.float32(similar[u][0]), u))[:k]:
            for item, action, at_s in self.rings[user][-TAIL:]:
                value = float(ACTION_WEIGHT[ACTION_CODE[action]]) / (1 + max(0, interest.t_s - at_s) / RECENCY_S)
                if value > 0:
                    held[item][user] = max(held[item].get(user, 0.0), similar[user][0] * value)
        context = seeds[: interest.n_context]
        return {item: sum(by.values()) for item, by in held.items() if len(by) >= ANONYMITY and item not in context}


streams = st.lists(
    st.tuples(
        st.integers(-1, N_USERS - 1),
        st.integers(-1, N_ITEMS - 1),
        st.sampled_from(["view"] * 5 + ["cart_add", "purchase", "hide", "search"]),
        st.sampled_from([0] * 9 + [BOT]),
    ),
    max_size=100,
)
weighted_seeds = st.lists(
    st.tuples(st.integers(0, N_ITEMS - 1), st.sampled_from([0.01, 0.5, 1.0, 6.0])),
    max_size=6,
    unique_by=lambda seed: seed[0],
)


@settings(max_examples=150, deadline=None)
@given(streams, weighted_seeds, st.integers(0, 2), st.integers(-1, N_USERS - 1))
def test_answers_equal_the_twin(events: list[Event], seeds: list[tuple[int, float]], n_context: int, own: int) -> None:
    # ties at the k-th place have tests of their own
    everybody = UserKnnConfig(k=N_USERS, posting=4, seeds=4, session_enough=0)
    index, _ = folded(events, everybody)
    twin = Twin(everybody)
    twin.fold(events)
    interest = interest_of(
        [s[0] for s in seeds], weight=[s[1] for s in seeds], n_context=n_context, user=own,
        t_s=START_S + STEP_S * len(events),
    )  # fmt: skip
    got = proposed(index, interest, N_ITEMS)
    wanted = twin.retrieve(interest, N_USERS)
    assert {item: score for item, (score, _) in got.items()} == pytest.approx(wanted, rel=1e-4)


def test_a_running_session_that_says_enough_is_not_asked_about() -> None:
    index, _ = folded(views([0, 1, 2], [0, 1, 3], [4]), UserKnnConfig(session_enough=2))
    assert proposed(index, interest_of([0, 1], n_session=1, user=2), N_ITEMS)
    assert not proposed(index, interest_of([0, 1], n_session=2, user=2), N_ITEMS)


@settings(max_examples=60, deadline=None)
@given(streams, st.integers(0, N_USERS - 1))
def test_similar_users_equal_the_twin(events: list[Event], user: int) -> None:
    index, _ = folded(events)
    twin = Twin(SMALL)
    twin.fold(events)
    own: dict[int, float] = {}
    for item, action, _ in reversed(twin.rings[user]):
        weight = float(ACTION_WEIGHT[ACTION_CODE[action]])
        if weight > 0 and (item in own or len(own) < SMALL.seeds):
            own[item] = max(own.get(item, 0.0), weight)
        elif weight > 0:
            break
    users, similarity, shared = index.similar_users(user, N_USERS)
    wanted = twin.nearest(list(own), list(own.values()), user)
    assert dict(zip(users.tolist(), similarity.tolist(), strict=True)) == pytest.approx(
        {u: value for u, (value, _) in wanted.items()}, rel=1e-4
    )
    assert dict(zip(users.tolist(), shared.tolist(), strict=True)) == {u: n for u, (_, n) in wanted.items()}
    assert (np.diff(similarity) <= 0).all()


@settings(max_examples=60, deadline=None)
@given(streams, st.lists(st.integers(0, 100), max_size=5))
def test_any_cut_into_batches_and_a_reload_give_the_same_bytes(events: list[Event], cuts: list[int]) -> None:
    whole, histories = folded(events)
    parts, _ = folded(events, cuts=[min(cut, len(events)) for cut in cuts])
    again = UserKnn(SMALL, histories)
    again.load({name: array.copy() for name, array in whole.arrays(N_USERS, N_ITEMS).items()})
    for other in (parts, again):
        ours, theirs = whole.arrays(N_USERS, N_ITEMS), other.arrays(N_USERS, N_ITEMS)
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            assert array.dtype == theirs[name].dtype
            assert np.array_equal(array, theirs[name]), name


def test_two_clusters_never_mix() -> None:
    left, right = [0, 1, 2, 3], [6, 7, 8, 9]
    index, _ = folded(views(*([left, right] * 4)), UserKnnConfig())
    now = START_S + STEP_S * 100
    assert set(proposed(index, interest_of([0, 1], t_s=now), N_ITEMS)) == set(left)
    assert set(proposed(index, interest_of([9], n_context=1, t_s=now), N_ITEMS)) == {6, 7, 8}


def test_what_only_one_neighbour_has_is_never_proposed() -> None:
    index, _ = folded(views([0, 1, 2], [0, 1, 2], [0, 1, 5], [6]), UserKnnConfig())
    got = proposed(index, interest_of([0, 1], n_context=2, t_s=START_S + STEP_S * 50), N_ITEMS)
    assert set(got) == {2}


def test_a_shopper_is_no_neighbour_of_themselves() -> None:
    index, _ = folded(views([0, 1, 2], [0, 1, 3], [4]), UserKnnConfig())
    assert proposed(index, interest_of([0, 1], n_context=2, user=0, t_s=START_S), N_ITEMS) == {}
    assert index.similar_users(0, 5)[0].tolist() == [1]


def test_those_who_share_more_and_rarer_items_come_first() -> None:
    index, _ = folded(views([0, 1, 2, 3], [0, 1, 2, 4], [0, 5, 6, 7], [3, 8, 9, 10], [0, 4], [0, 5]), UserKnnConfig())
    users, similarity, shared = index.similar_users(0, 9)
    assert users[0] == 1
    assert shared[0] == 3
    assert users.tolist().index(3) < users.tolist().index(2)  # item 3 is rarer than item 0
    assert similarity.dtype == np.float32


def test_carting_counts_more_than_looking_and_new_more_than_old() -> None:
    rows = [(u, i, "view", 0) for u in (0, 1) for i in (0, 1)]
    rows += [(u, 2, "view", 0) for u in (0, 1)] + [(u, 3, "cart_add", 0) for u in (0, 1)] + [(2, 9, "view", 0)]
    index, _ = folded(rows, UserKnnConfig())
    got = proposed(index, interest_of([0, 1], n_context=2, t_s=START_S + STEP_S * 20), N_ITEMS)
    assert order_of(got) == [3, 2]
    later = proposed(index, interest_of([0, 1], n_context=2, t_s=START_S + 40 * 86_400), N_ITEMS)
    assert later[2][0] < got[2][0]


def test_a_linked_visitor_takes_their_places_along() -> None:
    index, histories = folded(views([0, 1], [1, 2], [0, 1, 2], [5]), UserKnnConfig())
    index.merge(1, 2)  # 1 was anonymous and turned out to be 2
    histories.merge(1, 2)
    held = {
        item: index.pool[index.blocks.start[item] : index.blocks.start[item] + index.blocks.length[item]].tolist()
        for item in (0, 1, 2)
    }
    assert held == {0: [0, 2], 1: [0, 2], 2: [2]}
    assert index.similar_users(0, 5)[0].tolist() == [2]


def test_nothing_known_proposes_nothing() -> None:
    index, _ = folded([])
    assert proposed(index, interest_of([]), N_ITEMS) == {}
    assert proposed(index, interest_of([3]), N_ITEMS) == {}
    assert index.similar_users(0, 5)[0].tolist() == []
