"""``endcap train`` and ``endcap models``: the trained ranker, from the log to service and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from endcap.cli.output import (
    DEFAULT_DIRECTORY,
    AsJson,
    ConfigFile,
    Directory,
    existing,
    note,
    print_json,
    progress_bar,
)

if TYPE_CHECKING:
    from endcap.learning.store import Model
    from endcap.learning.train import Outcome

Number = Annotated[int, typer.Argument(min=1, help="The model's number, from `endcap models list`.")]

app = typer.Typer(name="models", help="Trained rankers: what there is, which one serves.", no_args_is_help=True)


def train(
    force: Annotated[bool, typer.Option("--force", help="Let it serve even if the gate says no.")] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Learn a ranker from the log. A server may be running: it swaps within a second of the end."""
    from endcap.config import load_config
    from endcap.learning.train import train_and_judge
    from endcap.stores.sqlite import SqliteLog

    settings, _ = load_config(config)
    log = SqliteLog(existing(directory) / "endcap.db", read_only=True)
    try:
        with progress_bar() as step:
            outcome = train_and_judge(log, directory, settings, force=force, progress=step)
    finally:
        log.close()
    if as_json:
        print_json(told(outcome))
    else:
        typer.echo(sentence(outcome))


def told(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON."""
    return {
        "model": outcome.number, "promoted": outcome.promoted, "gate": outcome.verdict, "meta": outcome.meta,
    }  # fmt: skip


def sentence(outcome: Outcome) -> str:
    """An outcome for people."""
    verdict, meta = outcome.verdict, outcome.meta
    learned = f"{meta['queries']} requests learned from, {verdict.queries} judged by, {meta['seconds']} s"
    judged = (
        f"NDCG@20 {verdict.new:.4f}, the serving ranker {verdict.old:.4f} (give or take {verdict.standard_error:.4f})"
    )
    lines = [f"model {outcome.number}: {learned}", f"{judged}: {verdict.why}"]
    if outcome.promoted:
        lines.append("it serves from now on; go back with: endcap models rollback")
    else:
        lines.append(f"it is stored and does not serve; insist with: endcap models promote {outcome.number}")
    return "\n".join(lines)


@app.command("list")
def list_models(directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """Every stored ranker, oldest first."""
    from endcap.learning.store import ModelStore

    models = ModelStore(existing(directory)).models(served_columns())
    if as_json:
        print_json({"models": models})
        return
    if not models:
        note("no trained ranker yet: endcap train")
    for model in models:
        typer.echo(line_of(model))


def line_of(model: Model) -> str:
    """One stored ranker."""
    mark = "*" if model.serving else " "
    if model.error is not None:
        return f"{mark} {model.number:4d}  unusable: {model.error}"
    gate = model.meta.get("gate", {})
    return (
        f"{mark} {model.number:4d}  {', '.join(model.meta.get('objectives', []))}  "
        f"log to offset {model.meta.get('last_offset', '?')}, {model.meta.get('queries', '?')} requests, "
        f"NDCG@20 {gate.get('new', 0.0):.4f} (before: {gate.get('old', 0.0):.4f})"
    )


@app.command()
def promote(number: Number, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Let a stored ranker serve."""
    from endcap.learning.store import ModelStore

    ModelStore(existing(directory)).promote(number, served_columns())
    typer.echo(f"model {number} serves; a running server swaps within a second")


@app.command()
def rollback(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Return to what served before."""
    from endcap.learning.store import ModelStore

    number = ModelStore(existing(directory)).rollback(served_columns())
    typer.echo(f"model {number} serves again" if number else "the fixed weights serve again")


def served_columns() -> tuple[str, ...]:
    """The feature list of this version."""
    from endcap.features.rows import columns
    from endcap.recommend import SOURCES

    return columns(SOURCES)
