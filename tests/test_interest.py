from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.config import InterestConfig
from endcap.features.affinity import COLUMNS, NEW_S, SIBLING, Affinity
from endcap.features.catalogue import PRICE_SD_FLOOR, Catalogue
from endcap.interest.interest import InterestReader
from endcap.types import ACTION_CODE, ACTION_WEIGHT, F4, I1, I4, I8, U4, Interest
from shelf import T0, item, stocked

T = T0 // 1000
GAP = 1_800
CONFIG = InterestConfig()
A = ACTION_CODE

SHOP = [
    item("mug", categories=[["Kitchen", "Mugs"]], brand="Acme", price=8.0),
    item("cup", categories=[["Kitchen", "Mugs"]], brand="Bolt", price=12.0),
    item("pot", categories=[["Kitchen", "Pots"]], brand="Bolt", price=40.0),
    item("ball", categories=[["Toys"]], brand="Acme"),
    item("bare"),
    item("kite", categories=[["Toys", "Air"]], price=25.0),
]
SHOP += [item(f"more{k}", categories=[[f"C{k % 20}"]], brand=f"B{k % 18}", price=1.0 + k) for k in range(70)]
SHELVES: Catalogue = stocked(SHOP)


@dataclass
class Places:
    start: I8
    length: I4


@dataclass
class Ring:
    """One user's ring, lying somewhere inside a larger pool."""

    events: list[tuple[int, int, int]]  # item, at_s, action; oldest first
    more_ever: int = 0
    blocks: Places = field(init=False)
    item: I4 = field(init=False)
    at_s: U4 = field(init=False)
    action: I1 = field(init=False)
    count: I4 = field(init=False)

    def __post_init__(self) -> None:
        padded = [(3, 5, 1)] * 7 + self.events + [(2, 9, 7)] * 3
        self.item = np.array([e[0] for e in padded], np.int32)
        self.at_s = np.array([e[1] for e in padded], np.uint32)
        self.action = np.array([e[2] for e in padded], np.int8)
        self.blocks = Places(np.array([7], np.int64), np.array([len(self.events)], np.int32))
        self.count = np.array([len(self.events) + self.more_ever], np.int32)


@dataclass
class Running:
    """The cleaner's view of that user's session."""

    last_s: U4
    session: I4
    session_start_s: U4


def running(last_s: int = 0, start_s: int = 0, number: int = -1) -> Running:
    return Running(np.array([last_s], np.uint32), np.array([number], np.int32), np.array([start_s], np.uint32))


def read(
    events: list[tuple[int, int, int]],
    sessions: Running | None = None,
    context: tuple[int, ...] = (),
    t_s: int = T,
    personalized: bool = True,
) -> Interest:
    reader = InterestReader(Ring(events), sessions or running(), SHELVES, CONFIG, GAP)
    reader.read(0, t_s + 50, (5, 1))  # what an earlier query left in the scratch must not show
    return reader.read(0, t_s, context, hour=20, device=2, region=3, personalized=personalized)


# ---------------------------------------------------------------- the twin


def tag_shares(weights: dict[int, tuple[float, float]]) -> list[tuple[int, float, float]]:
    short = sum(max(s, 0.0) for s, _ in weights.values())
    long = sum(max(lo, 0.0) for _, lo in weights.values())
    shares = {
        tag: (max(s, 0.0) / short if short > 0 else 0.0, max(lo, 0.0) / long if long > 0 else 0.0)
        for tag, (s, lo) in weights.items()
    }
    kept = [(tag, s, lo) for tag, (s, lo) in shares.items() if s + lo > 0]
    return sorted(kept, key=lambda one: (-(one[1] + one[2]), one[0]))[:16]


