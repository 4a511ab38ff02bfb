"""``endcap doctor``: is the machine fit, is the data sound, and why does a list look generic?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import typer

from endcap.cli.output import DEFAULT_DIRECTORY, AsJson, ConfigFile, Directory, opened, print_json
from endcap.cli.people import AnonOption, ItemsOption, PlacementOption, UserOption
from endcap.config import Config, load_config
from endcap.errors import EndcapError, StoreLocked
from endcap.server.checks import Check, Level, encoder_checks, log_checks, machine_checks
from endcap.types import Query


def doctor(
    user: UserOption = None,
    anon: AnonOption = None,
    items: ItemsOption = None,
    placement: PlacementOption = "home",
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Check the machine and the data, and say why a list (--user, --anon, --items) is generic. Exit 1 on errors."""
    query = Query(user_id=user, anon_id=anon, items=items or [], placement=placement)
    checks = [*machine_checks(directory), *encoder_checks(), *settings_checks(config)]
    if not [check for check in checks if check.level == "error"]:
        checks += data_checks(directory, load_config(config)[0], query)
    if as_json:
        print_json(checks)
    else:
        print_checks(checks)
    if any(check.level == "error" for check in checks):
        raise typer.Exit(1)


def print_checks(checks: list[Check]) -> None:
    """A line per check, its remedy below."""
    from rich.console import Console

    styles = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}
    console = Console(highlight=False, soft_wrap=True)
    for check in checks:
        console.print(f"[{styles[check.level]}]{check.level:<8}[/] {check.name}: ", end="")
        console.print(check.message, markup=False)
        if check.remedy:
            console.print(f"         -> {check.remedy}", markup=False)


def settings_checks(config: Path | None) -> Iterator[Check]:
    """Whether the settings can be read, and what differs from the defaults."""
    try:
        _, sources = load_config(config)
    except EndcapError as wrong:
        yield Check(name="settings", level="error", message=wrong.message, remedy="see docs/configuration.md")
        return
    changed = ", ".join(sorted(sources)) or "all defaults"
    yield Check(name="settings", level="ok", message=changed)


# ---------------------------------------------------------------- data


def data_checks(directory: Path, config: Config, query: Query) -> Iterator[Check]:
    """The log, the clocks, the keys; then the questions about one list."""
    if not (directory / "endcap.db").exists():
        yield Check(
            name="log", level="warning", message=f"no log in {directory}: nothing is known about anybody",
            remedy="endcap import events FILE, or start with: endcap serve",
        )  # fmt: skip
        return
    yield from log_checks(directory)
    try:
        with opened(directory, config) as engine:
            state = engine.recovered
            n_users, n_items = len(engine.state.users), len(engine.state.items)
            yield Check(
                name="state", level="ok",
                message=f"{n_users:,} users, {n_items:,} items, up after {state.seconds:.1f} s",
            )  # fmt: skip
            for finding in engine.findings(query):
                found = msgspec.to_builtins(finding)
                level: Level = "note"
                yield Check(name=found["code"], level=level, message=found["message"], remedy=found.get("remedy", ""))
    except StoreLocked as held:
        yield Check(
            name="server", level="note", message=held.message,
            remedy="it runs: ask it why a list is generic with POST /v1/why-not",
        )  # fmt: skip
    except EndcapError as broken:
        yield Check(name="state", level="error", message=broken.message)
