"""Exposure against a plain twin, and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from endcap.batches import UNCLEAN
from endcap.features.exposure import CAPACITY, Exposure
from endcap.types import ACTION_CODE, ACTION_WEIGHT
from rows import N_ITEMS, N_USERS, START_S, Row, assert_batching_is_invisible, at_leisure, batch, cut_places, rows

DAY_S = 86_400


class PlainExposure:
    """Every impression by itself, in the order in which items entered the list."""

    def __init__(self) -> None:
        self.shown: list[dict[int, list[int]]] = [{} for _ in range(N_USERS)]

    def fold(self, stream: list[Row]) -> None:
        for row in stream:
            if row.user < 0 or row.item < 0 or row.flags & UNCLEAN:
                continue
            mine = self.shown[row.user]
            if row.action == "impression":
                self.show(mine, row.item, [row.at_s])
            elif ACTION_WEIGHT[ACTION_CODE[row.action]] != 0:
                mine.pop(row.item, None)

    def show(self, mine: dict[int, list[int]], item: int, times: list[int]) -> None:
        if item not in mine and len(mine) == CAPACITY:
            # the place of the one that goes is taken by the newcomer
            oldest = min(mine, key=lambda other: max(mine[other]))
            order = [(item, times) if other == oldest else (other, seen) for other, seen in mine.items()]
            mine.clear()
            mine.update(order)
        else:
            mine.setdefault(item, []).extend(times)

    def fatigue(self, user: int, item: int, t: int) -> float:
        return sum(2.0 ** -((t - at) / DAY_S) for at in self.shown[user].get(item, []))


def make(n_items: int = N_ITEMS) -> Exposure:
    exposure = Exposure()
    exposure.grow(N_USERS, n_items)
    return exposure


def fatigue(exposure: Exposure, user: int, t: int, n_items: int = N_ITEMS) -> list[float]:
    out = np.full((n_items, 1), 7.0, np.float32)
    exposure.read(user, np.arange(n_items, dtype=np.int32), t, out)
    return out[:, 0].tolist()


@at_leisure
@given(rows)
def test_fatigue_is_the_faded_number_of_impressions_in_vain(stream: list[Row]) -> None:
    ours, plain = make(), PlainExposure()
    ours.fold(batch(stream))
    plain.fold(stream)
    now = max(row.at_s for row in stream) + 3_600
    for user in range(N_USERS):
        expected = [plain.fatigue(user, item, now) for item in range(N_ITEMS)]
        np.testing.assert_allclose(fatigue(ours, user, now), expected, rtol=1e-4, atol=1e-6)


@at_leisure
@given(rows, cut_places)
def test_batching_is_invisible(stream: list[Row], cuts: list[int]) -> None:
    assert_batching_is_invisible(Exposure, lambda part, columns: part.fold(columns), stream, cuts)


@pytest.mark.parametrize("seed", range(3))
def test_a_full_list_forgets_what_was_not_shown_for_longest(seed: int) -> None:
    random = np.random.default_rng(seed)
    times = START_S + np.cumsum(random.choice([0, 1, 500], 900))
    actions = random.choice(["impression"] * 30 + ["view"], 900)
    stream = [
        Row(int(t), int(u), int(i), str(a))
        for t, u, i, a in zip(times, random.integers(0, 4, 900), random.integers(0, 60, 900), actions, strict=True)
    ]
    ours, plain = make(60), PlainExposure()
    ours.item, ours.at_s, ours.count = ours.item[:8], ours.at_s[:8], ours.count[:8]
    ours.fold(batch(stream))
    plain.fold(stream)
    for user in range(N_USERS):
        start, n = int(ours.blocks.start[user]), int(ours.blocks.length[user])
        assert ours.item[start : start + n].tolist() == list(plain.shown[user])
        expected = [plain.fatigue(user, item, int(times[-1])) for item in range(60)]
        np.testing.assert_allclose(fatigue(ours, user, int(times[-1]), 60), expected, rtol=1e-4, atol=1e-6)
    assert int(ours.blocks.length.max()) == CAPACITY


def test_touching_an_item_ends_its_fatigue() -> None:
    ours = make()
    ours.fold(batch([Row(START_S, 0, 1, "impression"), Row(START_S, 0, 2, "impression"), Row(START_S, 0, 1, "view")]))
    assert fatigue(ours, 0, START_S)[:3] == [0.0, 0.0, 1.0]
    assert fatigue(ours, 0, START_S + DAY_S)[2] == pytest.approx(0.5)


def test_nobody_is_tired_of_nothing() -> None:
    ours = make()
    assert fatigue(ours, -1, START_S) == [0.0] * N_ITEMS
    assert fatigue(ours, 2, START_S) == [0.0] * N_ITEMS


def test_a_query_before_the_impression_reads_no_more_than_the_count() -> None:
    ours = make()
    ours.fold(batch([Row(START_S, 0, 1, "impression")]))
    assert fatigue(ours, 0, START_S - DAY_S)[1] == 1.0


def test_what_an_anonymous_visitor_was_shown_the_user_was_shown() -> None:
    ours = make()
    ours.fold(
        batch([Row(START_S, 0, 1, "impression"), Row(START_S, 0, 2, "impression"), Row(START_S, 1, 1, "impression")])
    )
    ours.merge(0, 1)
    assert fatigue(ours, 1, START_S)[1:3] == [2.0, 1.0]
    assert fatigue(ours, 0, START_S) == [0.0] * N_ITEMS
