"""Category and attributes read from a product title by the keyword tables in ``keywords.toml``.

The data set has titles and prices but no categories. About 99 of 100 titles get a category this way; the others stay
without one rather than with a wrong one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib import resources
from typing import Generic, TypeVar

V = TypeVar("V")


class Keywords(Generic[V]):
    """One table as compiled expressions; ``first`` gives the value of the first entry that matches, or None."""

    def __init__(self, entries: Iterable[tuple[V, str]]) -> None:
        self.entries = [(value, expression(words)) for value, words in entries]

    def first(self, title: str) -> V | None:
        for value, words in self.entries:
            if words.search(title):
                return value
        return None


def expression(words: str) -> re.Pattern[str]:
    """Whole words, longest first, each also in its plural. A blank in a phrase matches blanks or a hyphen."""
    parts = sorted((" ".join(word.split()) for word in words.split(",")), key=len, reverse=True)
    forms = "|".join(with_plural(re.escape(part).replace(r"\ ", r"[\s-]+")) for part in parts)
    return re.compile(rf"(?<!\w)(?:{forms})(?!\w)", re.IGNORECASE)


def with_plural(form: str) -> str:
    if form.endswith("y"):
        return f"{form[:-1]}(?:y|ies|eys)"
    return form if form.endswith("s") else f"{form}(?:s|es)?"


_tables = tomllib.loads((resources.files(__package__) / "keywords.toml").read_text("utf-8"))
CATEGORY: Keywords[list[str]] = Keywords((entry["path"], entry["words"]) for entry in _tables["category"])
COLOR: Keywords[str] = Keywords(_tables["color"].items())
MATERIAL: Keywords[str] = Keywords(_tables["material"].items())
PATTERN: Keywords[str] = Keywords(_tables["pattern"].items())
RANGE: Keywords[str] = Keywords(_tables["range"].items())
MOTIF: Keywords[str] = Keywords(_tables["motif"].items())
