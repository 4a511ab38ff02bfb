"""``endcap recommend``, ``export``, ``erase``: one shopper, asked about or forgotten, without a server."""

from __future__ import annotations

from typing import Annotated

import typer

from endcap.cli.output import (
    DEFAULT_DIRECTORY,
    AsJson,
    ConfigFile,
    Directory,
    existing,
    note,
    opened,
    print_json,
    progress_bar,
)
from endcap.config import load_config
from endcap.types import Placed, Query, Slate

UserOption = Annotated[str | None, typer.Option("--user", help="The user's id.")]
AnonOption = Annotated[str | None, typer.Option("--anon", help="The anonymous id.")]
ItemsOption = Annotated[list[str] | None, typer.Option("--items", help="The page's or the cart's items; repeatable.")]
PlacementOption = Annotated[str, typer.Option("--placement", help="home, product, similar, cart, trending ...")]


def recommend(
    user: UserOption = None,
    anon: AnonOption = None,
    items: ItemsOption = None,
    placement: PlacementOption = "home",
    n: Annotated[int, typer.Option("-n", "--n", min=1, max=200, help="How many items.")] = 12,
    explain: Annotated[bool, typer.Option("--explain", help="Show every term of each score.")] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Ask for recommendations."""
    settings, _ = load_config(config)
    query = Query(user_id=user, anon_id=anon, items=items or [], placement=placement, n=n, explain=explain)
    with opened(existing(directory), settings) as engine:
        slate = engine.recommend(query)
        if as_json:
            print_json(slate)
            return
        titles = {placed.item_id: title_of(engine, placed.item_id) for placed in slate.items}
    print_slate(slate, titles)


def title_of(engine: object, item_id: str) -> str:
    """The catalogue's title, empty for an item known only by events."""
    from endcap.engine import Engine
    from endcap.errors import NotFound

    assert isinstance(engine, Engine)
    try:
        return engine.item(item_id).title or ""
    except NotFound:
        return ""


def print_slate(slate: Slate, titles: dict[str, str]) -> None:
    """A slate as a table, best first."""
    from rich.console import Console
    from rich.table import Table

    table = Table("item", "title", "score", "why", box=None, pad_edge=False)
    for placed in slate.items:
        table.add_row(placed.item_id, titles[placed.item_id], f"{placed.score:.3f}", why(placed))
    console = Console()
    console.print(table)
    degraded = f", degraded: {', '.join(slate.degraded)}" if slate.degraded else ""
    console.print(f"[dim]{slate.warmth} shopper, rung {slate.rung}{degraded}, log offset {slate.offset}[/dim]")


def why(placed: Placed) -> str:
    """Reasons, or with --explain the terms of the score."""
    if placed.trace:
        return ", ".join(f"{term} {part:+.3f}" for term, part in placed.trace.items() if part)
    return ", ".join(
        " ".join(filter(None, [reason.code, reason.item_id or reason.value, f"{reason.share:.0%}"]))
        for reason in placed.reasons
    )


def export(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
) -> None:
    """Print every stored event of a user as JSON lines: what a person may ask to see."""
    settings, _ = load_config(config)
    with opened(existing(directory), settings) as engine:
        for event in engine.export_user(user):
            print_json(event)


def erase(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Forget a user: delete their events and rebuild every statistic as if they had never been there."""
    settings, _ = load_config(config)
    existing(directory)
    if not yes:
        typer.confirm(f"Erase every event of {user!r} for good?", abort=True, err=True)
    with opened(directory, settings) as engine, progress_bar() as step:
        receipt = engine.erase(user, progress=step)
    if as_json:
        print_json(receipt)
        return
    note(f"erased {receipt.n_events} events; receipt {receipt.event_id}, user hash {receipt.user_hash}")
