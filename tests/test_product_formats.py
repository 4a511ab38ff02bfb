"""Product feeds and described products: what a shop publishes for others becomes items, record by record."""

# ruff: noqa: E501  (feeds read better unbroken)
from __future__ import annotations

import contextlib
import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from endcap.errors import InvalidInput
from endcap.events.importer import import_items
from endcap.events.quality import DataQuality
from endcap.events.values import currency_of, money, number
from endcap.types import Ack, Item

NOW = round(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp() * 1000)

RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title><link>https://shop.example</link>
<item>
  <title>not this</title><g:title>Blue mug &amp; saucer</g:title><g:id>mug-blue</g:id><g:item_group_id>mug</g:item_group_id>
  <link>https://shop.example/mug</link><g:description><![CDATA[<b>Blue</b>]]></g:description>
  <g:image_link>https://shop.example/1.jpg</g:image_link>
  <g:additional_image_link>https://shop.example/2.jpg</g:additional_image_link>
  <g:additional_image_link>https://shop.example/3.jpg,https://shop.example/4.jpg</g:additional_image_link>
  <g:price>1,299.00 EUR</g:price><g:sale_price>999.50 EUR</g:sale_price>
  <g:sale_price_effective_date>2026-11-20T00:00+0100/2026-11-30T23:59+0100</g:sale_price_effective_date>
  <g:availability>in stock</g:availability><g:brand>Acme</g:brand><g:gtin>4006381333931</g:gtin><g:condition>new</g:condition>
  <g:product_type>Kitchen &gt; Mugs</g:product_type><g:product_type>Gifts</g:product_type>
  <g:google_product_category>2169</g:google_product_category><g:color>blue</g:color><g:adult>no</g:adult>
  <g:custom_label_0>winter</g:custom_label_0><g:product_highlight>Dishwasher, safe</g:product_highlight>
  <g:shipping><g:country>DE</g:country><g:price>4 EUR</g:price></g:shipping>
</item>
<item><g:id>pot</g:id><title>Pot</title><link>https://shop.example/pot</link><g:price>40.00 EUR</g:price><g:sale_price>30.00 EUR</g:sale_price>
  <g:sale_price_effective_date>2026-12-01T00:00Z/2026-12-24T00:00Z</g:sale_price_effective_date><g:availability>out_of_stock</g:availability>
  <g:google_product_category>Home &gt; Pots</g:google_product_category></item>
<item><g:id>bad</g:id><title>No price</title><link>https://shop.example/bad</link><g:price>ask us</g:price></item>
<item><title>No id</title><link>https://shop.example/none</link></item>
</channel></rss>"""

ATOM = """<?xml version="1.0"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><title>Shop</title><id>urn:feed</id>
<entry><id>urn:entry:1</id><g:id>mug</g:id><title>Mug</title><link href="https://shop.example/mug"/><g:price>8 GBP</g:price>
<g:availability>preorder</g:availability><g:availability_date>2027-01-01</g:availability_date></entry></feed>"""

TSV = (
    "id\ttitle\tlink\timage link\tprice\tsale price\tavailability\tproduct type\tmaterial\tage group\n"
    'mug\t"Mug, ""blue"""\thttps://shop.example/mug\thttps://shop.example/1.jpg\t12,90 EUR\t9,90 EUR\tin stock\tKitchen > Mugs\tclay\tadult\n'
    "pan\tPan\thttps://shop.example/pan\t\t1.299,00 EUR\t\tpreorder\t\t\t\n"
)

PAGE = """<html><head>
<script type="application/ld+json">{"@context": "https://schema.org", "@type": "BreadcrumbList", "itemListElement": [
 {"@type": "ListItem", "position": 1, "name": "Kitchen"}, {"@type": "ListItem", "position": 2, "item": {"@id": "/m", "name": "Mugs"}}]}</script>
<script type="application/ld+json">{ broken </script>
<script>var x = "application/ld+json";</script>
<script type="application/ld+json; charset=utf-8">{"@graph": [{"@type": "WebSite", "name": "Shop"}, {
 "@type": ["Product", "Thing"], "sku": "mug-blue", "name": "Blue mug", "description": "<b>", "url": "https://shop.example/mug",
 "image": [{"@type": "ImageObject", "url": "https://shop.example/1.jpg"}, "https://shop.example/2.jpg"],
 "brand": {"@type": "Brand", "name": "Acme"}, "gtin13": "4006381333931", "color": "blue", "keywords": "gift, tea",
 "isVariantOf": {"@type": "ProductGroup", "productGroupID": "mug"}, "itemCondition": "https://schema.org/NewCondition",
 "aggregateRating": {"ratingValue": "4.5", "reviewCount": 12}, "releaseDate": "2026-01-02", "audience": {"suggestedGender": "unisex"},
 "offers": [{"price": "9.90", "priceCurrency": "EUR", "availability": "https://schema.org/OutOfStock"},
            {"price": "12.90", "priceCurrency": "EUR", "availability": "http://schema.org/LimitedAvailability"}]}]}</script>
</head></html>"""

