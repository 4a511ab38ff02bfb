"""Imports: foreign files become events and items; what a file gets wrong is named with its line."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.config import CleanConfig
from endcap.errors import ConfigError, InvalidInput
from endcap.events.importer import import_events, import_items
from endcap.events.quality import DataQuality
from endcap.events.values import TYPE_ALIASES, action_of, category_paths, epoch_ms, number, text_of
from endcap.preprocess.validate import validate
from endcap.stores.memory import MemoryLog
from endcap.types import ACTIONS, Ack, Interaction, Item, Refusal

NOW = 1_775_000_000_000
T = 1_700_000_000_000  # 2023-11-14T22:13:20Z
DATA = Path(os.environ.get("ENDCAP_DATA", Path(__file__).parents[2] / "shared" / "data"))


class Shop:
    """A sink that validates and stores like the engine."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.chunks: list[int] = []

    def __call__(self, events: list[Interaction]) -> Ack:
        self.chunks.append(len(events))
        good, refusals = [], []
        for index, event in enumerate(events):
            checked = validate(event, now=event.received_at, config=CleanConfig(), index=index)
            if isinstance(checked, Refusal):
                refusals.append(checked)
            else:
                good.append(checked)
        offsets = self.log.append(good)
        return Ack(accepted=sum(at > 0 for at in offsets), duplicates=offsets.count(0), rejected=refusals)

    @property
    def events(self) -> list[Interaction]:
        return [entry.event for entry in self.log.read(0, 10**9) if isinstance(entry.event, Interaction)]


def events_of(path: Path, **options: Any) -> tuple[list[Interaction], DataQuality]:
    shop = Shop()
    quality = import_events([path], shop, now=NOW, **options)
    return shop.events, quality


def items_of(path: Path, **options: Any) -> tuple[list[Item], DataQuality]:
    taken: list[Item] = []

    def sink(items: list[Item]) -> Ack:
        taken.extend(items)
        return Ack(accepted=len(items))

    return taken, import_items([path], sink, **options)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


ROWS: list[dict[str, Any]] = [
    {"user_id": "007", "item_id": "tea", "type": "view", "ts": T},
    {"user_id": "007", "item_id": "mug", "type": "cart_add", "ts": T + 1_000},
    {"user_id": "bob", "item_id": "tea", "type": "purchase", "ts": T + 2_000},
]


def as_csv(path: Path) -> Path:
    lines = [",".join(ROWS[0])] + [",".join(map(str, row.values())) for row in ROWS]
    return write(path.with_suffix(".csv"), "\n".join(lines) + "\n")


def as_jsonl(path: Path) -> Path:
    return write(path.with_suffix(".jsonl"), "\n".join(json.dumps(row) for row in ROWS))


def as_json(path: Path) -> Path:
    return write(path.with_suffix(".json"), json.dumps(ROWS))


