"""``endcap config``: the effective settings and where each value comes from."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from endcap.cli.output import AsJson, ConfigFile, print_json
from endcap.config import load_config
from endcap.server.settings import in_force


def config(
    config: ConfigFile = None,
    preset: Annotated[str | None, typer.Option("--preset", help="shop, news or social.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show every setting, its value and the source of the value."""
    settings = in_force(*load_config(config, preset=preset))
    if as_json:
        print_json({one.name: {"value": one.value, "source": one.source} for one in settings})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("setting", "value", "source", box=None, pad_edge=False)
    for one in settings:
        table.add_row(one.name, shown(one.value), one.source, style="" if one.source == "default" else "bold")
    Console().print(table)


def shown(value: Any) -> str:
    """A value as one would write it in TOML or JSON."""
    return value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
