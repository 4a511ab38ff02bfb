"""``endcap counterfactual``: what a candidate configuration would have earned, from the log of another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from endcap.cli.output import AsJson, ConfigFile, note, print_json, progress_bar

if TYPE_CHECKING:
    from endcap.evaluation.counterfactual import Candidate, Comparison
    from endcap.feedback.off_policy import Estimate
    from endcap.protocols import EventLog

MEANING = {
    "ips": "reweighted mean",
    "clipped": "the same, weights cut at 10: too low by what was cut",
    "snips": "reweighted, normalised: the default",
    "dm": "reward model alone: its interval does not know its error",
    "dr": "reward model, corrected by the log",
}


def counterfactual(
    candidate: Annotated[Path, typer.Option("--candidate", metavar="CONFIG.toml", help="The settings to judge.")],
    on: Annotated[Path, typer.Option("--on", metavar="LOG", help="An endcap.db, or the data directory that holds it.")],
    placement: Annotated[str, typer.Option(help="The surface to judge.")] = "home",
    arm: Annotated[
        str | None, typer.Option(help="The arm that the candidate stands for; mostly found from its settings.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the reward model's folds.")] = 0,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Estimate what a candidate would have earned on logged slates, or say why this log cannot tell (exit status 1).

    ``--config`` are the settings that the log was made with: its arms are compared with the candidate.
    """
    from endcap.config import load_config
    from endcap.evaluation.counterfactual import candidate_of, compare

    logged, _ = load_config(config)
    settings, _ = load_config(candidate)
    judged = candidate_of(settings, placement, logged, arm)
    log = log_at(on)
    try:
        with progress_bar() as step:
            found = compare(log, judged, seed=seed, progress=step)
    finally:
        log.close()
    print_table(found, judged)
    if as_json:
        print_json(told(found, judged))
    if found.verdict.reasons:
        raise typer.Exit(1)


def log_at(path: Path) -> EventLog:
    """The log of a data directory, or the file itself, for reading; a server may be writing it."""
    from endcap.errors import NotFound
    from endcap.stores.sqlite import SqliteLog

    file = path / "endcap.db" if path.is_dir() else path
    if not file.is_file():
        raise NotFound(f"no log at {file}; expected an endcap.db or the data directory that `endcap serve` made")
    return SqliteLog(file, read_only=True)


def told(found: Comparison, judged: Candidate) -> dict[str, Any]:
    """A comparison as JSON; ``refused`` holds the reasons in place of estimates."""
    from msgspec import to_builtins

    verdict = found.verdict
    return {
        "placement": judged.placement, "kind": found.kind, "arm": judged.arm or None, "unit": "reward per slate",
        "slates": found.slates, "immature": found.immature, "unarmed": found.unarmed, "unasked": found.unasked,
        "logged": to_builtins(found.logged), "estimates": to_builtins(verdict.estimates),
        "checks": to_builtins(verdict.checks),
        "refused": list(verdict.reasons),
    }  # fmt: skip


def print_table(found: Comparison, judged: Candidate) -> None:
    """A comparison for people, on stderr."""
    from rich.console import Console
    from rich.table import Table

    what = f"the arm {judged.arm!r}" if judged.arm else "the candidate's settings, item by item"
    note(f"{judged.placement}: {what}, on {found.slates} logged slates; reward per slate with its 95 % interval")
    table = Table("", "value", "from", "to", "", box=None, pad_edge=False)
    table.add_row("logged", *cells(found.logged), "what was shown, its own mean")
    for name, estimate in found.verdict.estimates.items():
        table.add_row(name, *cells(estimate), MEANING[name], style="bold" if name == "snips" else "")
    Console(stderr=True).print(table)
    checks = found.verdict.checks
    note(
        f"effective sample size {checks.ess:.0f} of {checks.decisions} decisions by {checks.clusters} shoppers; "
        f"weights: mean {checks.mean_weight:.3f}, largest {checks.max_weight:.1f}; "
        f"support {checks.support:.1%} of the candidate's actions"
    )
    if found.immature:
        note(f"{found.immature} slates left out: their window was open when the log ended")
    if found.unarmed:
        note(f"{found.unarmed} slates left out: no arm was drawn for them")
    if found.unasked:
        note(f"{found.unasked} slates left out: their query named items, which the log does not hold")
    for reason in found.verdict.reasons:
        note(f"refused: {reason}")


def cells(estimate: Estimate) -> tuple[str, str, str]:
    """A value and its interval."""
    return f"{estimate.value:.4f}", f"{estimate.low:.4f}", f"{estimate.high:.4f}"
