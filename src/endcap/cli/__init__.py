"""The command line: ``endcap COMMAND``.

One file per group of commands. Nothing heavy is imported before a command needs it, so ``endcap --help`` is quick.
Results go to stdout (``--json`` for machines), progress and messages to stderr. A mistake in input, settings or data
gives one clear message and exit status 2; a traceback is always a defect of Endcap.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from endcap.cli import (
    bench,
    checks,
    counterfactual,
    encode,
    evaluate,
    experiments,
    files,
    keys,
    models,
    people,
    serve,
    settings,
    simulate,
    vectors,
)
from endcap.errors import EndcapError

app = typer.Typer(
    name="endcap",
    help="Real-time personalization for shops: the next answer already knows the last click.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("demo")(serve.demo)
app.command("serve")(serve.serve)
app.command("import")(files.import_files)
app.command("recommend")(people.recommend)
app.command("export")(people.export)
app.command("erase")(people.erase)
app.command("backup")(files.backup)
app.command("restore")(files.restore)
app.add_typer(keys.app, name="keys")
app.command("config")(settings.config)
app.command("doctor")(checks.doctor)
app.command("bench")(bench.bench)
app.command("evaluate")(evaluate.evaluate)
app.command("encode")(encode.encode)
app.command("counterfactual")(counterfactual.counterfactual)
app.command("simulate")(simulate.simulate)
app.command("train")(models.train)
app.add_typer(models.app, name="models")
app.add_typer(experiments.app, name="experiments")
app.add_typer(vectors.app, name="vectors")


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"endcap {installed_version('endcap')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of ``endcap`` itself."""


def main() -> None:
    """The entry point ``endcap``."""
    try:
        app()
    except EndcapError as error:
        print(f"endcap: {error.message}", file=sys.stderr)
        sys.exit(2)
