"""Build docs/examples/shop, the shop of docs/walkthrough.md, from the bundled Online Retail sample (CC0).

    python tools/make_example_shop.py

Twenty products, the orders that held at least two of them, a picture that draws them all, and their cards on the page.
Nothing is random.
"""

# ruff: noqa: E501  (a drawing reads better unbroken)
from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template

import polars as pl

from endcap.data.online_retail import load_items
from endcap.types import Item

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs/examples/shop"
SAMPLE = ROOT / "src/endcap/data/online_retail/events.parquet"
ADDRESS = "http://localhost:8000"
SINCE = 1_309_478_400  # 1 July 2011: the newest two months of the sample
SHELVES: dict[str, dict[str, str]] = {  # department > leaf: stock code, colour of its picture
    "Kitchen > Tea": {"22423": "#e8c7d4", "22699": "#d9607c", "22697": "#5f9f6e", "22698": "#eb9db8"},
    "Kitchen > Baking": {"22720": "#c9a66b", "22961": "#b3425a", "22960": "#8a4f7d", "84378": "#d4573f"},
    "Bags > Lunch bags": {"20725": "#c8102e", "22383": "#e07b39", "20727": "#333333", "20728": "#3f78b5"},
    "Home > Alarm clocks": {"22727": "#c8102e", "22726": "#4c8c5a", "22728": "#ef8fb1", "22729": "#f08a24"},
    "Home > Doormats": {"20685": "#c8102e", "48138": "#1d3b82", "48194": "#d9607c", "48187": "#7a8fa6"},
}
SHAPES = {
    "Kitchen > Tea": '<path d="M30 42h34v14a17 17 0 0 1-34 0z"/><path d="M64 46h6a7 7 0 0 1 0 14h-6" fill="none" '
    'stroke="{0}" stroke-width="4"/><ellipse cx="47" cy="78" rx="26" ry="4"/>',
    "Kitchen > Baking": '<rect x="26" y="38" width="48" height="40" rx="6"/><rect x="22" y="28" width="56" height="12" rx="4"/>',
    "Bags > Lunch bags": '<path d="M24 40h52l-4 40H28z"/><path d="M38 40a12 14 0 0 1 24 0" fill="none" stroke="{0}" stroke-width="5"/>',
    "Home > Alarm clocks": '<circle cx="50" cy="54" r="26"/><circle cx="33" cy="26" r="8"/><circle cx="67" cy="26" r="8"/>'
    '<path d="M50 40v14l10 8" fill="none" stroke="#fff" stroke-width="4"/>',
    "Home > Doormats": '<rect x="16" y="34" width="68" height="40" rx="3"/><path d="M24 46h52M24 54h52M24 62h52" stroke="#fff" '
    'stroke-width="2"/>',
}
HEAD = ["id", "title", "link", "image_link", "price", "availability", "product_type"]
CARD = Template("""\
      <article id="$id">
        <img src="pictures.svg#p$id" alt=""><h3><a href="?look=$id">$title</a></h3>
        <span class="price">£$price</span> <button onclick="addToCart('$id')">Add to cart</button>
      </article>""")


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    found = {item.item_id: item for item in load_items()}
    products = [(found[code], leaf, colour) for leaf, codes in SHELVES.items() for code, colour in codes.items()]
    rows = [
        [p.item_id, str(p.title), f"{ADDRESS}/?look={p.item_id}", f"{ADDRESS}/pictures.svg#p{p.item_id}",
         f"{p.price:.2f} GBP", "in_stock", leaf]
        for p, leaf, _ in products
    ]  # fmt: skip
    (TARGET / "feed.tsv").write_text("".join("\t".join(row) + "\n" for row in [HEAD, *rows]), "utf-8")
    views = "".join(
        f'<view id="p{p.item_id}" viewBox="{100 * n} 0 100 100"/>\n' for n, (p, _, _) in enumerate(products)
    )
    drawn = "".join(
        f'<g transform="translate({100 * n} 0)" fill="{colour}"><rect width="100" height="100" fill="#f4f1ec"/>'
        f"{SHAPES[leaf].format(colour)}</g>\n"
        for n, (_, leaf, colour) in enumerate(products)
    )
    size = f'viewBox="0 0 {100 * len(products)} 100"'
    (TARGET / "pictures.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{views}{drawn}</svg>\n', "utf-8"
    )
    orders([p.item_id for p, _, _ in products]).write_csv(TARGET / "orders.csv")
    page = TARGET / "index.html"
    before, _, rest = page.read_text("utf-8").partition("<!-- products -->\n")
    cards = "\n".join(card(p) for p, _, _ in products)
    page.write_text(
        f"{before}<!-- products -->\n{cards}\n      <!-- /products -->{rest.partition('<!-- /products -->')[2]}",
        "utf-8",
    )


def card(product: Item) -> str:
    return CARD.substitute(id=product.item_id, title=escape(str(product.title)), price=f"{product.price:.2f}")


def orders(codes: list[str]) -> pl.DataFrame:
    """Purchases of these products since ``SINCE``, of orders that held two of them or more."""
    lines = pl.read_parquet(SAMPLE).filter(
        pl.col("item_id").is_in(codes)
        & ~pl.col("refund")
        & (pl.col("timestamp") >= SINCE)
        & pl.col("user_id").is_not_null()
    )
    return lines.filter(pl.col("item_id").n_unique().over("session_id") > 1).select(
        pl.col("user_id").alias("customer"), pl.col("item_id").alias("sku"),
        pl.from_epoch("timestamp").dt.strftime("%Y-%m-%d %H:%M").alias("ordered_at"),
        pl.col("price").round(2).cast(pl.Float64).round(2), pl.col("quantity"),
        pl.lit("purchase").alias("type"), pl.col("session_id").alias("order_id"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
