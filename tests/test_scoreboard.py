"""The scoreboard against a plain twin: any batching, merges, crossovers, and what happens when it is full."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.batches import DEEDS, SHOWN_ROW, SLATE, Outcomes, Records
from endcap.feedback.scoreboard import Report, Scoreboard
from endcap.feedback.sequential import Sums, difference
from rows import at_leisure, cut_places, same

N_USERS = 12
LABELS = ["placement:home", "variant:x/a", "variant:x/b", "arm:home/warm", "variant:y/one", "variant:y/two"]
X, Y = (1, 2), (4, 5)


class Labels(list[str]):
    """Names by number, as ``Ids`` gives them."""

    def name(self, number: int) -> str:
        return self[number]


class Deed(NamedTuple):
    """One outcome, or with ``deed`` "merge" the news that visitor ``slot`` is user ``place``."""

    slot: int
    place: int = -1
    deed: str = ""
    reward: float = 0.0
    at_s: int = 0


def outcomes(deeds: list[Deed], slots: Records) -> Outcomes:
    return Outcomes(
        slates=slots,
        rows=np.zeros(1, SHOWN_ROW),
        row=np.zeros(len(deeds), np.int32),
        slot=np.array([one.slot for one in deeds], np.int32),
        place=np.array([one.place for one in deeds], np.int32),
        item=np.array([0 if one.place >= 0 else -1 for one in deeds], np.int32),
        deed=np.array([DEEDS.index(one.deed) if one.deed else -1 for one in deeds], np.int8),
        reward=np.array([one.reward for one in deeds], np.float32),
        ts=np.array([one.at_s * 1_000 for one in deeds], np.int64),
    )


def story(seed: int, size: int) -> tuple[Records, list[Deed]]:
    """Slates of a few visitors in two experiments, rewards among them, and visitors who log in."""
    choose = random.Random(seed)
    slots = np.zeros(40, SLATE)
    slots["user"] = [choose.randint(-1, N_USERS - 1) for _ in range(40)]
    slots["variants"] = -1
    for slot in range(40):
        chosen = [choose.choice(pair) for pair in (X, Y) if choose.random() < 0.7]
        slots["variants"][slot, : len(chosen)] = chosen
    deeds: list[Deed] = []
    for _ in range(size):
        kind = choose.random()
        slot = choose.randrange(40)
        if kind < 0.5:
            deeds.append(Deed(slot))
        elif kind < 0.95:
            deed = choose.choice(["click", "cart", "purchase", "refund"])
            deeds.append(Deed(slot, 0, deed, {"click": 1.0, "cart": 3.0, "purchase": 6.0, "refund": -6.0}[deed]))
        else:  # the first half of the users are visitors, the second half logged in
            deeds.append(Deed(choose.randrange(N_USERS // 2), choose.randrange(N_USERS // 2, N_USERS), "merge"))
    return slots, [one._replace(at_s=at) for at, one in enumerate(deeds)]


def played(board: Scoreboard, slates: Records, deeds: list[Deed], size: int = 10**9) -> Scoreboard:
    """Fold a story in batches of at most ``size``; merges cut batches, as links do, and move the open ``slates``."""
    for merging, part in itertools.groupby(deeds, lambda one: one.deed == "merge"):
        run = list(part)
        if merging:
            for one in run:
                board.merge(one.slot, one.place)
                slates["user"][slates["user"] == one.slot] = one.place
        else:
            for at in range(0, len(run), size):
                board.fold(outcomes(run[at : at + size], slates))
    return board


def made(max_rows: int = 10_000) -> Scoreboard:
    board = Scoreboard(Labels(LABELS), max_rows)
    board.grow(N_USERS, 0)
    return board


def plain(slots: Records, deeds: list[Deed], pair: tuple[int, int]) -> tuple[list[tuple[int, int, int, float]], int]:
    """(units, slates, clicks, reward) per variant, and crossovers, from dictionaries."""
    users = slots["user"].tolist()
    totals: dict[tuple[int, int], list[float]] = {}
    for one in deeds:
        if one.deed == "merge":
            users = [one.place if user == one.slot else user for user in users]
            for label in pair:
                if (one.slot, label) in totals:
                    moved = totals.pop((one.slot, label))
                    mine = totals.setdefault((one.place, label), [0, 0, 0.0])
                    for k in range(3):
                        mine[k] += moved[k]
            continue
        user = users[one.slot]
        for label in set(slots["variants"][one.slot].tolist()) & set(pair):
            if user < 0:
                continue
            if one.place < 0:
                totals.setdefault((user, label), [0, 0, 0.0])[0] += 1
            elif (user, label) in totals:
                totals[user, label][1] += one.deed == "click"
                totals[user, label][2] += one.reward
    seen = defaultdict(set)
    for user, label in totals:
        seen[user].add(label)
    crossed = {user for user, labels in seen.items() if len(labels) > 1}
    found = []
    for label in pair:
        mine = [row for (user, of), row in totals.items() if of == label and user not in crossed]
        found.append((len(mine), int(sum(r[0] for r in mine)), int(sum(r[1] for r in mine)), sum(r[2] for r in mine)))
    return found, len(crossed)


def shown(report: Report) -> tuple[list[tuple[int, int, int, float]], int]:
    return [(one.units, one.slates, one.clicks, one.reward) for one in report.variants], report.crossovers


seeds = st.builds(story, seed=st.integers(0, 2**32), size=st.integers(1, 200))


@at_leisure
@given(seeds)
def test_totals_are_those_of_dictionaries(told: tuple[Records, list[Deed]]) -> None:
    slots, deeds = told
    board = played(made(), slots.copy(), deeds)
    for pair in (X, Y):
        assert shown(board.report(pair, (0.5, 0.5), 100)) == plain(*told, pair)


@at_leisure
@given(seeds, cut_places, st.sampled_from([3, 6, 10_000]))
def test_batching_and_snapshots_are_invisible(told: tuple[Records, list[Deed]], cuts: list[int], max_rows: int) -> None:
    slots, deeds = told
    whole, single = played(made(max_rows), slots.copy(), deeds), played(made(max_rows), slots.copy(), deeds, 1)
    cut, moving = made(max_rows), slots.copy()
    places = sorted({place % (len(deeds) + 1) for place in cuts} | {0, len(deeds)})
    for begin, end in itertools.pairwise(places):
        played(cut, moving, deeds[begin:end])
        loaded = Scoreboard(Labels(LABELS), max_rows)
        loaded.load(cut.arrays(N_USERS, 0))
        loaded.grow(N_USERS, 0)
        cut = loaded
    assert whole.arrays(N_USERS, 0)["label"].shape[0] <= max_rows
    same(single.arrays(N_USERS, 0), whole.arrays(N_USERS, 0))
    same(cut.arrays(N_USERS, 0), whole.arrays(N_USERS, 0))


def slots_of(*rows: tuple[int, int]) -> Records:
    """One slot per (user, label)."""
    slots = np.zeros(len(rows), SLATE)
    slots["user"] = [user for user, _ in rows]
    slots["variants"] = -1
    slots["variants"][:, 0] = [label for _, label in rows]
    return slots


def test_a_visitor_who_logs_in_to_another_variant_is_in_neither() -> None:
    slots = slots_of((0, 1), (6, 2), (1, 1), (7, 1), (2, 2))
    board = played(made(), slots, [Deed(k) for k in range(5)] + [Deed(0, 0, "click", 1.0), Deed(2, 0, "click", 1.0)])
    assert shown(board.report(X, (0.5, 0.5), 100)) == ([(3, 3, 2, 2.0), (2, 2, 0, 0.0)], 0)
    board.merge(0, 6)  # a and b: crosses over
    board.merge(1, 7)  # a and a: one unit with both's totals
    report = board.report(X, (0.5, 0.5), 100)
    assert shown(report) == ([(1, 2, 1, 1.0), (1, 1, 0, 0.0)], 1)
    assert report.assigned == [3, 2], "the ratio check goes by the draws, and there were five"


def test_a_reward_after_the_login_counts_for_the_user() -> None:
    slots = slots_of((0, 1))
    board = played(made(), slots, [Deed(0), Deed(0, 6, "merge"), Deed(0, 0, "purchase", 6.0)])
    assert shown(board.report(X, (0.5, 0.5), 100))[0][0] == (1, 1, 0, 6.0)


def test_a_second_variant_of_a_known_unit_is_no_second_draw() -> None:
    board = played(made(), slots_of((6, 1), (6, 2)), [Deed(0), Deed(1), Deed(1)])
    report = board.report(X, (0.5, 0.5), 100)
    assert report.assigned == [1, 0]
    assert report.crossovers == 1


def test_when_full_the_variant_not_shown_for_longest_goes() -> None:
    slots = slots_of(*((u, 4) for u in range(3)), *((u, 1) for u in range(3)), (9, 2))
    board = made(6)
    board.fold(outcomes([Deed(k, at_s=k) for k in range(6)], slots))
    board.fold(outcomes([Deed(6, at_s=9), Deed(6, at_s=9), Deed(3, at_s=9)], slots))
    assert [one.slates for one in board.report(Y, (0.5, 0.5), 100).variants] == [0, 0]
    assert board.report(Y, (0.5, 0.5), 100).assigned == [0, 0]
    assert [one.slates for one in board.report(X, (0.5, 0.5), 100).variants] == [4, 2]


def test_a_variant_that_fills_everything_takes_no_more_units_and_keeps_what_it_has() -> None:
    slots = slots_of(*((u, 1) for u in range(6)))
    board = made(4)
    board.fold(outcomes([Deed(k) for k in range(6)] + [Deed(0), Deed(5)], slots))
    assert shown(board.report(X, (0.5, 0.5), 100))[0][0] == (4, 5, 0, 0.0)


def test_a_report_is_the_confidence_sequence_of_the_units() -> None:
    choose = np.random.default_rng(5)
    n = 900
    slots = slots_of(*((u, X[u % 2]) for u in range(n)))
    board = Scoreboard(Labels(LABELS))
    board.grow(n, 0)
    slates, clicked = choose.integers(1, 6, n), choose.integers(0, 3, n)
    deeds = [Deed(u) for u in range(n) for _ in range(slates[u])]
    deeds += [Deed(u, 0, "click", 1.0) for u in range(n) for _ in range(clicked[u])]
    board.fold(outcomes(deeds, slots))
    report = board.report(X, (0.5, 0.5), 5_000)
    base, one = (Sums.of(slates[k::2], clicked[k::2]) for k in (0, 1))
    value, half = difference(one, base, 5_000)
    found = report.variants[1].reward_difference
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((value, value - half, value + half))
    assert report.variants[0].reward_difference is None
    assert not report.sample_ratio_alarm


def test_too_little_gives_no_interval_and_a_broken_split_an_alarm() -> None:
    board = Scoreboard(Labels(LABELS))
    board.grow(700, 0)
    slots = slots_of(*((u, 1 if u < 500 else 2) for u in range(700)))
    board.fold(outcomes([Deed(u) for u in range(700)], slots))
    report = board.report(X, (0.5, 0.5), 100)
    found = report.variants[1].reward_difference
    assert found is not None
    assert found.low is found.high is None
    assert report.sample_ratio_alarm
    assert board.report((3, -1), (0.5, 0.5), 100).variants[1].units == 0
