"""The feature families that read folded state, each against a plain twin, and the row that joins them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.batches import UNCLEAN
from endcap.config import Config
from endcap.features import own, pairs, price, retrieval, rhythm, session
from endcap.features.histories import Trail
from endcap.interest.interest import InterestReader
from endcap.state import State
from endcap.types import ACTION_CODE, ACTION_GROUP, ACTION_WEIGHT, F4, SEEN, WANTED, Interest
from rows import N_ITEMS, N_USERS, START_S, Row, assert_batching_is_invisible, at_leisure, batch, cut_places, rows

DAY_S = 86_400
CONFIG = Config()
ITEMS = np.arange(N_ITEMS, dtype=np.int32)
PURCHASE, CART_ADD, CART_REMOVE = ACTION_CODE["purchase"], ACTION_CODE["cart_add"], ACTION_CODE["cart_remove"]


def folded(stream: list[Row]) -> State:
    """A state that learned a stream of dense rows."""
    state = State(CONFIG)
    for kind, count in ((state.users, N_USERS), (state.items, N_ITEMS)):
        for k in range(count):
            kind.intern(f"i{k}")
    state._make_room()
    state.learn(batch(stream))
    return state


def interest_at(state: State, user: int, t_s: int, context: tuple[int, ...] = ()) -> Interest:
    reader = InterestReader(
        state.histories, state.cleaner, state.catalogue, CONFIG.interest, CONFIG.clean.session_gap_s
    )
    return reader.read(user, t_s, context, hour=7, device=2)


def ring(state: State, user: int, t_s: int) -> list[tuple[int, int, int]]:
    """(item, at_s, action) of a user's entries up to ``t_s``, newest first."""
    if user < 0:
        return []
    blocks, held = state.histories.blocks, state.histories
    places = range(int(blocks.start[user]), int(blocks.start[user]) + int(blocks.length[user]))
    entries = [(int(held.item[k]), int(held.at_s[k]), int(held.action[k])) for k in places]
    return [entry for entry in entries if entry[1] <= t_s][::-1]


def slots_of(n_items: int) -> Any:
    """Every item has the row of its own number."""
    slots = np.zeros((n_items, 2), np.int32)
    slots[:, 0], slots[:, 1] = 1, np.arange(n_items)
    return slots


moments = st.tuples(rows, st.integers(-1, N_USERS - 1), st.integers(0, 4_000_000))


# ---------------------------------------------------------------- own


def own_twin(entries: list[tuple[int, int, int]], interest: Interest, item: int, t_s: int) -> list[float]:
    n, mine = len(entries), [(j, *entry[1:]) for j, entry in enumerate(entries) if entry[0] == item]
    rank = [1.0] if n == 1 else [2.0 ** (0.1 + 0.9 * (n - 1 - j) / (n - 1)) - 1.0 for j in range(n)]
    seeds = interest.seeds[interest.n_context : interest.n_seeds].tolist()
    lasting = [a for _, _, a in mine if a in (CART_ADD, CART_REMOVE, PURCHASE)]
    bought = [at for _, at, a in mine if a == PURCHASE]
    lately = [ACTION_GROUP[a] if a != PURCHASE else 2 for _, at, a in mine if at >= interest.session_from_s]

    def decay(half_life: float) -> float:
        return sum(float(ACTION_WEIGHT[a]) * 2.0 ** (-(t_s - at) / half_life) for _, at, a in mine)

    return [
        sum(float(ACTION_WEIGHT[a]) * rank[j] for j, _, a in mine), decay(1_800), decay(DAY_S), decay(14 * DAY_S),
        math.log1p(t_s - mine[0][1]) if mine else -1.0, seeds.index(item) if item in seeds else 64, len(mine),
        sum(g == SEEN for g in lately), sum(g == WANTED for g in lately), sum(g == 2 for g in lately),
        float(lasting[0] == CART_ADD) if lasting else 0.0, math.log1p((t_s - bought[0]) / DAY_S) if bought else -1.0,
    ]  # fmt: skip


