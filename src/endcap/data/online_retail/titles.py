"""From warehouse shorthand to a product title.

The source writes ``SET/6 RED SPOTTY PAPER CUPS``; a shop shows ``Set of 6 Red Spotty Paper Cups``. Only spelling
changes: abbreviations that occur often are written out, case follows English title rules. Nothing is invented.
"""

from __future__ import annotations

import re

SMALL_WORDS = frozenset(["a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"])
KEEP_UPPER = frozenset(
    ["2D", "3D", "A4", "A5", "A6", "A7", "BBQ", "CD", "DIY", "DVD", "FM", "LED", "PVC", "TV", "UK", "USA", "USB", "VIP"]
)
WRITTEN_OUT = {
    "ANT": "Antique",
    "ASS": "Assorted",
    "ASST": "Assorted",
    "ASSTD": "Assorted",
    "ASSTD.": "Assorted",
    "ASSORT": "Assorted",
    "COL": "Colour",
    "COLS": "Colours",
    "DEC": "Decoration",
    "DECS": "Decorations",
    "DES": "Design",
    "DIAMON": "Diamond",
    "GRN": "Green",
    "M.O.P": "Mother of Pearl",
    "MOP": "Mother of Pearl",
    "NAT": "Natural",
    "PC": "Piece",
    "PCE": "Piece",
    "TURQ": "Turquoise",
    "W": "with",
    "WHT": "White",
    "WHI": "White",
    "XMAS": "Christmas",
}
# applied in order, before case is looked at
SPACING: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[*?]"), ""),
    (re.compile(r"\bSET\s*(?:OF\s*|/\s*)(\d+)"), r"SET OF \1 "),
    (re.compile(r"\bS/(\d+)"), r"SET OF \1 "),
    (re.compile(r"\bPACK/(\d+)", re.IGNORECASE), r"PACK OF \1 "),
    (re.compile(r"\bSET (\d+) "), r"SET OF \1 "),
    (re.compile(r"\bW/"), "W "),
    (re.compile(r"\s*,\s*"), ", "),
    (re.compile(r"\s+"), " "),
)
UNIT = re.compile(r"\d+(?:\.\d+)?(?:CM|MM|G|KG|ML|L|W|X\d+CM|CMX\d+CM)", re.IGNORECASE)


def product_title(raw: str) -> str:
    """The title as a shop would print it.

    >>> product_title("SILVER/M.O.P PENDANT ORBIT NECKLACE")
    'Silver/Mother of Pearl Pendant Orbit Necklace'
    """
    text = raw
    for pattern, replacement in SPACING:
        text = pattern.sub(replacement, text)
    words = text.strip(" .,").split(" ")
    return " ".join(_cased(word, first=place == 0) for place, word in enumerate(words))


def _cased(word: str, *, first: bool) -> str:
    """One blank-separated word; parts joined by ``/``, ``+`` or ``-`` are cased one by one."""
    upper = word.upper()
    if upper in WRITTEN_OUT:
        return WRITTEN_OUT[upper]
    if UNIT.fullmatch(word):
        return word.lower()
    if word.lower() in SMALL_WORDS and not first:
        return word.lower()
    parts = re.split(r"([/+&-])", word)
    return "".join(_capitalized(part) for part in parts)


def _capitalized(part: str) -> str:
    upper = part.upper()
    core = upper.strip("\"'()")
    if core in WRITTEN_OUT:
        return WRITTEN_OUT[core]
    if core in KEEP_UPPER:
        return upper
    for place, letter in enumerate(part):
        if letter.isalpha():
            # "50'S" and "70'S" keep a small s: the first letter after a digit and an apostrophe is an ending
            if place and part[place - 1] in "'’" and part[:place].strip("'’").isdigit():
                return part.lower()
            return part[:place] + letter.upper() + part[place + 1 :].lower()
    return part
