"""The filter language: structural JSON on item attributes, bounded, decided once per distinct value.

Grammar (JSON; keys of one object are and-ed)::

    filter   := {}                                    everything
              | {"and": [filter, ...]} | {"or": [filter, ...]} | {"not": filter}
              | {OP: {FIELD: constant, ...}}          OP: eq ne in nin gt gte lt lte between range prefix exists
              | {"exists": FIELD} | {"exists": [FIELD, ...]}
              | {FIELD: constant}                     short for eq
              | {FIELD: [constant, ...]}              short for in
              | {FIELD: {OP: constant, ...}}          every OP must hold
    range    := {"gte": x, "gt": x, "lte": x, "lt": x}  any of them;  between := [low, high], both ends included
    FIELD    := a field of the item record, or attributes.NAME
    constant := text, number or true/false, as the field holds; times as epoch ms or ISO 8601 with offset;
                a category is its path ["Kitchen", "Mugs"] (or the single part "Kitchen")

    {"and": [{"eq": {"brand": "Acme"}}, {"range": {"price": {"gte": 5, "lt": 20}}},
             {"not": {"in": {"categories": [["Kitchen", "Mugs"]]}}}]}

Meaning: text is compared exactly. ``tags`` and list attributes match when any of their members does. A category
matches every path that starts with it, so eq and prefix agree there. An item without the field passes no test on it,
and ``ne``/``nin``/``not`` are exact complements: it passes those.

Bounds: depth 16, 256 nodes, 1000 constants in one list, 1024 characters in one; there are no patterns to blow up.
Cost: compiling ~10 us; a field never read before ~1 us per item; a mask ~10 ns per item; then nothing until the
catalogue changes, and then only the changed items. Masks of the 64 filters used last are kept, by content.
"""

from __future__ import annotations

import difflib
import math
from collections import OrderedDict
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from endcap.blocks import grown
from endcap.errors import InvalidFilter
from endcap.slate.predicates import Fields, Test, both, either, holding, negated, present, within
from endcap.types import U1, Item

MAX_DEPTH = 16
MAX_NODES = 256
MAX_LIST = 1000
MAX_TEXT = 1024
KEPT = 64

BRANCHES = ("and", "or", "not")
BOUNDS = ("gt", "gte", "lt", "lte")
OPERATORS = ("eq", "ne", "in", "nin", *BOUNDS, "between", "range", "prefix", "exists")
ATTRIBUTE = "attributes."
NOT_FILTERED = {"description", "url", "image_urls", "attributes", "vectors"}
KINDS = {"categories": "path", "tags": "text", "published_at": "time", "expires_at": "time", "updated_at": "time"}


def kind_of(known: msgspec.structs.FieldInfo) -> str:
    """text, number, time, flag or path: what a field of the item record holds."""
    held = str(known.type)
    return KINDS.get(known.name) or (
        "flag" if "bool" in held else "number" if "int" in held or "float" in held else "text"
    )


# Every field of the item record that a filter can name. ``attributes.NAME`` fields are of kind "any".
FIELDS: dict[str, str] = {
    known.name: kind_of(known) for known in msgspec.structs.fields(Item) if known.name not in NOT_FILTERED
}


class CompiledFilter:
    """A filter ready to be asked. It keeps its last mask and brings it up to date."""

    __slots__ = ("_n", "_owner", "_store", "_version", "test")

    def __init__(self, test: Test) -> None:
        self.test = test
        self._owner: Fields | None = None
        self._store: U1 = np.zeros(0, np.uint8)
        self._n = 0
        self._version = -1

    def mask(self, catalogue: Fields) -> U1:
        """uint8 [n_items], 1 = passes. A view of what the filter keeps: read it, do not write it."""
        n = catalogue.n_items()
        if self._owner is not catalogue or self._version != catalogue.version or self._n != n:
            self._refresh(catalogue, n)
        return self._store[:n]

    def _refresh(self, catalogue: Fields, n: int) -> None:
        changed = catalogue.changed_since(self._version) if self._owner is catalogue else None
        if changed is None or changed.shape[0] > n // 2:
            rows = np.arange(n, dtype=np.int32)
        else:
            rows = np.concatenate((np.unique(changed), np.arange(self._n, n, dtype=np.int32)))
        self._store = grown(self._store, n, 0)
        self._store[rows] = self.test(catalogue, rows)
        self._owner, self._version, self._n = catalogue, catalogue.version, n


