"""Counters and top lists against plain sums and plain sorting."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.batches import UNCLEAN, EventBatch
from endcap.config import CovisitConfig
from endcap.features.counters import COLUMNS, HALF_LIVES_S, N_COLUMNS, Counters
from endcap.features.histories import Histories
from endcap.features.top_lists import DEPTH, TopLists
from endcap.types import ACTION_CODE, ACTION_GROUP, ACTION_WEIGHT, BOUGHT, F8, I4, SEEN, WANTED
from rows import N_ITEMS, N_USERS, START_S, Row, assert_batching_is_invisible, at_leisure, batch, cut_places, rows

DAY_S = 86_400
WEEK_S = 7 * DAY_S
LEAF = np.array([5, 5, 5, 2, 2, 7, -1, 0, 0], np.int32)
TOP = np.array([1, 1, 1, 1, 1, 7, -1, -1, 0], np.int32)


class Both:
    """Histories and counters as one part, as the state runs them."""

    def __init__(self) -> None:
        self.histories, self.counters = Histories(CovisitConfig()), Counters()
        self.leaf, self.top = LEAF, TOP
        self.grow(N_USERS, N_ITEMS)

    def grow(self, n_users: int, n_items: int) -> None:
        self.histories.grow(n_users, n_items)
        self.counters.grow(n_users, n_items)

    def fold_batch(self, columns: EventBatch) -> np.ndarray:
        trail = self.histories.fold(columns)
        self.counters.fold(columns, trail, self.leaf, self.top)
        return trail.first.copy()

    def fold(self, stream: list[Row]) -> list[Row]:
        """Gives the rows that counted."""
        return [row for row, first in zip(stream, self.fold_batch(batch(stream)), strict=True) if first]

    def arrays(self, n_users: int, n_items: int) -> dict[str, np.ndarray]:
        parts = {"h": self.histories, "c": self.counters}
        return {f"{p}.{k}": v for p, part in parts.items() for k, v in part.arrays(n_users, n_items).items()}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        self.histories.load({k[2:]: v for k, v in arrays.items() if k.startswith("h.")})
        self.counters.load({k[2:]: v for k, v in arrays.items() if k.startswith("c.")})


def group_of(row: Row) -> int:
    return int(ACTION_GROUP[ACTION_CODE[row.action]])


def plain_key(counted: Iterable[Row], half_life: float, weighted: bool) -> float:
    """log2 of the decayed sum on the scale that does not change with time."""
    terms = [
        row.at_s / half_life + (math.log2(ACTION_WEIGHT[ACTION_CODE[row.action]]) if weighted else 0.0)
        for row in counted
    ]
    return float(np.logaddexp2.reduce(terms)) if terms else -math.inf


def listed(tops: TopLists, row: int) -> list[tuple[int, float]]:
    n = int(tops.length[row])
    return list(zip(tops.items[row, :n].tolist(), tops.keys[row, :n].tolist(), strict=True))


def best(keys: dict[int, float]) -> list[tuple[int, float]]:
    """What a list must hold: by key, equal ones by the smaller id."""
    return sorted(((i, key) for i, key in keys.items() if key > -math.inf), key=lambda e: (-e[1], e[0]))[:DEPTH]


@at_leisure
@given(rows)
def test_keys_are_the_decayed_sums(stream: list[Row]) -> None:
    both = Both()
    counted = both.fold(stream)
    counters = both.counters
    for item in range(N_ITEMS):
        mine = [row for row in counted if row.item == item]
        for group in (SEEN, WANTED, BOUGHT):
            for h, half_life in enumerate(HALF_LIVES_S):
                expected = plain_key([row for row in mine if group_of(row) == group], half_life, weighted=False)
                assert counters.key[item, group, h] == pytest.approx(expected, abs=1e-8)
        assert counters.overall[item] == pytest.approx(plain_key(mine, WEEK_S, weighted=True), abs=1e-8)


@at_leisure
@given(rows)
def test_lists_hold_what_sorting_gives(stream: list[Row]) -> None:
    both = Both()
    counted = both.fold(stream)
    tops, counters = both.counters.tops, both.counters
    for group in (SEEN, WANTED, BOUGHT):
        for h in range(4):
            keys = {item: float(counters.key[item, group, h]) for item in range(N_ITEMS)}
            assert listed(tops, tops.row_global(group, h)) == best(keys)
    for category in range(8):
        keys = {i: float(counters.overall[i]) for i in range(N_ITEMS) if category in (LEAF[i], TOP[i])}
        row = tops.row_category(category)
        assert (listed(tops, row) if row >= 0 else []) == best(keys)
    slices = [("hour", 24, tops.row_hour), ("device", 6, tops.row_device), ("region", 4, tops.row_region)]
    for name, n, row_of in slices:
        for number in range(n):
            here = [row for row in counted if getattr(row, name) == number]
            expected = best(
                {i: plain_key([r for r in here if r.item == i], WEEK_S, weighted=True) for i in range(N_ITEMS)}
            )
            found = listed(tops, row_of(number)) if row_of(number) >= 0 else []
            assert dict(found) == pytest.approx(dict(expected), abs=1e-8)
            assert found == sorted(found, key=lambda entry: (-entry[1], entry[0]))


@at_leisure
@given(rows, cut_places)
def test_batching_is_invisible(stream: list[Row], cuts: list[int]) -> None:
    assert_batching_is_invisible(Both, lambda part, columns: part.fold_batch(columns), stream, cuts)


@at_leisure
@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(stream: list[Row], random: object) -> None:
    nameless = [row._replace(user=-1) for row in stream]  # no user: nothing depends on what came before
    shuffled = list(nameless)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis gives a random.Random
    ours, theirs = Both(), Both()
    ours.fold(nameless)
    theirs.fold(shuffled)
    assert np.array_equal(np.isinf(ours.counters.key), np.isinf(theirs.counters.key))
    np.testing.assert_allclose(ours.counters.key, theirs.counters.key, atol=1e-8, rtol=0)


def crowd(seed: int, n_items: int, n: int) -> tuple[Both, np.ndarray, list[Row]]:
    """A catalogue larger than a list is deep, and traffic of which much ties."""
    random = np.random.default_rng(seed)
    items = np.minimum(random.zipf(1.2, n) - 1, n_items - 1)
    items = np.where(random.random(n) < 0.5, items, random.integers(0, n_items, n))
    times = START_S + np.cumsum(random.choice([0, 0, 0, 50], n))
    both = Both()
    both.grow(N_USERS, n_items)
    both.leaf, both.top = (np.arange(n_items) % 3).astype(np.int32), np.full(n_items, 9, np.int32)
    actions = random.choice(["view", "view", "cart_add"], n)
    stream = [Row(int(t), -1, int(i), str(a)) for t, i, a in zip(times, items, actions, strict=True)]
    return both, items, stream


def assert_lists_are_exact(both: Both, n_items: int) -> None:
    counters, tops = both.counters, both.counters.tops
    for group in (SEEN, WANTED):
        for h in range(4):
            keys: F8 = counters.key[:n_items, group, h]
            assert listed(tops, tops.row_global(group, h)) == best(dict(enumerate(keys.tolist())))
    for category in [0, 1, 2, 9, 11]:
        members: I4 = np.flatnonzero((both.leaf == category) | (both.top == category))
        row = tops.row_category(category)
        found = listed(tops, row) if row >= 0 else []
        assert found == best({int(i): float(counters.overall[i]) for i in members})


@pytest.mark.parametrize("seed", range(3))
def test_full_lists_are_exact_with_ties_and_in_any_batching(seed: int) -> None:
    both, _, stream = crowd(seed, 1_500, 6_000)
    for at in range(0, len(stream), 1_111):
        both.fold(stream[at : at + 1_111])
        assert_lists_are_exact(both, 1_500)
    assert int(both.counters.tops.length[0]) == DEPTH
    single, _, _ = crowd(seed, 1_500, 6_000)
    for row in stream:
        single.fold([row])
    ours, theirs = both.arrays(N_USERS, 1_500), single.arrays(N_USERS, 1_500)
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_items_that_change_category_leave_the_old_list_and_let_the_next_one_in() -> None:
    both, _, stream = crowd(7, 1_500, 6_000)
    both.fold(stream)
    moved = both.counters.tops.items[both.counters.tops.row_category(1), :40].copy()
    both.leaf, both.top = both.leaf.copy(), both.top.copy()
    both.leaf[moved], both.top[moved[:5]] = 11, -1
    both.counters.recategorise(moved, both.leaf, both.top)
    assert_lists_are_exact(both, 1_500)


def test_an_event_of_an_item_in_a_new_category_moves_it_by_itself() -> None:
    both = Both()
    both.fold([Row(START_S, -1, item, "view") for item in range(N_ITEMS)])
    both.leaf = LEAF.copy()
    both.leaf[0], both.leaf[6] = 2, 11
    both.fold([Row(START_S + 60, -1, 0, "view"), Row(START_S + 61, -1, 6, "view")])
    assert_lists_are_exact(both, N_ITEMS)
    assert [item for item, _ in listed(both.counters.tops, both.counters.tops.row_category(5))] == [1, 2]


def test_rows_that_nobody_has_are_minus_one() -> None:
    tops = TopLists()
    assert tops.row_hour(24) == tops.row_hour(-1) == tops.row_device(9) == -1
    assert tops.row_region(0) == tops.row_region(-1) == tops.row_category(10_000) == tops.row_category(-1) == -1
    rows_of = [tops.row_global(g, h) for g in range(3) for h in range(4)]
    rows_of += [tops.row_hour(h) for h in range(24)] + [tops.row_device(d) for d in range(6)]
    assert rows_of == list(range(42))


def test_a_shopper_counts_once_per_item_and_hour() -> None:
    both = Both()
    both.fold([Row(START_S + 60 * k, 0, 1, "view") for k in range(30)])
    once = Both()
    once.fold([Row(START_S, 0, 1, "view")])
    assert both.counters.key[1].tolist() == once.counters.key[1].tolist()


def test_unclean_events_and_signs_of_disinterest_are_not_popularity() -> None:
    both = Both()
    both.fold([Row(START_S, 0, 1, "view", flags=UNCLEAN), Row(START_S, 0, 1, "hide"), Row(START_S, 0, 1, "impression")])
    assert np.isneginf(both.counters.key).all()
    assert int(both.counters.tops.length.sum()) == 0


def value(rows_of: list[Row], t: int, half_life: float, weighted: bool = False) -> float:
    return float(
        sum(
            (ACTION_WEIGHT[ACTION_CODE[r.action]] if weighted else 1) * 2 ** -((t - r.at_s) / half_life)
            for r in rows_of
        )
    )


def against(a: float, b: float, prior: float) -> float:
    return (a - b) / (a + b + 2 * prior)


@at_leisure
@given(rows, st.integers(-1, 23), st.integers(-1, 5), st.integers(-1, 4), st.sampled_from([0, 10, 5_000, 10**6]))
def test_columns_read_what_they_say(stream: list[Row], hour: int, device: int, region: int, wait: int) -> None:
    both = Both()
    counted = both.fold(stream)
    t = max(row.at_s for row in stream) + wait
    out = np.full((N_ITEMS, N_COLUMNS), 7.0, np.float32)
    both.counters.read(np.arange(N_ITEMS, dtype=np.int32), t, hour, device, region, out)
    everything = value(counted, t, WEEK_S, weighted=True)
    for item in range(N_ITEMS):
        mine = [row for row in counted if row.item == item]
        n = [[value([r for r in mine if group_of(r) == g], t, h) for h in HALF_LIVES_S] for g in range(3)]
        expected = [n[g][h] for g in range(3) for h in range(4)]
        last_hour, today, usual = (sum(n[g][h] for g in range(3)) * f for h, f in ((0, 24), (2, 1), (3, 1 / 7)))
        expected += [against(last_hour, today, 10), against(today, usual, 10)]
        expected += [min(1.0, (n[g][3] + 20 * p) / (n[0][3] + 20)) for g, p in ((1, 0.05), (2, 0.02))]
        for name, number in (("hour", hour), ("device", device), ("region", region)):
            here = [row for row in counted if getattr(row, name) == number]
            whole = value(mine, t, WEEK_S, weighted=True)
            if number < 0 or not mine:
                expected.append(0.0)
                continue
            share = value(here, t, WEEK_S, weighted=True) / everything
            found = value([row for row in mine if row in here], t, WEEK_S, weighted=True)
            expected.append(against(found, whole * share, 3))
        np.testing.assert_allclose(out[item], expected, rtol=1e-3, atol=1e-4, err_msg=str(COLUMNS))


def test_an_item_that_nobody_touched_reads_as_the_prior() -> None:
    both = Both()
    out = np.full((1, N_COLUMNS), 7.0, np.float32)
    both.counters.read(np.zeros(1, np.int32), START_S, 3, 1, 0, out)
    named = dict(zip(COLUMNS, out[0].tolist(), strict=True))
    assert named.pop("wanted_rate") == pytest.approx(0.05)
    assert named.pop("bought_rate") == pytest.approx(0.02)
    assert set(named.values()) == {0.0}
