"""Shopify: events of a web pixel, and webhooks of orders, refunds and products.

A pixel event is the object that ``analytics.subscribe`` hands to its callback. A webhook record is what the route makes
of a request: ``{"topic", "shop", "payload"}``, after its signature was found right. Ids are numbers, with or without
``gid://shopify/Product/`` before them. An order is known by its own id, so that ``orders/create`` and ``orders/paid``
count once; a guest is known by the note attribute ``endcap_anon_id``, which the shop's theme sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

from endcap.events.adapters.mapping import Kinds, Mapped, context_of, each_read, hint, kinds_of, left_over, made
from endcap.events.adapters.tables import Fields, Table
from endcap.events.records import Problem
from endcap.events.values import epoch_ms, number, text_of
from endcap.types import Event, Item, ItemChange

GUEST = "endcap_anon_id"  # the note attribute (Shopify) or meta key (WooCommerce) that names a guest


def bare(value: Any) -> str | None:
    """An id without the address that GraphQL puts before it."""
    text = text_of(value)
    return text.rpartition("/")[2] or None if text is not None and text.startswith("gid:") else text


TYPES: dict[str, Kinds] = {  # pixel event -> (the event as a whole, each product in it)
    "product_viewed": (None, "view"),
    "product_added_to_cart": (None, "cart_add"),
    "product_removed_from_cart": (None, "cart_remove"),
    "cart_viewed": ("cart_view", None),
    "checkout_started": ("checkout_start", None),
    "checkout_completed": (None, "purchase"),
    "search_submitted": ("search", "impression"),
    "collection_viewed": ("list_view", "impression"),
}
TOPICS: dict[str, tuple[str, Kinds]] = {  # webhook topic -> (what its lines are known by, kinds)
    "orders/create": ("order", (None, "purchase")),
    "orders/paid": ("order", (None, "purchase")),
    "orders/cancelled": ("cancel", (None, "refund")),
    "refunds/create": ("refund", (None, "refund")),
}
EVENT: Fields = {
    "event_id": "id",
    "ts": "timestamp",
    "anon_id": "clientId",
    "user_id": ("data.checkout.order.customer.id", bare),
    "order_id": ("data.checkout.order.id", bare),
    "cart_id": ("data.checkout.token", "data.cart.id"),
    "query": "data.searchResult.query",
    "category": "data.collection.title",
}
CONTEXT: Fields = {
    "url": "document.location.href",
    "page": "document.location.pathname",
    "referrer": "document.referrer",
    "locale": "navigator.language",
    "device": "navigator.userAgent",
}
VARIANT: Fields = {
    "item_id": ("product.id", bare),
    "variant_id": ("id", bare),
    "price": "price.amount",
    "currency": "price.currencyCode",
}
HINT: Fields = {
    "item_id": ("product.id", bare),
    "title": "product.title",
    "brand": "product.vendor",
    "categories": "product.type",
    "url": "product.url",
    "image_urls": "image.src",
    "price": "price.amount",
}
ORDER: Fields = {
    "ts": ("processed_at", "created_at"),
    "user_id": ("customer.id", bare),
    "order_id": ("order_id", "id"),
    "cart_id": "cart_token",
    "currency": "currency",
}
LINE: Fields = {"item_id": "product_id", "variant_id": ("variant_id", "sku"), "quantity": "quantity", "price": "price"}
PRODUCT: Fields = {
    "title": "title",
    "brand": "vendor",
    "categories": "product_type",
    "tags": "tags",
    "published_at": "published_at",
    "updated_at": "updated_at",
}

_event, _context, _variant, _hint = Table(EVENT), Table(CONTEXT), Table(VARIANT), Table(HINT)
_order, _line, _product = Table(ORDER), Table(LINE), Table(PRODUCT)


class ShopifyPixel(Mapped):
    """Events of a web pixel."""

    name = "shopify"

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        facts = _event.read(record)
        ts, source_id = facts.pop("ts", 0), facts.pop("event_id", None)
        facts["context"] = context_of(_context.read(record.get("context")))
        name, data = record.get("name"), record.get("data")
        kinds = kinds_of(name, TYPES, ("custom", None))
        if kinds[0] == "custom":
            path = (facts["context"] and (facts["context"].page or urlsplit(facts["context"].url or "x").path)) or "x"
            if name == "page_viewed" and path == "/":
                kinds = ("home_view", None)
            facts["props"] = {**left_over(record.get("customData"), frozenset()), "event": str(name)[:256]}
        products = self.products(str(name), data if isinstance(data, dict) else {})
        for product in products:
            with suppress(Problem):
                said = _hint.read(product)
                if said.get("title") and "item_id" in said and not self.reading.known(said["item_id"]):
                    yield hint(said, ts or received_at)
        listed: Any = () if kinds[0] and not products else each_read(_variant, products, "data")
        if products and kinds[1] is not None:
            listed = with_quantities(listed, products)
            if kinds[1] == "impression":
                listed = (
                    each if isinstance(each, Problem) else {**each, "position": at} for at, each in enumerate(listed)
                )
        yield from made(kinds, facts, listed, source_id, ts, not received_at)

    def products(self, name: str, data: dict[str, Any]) -> list[Any]:
        """The variants of an event; the quantity and the price paid stand beside the variant's own fields."""
        if isinstance(data.get("productVariant"), dict):
            return [data["productVariant"]]
        if isinstance(line := data.get("cartLine"), dict):
            return [{**as_object(line.get("merchandise")), "quantity": line.get("quantity")}]
        if name == "checkout_completed":
            lines = as_object(data.get("checkout")).get("lineItems")
            return [
                {**as_object(line.get("variant")), "quantity": line.get("quantity"), "paid": line.get("finalLinePrice")}
                if isinstance(line, dict) else line
                for line in (lines if isinstance(lines, list) else ())
            ]  # fmt: skip
        for holder in ("collection", "searchResult"):
            found = as_object(data.get(holder)).get("productVariants")
            if isinstance(found, list):
                return found
        return []


