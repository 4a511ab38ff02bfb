"""Reads a folder of ``events.parquet`` (and ``items.parquet``) in the common schema into a ``Dataset``.

Columns of events: user_id, item_id, event_type, timestamp (epoch s), value, price, quantity, session_id, split, and
optionally timestamp_ms, position (order within a user), country or region. Of items: item_id, title, description,
brand, category (or department, product_category, product_type), attributes under any other name.

What is dropped is counted by reason. Rows without a time are dropped where others have one (their place in time is
not known); in a set without any times the order of the file stands for it, one second apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from endcap.errors import InvalidInput
from endcap.evaluation.dataset import SPLITS, Dataset, in_time_order
from endcap.types import ACTION_CODE, F4, I4, Item

# The sets' words for what happened; None = no interaction of the user's.
ACTION_OF: dict[str, str | None] = {
    "view": "view", "click": "click", "clicks": "click", "cart": "cart_add", "carts": "cart_add",
    "addtocart": "cart_add", "cart_add": "cart_add", "transaction": "purchase", "orders": "purchase",
    "purchase": "purchase", "return": "refund", "adjustment": None, "review": "view", "impression": None,
    "listen": "consume", "checkin": "view", "tag": "view", "impression_no_click": None,
}  # fmt: skip
PATHS = (("department", "product_category", "product_type"), ("category",))
NO_TIME_START_S = 1_262_304_000  # 2010-01-01, where order stands for time


def load_folder(folder: Path, *, seed: int = 0) -> Dataset:
    """The set in ``folder``. Raises ``InvalidInput`` with what is missing."""
    file = folder / "events.parquet"
    if not file.exists():
        raise InvalidInput(f"no {file}; expected a folder with events.parquet (and items.parquet)", field="data")
    return from_frame(folder.name, pl.read_parquet(file), read_items(folder / "items.parquet"), seed=seed)


def from_frame(name: str, frame: pl.DataFrame, records: dict[str, Item], *, seed: int = 0) -> Dataset:
    """Columns of the common schema to a ``Dataset``."""
    counts = {"read": frame.height}
    frame = with_time(usable(complete(frame), counts), counts)
    if not frame.height:
        raise InvalidInput(f"{name}: no usable event among {counts['read']}: {counts}", field="data")
    users = frame["user_id"].fill_null(frame["anon_id"]).fill_null("guest:" + frame["session_id"].fill_null("?"))
    user, user_names = coded(users)
    item, item_names = coded(frame["item_id"])
    session, session_names = coded(frame["session_id"])
    region, region_names = coded(frame["region"])
    ts = frame["timestamp_ms"].to_numpy().astype(np.int64)
    order, counts["shuffled"] = in_time_order(ts, session, item_names, item, seed)
    guests = {int(u) for u in np.unique(user[frame["user_id"].is_null().to_numpy()])}
    counts["kept"] = frame.height
    code_of = {item_id: code for code, item_id in enumerate(item_names)}
    return Dataset(
        name=name,
        ts=ts[order], user=user[order], item=item[order],
        action=frame["action"].to_numpy().astype(np.int8)[order],
        session=session[order], region=region[order],
        price=floats(frame["price"])[order], quantity=floats(frame["quantity"], 1.0)[order],
        value=floats(frame["value"])[order],
        split=frame["split"].replace_strict(SPLITS, default=0, return_dtype=pl.Int8).fill_null(0).to_numpy()[order],
        user_names=user_names, is_guest=np.array([u in guests for u in range(len(user_names))], np.uint8),
        item_names=item_names, session_names=session_names, region_names=region_names,
        items={code_of[item_id]: record for item_id, record in records.items() if item_id in code_of},
        counts={reason: n for reason, n in counts.items() if n},
    )  # fmt: skip


def complete(frame: pl.DataFrame) -> pl.DataFrame:
    """Every column of the schema, null where the source lacks it."""
    for column, kind in (
        ("session_id", pl.String), ("price", pl.Float64), ("quantity", pl.Float64), ("split", pl.String),
        ("timestamp", pl.Int64), ("position", pl.Int64), ("event_type", pl.String), ("value", pl.Float64),
        ("user_id", pl.String), ("anon_id", pl.String),
    ):  # fmt: skip
        if column not in frame.columns:
            frame = frame.with_columns(pl.lit(None, kind).alias(column))
    if "region" not in frame.columns:
        country = pl.col("country") if "country" in frame.columns else pl.lit(None, pl.String)
        frame = frame.with_columns(country.alias("region"))
    if "timestamp_ms" not in frame.columns:
        frame = frame.with_columns((pl.col("timestamp") * 1000).alias("timestamp_ms"))
    return frame.with_columns(pl.col("user_id", "anon_id", "item_id", "session_id", "region").cast(pl.String))


def usable(frame: pl.DataFrame, counts: dict[str, int]) -> pl.DataFrame:
    """Rows that are interactions with an item; the rest is counted by reason."""
    kinds = frame["event_type"].unique().drop_nulls().to_list()
    unknown = sorted(kind for kind in kinds if kind not in ACTION_OF and kind not in ACTION_CODE)
    if unknown:
        raise InvalidInput(f"event types {unknown} are not known; known: {sorted(ACTION_OF)}", field="event_type")
    names = {kind: ACTION_OF.get(kind, kind) for kind in kinds}
    codes = {kind: ACTION_CODE[action] for kind, action in names.items() if action is not None}
    frame = frame.with_columns(
        pl.col("event_type").replace_strict(codes, default=None, return_dtype=pl.Int8).alias("action")
    )
    for reason, keep in (
        ("no_interaction", pl.col("action").is_not_null()),
        ("no_item", pl.col("item_id").is_not_null()),
        ("quantity_0", (pl.col("quantity") != 0).fill_null(True)),
        ("price_below_0", (pl.col("price") >= 0).fill_null(True)),
        ("nobody", pl.any_horizontal(pl.col("user_id", "anon_id", "session_id").is_not_null())),
    ):
        kept = frame.filter(keep)
        counts[reason] = frame.height - kept.height
        frame = kept
    # a set's own "value" is money or a count; only of a rating it is what an event's value means
    rated = pl.col("event_type").is_in(["rating", "dislike"])
    value = pl.when(rated).then(pl.col("value").cast(pl.Float64)).otherwise(None)
    return frame.with_columns(pl.col("quantity").abs(), value.alias("value"))


def with_time(frame: pl.DataFrame, counts: dict[str, int]) -> pl.DataFrame:
    """Only rows with a time, unless none has one; users' own order where the file gives it."""
    timed = frame.filter(pl.col("timestamp_ms").is_not_null())
    if not timed.height:
        counts["order_for_time"] = frame.height
        seconds = pl.int_range(frame.height, dtype=pl.Int64) + NO_TIME_START_S
        return frame.with_columns((seconds * 1000).alias("timestamp_ms"))
    counts["no_time"] = frame.height - timed.height
    return timed.sort("timestamp_ms", "position", maintain_order=True)


