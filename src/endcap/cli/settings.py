"""``endcap config``: the effective settings and where each value comes from."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from endcap.cli.output import AsJson, ConfigFile, print_json
from endcap.config import flatten, load_config

HIDDEN = "(set)"  # a secret is not printed


def config(
    config: ConfigFile = None,
    preset: Annotated[str | None, typer.Option("--preset", help="shop, news or social.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show every setting, its value and the source of the value."""
    effective, sources = load_config(config, preset=preset)
    values = {
        name: HIDDEN if value and name.endswith("_secret") else value
        for name, value in flatten(msgspec.to_builtins(effective)).items()
    }
    if as_json:
        print_json({name: {"value": value, "source": sources.get(name, "default")} for name, value in values.items()})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("setting", "value", "source", box=None, pad_edge=False)
    for name, value in values.items():
        changed = name in sources
        table.add_row(name, shown(value), sources.get(name, "default"), style="bold" if changed else "")
    Console().print(table)


def shown(value: Any) -> str:
    """A value as one would write it in TOML or JSON."""
    return value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
