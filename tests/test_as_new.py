"""Rows of items taken for new: equal to those of items that are, repeatable, without a trace, of use to the trees."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from endcap.config import Config, PlacementConfig
from endcap.engine import Engine
from endcap.learning.as_new import GROUPS, AsNew
from endcap.learning.boosting import Boosting
from endcap.learning.examples import Examples, Table
from endcap.learning.trainer import RankerTrainer
from endcap.learning.vectors import refit_vectors
from endcap.models.factors import Factors, FactorsSource
from endcap.runtime import Runtime, VirtualClock
from endcap.sources import SOURCES
from endcap.stores.memory import MemoryLog
from endcap.types import F4, U1, Event, Interaction, Item, ItemChange, Query

START_MS = 1_760_000_000_000
HOUR_MS = 3_600_000
KINDS = ("lantern", "kettle", "scarf", "spade", "mirror", "basket")
COLOURS = ("red", "blue", "green", "amber", "ivory", "violet", "teal", "rose")
N, USERS = 240, 60
BY_RANK = ("n_sources", "best_rank", "rank_fusion")  # a place among the others
HIDDEN = 31  # number of the item that becomes new
CONFIG = Config(placements={"home": PlacementConfig(sources=list(SOURCES), diversity=0.0, seen="keep")})


def kind(k: int) -> int:
    return k % len(KINDS)


def listing(k: int, ts: int) -> ItemChange:
    title = f"{COLOURS[k // len(KINDS) % len(COLOURS)]} {KINDS[kind(k)]} number {k}"
    record = Item(item_id=f"i{k}", title=title, categories=[["home", KINDS[kind(k)]]], brand=f"b{k % 5}", price=1.0 + k)
    return ItemChange(event_id=f"l{k}", item_id=f"i{k}", ts=ts, received_at=ts, item=record)


def visits(n: int, seed: int = 5, begin_ms: int = START_MS + HOUR_MS) -> list[Interaction]:
    """Shoppers who want one kind in one colour at a time."""
    choose, found, ts = random.Random(seed), list[Interaction](), begin_ms
    for _ in range(n):
        ts += choose.randint(600_000, 3_000_000)
        user, wanted = f"u{choose.randint(0, USERS - 1)}", choose.randrange(len(KINDS) * len(COLOURS))
        for step in range(choose.randint(2, 4)):
            k = wanted + 48 * choose.randrange(N // 48)
            at = ts + 20_000 * step
            name = f"v{begin_ms}-{len(found)}"
            found.append(Interaction(event_id=name, type="view", user_id=user, item_id=f"i{k}", ts=at, received_at=at))
    return found


def engine_of(events: list[Event]) -> Engine:
    """An engine that knows these events."""
    clock = VirtualClock(START_MS)
    engine = Engine(MemoryLog(), CONFIG, Runtime(clock, seed=1))
    if events:
        clock.ts = events[-1].ts
        engine.replay(events)
    return engine


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return [*(listing(k, START_MS) for k in range(N)), *visits(400)]


@pytest.fixture
def engine(events: list[Event]) -> Iterator[Engine]:
    with engine_of(events) as engine:
        refit_vectors(engine, ("factors", "content"))
        yield engine


def without(factors: Factors, item_id: str) -> Factors:
    """The same factors, had they never seen an item."""
    keep = [k for k, name in enumerate(factors.item_ids) if name != item_id]
    return replace(factors, item_ids=[factors.item_ids[k] for k in keep], vectors=factors.vectors[keep])


def asked_by_strangers_to(engine: Engine, item_id: str) -> list[Query]:
    """A question of every shopper who has not touched an item, but has touched one of its kind."""
    at = engine.state.items.get(item_id)
    found = []
    for u in range(USERS):
        query = Query(user_id=f"u{u}", placement="home", ts=engine.runtime.now())
        interest = engine.recommender.understand(query, query.ts).interest
        seeds = interest.seeds[: interest.n_seeds].tolist()
        if at not in seeds and any(kind(s) == kind(at) for s in seeds):
            found.append(query)
    return found


def mask(engine: Engine, *item_ids: str) -> U1:
    new: U1 = np.zeros(len(engine.state.items), np.uint8)
    new[[engine.state.items.get(item_id) for item_id in item_ids]] = 1
    return new


def rows_by_name(engine: Engine, query: Query, new: U1 | None) -> dict[str, F4]:
    recommender = engine.recommender
    ask = recommender.understand(query, query.ts)
    if new is None:
        recommender.retrieve(ask)
        recommender.begin_guard(ask)
        items, rows = recommender.features(ask)
    else:
        items, rows = AsNew(recommender).features(ask, new)
    return {engine.state.items.name(int(item)): row.copy() for item, row in zip(items, rows, strict=True)}


def test_a_row_taken_for_new_is_the_row_of_a_new_item(engine: Engine, events: list[Event]) -> None:
    """Against an engine whose log never held an event of the item, in every column."""
    name = f"i{HIDDEN}"
    really = [one for one in events if not isinstance(one, Interaction) or one.item_id != name]
    touched = engine.state.counters.overall[engine.state.items.get(name)]
    assert np.isfinite(touched)
    with engine_of(really) as fresh:
        fresh.runtime.clock.ts = engine.runtime.now()  # type: ignore[attr-defined]  # it is virtual
        model, content = engine.recommender.sources.factors.factors, engine.recommender.sources.content.model
        assert model is not None
        assert content is not None
        fresh.use_model("factors", without(model, name))
        fresh.use_model("content", content)
        compared = 0
        for query in asked_by_strangers_to(engine, name):
            seen, true = rows_by_name(engine, query, mask(engine, name)), rows_by_name(fresh, query, None)
            assert (name in seen) == (name in true)
            if name in seen:
                wrong = np.flatnonzero(~np.isclose(seen[name], true[name], rtol=1e-5, atol=1e-6))
                assert not wrong.size, [(engine.columns[c], seen[name][c], true[name][c]) for c in wrong]
                compared += 1
        assert compared >= 5


def test_rows_of_the_other_items_stay_true(engine: Engine) -> None:
    name = f"i{HIDDEN}"
    read = [
        (rows_by_name(engine, query, mask(engine, name)), rows_by_name(engine, query, None))
        for query in asked_by_strangers_to(engine, name)
    ]
    own = [c for c, column in enumerate(engine.columns) if ":" not in column and column not in BY_RANK]
    assert all(len(beside) > 20 for beside, _ in read)
    for beside, true in read:
        for other in (set(beside) & set(true)) - {name}:
            assert (beside[other][own] == true[other][own]).all()
    assert any((true[name] != beside[name]).any() for beside, true in read if name in beside)


def spoil(source: FactorsSource) -> None:
    """Fail while all items are taken for new."""
    unit = source.vectors.unit.copy()
    with source.as_new(np.arange(N, dtype=np.int32)):
        raise ZeroDivisionError if (source.vectors.unit != unit).any() else AssertionError


def test_nothing_is_left_behind(engine: Engine) -> None:
    factors = engine.recommender.sources.factors.vectors
    before, unit, scale = engine.state.hash(), factors.unit.copy(), factors.scale.copy()
    query = asked_by_strangers_to(engine, f"i{HIDDEN}")[0]
    slate = engine.recommend(query)
    reader = AsNew(engine.recommender)
    for turn in range(GROUPS):
        ask = engine.recommender.understand(query, query.ts)
        reader.features(ask, reader.drawn(ask.interest, turn))
    with pytest.raises(ZeroDivisionError):
        spoil(engine.recommender.sources.factors)
    assert engine.state.hash() == before
    assert (factors.unit == unit).all()
    assert (factors.scale == scale).all()
    assert [one.item_id for one in engine.recommend(query).items] == [one.item_id for one in slate.items]


def test_every_item_has_its_turn_but_those_the_shopper_touched(engine: Engine) -> None:
    query = Query(user_id="u3", placement="home", items=["i7"], ts=engine.runtime.now())
    interest = engine.recommender.understand(query, query.ts).interest
    reader = AsNew(engine.recommender)
    turns = np.stack([reader.drawn(interest, turn) for turn in range(GROUPS)])
    mine = set(interest.seeds[: interest.n_seeds].tolist())
    assert len(mine) > 3
    assert engine.state.items.get("i7") in mine
    assert [k for k in range(len(engine.state.items)) if turns[:, k].sum() == 0] == sorted(mine)
    assert turns.sum(axis=0).max() == 1
    assert (turns.sum(axis=1) > N // GROUPS // 2).all()
    assert (reader.drawn(interest, GROUPS + 1) == turns[1]).all()


def taught(events: list[Event], lessons: list[Interaction], *into: Examples | RankerTrainer) -> Engine:
    """An engine that was asked right before each of ``lessons``, and then learned it."""
    engine = engine_of(events)
    refit_vectors(engine, ("factors", "content"))
    for one in lessons:
        engine.runtime.clock.ts = one.ts  # type: ignore[attr-defined]  # it is virtual
        query = Query(user_id=one.user_id, placement="home", ts=one.ts)
        for each in into:
            if isinstance(each, Examples):
                each.take(engine.recommender, query, one.ts, [[one.item_id or ""]])
            else:
                each.on_query(engine.recommender, query, one.ts, [one.item_id or ""])
        engine.replay([one])
    return engine


def examples(again: int) -> Examples:
    return Examples(("answer",), negatives=10_000, most=10_000, again=again)


def equal(a: Table, b: Table) -> bool:
    return a.rows.shape == b.rows.shape and bool((a.rows == b.rows).all() and (a.labels == b.labels).all())


def test_examples_are_repeatable_and_the_true_ones_stay_what_they_were(events: list[Event]) -> None:
    lessons = visits(60, seed=9, begin_ms=events[-1].ts)
    plain, one, same = examples(0), examples(3), examples(3)
    with taught(events, lessons, plain, one), taught(events, lessons, same):
        assert equal(one.table(), same.table())
        assert len(plain) == len(one)
        assert 0 < len(one.as_new) <= len(plain) // 3
        held = {example.rows.tobytes() for example in one.kept()}
        assert all(example.rows.tobytes() in held for example in plain.kept())


# ---------------------------------------------------------------- what it is good for

WORDS = (
    "saturn", "willow", "copper", "harbor", "falcon", "meadow", "velvet", "granite",
    "cobalt", "juniper", "ember", "lagoon", "orchid", "tundra", "walnut", "zephyr",
)  # fmt: skip
PARTS = ("lamp", "shade", "cord", "stand", "bulb")  # of each set; the last comes later
OLD = len(WORDS) * (len(PARTS) - 1)
LOVED = (0, 17, 34, 51)


def part(k: int, ts: int) -> ItemChange:
    record = Item(item_id=f"i{k}", title=f"{WORDS[k % len(WORDS)]} {PARTS[k // len(WORDS)]}")
    return ItemChange(event_id=f"l{k}", item_id=f"i{k}", ts=ts, received_at=ts, item=record)


def set_buyers(n: int, seed: int, begin_ms: int) -> list[Interaction]:
    """Visits to the parts of one set, so many that behaviour tells all of them, and to what everybody looks at."""
    choose, found, ts = random.Random(seed), list[Interaction](), begin_ms
    for _ in range(n):
        ts += choose.randint(600_000, 3_000_000)
        user, word = f"u{choose.randint(0, USERS - 1)}", choose.randrange(len(WORDS))
        for step in range(3):
            k = word + len(WORDS) * choose.randrange(len(PARTS) - 1)
            found.append(look(choose.choice(LOVED) if choose.random() < 0.3 else k, user, ts + 20_000 * step))
    return found


def look(k: int, user: str, ts: int) -> Interaction:
    return Interaction(event_id=f"{user}-{ts}", type="view", user_id=user, item_id=f"i{k}", ts=ts, received_at=ts)


def test_new_items_are_found_by_trees_that_saw_such_rows_and_not_by_others() -> None:
    """Words say what belongs to a set as well as behaviour does, so trees that saw touched items alone look at that."""
    visits = set_buyers(300, 5, START_MS + HOUR_MS)
    lessons = set_buyers(150, 9, visits[-1].ts)
    how = Boosting(trees=40)
    with_them, without_them = RankerTrainer(how), RankerTrainer(how)
    without_them.examples = Examples(("answer",), seed=how.seed)
    listed = [part(k, START_MS) for k in range(OLD)]
    with taught([*listed, *visits], lessons, with_them, without_them) as engine:
        now = lessons[-1].ts + HOUR_MS
        engine.runtime.clock.ts = now  # type: ignore[attr-defined]  # it is virtual
        engine.replay([part(OLD + word, now) for word in range(len(WORDS))])
        queries = []
        for u in range(USERS):
            k = u * 7 % OLD
            engine.replay([look(k, f"u{u}", now)])
            queries.append((Query(user_id=f"u{u}", placement="home", n=20, ts=now), f"i{OLD + k % len(WORDS)}"))
        found = []
        for trainer in (with_them, without_them):
            engine.recommender.use_ranker(trainer.fit())
            slates = [([one.item_id for one in engine.recommend(query).items], right) for query, right in queries]
            found.append(sum(right in names for names, right in slates) / len(slates))
    assert found[0] > 0.7, found
    assert found[1] < 0.1, found