class Filters:
    """Masks by the content of a filter; the ones used last are kept."""

    def __init__(self, catalogue: Fields) -> None:
        self._catalogue = catalogue
        self._kept: OrderedDict[bytes, CompiledFilter] = OrderedDict()

    def mask(self, tree: dict[str, Any]) -> U1:
        """uint8 [n_items], 1 = passes; read-only for the caller. ``InvalidFilter`` when malformed or over a bound."""
        try:
            key = msgspec.json.encode(tree)
        except (TypeError, RecursionError, UnicodeEncodeError) as wrong:
            raise InvalidFilter(f"filter is not plain JSON: {wrong}", field="filter") from wrong
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = compile_filter(tree)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return found.mask(self._catalogue)


def compile_filter(tree: Any) -> CompiledFilter:
    """Check a filter against the grammar and its bounds. ``InvalidFilter`` says where and what was expected."""
    return CompiledFilter(Parser().parse(tree, "filter", 1))


class Parser:
    """One pass over one tree; counts its nodes."""

    def __init__(self) -> None:
        self.n_nodes = 0

    def parse(self, tree: Any, path: str, depth: int) -> Test:
        """A filter object."""
        if not isinstance(tree, dict):
            raise wrong(path, tree, 'an object such as {"eq": {"brand": "Acme"}}')
        if depth > MAX_DEPTH:
            raise InvalidFilter(f"{path}: nested deeper than {MAX_DEPTH}; flatten the filter", field=path)
        return both([self.part(key, value, f"{path}.{key}", depth) for key, value in tree.items()])

    def count(self, path: str) -> None:
        """One more node."""
        self.n_nodes += 1
        if self.n_nodes > MAX_NODES:
            raise InvalidFilter(f"{path}: more than {MAX_NODES} nodes; use in with a list", field=path)

    def part(self, key: Any, value: Any, path: str, depth: int) -> Test:
        """One key of a filter object."""
        self.count(path)
        if key in ("and", "or"):
            if not isinstance(value, list):
                raise wrong(path, value, "a list of filters")
            tests = [self.parse(each, f"{path}[{k}]", depth + 1) for k, each in enumerate(value)]
            return both(tests) if key == "and" else either(tests)
        if key == "not":
            return negated(self.parse(value, path, depth + 1))
        if key in OPERATORS:
            return self.operator(key, value, path)
        kind = field_kind(key, path)
        if isinstance(value, dict):
            unknown = [op for op in value if op not in OPERATORS]
            if unknown or not value:
                raise wrong(path, next(iter(unknown), value), f"operators: {', '.join(OPERATORS)}")
            return both([self.leaf(op, key, kind, constant, f"{path}.{op}") for op, constant in value.items()])
        is_path = kind == "path" and isinstance(value, list) and all(isinstance(part, str) for part in value)
        return self.leaf("in" if isinstance(value, list) and not is_path else "eq", key, kind, value, path)

    def operator(self, op: str, value: Any, path: str) -> Test:
        """{OP: {FIELD: constant}}, or the list forms of exists."""
        if op == "exists" and isinstance(value, (str, list)):
            value = dict.fromkeys(value if isinstance(value, list) else [value], True)
        if not isinstance(value, dict) or not value:
            raise wrong(path, value, f'an object such as {{"{op}": {{"brand": ...}}}}')
        return both(
            [
                self.leaf(op, name, field_kind(name, path), constant, f"{path}.{name}")
                for name, constant in value.items()
            ]
        )

    def leaf(self, op: str, field: str, kind: str, given: Any, path: str) -> Test:
        """One test on one field."""
        self.count(path)
        if op in ("eq", "ne"):
            test = holding(field, [constant(kind, given, path)])
            return test if op == "eq" else negated(test)
        if op in ("in", "nin"):
            if not isinstance(given, list) or len(given) > MAX_LIST:
                raise wrong(path, given, f"a list of at most {MAX_LIST} constants")
            test = holding(field, [constant(kind, each, f"{path}[{k}]") for k, each in enumerate(given)])
            return test if op == "in" else negated(test)
        if op == "exists":
            if not isinstance(given, bool):
                raise wrong(path, given, "true or false")
            return present(field) if given else negated(present(field))
        if op == "prefix":
            if kind != "path":
                raise InvalidFilter(f"{path}: prefix works on category paths only; got a {kind} field", field=path)
            return holding(field, [constant(kind, given, path)])
        return within(field, bounds(op, kind, given, path))


