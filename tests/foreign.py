"""Recorded shapes of other platforms, what they become, and how a payload is spoiled for tests."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import msgspec

from endcap.events.adapters.mapping import Mapped, Reading
from endcap.events.adapters.platforms import PLATFORMS as ADAPTERS
from endcap.events.adapters.tables import Table
from endcap.types import Refusal

ASSETS = Path(__file__).parent / "assets" / "adapters"
RECEIVED = 1_773_329_402_500  # 2026-03-12T15:30:02.5Z
READING = Reading(traits=frozenset({"plan", "age_group"}), known=lambda item_id: item_id != "507f1f77")


def cases(name: str) -> list[dict[str, Any]]:
    """The recorded shapes of one platform."""
    found: list[dict[str, Any]] = json.loads((ASSETS / f"{name}.json").read_text("utf-8"))
    return found


def all_cases() -> list[tuple[str, dict[str, Any]]]:
    return [(name, case) for name in ADAPTERS for case in cases(name)]


def outcomes(adapter: Mapped, body: Any, received_at: int = RECEIVED) -> list[Any]:
    """Events and refusals of a body, as plain data."""
    return [
        {"refused": msgspec.to_builtins(outcome)} if isinstance(outcome, Refusal) else msgspec.to_builtins(outcome)
        for index, record in enumerate(adapter.records(body))
        for outcome in adapter.read(record, index, received_at)
    ]


JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**30, -(10**30), 1e308, float("nan"), float("inf"), "", " ", "x" * 300,
    "x" * 5_000, "\ud83d", "\x00", "0", "-1", "1e999", "NaN", "2026-13-45T99:99:99Z", "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z", [], {}, [[]], [None], {"a": {"b": {"c": 1}}}, [{}], [{"product_id": "p"}] * 50,
    "<script>alert(1)</script>", "'; DROP TABLE events; --", "__proto__", "\u202e", "caf\u00e9" * 200,
)  # fmt: skip


def mutated(body: Any, chance: random.Random) -> Any:
    """A copy of a body with one to four places spoiled: replaced, removed, repeated, renamed or wrapped."""
    spoiled = copy.deepcopy(body)
    for _ in range(chance.randint(1, 4)):
        places: list[tuple[Any, Any]] = []

        def walk(node: Any, places: list[tuple[Any, Any]] = places) -> None:
            children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
            for key, value in list(children):
                places.append((node, key))
                walk(value)

        walk(spoiled)
        if not places:
            return copy.deepcopy(chance.choice(JUNK))
        node, key = chance.choice(places)
        how = chance.randrange(6)
        if how == 0 and isinstance(node, dict):
            del node[key]
        elif how == 1:
            node[key] = [node[key]]
        elif how == 2 and isinstance(node[key], str):
            node[key] = node[key][: chance.randrange(len(node[key]) + 1)] + chance.choice(
                ["", "\u00ff", "9" * 40, "\ud800"]
            )
        elif how == 3 and isinstance(node, dict):
            node[chance.choice(["event", "type", "items", "products", "x" * 100])] = node.pop(key)
        else:
            node[key] = copy.deepcopy(chance.choice(JUNK))
    return spoiled


def written(table: Table, values: dict[str, Any], unconverted: dict[str, Any] | None = None) -> dict[str, Any]:
    """The inverse of ``Table.read``: each value at the first path of its field, through ``unconverted``."""
    record: dict[str, Any] = {}
    for field, given in table.fields.items():
        if field not in values:
            continue
        value = values[field]
        if unconverted and field in unconverted:
            value = unconverted[field](value)
        path = given
        while isinstance(path, tuple):
            path = path[0]
        *parents, last = str(path).split(".")
        node = record
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = value
    return record