def coded(values: pl.Series) -> tuple[I4, list[str]]:
    """Strings as codes in order of first appearance, -1 for null."""
    names = values.drop_nulls().unique(maintain_order=True).to_list()
    code_of = dict(zip(names, range(len(names)), strict=True))
    if not names:
        return np.full(len(values), -1, np.int32), names
    codes = values.replace_strict(code_of, default=-1, return_dtype=pl.Int32)
    return codes.fill_null(-1).to_numpy().astype(np.int32), names


def floats(values: pl.Series, default: float = float("nan")) -> F4:
    """float32 with ``default`` for null."""
    return values.cast(pl.Float64).fill_null(default).to_numpy().astype(np.float32)


def read_items(file: Path) -> dict[str, Item]:
    """Catalogue records by id; empty without the file. Prices are left to the events: the file's may be later ones."""
    if not file.exists():
        return {}
    frame = pl.read_parquet(file)
    path = next((names for names in PATHS if set(names) <= set(frame.columns)), ())
    records = {}
    for row in frame.iter_rows(named=True):
        steps = [str(row[name]) for name in path if row[name]]
        brand = row.get("brand") or row.get("publisher")
        records[str(row["item_id"])] = Item(
            item_id=str(row["item_id"]),
            title=row.get("title"),
            description=row.get("description"),
            brand=str(brand) if brand else None,
            categories=[steps] if steps else [],
            tags=[str(tag) for tag in row.get("tags") or row.get("attribute_ids") or row.get("keywords") or []],
        )
    return records
