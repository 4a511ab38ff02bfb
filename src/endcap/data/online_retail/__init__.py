"""The bundled sample: nine months of a real gift shop (Online Retail, CC0; see README.md beside this file).

``load_items`` gives the catalogue, ``load_events`` the purchases and refunds in order of time, in chunks ready for
``Engine.observe``. What the source lacks is not invented: there are no views and no pictures, and every category or
attribute is read from the title by the tables in ``keywords.toml``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib import resources

import polars as pl

from endcap.data.online_retail import taxonomy
from endcap.data.online_retail.titles import product_title
from endcap.types import Context, Interaction, Item

WEEK_MS = 7 * 86_400_000
NEWEST_MS = 1_314_811_860_000  # the newest event: 2011-08-31 17:31
CHUNK = 5_000  # events per list: few enough to show progress, enough to share one commit
COUNTRIES: dict[str, str | None] = {
    "EIRE": "Ireland",
    "USA": "United States",
    "European Community": None,
    "Unspecified": None,
}


def load_items(shift_to: int | None = None) -> list[Item]:
    """The catalogue: title, price in GBP, ``[department, leaf]`` category and attributes where the title names them.

    A product counts as published when it first appears in the log; ``shift_to`` moves that as ``load_events`` does.
    """
    table, shift = read("items"), shift_ms(shift_to)
    families = Counter(item_id[:5] for item_id in table["item_id"])
    return [
        product(item_id, product_title(title), price, first * 1000 + shift, has_variants=families[item_id[:5]] > 1)
        for item_id, title, price, first in table.select("item_id", "title", "price", "first_sold").iter_rows()
    ]


def product(item_id: str, title: str, price: float, published_at: int, *, has_variants: bool) -> Item:
    """One record. Stock codes that share five digits are variants of one product: 85099B, 85099C are jumbo bags."""
    path = taxonomy.CATEGORY.first(title)
    motif = taxonomy.MOTIF.first(title)
    return Item(
        item_id=item_id,
        group_id=item_id[:5] if has_variants else None,
        sku=item_id,
        title=title,
        categories=[path] if path else [],
        brand=taxonomy.RANGE.first(title),
        price=round(price, 2),
        currency="GBP",
        color=taxonomy.COLOR.first(title),
        material=taxonomy.MATERIAL.first(title),
        pattern=taxonomy.PATTERN.first(title),
        attributes={"motif": motif} if motif else {},
        language="en",
        published_at=published_at,
    )


def count_events() -> int:
    """How many events ``load_events`` gives without a limit."""
    return read("events").height


def load_events(shift_to: int | None = None, newest: int | None = None) -> Iterator[list[Interaction]]:
    """Purchases and refunds, oldest first, in lists of up to 5,000.

    ``shift_to`` (epoch ms) moves all times by one whole number of weeks so that the newest event lies within the week
    before that moment: weekday and hour stay as they were, and "trending now" has a present to speak of. None keeps
    2010-2011. ``newest`` gives only that many of the newest events.
    """
    table, shift = read("events"), shift_ms(shift_to)
    if newest is not None:
        table = table.tail(newest)
    for start in range(0, table.height, CHUNK):
        rows = table.slice(start, CHUNK).iter_rows(named=False)
        yield [interaction(row, shift) for row in rows]


def shift_ms(shift_to: int | None) -> int:
    """Milliseconds to add to every time: the most whole weeks that keep the newest event at or before ``shift_to``."""
    return 0 if shift_to is None else (shift_to - NEWEST_MS) // WEEK_MS * WEEK_MS


def interaction(row: tuple[object, ...], shift: int) -> Interaction:
    """One line of an invoice. A line without a customer is a guest: one anonymous id per invoice."""
    line, user_id, item_id, refund, timestamp, price, quantity, invoice, country = row
    assert isinstance(timestamp, int)
    assert isinstance(price, float)
    assert isinstance(quantity, int)
    ts = timestamp * 1000 + shift
    region = str(country)
    return Interaction(
        type="refund" if refund else "purchase",
        event_id=f"online-retail:{line}",
        ts=ts,
        received_at=ts,
        user_id=None if user_id is None else str(user_id),
        anon_id=f"guest-{invoice}" if user_id is None else None,
        item_id=str(item_id),
        quantity=float(quantity),
        price=round(price, 4),
        currency="GBP",
        order_id=str(invoice),
        context=Context(region=COUNTRIES.get(region, region), utc_offset_min=0),
    )


def read(name: str) -> pl.DataFrame:
    """One bundled table; events get their line number, which makes a stable event id."""
    with resources.as_file(resources.files(__package__) / f"{name}.parquet") as path:
        table = pl.read_parquet(path)
    return table.with_row_index("line") if name == "events" else table
