"""News: the newest first by taste, fading by the hour, and nothing before its time or after it on any rung."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endcap.batches import EventBatch, Outcomes
from endcap.config import Config, LogConfig, Rule, load_config
from endcap.engine import Engine
from endcap.feedback.attribution import OpenSlates
from endcap.feedback.impressions import impression_of
from endcap.models.fresh import PUBLISHER, READ, TOPIC
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import Interaction, Item, ItemChange, Query, Slate

NOW = 1_760_000_000_000
HOUR = 3_600_000
CONFIG = msgspec.structs.replace(load_config(preset="news", environ={})[0], log=LogConfig(durability="os"))
HALF_LIFE_H = CONFIG.catalogue.fresh_half_life_h


def article(name: str, age_h: float, topic: str = "world", publisher: str | None = None, **more: Any) -> Item:
    return Item(
        item_id=name, title=f"Report {name}", categories=[[topic]], brand=publisher,
        published_at=NOW - int(age_h * HOUR), **more,
    )  # fmt: skip


def put(engine: Engine, *items: Item) -> None:
    changes = [
        ItemChange(event_id=f"{item.item_id}:{engine.offset}", item_id=item.item_id, ts=NOW, received_at=NOW, item=item)
        for item in items
    ]
    engine.replay(changes)


def read(engine: Engine, user: str, *items: str, at: int = NOW - HOUR, value: float | None = None) -> None:
    engine.replay(
        [
            Interaction(
                type="view" if value is None else "consume", event_id=f"{user}{item}{k}{engine.offset}", value=value,
                ts=at + 60_000 * k, received_at=at + 60_000 * k, user_id=user, item_id=item,
            )
            for k, item in enumerate(items)
        ]
    )  # fmt: skip


def made(config: Config = CONFIG) -> Engine:
    return Engine(MemoryLog(), config, Runtime(VirtualClock(NOW), seed=1))


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = made()
    yield engine
    engine.close()


def asked(engine: Engine, placement: str, user: str | None = "reader", t: int = NOW, **more: Any) -> Slate:
    return engine.recommend(Query(user_id=user, placement=placement, ts=t, n=more.pop("n", 10), **more))


def names(slate: Slate) -> list[str]:
    return [one.item_id for one in slate.items]


def fresh_scores(
    engine: Engine, *, before: tuple[str, ...] = (), user: str = "reader", n: int = 50
) -> dict[str, float]:
    reader = engine.recommender
    ask = reader.understand(Query(user_id="reader", placement="latest"), NOW)
    into = reader.candidates
    into.begin(len(engine.state.items))
    reader.sources.by_name["fresh"].retrieve(ask.interest, into, into.sources.index("fresh"), n)
    column = into.sources.index("fresh")
    return {engine.state.items.name(int(into.items[r])): float(into.score[r, column]) for r in range(len(into))}


# ---------------------------------------------------------------- the source


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    ages=st.lists(st.sampled_from([-2.0, 0.0, 1.0, 8.0, 30.0]), min_size=1, max_size=12),
    topics=st.lists(st.sampled_from(["world", "sport"]), min_size=12, max_size=12),
    read_first=st.booleans(),
)
def test_scores_equal_the_formula(ages: list[float], topics: list[str], read_first: bool) -> None:
    engine = made()
    put(engine, *(article(f"a{k}", age, topics[k], "Post") for k, age in enumerate(ages)), article("old", 999, "sport"))
    if read_first:
        read(engine, "reader", "old")
    got = fresh_scores(engine)
    taste = {"sport": 1.0 if read_first else 0.0, "world": 0.0}
    expected = {
        f"a{k}": 2 ** (-age / HALF_LIFE_H) * (1 + TOPIC * taste[topics[k]]) / (1 + TOPIC + PUBLISHER)
        for k, age in enumerate(ages)
        if age >= 0
    }
    got.pop("old", None)
    assert got == pytest.approx(expected, rel=1e-3, abs=1e-30)
    engine.close()


def test_the_newest_compete_and_no_more(engine: Engine) -> None:
    put(engine, *(article(f"a{k}", 1 + k / 100) for k in range(READ + 5)))
    assert set(fresh_scores(engine, n=5)) == {"a0", "a1", "a2", "a3", "a4"}
    assert len(fresh_scores(engine, n=1000)) == READ


def test_embargoed_articles_crowd_nothing_out(engine: Engine) -> None:
    put(engine, *(article(f"later{k}", -1 - k) for k in range(READ + 50)), article("now", 2))
    assert set(fresh_scores(engine)) == {"now"}


def test_an_item_without_a_date_counts_from_when_it_was_first_seen(engine: Engine) -> None:
    put(engine, Item(item_id="undated", title="x"))
    assert fresh_scores(engine)["undated"] == pytest.approx(1 / (1 + TOPIC + PUBLISHER), rel=1e-3)


def test_a_restart_gives_the_same_answers(tmp_path: Path) -> None:
    first = Engine.open(tmp_path, CONFIG, Runtime(VirtualClock(NOW), seed=1))
    first.put_items([article(f"a{k}", k / 3, "sport" if k % 3 else "world") for k in range(60)])
    first.delete_items(["a0"])
    first.observe([Interaction(type="view", user_id="reader", item_id="a5", ts=NOW - HOUR)])
    before = [asked(first, name) for name in CONFIG.placements]
    first.close()
    second = Engine.open(tmp_path, CONFIG, Runtime(VirtualClock(NOW), seed=1))
    after = [asked(second, name) for name in CONFIG.placements]
    assert [[(one.item_id, one.score) for one in slate.items] for slate in before] == [
        [(one.item_id, one.score) for one in slate.items] for slate in after
    ]
    assert "a0" not in {name for slate in after for name in names(slate)}
    second.close()


# ---------------------------------------------------------------- the preset


def test_an_article_that_nobody_has_touched_leads_for_whom_its_topic_is_read(engine: Engine) -> None:
    put(engine, *(article(f"w{k}", 1, "world") for k in range(8)), article("s-read", 5, "sport"))
    put(engine, article("s-new", 1, "sport"), article("s-old", 100, "sport"))
    read(engine, "reader", "s-read")
    shown = names(asked(engine, "home"))
    assert shown[0] == "s-new"
    assert "s-read" not in shown  # read already
    assert "s-old" not in shown[:5]


def test_yesterdays_favourite_makes_room_for_this_hours_news(engine: Engine) -> None:
    put(engine, article("yesterday", 30), *(article(f"new{k}", 0.5, f"t{k}") for k in range(3)))
    for k in range(40):
        read(engine, f"u{k}", "yesterday", at=NOW - 26 * HOUR)
    assert names(asked(engine, "home", user="somebody"))[-1] == "yesterday"


def test_a_slate_holds_few_articles_of_one_topic_where_there_are_others(engine: Engine) -> None:
    put(
        engine,
        *(article(f"a{k}", 0.1, "war") for k in range(30)),
        *(article(f"b{k}", 3, f"t{k % 4}") for k in range(20)),
    )
    shown = names(asked(engine, "home", n=9))
    assert len(shown) == 9
    assert sum(name.startswith("a") for name in shown) <= CONFIG.placements["home"].category_cap


moments = st.sampled_from([None, -48.0, -1.0, -0.001, 0.0, 0.001, 1.0, 48.0])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    spans=st.lists(st.tuples(moments, moments), min_size=1, max_size=10),
    readers=st.lists(st.tuples(st.sampled_from(["reader", "other"]), st.integers(0, 9)), max_size=12),
    shift_h=st.sampled_from([-2.0, 0.0, 2.0]),
)
def test_nothing_is_shown_before_its_time_or_after_it_on_any_rung(
    spans: list[tuple[float | None, float | None]], readers: list[tuple[str, int]], shift_h: float
) -> None:
    """Sources, pins, the popular and the static list, the last resort: all are checked at the query's own time."""
    ids = [f"a{k}" for k in range(len(spans))]
    config = msgspec.structs.replace(CONFIG, static_items=ids, rules=[Rule(name="pinned", action="pin", items=ids[:2])])
    engine, t = made(config), NOW + int(shift_h * HOUR)

    def at(h: float | None) -> int | None:
        return None if h is None else NOW + int(h * HOUR)

    put(
        engine,
        *(
            Item(item_id=name, title=name, categories=[["x"]], published_at=at(begin), expires_at=at(end))
            for name, (begin, end) in zip(ids, spans, strict=True)
        ),
    )
    for user, k in readers:
        if k < len(ids):
            read(engine, user, ids[k], at=NOW - 3 * HOUR)
    due = {
        name
        for name, (begin, end) in zip(ids, spans, strict=True)
        if (begin is None or (at(begin) or 0) <= t) and (end is None or t < (at(end) or 0))
    }
    for placement in config.placements:
        for user in ("reader", "nobody", None):
            slate = asked(engine, placement, user, t, items=[ids[0]] if placement == "similar" else [])
            assert set(names(slate)) <= due, placement
    assert set(names(asked(engine, "home", "nobody", t))) == due  # the ladder finds everything that may be shown
    engine.close()


def test_read_time_pays_by_the_share_that_was_read(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One article of a slate is read to the end, one is left at once: what attribution credits says so."""
    put(engine, article("long", 1, "a"), article("short", 1, "b"))
    slate = engine.recommend(Query(user_id="r", placement="home", ts=NOW, n=2), "logged")
    engine.replay([impression_of(Query(user_id="r", placement="home", ts=NOW), slate)])
    credited: list[float] = []
    fold = OpenSlates.fold

    def watched(slates: OpenSlates, batch: EventBatch) -> Outcomes | None:
        outcomes = fold(slates, batch)
        credited.extend(outcomes.reward[outcomes.place >= 0].tolist() if outcomes is not None else [])
        return outcomes

    monkeypatch.setattr(OpenSlates, "fold", watched)
    for item, share in (("long", 1.0), ("short", 0.05)):
        engine.replay(
            [
                Interaction(
                    type="consume", event_id=item, ts=NOW + 60_000, received_at=NOW + 60_000, user_id="r", item_id=item,
                    value=share, request_id=slate.request_id, placement="home",
                )
            ]
        )  # fmt: skip
    assert credited == pytest.approx([4.0, 0.2])