def twin(
    events: list[tuple[int, int, int]], t_s: int, session_from: int, context: tuple[int, ...]
) -> dict[str, object]:
    """The definition in plain Python: dictionaries, no arrays."""
    past = [e for e in events if e[1] <= t_s]
    n = len(past)
    total: dict[int, float] = dict.fromkeys(context, 1.0)
    session: dict[int, float] = dict.fromkeys(context, 1.0)
    long: dict[int, float] = dict.fromkeys(context, 1.0)
    in_session = len(total)
    for j, (what, at, action) in enumerate(reversed(past), start=1):
        if what not in total:
            if len(total) == 64:
                continue
            total[what] = session[what] = long[what] = 0.0
            in_session += at >= session_from
        rank = 1.0 if n == 1 else 2 ** (0.1 + 0.9 * (n - j) / (n - 1)) - 1
        base = float(ACTION_WEIGHT[action])
        value = base * rank * max(CONFIG.floor, 2 ** (-(t_s - at) / (CONFIG.half_life_h * 3600)))
        total[what] += value
        long[what] += base * 2 ** (-(t_s - at) / (CONFIG.long_half_life_d * 86400))
        if at >= session_from:
            session[what] += value
    order = list(total)
    categories: dict[int, tuple[float, float]] = {}
    brands: dict[int, tuple[float, float]] = {}
    prices: list[tuple[float, float]] = []
    for what in order:
        for tags, tag in ((categories, int(SHELVES.category[what])), (brands, int(SHELVES.brand[what]))):
            if tag >= 0:
                s, lo = tags.get(tag, (0.0, 0.0))
                tags[tag] = (s + session[what], lo + long[what])
        if total[what] > 0 and not math.isnan(SHELVES.log_price[what]):
            prices.append((total[what], float(SHELVES.log_price[what])))
    keep = [k for k, what in enumerate(order) if k < len(set(context)) or total[what] > 0]
    w = sum(p[0] for p in prices)
    mean = sum(p[0] * p[1] for p in prices) / w if prices else math.nan
    return {
        "seeds": [order[k] for k in keep],
        "weight": [max(total[order[k]], 1.0) if k < len(set(context)) else total[order[k]] for k in keep],
        "n_session": sum(k < in_session for k in keep),
        "categories": tag_shares(categories),
        "brands": tag_shares(brands),
        "price_mean": mean,
        "price_sd": math.sqrt(max(sum(p[0] * (p[1] - mean) ** 2 for p in prices) / w, 0.0)) if prices else math.nan,
    }


