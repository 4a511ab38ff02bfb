"""Item-item sources against a twin in plain Python, on counts made up for the case and on folded events."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.blocks import Blocks
from endcap.config import CovisitConfig
from endcap.features.covisit import Covisit
from endcap.features.histories import Histories
from endcap.models.item_item import (
    BESIDE,
    BUY_BUY,
    FAINT,
    NEXT,
    RECENCY,
    SEEDS,
    SHRINK,
    TO_BUY,
    VIEW_VIEW,
    BoughtTogetherSource,
    CovisitSource,
    ItemItem,
)
from endcap.types import Interest
from proposals import batch_of, interest_of, order_of, proposed

N_ITEMS = 14
NOW = 1_700_000_000
DAY = 86_400

Neighbour = tuple[int, list[float], int]  # item, weights per channel, reference time


class Counts:
    """Co-visitation counts written by hand."""

    def __init__(
        self, lists: dict[int, list[Neighbour]], mass: Sequence[Sequence[float]], mass_at_s: Sequence[int]
    ) -> None:
        self.half_life_s = 30.0 * DAY
        self.blocks = Blocks(16)
        self.blocks.grow(N_ITEMS)
        flat: list[Neighbour] = []
        for item, neighbours in lists.items():
            self.blocks.start[item], self.blocks.length[item] = len(flat), len(neighbours)
            flat += neighbours
        self.other = np.array([n[0] for n in flat] or [0], np.int32)
        self.weight = np.array([n[1] for n in flat] or [[0.0] * 4], np.float32)
        self.at_s = np.array([n[2] for n in flat] or [0], np.uint32)
        self.mass = np.array(mass, np.float32)
        self.mass_at_s = np.array(mass_at_s, np.uint32)

    def pair(self, seed: int, neighbour: Neighbour, channel: int, cosine: bool) -> float:
        other, weights, at_s = neighbour
        value = weights[channel] * self.faded(at_s)
        own = self.mass[seed, channel] * self.faded(self.mass_at_s[seed]) + SHRINK
        if not cosine:
            return float(value / own)
        return float(value / math.sqrt(own * (self.mass[other, channel] * self.faded(self.mass_at_s[other]) + SHRINK)))

    def faded(self, at_s: Any) -> float:
        return 2.0 ** -(max(0, NOW - int(at_s)) / self.half_life_s)


def twin(
    counts: Counts, lists: dict[int, list[Neighbour]], interest: Interest, channels: tuple[int, int], cosine: bool
) -> dict[int, dict[int, float]]:
    """item -> seed index -> vote."""
    votes: dict[int, dict[int, float]] = defaultdict(dict)
    n = min(interest.n_seeds, SEEDS)
    named = interest.n_context
    by_rank = [np.float32(1.0 if j < named else RECENCY ** (j - named)) for j in range(n)]
    weight = by_rank if cosine else interest.weight[:n].tolist()
    strongest = max(weight, default=0.0)
    for j in range(n):
        if weight[j] < np.float32(FAINT) * strongest:
            continue
        share = weight[j] * (BESIDE if interest.n_context and j >= interest.n_context else 1.0)
        for neighbour in lists.get(int(interest.seeds[j]), []):
            seed = int(interest.seeds[j])
            vote = counts.pair(seed, neighbour, channels[0], cosine) + counts.pair(seed, neighbour, channels[1], False)
            if vote > 0 and neighbour[0] not in interest.seeds[: interest.n_context]:
                votes[neighbour[0]][j] = share * vote
    return votes


times = st.integers(NOW - 200 * DAY, NOW + 100)
amounts = st.sampled_from([0.0, 0.0, 0.5, 1.0, 7.0, 300.0])
neighbour_lists = st.dictionaries(
    st.integers(0, N_ITEMS - 1),
    st.lists(
        st.tuples(st.integers(0, N_ITEMS - 1), st.lists(amounts, min_size=4, max_size=4), times),
        max_size=10,
        unique_by=lambda neighbour: neighbour[0],
    ),
    max_size=N_ITEMS,
)
masses = st.lists(st.lists(amounts, min_size=4, max_size=4), min_size=N_ITEMS, max_size=N_ITEMS)
weighted_seeds = st.lists(
    st.tuples(st.integers(0, N_ITEMS - 1), st.sampled_from([0.04, 0.3, 1.0, 6.0])),
    max_size=N_ITEMS,
    unique_by=lambda seed: seed[0],
)


@settings(deadline=None)
@given(neighbour_lists, masses, st.lists(times, min_size=N_ITEMS, max_size=N_ITEMS), weighted_seeds, st.integers(0, 2))
@pytest.mark.parametrize(
    ("source", "channels", "cosine"),
    [(CovisitSource, (VIEW_VIEW, NEXT), True), (BoughtTogetherSource, (TO_BUY, BUY_BUY), False)],
)
def test_scores_and_seeds_equal_the_twin(
    source: type[ItemItem], channels: tuple[int, int], cosine: bool, lists: dict[int, list[Neighbour]],
    mass: list[list[float]], mass_at_s: list[int], seeds: list[tuple[int, float]], n_context: int,
) -> None:  # fmt: skip
    counts = Counts(lists, mass, mass_at_s)
    interest = interest_of([s[0] for s in seeds], weight=[s[1] for s in seeds], n_context=n_context, t_s=NOW)
    got = proposed(source(counts), interest, N_ITEMS)
    wanted = twin(counts, lists, interest, channels, cosine)
    assert got.keys() == wanted.keys()
    for item, (score, seed) in got.items():
        assert score == pytest.approx(sum(wanted[item].values()), rel=5e-3)
        assert wanted[item][seed] == pytest.approx(max(wanted[item].values()), rel=5e-3)


def folded(rows: Sequence[tuple[int, int, str]], step_s: int = 20) -> Covisit:
    """Counts of (user, item, action) events, ``step_s`` apart, ending now."""
    histories, covisit = Histories(CovisitConfig()), Covisit(CovisitConfig())
    for part in (histories, covisit):
        part.grow(100, N_ITEMS)
    batch = batch_of(
        [(user, -1, item, action, 0) for user, item, action in rows],
        [(NOW - step_s * (len(rows) - k)) * 1000 for k in range(len(rows))],
    )
    covisit.fold(batch, histories.fold(batch))
    return covisit


def views(*paths: Sequence[int]) -> list[tuple[int, int, str]]:
    return [(user, item, "view") for user, path in enumerate(paths) for item in path]


def test_two_clusters_never_mix() -> None:
    source = CovisitSource(folded(views(*([[0, 1, 2], [7, 8, 9]] * 10))))
    assert set(proposed(source, interest_of([0], t_s=NOW), N_ITEMS)) == {1, 2}
    assert set(proposed(source, interest_of([8], t_s=NOW), N_ITEMS)) == {7, 9}


def test_on_a_checkerboard_every_colour_finds_its_own() -> None:
    paths = [[colour, 2 + colour, 4 + colour] for colour in (0, 1, 0, 1)]
    source = CovisitSource(folded(views(*paths)))
    for item in range(6):
        assert {i % 2 for i in proposed(source, interest_of([item], t_s=NOW), N_ITEMS)} == {item % 2}


def test_the_next_step_leads_over_the_one_before() -> None:
    source = CovisitSource(folded(views(*([[1, 2, 3]] * 8))))
    got = proposed(source, interest_of([2], t_s=NOW), N_ITEMS)
    assert order_of(got) == [3, 1]


def test_cosine_holds_the_item_that_everybody_sees_against_it() -> None:
    crowd = [[12, k] for k in (4, 5, 6, 7, 8, 9)] * 4
    source = CovisitSource(folded(views(*([[0, 12, 1]] * 4), *crowd)))
    items, scores = source.similar(0, 5, NOW)
    assert items.tolist() == [1, 12]
    assert scores[0] > scores[1]
    assert source.similar(0, 5, NOW, view="conditional")[0].tolist() == [12]
    assert source.similar(13, 5, NOW)[0].tolist() == []


def test_the_product_page_is_about_its_product() -> None:
    source = CovisitSource(folded(views(*([[0, 1]] * 5), *([[2, 3]] * 5))))
    page = proposed(source, interest_of([2, 0], n_context=1, t_s=NOW), N_ITEMS)
    assert order_of(page) == [3, 1]
    assert 2 not in page
    home = proposed(source, interest_of([0, 2], t_s=NOW), N_ITEMS)
    assert page[1][0] == pytest.approx(BESIDE * home[1][0])  # the newest of the others, there and here


def test_bought_together_needs_purchases() -> None:
    rows = [*views(*([[0, 1]] * 5)), (50, 0, "purchase"), (50, 5, "purchase"), (51, 0, "view"), (51, 6, "purchase")]
    source = BoughtTogetherSource(folded(rows))
    got = proposed(source, interest_of([0], t_s=NOW), N_ITEMS)
    assert set(got) == {5, 6}
    assert order_of(got)[0] == 5


def test_old_pairs_fade() -> None:
    source = CovisitSource(folded(views([0, 1])))
    now = proposed(source, interest_of([0], t_s=NOW), N_ITEMS)[1][0]
    later = proposed(source, interest_of([0], t_s=NOW + 60 * DAY), N_ITEMS)[1][0]
    assert 0 < later < now


def test_faint_seeds_are_not_read() -> None:
    bought = [(50, 0, "view"), (50, 1, "purchase"), (51, 2, "view"), (51, 3, "purchase")]
    source = BoughtTogetherSource(folded(bought))
    assert set(proposed(source, interest_of([0, 2], t_s=NOW), N_ITEMS)) == {1, 3}
    got = proposed(source, interest_of([0, 2], weight=[1.0, FAINT / 2], t_s=NOW), N_ITEMS)
    assert set(got) == {1}


def test_what_comes_next_follows_from_the_newest_items_whatever_was_done_with_older_ones() -> None:
    source = CovisitSource(folded(views([0, 1], [2, 3])))
    got = proposed(source, interest_of([0, 2], weight=[1.0, 6.0], t_s=NOW), N_ITEMS)
    assert got[3][0] == pytest.approx(RECENCY * got[1][0], rel=1e-4)


def test_nothing_known_proposes_nothing() -> None:
    source = CovisitSource(folded([]))
    assert proposed(source, interest_of([], t_s=NOW), N_ITEMS) == {}
    assert proposed(source, interest_of([3], t_s=NOW), N_ITEMS) == {}