def as_parquet(path: Path) -> Path:
    pl.DataFrame(ROWS).write_parquet(path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def as_gzip(path: Path) -> Path:
    return write(path.with_suffix(".csv.gz"), gzip.compress(as_csv(path).read_bytes()))


def as_utf16(path: Path) -> Path:
    return write(path.with_suffix(".tsv"), as_csv(path).read_text().replace(",", "\t").encode("utf-16"))


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("made", [as_csv, as_jsonl, as_json, as_parquet, as_gzip, as_utf16])
def test_every_format_gives_the_same_events(tmp_path: Path, made: Callable[[Path], Path]) -> None:
    events, quality = events_of(made(tmp_path / "history"))
    assert [(e.user_id, e.item_id, e.type, e.ts, e.received_at) for e in events] == [
        ("007", "tea", "view", T, T),
        ("007", "mug", "cart_add", T + 1_000, T + 1_000),
        ("bob", "tea", "purchase", T + 2_000, T + 2_000),
    ]
    assert (quality.read, quality.accepted, quality.n_refused, quality.duplicates) == (3, 3, 0, 0)


def test_importing_twice_changes_nothing(tmp_path: Path) -> None:
    shop = Shop()
    path = as_csv(tmp_path / "history")
    import_events([path], shop, now=NOW)
    again = import_events([path], shop, now=NOW)
    assert (again.accepted, again.duplicates) == (0, 3)


def test_a_large_file_arrives_in_chunks_with_progress_to_the_end(tmp_path: Path) -> None:
    lines = "".join(f"u{k % 7},i{k % 5},view,{T + k}\n" for k in range(250))
    paths = [write(tmp_path / f"{part}.csv", "user_id,item_id,type,ts\n" + lines) for part in "ab"]
    shop, seen = Shop(), []
    quality = import_events(paths, shop, now=NOW, chunk=100, progress=lambda done, total: seen.append((done, total)))
    assert shop.chunks == [100, 100, 50, 100, 100, 50]
    assert (quality.accepted, quality.duplicates) == (250, 250)
    assert seen == sorted(seen)
    assert seen[-1] == (seen[0][1], seen[0][1])


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_chunks_of_any_size_give_the_same(tmp_path: Path, size: int) -> None:
    for made in (as_csv, as_jsonl, as_parquet):
        assert events_of(made(tmp_path / "history"), chunk=size)[0] == events_of(made(tmp_path / "history"))[0]


# ---------------------------------------------------------------- columns


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("visitorid,itemid,event,timestamp", f"5,tea,view,{T}"),
        ("event_time,event_type,product_id,category_id,brand,price,user_id,user_session",
         "2023-11-14 22:13:20 UTC,view,tea,1,x,3.5,5,s"),
        ("CustomerID;StockCode;Event Name;InvoiceDate", "5;tea;Product Viewed;2023-11-14T22:13:20Z"),
        ("USER_ID\tITEM_ID\tEVENT_TYPE\tTIMESTAMP", f"5\ttea\tView\t{T // 1000}"),
        ("user_pseudo_id|item_id|event_name|event_timestamp", f"5|tea|view_item|{T * 1000}"),
        ("customer,sku,action,date", "5,tea,pageview,2023-11-14 22:13:20"),
    ],
)  # fmt: skip
def test_the_columns_and_names_of_other_systems_are_understood(tmp_path: Path, header: str, row: str) -> None:
    (event,), quality = events_of(write(tmp_path / "x.csv", f"{header}\n{row}\n"))
    assert (event.user_id or event.anon_id, event.item_id, event.type, event.ts) == ("5", "tea", "view", T)
    assert not quality.refused


