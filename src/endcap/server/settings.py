"""Settings in force with the source of each value, as ``endcap config`` prints them and the console shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from endcap.config import Config, flatten

HIDDEN = "(set)"  # a secret is not shown


class Setting(Struct, frozen=True, kw_only=True):
    """One value. ``source``: default, preset, a file, a variable, an option; program = by whom built the engine."""

    name: str
    value: Any
    source: str


def in_force(config: Config, sources: Mapping[str, str] | None) -> list[Setting]:
    """Every setting in the order of the sections. ``sources`` None: not known; what differs is the program's."""
    standard = {} if sources is not None else flatten(msgspec.to_builtins(Config()))
    found = []
    for name, value in flatten(msgspec.to_builtins(config)).items():
        if sources is not None:
            source = sources.get(name, "default")
        else:
            source = "default" if name in standard and standard[name] == value else "program"
        found.append(Setting(name=name, value=masked(name, value), source=source))
    return found


def masked(name: str, value: Any) -> Any:
    """The value without what only the operator may know: secrets, and passwords in the addresses of feeds."""
    if name.endswith("_secret"):
        return HIDDEN if value else value
    if name == "feeds":
        from endcap.server.fetch import shown

        return [{**feed, "url": shown(feed["url"])} for feed in value]
    return value
