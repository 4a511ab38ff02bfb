"""Tables of fields: the compiled function finds what walking the table would, for any table and any record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.events.adapters.tables import CODES, SHORT, VALUES, Fields, Table, is_converted
from endcap.events.records import Problem
from endcap.events.values import text_of

KEYS = ["a", "b", "user id", 'quo"te\\', "x.y"]
FIELDS = [*VALUES, "user_id", "event_id", "currency"]
paths = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(".".join)
sources = paths | st.tuples(paths, st.sampled_from([str, float, len]))
tables = st.dictionaries(
    st.sampled_from(FIELDS), sources | st.lists(sources, min_size=1, max_size=3).map(tuple), max_size=5
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("1,5") | st.just("")
values = st.recursive(
    leaves | st.just("é" * (SHORT + 1)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "user id", "x"]), inner),
    max_leaves=12,
)


def walked(fields: Fields, record: Any) -> dict[str, Any]:
    """The same by walking the table, one decision after the other."""
    found: dict[str, Any] = {}
    for field, told in fields.items() if isinstance(record, dict) else ():
        several: Any = told if isinstance(told, tuple) and not is_converted(told) else (told,)
        for source in several:
            path, convert = source if isinstance(source, tuple) else (source, VALUES.get(field, text_of))
            value = record
            for key in path.split("."):
                value = value.get(key) if isinstance(value, dict) else None
            if value is None or value == "":
                continue
            try:
                value = convert(value)
            except (ValueError, TypeError, OverflowError, AttributeError) as wrong:
                raise Problem(CODES.get(field, "wrong_type"), f"{path}: {wrong}", field) from None
            if value is not None:
                found[field] = value
                break
    return found


def outcome(read: Any, *arguments: Any) -> Any:
    """What comes of it, comparable: NaN and True are told from what they equal or not."""
    try:
        return {name: repr(value) for name, value in read(*arguments).items()}
    except Problem as wrong:
        return (wrong.code, wrong.message, wrong.field)


@settings(deadline=None)  # compiling is not what is timed
@given(tables, values)
def test_a_compiled_table_finds_what_walking_it_would(fields: Fields, record: Any) -> None:
    assert outcome(Table(fields).read, record) == outcome(walked, fields, record)


def test_a_table_as_the_adapters_write_them() -> None:
    table = Table({
        "user_id": ("userId", "user_id"), "page": "page.path", "url": "page.url", "price": "price", "value": ("v", len),
    })  # fmt: skip
    assert table.read({"userId": "", "user_id": 7, "page": {"path": "/p"}, "price": 2.5, "v": "abc"}) == {
        "user_id": "7", "page": "/p", "price": 2.5, "value": 3,
    }  # fmt: skip
    assert table.read({"page": "no object", "price": "1.234,50 EUR"}) == {"price": 1234.5}
    assert table.read(None) == table.read([]) == {}
    assert table.tops() == {"userId", "user_id", "page", "price", "v"}
    with pytest.raises(Problem, match="price: nan is not a finite number") as wrong:
        table.read({"price": float("nan")})
    assert (wrong.value.code, wrong.value.field) == ("bad_number", "price")


def test_what_a_path_says_is_never_run() -> None:
    path = "'); raise SystemExit('run') #"
    assert Table({"user_id": path}).read({path: "u"}) == {"user_id": "u"}