def test_a_mapping_wins_over_names_and_may_be_a_constant(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", f"who,user_id,what,when\nann,17,tea,{T}\n")
    mapping = {"user_id": "who", "item_id": "what", "ts": "when", "type": "=purchase"}
    (event,), quality = events_of(path, mapping=mapping)
    assert (event.user_id, event.item_id, event.type) == ("ann", "tea", "purchase")
    assert quality.ignored == ["user_id"]
    turned = {"who": "user_id", "what": "item_id", "when": "ts", "=purchase": "type"}
    assert events_of(path, mapping=turned)[0] == [event]


def test_all_fields_of_an_event_arrive(tmp_path: Path) -> None:
    whole = Interaction(
        type="purchase", event_id="e", ts=T, received_at=T, user_id="u", anon_id="a", session_id="s", item_id="i",
        variant_id="v", quantity=2.0, price=3.5, currency="EUR", value=7.0, order_id="o", cart_id="c", placement="home",
        position=3, request_id="r", query="q", category="k", consent="granted", props={"gift": True},
    )  # fmt: skip
    path = write(tmp_path / "x.jsonl", msgspec.json.encode(whole))
    (event,), _ = events_of(path)
    assert event == whole


def test_country_and_device_become_context(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.csv", f"user,item,type,ts,country,device\na,i,view,{T},北京,Mobile\na,j,view,{T},,Fridge\n"
    )
    first, second = events_of(path)[0]
    assert first.context is not None
    assert second.context is not None
    assert (first.context.region, first.context.device) == ("北京", "mobile")
    assert (second.context.region, second.context.device) == (None, "other")


def test_stars_become_ratings_on_our_scale(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", f"user_id,item_id,rating,ts\na,i,5,{T}\na,j,3,{T}\na,k,1,{T}\na,l,0,{T}\n")
    events, quality = events_of(path)
    assert [(e.type, e.value) for e in events] == [("rating", 1.0), ("rating", 0.0), ("rating", -1.0)]
    assert quality.refused == {"bad_number": 1}


def test_returns_with_negative_quantities_become_refunds(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", f"user,item,type,ts,quantity\na,i,return,{T},-3\na,i,purchase,{T},-3\n")
    (refund,), quality = events_of(path)
    assert (refund.type, refund.quantity) == ("refund", 3.0)
    assert quality.refused == {"bad_number": 1}


# ---------------------------------------------------------------- files that cannot be used


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.csv", "", "x.csv is empty"),
        (
            "x.csv",
            "user_id,item_id,type\na,b,view\n",
            r"no column for the time.*user_id, item_id, type.*--map ts=COLUMN",
        ),
        ("x.csv", "item_id,type,ts\nb,view,1\n", r"no column for the user.*--map user_id=COLUMN"),
        ("x.csv", "user_id,item_id,ts\na,b,1\n", r"no column for the type.*--map type==purchase"),
        ("x.csv", "a,a\n1,2\n", "'a' stands twice"),
        ("x.csv", b"us\xe9r,item\n1,2\n", "not UTF-8.*iconv"),
        ("x.csv", b"\x00\x01\x02\x03", "not UTF-8"),
        ("x.parquet", b"", "cannot be read as Parquet.*truncated"),
        ("x.parquet", b"PAR1" + bytes(500), "cannot be read as Parquet.*truncated"),
        ("x.csv.gz", b"\x1f\x8b\x08", "cannot be read.*truncated"),
        ("x.csv.gz", b"no gzip at all", "cannot be read"),
        ("x.json", b'[{"user_id": 1}', "starts like a JSON list but is none"),
        ("x.xlsx", b"PK", "the format is told by the name"),
    ],
)
def test_an_unusable_file_is_named_with_the_remedy(
    tmp_path: Path, name: str, content: str | bytes, expected: str
) -> None:
    with pytest.raises(InvalidInput, match=expected) as failure:
        events_of(write(tmp_path / name, content))
    assert name in failure.value.message


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_parquet_file_is_an_error_and_no_traceback(tmp_path: Path, cut: float) -> None:
    path = as_parquet(tmp_path / "history")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(InvalidInput, match=r"history\.parquet"):
        events_of(path)


def test_a_truncated_gzip_file_keeps_what_came_before(tmp_path: Path) -> None:
    lines = "".join(f"u{k},i{(k * 7919) % 1000},view,{T + k}\n" for k in range(5_000))
    whole = gzip.compress(("user_id,item_id,type,ts\n" + lines).encode())
    path = write(tmp_path / "x.csv.gz", whole[: len(whole) * 2 // 3])
    shop = Shop()
    with pytest.raises(InvalidInput, match="truncated"):
        import_events([path], shop, now=NOW, chunk=500)
    assert len(shop.events) >= 500


def test_a_missing_file_and_a_wrong_mapping_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no file at"):
        events_of(tmp_path / "nothing.csv")
    path = as_csv(tmp_path / "history")
    with pytest.raises(ConfigError, match="did you mean user_id"):
        events_of(path, mapping={"userid": "x"})
    with pytest.raises(InvalidInput, match=r"no column 'user_idd'.*did you mean --map user_id=user_id"):
        events_of(path, mapping={"user_id": "user_idd"})


# ---------------------------------------------------------------- records that cannot be used


def test_damage_in_a_utf16_file_costs_only_its_records(tmp_path: Path) -> None:
    head, good, bad = "user_id\titem_id\ttype\tts\n", f"a\ti1\tview\t{T}\n", f"\tview\t{T}\n"
    path = write(
        tmp_path / "x.tsv",
        (head + good).encode("utf-16")
        + "a\ti".encode("utf-16-le") + b"\x00\xd8" + bad.encode("utf-16-le")  # half of a pair
        + good.replace("i1", "i3").encode("utf-16-le") + b"\x7d",  # one byte too many
    )  # fmt: skip
    events, quality = events_of(path)
    assert [e.item_id for e in events] == ["i1", "i3"]
    assert quality.n_refused == quality.read - 2 > 0


def test_each_bad_line_of_a_csv_costs_only_itself(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.csv",
        b"user_id,item_id,type,ts,price\n"
        + f"a,i1,view,{T},1\n".encode()
        + f"a,i2,viewish,{T},1\n".encode()
        + b"a,i3,view,yesterday,1\n"
        + f"a,i4,view,{T}\n".encode()
        + f"a,caf\xe9,view,{T},1\n".encode("latin-1")
        + f"a,i6,view,{T},cheap\n".encode()
        + f",i7,view,{T},1\n".encode()
        + f"a,,view,{T},1\n".encode()
        + b"\n"
        + f"a,i10,view,{NOW + 10 * 86_400_000},1\n".encode()
        + f'"a ""b""","i\n11",view,{T},"1,50"\n'.encode(),
    )
    events, quality = events_of(path)
    assert [(e.user_id, e.item_id, e.price) for e in events] == [("a", "i1", 1.0), ('a "b"', "i\n11", 1.5)]
    assert (quality.read, quality.accepted) == (10, 2)
    assert {code: examples[0].partition(": ")[0] for code, examples in quality.examples.items()} == {
        "unknown_type": "x.csv:3",
        "bad_time": "x.csv:4",
        "wrong_columns": "x.csv:5",
        "bad_encoding": "x.csv:6",
        "bad_number": "x.csv:7",
        "missing_user": "x.csv:8",
        "missing_item": "x.csv:9",
    }
    assert quality.refused["bad_time"] == 2


def test_each_bad_line_of_a_jsonl_file_costs_only_itself(tmp_path: Path) -> None:
    good = json.dumps(ROWS[0])
    path = write(
        tmp_path / "x.jsonl",
        f'{good}\n{{"a":\n[1]\n5\n\n{"[" * 5_000}\n'.encode() + b'"caf\xe9"\n' + good.replace("tea", "mug").encode(),
    )
    events, quality = events_of(path)
    assert [e.item_id for e in events] == ["tea", "mug"]
    assert quality.refused == {"bad_json": 2, "not_an_object": 2, "bad_encoding": 1}
    assert quality.examples["bad_json"][0].startswith("x.jsonl:2: ")
    assert quality.examples["bad_encoding"][0].startswith("x.jsonl:7: ")


def test_an_open_quote_does_not_swallow_the_file(tmp_path: Path) -> None:
    lines = [f"a,i{k},view,{T + k}" for k in range(20_000)]
    lines[3] = 'a,"i3,view,1'
    events, quality = events_of(write(tmp_path / "x.csv", "user_id,item_id,type,ts\n" + "\n".join(lines)))
    assert len(events) > 10_000
    assert quality.n_refused >= 1


def test_nested_values_where_a_text_belongs_are_refused(tmp_path: Path) -> None:
    bad = [{**ROWS[0], "user_id": ["a"]}, {**ROWS[0], "context": 5}, {**ROWS[0], "props": [1]}, {**ROWS[0], "ts": True}]
    events, quality = events_of(write(tmp_path / "x.json", json.dumps([*bad, ROWS[0]])))
    assert len(events) == 1
    assert quality.refused == {"wrong_type": 3, "bad_time": 1}


# ---------------------------------------------------------------- the report


def test_the_report_counts_users_items_types_time_and_outliers(tmp_path: Path) -> None:
    lines = [f"u{k % 3},i{k % 4},purchase,{T + 1000 * k},{2 + k % 3},1" for k in range(60)]
    lines += [f"u0,i0,purchase,{T},99999,1", f"u1,i1,view,{T - 5},3,1"]
    path = write(tmp_path / "x.csv", "user_id,item_id,type,ts,price,quantity\n" + "\n".join(lines))
    _, quality = events_of(path)
    report = quality.to_dict()
    assert report["types"] == {"purchase": 61, "view": 1}
    assert (report["users"], report["items"], report["unordered"]) == (3, 4, 2)
    assert report["first"] == "2023-11-14T22:13:19+00:00"
    assert report["last"] == "2023-11-14T22:14:19+00:00"
    assert report["price"]["outliers"] == 1
    assert report["price"]["median"] == 3.0
    assert report["quantity"]["outliers"] == 0
    assert report["columns"]["user_id"] == "user_id"
    assert any("sort the file by time" in told for told in report["advice"])
    json.dumps(report)
    text = quality.to_text()
    assert "accepted" in text
    assert "62" in text


def test_examples_are_few_and_counts_are_complete(tmp_path: Path) -> None:
    lines = "\n".join(f"a,i,nonsense{k},{T}" for k in range(40))
    _, quality = events_of(write(tmp_path / "x.csv", "user_id,item_id,type,ts\n" + lines))
    assert quality.refused == {"unknown_type": 40}
    assert len(quality.examples["unknown_type"]) == 5
    assert any("more than half" in told for told in quality.advice())
    assert "unknown_type (40)" in quality.to_text()


# ---------------------------------------------------------------- items


def test_a_product_feed_becomes_items(tmp_path: Path) -> None:
    path = write(
        tmp_path / "feed.tsv",
        "id\ttitle\tprice\tavailability\tproduct_type\timage_link\tbrand\titem_group_id\tcustom_label\n"
        "1\tTea\t3.50 EUR\tin stock\tFood > Drinks > Tea\thttps://a/1.png,https://a/2.png\tNorth\tg\tsummer\n"
        "2\tMug\t\tout of stock\tKitchen|Mugs;Gifts\t\t\t\t\n"
        "\tGhost\t1\t\t\t\t\t\t\n"
        "4\tBad\t-5\tin stock\t\t\t\t\t\n"
        "5\tOdd\t1\tperhaps\t\t\t\t\t\n",
    )
    items, quality = items_of(path)
    assert items == [
        Item(
            item_id="1", title="Tea", price=3.5, categories=[["Food", "Drinks", "Tea"]], brand="North", group_id="g",
            image_urls=["https://a/1.png", "https://a/2.png"], attributes={"custom_label": "summer"},
        ),
        Item(item_id="2", title="Mug", availability="out_of_stock", categories=[["Kitchen", "Mugs"], ["Gifts"]]),
    ]  # fmt: skip
    assert quality.refused == {"missing_item": 1, "bad_number": 1, "wrong_type": 1}
    assert quality.to_dict()["other_columns"] == ["custom_label"]


def test_our_own_items_come_back_from_jsonl(tmp_path: Path) -> None:
    item = Item(
        item_id="i", title="T", categories=[["a", "b"], ["c"]], tags=["x", "y"], price=2.0, hidden=True, stock_qty=4,
        published_at=T, attributes={"vegan": True, "size_cm": 3.0, "notes": ["n"]}, vectors={"text": [0.5, 0.5]},
    )  # fmt: skip
    items, _ = items_of(write(tmp_path / "x.jsonl", msgspec.json.encode(item)))
    assert items == [item]


def test_items_without_an_id_column_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no column for the item.*name, cost.*--map item_id=COLUMN"):
        items_of(write(tmp_path / "x.csv", "name,cost\nTea,3\n"))


def test_an_item_id_over_the_limit_is_refused(tmp_path: Path) -> None:
    items, quality = items_of(write(tmp_path / "x.csv", f"item_id\n{'x' * 257}\n{'x' * 256}\n"))
    assert len(items) == 1
    assert quality.refused == {"too_long": 1}


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    "value",
    [
        T, T // 1000, T * 1000, T * 1_000_000, float(T // 1000), str(T), str(T // 1000), f"{T // 1000}.0", "1.7e9",
        "2023-11-14T22:13:20Z", "2023-11-14T22:13:20+00:00", "2023-11-15T06:13:20+08:00", "2023-11-14 22:13:20",
        "2023-11-14 22:13:20 UTC", "2023-11-14T22:13:20.000", " 2023-11-14T22:13:20 ", "20231114T221320",
        datetime(2023, 11, 14, 22, 13, 20), datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
    ],
)  # fmt: skip
def test_a_time_is_the_same_in_every_spelling(value: Any) -> None:
    assert epoch_ms(value) == T


def test_a_day_starts_at_midnight_utc() -> None:
    assert epoch_ms("2023-11-14") == epoch_ms(date(2023, 11, 14)) == T - 80_000_000


@pytest.mark.parametrize("value", [None, "", "yesterday", "14/11/2023", 0, -1, True, float("nan"), 1e30, [], {}])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="time"):
        epoch_ms(value)


@given(st.integers(946_684_800_000, 4_102_444_799_000))
def test_the_unit_of_any_time_since_2000_is_found(ts: int) -> None:
    assert epoch_ms(ts) == ts
    assert epoch_ms(ts * 1000) == ts
    assert abs(epoch_ms(ts * 1_000_000) - ts) <= 1
    assert epoch_ms(ts // 1000) == ts // 1000 * 1000


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1,234.50", 1234.5), ("1,234", 1234.0), ("12,50", 12.5), ("1 234", 1234.0), (" 7 ", 7.0), (3, 3.0), ("", None)],
)
def test_numbers_in_text_are_read(value: Any, expected: float | None) -> None:
    assert number(value) == expected


@pytest.mark.parametrize("value", ["cheap", "nan", "inf", "1.2.3", float("nan")])
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="number"):
        number(value)