@at_leisure
@given(moments)
def test_own_equals_its_definition(case: tuple[list[Row], int, int]) -> None:
    stream, user, later = case
    state, t_s = folded(stream), START_S + later
    interest = interest_at(state, user, t_s)
    out = np.full((N_ITEMS, len(own.COLUMNS)), np.nan, np.float32)
    own.Own(state.histories).read(interest, slots_of(N_ITEMS), 1, out)
    entries = ring(state, user, t_s)
    for item in range(N_ITEMS):
        assert out[item].tolist() == pytest.approx(own_twin(entries, interest, item, t_s), rel=1e-4, abs=1e-4)


# ---------------------------------------------------------------- session


def session_twin(entries: list[tuple[int, int, int]], interest: Interest, t_s: int) -> list[float]:
    lately = [entry for entry in entries if entry[1] >= interest.session_from_s]
    gaps = [min(a[1] - b[1], 1_800) for a, b in itertools.pairwise(lately)]
    n, distinct = len(entries), interest.n_seeds - interest.n_context
    return [
        len(lately), interest.n_session,
        len(lately) / max(1, interest.n_session - interest.n_context) if lately else 0.0,
        math.log1p(t_s - interest.session_from_s) if lately else -1.0,
        sum(ACTION_GROUP[a] > SEEN for _, _, a in lately) / len(lately) if lately else 0.0,
        math.log1p(t_s - entries[0][1]) if entries else -1.0,
        min(entries[0][1] - entries[1][1], 1_800) if n > 1 else -1.0,
        sum(gaps) / len(gaps) if gaps else -1.0,
        float(ACTION_WEIGHT[entries[0][2]]) if entries else 0.0,
        math.log1p(interest.n_events), interest.n_seeds, 1.0 - min(1.0, distinct / n) if n else 0.0,
        sum(a == PURCHASE for _, _, a in entries) / n if n else 0.0,
        math.sin(2 * math.pi * 7 / 24), math.cos(2 * math.pi * 7 / 24), (t_s // DAY_S + 3) % 7, 2,
    ]  # fmt: skip


@at_leisure
@given(moments)
def test_session_equals_its_definition_in_every_row(case: tuple[list[Row], int, int]) -> None:
    stream, user, later = case
    state, t_s = folded(stream), START_S + later
    interest = interest_at(state, user, t_s, (3,))
    out = np.full((2, len(session.COLUMNS)), np.nan, np.float32)
    session.Session(state.histories).read(interest, out)
    expected = session_twin(ring(state, user, t_s), interest, t_s)
    assert out[0].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert (out[1] == out[0]).all()


def test_a_monday_is_day_zero() -> None:
    state = folded([])
    out = np.zeros((1, len(session.COLUMNS)), np.float32)
    session.Session(state.histories).read(interest_at(state, -1, 1_767_571_200), out)  # Monday 2026-01-05
    assert out[0, session.COLUMNS.index("weekday")] == 0


# ---------------------------------------------------------------- pairs


def pair_table(state: State, seed: int, t_s: int) -> dict[int, tuple[list[float], float]]:
    """neighbour -> (four faded weights, age) of a seed."""
    of = state.covisit
    first = int(of.blocks.start[seed])
    found = {}
    for k in range(first, first + int(of.blocks.length[seed])):
        age = max(0, t_s - int(of.at_s[k]))
        found[int(of.other[k])] = ([float(w) * 2.0 ** (-age / of.half_life_s) for w in of.weight[k]], age)
    return found


def pairs_twin(state: State, interest: Interest, item: int, t_s: int) -> list[float]:
    of, out = state.covisit, [0.0] * len(pairs.COLUMNS)

    def mass(i: int, channel: int) -> float:
        return float(of.mass[i, channel]) * 2.0 ** (-max(0, t_s - int(of.mass_at_s[i])) / of.half_life_s) + pairs.SHRINK

    for j in range(min(interest.n_seeds, pairs.SEEDS)):
        seed, share, action = int(interest.seeds[j]), float(interest.weight[j]), int(interest.action[j])
        if item not in (table := pair_table(state, seed, t_s)):
            continue
        (view, follow, lead, both), age = table[item]
        cosine = view / math.sqrt(mass(seed, 0) * mass(item, 0))
        follow, lead, both = follow / mass(seed, 1), lead / mass(seed, 2), both / mass(seed, 3)
        if j == 0:
            out[0], out[2], out[3], out[7] = cosine, math.log1p(view), view / mass(item, 0), follow
        if j == 1:
            out[1], out[8] = cosine, follow
        out[4] += share * cosine
        out[5] = max(out[5], share * cosine)
        out[6] += cosine * (j < interest.n_session)
        out[9] += share * follow
        out[10] += share * lead
        out[11] += lead * (action == CART_ADD)
        out[12] += both * (action == PURCHASE)
        out[13] += 1
        out[14] += j < interest.n_session
        out[15] = max(out[15], 2.0 ** (-age / DAY_S))
    return out


@at_leisure
@given(moments)
def test_pairs_equal_their_definition(case: tuple[list[Row], int, int]) -> None:
    stream, user, later = case
    state, t_s = folded(stream), START_S + later
    interest = interest_at(state, user, t_s, (1,))
    out = np.full((N_ITEMS, len(pairs.COLUMNS)), np.nan, np.float32)
    pairs.Pairs(state.covisit).read(interest, ITEMS, slots_of(N_ITEMS), 1, out)
    for item in range(N_ITEMS):
        assert out[item].tolist() == pytest.approx(pairs_twin(state, interest, item, t_s), rel=1e-3, abs=1e-4)


# ---------------------------------------------------------------- rhythm


class Both:
    """Histories and rhythm as one part, as the state runs them."""

    def __init__(self) -> None:
        from endcap.features.histories import Histories

        self.histories, self.rhythm = Histories(CONFIG.covisit), rhythm.Rhythm()

    def grow(self, n_users: int, n_items: int) -> None:
        self.histories.grow(n_users, n_items)
        self.rhythm.grow(n_users, n_items)

    def fold(self, columns: Any) -> Trail:
        trail = self.histories.fold(columns)
        self.rhythm.fold(columns, trail)
        return trail

    def arrays(self, n_users: int, n_items: int) -> dict[str, Any]:
        parts: dict[str, Any] = {"h": self.histories, "r": self.rhythm}
        return {f"{p}.{k}": v for p, part in parts.items() for k, v in part.arrays(n_users, n_items).items()}

    def load(self, arrays: dict[str, Any]) -> None:
        self.histories.load({k[2:]: v for k, v in arrays.items() if k.startswith("h.")})
        self.rhythm.load({k[2:]: v for k, v in arrays.items() if k.startswith("r.")})


@at_leisure
@given(rows, cut_places)
def test_rhythm_does_not_depend_on_batches(stream: list[Row], cuts: list[int]) -> None:
    assert_batching_is_invisible(Both, lambda part, columns: part.fold(columns), stream, cuts)


def again_twin(stream: list[Row]) -> list[tuple[int, int, int]]:
    """(again_s, again_step, rebuy_s) per row, from each user's last 64 entries in order of time."""
    held: dict[int, list[Row]] = {}
    out = []
    for row in stream:
        answer = (-1, 0, -1)
        weight = ACTION_WEIGHT[ACTION_CODE[row.action]]
        if row.user >= 0 and row.item >= 0 and weight != 0 and not row.flags & UNCLEAN:
            mine = held.setdefault(row.user, [])
            before = [one for one in mine if one.at_s <= row.at_s]
            if weight > 0:
                positive = [one for one in before[::-1] if ACTION_WEIGHT[ACTION_CODE[one.action]] > 0]
                same = [k for k, one in enumerate(positive) if one.item == row.item]
                bought = [k for k in same if positive[k].action == "purchase"] if row.action == "purchase" else []
                answer = (
                    row.at_s - positive[same[0]].at_s if same else -1,
                    same[0] + 1 if same else 0,
                    row.at_s - positive[bought[0]].at_s if bought else -1,
                )
            mine.insert(len(before), row)
            if len(mine) > 64:
                mine.pop(0)
        out.append(answer)
    return out


@at_leisure
@given(rows)
def test_the_trail_knows_returns_and_repeated_purchases(stream: list[Row]) -> None:
    part = Both()
    part.grow(N_USERS, N_ITEMS)
    trail = part.fold(batch(stream))
    got = list(zip(trail.again_s.tolist(), trail.again_step.tolist(), trail.rebuy_s.tolist(), strict=True))
    assert got == again_twin(stream)


def stirring(stream: list[Row]) -> list[Row]:
    """Rows that are somebody's positive interaction with an item."""
    return [
        row
        for row in stream
        if row.user >= 0 and row.item >= 0 and not row.flags & UNCLEAN and ACTION_WEIGHT[ACTION_CODE[row.action]] > 0
    ]


@at_leisure
@given(rows, st.integers(0, 2_000_000))
def test_rhythm_s_rates_are_shares_of_what_happened(stream: list[Row], later: int) -> None:
    """By plain sums over the log, each event faded from its own time."""
    state, t_s = folded(stream), max([START_S, *(row.at_s for row in stream)]) + later
    out = np.full((N_ITEMS, len(rhythm.COLUMNS)), np.nan, np.float32)
    never = np.full(N_ITEMS, -1.0, np.float32)
    state.rhythm.read(ITEMS, t_s, never, state.catalogue, state.covisit.blocks, out)
    clean = state.cleaner.__class__(CONFIG.clean)
    clean.grow(N_USERS, N_ITEMS)
    flags = clean.clean(batch(stream)).flags
    kept = [row._replace(flags=int(flag)) for row, flag in zip(stream, flags, strict=True)]
    sums = np.zeros((N_ITEMS, 6))
    for row, (again_s, step, rebuy_s) in zip(kept, again_twin(kept), strict=True):
        if row.user < 0 or row.item < 0 or row.flags & UNCLEAN:
            continue
        one = 2.0 ** (-(t_s - row.at_s) / rhythm.HALF_LIFE_S)
        if row.action == "impression":
            sums[row.item, 5] += one
        elif ACTION_WEIGHT[ACTION_CODE[row.action]] > 0:
            bought = row.action == "purchase"
            sums[row.item, 0] += one
            sums[row.item, 1] += one * (again_s >= 0)
            sums[row.item, 2] += one * (step == 1 and again_s <= 1_800)
            sums[row.item, 3] += one * bought
            sums[row.item, 4] += one * (bought and rebuy_s >= 0)
    events, returns, agains, buys, rebuys, shown = sums.T
    assert out[:, 0] == pytest.approx((returns + 2.0) / (events + 10.0), rel=1e-3)
    assert out[:, 1] == pytest.approx((agains + 1.0) / (events + 10.0), rel=1e-3)
    assert out[:, 2] == pytest.approx((rebuys + 1.0) / (buys + 10.0), rel=1e-3)
    last = [max([row.at_s for row in stirring(kept) if row.item == item], default=0) for item in range(N_ITEMS)]
    assert out[:, 8] == pytest.approx(np.log1p(t_s - np.array(last)), rel=1e-4, abs=1e-4)
    assert out[:, 4] == pytest.approx(np.where(shown > 0, (events + 0.5) / (shown + 10.0), 0.05), rel=1e-3)


def test_a_monthly_purchase_is_due_after_a_month() -> None:
    month = 30 * DAY_S
    state = folded([Row(START_S + k * month, 0, 1, "purchase") for k in range(4)])
    column = rhythm.COLUMNS.index("rebuy_due")

    def due(days: int) -> float:
        out = np.zeros((1, len(rhythm.COLUMNS)), np.float32)
        age = np.array([math.log1p(days)], np.float32)
        item = np.array([1], np.int32)
        state.rhythm.read(item, START_S + 3 * month + days * DAY_S, age, state.catalogue, state.covisit.blocks, out)
        return float(out[0, column])

    assert due(30) == pytest.approx(0.0, abs=1e-3)
    assert due(2) < 0 < due(60)


def test_uneven_demand_spreads_and_even_demand_does_not() -> None:
    even = [Row(START_S + day * DAY_S + 60 * k, k % 3, 1, "view") for day in range(40) for k in range(5)]
    bursts = [Row(START_S + day * DAY_S + 60 * k, k % 3, 2, "view") for day in range(0, 40, 8) for k in range(40)]
    state = folded(sorted(even + bursts))
    out = np.zeros((2, len(rhythm.COLUMNS)), np.float32)
    items, age = np.array([1, 2], np.int32), np.full(2, -1.0, np.float32)
    state.rhythm.read(items, START_S + 40 * DAY_S, age, state.catalogue, state.covisit.blocks, out)
    spread = out[:, rhythm.COLUMNS.index("day_spread")]
    assert spread[1] > 2 * spread[0]


# ---------------------------------------------------------------- price, retrieval


def test_prices_are_compared_with_the_shopper_the_last_item_and_the_category() -> None:
    class Shelves:
        category = np.array([0, 0, 0, -1], np.int32)
        log_price = np.log(np.array([10.0, 20.0, 40.0, np.nan], np.float32))
        price_n = np.array([3], np.int32)
        price_sum = np.array([log_price[:3].sum()], np.float64)
        price_sq = np.array([(log_price[:3] ** 2).sum()], np.float64)

    state = folded([])
    interest = interest_at(state, -1, START_S, (0,))
    interest.price_mean, interest.price_sd = math.log(20.0), 0.3
    out = np.full((4, 3), np.nan, np.float32)
    price.Price(Shelves()).read(interest, np.arange(4, dtype=np.int32), out)
    double, spread = math.log(2.0), float(np.std(Shelves.log_price[:3]))
    assert out[:, 0].tolist() == pytest.approx([-double / 0.5, 0.0, double / 0.5, 0.0], abs=1e-4)
    assert out[:, 1].tolist() == pytest.approx([0.0, double, 2 * double, 0.0], abs=1e-4)
    assert out[:, 2].tolist() == pytest.approx([-double / (spread + 0.2), 0.0, double / (spread + 0.2), 0.0], abs=1e-4)


scores = st.lists(
    st.lists(st.sampled_from([0.0, 0.0, 0.5, 0.5, 1.0, 3.0]), min_size=3, max_size=3), min_size=1, max_size=30
)


@at_leisure
@given(scores)
def test_ranks_shares_and_fusion_equal_their_definition(table: list[list[float]]) -> None:
    given_scores = np.array(table, np.float32)
    names = retrieval.columns(("a", "b", "c"))
    out = np.full((len(table), len(names)), np.nan, np.float32)
    retrieval.read_retrieval(given_scores, np.zeros(len(table), np.float32), out)
    for r in range(len(table)):
        ranks = [
            1 + int((given_scores[:, s] > given_scores[r, s]).sum()) if given_scores[r, s] > 0 else 999
            for s in range(3)
        ]
        proposed = [rank for rank in ranks if rank < 999]
        shares = [float(given_scores[r, s] / given_scores[:, s].max()) if ranks[s] < 999 else 0.0 for s in range(3)]
        fusion = sum(1 / (60 + rank) for rank in proposed)
        assert out[r].tolist() == pytest.approx([*ranks, *shares, len(proposed), min(ranks), fusion], rel=1e-5)


@at_leisure
@given(scores, st.integers(1, 10))
def test_items_that_join_without_a_source_change_nobody_s_row(table: list[list[float]], more: int) -> None:
    def read(given_scores: F4) -> F4:
        out = np.zeros((given_scores.shape[0], 9), np.float32)
        retrieval.read_retrieval(given_scores, np.zeros(given_scores.shape[0], np.float32), out)
        return out

    before = np.array(table, np.float32)
    after = np.concatenate([before, np.zeros((more, 3), np.float32)])
    assert (read(after)[: len(table)] == read(before)).all()
