"""Field columns: any field of the catalogue as an array that filters can read.

Idea: items are many, distinct values few. A ``Column`` interns each distinct value of a field once (for tags and
categories: each distinct *set* of members) and keeps one small code per item, so a predicate is decided once per
distinct value and spread over all items by one indexed read.

Layout: ``codes`` int32 [n_items], 0 = the item has no such value; ``index`` member -> codes of the values that hold it;
``number`` float64 by code, NaN where the value is not a number. Built on first use, then patched with what changed.

Cost: first use ~1 us per item (one partial decode each); after a change ~2 us per changed item. Columns are a cache
of the records, never part of a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec
import numpy as np

from endcap.blocks import grown
from endcap.types import F8, I4, Item

Member = str | float | tuple[str, bool]  # true and false are kept apart from 1 and 0
ATTRIBUTE = "attributes."

PATH_SEPARATOR = "\x1f"  # between the parts of a category path when it is one string
MAX_LEVELS = 10  # of a category path; deeper ones are cut, or one record could name millions of categories


def member(value: Any) -> Member:
    """One value as the columns keep it."""
    if isinstance(value, bool):
        return ("flag", value)
    return float(value) if isinstance(value, int) else value


def members(field: str, value: Any) -> tuple[Member, ...]:
    """What one item holds in a field: nothing, one value, several tags, or every prefix of its category paths."""
    if value is None or value != value:  # NaN is no value
        return ()
    if field == "categories":
        prefixes = [
            PATH_SEPARATOR.join(path[:end]) for path in value for end in range(1, 1 + min(len(path), MAX_LEVELS))
        ]
        return tuple(dict.fromkeys(prefixes))
    if isinstance(value, list):
        return tuple(dict.fromkeys(member(part) for part in value))
    return (member(value),)


class Records(Protocol):
    """Where the packed records are, and what changed when."""

    version: int

    def n_items(self) -> int: ...
    def packed(self, item: int) -> bytes | None: ...
    def changed_since(self, version: int) -> I4 | None: ...


class Column:
    """One field of all items."""

    __slots__ = ("_known", "codes", "index", "n_codes", "number")

    def __init__(self) -> None:
        self.codes: I4 = np.zeros(0, np.int32)
        self.index: dict[Member, list[int]] = {}
        self.number: F8 = np.full(16, np.nan)
        self.n_codes = 1
        self._known: dict[tuple[Member, ...], int] = {(): 0}

    def put(self, item: int, held: tuple[Member, ...]) -> None:
        """Say what one item holds."""
        code = self._known.get(held)
        if code is None:
            code = self._known[held] = self.n_codes
            self.n_codes += 1
            self.number = grown(self.number, self.n_codes, np.nan)
            if len(held) == 1 and isinstance(held[0], float):
                self.number[code] = held[0]
            for part in held:
                self.index.setdefault(part, []).append(code)
        self.codes[item] = code

    def holding(self, constant: str | float | bool | list[str]) -> list[int]:
        """The codes of the values that are, or contain, a constant; a category path is the list of its parts."""
        key = PATH_SEPARATOR.join(constant) if isinstance(constant, list) else member(constant)
        return self.index.get(key, [])


class FieldColumns:
    """The columns built so far, each with the catalogue version it reflects."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._columns: dict[str, tuple[int, Column]] = {}
        self._decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {}

    def column(self, field: str) -> Column:
        """The column of ``field``, current to the last change; KeyError for an unknown field."""
        version, column = self._columns.get(field, (-1, Column()))
        n_items = self._records.n_items()
        if version == self._records.version and column.codes.shape[0] >= n_items:
            return column
        changed = self._records.changed_since(version) if version >= 0 else None
        if changed is None or column.n_codes > 2 * n_items + 1024:  # too old, or mostly values that nothing holds now
            column, changed = Column(), np.arange(n_items, dtype=np.int32)
        column.codes = grown(column.codes, n_items, 0)
        self._read(field, column, changed.tolist())
        self._columns[field] = (self._records.version, column)
        return column

    def _read(self, field: str, column: Column, items: Iterable[int]) -> None:
        base = "attributes" if field.startswith(ATTRIBUTE) else field
        attribute = field[len(ATTRIBUTE) :]
        decoder = self._decoders.get(base) or self._decoders.setdefault(base, partial_decoder(base))
        for item in items:
            packed = self._records.packed(item)
            value = None if packed is None else getattr(decoder.decode(packed), base)
            if base == "attributes":
                value = None if value is None else value.get(attribute)
            column.put(item, members(field, value))


def partial_decoder(field: str) -> msgspec.msgpack.Decoder[Any]:
    """Reads one field of a packed item and skips the rest."""
    for known in msgspec.structs.fields(Item):
        if known.name == field:
            default: Any = known.default
            if default is msgspec.NODEFAULT and known.default_factory is not msgspec.NODEFAULT:
                default = msgspec.field(default_factory=known.default_factory)
            spec = (field, known.type) if default is msgspec.NODEFAULT else (field, known.type, default)
            return msgspec.msgpack.Decoder(msgspec.defstruct("OneField", [spec]))
    raise KeyError(field)
