"""Limits against runaway: on the pure parts, and on slates of a real engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from endcap.config import Config, ExploreConfig, LimitsConfig, PlacementConfig
from endcap.engine import Engine
from endcap.errors import ConfigError
from endcap.runtime import Runtime, VirtualClock
from endcap.slate.limits import DAYS, lottery
from endcap.slate.newcomers import LOOK_BACK, MOST, Newcomers
from endcap.types import Impression, Interaction, Item, Query, Shown

START_MS = 1_760_000_000_000
N_ITEMS, N_SHOPPERS = 60, 40


def shop(directory: Path, **settings: object) -> Engine:
    """Items i0.. with falling popularity, seen by many."""
    placement = PlacementConfig(sources=["popular"], n=10, **settings)  # type: ignore[arg-type]  # a test's keywords
    engine = Engine.open(directory, Config(placements={"home": placement}), Runtime(VirtualClock(START_MS), seed=1))
    engine.put_items([
        Item(item_id=f"i{k}", categories=[[f"c{k % 7}"]], stock_qty=2 if k == 3 else None) for k in range(N_ITEMS)
    ])  # fmt: skip
    for shopper in range(N_SHOPPERS):
        engine.observe([
            Interaction(type="view", ts=START_MS + 61_000 * k, received_at=START_MS + 61_000 * k, user_id=f"u{shopper}",
                        item_id=f"i{k}")
            for k in range(1 + shopper * N_ITEMS // N_SHOPPERS)
        ])  # fmt: skip
    return engine


def ids(engine: Engine, user: str = "stranger", ts: int = START_MS + 7_200_000) -> list[str]:
    return [one.item_id for one in engine.recommend(Query(user_id=user, ts=ts)).items]


def test_an_item_that_is_shown_too_much_rests(tmp_path: Path) -> None:
    with shop(tmp_path, limits=LimitsConfig(item_share=0.2)) as engine:
        assert "i0" in ids(engine)
        engine.observe([
            Impression.of(event_id=f"imp:{k}", request_id=f"r{k}", ts=START_MS, user_id=f"u{k % 9}",
                          shown=(Shown("i0", 0), Shown(f"i{10 + k % 30}", 1)))
            for k in range(400)
        ])  # fmt: skip
        shown = ids(engine)
        assert "i0" not in shown
        assert len(shown) == 10


def test_the_shopper_gets_a_share_of_what_they_have_not_seen(tmp_path: Path) -> None:
    touched = {f"i{k}" for k in range(46)}
    with shop(tmp_path / "off") as engine:
        assert len(touched.intersection(ids(engine, "u30"))) == 10
    with shop(tmp_path / "on", limits=LimitsConfig(novel_share=0.2)) as engine:
        shown = ids(engine, "u30")
        assert len(touched.intersection(shown)) == 8
        assert len(shown) == 10


def test_the_head_gets_its_share_and_no_more(tmp_path: Path) -> None:
    with shop(tmp_path, limits=LimitsConfig(head_share=0.5)) as engine:
        engine.put_items([Item(item_id=f"late{k}") for k in range(200)])
        engine.observe([
            Interaction(type="view", ts=START_MS + 100 * k, received_at=START_MS + 100 * k, user_id=f"x{k}",
                        item_id=f"late{k}")
            for k in range(200)
        ])  # fmt: skip
        head = set(engine.state.items.names(engine.recommender.sources.popular.head(100).tolist()))
        shown = ids(engine)
        assert len(head.intersection(shown)) == 5
        assert len(shown) == 10


def test_scarce_stock_is_shared_out_by_lot(tmp_path: Path) -> None:
    """Every shopper has the same chance, sees the same all day, and another lot is drawn tomorrow."""
    n = 4_000
    keep = np.ones((3, n), np.uint8)
    items, stock = np.full(1, 7, np.int32), np.array([2.0])
    shown = np.array([200.0 * DAYS], np.float32)  # 200 impressions a day for 2 pieces that are good for 50 each
    for row, day in enumerate((100, 100, 101)):
        for shopper in range(n):
            lottery(items, stock, shown, 50.0, shopper, day, keep[row, shopper : shopper + 1])
    assert (keep[0] == keep[1]).all()
    assert (keep[0] != keep[2]).any()
    assert abs(keep[0].mean() - 0.5) < 0.04
    assert abs((keep[0] & keep[2]).mean() - 0.25) < 0.04
    with shop(tmp_path, limits=LimitsConfig(impressions_per_unit=1)) as engine:
        engine.observe([
            Impression.of(event_id=f"imp:{k}", request_id=f"r{k}", ts=START_MS, user_id=f"u{k % 9}",
                          shown=(Shown("i3", 0),))
            for k in range(400)
        ])  # fmt: skip
        lucky = sum("i3" in ids(engine, f"u{k}") for k in range(5, N_SHOPPERS))
        assert 0 < lucky < N_SHOPPERS - 5


def test_an_item_without_a_stock_number_is_not_scarce() -> None:
    keep = np.ones(1, np.uint8)
    lottery(np.zeros(1, np.int32), np.array([np.nan]), np.array([1e9], np.float32), 1.0, 1, 1, keep)
    assert keep[0] == 1


def test_newcomers_leave_when_they_had_their_chance_and_older_ones_follow() -> None:
    counts = np.zeros(10_000, np.float32)
    newcomers = Newcomers(lambda items: counts[items])
    first = newcomers.listed(50, 0, 10_000)
    assert first.tolist() == list(range(9_999, 9_999 - MOST, -1))
    counts[first] = 50.0
    assert newcomers.listed(50, 10, 10_000).tolist() == first.tolist(), "not read anew at every event"
    second = newcomers.listed(50, 300, 10_000)
    assert second.max() == first.min() - 1
    counts[:] = 50.0
    assert newcomers.listed(50, 600, 10_000).shape[0] == 0
    counts[: 10_000 - LOOK_BACK] = 0.0
    assert newcomers.listed(50, 900, 10_000).shape[0] == 0, "what is not among the last is not new"


def test_newcomers_of_a_liked_category_go_first() -> None:
    newcomers = Newcomers(lambda items: np.zeros(items.shape[0], np.float32))
    items, category = np.arange(6, dtype=np.int32), np.array([0, 1, 0, 1, 2, 1], np.int32)
    allowed = np.array([1, 1, 1, 0, 1, 1], np.uint8)
    assert newcomers.pool(items, allowed, category, np.array([1, -1], np.int32)).tolist() == [1, 5]
    assert newcomers.pool(items, allowed, category, np.array([-1, -1], np.int32)).tolist() == [0, 1, 2, 4, 5]
    assert newcomers.pool(items, allowed, category, np.array([9], np.int32)).tolist() == [0, 1, 2, 4, 5]


def test_a_new_item_gets_its_chance_and_no_more(tmp_path: Path) -> None:
    explore = ExploreConfig(share=0.2, new_items=20)
    with shop(tmp_path, explore=explore) as engine:
        engine.put_items([Item(item_id="fresh", categories=[["c1"]])])
        chances = 0
        for k in range(900):
            slate = engine.serve(Query(user_id=f"v{k}", ts=START_MS + 7_200_000 + k * 1_000))
            chances += any(one.item_id == "fresh" and one.rank == -1 for one in slate.items)
            assert slate.items[0].rank is None, "the first place is protected"
        assert 5 < chances <= 20 + 256 // 10, "at most its bound, and what was shown before that was noticed"


@pytest.mark.parametrize(
    ("limits", "words"), [({"head_share": 1.5}, "head_share 1.5"), ({"novel_share": -1.0}, "-1.0")]
)
def test_limits_that_cannot_be_are_refused(tmp_path: Path, limits: dict[str, float], words: str) -> None:
    placement = PlacementConfig(sources=["popular"], limits=LimitsConfig(**limits))
    with pytest.raises(ConfigError, match=words):
        Engine.open(tmp_path, Config(placements={"home": placement}))
