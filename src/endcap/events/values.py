"""Foreign values to ours: times of any unit, numbers in text, names of actions, category paths.

Each function raises ``ValueError`` with a message for the sender when a value cannot be understood. None stays None.
"""

from __future__ import annotations

import difflib
import math
import re
from datetime import UTC, date, datetime
from typing import Any

from endcap.types import ACTIONS

# What other systems call our actions; compared without case and punctuation.
TYPE_ALIASES: dict[str, str] = {name: name for name in ACTIONS} | {
    "pageview": "view", "page_view": "view", "product_view": "view", "product_viewed": "view", "viewed_product": "view",
    "view_item": "view", "detail_page_view": "view", "adddetailview": "view", "item_view": "view", "pv": "view",
    "select_item": "click", "product_clicked": "click", "list_click": "click", "clicked_product": "click",
    "cart": "cart_add", "add_to_cart": "cart_add", "addtocart": "cart_add", "add_cart": "cart_add",
    "product_added": "cart_add", "product_added_to_cart": "cart_add", "addcartaddition": "cart_add",
    "wishlist_product_added_to_cart": "cart_add", "basket": "cart_add", "add_to_basket": "cart_add",
    "remove_from_cart": "cart_remove", "product_removed": "cart_remove", "product_removed_from_cart": "cart_remove",
    "deletecartaddition": "cart_remove", "removefromcart": "cart_remove",
    "view_cart": "cart_view", "cart_viewed": "cart_view", "shopping_cart_page_view": "cart_view",
    "begin_checkout": "checkout_start", "checkout_started": "checkout_start", "checkout": "checkout_start",
    "checkout_step": "checkout_start",
    "buy": "purchase", "bought": "purchase", "order": "purchase", "ordered": "purchase", "transaction": "purchase",
    "sale": "purchase", "purchase_complete": "purchase", "order_completed": "purchase", "addpurchase": "purchase",
    "checkout_completed": "purchase", "purchased": "purchase",
    "return": "refund", "returned": "refund", "order_refunded": "refund", "order_cancelled": "refund",
    "deletepurchase": "refund", "refunded": "refund",
    "add_to_wishlist": "wishlist_add", "product_added_to_wishlist": "wishlist_add", "favorite": "wishlist_add",
    "favourite": "wishlist_add", "fav": "wishlist_add", "bookmark": "wishlist_add", "addbookmark": "wishlist_add",
    "save": "wishlist_add", "wishlist": "wishlist_add",
    "remove_from_wishlist": "wishlist_remove", "product_removed_from_wishlist": "wishlist_remove",
    "deletebookmark": "wishlist_remove",
    "rate": "rating", "review": "rating", "product_reviewed": "rating", "addrating": "rating",
    "product_shared": "share", "shared": "share", "liked": "like", "disliked": "dislike", "hidden": "hide",
    "not_interested": "hide", "play": "consume", "watch": "consume", "listen": "consume", "read": "consume",
    "setviewportion": "consume", "products_searched": "search", "view_search_results": "search",
    "search_submitted": "search", "view_item_list": "list_view", "product_list_viewed": "list_view",
    "category_page_view": "list_view", "collection_viewed": "list_view", "viewed_product_category": "list_view",
    "home_page_view": "home_view", "page_viewed": "home_view",
}  # fmt: skip
# Upper bounds, in the unit itself, below which a number of the year 2000 or later is read as that unit.
UNITS = ((1e11, 1_000.0), (1e14, 1.0), (1e17, 1e-3), (1e20, 1e-6))  # s, ms, us, ns -> ms


