"""Products as pages describe them for search engines: schema.org JSON-LD, in a page or in a file of its own.

    schema.org                                             item
    sku, productID, productGroupID (of a group), @id       item_id, the first that is there
    isVariantOf.productGroupID, inProductGroupWithID       group_id
    name, description, url, mpn, color, size, material, pattern    title, description, url, ...
    gtin, gtin13, gtin14, gtin12, gtin8                    gtin
    image (text, list, ImageObject)                        image_urls
    offers (one, a list, AggregateOffer): price or lowPrice or priceSpecification.price, priceCurrency, availability
    offers.priceValidUntil                                 (not taken: it ends a price, not a product)
    category, else the page's BreadcrumbList               categories
    brand.name, manufacturer.name                          brand
    itemCondition                                          condition ("NewCondition" is new)
    keywords                                               tags
    aggregateRating.ratingValue, .reviewCount              rating_avg, rating_count
    releaseDate                                            published_at
    audience.suggestedGender                               gender
    isFamilyFriendly false                                 adult

``@graph``, ``mainEntity``, lists and the entries of an ItemList are walked; a ProductGroup with ``hasVariant`` gives
its variants, with what they leave to the group. Articles give headline, datePublished, articleSection, author.
"""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec

from endcap.errors import InvalidInput
from endcap.events.adapters.chunks import CHUNK, Broken, Chunk
from endcap.events.adapters.jsonl import columns
from endcap.events.adapters.text import ADVICE, is_clean, open_text

PRODUCTS = frozenset({"Product", "ProductGroup", "IndividualProduct", "ProductModel"})
ARTICLES = frozenset({"Article", "NewsArticle", "BlogPosting"})
SAME = ("description", "url", "mpn", "color", "size", "material", "pattern")
OWN = ("item_id", "price", "availability")  # never taken from the group
GTINS = ("gtin", "gtin13", "gtin14", "gtin12", "gtin8")
MAX_DEPTH = 12
MAX_FILE = 200_000_000  # characters


def read_jsonld(path: Path, size: int = CHUNK) -> Iterator[Chunk]:
    """The products of a page or a JSON file; ``lines`` count them. ``InvalidInput`` when there is no JSON-LD."""
    with open_text(path) as (text, _):
        whole = text.read(MAX_FILE)
    if not is_clean(whole):
        raise InvalidInput(f"{path} is not UTF-8; {ADVICE}")
    scripts = blocks(whole) if whole.lstrip()[:1] == "<" else [whole]
    if not scripts:
        raise InvalidInput(f'{path} has no <script type="application/ld+json">; is its markup made by scripts?')
    broken: list[Broken] = []
    records: list[dict[str, Any]] = []
    crumbs: list[list[str]] = []
    for number, script in enumerate(scripts, 1):
        try:
            value = msgspec.json.decode(script)
        except (msgspec.MsgspecError, RecursionError) as wrong:
            broken.append(Broken(number, "bad_json", f"block {number} is not JSON: {wrong}"))
            continue
        walk(value, records, crumbs)
    if len(crumbs) == 1:
        for record in records:
            record.setdefault("categories", crumbs)
    done = path.stat().st_size
    for start in range(0, max(1, len(records)), size):
        part = records[start : start + size]
        yield Chunk(range(start + 1, start + 1 + len(part)), columns(part), done, broken if start == 0 else [])


class Blocks(HTMLParser):
    """Collects the texts of JSON-LD scripts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kind = (dict(attrs).get("type") or "").partition(";")[0].strip().lower()
        self._inside = tag == "script" and kind == "application/ld+json"
        if self._inside:
            self.found.append("")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


def blocks(page: str) -> list[str]:
    """The JSON-LD of a page."""
    parser = Blocks()
    parser.feed(page)
    return parser.found


def walk(value: Any, records: list[dict[str, Any]], crumbs: list[list[str]], depth: int = 0) -> None:
    """Every product and article below ``value``, and the trails of breadcrumbs."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, list):
        for one in value:
            walk(one, records, crumbs, depth + 1)
    if not isinstance(value, dict):
        return
    kinds = types_of(value)
    if kinds & PRODUCTS:
        variants = [one for one in listed(value.get("hasVariant")) if isinstance(one, dict)]
        group = product(value)
        records += [{**shared(group), **product(one), "group_id": group.get("item_id")} for one in variants] or [group]
    elif kinds & ARTICLES:
        records.append(article(value))
    elif "BreadcrumbList" in kinds:
        names = [name_of(one) or name_of(one.get("item")) for one in dicts(value.get("itemListElement"))]
        crumbs.append([name for name in names if name])
    else:
        for name in ("@graph", "mainEntity", "mainEntityOfPage", "itemListElement", "item"):
            walk(value.get(name), records, crumbs, depth + 1)