def bounds(op: str, kind: str, given: Any, path: str) -> list[tuple[str, float]]:
    """The comparisons that gt, between or range ask for."""
    if kind not in ("number", "time", "any"):
        raise InvalidFilter(f"{path}: {op} compares numbers and times; this is a {kind} field", field=path)
    if op == "between":
        if not isinstance(given, list) or len(given) != 2:
            raise wrong(path, given, "two numbers [low, high]")
        given = {"gte": given[0], "lte": given[1]}
    elif op != "range":
        given = {op: given}
    if not isinstance(given, dict) or not given or any(bound not in BOUNDS for bound in given):
        raise wrong(path, given, 'bounds such as {"gte": 5, "lt": 20}')
    number = "number" if kind == "any" else kind
    return [(bound, constant(number, limit, f"{path}.{bound}")) for bound, limit in given.items()]


def field_kind(field: Any, path: str) -> str:
    """What a field holds; ``InvalidFilter`` with the nearest name for an unknown one."""
    if field in FIELDS:
        return FIELDS[field]
    if isinstance(field, str) and field.startswith(ATTRIBUTE) and len(ATTRIBUTE) < len(field) <= MAX_TEXT:
        return "any"
    near = difflib.get_close_matches(str(field)[:64], [*FIELDS, *OPERATORS, *BRANCHES], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "a shop's own fields are named attributes.NAME"
    raise InvalidFilter(f"{path}: unknown field or operator {str(field)[:64]!r}; {hint}", field=path)


def constant(kind: str, given: Any, path: str) -> Any:
    """A constant in the form the columns hold, or ``InvalidFilter``."""
    if kind == "path":
        parts = [given] if isinstance(given, str) else given
        if not isinstance(parts, list) or not parts or not all(is_text(part) for part in parts):
            raise wrong(path, given, 'a category path such as ["Kitchen", "Mugs"]')
        return parts
    if isinstance(given, bool) and kind in ("flag", "any"):
        return given
    if isinstance(given, (int, float)) and not isinstance(given, bool) and kind in ("number", "time", "any"):
        if abs(given) > 1e300 or not math.isfinite(given):
            raise wrong(path, given, "a finite number")
        return float(given)
    if is_text(given) and kind in ("text", "any"):
        return given
    if isinstance(given, str) and kind == "time":
        return epoch_ms(given, path)
    expected = {"flag": "true or false", "time": "epoch ms or ISO 8601 with offset", "any": "text, number or flag"}
    raise wrong(path, given, expected.get(kind, f"a {kind}"))


def is_text(given: Any) -> bool:
    return isinstance(given, str) and len(given) <= MAX_TEXT


def epoch_ms(given: str, path: str) -> float:
    """ISO 8601 with offset to epoch ms."""
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise wrong(path, given, "ISO 8601 with offset such as 2026-11-24T08:00:00+01:00")
    return moment.timestamp() * 1000.0


def wrong(path: str, got: Any, expected: str) -> InvalidFilter:
    """The error for a value that does not fit."""
    shown = repr(got)[:80] if isinstance(got, (str, int, float, bool, type(None))) else f"a {type(got).__name__}"
    return InvalidFilter(f"{path}: got {shown}, expected {expected}", field=path)
