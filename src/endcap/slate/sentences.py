"""Reasons as sentences, in English and Simplified Chinese.

Idea: an answer carries the code of a reason, since most shops word it themselves. Who asks for words names a language
and gets a sentence per reason, from one table per language. A sentence that would name an item or a place that is not
known has a shorter form.

A language is one entry in SENTENCES and one in WITHOUT_NAME; a test holds every table to every code.
"""

from __future__ import annotations

from collections.abc import Callable

from endcap.types import Reason

ENGLISH = "en"
SENTENCES: dict[str, dict[str, str]] = {
    "en": {
        "viewed_together": "Often viewed together with {item}",
        "next_step": "Often the next thing viewed after {item}",
        "bought_together": "Often bought together with {item}",
        "session_like_yours": "Shoppers on a visit like yours looked at this",
        "shoppers_like_you": "Shoppers with a history like yours chose this",
        "your_history": "You looked at this before",
        "in_your_cart": "In your cart",
        "trending": "Trending now",
        "popular_here": "Popular in {value}",
        "popular_at_this_hour": "Popular at this hour",
        "popular_in_category": "Popular in {value}",
        "favourite_category": "From {value}, where you look often",
        "favourite_brand": "By {value}, a brand you look at often",
        "new": "New in the shop",
        "pinned": "Chosen by the shop",
        "promoted": "Promoted by the shop",
        "similar_to": "Similar to {item}",
        "friends_in_common": "Followed by people you follow",
        "matches_query": "Matches {value}",
        "means_alike": "Close to what you asked for",
    },
    "zh": {
        "viewed_together": "常与“{item}”一起浏览",
        "next_step": "看过“{item}”之后，常接着看它",
        "bought_together": "常与“{item}”一起购买",
        "session_like_yours": "与您这次浏览相似的顾客也看了它",
        "shoppers_like_you": "与您喜好相近的顾客选择了它",
        "your_history": "您之前看过",
        "in_your_cart": "在您的购物车里",
        "trending": "正在流行",
        "popular_here": "在{value}很受欢迎",
        "popular_at_this_hour": "这个时段很受欢迎",
        "popular_in_category": "“{value}”中的热门",
        "favourite_category": "来自您常看的“{value}”",
        "favourite_brand": "来自您常看的品牌“{value}”",
        "new": "新品上架",
        "pinned": "店家精选",
        "promoted": "店家推荐",
        "similar_to": "与“{item}”相似",
        "friends_in_common": "您关注的人也关注了",
        "matches_query": "与“{value}”相符",
        "means_alike": "与您的搜索意思相近",
    },
}
WITHOUT_NAME: dict[str, dict[str, str]] = {
    "en": {
        "viewed_together": "Often viewed together with what you looked at",
        "next_step": "Often viewed next",
        "bought_together": "Often bought together with what you have",
        "similar_to": "Similar to what you looked at",
        "matches_query": "Matches what you asked for",
        "popular_here": "Popular near you",
        "popular_in_category": "Popular in its category",
        "favourite_category": "From a category you look at often",
        "favourite_brand": "From a brand you look at often",
    },
    "zh": {
        "viewed_together": "常与您看过的商品一起浏览",
        "next_step": "常被接着浏览",
        "bought_together": "常与您选的商品一起购买",
        "similar_to": "与您看过的商品相似",
        "matches_query": "与您的搜索相符",
        "popular_here": "在您附近很受欢迎",
        "popular_in_category": "同类中的热门",
        "favourite_category": "来自您常看的类别",
        "favourite_brand": "来自您常看的品牌",
    },
}


def text(reason: Reason, title_of: Callable[[str], str | None], language: str = ENGLISH) -> str:
    """One reason as a sentence; an unknown language gives English.

    ``title_of`` turns an item id into what people call it; None where nobody knows, and then no item is named.
    """
    language = language if language in SENTENCES else ENGLISH
    sentence = SENTENCES[language][reason.code]
    title = title_of(reason.item_id) if "{item}" in sentence and reason.item_id is not None else None
    if ("{item}" in sentence and title is None) or ("{value}" in sentence and reason.value is None):
        return WITHOUT_NAME[language][reason.code]
    return sentence.format(item=title, value=reason.value)


def language_of(wishes: str) -> str:
    """The first language there is among the wished ones, else English.

    ``wishes`` is one tag (``zh-CN``) or an Accept-Language header (``de, zh-CN;q=0.9``; RFC 9110, 12.5.4).
    Of a tag only the language counts, so every kind of Chinese gives the simplified one.
    """
    ranked = []
    for place, wish in enumerate(wishes.split(",")[:32]):
        tag, _, rest = wish.partition(";")
        weight = weight_of(rest)
        language = tag.strip().replace("_", "-").partition("-")[0].lower()
        if language in SENTENCES and weight > 0.0:
            ranked.append((-weight, place, language))
    return min(ranked)[2] if ranked else ENGLISH


def weight_of(parameters: str) -> float:
    """``q=0.8`` as 0.8; 1 where nothing is said, 0 for what is no number."""
    name, _, value = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