def types_of(value: dict[str, Any]) -> set[str]:
    """Names of its types, without "https://schema.org/"."""
    return {str(kind).rpartition("/")[2].rpartition(":")[2] for kind in listed(value.get("@type"))}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in listed(value) if isinstance(one, dict)]


def name_of(value: Any) -> str | None:
    """A name, given as text or as a thing that has one; of several the first."""
    first = next(iter(listed(value)), None)
    found = first.get("name") if isinstance(first, dict) else first
    return str(found).strip() or None if isinstance(found, str | int | float) else None


def last_part(value: Any) -> str | None:
    """ "InStock" of "https://schema.org/InStock"."""
    return str(value).rstrip("/").rpartition("/")[2] if value else None


def shared(group: dict[str, Any]) -> dict[str, Any]:
    """What a variant takes from its group."""
    return {name: value for name, value in group.items() if name not in OWN}


def product(value: dict[str, Any]) -> dict[str, Any]:
    """The columns of one product; what it does not say is left out."""
    group = next(iter(dicts(value.get("isVariantOf"))), {})
    rating = next(iter(dicts(value.get("aggregateRating"))), {})
    audience = next(iter(dicts(value.get("audience"))), {})
    condition = last_part(value.get("itemCondition") or offer_of(value).get("itemCondition"))
    friendly = value.get("isFamilyFriendly")
    found = {
        "item_id": value.get("sku") or value.get("productID") or value.get("productGroupID") or value.get("@id"),
        "group_id": group.get("productGroupID") or name_of(value.get("inProductGroupWithID")),
        "title": name_of(value.get("name")),
        **{name: name_of(value.get(name)) for name in SAME},
        "gtin": next((value[name] for name in GTINS if value.get(name)), None),
        "image_urls": pictures(value.get("image")),
        "categories": category(value.get("category")),
        "brand": name_of(value.get("brand")) or name_of(value.get("manufacturer")),
        "condition": condition.removesuffix("Condition").lower() if condition else None,
        "tags": value.get("keywords"),
        "rating_avg": rating.get("ratingValue"),
        "rating_count": rating.get("reviewCount") or rating.get("ratingCount"),
        "published_at": value.get("releaseDate"),
        "gender": audience.get("suggestedGender"),
        "adult": None if friendly is None else str(friendly).lower().endswith("false"),
        **offered(value),
    }  # fmt: skip
    return {name: one for name, one in found.items() if one not in (None, "", [])}


def offer_of(value: dict[str, Any]) -> dict[str, Any]:
    """Of several offers the cheapest that can be bought, else the first."""
    offers = dicts(value.get("offers"))
    buyable = [one for one in offers if "OutOfStock" not in str(one.get("availability")) and cost(one) is not None]
    return min(buyable, key=lambda one: cost(one) or 0.0) if buyable else next(iter(offers), {})


def cost(offer: dict[str, Any]) -> float | None:
    """A number to compare offers by."""
    try:
        return float(price_of(offer))
    except (TypeError, ValueError):
        return None


def price_of(offer: dict[str, Any]) -> Any:
    specified = next(iter(dicts(offer.get("priceSpecification"))), {})
    return next(
        (one for one in (offer.get("price"), offer.get("lowPrice"), specified.get("price")) if one is not None), None
    )


def offered(value: dict[str, Any]) -> dict[str, Any]:
    """Price, currency and availability."""
    offer = offer_of(value)
    specified = next(iter(dicts(offer.get("priceSpecification"))), {})
    return {
        "price": price_of(offer),
        "currency": offer.get("priceCurrency") or specified.get("priceCurrency"),
        "availability": last_part(offer.get("availability")),
    }


def pictures(value: Any) -> list[str]:
    """Addresses of pictures."""
    addresses = [one.get("url") or one.get("contentUrl") if isinstance(one, dict) else one for one in listed(value)]
    return [str(one) for one in addresses if one]


def category(value: Any) -> list[Any]:
    """Paths; a category may be text or a thing with a name."""
    return [name for one in listed(value) if (name := name_of(one))]


def article(value: dict[str, Any]) -> dict[str, Any]:
    """A news article as an item."""
    found = {
        "item_id": value.get("@id") or value.get("identifier") or name_of(value.get("url")),
        "title": name_of(value.get("headline")) or name_of(value.get("name")),
        "description": name_of(value.get("description")),
        "url": name_of(value.get("url")),
        "image_urls": pictures(value.get("image")),
        "categories": category(value.get("articleSection")),
        "brand": name_of(value.get("author")),
        "tags": value.get("keywords"),
        "language": name_of(value.get("inLanguage")),
        "published_at": value.get("datePublished"),
    }
    return {name: one for name, one in found.items() if one not in (None, "", [])}
