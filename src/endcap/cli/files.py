"""``endcap import``, ``backup`` and ``restore``: files in and out of a data directory."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
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
from endcap.errors import ConfigError, StoreError

CHECK_CHUNK = 20_000


class Kind(StrEnum):
    """What a file holds."""

    EVENTS = "events"
    ITEMS = "items"
    SEGMENT = "segment"
    GA4 = "ga4"
    RETAIL = "retail"
    PERSONALIZE = "personalize"
    RECOMBEE = "recombee"
    SNOWPLOW = "snowplow"
    CLOUDEVENTS = "cloudevents"
    GORSE = "gorse"
    METARANK = "metarank"


def column_map(pairs: list[str]) -> dict[str, str]:
    """``--map user_id=customer`` options as a dictionary."""
    mapping = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours or not theirs:
            raise ConfigError(f"--map {pair!r} is not understood; expected field=column, for example user_id=customer")
        mapping[ours.strip()] = theirs.strip()
    return mapping


def import_files(
    kind: Annotated[Kind, typer.Argument(help="What the files hold.")],
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV, JSONL or Parquet files, also as .gz.")],
    maps: Annotated[
        list[str] | None, typer.Option("--map", metavar="FIELD=COLUMN", help="Which column is which; repeatable.")
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Read history or a catalogue from files, with a report of what was taken, refused and why.

    The other kinds are the formats of other platforms; what is refused of these is in the quarantine too.
    """
    from endcap.events.importer import import_events, import_foreign, import_items

    mapping = column_map(maps or [])
    if mapping and kind not in (Kind.EVENTS, Kind.ITEMS):
        raise ConfigError(f"--map belongs to events and items; the fields of {kind.value} have fixed places")
    settings, _ = load_config(config)
    with opened(directory, settings) as engine, progress_bar() as step:

        def read(done: int, total: int) -> None:
            step("reading (bytes)", done, total)

        if kind is Kind.EVENTS:
            now = engine.runtime.now()
            report = import_events(paths, engine.observe, now=now, mapping=mapping, progress=read)
        elif kind is not Kind.ITEMS:
            from endcap.events.adapters.platforms import PLATFORMS
            from endcap.server.foreign import reading_of, take_history

            adapter = PLATFORMS[kind.value](reading_of(engine))
            report = import_foreign(paths, adapter, partial(take_history, engine, kind.value), progress=read)
        else:
            report = import_items(paths, engine.put_items, mapping=mapping, progress=read)
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo(report.to_text())


def backup(
    path: Annotated[Path, typer.Argument(help="The file to write; must not exist.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Copy the log to one file, consistent, also while a server writes. Keys and snapshots are not in it."""
    from endcap.stores.sqlite import SqliteLog

    log = SqliteLog(existing(directory) / "endcap.db", read_only=True)
    try:
        log.backup(path)
    finally:
        log.close()
    size = path.stat().st_size
    if as_json:
        print_json({"path": str(path), "bytes": size})
    else:
        note(f"{path}: {size / 1e6:,.1f} MB; put it back with: endcap restore {path} --dir NEW")


def restore(
    path: Annotated[Path, typer.Argument(help="A file that `endcap backup` wrote.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Put a backup into an empty data directory and check every record of it."""
    from endcap.stores.sqlite import SqliteLog

    target = directory / "endcap.db"
    if target.exists():
        raise StoreError(f"{directory} holds a log already; restore into a new directory: --dir NEW")
    if not path.is_file():
        raise StoreError(f"no backup at {path}; expected a file that `endcap backup` wrote")
    source = SqliteLog(path, read_only=True)
    try:
        total, done, after = source.last_offset(), 0, 0
        with progress_bar() as step:
            while chunk := source.read(after, CHECK_CHUNK):  # reading checks each record's checksum
                done, after = done + len(chunk), chunk[-1].offset
                step("checking", after, total)
        directory.mkdir(parents=True, exist_ok=True)
        source.backup(target)
    finally:
        source.close()
    if as_json:
        print_json({"path": str(target), "events": done, "offset": after})
    else:
        note(f"{target}: {done:,} events, every checksum right; the next start folds them")