GROUP = """{"@type": "ItemList", "itemListElement": [{"@type": "ListItem", "item": {"@type": "https://schema.org/ProductGroup",
 "productGroupID": "shirt", "name": "Shirt", "brand": "Acme", "category": "Clothes > Shirts", "hasVariant": [
  {"@type": "Product", "sku": "shirt-s", "size": "S", "offers": {"@type": "AggregateOffer", "lowPrice": 10, "priceCurrency": "USD"}},
  {"@type": "Product", "sku": "shirt-m", "size": "M", "offers": {"priceSpecification": {"price": 11, "priceCurrency": "USD"}}}]}},
 {"@type": "NewsArticle", "@id": "n1", "headline": "Tea", "datePublished": "2026-11-01T10:00:00Z", "articleSection": "Food", "author": [{"name": "Ada"}]}]}"""


def items_of(path: Path, text: str | bytes, now: int = NOW) -> tuple[dict[str, Item], DataQuality]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    found: dict[str, Item] = {}

    def sink(some: list[Item]) -> Ack:
        found.update((item.item_id, item) for item in some)
        return Ack(accepted=len(some))

    return found, import_items([path], sink, now=now)


def test_an_rss_feed_of_a_merchant(tmp_path: Path) -> None:
    found, quality = items_of(tmp_path / "feed.xml", RSS)
    assert found["mug-blue"] == Item(
        item_id="mug-blue", group_id="mug", title="Blue mug & saucer", description="<b>Blue</b>", url="https://shop.example/mug",
        image_urls=[f"https://shop.example/{n}.jpg" for n in (1, 2, 3, 4)], price=999.5, list_price=1299.0, currency="EUR",
        brand="Acme", gtin="4006381333931", condition="new", categories=[["Kitchen", "Mugs"], ["Gifts"]], color="blue",
        tags=["winter", "Dishwasher, safe"], attributes={"google_product_category": "2169"},
    )  # fmt: skip
    pot = found["pot"]
    assert (pot.price, pot.list_price, pot.availability, pot.categories) == (
        40.0,
        None,
        "out_of_stock",
        [["Home", "Pots"]],
    )
    assert quality.refused == {"wrong_type": 1, "missing_item": 1}
    assert quality.named == {"mug-blue", "pot", "bad"}
    assert "feed.xml:3" in quality.examples["wrong_type"][0]
    later, _ = items_of(tmp_path / "feed.xml", RSS, now=NOW + 14 * 86_400_000)
    assert [(later[name].price, later[name].list_price) for name in ("mug-blue", "pot")] == [
        (1299.0, None),
        (30.0, 40.0),
    ]


def test_an_atom_feed_prefers_the_merchants_id(tmp_path: Path) -> None:
    found, _ = items_of(tmp_path / "feed.atom", ATOM)
    mug = found["mug"]
    assert (mug.url, mug.price, mug.currency, mug.availability) == ("https://shop.example/mug", 8.0, "GBP", "preorder")
    assert mug.published_at is None  # a preorder may be shown before it is delivered


@pytest.mark.parametrize("zipped", [False, True])
def test_a_tab_separated_feed(tmp_path: Path, zipped: bool) -> None:
    text = gzip.compress(TSV.encode()) if zipped else TSV.encode()
    found, quality = items_of(tmp_path / ("feed.tsv.gz" if zipped else "feed.tsv"), text)
    assert found["mug"] == Item(
        item_id="mug", title='Mug, "blue"', url="https://shop.example/mug", image_urls=["https://shop.example/1.jpg"], price=9.9,
        list_price=12.9, currency="EUR", categories=[["Kitchen", "Mugs"]], material="clay", age_group="adult",
    )  # fmt: skip
    assert (found["pan"].price, found["pan"].availability) == (1299.0, "preorder")
    assert quality.refused == {}


def test_a_feed_that_breaks_off_gives_what_it_had_and_says_so(tmp_path: Path) -> None:
    found, quality = items_of(tmp_path / "feed.xml", RSS[: RSS.index("<item><g:id>bad")])
    assert set(found) == {"mug-blue", "pot"}
    assert quality.refused == {"bad_xml": 1}


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE rss [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE rss SYSTEM "http://127.0.0.1:1/evil.dtd">',
    ],
)
def test_a_feed_may_not_declare_entities(tmp_path: Path, declared: str) -> None:
    found, quality = items_of(tmp_path / "feed.xml", RSS.replace("?>", f"?>{declared}", 1))
    assert found == {}
    assert set(quality.refused) == {"bad_xml"}


