"""Build the bundled Online Retail sample from the full nine-month extract.

    python tools/make_sample.py [SOURCE_FOLDER]

``SOURCE_FOLDER`` holds ``events.parquet`` and ``items.parquet`` as described in the sample's README (default:
``$ENDCAP_DATA/online_retail``, else ``../shared/data/online_retail``). The result is byte-identical on every run with
the same polars version: rows keep the source's order, nothing is random.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import polars as pl
from rich.console import Console

TARGET = Path(__file__).parents[1] / "src/endcap/data/online_retail"
# five digits and yet not something a shopper can put in a cart
SERVICES = "(?i)carriage|packing charge|gift voucher|polyester filler"


def source_folder() -> Path:
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    return Path(os.environ.get("ENDCAP_DATA", "../shared/data")) / "online_retail"


def products(items: pl.DataFrame) -> pl.DataFrame:
    """Real products: a five-digit code, a printed title, a plausible price."""
    kept = items.filter(
        pl.col("is_product")
        & ~pl.col("title").str.contains(SERVICES)
        & pl.col("title").str.contains("[A-Z]{3}")
        & (pl.col("price") >= 0.05)
    )
    # the shop's clerks typed 85123A and 85123a: one product, the more frequent spelling names it
    one_each = (
        kept.with_columns(code()).sort("n_lines", descending=True, maintain_order=True).unique("item_id", keep="first")
    )
    return one_each.sort("item_id").select("item_id", "title", "price", "n_lines")


def code() -> pl.Expr:
    return pl.col("item_id").str.to_uppercase()


def lines(events: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """Purchases and returns of those products, without exact duplicates; narrow types keep the file small."""
    sold = (
        events.with_columns(code())
        .filter(pl.col("event_type") != "adjustment")
        .join(kept.select("item_id"), on="item_id", how="semi")
    )
    return sold.unique(maintain_order=True, keep="first").select(
        "user_id",
        "item_id",
        (pl.col("event_type") == "return").alias("refund"),
        pl.col("timestamp").cast(pl.Int32),
        pl.col("price").cast(pl.Float32),
        pl.col("quantity").abs().cast(pl.Int32),
        "session_id",
        "country",
    )


def main() -> None:
    folder = source_folder()
    events, items = pl.read_parquet(folder / "events.parquet"), pl.read_parquet(folder / "items.parquet")
    kept = products(items)
    rows = lines(events, kept)
    first = rows.group_by("item_id").agg(pl.col("timestamp").min().alias("first_sold"))
    kept = kept.join(first, on="item_id", how="inner", maintain_order="left")
    kept.write_parquet(TARGET / "items.parquet", compression="zstd", compression_level=19)
    rows.write_parquet(TARGET / "events.parquet", compression="zstd", compression_level=19, row_group_size=40_000)
    say = Console().print
    counts = events["event_type"].value_counts(sort=True).rows()
    say(f"source: {len(events)} rows {counts}, {len(items)} items")
    say(f"sample: {len(rows)} rows, {len(kept)} items, newest {rows['timestamp'].max()}")


if __name__ == "__main__":
    main()