def action_of(value: Any) -> str:
    """One of our actions, from any usual name for it. The message of the error names the nearest one."""
    text = value if isinstance(value, str) else str(value)
    known = TYPE_ALIASES.get(text)
    if known is None:
        known = TYPE_ALIASES.get(re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_"))
    if known is None:
        near = difflib.get_close_matches(text.lower()[:64], TYPE_ALIASES, n=1)
        hint = (
            f"did you mean {TYPE_ALIASES[near[0]]}?" if near else "expected view, click, cart_add, purchase, rating ..."
        )
        raise ValueError(f"unknown type {text[:80]!r}; {hint} (all are listed under Events in the documentation)")
    return known


def epoch_ms(value: Any) -> int:
    """Epoch milliseconds UTC from a number in s, ms, us or ns, a date, or ISO 8601 text (without offset: UTC)."""
    if isinstance(value, datetime):
        return round((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(value, date):
        return round(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() * 1000)
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"-?\d+(\.\d+)?([eE]\+?\d+)?", text):
            return epoch_ms(float(text) if not text.isdigit() else int(text))
        try:
            return epoch_ms(datetime.fromisoformat(text.removesuffix(" UTC")))
        except ValueError:
            raise ValueError(
                f"time {text[:40]!r} is not understood; expected ISO 8601 (2026-03-12T15:30:00Z) or a number of epoch "
                f"seconds or milliseconds"
            ) from None
    if value is None:
        raise ValueError("no time in this record")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"time {value!r} is not understood; expected epoch seconds or milliseconds, or ISO 8601")
    for bound, factor in UNITS:
        if value < bound:
            return round(value * factor) if factor != 1.0 else round(value)
    raise ValueError(f"time {value!r} is too large in any unit")


MONEY = {"\u20ac": "EUR", "\u00a3": "GBP", "\u00a5": "JPY", "z\u0142": "PLN"}  # a bare $ or kr names no single currency

CODE = re.compile(r"(?<![^\W\d_])([A-Za-z]{3})(?![^\W\d_])")
PRICE = re.compile(
    r"(?:[^\W\d_]{1,4}\.?)?[^\w.,+-]{0,2}\s*"  # EUR, kr., a sign
    r"([+-]?[.,]?\d[\d.,'\s\u00a0]*)-{0,2}"  # the number; 12,- is 12
    r"\s*[^\w.,+-]{0,2}\s*(?:[^\W\d_]{1,4}\.?)?"
)


def number(value: Any) -> float | None:
    """A finite number; text may use a decimal comma or separate thousands. Of two marks the last is the decimal one."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        text = re.sub(r"[\s\u00a0']", "", value)
        if "," in text:
            both = "." in text
            decimal = text.rindex(",") > text.rindex(".") if both else len(text.rpartition(",")[2]) != 3
            if decimal and text.count(",") == 1:
                text = text.replace(".", "").replace(",", ".")
            else:
                text = text.replace(",", "")
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{value[:40]!r} is not a number") from None
    result = float(value)
    if not math.isfinite(result):
        raise ValueError(f"{result} is not a finite number")
    return result


def money(value: Any) -> float | None:
    """A price; the currency behind or before it ("12.90 EUR", "\u20ac12.90") is left out, see ``currency_of``."""
    if isinstance(value, str):
        found = PRICE.fullmatch(value.strip())
        value = found.group(1) if found else value
    return number(value)


def currency_of(value: Any) -> str | None:
    """The currency that a price names: a code of three letters, or a sign that only one has."""
    text = str(value or "")
    code = CODE.search(text)
    return code.group(1).upper() if code else next((name for sign, name in MONEY.items() if sign in text), None)


def from_stars(value: Any) -> float | None:
    """1 to 5 stars onto -1..1."""
    stars = number(value)
    if stars is None:
        return None
    if not 1.0 <= stars <= 5.0:
        raise ValueError(f"rating {stars:g} is not on 1 to 5 stars; map another scale to value, on -1..1")
    return (stars - 3.0) / 2.0


def text_of(value: Any) -> str | None:
    """An id or a text. Whole floats lose their ".0": spreadsheets and data frames make 17850.0 of 17850."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list | tuple | dict):
        raise ValueError(f"expected a text, got {type(value).__name__}")
    return str(value)


def truth(value: Any) -> bool:
    """true, yes, 1 ... and their opposites."""
    text = str(value).strip().lower()
    if text in ("true", "yes", "y", "t", "1", "1.0"):
        return True
    if text in ("false", "no", "n", "f", "0", "0.0", "none", ""):
        return False
    raise ValueError(f"{text[:40]!r} is neither true nor false")


def texts(value: Any, separators: str = ",;") -> list[str]:
    """A list of texts from a list or from separated text."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [str(each).strip() for each in value if each is not None and str(each).strip()]
    return [part.strip() for part in re.split(f"[{re.escape(separators)}]", str(value)) if part.strip()]


def category_paths(value: Any) -> list[list[str]]:
    """Paths, general to specific: "A > B", "A|B", "A/B" only with spaces around; ";" stands between paths.

    A list holds one path per entry; an entry may be text or a list.
    """
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [path for each in value for path in ([texts(each)] if isinstance(each, list) else category_paths(each))]
    paths = []
    for one in str(value).split(";"):
        path = [part.strip() for part in re.split(r"\s*[>|\u203a\u00bb]\s*| / ", one) if part.strip()]
        if path:
            paths.append(path)
    return paths
