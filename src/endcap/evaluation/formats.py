"""Public data sets in the form in which they are handed out, and a shop's own log, as a ``Dataset``.

``load`` looks at names and first lines:

* a folder with ``events.parquet``: the common schema (``folder.py``)
* a data directory with ``endcap.db``: the shop's own log
* RetailRocket ``events.csv``; MovieLens ``ratings.csv``, ``ratings.dat``, ``u.data`` (with ``movies.csv``); OTTO JSONL
  of sessions; Amazon reviews (JSON lines of 2014, 2018 and 2023, or bare ratings); MIND ``behaviors.tsv`` (with
  ``news.tsv``)
* anything else in CSV, JSONL or Parquet goes through the importer's column mapping (``endcap import``), like a shop's
  history would

Ratings below the middle of the scale become dislikes, as a shop's do.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import polars as pl

from endcap.errors import InvalidInput
from endcap.evaluation.dataset import Dataset
from endcap.evaluation.folder import from_frame, load_folder
from endcap.events.importer import import_events, import_items
from endcap.stores.sqlite import SqliteLog
from endcap.types import Ack, Interaction, Item, ItemChange

NEWEST_MS = 4_102_444_800_000  # 2100: files say when things happened, no clock bounds them
LOG_CHUNK = 20_000
NEWS_COLUMNS = ("item_id", "category", "subcategory", "title", "description")


def load(path: Path, *, mapping: Mapping[str, str] | None = None, items: Path | None = None, seed: int = 0) -> Dataset:
    """The data set at ``path``. ``mapping`` (field -> column) and ``items`` are for files of no known form."""
    if not path.exists():
        raise InvalidInput(f"nothing at {path}; expected a folder or a file of events", field="data")
    if path.is_dir():
        if (path / "events.parquet").exists():
            return load_folder(path, seed=seed)
        if (path / "endcap.db").exists():
            return from_log(path, seed)
        known = ("behaviors.tsv", "ratings.csv", "ratings.dat", "u.data", "events.csv")
        file = next((path / name for name in known if (path / name).exists()), None)
        if file is None:
            raise InvalidInput(f"{path} holds none of events.parquet, endcap.db, {', '.join(known)}", field="data")
        path = file
    if not mapping:
        frame, records = known_form(path)
        if frame is not None:
            return from_frame(path.stem.split(".")[0], frame, records, seed=seed)
    return imported(path, mapping or {}, items, seed)


def known_form(path: Path) -> tuple[pl.DataFrame | None, dict[str, Item]]:
    """The frame of a public format, or None when this is none of them."""
    if path.name == "behaviors.tsv":
        return mind(path), mind_news(path.with_name("news.tsv"))
    if path.name in ("ratings.dat", "u.data"):
        separator = "::" if path.suffix == ".dat" else "\t"
        return ratings(split_lines(path, separator)), movie_titles(path.with_name("movies.dat"))
    first = first_line(path)
    lowered = first.lower()
    if "visitorid" in lowered and "itemid" in lowered:
        return retailrocket(path), {}
    if lowered.startswith("userid,movieid"):
        named = {"userId": "user_id", "movieId": "item_id", "rating": "stars"}
        return ratings(pl.read_csv(path, infer_schema=False).rename(named)), movies(path.with_name("movies.csv"))
    if first.startswith("{"):
        record = msgspec.json.decode(first)
        if "session" in record and "events" in record:
            return otto(path), {}
        if {"asin", "overall"} <= set(record) or {"parent_asin", "rating"} <= set(record):
            return amazon(path), {}
    elif first.count(",") == 3 and path.name.startswith("ratings"):
        columns = ["user_id", "item_id", "stars", "timestamp"]
        return ratings(pl.read_csv(path, has_header=False, new_columns=columns, infer_schema=False)), {}
    return None, {}


def opened(path: Path) -> BinaryIO:
    """The file's bytes, unpacked when it is gzip."""
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def first_line(path: Path) -> str:
    """What decides the format."""
    with opened(path) as file:
        return file.readline(1_000_000).decode("utf-8", "replace").strip()


