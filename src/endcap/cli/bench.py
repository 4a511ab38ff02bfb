"""``endcap bench PART``: measure, print the machine, the figures and the bars they are held against."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from typing import Annotated

import typer

from endcap.cli.output import AsJson, note, print_json


class Part(StrEnum):
    """What can be measured; each is a module of ``endcap.bench`` with a ``measure`` function."""

    SERVE = "serve"
    KERNEL = "kernel"
    FOLD = "fold"
    FRESH = "fresh"
    INTAKE = "intake"
    FEEDBACK = "feedback"
    RESTART = "restart"
    MEMORY = "memory"


def bench(
    part: Annotated[Part, typer.Argument(help="What to measure.")],
    items: Annotated[int, typer.Option("--items", min=1_000, help="Size of the synthetic catalogue.")] = 100_000,
    quick: Annotated[bool, typer.Option("--quick", help="At most 45 s after warm-up; wider spreads.")] = False,
    huge: Annotated[bool, typer.Option("--huge", help="kernel: also 10 million items (needs about 12 GB).")] = False,
    as_json: AsJson = False,
) -> None:
    """Run one part of the benchmark. With --json the last line of stdout is one JSON object."""
    from endcap.bench.environment import environment
    from endcap.bench.spread import Figures, Options

    machine = environment()
    note(f"endcap bench {part.value}: " + ", ".join(f"{key} {value}" for key, value in machine.items()))
    figures: Figures = import_module(f"endcap.bench.{part.value}").measure(
        Options(items=items, quick=quick, huge=huge, say=note)
    )
    for line in figures.table():
        note(line)
    if as_json:
        print_json({
            "part": part.value, **figures.values, "bars_missed": figures.missed(), "environment": machine
        })  # fmt: skip