def test_every_action_and_alias_leads_to_an_action() -> None:
    assert {action_of(name.upper()) for name in ACTIONS} == set(ACTIONS)
    assert set(TYPE_ALIASES.values()) <= set(ACTIONS)
    assert action_of("Order Completed") == "purchase"
    assert action_of("add-to-cart") == "cart_add"
    with pytest.raises(ValueError, match="did you mean purchase"):
        action_of("purchas")


def test_ids_from_data_frames_lose_their_decimals() -> None:
    assert [text_of(value) for value in (17850.0, 17850, "007", "", None, float("nan"), 0.5)] == [
        "17850", "17850", "007", None, None, None, "0.5",
    ]  # fmt: skip


def test_category_paths_of_all_spellings() -> None:
    assert category_paths("A > B>C") == category_paths("A|B|C") == category_paths("A » B » C") == [["A", "B", "C"]]
    assert category_paths("A > B; C") == [["A", "B"], ["C"]]
    assert category_paths(["A > B", "C"]) == [["A", "B"], ["C"]]
    assert category_paths([["A", "B"], ["C"]]) == [["A", "B"], ["C"]]
    assert category_paths("R&B/Soul") == [["R&B/Soul"]]
    assert category_paths(None) == category_paths(" ; ") == []


# ---------------------------------------------------------------- real data


def test_the_online_retail_log_is_understood_without_a_mapping(tmp_path: Path) -> None:
    whole = DATA / "online_retail" / "events.parquet"
    if not whole.exists():
        pytest.skip(f"no development data at {DATA} (set ENDCAP_DATA)")
    path = tmp_path / "head.parquet"
    pl.read_parquet(whole).head(4_000).write_parquet(path)
    _, quality = events_of(path)
    assert quality.read == 4_000
    assert set(quality.types) == {"purchase", "refund"}
    assert set(quality.refused) == {"missing_user", "unknown_type"}
    assert quality.accepted + quality.duplicates + quality.n_refused == 4_000
    assert len(quality.columns) >= 7
