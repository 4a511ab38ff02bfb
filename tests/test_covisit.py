"""Co-visitation against a plain twin, against its definition in exact arithmetic, and known answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.batches import UNCLEAN
from endcap.config import CovisitConfig
from endcap.features.covisit import BUY_BUY, NEXT, QUANTUM_S, TO_BUY, VIEW_VIEW, Covisit
from endcap.features.histories import Histories, Trail
from endcap.types import ACTION_CODE, ACTION_WEIGHT, ACTIONS
from rows import N_ITEMS, N_USERS, START_S, Row, assert_batching_is_invisible, at_leisure, batch, cut_places, rows

DAY_S = 86_400
CONFIG = CovisitConfig()
SMALL = CovisitConfig(neighbours=4, age_half_life_d=5.0)
F = np.float32


class Both:
    """Histories and co-visitation as one part, as the state runs them."""

    def __init__(self, config: CovisitConfig = CONFIG) -> None:
        self.histories, self.covisit = Histories(config), Covisit(config)
        self.grow(N_USERS, N_ITEMS)

    def grow(self, n_users: int, n_items: int) -> None:
        self.histories.grow(n_users, n_items)
        self.covisit.grow(n_users, n_items)

    def fold(self, stream: list[Row]) -> Trail:
        columns = batch(stream)
        trail = self.histories.fold(columns)
        self.covisit.fold(columns, trail)
        return trail

    def arrays(self, n_users: int, n_items: int) -> dict[str, np.ndarray]:
        parts = {"h": self.histories, "c": self.covisit}
        return {f"{p}.{k}": v for p, part in parts.items() for k, v in part.arrays(n_users, n_items).items()}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        self.histories.load({k[2:]: v for k, v in arrays.items() if k.startswith("h.")})
        self.covisit.load({k[2:]: v for k, v in arrays.items() if k.startswith("c.")})


def weights(covisit: Covisit, a: int, t_s: int) -> dict[int, list[float]]:
    """Neighbours of ``a`` and their four weights as of ``t_s``, in order of places."""
    start, n = int(covisit.blocks.start[a]), int(covisit.blocks.length[a])
    return {
        int(covisit.other[k]): [
            float(w) * 2.0 ** -((t_s - int(covisit.at_s[k])) / covisit.half_life_s) for w in covisit.weight[k]
        ]
        for k in range(start, start + n)
    }


def votes_of(trail: Trail, p: int, config: CovisitConfig) -> list[float]:
    """The four votes a -> b of pair ``p``; the way back has the first and the last of them."""
    first, then = ACTIONS[trail.earlier_action[p]], ACTIONS[trail.later_action[p]]
    gap, both = int(trail.gap_s[p]), first == then == "purchase"
    close = 2.0 ** -(gap / config.pair_half_life_s) if gap > 0 else 2.0 / (1.0 + int(trail.distance[p]))
    close = close if close >= 2.0**-10 else 0.0
    follows = trail.distance[p] == 1 and gap <= 1_800
    led = (1.0 if first in ("cart_add", "wishlist_add", "share") else close) if then == "purchase" and not both else 0.0
    return [close, float(follows), led, float(both and gap <= config.buy_window_d * DAY_S)]


def back(votes: list[float]) -> list[float]:
    return [votes[VIEW_VIEW], 0.0, 0.0, votes[BUY_BUY]]


@at_leisure
@given(rows)
def test_weights_are_the_faded_sums_of_votes(stream: list[Row]) -> None:
    both = Both()
    trail = both.fold(stream)
    now = START_S + 400 * DAY_S
    expected: dict[tuple[int, int], list[float]] = {}
    for p in range(len(trail)):
        a, b, votes = int(trail.earlier[p]), int(trail.later[p]), votes_of(trail, p, CONFIG)
        age = 2.0 ** -((now - int(trail.at_s[p])) / both.covisit.half_life_s)
        for pair, vote in (((a, b), votes), ((b, a), back(votes))):
            if any(vote):
                old = expected.setdefault(pair, [0.0] * 4)
                expected[pair] = [x + y * age for x, y in zip(old, vote, strict=True)]
    found = {(a, b): w for a in range(N_ITEMS) for b, w in weights(both.covisit, a, now).items()}
    assert found.keys() == expected.keys()
    for pair, weight in expected.items():
        np.testing.assert_allclose(found[pair], weight, rtol=1e-4)


@at_leisure
@given(rows)
def test_mass_is_the_faded_count_of_taking_part(stream: list[Row]) -> None:
    both = Both()
    both.fold(stream)
    now = START_S + 400 * DAY_S
    expected = np.zeros((N_ITEMS, 4))
    for row in stream:
        positive = ACTION_WEIGHT[ACTION_CODE[row.action]] > 0 and not row.flags & UNCLEAN
        if row.user >= 0 and row.item >= 0 and positive:
            age = 2.0 ** -((now - row.at_s) / both.covisit.half_life_s)
            bought = row.action == "purchase"
            expected[row.item] += np.array([1, 1, not bought, bought]) * age
    reference = now - both.covisit.mass_at_s[:N_ITEMS].astype(np.int64)
    found = both.covisit.mass[:N_ITEMS] * np.exp2(-reference / both.covisit.half_life_s)[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-12)


@dataclass
class Neighbour:
    other: int
    at_s: int
    weight: list[np.float32]


@dataclass
class PlainList:
    """A bounded neighbour list without blocks, floors or early ways out."""

    room: int
    half_life: float
    held: list[Neighbour] = field(default_factory=list)

    def fade(self, newer: int, older: int) -> float:
        return float(np.exp2(-((newer - older) // QUANTUM_S) * (QUANTUM_S / self.half_life)))

    def total(self, weight: list[np.float32] | list[float]) -> float:
        v, n, t, w = (float(x) for x in weight)
        return 6.0 * t + 6.0 * w + v + n

    def vote(self, other: int, votes: list[float], at_s: int) -> None:
        ref = at_s // QUANTUM_S * QUANTUM_S
        for one in self.held:
            if one.other == other:
                if one.at_s < ref:
                    one.weight = [F(float(w) * self.fade(ref, one.at_s)) for w in one.weight]
                    one.at_s = ref
                factor = self.fade(one.at_s, ref) if one.at_s > ref else 1.0
                one.weight = [F(float(w) + vote * factor) for w, vote in zip(one.weight, votes, strict=True)]
                return
        newcomer = Neighbour(other, ref, [F(vote) for vote in votes])
        if len(self.held) < self.room:
            self.held.append(newcomer)
            return
        newest = max([one.at_s for one in self.held] + [ref])
        totals = [self.total(one.weight) * self.fade(newest, one.at_s) for one in self.held]
        least = totals.index(min(totals))
        if self.total(votes) >= totals[least] / self.fade(newest, ref):
            self.held[least] = newcomer


def assert_bounded_lists_equal_the_twin(stream: list[Row], config: CovisitConfig) -> None:
    both = Both(config)
    trail = both.fold(stream)
    covisit = both.covisit
    lists = [PlainList(config.neighbours, covisit.half_life_s) for _ in range(N_ITEMS)]
    for p in range(len(trail)):
        a, b, at = int(trail.earlier[p]), int(trail.later[p]), int(trail.at_s[p])
        unit = math.exp(math.log(2.0) * (at % QUANTUM_S) / covisit.half_life_s)
        votes = [vote * unit for vote in votes_of(trail, p, config)]
        if any(votes):
            lists[a].vote(b, votes, at)
        if any(back(votes)):
            lists[b].vote(a, back(votes), at)
    for a, plain in enumerate(lists):
        start, n = int(covisit.blocks.start[a]), int(covisit.blocks.length[a])
        assert covisit.other[start : start + n].tolist() == [one.other for one in plain.held]
        assert covisit.at_s[start : start + n].tolist() == [one.at_s for one in plain.held]
        for k, one in enumerate(plain.held):
            np.testing.assert_allclose(covisit.weight[start + k], one.weight, rtol=1e-6)


@at_leisure
@given(rows)
def test_a_full_list_keeps_what_the_twin_keeps(stream: list[Row]) -> None:
    assert_bounded_lists_equal_the_twin(stream, SMALL)


@at_leisure
@given(rows, cut_places, st.sampled_from([CONFIG, SMALL]))
def test_batching_is_invisible(stream: list[Row], cuts: list[int], config: CovisitConfig) -> None:
    def fold(part: Both, columns: object) -> None:
        trail = part.histories.fold(columns)  # type: ignore[arg-type]  # a batch, handed through
        part.covisit.fold(columns, trail)  # type: ignore[arg-type]

    assert_batching_is_invisible(lambda: Both(config), fold, stream, cuts)


@pytest.mark.parametrize("seed", range(3))
def test_a_pool_that_fills_up_in_the_middle_of_a_batch_loses_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    times = START_S + np.cumsum(random.choice([1, 20, 300], 2_000))
    stream = [
        Row(int(t), int(u), int(i), "view")
        for t, u, i in zip(times, random.integers(0, 4, 2_000), random.integers(0, 400, 2_000), strict=True)
    ]
    whole, single = Both(), Both()
    for both in (whole, single):
        both.grow(N_USERS, 400)
    whole.covisit.other = whole.covisit.other[:8]
    whole.covisit.at_s, whole.covisit.weight = whole.covisit.at_s[:8], whole.covisit.weight[:8]
    whole.fold(stream)
    for row in stream:
        single.fold([row])
    ours, theirs = whole.covisit.arrays(N_USERS, 400), single.covisit.arrays(N_USERS, 400)
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
    assert int(whole.covisit.blocks.tail[0]) > 1_024


def test_viewed_then_bought_votes_where_it_should() -> None:
    both = Both()
    both.fold([Row(START_S, 0, 1, "view"), Row(START_S + 3_600, 0, 2, "purchase")])
    at = START_S + 3_600
    assert weights(both.covisit, 1, at)[2] == pytest.approx([0.5, 0, 0.5, 0], rel=1e-5)
    assert weights(both.covisit, 2, at)[1] == pytest.approx([0.5, 0, 0, 0], rel=1e-5)


def test_a_cart_leads_to_a_purchase_whatever_the_pause_and_steps_need_a_session() -> None:
    both = Both()
    both.fold([Row(START_S, 0, 1, "cart_add"), Row(START_S + 7_200, 0, 2, "purchase")])
    assert weights(both.covisit, 1, START_S + 7_200)[2] == pytest.approx([0.25, 0, 1, 0], rel=1e-5)
    both.fold([Row(START_S, 1, 3, "view"), Row(START_S + 1, 1, 4, "view")])
    assert weights(both.covisit, 3, START_S + 1)[4][NEXT] == pytest.approx(1.0, rel=1e-5)
    assert weights(both.covisit, 4, START_S + 1)[3][NEXT] == 0.0


def test_lines_of_one_order_are_bought_together_and_the_nearer_ones_more_so() -> None:
    both = Both()
    both.fold([Row(START_S, 0, item, "purchase") for item in (1, 2, 3)])
    assert weights(both.covisit, 1, START_S) == {
        2: pytest.approx([1, 1, 0, 1], rel=1e-5),
        3: pytest.approx([2 / 3, 0, 0, 1], rel=1e-5),
    }


def test_old_votes_fade_with_the_half_life() -> None:
    both = Both()
    both.fold([Row(START_S, 0, 1, "purchase"), Row(START_S, 0, 2, "purchase")])
    assert weights(both.covisit, 1, START_S + 30 * DAY_S)[2][BUY_BUY] == pytest.approx(0.5, rel=1e-5)


def test_a_late_pair_counts_no_more_than_one_on_time() -> None:
    both = Both()
    both.fold([Row(START_S + 30 * DAY_S, 0, 1, "purchase"), Row(START_S + 30 * DAY_S, 0, 2, "purchase")])
    both.fold([Row(START_S, 1, 1, "purchase"), Row(START_S, 1, 2, "purchase")])
    assert weights(both.covisit, 1, START_S + 30 * DAY_S)[2][BUY_BUY] == pytest.approx(1.5, rel=1e-5)


def test_a_newcomer_of_equal_weight_takes_the_place_of_the_first_of_the_weakest() -> None:
    both = Both(SMALL)
    both.grow(20, N_ITEMS)
    even = START_S // QUANTUM_S * QUANTUM_S  # a reference time: votes are exactly 1, and rounding decides nothing
    both.fold([Row(even, other, other, "purchase") for other in range(2, 7)])
    both.fold([Row(even, other, 1, "purchase") for other in range(2, 7)])
    assert list(weights(both.covisit, 1, even)) == [6, 3, 4, 5]


def test_a_vote_that_led_to_a_purchase_outweighs_five_views_and_a_half() -> None:
    both = Both(SMALL)
    both.grow(40, N_ITEMS)
    for other in range(2, 6):  # item 1 after each of four others: five shoppers at once, one an hour later
        shoppers = range(6 * (other - 2), 6 * (other - 2) + 6)
        both.fold([Row(START_S, shopper, other, "view") for shopper in shoppers])
        both.fold([Row(START_S, shopper, 1, "view") for shopper in shoppers[:5]])
        both.fold([Row(START_S + 3_600, shoppers[5], 1, "view")])
    assert list(weights(both.covisit, 1, START_S)) == [2, 3, 4, 5]
    both.fold([Row(START_S - 40_000, 30, 1, "cart_add"), Row(START_S, 30, 7, "purchase")])
    assert list(weights(both.covisit, 1, START_S)) == [7, 3, 4, 5]


def test_an_event_without_a_past_pairs_with_nothing() -> None:
    both = Both()
    assert len(both.fold([Row(START_S, 0, 1, "view"), Row(START_S, 1, 2, "view")])) == 0
    assert weights(both.covisit, 1, START_S) == {}
    assert both.covisit.mass[1].tolist() == both.covisit.mass[2].tolist()
    assert both.covisit.mass[1, TO_BUY] > 0
