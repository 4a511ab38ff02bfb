"""``endcap vectors``: vectors of items from files or from a service, listed and dropped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from endcap.item_vectors import VectorReport

app = typer.Typer(help="Vectors of items: from files, from a service, listed, dropped.", no_args_is_help=True)

Name = Annotated[str, typer.Option("--name", help="Name of the set: text, image, audio, or your own.")]
Version = Annotated[str, typer.Option("--version", help="The encoder's version.")]


@app.command("import")
def import_file(
    path: Annotated[Path, typer.Argument(metavar="FILE", help=".npy (with --ids), Parquet or Arrow.")],
    name: Name,
    encoder: Annotated[str, typer.Option("--encoder", help="What made the vectors.")],
    version: Version = "1",
    ids: Annotated[Path | None, typer.Option("--ids", help="For .npy: a text file, one item id a line.")] = None,
    id_column: Annotated[str, typer.Option("--id-column", help="Parquet, Arrow: the column of item ids.")] = "item_id",
    column: Annotated[str, typer.Option("--column", help="Parquet, Arrow: the column of vectors.")] = "vector",
    replace: Annotated[bool, typer.Option("--replace", help="Drop what is under the name first.")] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Store the vectors of a file, with a report of what was taken, refused and why."""
    from endcap.events.vector_files import read_vectors
    from endcap.item_vectors import import_vectors

    chunks = read_vectors(path, ids, id_column, column)
    settings, _ = load_config(config)
    with opened(existing(directory), settings) as engine, progress_bar() as step:
        report = import_vectors(
            engine, chunks, name, encoder, version, replace=replace,
            progress=lambda done, total: step("rows", done, total),
        )  # fmt: skip
    tell(report, as_json)


@app.command("embed")
def embed(
    url: Annotated[str, typer.Option("--url", help="Address of a service of the /v1/embeddings form.")],
    model: Annotated[str, typer.Option("--model", help="Its model; also the encoder's id.")],
    name: Name = "text",
    version: Version = "1",
    key_variable: Annotated[
        str, typer.Option("--key-env", metavar="VARIABLE", help="Environment variable that holds the service's key.")
    ] = "ENDCAP_EMBEDDINGS_KEY",
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="The service may have an address of a private network.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Also for items that have a vector.")] = False,
    batch: Annotated[int, typer.Option("--batch", min=1, max=2048, help="Texts of one request.")] = 64,
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Send the texts of the catalogue to a service that you name, and store the vectors it answers."""
    from endcap.item_vectors import embed_items
    from endcap.models.embeddings import EmbeddingClient

    client = EmbeddingClient(url, model, version=version, key=os.environ.get(key_variable), allow_private=allow_private)
    settings, _ = load_config(config)
    with opened(existing(directory), settings) as engine, progress_bar() as step:
        report = embed_items(
            engine, client, name, again=again, batch=batch,
            progress=lambda done, total: step("items", done, total),
        )  # fmt: skip
    tell(report, as_json)


@app.command("list")
def show(directory: Directory = DEFAULT_DIRECTORY, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """The sets of vectors, what made them, and how many items have one."""
    from endcap.item_vectors import vector_sets

    settings, _ = load_config(config)
    with opened(existing(directory), settings) as engine:
        found = vector_sets(engine)
    if as_json:
        print_json(found)
        return
    for one in found:
        typer.echo(f"{one.name}: {one.items:,} items, {one.dim} numbers, encoder {one.encoder} version {one.version}")
    if not found:
        note("no vectors so far; endcap vectors import FILE --name image --encoder ID")


@app.command("drop")
def drop(
    name: Annotated[str, typer.Argument(help="The set's name.")],
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Drop a whole set, so that another encoder may begin anew under its name."""
    from endcap.item_vectors import drop_vectors, set_of

    settings, _ = load_config(config)
    with opened(existing(directory), settings) as engine:
        gone = set_of(engine, name)
        drop_vectors(engine, name)
    if as_json:
        print_json(gone)
    else:
        note(f"{gone.name}: {gone.items:,} vectors of encoder {gone.encoder} are gone")


def tell(report: VectorReport, as_json: bool) -> None:
    """The report, for a machine or for people."""
    if as_json:
        print_json(report)
        return
    refused = sum(report.refused.values())
    skipped = f", {report.skipped:,} items skipped" if report.skipped else ""
    typer.echo(f"{report.accepted:,} vectors taken, {refused:,} refused{skipped}")
    for code, n in report.refused.items():
        typer.echo(f"  {code}: {n:,}")
    for example in report.examples:
        typer.echo(f"  {example}")
