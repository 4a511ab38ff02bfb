"""Weighted and switching hybrids: a placement's own weights, and its own sources by how much is known of a shopper."""

from __future__ import annotations

from typing import Any

import pytest

from endcap.config import Config, PlacementConfig
from endcap.engine import Engine
from endcap.errors import ConfigError, InvalidInput
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import Query, Slate
from test_models import records
from test_train import shop


def slate_of(query: Query, **placement: Any) -> Slate:
    config = Config(placements={"home": PlacementConfig(sources=["covisit", "popular"], n=12, **placement)})
    events = [stored.event for stored in shop(150).read(0, 100_000)]
    with Engine(MemoryLog(), config, Runtime(VirtualClock(max(one.ts for one in events)), seed=1)) as engine:
        engine.put_items(records(10))
        engine.replay(events)
        return engine.recommend(query)


def terms(slate: Slate) -> set[str]:
    return {name for placed in slate.items for name in placed.trace or {}}


KNOWN, STRANGER = Query(user_id="u1", explain=True), Query(anon_id="nobody", explain=True)


def test_weights_decide_what_counts_and_zero_leaves_out() -> None:
    usual = slate_of(KNOWN, ranker="linear")
    assert "src:covisit" in terms(usual)
    without = slate_of(KNOWN, ranker="linear", weights={"src:covisit": 0.0})
    assert "src:covisit" not in terms(without)
    strong = slate_of(KNOWN, ranker="linear", weights={"src:covisit": 100.0})
    for placed in strong.items:
        if "src:covisit" in (placed.trace or {}):
            assert max(placed.trace or {}, key=(placed.trace or {}).__getitem__) == "src:covisit"


def test_sources_switch_by_what_is_known_of_the_shopper() -> None:
    switch = {"cold": ["popular"], "hot": ["user_knn"]}
    cold, hot = slate_of(STRANGER, switch=switch), slate_of(KNOWN, switch=switch)
    assert (cold.warmth, hot.warmth) == ("cold", "hot")
    for slate, source in ((cold, "popular"), (hot, "user_knn")):
        assert slate.explanation is not None
        proposed = slate.explanation["per_source"]
        assert proposed[source] > 0
        assert proposed["covisit"] == 0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'src:covisit'"):
        slate_of(KNOWN, ranker="linear", weights={"src:covist": 1.0})
    with pytest.raises(ConfigError, match="only the linear ranker"):
        slate_of(KNOWN, weights={"src:covisit": 1.0})
    with pytest.raises(InvalidInput, match="does not exist"):
        slate_of(KNOWN, switch={"cold": ["populer"]})
