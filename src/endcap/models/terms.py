"""Terms: a catalogue record as a bag of weighted, hashed terms.

Idea: what makes two products alike is in short texts of very different kinds. Titles are split into words, which carry
meaning, and into character n-grams inside each word, which carry it across plurals, compounds and typing errors. Brand,
category levels, tags and attributes count whole, each under its own name, so that "red" as a colour is not "red" in a
title. A price counts by how near it is to the marks of a logarithmic scale. Everything is hashed to a bucket: no
vocabulary has to be kept, and unseen words need no special case.

Layout: all texts of all items in one array of code points, cut into segments; the kernel emits (bucket, weight) and
``ends`` says where the terms of an item end. Cost: ~15 us an item. Memory: none.

When not to use it: for languages without spaces, words are whole clauses and only the n-grams speak.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
from numba import njit

from endcap.types import F4, I4, I8, U4, Item

BUCKETS = 1 << 16
SHORTEST, LONGEST = 3, 4  # n-grams
BREAK = re.compile(r"[\W_]+")
TITLE_CHARS, DESCRIPTION_CHARS, VALUE_CHARS = 300, 1_000, 80
MOST_VALUES = 48  # attributes, tags and category levels of one record
PRICE_STEP = 0.35  # between two marks of the price scale, in logs: 42 %
NUMBER_STEP = 0.25  # the same for numeric attributes

# What a segment is: weight of the whole, of each word, of each n-gram.
WHOLE, WORDS, GRAMS = 0, 1, 2
TITLE = (0.0, 1.0, 0.25)
DESCRIPTION = (0.0, 0.3, 0.0)
BRAND = (1.0, 0.0, 0.0)
CATEGORY = (1.0, 0.0, 0.0)
VALUE = (0.6, 0.0, 0.0)
PRICE = 0.7

FNV_START, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3

Segment = tuple[str, str, tuple[float, float, float]]  # field, text, weights


def plain(text: str, most: int) -> str:
    """Lower case, compatibility forms folded, words apart by one space."""
    return BREAK.sub(" ", unicodedata.normalize("NFKC", text[:most]).casefold()).strip()


def near_marks(name: str, number: float, step: float, weight: float) -> Iterator[Segment]:
    """A positive number as its two neighbouring marks on a logarithmic scale, the nearer one stronger."""
    if number > 0.0 and math.isfinite(number):
        place = math.log(number) / step
        low = math.floor(place)
        for mark, share in ((low, 1.0 - (place - low)), (low + 1, place - low)):
            yield name, str(mark), (weight * share, 0.0, 0.0)


def segments_of(item: Item) -> Iterator[Segment]:
    """The texts of a record that say what it is."""
    if item.title:
        yield "title", plain(item.title, TITLE_CHARS), TITLE
    if item.description:
        yield "title", plain(item.description, DESCRIPTION_CHARS), DESCRIPTION  # the same words, said less loudly
    if item.brand:
        yield "brand", plain(item.brand, VALUE_CHARS), BRAND
    for path in item.categories[:4]:
        for end in range(1, 1 + min(len(path), 10)):
            yield "category", plain(" / ".join(path[:end]), VALUE_CHARS), CATEGORY
    if item.price:
        yield from near_marks("price", item.price, PRICE_STEP, PRICE)
    for name in ("color", "material", "pattern", "gender", "age_group", "size"):
        if value := getattr(item, name):
            yield name, plain(value, VALUE_CHARS), VALUE
    for tag in item.tags[:MOST_VALUES]:
        yield "tag", plain(tag, VALUE_CHARS), VALUE
    for name, held in list(item.attributes.items())[:MOST_VALUES]:
        yield from attribute(name, held)


def attribute(name: str, held: str | float | bool | list[str]) -> Iterator[Segment]:
    """One of the shop's own attributes."""
    if isinstance(held, bool | str):
        yield name, plain(str(held), VALUE_CHARS), VALUE
    elif isinstance(held, list):
        for one in held[:MOST_VALUES]:
            yield name, plain(one, VALUE_CHARS), VALUE
    else:
        yield from near_marks(name, held, NUMBER_STEP, VALUE[WHOLE])


@njit(cache=True, nogil=True)
def hashed(codes: U4, first: int, last: int, start: int, border: bool) -> int:
    """FNV-1a of code points, with a border character before and after if asked for; well mixed."""
    h = np.uint64(start)
    prime = np.uint64(FNV_PRIME)
    for k in range(first, last):
        h = (h ^ np.uint64(codes[k])) * prime
    if border:
        h = (h ^ np.uint64(1)) * prime
    h ^= h >> np.uint64(29)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(32)
    return int(h & np.uint64(BUCKETS - 1))


@njit(cache=True, nogil=True)
def emit(codes: U4, cut: I8, salt: I8, weights: F4, item_end: I4, buckets: I4, weight: F4, ends: I4) -> int:
    """Terms of all segments; segment s is ``codes[cut[s]:cut[s + 1]]``, those of item k end before ``item_end[k]``.

    Words are apart by one space. A word's first n-gram knows that it is: how a word begins says most.
    """
    n = 0
    s = 0
    for k in range(item_end.shape[0]):
        while s < item_end[k]:
            first, last = cut[s], cut[s + 1]
            if weights[s, WHOLE] > 0.0 and last > first:
                buckets[n], weight[n] = hashed(codes, first, last, salt[s], True), weights[s, WHOLE]
                n += 1
            begin = first
            while begin < last and weights[s, WORDS] > 0.0:
                end = begin
                while end < last and codes[end] != 32:
                    end += 1
                buckets[n], weight[n] = hashed(codes, begin, end, salt[s], True), weights[s, WORDS]
                n += 1
                if weights[s, GRAMS] > 0.0:
                    for size in range(SHORTEST, LONGEST + 1):
                        for at in range(begin, end - size + 1):
                            kind = salt[s] + 2 + (at == begin)
                            buckets[n], weight[n] = hashed(codes, at, at + size, kind, False), weights[s, GRAMS]
                            n += 1
                begin = end + 1
            s += 1
        ends[k] = n
    return n


def bag_of(items: Sequence[Item]) -> tuple[I4, F4, I4]:
    """(buckets, weights, ends): the terms of record k are those from ``ends[k-1]`` to before ``ends[k]``."""
    texts: list[str] = []
    salts: list[int] = []
    weights: list[tuple[float, float, float]] = []
    item_end: I4 = np.empty(len(items), np.int32)
    for k, item in enumerate(items):
        for name, text, loudness in segments_of(item):
            texts.append(text)
            salts.append(salt_of(name))
            weights.append(loudness)
        item_end[k] = len(texts)
    codes: U4 = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    cut: I8 = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=cut[1:])
    room = 3 * codes.shape[0] + 2 * len(texts) + 1
    buckets: I4 = np.empty(room, np.int32)
    weight: F4 = np.empty(room, np.float32)
    ends: I4 = np.empty(len(items), np.int32)
    table: F4 = np.array(weights, np.float32).reshape(len(texts), 3)
    n = emit(codes, cut, np.array(salts, np.int64), table, item_end, buckets, weight, ends)
    return buckets[:n], weight[:n], ends


SALTS: dict[str, int] = {}


def salt_of(field: str) -> int:
    """Where the hash of a field's terms starts: the FNV-1a of its name, positive."""
    salt = SALTS.get(field)
    if salt is None:
        h = FNV_START
        for byte in field.encode("utf-8", "surrogatepass"):
            h = (h ^ byte) * FNV_PRIME % 2**64
        salt = h >> 2
        if len(SALTS) < 4096:  # attribute names come from outside
            SALTS[field] = salt
    return salt
