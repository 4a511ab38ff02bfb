"""``endcap import``, ``backup`` and ``restore``: files in and out of a data directory."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from endcap.cli.output import (
    DEFAULT_DIRECTORY,
    AsJson,
    ConfigFile,
    Directory,
    Progress,
    existing,
    note,
    opened,
    print_json,
    progress_bar,
)
from endcap.config import load_config
from endcap.errors import ConfigError, StoreError

CHECK_CHUNK = 20_000
MAX_REFUSED = 1_000  # refused records of one import that go to the quarantine


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


def local(source: str, place: Path, step: Progress) -> Path:
    """The file that an argument names; a web address is fetched first and named for what it holds."""
    if not source.startswith(("http://", "https://")):
        return Path(source)
    from endcap.server.fetch import fetch, suffix_of

    got = fetch(source, place, allow_private=True, progress=lambda done, total: step("fetching (bytes)", done, total))
    return place.rename(place.with_suffix(suffix_of(place, got.content_type)))


def import_files(
    kind: Annotated[Kind, typer.Argument(help="What the files hold.")],
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="CSV, TSV, JSONL or Parquet; items also as XML feed or page with JSON-LD. Or a web address.",
        ),
    ],
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
    from endcap.preprocess.decode import RefusedRecord
    from endcap.types import Refusal

    mapping = column_map(maps or [])
    if mapping and kind not in (Kind.EVENTS, Kind.ITEMS):
        raise ConfigError(f"--map belongs to events and items; the fields of {kind.value} have fixed places")
    settings, _ = load_config(config)
    with TemporaryDirectory() as fetched, opened(directory, settings) as engine, progress_bar() as step:

        def read(done: int, total: int) -> None:
            step("reading (bytes)", done, total)

        paths = [local(source, Path(fetched) / str(number), step) for number, source in enumerate(sources)]
        now = engine.runtime.now()
        refused: list[RefusedRecord] = []

        def refuse(place: str, code: str, message: str) -> None:
            if len(refused) < MAX_REFUSED:
                refused.append(RefusedRecord(Refusal(index=0, code=code, message=message), place.encode(), now))

        if kind is Kind.EVENTS:
            report = import_events(paths, engine.observe, now=now, mapping=mapping, progress=read)
        elif kind is not Kind.ITEMS:
            from endcap.events.adapters.platforms import PLATFORMS
            from endcap.server.foreign import reading_of, take_history

            adapter = PLATFORMS[kind.value](reading_of(engine))
            report = import_foreign(paths, adapter, partial(take_history, engine, kind.value), progress=read)
        else:
            report = import_items(paths, engine.put_items, now=now, mapping=mapping, progress=read, refused=refuse)
            engine.submit((), refused).result()  # to the quarantine
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo(report.to_text())


def backup(
    path: Annotated[Path, typer.Argument(help="The file to write; must not exist.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Copy log, experiments and models to one file, also while a server writes. Keys and snapshots are not in it."""
    from endcap.stores.enclosed import beside
    from endcap.stores.sqlite import SqliteLog

    log = SqliteLog(existing(directory) / "endcap.db", read_only=True)
    try:
        files = beside(directory)
        log.backup(path, files)
    finally:
        log.close()
    size = path.stat().st_size
    if as_json:
        print_json({"path": str(path), "bytes": size, "files": files})
    else:
        note(
            f"{path}: {size / 1e6:,.1f} MB, the log and {len(files)} files; put it back with: "
            f"endcap restore {path} --dir NEW"
        )


def restore(
    path: Annotated[Path, typer.Argument(help="A file that `endcap backup` wrote.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Put a backup into an empty data directory and check every record of it."""
    from endcap.stores.enclosed import let_go, unpack
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
        files = unpack(path, directory)
        source.backup(target)
        if files:
            let_go(target)
    finally:
        source.close()
    if as_json:
        print_json({"path": str(target), "events": done, "offset": after, "files": files})
    else:
        note(f"{target}: {done:,} events and {len(files)} files, every checksum right; the next start folds them")
