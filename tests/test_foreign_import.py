"""``endcap import PLATFORM FILE``: recorded shapes from files, a report, and the quarantine for what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from endcap.cli import app
from endcap.cli.files import Kind
from endcap.engine import Engine
from endcap.errors import ConfigError
from endcap.events.adapters.snowplow import COLUMNS
from endcap.types import Context, Interaction
from foreign import ADAPTERS, cases

FILES = [kind.value for kind in Kind if kind not in (Kind.EVENTS, Kind.ITEMS)]


def run(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["import", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def lines_of(name: str) -> list[Any]:
    """The records of the recorded shapes, as a file of one line each holds them."""
    adapter = ADAPTERS[name]()
    return [record for case in cases(name) for record in adapter.records(case["input"])]


def test_every_platform_can_be_imported() -> None:
    assert set(ADAPTERS) - {"shopify", "shopify_webhook", "woocommerce"} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_recorded_shapes_is_taken_and_its_faults_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "dump.jsonl.gz"
    records = lines_of(name)
    path.write_bytes(
        gzip.compress(
            "\n".join(
                [*map(json.dumps, records), '{"broken": '],
            ).encode()
        )
    )
    report = run(name, str(path), "--dir", str(tmp_path / "data"))
    assert report["read"] == len(records) + 1
    assert report["accepted"] > 0
    assert any(f"dump.jsonl.gz:{len(records) + 1}:" in line for line in report["examples"]["bad_json"])
    again = run(name, str(path), "--dir", str(tmp_path / "data"))
    assert report["types"]
    with Engine.open(tmp_path / "data") as engine:
        kept = {record.source for record in engine.log.quarantine(1_000)}  # type: ignore[attr-defined]
        assert kept <= {name}
        stored = {entry.event.event_id for entry in engine.log.read(0, 10_000)}
    assert again["accepted"] <= sum(not event_id.startswith(("item:", "user:")) for event_id in stored)
    assert again["duplicates"] >= sum(report["types"].values()) - report["refused"]


def test_a_mapping_is_no_option_of_a_platform(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--map belongs to events and items"):
        run("segment", str(tmp_path / "x.jsonl"), "--map", "a=b", "--dir", str(tmp_path))


# ---------------------------------------------------------------- files as the platforms write them

# The canonical event model: the order of a line's columns.
SNOWPLOW = (Path(__file__).parent / "assets/adapters/snowplow_columns.txt").read_text("utf-8").split()
ACTION = "iglu:com.snowplowanalytics.snowplow.ecommerce/{}/jsonschema/1-0-0"
AROUND = "iglu:com.snowplowanalytics.snowplow/{}/jsonschema/1-0-0"


def snowplow_line(**columns: str) -> str:
    """A line in which every column holds something, so that a wrong place is seen; what matters is in ``columns``."""
    assert set(columns) <= set(SNOWPLOW)
    return "\t".join(
        columns.get(name, f"not {name}" if name.startswith(("tr_", "ti_", "mkt_")) else "") for name in SNOWPLOW
    )


def stored(directory: Path) -> list[Interaction]:
    with Engine.open(directory) as engine:
        return [entry.event for entry in engine.log.read(0, 1_000) if isinstance(entry.event, Interaction)]


def test_lines_of_snowplow_without_a_header_are_read_by_place(tmp_path: Path) -> None:
    assert len(SNOWPLOW) == 131
    for place, name in enumerate(COLUMNS):
        assert name in (SNOWPLOW[place], f"column_{place}"), place
    action = {"schema": ACTION.format("snowplow_ecommerce_action"), "data": {"type": "transaction"}}
    entities = [
        {"schema": ACTION.format("transaction"), "data": {"transaction_id": "T-1", "revenue": 20, "currency": "EUR"}},
        {"schema": ACTION.format("product"), "data": {"id": "mug", "price": 10, "quantity": 2, "name": 'Mug "blue"'}},
    ]
    facts = {
        "app_id": "shop", "platform": "web", "collector_tstamp": "2026-03-12 15:30:02.123",
        "dvce_created_tstamp": "2026-03-12 15:30:01.000", "event": "unstruct", "event_id": "e-1", "user_id": "ada",
        "domain_userid": "d-1", "network_userid": "n-1", "geo_country": "DE", "page_url": "https://shop.example/thanks",
        "page_urlpath": "/thanks", "page_referrer": "https://shop.example/cart", "useragent": "Mozilla/5.0 (iPad)",
        "br_lang": "de", "geo_timezone": "Europe/Berlin", "domain_sessionid": "s-1",
        "derived_tstamp": "2026-03-12 15:30:00.123", "event_name": "snowplow_ecommerce_action",
        "unstruct_event": json.dumps({"schema": AROUND.format("unstruct_event"), "data": action}),
        "contexts": json.dumps({"schema": AROUND.format("contexts"), "data": entities}),
    }  # fmt: skip
    page = {
        "collector_tstamp": "2026-03-12 15:31:00",
        "event": "page_view",
        "event_name": "page_view",
        "event_id": "e-2",
    }
    lines = [snowplow_line(**facts), "too\tshort", snowplow_line(**page, domain_userid="d-2", page_urlpath="/")]
    file = tmp_path / "run=2026-03-12.tsv.gz"
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    report = run("snowplow", str(file), "--dir", str(tmp_path / "data"))
    assert (report["read"], report["accepted"], report["refused"]) == (3, 2, 1), report
    assert "wrong_columns" in report["examples"]
    bought, home = stored(tmp_path / "data")
    assert bought == Interaction(
        type="purchase", event_id="e-1:0", ts=1773329400123, received_at=1773329400123, user_id="ada", anon_id="d-1",
        session_id="s-1", item_id="mug", price=10.0, quantity=2.0, currency="EUR", order_id="T-1",
        context=Context(
            device="tablet", region="DE", utc_offset_min=60, locale="de", page="/thanks", url="https://shop.example/thanks",
            referrer="https://shop.example/cart",
        ),
    )  # fmt: skip
    assert (home.type, home.anon_id, home.ts) == ("home_view", "d-2", 1773329460000)


VALUE = pl.Struct(
    {"string_value": pl.String, "int_value": pl.Int64, "float_value": pl.Float64, "double_value": pl.Float64}
)
ROW = {  # the part of the export's schema that a shop's events fill
    "event_date": pl.String, "event_timestamp": pl.Int64, "event_name": pl.String, "event_bundle_sequence_id": pl.Int64,
    "batch_event_index": pl.Int64, "user_id": pl.String, "user_pseudo_id": pl.String,
    "event_params": pl.List(pl.Struct({"key": pl.String, "value": VALUE})),
    "privacy_info": pl.Struct({"analytics_storage": pl.String, "ads_storage": pl.String}),
    "device": pl.Struct({"category": pl.String, "language": pl.String, "time_zone_offset_seconds": pl.Int64}),
    "geo": pl.Struct({"country": pl.String, "city": pl.String}),
    "ecommerce": pl.Struct({"transaction_id": pl.String, "purchase_revenue": pl.Float64}),
    "items": pl.List(pl.Struct({
        "item_id": pl.String, "item_name": pl.String, "item_brand": pl.String, "item_variant": pl.String,
        "item_category": pl.String, "item_category2": pl.String, "price": pl.Float64, "quantity": pl.Int64,
        "item_list_id": pl.String, "item_list_index": pl.String,
    })),
}  # fmt: skip


def parameter(key: str, **value: Any) -> dict[str, Any]:
    return {
        "key": key,
        "value": {"string_value": None, "int_value": None, "float_value": None, "double_value": None, **value},
    }


def test_a_bigquery_export_of_ga4_with_nested_columns_is_read_from_parquet(tmp_path: Path) -> None:
    unset = dict.fromkeys(
        ("item_brand", "item_variant", "item_category2", "item_list_id", "item_list_index"), "(not set)"
    )
    mug = {**unset, "item_id": "mug", "item_name": "Mug", "item_category": "Kitchen", "price": 10.5, "quantity": 2}
    pot = {**mug, "item_id": "pot", "item_name": "Pot", "item_category2": "Pots", "price": None, "quantity": None}
    shared = {
        "event_date": "20260312", "user_pseudo_id": "123.456", "user_id": None, "event_bundle_sequence_id": 7,
        "privacy_info": {"analytics_storage": "Yes", "ads_storage": "No"},
        "device": {"category": "mobile", "language": "de-de", "time_zone_offset_seconds": 3600},
        "geo": {"country": "Germany", "city": "Berlin"}, "ecommerce": None,
    }  # fmt: skip
    at = 1_773_329_400_123_456
    rows = [
        {**shared, "event_timestamp": at, "event_name": "view_item", "batch_event_index": 1, "items": [mug],
         "event_params": [parameter("ga_session_id", int_value=99), parameter("currency", string_value="EUR")]},
        {**shared, "event_timestamp": at + 1_000_000, "event_name": "search", "batch_event_index": 2, "items": [],
         "event_params": [parameter("search_term", string_value="tea pot"), parameter("ga_session_id", int_value=99)]},
        {**shared, "event_timestamp": at + 2_000_000, "event_name": "purchase", "batch_event_index": 3,
         "items": [mug, pot],
         "user_id": "ada", "ecommerce": {"transaction_id": "T-9", "purchase_revenue": 31.0},
         "event_params": [parameter("currency", string_value="EUR"), parameter("value", double_value=31.0)]},
    ]  # fmt: skip
    file = tmp_path / "events_20260312.parquet"
    pl.DataFrame(rows, schema=ROW).write_parquet(file)
    report = run("ga4", str(file), "--dir", str(tmp_path / "data"))
    assert (report["read"], report["accepted"], report["refused"]) == (3, 6, 0), report  # two are hints of items
    viewed, searched, *bought = stored(tmp_path / "data")
    assert (viewed.type, viewed.item_id, viewed.session_id, viewed.ts) == (
        "view",
        "mug",
        "123.456.99",
        1_773_329_400_123,
    )
    assert (viewed.price, viewed.quantity, viewed.currency) == (10.5, 2.0, "EUR")
    assert viewed.variant_id is viewed.placement is viewed.position is None  # (not set) is nothing
    assert viewed.context == Context(device="mobile", region="Germany", locale="de-de", utc_offset_min=60)
    assert (searched.type, searched.query) == ("search", "tea pot")
    assert [(one.item_id, one.order_id, one.user_id, one.anon_id) for one in bought] == [
        (item, "T-9", "ada", "123.456") for item in ("mug", "pot")
    ]
    with Engine.open(tmp_path / "data") as engine:
        assert (engine.item("pot").title, engine.item("pot").categories) == ("Pot", [["Kitchen", "Pots"]])
    lines = tmp_path / "events.jsonl"  # the same export as JSON lines, and once more: nothing new
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert run("ga4", str(lines), "--dir", str(tmp_path / "data"))["accepted"] == 0