def test_a_product_of_a_page(tmp_path: Path) -> None:
    found, quality = items_of(tmp_path / "page.html", PAGE)
    assert found == {
        "mug-blue": Item(
            item_id="mug-blue", group_id="mug", title="Blue mug", description="<b>", url="https://shop.example/mug",
            image_urls=["https://shop.example/1.jpg", "https://shop.example/2.jpg"], brand="Acme", gtin="4006381333931", color="blue",
            tags=["gift", "tea"], condition="new", rating_avg=4.5, rating_count=12, gender="unisex", price=12.9, currency="EUR",
            categories=[["Kitchen", "Mugs"]],
            published_at=round(datetime(2026, 1, 2, tzinfo=UTC).timestamp() * 1000),
        )
    }  # fmt: skip
    assert quality.refused == {"bad_json": 1}


def test_a_group_gives_its_variants_with_what_they_leave_to_it(tmp_path: Path) -> None:
    found, _ = items_of(tmp_path / "list.jsonld", GROUP)
    assert {
        name: (item.group_id, item.title, item.brand, item.size, item.price, item.currency)
        for name, item in found.items()
    } == {
        "shirt-s": ("shirt", "Shirt", "Acme", "S", 10.0, "USD"),
        "shirt-m": ("shirt", "Shirt", "Acme", "M", 11.0, "USD"),
        "n1": (None, "Tea", "Ada", None, None, None),
    }
    assert found["shirt-s"].categories == [["Clothes", "Shirts"]]


def test_a_page_without_products_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no <script"):
        items_of(tmp_path / "page.html", "<html></html>")


@pytest.mark.parametrize(
    ("text", "value", "currency"),
    [
        ("15.00 USD", 15.0, "USD"), ("1,299.00 EUR", 1299.0, "EUR"), ("1.299,00 EUR", 1299.0, "EUR"), ("EUR 12,90", 12.9, "EUR"),
        ("\u20ac12.90", 12.9, "EUR"), ("12,90 \u20ac", 12.9, "EUR"), ("\u00a33", 3.0, "GBP"), ("1 299,00 EUR", 1299.0, "EUR"),
        ("1'299.00 CHF", 1299.0, "CHF"), ("12", 12.0, None), ("$12", 12.0, None), ("1,234,567.89 INR", 1234567.89, "INR"), ("0 EUR", 0.0, "EUR"),
        ("1,000", 1000.0, None), ("0,5", 0.5, None), (12.5, 12.5, None), ("99 K\u010d", 99.0, None), ("12usd", 12.0, "USD"), ("kr. 100", 100.0, None), ("$.50", 0.5, None), ("US$ 12", 12.0, None), ("12,- \u20ac", 12.0, "EUR"),
    ],
)  # fmt: skip
def test_a_price_in_words(text: Any, value: float, currency: str | None) -> None:
    assert money(text) == pytest.approx(value)
    assert currency_of(text) == currency


@pytest.mark.parametrize("text", ["ask us", "12 or 13 EUR", "EUR", "1.2.3", "--"])
def test_a_price_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        money(text)


@given(
    st.integers(0, 10**9),
    st.sampled_from(["{:,.2f}", "{:.2f}"]),
    st.booleans(),
    st.sampled_from(["{} EUR", "EUR {}", "{}", "{}\u20ac"]),
)
def test_a_price_survives_its_writing(cents: int, form: str, continental: bool, around: str) -> None:
    text = form.format(cents / 100)
    if continental:
        text = text.translate(str.maketrans(",.", ".,"))
    assert money(around.format(text)) == pytest.approx(cents / 100)
    assert number(text) == pytest.approx(cents / 100)


@given(st.binary(max_size=300), st.integers(0, len(RSS)), st.integers(0, 40))
@example(noise=b"\xfe\xff", at=0, cut=0)  # a UTF-16 text of an odd length
@example(noise=b"\xff\xfe\x00\xd8", at=0, cut=0)  # half of a pair
def test_no_damage_to_a_feed_is_more_than_refusals(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, cut: int
) -> None:
    text = RSS.encode()
    path = tmp_path_factory.getbasetemp() / "damaged.xml"
    _, quality = items_of(path, text[:at] + noise + text[at + cut :])
    assert quality.accepted + quality.n_refused <= quality.read + 1
    for page in (PAGE, GROUP):
        damaged = page.encode()[:at] + noise + page.encode()[at + cut :]
        with contextlib.suppress(InvalidInput):
            items_of(path.with_suffix(".jsonld"), damaged)
