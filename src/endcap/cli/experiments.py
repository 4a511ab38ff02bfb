"""``endcap experiments``: list, start, show and stop. A running server follows within a second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from endcap.cli.keys import moment
from endcap.cli.models import served_columns
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
    from endcap.config import Config
    from endcap.feedback.experiments import Experiment
    from endcap.feedback.interleaving import Preference
    from endcap.feedback.scoreboard import Interval
    from endcap.server.experiments import Results

app = typer.Typer(help="Experiments: variants of a placement, compared while you watch.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The experiment's name, from `endcap experiments list`.")]


def read(directory: Path) -> list[Experiment]:
    """The experiments of a data directory."""
    from endcap.feedback.experiments import Experiment
    from endcap.stores.experiments import ExperimentStore

    return ExperimentStore(existing(directory), Experiment).read()


@app.command("list")
def list_experiments(directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """Every experiment, ended ones too; a star marks what runs."""
    found = read(directory)
    if as_json:
        print_json({"experiments": found})
        return
    if not found:
        note("no experiment yet: endcap experiments start FILE")
    for one in found:
        typer.echo(line_of(one))


def line_of(one: Experiment) -> str:
    """One experiment."""
    mark = "*" if one.running else " "
    parts = ", ".join(f"{name} {variant.weight:.0%}" for name, variant in one.variants.items())
    times = f"since {moment(one.started_at)}"
    if not one.running:
        times += f", ended {moment(one.ended_at)}: {one.stopped}"
    return f"{mark} {one.name}  {one.kind} on {one.placement}, {one.share:.0%} of traffic  ({parts})  {times}"


@app.command()
def start(
    file: Annotated[Path, typer.Argument(help="The experiment as TOML or JSON; docs/experiments.md shows one.")],
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Check an experiment and start it."""
    from endcap.config import load_config
    from endcap.runtime import SystemClock
    from endcap.server.experiments import start_in

    settings, _ = load_config(config)
    begun = start_in(
        existing(directory), experiment_of(file), settings.placements, served_columns(), SystemClock().now()
    )
    if as_json:
        print_json(begun)
    else:
        typer.echo(f"{begun.name} runs; a running server follows within a second; end it with: "
                   f"endcap experiments stop {begun.name}")  # fmt: skip


def experiment_of(file: Path) -> Experiment:
    """An experiment from a file."""
    import tomllib

    import msgspec

    from endcap.errors import InvalidInput
    from endcap.feedback.experiments import Experiment

    try:
        text = file.read_bytes()
        if file.suffix == ".json":
            return msgspec.json.decode(text, type=Experiment)
        return msgspec.convert(tomllib.loads(text.decode()), Experiment)
    except OSError as wrong:
        raise InvalidInput(f"cannot read {file}: {wrong.strerror}") from wrong
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.MsgspecError) as wrong:
        raise InvalidInput(f"{file} is no experiment: {wrong}; see docs/experiments.md for its fields") from wrong


@app.command()
def stop(
    name: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "stopped by hand",
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """End an experiment; its results stay."""
    from endcap.runtime import SystemClock
    from endcap.server.experiments import stop_in

    ended = stop_in(existing(directory), name, reason, SystemClock().now())
    if as_json:
        print_json(ended)
    else:
        typer.echo(f"{ended.name} has ended; everybody gets {ended.placement} as configured within a second")


@app.command()
def show(
    name: Name, directory: Directory = DEFAULT_DIRECTORY, config: ConfigFile = None, as_json: AsJson = False
) -> None:
    """Results so far, from the log; a server may be running, which answers the same at /v1/experiments/NAME."""
    from endcap.config import load_config
    from endcap.feedback.experiments import unknown

    known = {one.name: one for one in read(directory)}
    if name not in known:
        raise unknown(name, known)
    settings, _ = load_config(config)
    found = results_of(known[name], directory, settings)
    if as_json:
        print_json({"experiment": known[name], "results": found})
        return
    typer.echo(line_of(known[name]))
    print_results(found)


def results_of(experiment: Experiment, directory: Path, config: Config) -> Results | Preference:
    """The results that a server of this directory would show: the newest snapshot and what the log holds beyond it."""
    from endcap.engine import Engine
    from endcap.runtime import Runtime
    from endcap.server.experiments import results
    from endcap.stores.snapshots import FileSnapshotter
    from endcap.stores.sqlite import SqliteLog

    log = SqliteLog(directory / "endcap.db", read_only=True)
    with progress_bar() as step:
        engine = Engine(log, config, Runtime(), FileSnapshotter(directory / "snapshots", config.snapshot.keep), step)
    try:
        return results(experiment, engine.state)
    finally:
        engine.close(snapshot=False)


def print_results(found: Results | Preference) -> None:
    """A few lines for people."""
    from endcap.feedback import interleaving

    if isinstance(found, interleaving.Preference):
        share = (
            "nothing to say yet" if found.share is None else f"{found.share:.1%} [{found.low:.1%}, {found.high:.1%}]"
        )
        typer.echo(f"  slates won by the first variant: {share} of {found.wins + found.losses:,}; {found.ties:,} ties")
        return
    for name, one in found.variants.items():
        typer.echo(f"  {name}: {one.units:,} units, {one.slates:,} slates")
        for what, rate, gain in (
            ("reward", one.reward_per_slate, one.reward_difference),
            ("clicks", one.clicks_per_slate, one.clicks_difference),
        ):
            typer.echo(f"    {what} per slate {rate:.4f}{words(gain)}")
    typer.echo(f"{found.crossovers:,} units were seen in more than one variant and are left out")
    if found.sample_ratio_alarm:
        shares = ", ".join(f"{name} {n:,}" for name, n in found.assigned.items())
        typer.echo(
            f"ALARM: the units ({shares}) do not fit the weights (p = {found.sample_ratio_p:.1g}); something decides "
            "who is counted, so believe none of the above before it is found"
        )


def words(of: Interval | None) -> str:
    """A difference and its confidence sequence."""
    if of is None:
        return ""
    if of.low is None or of.high is None:
        return f", {of.value:+.4f}: too little to say"
    verdict = "better" if of.low > 0 else "worse" if of.high < 0 else "open"
    return f", {of.value:+.4f} [{of.low:+.4f}, {of.high:+.4f}]: {verdict}"
