"""Tables of fields: where each of ours is found in a foreign record, read as data and carried out as one function.

Idea: a table maps a field to a dotted path, to several of which the first that holds a value counts, or to a path with
its own conversion. When it is made, it is written out as Python, one straight line of conditions, and compiled: what
an interpreter of the table decides again for every record (how many sources, how deep, how converted) is decided once.

For ``{"user_id": ("userId", "user_id"), "page": "page.path"}`` that is, in essence:

    def read(record):
        found = {}
        get = record.get
        get1 = inside(get("page"))
        if (v := get("userId")).__class__ is str and v: found["user_id"] = v
        elif ... (v := convert0(v)) is not None: found["user_id"] = v
        elif (v := get("user_id")).__class__ is str and v: found["user_id"] = v
        ...
        return found

Paths and names come from our own tables, never from a record, and are written as literals. Cost: about 0.1 us a field;
half of what walking the table took. When not to use: a record whose fields are named by the sender (``records.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any

from endcap.events.records import ITEM_VALUES, Problem, consent, whole
from endcap.events.values import epoch_ms, money, number, text_of
from endcap.types import DEVICE_CODE

Convert = Callable[[Any], Any]
Source = str | tuple[str, Convert]
Fields = Mapping[str, Source | tuple[Source, ...]]
Read = Callable[[Any], dict[str, Any]]
Columns = list[tuple[str, list[tuple[tuple[str, ...], Convert]]]]  # field, its sources: path and conversion

NOTE = 2_048  # bytes of an address or a search text
SHORT = NOTE // 4  # characters that fit whatever they are


def clipped(value: Any) -> str | None:
    """A note, cut to what an event may hold."""
    text = text_of(value)
    if text is None or len(text) <= SHORT:
        return text
    return text.encode("utf-8", "ignore")[:NOTE].decode("utf-8", "ignore")


@lru_cache(4_096)
def device_of(value: Any) -> str | None:
    """One of our devices from a name of one or from a browser's user agent, which itself is not kept."""
    text = str(value).lower()
    if text in DEVICE_CODE:
        return text
    if "ipad" in text or "tablet" in text:
        return "tablet"
    if "mobi" in text or "android" in text or "iphone" in text or text == "ios":
        return "mobile"
    if "tv" in text.split() or "smart-tv" in text:
        return "tv"
    return "desktop" if text else None


# How a field's value is converted unless its source says otherwise; all others are texts.
VALUES: dict[str, Convert] = {
    **ITEM_VALUES, "ts": epoch_ms, "sent_at": epoch_ms, "quantity": number, "price": money, "value": number,
    "position": whole, "consent": consent, "query": clipped, "url": clipped, "referrer": clipped, "page": clipped,
    "device": device_of, "utc_offset_min": whole,
}  # fmt: skip
CODES = {
    "ts": "bad_time", "sent_at": "bad_time", "quantity": "bad_number", "price": "bad_number", "value": "bad_number",
    "position": "bad_number",
}  # fmt: skip
# A value that needs no conversion, by the conversion that would leave it as it is.
AS_IT_IS: dict[Convert, str] = {
    text_of: ".__class__ is str and v",
    clipped: f".__class__ is str and v and len(v) <= {SHORT}",
    number: ".__class__ is float and isfinite(v)",
    money: ".__class__ is float and isfinite(v)",
}


class Table:
    """Where our fields are found in a foreign record."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self._columns: Columns = []
        for field, given in fields.items():
            several: Any = given if isinstance(given, tuple) and not is_converted(given) else (given,)
            sources = []
            for source in several:
                path, convert = source if isinstance(source, tuple) else (source, VALUES.get(field, text_of))
                sources.append((tuple(str(path).split(".")), convert))
            self._columns.append((field, sources))
        # the fields that a record holds, converted; ``Problem`` for a value that cannot be understood
        self.read: Read = compiled(self._columns)

    def tops(self) -> frozenset[str]:
        """The first keys of all paths: what is not left over."""
        return frozenset(path[0] for _, sources in self._columns for path, _ in sources)


def is_converted(given: tuple[Any, ...]) -> bool:
    """Whether a source is one path with a conversion, not several sources."""
    return len(given) == 2 and isinstance(given[0], str) and callable(given[1])


def compiled(columns: Columns) -> Read:
    """The function that reads these fields from a record, {} from what is none."""
    scope: dict[str, Any] = {"inside": inside, "isfinite": isfinite}
    getters: dict[tuple[str, ...], str] = {(): "get"}
    inner: list[str] = []
    lines: list[str] = []
    for field, sources in columns:
        word = "if"
        for path, convert in sources:
            for depth in range(1, len(path)):
                if path[:depth] not in getters:
                    name = getters[path[:depth]] = f"get{len(getters)}"
                    inner.append(f"{name} = inside({getters[path[: depth - 1]]}({path[depth - 1]!r}))")
            value, known = f"(v := {getters[path[:-1]]}({path[-1]!r}))", f"convert{len(scope)}"
            scope[known] = checked(convert, field, ".".join(path))
            if convert in AS_IT_IS:
                lines.append(f"{word} {value}{AS_IT_IS[convert]}: found[{field!r}] = v")
                word, value = "elif", "v"
            present = f"{value} is not None and (v.__class__ is not str or v)"
            lines.append(f"{word} {present} and (v := {known}(v)) is not None: found[{field!r}] = v")
            word = "elif"
    body = ["found = {}", "if not isinstance(record, dict): return found", "get = record.get", *inner, *lines]
    exec("\n ".join(["def read(record):", *body, "return found"]), scope)
    read: Read = scope["read"]
    return read


def inside(value: Any) -> Callable[[str], Any]:
    """How values in an inner object are found; there are none in what is no object."""
    return value.get if isinstance(value, dict) else {}.get


def checked(convert: Convert, field: str, where: str) -> Convert:
    """The conversion, with its complaints made ours."""

    def converted(value: Any) -> Any:
        try:
            return convert(value)
        except (ValueError, TypeError, OverflowError, AttributeError) as wrong:
            raise Problem(CODES.get(field, "wrong_type"), f"{where}: {wrong}", field) from None

    return converted
