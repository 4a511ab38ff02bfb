"""Which column is which: our field names, the names other systems use for them, and what ``--map`` says.

An explicit mapping always wins; then a column with our own name; then the aliases, in order. Case, spaces, dashes and
dots do not matter.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from endcap.errors import ConfigError, InvalidInput

EVENT_FIELDS: dict[str, tuple[str, ...]] = {
    "event_id": ("message_id", "insert_id", "uuid"),
    "type": ("event_type", "event", "event_name", "action", "behavior", "behaviour", "feedback_type", "interaction"),
    "ts": ("timestamp", "time", "event_time", "datetime", "date", "created_at", "event_timestamp", "timestamp_ms",
           "invoice_date", "invoicedate", "order_date", "unix_timestamp", "sent_at"),
    "user_id": ("user", "customer_id", "customer", "customerid", "userid", "member_id", "account_id"),
    "anon_id": ("anonymous_id", "anonymousid", "visitor_id", "visitorid", "visitor", "user_pseudo_id", "cookie_id",
                "device_id", "client_id", "clientid"),
    "session_id": ("session", "sessionid", "user_session", "ga_session_id", "visit_id"),
    "item_id": ("item", "itemid", "product_id", "product", "productid", "sku", "asin", "article_id", "stock_code",
                "stockcode", "content_id", "movie_id", "track_id", "artist_id", "news_id"),
    "variant_id": ("variant", "variation_id", "item_variant"),
    "quantity": ("qty", "units"),
    "price": ("unit_price", "unitprice", "item_price"),
    "currency": ("currency_code",),
    "value": ("event_value", "portion"),
    "stars": ("rating", "review_score"),
    "order_id": ("order", "orderid", "transaction_id", "transactionid", "invoice", "invoice_no", "invoiceno"),
    "cart_id": ("cart", "cart_token"),
    "placement": ("list_id", "item_list_id", "widget", "slot"),
    "position": ("index", "item_list_index"),
    "request_id": ("recommendation_id", "recomm_id", "attribution_token"),
    "query": ("search_term", "search_query"),
    "category": ("category_id", "page_category"),
    "consent": (),
    "region": ("country", "city", "store", "store_id"),
    "device": ("device_type", "device_class", "platform"),
    "context": (),
    "props": ("properties",),
}  # fmt: skip

ITEM_FIELDS: dict[str, tuple[str, ...]] = {
    "item_id": ("item", "itemid", "product_id", "productid", "id", "sku", "asin", "article_id", "stock_code",
                "stockcode", "handle"),
    "group_id": ("item_group_id", "parent_id", "parent_asin", "product_group"),
    "sku": (),
    "gtin": ("ean", "upc", "barcode"),
    "mpn": (),
    "title": ("name", "product_name", "item_name", "product_title", "prod_name"),
    "description": ("desc", "body_html", "detail_desc", "short_description"),
    "url": ("link", "permalink", "product_url"),
    "image_urls": ("image_link", "image_url", "image", "images", "img_url"),
    "categories": ("category", "category_path", "product_type", "google_product_category", "category_name",
                   "item_category", "genres"),
    "brand": ("vendor", "manufacturer", "item_brand"),
    "price": ("unit_price", "sale_price", "current_price"),
    "list_price": ("regular_price", "compare_at_price", "original_price", "msrp"),
    "currency": ("currency_code",),
    "availability": ("stock_status", "in_stock"),
    "stock_qty": ("stock", "inventory_quantity", "stock_quantity", "inventory"),
    "color": ("colour", "colour_group_name"),
    "size": (),
    "material": (),
    "pattern": (),
    "gender": ("sex",),
    "age_group": (),
    "condition": (),
    "tags": ("keywords", "labels"),
    "rating_avg": ("average_rating", "avg_rating"),
    "rating_count": ("review_count", "num_reviews"),
    "language": ("lang",),
    "published_at": ("published", "release_date", "created_at"),
    "expires_at": ("expires", "expiration_date"),
    "adult": (),
    "hidden": ("is_hidden",),
    "updated_at": ("modified_at",),
    "attributes": (),
    "vectors": (),
}  # fmt: skip


def plain(name: str) -> str:
    """A column's name without what does not matter."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def checked_mapping(given: Mapping[str, str], fields: Iterable[str]) -> dict[str, str]:
    """``--map`` as field -> column. ``ConfigError`` for a field that does not exist, with the nearest that does.

    ``column=field`` is understood too, when only the right side is a field. A "column" that starts with "=" is a
    constant: ``--map type==purchase``.
    """
    known = list(fields)
    mapping: dict[str, str] = {}
    for left, right in given.items():
        if left in known:
            mapping[left] = right
        elif right in known:
            mapping[right] = left
        else:
            near = difflib.get_close_matches(plain(left), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"fields: {', '.join(known)}"
            raise ConfigError(f"--map {left}={right}: {left} is no field; {hint}")
    return mapping


def resolve(
    path: Path, names: Iterable[str], fields: Mapping[str, tuple[str, ...]], mapping: Mapping[str, str]
) -> dict[str, str]:
    """field -> column for one file. ``InvalidInput`` when ``mapping`` names a column that the file lacks."""
    columns = list(names)
    by_plain = {plain(name): name for name in reversed(columns)}
    found: dict[str, str] = {}
    for field, column in mapping.items():
        if not column.startswith("=") and column not in columns:
            near = difflib.get_close_matches(column, columns, n=1, cutoff=0.5)
            hint = f"did you mean --map {field}={near[0]}?" if near else "name one of them with --map"
            raise InvalidInput(
                f"{path} has no column {column!r}; its columns are: {listed(columns)}. {hint}", field=field
            )
        found[field] = column
    used = set(found.values())
    for offered in (lambda field: (field,), lambda field: fields[field]):  # own names first, then aliases
        for field in fields:
            if field in found:
                continue
            match = next(
                (by_plain[name] for name in offered(field) if by_plain.get(name, "=") not in used | {"="}), None
            )
            if match is not None:
                found[field] = match
                used.add(match)
    return found


def missing(path: Path, field: str, names: Iterable[str], what: str) -> InvalidInput:
    """The error for a file without a column that is needed."""
    return InvalidInput(
        f"{path} has no column for {what}; its columns are: {listed(list(names))}. Say which with --map {field}=COLUMN",
        field=field,
    )


def listed(columns: list[str]) -> str:
    """Column names for a message, not too many."""
    shown = ", ".join(columns[:30])
    return f"{shown} and {len(columns) - 30} more" if len(columns) > 30 else shown or "(none)"
