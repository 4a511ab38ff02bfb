"""WooCommerce: webhooks of orders, products and customers.

A record is what the route makes of a request: ``{"topic", "payload"}``, after its signature was found right. Orders
count when their status says that they are paid (processing, completed), as refunds when it says refunded; the other
states of an order are no event. An order is known by its own id, so that its many updates count once. Times without a
zone are UTC. ``total`` is that of a line, after discounts; the unit price is that over the quantity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from endcap.events.adapters.mapping import Kinds, Mapped, each_read, made
from endcap.events.adapters.shopify import delivery, noted, plain_text
from endcap.events.adapters.tables import Fields, Table
from endcap.events.records import Problem
from endcap.events.values import number, text_of
from endcap.types import Event, Item, ItemChange

STATUS: dict[str, tuple[str, Kinds]] = {  # status of an order -> (what its lines are known by, kinds)
    "processing": ("order", (None, "purchase")),
    "completed": ("order", (None, "purchase")),
    "refunded": ("refund", (None, "refund")),
}


def person(value: Any) -> str | None:
    """A customer's id; 0 is a guest."""
    text = text_of(value)
    return None if text in (None, "0") else text


ORDER: Fields = {
    "ts": ("date_created_gmt", "date_created"),
    "user_id": ("customer_id", person),
    "order_id": "id",
    "cart_id": "cart_hash",
    "currency": "currency",
}
LINE: Fields = {
    "item_id": "product_id",
    "variant_id": (("variation_id", person), "sku"),
    "quantity": "quantity",
}
PRODUCT: Fields = {
    "item_id": "id",
    "title": "name",
    "url": "permalink",
    "sku": "sku",
    "price": "price",
    "list_price": "regular_price",
    "availability": "stock_status",
    "stock_qty": "stock_quantity",
    "rating_avg": "average_rating",
    "rating_count": "rating_count",
    "published_at": "date_created_gmt",
    "updated_at": "date_modified_gmt",
}
LATER = frozenset({"on-hold", "pending", "failed", "cancelled", "checkout-draft", "trash"})  # no event

_order, _line, _product = Table(ORDER), Table(LINE), Table(PRODUCT)


class WooCommerce(Mapped):
    """Webhooks, after their signature was checked."""

    name = "woocommerce"

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        topic, payload = str(record.get("topic")), record.get("payload")
        if not isinstance(payload, dict):
            raise Problem("wrong_type", f"{topic}: expected an object, got {type(payload).__name__}")
        if topic in ("order.created", "order.updated"):
            yield from ordered(payload, received_at)
        elif topic in ("product.created", "product.updated", "product.restored"):
            yield product_change(payload, delivery(record))
        elif topic == "product.deleted":
            item_id = text_of(payload.get("id"))
            if item_id is None:
                raise Problem("missing_item", "id: which product was deleted?", "item_id")
            yield ItemChange(event_id=delivery(record), item_id=item_id, ts=0, item=None)
        else:
            raise Problem("unknown_type", f"topic {topic[:80]!r} is none that we use; delete that webhook", "topic")


def ordered(payload: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
    """The lines of an order that is paid or was given back."""
    status = payload.get("status")
    if status in LATER:
        return
    if status not in STATUS:
        raise Problem("unknown_type", f"status {str(status)[:80]!r}: expected one of {', '.join(STATUS)}", "status")
    known_by, kinds = STATUS[status]
    facts = _order.read(payload)
    ts = min(facts.pop("ts", 0), received_at or 1 << 62)
    anon_id = noted(payload.get("meta_data"), "key")
    if anon_id:
        facts["anon_id"] = anon_id
    lines = payload.get("line_items")
    read = each_read(_line, lines, "line_items")
    products = (priced(each, line) for each, line in zip(read, lines or [{}], strict=False))
    source_id = f"woocommerce:{known_by}:{text_of(payload.get('id')) or ''}"
    yield from made(kinds, facts, products, source_id, ts, not received_at)


def priced(each: dict[str, Any] | Problem, line: Any) -> dict[str, Any] | Problem:
    """A line with its unit price."""
    if isinstance(each, Problem):
        return each
    try:
        total = number(line.get("total"))
    except (ValueError, TypeError) as wrong:
        return Problem("bad_number", f"total: {wrong}", "price")
    quantity = each.get("quantity", 1.0)
    return {**each, "price": total / quantity} if total is not None and quantity else each


def product_change(payload: dict[str, Any], event_id: str) -> ItemChange:
    """The catalogue record of a product."""
    fields = _product.read(payload)
    if "item_id" not in fields:
        raise Problem("missing_item", "id: which product is it?", "item_id")
    text = payload.get("description") or payload.get("short_description")
    if isinstance(text, str):
        fields["description"] = plain_text(text)
    fields["categories"] = [[name] for name in names(payload.get("categories"))]
    fields["tags"] = names(payload.get("tags"))
    fields["image_urls"] = names(payload.get("images"), "src")
    if payload.get("status", "publish") != "publish" or payload.get("catalog_visibility") == "hidden":
        fields["hidden"] = True
    parent = payload.get("parent_id")
    if parent:
        fields["group_id"] = text_of(parent)
    attributes: dict[str, Any] = {}
    given = payload.get("attributes")
    for one in given if isinstance(given, list) else ():
        if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("options"), list):
            attributes[one["name"][:64]] = [str(option)[:256] for option in one["options"][:64]]
    for cold_start in ("upsell_ids", "cross_sell_ids"):
        held = payload.get(cold_start)
        if isinstance(held, list) and held:
            attributes[cold_start] = [str(other)[:256] for other in held[:64]]
    return ItemChange(event_id=event_id, item_id=fields["item_id"], ts=0, item=Item(**fields, attributes=attributes))


def names(given: Any, key: str = "name") -> list[str]:
    """One text of each object of a list."""
    return [
        one[key] for one in (given if isinstance(given, list) else ())
        if isinstance(one, dict) and isinstance(one.get(key), str)
    ]  # fmt: skip