# ---------------------------------------------------------------- formats


def retailrocket(path: Path) -> pl.DataFrame:
    """timestamp (ms), visitorid, event, itemid, transactionid."""
    frame = pl.read_csv(path, infer_schema=False)
    return frame.select(
        pl.col("visitorid").alias("user_id"),
        pl.col("itemid").alias("item_id"),
        pl.col("event").alias("event_type"),
        pl.col("timestamp").cast(pl.Int64).alias("timestamp_ms"),
        pl.col("transactionid").alias("session_id") if "transactionid" in frame.columns else pl.lit(None, pl.String),
    )


def ratings(frame: pl.DataFrame) -> pl.DataFrame:
    """user_id, item_id, stars (1 to 5), timestamp (s): a rating, or a dislike below the middle."""
    stars = (pl.col("stars").cast(pl.Float64) - 3.0) / 2.0
    return frame.select(
        pl.col("user_id").cast(pl.String),
        pl.col("item_id").cast(pl.String),
        pl.when(stars < 0).then(pl.lit("dislike")).otherwise(pl.lit("rating")).alias("event_type"),
        stars.clip(-1.0, 1.0).alias("value"),
        pl.col("timestamp").cast(pl.Float64).cast(pl.Int64),
    )


def split_lines(path: Path, separator: str) -> pl.DataFrame:
    """MovieLens' files without a header."""
    rows = [line.split(separator)[:4] for line in path.read_text("latin-1").splitlines() if line]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "stars", "timestamp"], orient="row")


def movies(path: Path) -> dict[str, Item]:
    """movieId, title, genres with bars."""
    if not path.exists():
        return {}
    return {
        row["movieId"]: movie(row["movieId"], row["title"], row["genres"])
        for row in pl.read_csv(path, infer_schema=False).iter_rows(named=True)
    }


def movie_titles(path: Path) -> dict[str, Item]:
    """The same with double colons, for the older releases."""
    if not path.exists():
        return {}
    rows = (line.split("::") for line in path.read_text("latin-1").splitlines() if line.count("::") >= 2)
    return {row[0]: movie(row[0], row[1], row[2]) for row in rows}


def movie(item_id: str, title: str, genres: str) -> Item:
    """A film; each genre is a category."""
    return Item(item_id=item_id, title=title, categories=[[genre] for genre in genres.split("|") if genre])


def otto(path: Path) -> pl.DataFrame:
    """One session a line: {"session", "events": [{"aid", "ts" (ms), "type"}]}."""
    with opened(path) as file:
        frame = pl.read_ndjson(io.BytesIO(file.read()))
    events = frame.explode("events").unnest("events")
    return events.select(
        pl.col("session").cast(pl.String).alias("user_id"),
        pl.col("session").cast(pl.String).alias("session_id"),
        pl.col("aid").cast(pl.String).alias("item_id"),
        pl.col("ts").cast(pl.Int64).alias("timestamp_ms"),
        pl.col("type").alias("event_type"),
    )


