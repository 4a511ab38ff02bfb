"""The bundled shop: what the loader promises about items, events and time."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from endcap.data.online_retail import NEWEST_MS, WEEK_MS, count_events, load_events, load_items, taxonomy
from endcap.data.online_retail.titles import product_title

NOW = int(datetime(2026, 3, 12, 15, 30, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("raw", "printed"),
    [
        ("SET/6 RED SPOTTY PAPER CUPS", "Set of 6 Red Spotty Paper Cups"),
        ("WHITE HANGING HEART T-LIGHT HOLDER", "White Hanging Heart T-Light Holder"),
        ("SILVER/M.O.P PENDANT ORBIT NECKLACE", "Silver/Mother of Pearl Pendant Orbit Necklace"),
        ("PAPER CHAIN KIT 50'S CHRISTMAS ", "Paper Chain Kit 50's Christmas"),
        ("RETROSPOT TEA SET CERAMIC 11 PC ", "Retrospot Tea Set Ceramic 11 Piece"),
        ("LUNCH BAG  BLACK SKULL.", "Lunch Bag Black Skull"),
        ("SET 3 RETROSPOT TEA,COFFEE,SUGAR", "Set of 3 Retrospot Tea, Coffee, Sugar"),
        ("GIN + TONIC DIET METAL SIGN", "Gin + Tonic Diet Metal Sign"),
        ("RED TOADSTOOL LED NIGHT LIGHT", "Red Toadstool LED Night Light"),
    ],
)
def test_a_warehouse_line_becomes_a_title(raw: str, printed: str) -> None:
    assert product_title(raw) == printed


@pytest.mark.parametrize(
    ("title", "leaf"),
    [
        ("Lunch Bag Red Retrospot", "Lunch Bags and Boxes"),
        ("Jumbo Bag Red Retrospot", "Shopping Bags"),
        ("White Hanging Heart T-Light Holder", "Candle Holders"),
        ("Alarm Clock Bakelike Red", "Clocks"),
        ("Regency Cakestand 3 Tier", "Baking"),
        ("Wooden Heart Christmas Scandinavian", "Christmas"),
        ("Green Regency Teacup and Saucer", "Mugs and Cups"),
        ("Doormat Union Flag", "Doormats and Doorstops"),
        ("Party Metal Sign", "Signs and Wall Art"),
    ],
)
def test_the_first_matching_keyword_names_the_category(title: str, leaf: str) -> None:
    path = taxonomy.CATEGORY.first(title)
    assert path is not None
    assert path[1] == leaf


def test_a_keyword_matches_whole_words_and_their_plural_only() -> None:
    words = taxonomy.Keywords([("yes", "pen, cherry, t-light holder")])
    assert [words.first(text) for text in ("Pens", "Cherries", "T-Light Holders", "T Light Holder")] == [
        *["yes"] * 3,
        None,
    ]
    assert words.first("Happening") is None


def test_nearly_every_product_gets_a_two_level_category() -> None:
    items = load_items()
    with_category = [item for item in items if item.categories]
    assert len(with_category) > 0.98 * len(items)
    assert all(len(item.categories[0]) == 2 for item in with_category)
    assert 40 <= len({item.categories[0][1] for item in with_category}) <= 60


def test_items_are_unique_priced_and_named() -> None:
    items = load_items()
    assert len(items) == len({item.item_id for item in items})
    assert all(item.price and item.price > 0 and item.currency == "GBP" and item.title for item in items)
    bag = next(item for item in items if item.item_id == "85099B")
    assert (bag.title, bag.color, bag.pattern, bag.brand) == (
        "Jumbo Bag Red Retrospot",
        "red",
        "polka dot",
        "Retrospot",
    )
    assert bag.group_id == "85099"


def test_a_product_is_published_when_it_first_appears_in_the_log() -> None:
    published = {item.item_id: item.published_at for item in load_items()}
    first: dict[str, int] = {}
    for chunk in load_events():
        for event in chunk:
            first.setdefault(str(event.item_id), event.ts)
    assert published == first
    shifted = {item.item_id: item.published_at for item in load_items(shift_to=NOW)}
    assert {(shifted[item_id] or 0) - (at or 0) for item_id, at in published.items()} == {shifted_by(NOW)}


def shifted_by(now: int) -> int:
    return next(iter(load_events(shift_to=now, newest=1)))[0].ts - NEWEST_MS


def test_every_event_is_about_a_product_and_about_somebody() -> None:
    known = {item.item_id for item in load_items()}
    kinds: Counter[str] = Counter()
    ids: set[str] = set()
    last = 0
    for chunk in load_events():
        for event in chunk:
            kinds[event.type] += 1
            ids.add(event.event_id)
            assert event.item_id in known
            assert (event.user_id is None) != (event.anon_id is None)
            assert event.quantity > 0
            assert event.received_at == event.ts >= last
            last = event.ts
    assert sum(kinds.values()) == len(ids) == count_events() > 300_000
    assert set(kinds) == {"purchase", "refund"}
    assert kinds["refund"] > 5_000


def test_shifting_moves_the_newest_event_into_the_last_week_and_keeps_weekday_and_hour() -> None:
    plain = next(iter(load_events(newest=1)))[0].ts
    assert plain == NEWEST_MS
    moved = next(iter(load_events(shift_to=NOW, newest=1)))[0].ts
    assert (moved - plain) % WEEK_MS == 0
    assert 0 <= NOW - moved < WEEK_MS
    before, after = (datetime.fromtimestamp(ts / 1000, UTC) for ts in (plain, moved))
    assert (before.weekday(), before.hour, before.minute) == (after.weekday(), after.hour, after.minute)


def test_a_slice_is_the_newest_part() -> None:
    part = [event for chunk in load_events(newest=700) for event in chunk]
    assert len(part) == 700
    assert part[-1].event_id == f"online-retail:{count_events() - 1}"


def test_the_sample_is_what_the_tool_makes_of_the_source() -> None:
    source = Path(os.environ.get("ENDCAP_DATA", "../shared/data")) / "online_retail" / "events.parquet"
    if not source.exists():
        pytest.skip(f"needs the full extract at {source}; set ENDCAP_DATA to the folder that holds online_retail/")
    full = pl.read_parquet(source)
    bought = full.filter(pl.col("event_type") == "purchase")
    assert count_events() < bought.height + full.filter(pl.col("event_type") == "return").height
    assert count_events() > 0.98 * bought.height
