"""Histories and their trail against a plain twin, and known answers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.batches import UNCLEAN
from endcap.config import CovisitConfig
from endcap.features.histories import CAPACITY, Histories, Trail
from endcap.types import ACTION_CODE, ACTION_GROUP, ACTION_WEIGHT, ACTIONS
from rows import N_ITEMS, N_USERS, START_S, Row, assert_batching_is_invisible, at_leisure, batch, cut_places, rows, same

DAY_S = 86_400
CONFIG = CovisitConfig()


class Entry(NamedTuple):
    """One interaction in a plain history."""

    at_s: int
    item: int
    action: str


class PlainHistories:
    """Lists of entries, sorted by time, and everything spelled out."""

    def __init__(self, config: CovisitConfig = CONFIG) -> None:
        self.config = config
        self.entries: list[list[Entry]] = [[] for _ in range(N_USERS)]
        self.count = [0] * N_USERS
        self.pairs: list[tuple[int, int, int, int, str, str, int]] = []
        self.first: list[int] = []

    def fold(self, stream: list[Row]) -> None:
        for row in stream:
            self.first.append(0)
            code = ACTION_CODE[row.action]
            if row.item < 0 or ACTION_WEIGHT[code] == 0 or row.flags & UNCLEAN:
                continue
            if row.user < 0:
                self.first[-1] = int(ACTION_GROUP[code] >= 0)
                continue
            history = self.entries[row.user]
            self.first[-1] = int(ACTION_GROUP[code] >= 0 and not self.done_lately(history, row))
            if ACTION_WEIGHT[code] > 0:
                self.pairs += self.pairs_of(history, row)
            history.append(Entry(row.at_s, row.item, row.action))
            history.sort(key=lambda entry: entry.at_s)  # stable: ties stay in log order
            del history[:-CAPACITY]
            self.count[row.user] += 1

    def done_lately(self, history: list[Entry], row: Row) -> bool:
        group = ACTION_GROUP[ACTION_CODE[row.action]]
        return any(
            entry.item == row.item
            and ACTION_GROUP[ACTION_CODE[entry.action]] == group
            and abs(row.at_s - entry.at_s) < 3_600
            for entry in history
        )

    def pairs_of(self, history: list[Entry], row: Row) -> list[tuple[int, int, int, int, str, str, int]]:
        out: list[tuple[int, int, int, int, str, str, int]] = []
        met: set[tuple[int, bool]] = set()
        steps = 0
        for entry in reversed([entry for entry in history if entry.at_s <= row.at_s]):
            if ACTION_WEIGHT[ACTION_CODE[entry.action]] <= 0:
                continue
            steps += 1
            gap = row.at_s - entry.at_s
            both = entry.action == row.action == "purchase"
            near = gap <= self.config.window_h * 3_600 or (both and gap <= self.config.buy_window_d * DAY_S)
            kind = (entry.item, entry.action == "purchase")
            if near and entry.item != row.item and kind not in met and len(out) < self.config.tail:
                met.add(kind)
                out.append((entry.item, row.item, gap, steps, entry.action, row.action, row.at_s))
        return out


def make(config: CovisitConfig = CONFIG) -> Histories:
    histories = Histories(config)
    histories.grow(N_USERS, N_ITEMS)
    return histories


def pairs_in(trail: Trail) -> list[tuple[int, int, int, int, str, str, int]]:
    columns = (trail.earlier, trail.later, trail.gap_s, trail.distance, trail.at_s)
    rows_of_trail = zip(*[column.tolist() for column in columns], trail.earlier_action, trail.later_action, strict=True)
    return [(a, b, gap, steps, ACTIONS[x], ACTIONS[y], at) for a, b, gap, steps, at, x, y in rows_of_trail]


def entries_of(histories: Histories, user: int) -> list[Entry]:
    start, n = int(histories.blocks.start[user]), int(histories.blocks.length[user])
    held = slice(start, start + n)
    columns = zip(histories.at_s[held].tolist(), histories.item[held].tolist(), histories.action[held], strict=True)
    return [Entry(at, item, ACTIONS[action]) for at, item, action in columns]


def assert_equal(ours: Histories, trails: list[Trail], plain: PlainHistories) -> None:
    for user in range(N_USERS):
        assert entries_of(ours, user) == plain.entries[user]
    assert ours.count[:N_USERS].tolist() == plain.count
    assert [pair for trail in trails for pair in pairs_in(trail)] == plain.pairs
    assert np.concatenate([trail.first for trail in trails]).tolist() == plain.first


@at_leisure
@given(rows, st.sampled_from([CONFIG, CovisitConfig(tail=3, window_h=0.3, buy_window_d=0.1)]))
def test_histories_and_trail_equal_the_plain_twin(stream: list[Row], config: CovisitConfig) -> None:
    ours, plain = make(config), PlainHistories(config)
    trail = ours.fold(batch(stream))
    plain.fold(stream)
    assert_equal(ours, [trail], plain)


@at_leisure
@given(rows, cut_places)
def test_batching_is_invisible(stream: list[Row], cuts: list[int]) -> None:
    assert_batching_is_invisible(lambda: Histories(CONFIG), lambda part, b: part.fold(b), stream, cuts)


@pytest.mark.parametrize("seed", range(5))
def test_full_histories_and_a_pool_that_fills_up_in_the_middle_of_a_batch_are_exact(seed: int) -> None:
    random = np.random.default_rng(seed)
    now, stream = START_S, []
    for _ in range(700):
        now += int(random.choice([0, 1, 30, 4_000]))
        late = int(random.choice([0, 0, 0, 100, 900_000]))
        action = str(random.choice(["view", "view", "purchase", "cart_remove"]))
        stream.append(Row(now - late, int(random.integers(0, 2)), int(random.integers(0, N_ITEMS)), action))
    ours, plain = make(), PlainHistories()
    ours.item, ours.at_s, ours.action = ours.item[:64], ours.at_s[:64], ours.action[:64]
    trail = ours.fold(batch(stream))
    plain.fold(stream)
    assert_equal(ours, [trail], plain)
    assert ours.blocks.length[:2].tolist() == [CAPACITY, CAPACITY]


def test_a_reload_is_not_a_second_vote_but_a_purchase_is() -> None:
    steps = ["view", "purchase", "view"]
    stream = [Row(START_S + k, 0, 1, action) for k, action in enumerate(steps)] + [Row(START_S + 9, 0, 2, "view")]
    pairs = pairs_in(make().fold(batch(stream)))
    assert pairs == [
        (1, 2, 7, 1, "view", "view", START_S + 9),
        (1, 2, 8, 2, "purchase", "view", START_S + 9),
    ]


def test_taking_interest_back_is_remembered_and_pairs_with_nothing() -> None:
    stream = [Row(START_S, 0, 1, "cart_add"), Row(START_S + 1, 0, 2, "cart_remove"), Row(START_S + 2, 0, 3, "view")]
    ours = make()
    trail = ours.fold(batch(stream))
    assert pairs_in(trail) == [(1, 3, 2, 1, "cart_add", "view", START_S + 2)]
    assert [entry.action for entry in entries_of(ours, 0)] == ["cart_add", "cart_remove", "view"]


def test_purchases_pair_over_days_and_views_do_not() -> None:
    stream = [Row(START_S, 0, 1, "purchase"), Row(START_S, 0, 2, "view")]
    stream += [Row(START_S + 5 * DAY_S, 0, 3, "purchase"), Row(START_S + 20 * DAY_S, 0, 4, "purchase")]
    assert [pair[:2] for pair in pairs_in(make().fold(batch(stream)))] == [(1, 2), (1, 3)]


def test_an_order_of_equal_times_keeps_the_order_of_the_log() -> None:
    ours = make()
    ours.fold(batch([Row(START_S, 0, item, "view") for item in (5, 2, 7)]))
    assert [entry.item for entry in entries_of(ours, 0)] == [5, 2, 7]


@at_leisure
@given(rows)
def test_merging_gives_the_newest_of_both_in_order_of_time(stream: list[Row]) -> None:
    ours, plain = make(), PlainHistories()
    ours.fold(batch(stream))
    plain.fold(stream)
    ours.merge(0, 1)
    together = sorted(plain.entries[1] + plain.entries[0], key=lambda entry: entry.at_s)[-CAPACITY:]
    assert entries_of(ours, 1) == together
    assert entries_of(ours, 0) == []
    assert ours.count[:2].tolist() == [0, plain.count[0] + plain.count[1]]
    assert entries_of(ours, 2) == plain.entries[2]


def test_merging_two_full_histories_and_a_pool_without_room() -> None:
    stream = [Row(START_S + k, k % 2, k % N_ITEMS, "view") for k in range(150)] + [Row(START_S, 2, 0, "view")]
    ours, plain = make(), PlainHistories()
    ours.fold(batch(stream))
    plain.fold(stream)
    used = int(ours.blocks.tail[0])
    ours.item, ours.at_s, ours.action = ours.item[:used], ours.at_s[:used], ours.action[:used]
    ours.merge(0, 2)
    ours.merge(1, 2)
    everything = sorted([*plain.entries[2], *plain.entries[0], *plain.entries[1]], key=lambda entry: entry.at_s)
    assert entries_of(ours, 2) == everything[-CAPACITY:]


def test_a_freed_block_serves_the_next_who_needs_one() -> None:
    ours = make()
    ours.fold(batch([Row(START_S, 0, 1, "view"), Row(START_S, 1, 2, "view")]))
    ours.merge(0, 1)
    used = int(ours.blocks.tail[0])
    ours.fold(batch([Row(START_S, 3, 4, "view")]))
    assert int(ours.blocks.tail[0]) == used
    assert [entry.item for entry in entries_of(ours, 3)] == [4]


def test_a_cleared_user_leaves_nothing_in_memory() -> None:
    ours, fresh = make(), make()
    ours.fold(batch([Row(START_S, 0, 7, "purchase")] * 5))
    ours.clear(0)
    ours.clear(5_000)
    assert entries_of(ours, 0) == []
    assert ours.count[0] == 0
    assert not ours.item.any()
    assert not ours.at_s.any()
    same({"count": fresh.count}, {"count": ours.count})