EVENTS = st.lists(
    st.tuples(
        st.integers(0, len(SHOP) - 1) | st.integers(0, 5),
        st.integers(T - 40 * 86_400, T + 500) | st.integers(T - 3_000, T),
        st.sampled_from([a for a, w in enumerate(ACTION_WEIGHT) if w != 0]),
    ),
    max_size=64,
).map(lambda events: sorted(events, key=lambda e: e[1]))


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.lists(st.integers(0, 5), max_size=3), st.integers(0, 4_000))
def test_the_kernel_equals_its_definition(events: list[tuple[int, int, int]], context: list[int], ago: int) -> None:
    start = T - ago
    got = read(events, running(T - 10, start, 9), tuple(context))
    want = twin(events, T, start, tuple(context))
    n = got.n_seeds
    assert got.seeds[:n].tolist() == want["seeds"]
    assert got.weight[:n] == pytest.approx(want["weight"], rel=1e-4, abs=1e-5)
    assert got.n_session == want["n_session"]
    assert got.session == 9
    assert got.n_context == len(set(context))
    for tags, short, long, wanted in (
        (got.categories, got.category_short, got.category_long, want["categories"]),
        (got.brands, got.brand_short, got.brand_long, want["brands"]),
    ):
        assert isinstance(wanted, list)
        by_tag = {int(t): (s, lo) for t, s, lo in zip(tags, short, long, strict=True) if t >= 0}
        assert len(by_tag) == len(wanted)
        strengths = [sum(by_tag[int(t)]) for t in tags if t >= 0]
        assert strengths == sorted(strengths, reverse=True)
        assert strengths == pytest.approx([s + lo for _, s, lo in wanted], rel=1e-3, abs=1e-5)
        if len(wanted) < 16:
            assert by_tag == {t: pytest.approx((s, lo), rel=1e-3, abs=1e-5) for t, s, lo in wanted}
    assert got.price_mean == pytest.approx(want["price_mean"], rel=1e-4, nan_ok=True)
    assert got.price_sd == pytest.approx(want["price_sd"], rel=1e-2, abs=1e-3, nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(EVENTS, EVENTS, st.integers(T - 4_000, T))
def test_events_after_the_query_change_nothing(
    past: list[tuple[int, int, int]], later: list[tuple[int, int, int]], t_s: int
) -> None:
    past = [e for e in past if e[1] <= t_s][-32:]
    later = [(what, t_s + 1 + k, action) for k, (what, _, action) in enumerate(later[:32])]
    with_later = read(past + later, running(t_s + 40, t_s - 10, 4), t_s=t_s)
    # the session state is of a later moment, so the session is the run of ring entries without a long pause
    start = previous = t_s
    for _, at, _ in reversed(past):
        if previous - at > GAP:
            break
        start = previous = at
    want = twin(past, t_s, start if past and t_s - past[-1][1] <= GAP else t_s + 1, ())
    assert with_later.seeds[: with_later.n_seeds].tolist() == want["seeds"]
    assert with_later.weight[: with_later.n_seeds] == pytest.approx(want["weight"], rel=1e-4, abs=1e-5)
    assert with_later.n_session == want["n_session"]
    assert with_later.n_events == len(past)
    assert with_later.session == -1


# ---------------------------------------------------------------- known answers


def test_seeds_are_distinct_and_newest_first() -> None:
    got = read([(0, T - 50, A["view"]), (1, T - 40, A["view"]), (0, T - 30, A["view"]), (2, T - 20, A["view"])])
    assert got.seeds[: got.n_seeds].tolist() == [2, 0, 1]
    assert got.age_s[: got.n_seeds].tolist() == [20, 30, 40]


def test_the_newest_plain_view_weighs_one() -> None:
    got = read([(0, T - 9, A["view"]), (1, T, A["view"])])
    assert got.weight[0] == pytest.approx(1.0)
    assert got.weight[1] == pytest.approx(2**0.1 - 1, rel=1e-3)


@pytest.mark.parametrize(
    ("actions", "stands"),
    [
        (["view"], "view"),
        (["view", "cart_add"], "cart_add"),
        (["cart_add", "view"], "cart_add"),
        (["cart_add", "cart_remove"], "view"),
        (["cart_add", "purchase"], "purchase"),
        (["purchase", "view"], "purchase"),
        (["purchase", "cart_add"], "cart_add"),
        (["purchase", "refund"], "view"),
        (["purchase", "cart_remove"], "purchase"),
        (["wishlist_add", "view"], "wishlist_add"),
    ],
)
def test_the_furthest_step_that_still_stands_is_told(actions: list[str], stands: str) -> None:
    looks = [(0, T - 200 + k, A["view"]) for k in range(20)]  # enough to stay a seed whatever is taken back
    events = [(0, T - 100 + k, A[name]) for k, name in enumerate(actions)]
    got = read([*looks, *events, (1, T, A["view"])])
    assert got.seeds[: got.n_seeds].tolist() == [1, 0]
    assert got.action[1] == A[stands]


def test_an_item_whose_interest_was_taken_back_is_no_seed() -> None:
    got = read([(0, T - 20, A["view"]), (1, T - 10, A["view"]), (0, T - 5, A["dislike"])])
    assert got.seeds[: got.n_seeds].tolist() == [1]
    assert got.hidden[: got.n_hidden].tolist() == [0]


def test_wishing_for_a_hidden_item_again_brings_it_back() -> None:
    got = read([(0, T - 20, A["hide"]), (1, T - 19, A["dislike"]), (0, T - 10, A["cart_add"])])
    assert got.hidden[: got.n_hidden].tolist() == [1]
    looked = read([(0, T - 20, A["hide"]), (0, T - 10, A["view"])])
    assert looked.hidden[: looked.n_hidden].tolist() == [0]


def test_without_personalization_only_the_querys_own_items_and_the_moment_are_read() -> None:
    got = read([(0, T - 5, A["view"]), (1, T - 4, A["hide"])], running(T, T, 3), (2, -1, 2), personalized=False)
    assert got.seeds[: got.n_seeds].tolist() == [2]
    assert (got.n_context, got.n_session, got.n_events, got.n_hidden, got.session, got.user) == (1, 1, 0, 0, -1, -1)
    assert (got.hour, got.device, got.region) == (20, 2, 3)
    assert not got.personalized


@pytest.mark.parametrize("user", [-1, 1, 99])
def test_a_user_without_a_ring_is_cold(user: int) -> None:
    reader = InterestReader(Ring([(0, T, 1)]), running(), SHELVES, CONFIG, GAP)
    got = reader.read(user, T)
    assert got.warmth == "cold"
    assert math.isnan(got.price_mean)
    assert (got.categories == -1).all()


def test_tags_of_equal_weight_stand_by_id() -> None:
    got = read([], context=(2, 5, 0))
    assert got.categories[:4].tolist() == [*sorted(int(SHELVES.category[k]) for k in (0, 2, 5)), -1]
    assert got.brands[:3].tolist() == [*sorted(int(SHELVES.brand[k]) for k in (0, 2)), -1]


def test_a_session_ends_after_the_gap() -> None:
    events = [(0, T - GAP - 5, A["view"])]
    assert read(events, running(T - GAP, T - GAP - 5, 7)).session == 7
    ended = read(events, running(T - GAP - 1, T - GAP - 5, 7))
    assert (ended.session, ended.n_session, ended.n_seeds) == (-1, 0, 1)


def test_the_view_names_what_is_believed() -> None:
    reader = InterestReader(
        Ring([(0, T - 9, 1), (2, T - 5, 1)], more_ever=90), running(T, T - 9, 1), SHELVES, CONFIG, GAP
    )
    view = reader.view(
        reader.read(0, T), SHELVES.items.name,
        user_id="u", anon_id=None, consent="granted", personalization=True, offset=5,
    )  # fmt: skip
    assert [one.name for one in view.items] == ["pot", "mug"]
    assert {one.name for one in view.categories} == {"Kitchen > Mugs", "Kitchen > Pots"}
    assert {one.name for one in view.brands} == {"Acme", "Bolt"}
    assert sum(one.short for one in view.brands) == pytest.approx(1.0)
    assert all(one.short > 0 for one in view.brands)  # the session's first event belongs to it
    assert view.price_level is not None
    assert 8.0 < view.price_level < 40.0
    assert (view.warmth, view.total_events, view.session_events) == ("hot", 92, 2)


# ---------------------------------------------------------------- affinity


def affinity_twin(interest: Interest, what: int) -> list[float]:
    leaf, top, brand = (int(column[what]) for column in (SHELVES.category, SHELVES.top_category, SHELVES.brand))
    short = long = brand_short = brand_long = 0.0
    for tag, s, lo in zip(interest.categories, interest.category_short, interest.category_long, strict=True):
        if tag >= 0 and leaf >= 0:
            near = 1.0 if tag == leaf else SIBLING if SHELVES.category_top[tag] == top else 0.0
            short, long = short + near * s, long + near * lo
    for tag, s, lo in zip(interest.brands, interest.brand_short, interest.brand_long, strict=True):
        if tag >= 0 and tag == brand:
            brand_short, brand_long = s, lo
    fit = 0.5
    if not math.isnan(interest.price_mean) and not math.isnan(SHELVES.log_price[what]):
        fit = math.exp(
            -0.5 * ((SHELVES.log_price[what] - interest.price_mean) / (interest.price_sd + PRICE_SD_FLOOR)) ** 2
        )
    last = int(SHELVES.category[interest.seeds[0]]) if interest.n_seeds else -1
    new = 0 <= interest.t_s - int(SHELVES.first_seen_s[what]) < NEW_S
    return [short, long, short - long, brand_short, brand_long, fit, float(leaf >= 0 and leaf == last), float(new)]


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_affinity_equals_its_definition(events: list[tuple[int, int, int]]) -> None:
    interest = read(events, running(T - 10, T - 900, 9))
    items = np.arange(len(SHOP), dtype=np.int32)
    out: F4 = np.full((len(SHOP), len(COLUMNS)), 7.0, np.float32)
    Affinity(SHELVES).read(interest, items, out)
    assert out == pytest.approx(np.array([affinity_twin(interest, i) for i in range(len(SHOP))]), abs=1e-5)


def test_an_item_is_new_for_a_week_from_when_it_is_published() -> None:
    day = 86_400
    shelves = stocked(
        [item("a", published_at=T0 - 6 * day * 1000), item("b", published_at=T0 - 8 * day * 1000), item("c")]
    )
    out: F4 = np.zeros((3, len(COLUMNS)), np.float32)
    for days, new in ((0, [1, 0, 0]), (2, [0, 0, 1]), (8, [0, 0, 0])):  # c is first seen two seconds after T
        reader = InterestReader(Ring([]), running(), shelves, CONFIG, GAP)
        Affinity(shelves).read(reader.read(-1, T + days * day), np.arange(3, dtype=np.int32), out)
        assert out[:, COLUMNS.index("is_new")].tolist() == new