def as_object(value: Any) -> dict[str, Any]:
    """An object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def with_quantities(listed: Any, products: list[Any]) -> Iterator[dict[str, Any] | Problem]:
    """Each product with its quantity, and with the unit price that was paid where the line tells its total."""
    for each, product in zip(listed, products, strict=False):
        if isinstance(each, Problem):
            yield each
            continue
        try:
            quantity = number(product.get("quantity"))
            total = number(as_object(product.get("paid")).get("amount"))
        except (ValueError, TypeError) as wrong:
            yield Problem("bad_number", f"quantity or price: {wrong}", "quantity")
            continue
        each = {**each, "quantity": quantity} if quantity is not None else each
        yield {**each, "price": total / quantity} if total is not None and quantity else each


class ShopifyWebhook(Mapped):
    """Webhooks, after their signature was checked."""

    name = "shopify_webhook"

    def translate(self, record: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
        topic, payload = str(record.get("topic")), record.get("payload")
        if not isinstance(payload, dict):
            raise Problem("wrong_type", f"{topic}: expected an object, got {type(payload).__name__}")
        if topic in ("products/create", "products/update"):
            yield product_change(payload, str(record.get("shop") or ""), delivery(record))
        elif topic == "products/delete":
            item_id = bare(payload.get("id"))
            if item_id is None:
                raise Problem("missing_item", "id: which product was deleted?", "item_id")
            yield ItemChange(event_id=delivery(record), item_id=item_id, ts=0, item=None)
        elif topic in TOPICS:
            yield from ordered(topic, payload, received_at)
        else:
            raise Problem("unknown_type", f"topic {topic[:80]!r} is none that we use; unsubscribe it", "topic")


def ordered(topic: str, payload: dict[str, Any], received_at: int) -> Iterator[Event | Problem]:
    """The lines of an order or of a refund."""
    facts = _order.read(payload)
    ts = min(facts.pop("ts", 0), received_at or 1 << 62)
    anon_id = payload.get("anon_id") or noted(payload.get("note_attributes"))
    if anon_id:
        facts["anon_id"] = anon_id
    known_by, kinds = TOPICS[topic]
    lines = payload.get("line_items")
    if topic == "refunds/create":
        lines = [
            {**as_object(line.get("line_item")), "quantity": line.get("quantity")} if isinstance(line, dict) else line
            for line in payload.get("refund_line_items") or ()
        ]
    source_id = f"shopify:{known_by}:{bare(payload.get('id')) or ''}"
    yield from made(kinds, facts, each_read(_line, lines, "line_items"), source_id, ts, not received_at)


def noted(attributes: Any, key: str = "name") -> str | None:
    """The guest's id among the notes of an order."""
    for note in attributes if isinstance(attributes, list) else ():
        if isinstance(note, dict) and str(note.get(key)).lstrip("_") == GUEST:
            return text_of(note.get("value"))
    return None


def delivery(record: dict[str, Any]) -> str:
    """The id of a change from that of its delivery, so that a repeated one changes nothing."""
    given = record.get("delivery")
    return f"delivery:{given}"[:200] if given else ""


def product_change(payload: dict[str, Any], shop: str, event_id: str) -> ItemChange:
    """The catalogue record of a product: the cheapest variant's price, in stock if any variant is."""
    fields = {**_product.read(payload), "item_id": bare(payload.get("id"))}
    if fields["item_id"] is None:
        raise Problem("missing_item", "id: which product is it?", "item_id")
    body = payload.get("body_html")
    if isinstance(body, str):
        fields["description"] = plain_text(body)
    if payload.get("published_at", "") is None:
        fields["hidden"] = True
    if isinstance(payload.get("handle"), str) and shop:
        fields["url"] = f"https://{shop}/products/{payload['handle']}"
    images = payload.get("images")
    fields["image_urls"] = [
        image["src"] for image in (images if isinstance(images, list) else ())
        if isinstance(image, dict) and isinstance(image.get("src"), str)
    ]  # fmt: skip
    given = payload.get("variants")
    variants = [variant for variant in given if isinstance(variant, dict)] if isinstance(given, list) else []
    priced = [(price, variant) for variant in variants if (price := number(variant.get("price"))) is not None]
    if priced:
        price, cheapest = min(priced, key=lambda pair: pair[0])
        fields |= {"price": price, "sku": text_of(cheapest.get("sku"))}
        fields["list_price"] = number(cheapest.get("compare_at_price"))
    if variants:
        fields["availability"] = "in_stock" if any(map(is_available, variants)) else "out_of_stock"
    if "published_at" in fields:
        fields["published_at"] = epoch_ms(payload["published_at"])
    return ItemChange(event_id=event_id, item_id=fields["item_id"], ts=0, item=Item(**fields))


def is_available(variant: dict[str, Any]) -> bool:
    """Whether a variant can be bought."""
    quantity = number(variant.get("inventory_quantity")) or 0.0
    return quantity > 0 or variant.get("inventory_policy") == "continue" or variant.get("inventory_management") is None


class PlainText(HTMLParser):
    """The text of HTML, without tags, scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style") and self._hidden > 0

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def plain_text(html: str) -> str:
    """A description for people, from one for browsers."""
    reader = PlainText()
    reader.feed(html[:100_000])
    reader.close()
    return " ".join(" ".join(reader.parts).split())[:8_000]