def amazon(path: Path) -> pl.DataFrame:
    """Reviews as JSON lines: reviewerID, asin, overall, unixReviewTime; or user_id, parent_asin, rating, timestamp."""
    with opened(path) as file:
        frame = pl.read_ndjson(io.BytesIO(file.read()), infer_schema_length=1000)
    if "asin" in frame.columns and "overall" in frame.columns:
        names = {"reviewerID": "user_id", "asin": "item_id", "overall": "stars", "unixReviewTime": "timestamp"}
        return ratings(frame.select(list(names)).rename(names))
    return ratings(
        frame.select(
            pl.col("user_id"), pl.col("parent_asin").alias("item_id"), pl.col("rating").alias("stars"),
            (pl.col("timestamp") // 1000).alias("timestamp"),
        )
    )  # fmt: skip


def mind(path: Path) -> pl.DataFrame:
    """impression, user, time, history, "N1-1 N2-0 ...": the clicked ones become clicks, the rest is counted."""
    frame = pl.read_csv(
        path, separator="\t", has_header=False, quote_char=None, infer_schema=False,
        new_columns=["session_id", "user_id", "time", "history", "shown"],
    )  # fmt: skip
    shown = frame.with_columns(pl.col("shown").str.split(" ")).explode("shown")
    return shown.select(
        pl.col("user_id"),
        pl.col("session_id"),
        pl.col("shown").str.replace(r"-\d$", "").alias("item_id"),
        pl.when(pl.col("shown").str.ends_with("-1")).then(pl.lit("click")).otherwise(pl.lit("impression"))
        .alias("event_type"),
        pl.col("time").str.to_datetime("%m/%d/%Y %I:%M:%S %p").dt.epoch("ms").alias("timestamp_ms"),
    )  # fmt: skip


def mind_news(path: Path) -> dict[str, Item]:
    """id, category, subcategory, title, abstract, ..."""
    if not path.exists():
        return {}
    frame = pl.read_csv(path, separator="\t", has_header=False, quote_char=None, infer_schema=False)
    frame = frame.select(pl.nth(range(5))).rename(dict(zip(frame.columns[:5], NEWS_COLUMNS, strict=True)))
    return {
        row["item_id"]: Item(
            item_id=row["item_id"], title=row["title"], description=row["description"],
            categories=[[row["category"], row["subcategory"]]],
        )
        for row in frame.iter_rows(named=True)
    }  # fmt: skip


# ---------------------------------------------------------------- files of any form, and the own log


def imported(path: Path, mapping: Mapping[str, str], items: Path | None, seed: int) -> Dataset:
    """Through the importer; what it refuses is in the counts."""
    events: list[Interaction] = []
    records: dict[str, Item] = {}
    quality = import_events([path], taker(events.extend), now=NEWEST_MS, mapping=mapping)
    if items is not None:
        import_items([items], taker(lambda some: records.update((item.item_id, item) for item in some)))
    data = from_frame(path.stem, frame_of(events), records, seed=seed)
    data.counts.update(quality.refused)
    return data


def taker(take: Callable[[list[Any]], None]) -> Callable[[list[Any]], Ack]:
    """A sink that keeps everything."""

    def sink(some: list[Any]) -> Ack:
        take(some)
        return Ack(accepted=len(some), duplicates=0, rejected=[], offset=0)

    return sink


def from_log(directory: Path, seed: int) -> Dataset:
    """A shop's own log: its interactions, and the newest record of each item."""
    log = SqliteLog(directory / "endcap.db", read_only=True)
    try:
        events: list[Interaction] = []
        records: dict[str, Item] = {}
        offset = 0
        while chunk := log.read(offset, LOG_CHUNK):
            offset = chunk[-1].offset
            events += [one.event for one in chunk if isinstance(one.event, Interaction)]
            changes = (one.event for one in chunk if isinstance(one.event, ItemChange))
            records.update((change.item_id, change.item) for change in changes if change.item is not None)
    finally:
        log.close()
    return from_frame(directory.name, frame_of(events), records, seed=seed)


def frame_of(events: list[Interaction]) -> pl.DataFrame:
    """Interactions in the common schema."""
    return pl.DataFrame(
        {
            "user_id": [event.user_id for event in events],
            "anon_id": [event.anon_id for event in events],
            "item_id": [event.item_id for event in events],
            "event_type": [str(event.type) for event in events],
            "timestamp_ms": [event.ts for event in events],
            "session_id": [event.order_id or event.session_id for event in events],
            "price": [event.price for event in events],
            "quantity": [event.quantity for event in events],
            "value": [event.value for event in events],
            "region": [event.context.region if event.context else None for event in events],
        },
        schema_overrides={
            "user_id": pl.String, "anon_id": pl.String, "item_id": pl.String, "session_id": pl.String,
            "price": pl.Float64, "value": pl.Float64, "region": pl.String,
        },
    )  # fmt: skip
