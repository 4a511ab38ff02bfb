"""What the columns of a Google Merchant feed mean, in TSV and XML alike.

    feed                                      item
    id                                        item_id
    item_group_id                             group_id
    title description link brand gtin mpn condition color size material pattern gender age_group adult    the same
    image_link, additional_image_link         image_urls (commas or repeated)
    sale_price while it holds, else price     price;  sale_price_effective_date says when
    price while a sale holds                  list_price
    the code in a price ("15.00 USD")         currency
    availability                              availability ("in stock", "in_stock", ...)
    product_type, else google_product_category    categories ("A > B"; a bare number stays an attribute)
    custom_label_0 to _4, product_highlight   tags
    expiration_date                           expires_at
    everything else                           attributes (availability_date too: a preorder may be shown before it)

Columns that are only renamed are found by the importer's aliases; here stands what needs more than a name. Nothing is
refused here: what cannot be understood passes as it is and is refused with its record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from endcap.events.adapters.chunks import Chunk
from endcap.events.columns import plain
from endcap.events.values import category_paths, currency_of, epoch_ms, texts

LABELS = tuple(f"custom_label_{n}" for n in range(5))
REPEATED = frozenset({"additional_image_link", "product_type", "product_highlight"})
SIGNS = frozenset({"id", "link"})  # together they tell a feed from other tables
USED = frozenset(
    {"price", "sale_price", "sale_price_effective_date", "image_link", *REPEATED, "google_product_category", *LABELS}
)


def feed_name(column: str) -> str:
    """A column's name as the specification has it: "g:image link" is image_link."""
    return plain(column).removeprefix("g_")


def is_merchant(names: Iterable[str]) -> bool:
    """Whether these are columns of a Merchant feed."""
    return {feed_name(name) for name in names} >= SIGNS


def from_merchant(part: Chunk, now: int) -> Chunk:
    """The chunk with our columns beside those that the importer knows by name. ``now`` (epoch ms) decides on sales."""
    given = {feed_name(name): values for name, values in part.columns.items()}
    nothing: list[Any] = [None] * len(part.lines)

    def column(name: str) -> Any:
        return given.get(name, nothing)

    columns = {name: values for name, values in given.items() if name not in USED}
    sales = zip(column("price"), column("sale_price"), column("sale_price_effective_date"), strict=True)
    prices = [priced(price, sale, when, now) for price, sale, when in sales]
    made: dict[str, list[Any]] = {
        "price": [price for price, _ in prices],
        "list_price": [usual for _, usual in prices],
        "image_urls": [
            [*texts(first, "\n"), *(address for one in listed(more) for address in texts(one))]
            for first, more in zip(column("image_link"), column("additional_image_link"), strict=True)
        ],
        "categories": list(map(categories, column("product_type"), column("google_product_category"))),
        "tags": [
            [*filter(None, labels), *texts(highlights, "\n")]
            for *labels, highlights in zip(*map(column, LABELS), column("product_highlight"), strict=True)
        ],
    }
    if "currency" not in given:
        made["currency"] = [currency_of(price) for price, _ in prices]
    if "google_product_category" in given:
        kept = column("google_product_category")
        made["google_product_category"] = [value if is_number(value) else None for value in kept]
    columns |= {name: values for name, values in made.items() if any(values)}
    return replace(part, columns=columns)


def priced(price: Any, sale: Any, when: Any, now: int) -> tuple[Any, Any]:
    """The price that holds and, in a sale, the usual one."""
    return (sale, price) if sale and holds(when, now) else (price, None)


def holds(when: Any, now: int) -> bool:
    """Whether a time falls into "from/to" (ISO 8601); a span that cannot be read holds, as one that is not given."""
    bounds = str(when or "").split("/")
    if len(bounds) != 2:
        return True
    try:
        return epoch_ms(zoned(bounds[0])) <= now < epoch_ms(zoned(bounds[1]))
    except ValueError:
        return True


def zoned(text: str) -> str:
    """A time whose offset has its colon: Google writes +0100, some Pythons read only +01:00."""
    return re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text.strip())


def categories(shop: Any, google: Any) -> list[list[str]]:
    """The shop's own paths, else Google's path."""
    paths = category_paths(shop)
    return paths or ([] if is_number(google) else category_paths(google))


def listed(value: Any) -> list[Any]:
    """The values of an element that may repeat."""
    return value if isinstance(value, list) else [value]


def is_number(value: Any) -> bool:
    return bool(value) and str(value).strip().isdigit()
