"""``endcap simulate SCENARIO``: seeded shoppers on a real server, where the truth is known."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from endcap.cli.output import AsJson, note, print_json, progress_bar

if TYPE_CHECKING:
    from endcap.simulator.verdict import Verdict


class Scenario(StrEnum):
    """The questions of ``endcap.simulator.scenarios``."""

    ARMS = "arms"
    SWITCH = "switch"
    POSITIONS = "positions"
    LOOP = "loop"
    PRICE = "price"


def simulate(
    scenario: Annotated[Scenario, typer.Argument(help="What to find out.")],
    requests: Annotated[
        int, typer.Option("--requests", min=0, help="Slates of one run; 0 = the scenario's own number.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the shop and its shoppers.")] = 1,
    plots: Annotated[
        Path | None, typer.Option("--plots", metavar="DIR", help="Write the curves as SVG into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let made-up shoppers use a real server, and say whether the loop learns what is true."""
    from endcap.simulator.scenarios import simulate as run

    with progress_bar() as step:
        verdict = run(scenario.value, requests, seed, step)
    show(verdict)
    for path in verdict.draw(plots) if plots else ():
        note(f"wrote {path}")
    if as_json:
        print_json(verdict.as_json())


def show(verdict: Verdict) -> None:
    """The verdict for people, on stderr."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*verdict.head, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in verdict.table:
        table.add_row(name, *(f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4f}" for value in values))
    Console(stderr=True).print(table)
    for line in verdict.notes:
        note(line)
    for bar in verdict.bars:
        value = "not measured" if bar.value is None else f"{bar.value:,.4g}"
        note(f"{'holds ' if bar.holds else 'MISSED'}  {bar.what}: {value}, bar {bar.sign} {bar.bar:,g}")
    note(f"endcap simulate {verdict.scenario}: {verdict.requests:,} requests a run, {verdict.seconds:.0f} s")
