"""History and catalogues from files: read in chunks, map columns, convert values, hand over, report.

Idea: an import is the same as a live stream, only quicker: records become ``Interaction`` or ``Item`` and go to
``sink``, which is the engine's ``observe`` or ``put_items``. What the file gets wrong costs that record alone and is
counted in the report with its line; what makes the whole file unusable raises ``InvalidInput`` with the file, the
column and the remedy.

Imported history is trusted: ``received_at`` is set to the event's own time, so that old events are not late ones.
Within a chunk events are ordered by time. Cost: about 10 us per event, before the engine's own work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from endcap.errors import InvalidInput
from endcap.events.adapters.chunks import CHUNK, Chunk
from endcap.events.adapters.csv import read_csv
from endcap.events.adapters.feed import read_feed
from endcap.events.adapters.jsonl import read_jsonl
from endcap.events.adapters.jsonld import read_jsonld
from endcap.events.adapters.merchant import from_merchant, is_merchant
from endcap.events.adapters.parquet import read_parquet
from endcap.events.columns import EVENT_FIELDS, ITEM_FIELDS, checked_mapping, missing, resolve
from endcap.events.quality import DataQuality
from endcap.events.records import EventRecords, ItemRecords, Refuse, values_of
from endcap.protocols import Adapter
from endcap.types import Ack, Event, Interaction, Item, ItemChange, Refusal

Progress = Callable[[int, int], None]  # bytes done, bytes in all
READERS: dict[str, Callable[[Path, int], Iterator[Chunk]]] = {
    ".csv": read_csv, ".tsv": read_csv, ".txt": read_csv, ".jsonl": read_jsonl, ".ndjson": read_jsonl,
    ".json": read_jsonl, ".parquet": read_parquet, ".pq": read_parquet, ".xml": read_feed, ".rss": read_feed,
    ".atom": read_feed, ".jsonld": read_jsonld, ".html": read_jsonld, ".htm": read_jsonld,
}  # fmt: skip


def silent(_done: int, _total: int) -> None:
    """No progress wanted."""


def import_events(
    paths: Sequence[Path],
    sink: Callable[[list[Interaction]], Ack],
    *,
    now: int,
    mapping: Mapping[str, str] | None = None,
    progress: Progress = silent,
    chunk: int = CHUNK,
) -> DataQuality:
    """Read events from CSV, JSONL and Parquet files, in the order given.

    ``mapping`` is field -> column; ``now`` (epoch ms) is the latest time an event may have. ``sink`` stores one chunk.
    """
    quality = DataQuality("events", [path.name for path in paths])
    fields = checked_mapping(mapping or {}, EVENT_FIELDS)
    newest = 0
    for path, part in all_chunks(paths, chunk, quality, progress):
        found = located(path, part, EVENT_FIELDS, fields, quality)
        if not part.lines:
            continue
        require_event_columns(path, found, part.columns)
        taken = list(EventRecords(path.name, found, part, now).convert(quality.refuse))
        for _, event in taken:
            quality.unordered += event.ts < newest
            newest = max(newest, event.ts)
            quality.event(event)
        taken.sort(key=lambda placed: placed[1].ts)
        send(taken, sink, quality)
    return quality


def import_items(
    paths: Sequence[Path],
    sink: Callable[[list[Item]], Ack],
    *,
    now: int = 0,
    mapping: Mapping[str, str] | None = None,
    progress: Progress = silent,
    chunk: int = CHUNK,
    refused: Refuse | None = None,
) -> DataQuality:
    """Read catalogue records likewise. A column that no field takes becomes an attribute, usable in filters.

    ``now`` (epoch ms) decides which sale prices of a Merchant feed hold; at 0 those with dates do not.
    ``refused`` hears of every refusal: place, code, message.
    """
    quality = DataQuality("items", [path.name for path in paths], told=refused)
    fields = checked_mapping(mapping or {}, ITEM_FIELDS)
    for path, read in all_chunks(paths, chunk, quality, progress):
        part = from_merchant(read, now) if is_merchant(read.columns) else read
        found = located(path, part, ITEM_FIELDS, fields, quality)
        if not part.lines:
            continue
        if "item_id" not in found:
            raise missing(path, "item_id", part.columns, "the item")
        quality.named.update(str(one) for one in values_of(part, found["item_id"]) if one not in (None, ""))
        taken = list(ItemRecords(path.name, found, part).convert(quality.refuse))
        for _, item in taken:
            quality.items.add(item.item_id)
            if item.price is not None:
                quality.prices.add(item.price)
        send(taken, sink, quality)
    return quality


def import_foreign(
    paths: Sequence[Path],
    adapter: Adapter,
    sink: Callable[[list[Event], list[tuple[Refusal, bytes]]], Ack],
    *,
    progress: Progress = silent,
    chunk: int = CHUNK,
) -> DataQuality:
    """Read what another platform wrote: lines of JSON, a JSON list, Parquet, or CSV with its names of columns.

    ``sink`` gets the events of a chunk in order of time, and the adapter's refusals with their records.
    """
    quality = DataQuality(adapter.name, [path.name for path in paths])
    newest = 0
    for path, part in all_chunks(paths, chunk, quality, progress, adapter.columns):
        taken: list[tuple[str, Event]] = []
        refused: list[tuple[Refusal, bytes]] = []
        for line, record in zip(part.lines, rows(part), strict=True):
            place = f"{path.name}:{line}"
            for outcome in adapter.read(record, line, 0):
                if isinstance(outcome, Refusal):
                    quality.refuse(place, outcome.code, outcome.message)
                    refused.append((outcome, json.dumps(record, default=str).encode()))
                    continue
                taken.append((place, outcome))
                if isinstance(outcome, Interaction):
                    quality.unordered += outcome.ts < newest
                    newest = max(newest, outcome.ts)
                    quality.event(outcome)
                elif isinstance(outcome, ItemChange):
                    quality.items.add(outcome.item_id)
        taken.sort(key=lambda placed: placed[1].ts)
        if taken or refused:
            quality.answered(sink([event for _, event in taken], refused), [place for place, _ in taken])
    return quality


def rows(part: Chunk) -> Iterator[dict[str, Any]]:
    """The records of a chunk, without the columns that hold nothing in them."""
    names = list(part.columns)
    for values in zip(*part.columns.values(), strict=True):
        yield {name: value for name, value in zip(names, values, strict=True) if value is not None}


def send(taken: list[tuple[str, Any]], sink: Callable[[list[Any]], Ack], quality: DataQuality) -> None:
    """Hand one chunk over and count the answer."""
    if taken:
        quality.answered(sink([record for _, record in taken]), [place for place, _ in taken])


def all_chunks(
    paths: Sequence[Path], size: int, quality: DataQuality, progress: Progress, names: Sequence[str] = ()
) -> Iterator[tuple[Path, Chunk]]:
    """The chunks of all files; counts what was read and what no reader could split, and reports progress.

    ``names`` are the columns of text files that have no header.
    """
    readers = [(path, reader_of(path)) for path in paths]
    if names:
        readers = [(path, partial(read_csv, names=names) if read is read_csv else read) for path, read in readers]
    total = sum(path.stat().st_size for path, _ in readers)
    before = 0
    for path, read in readers:
        for part in read(path, size):
            quality.read += len(part.lines)
            quality.broken(path.name, part.broken)
            yield path, part
            progress(before + part.done, total)
        before += path.stat().st_size


def reader_of(path: Path) -> Callable[[Path, int], Iterator[Chunk]]:
    """The reader for a file's name. ``InvalidInput`` for a name that says nothing, and for no file."""
    suffix = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    if suffix not in READERS:
        raise InvalidInput(f"{path}: the format is told by the name; expected one ending in {', '.join(READERS)}")
    if not path.is_file():
        raise InvalidInput(f"no file at {path}; check the path")
    return READERS[suffix]


def located(
    path: Path, part: Chunk, fields: Mapping[str, tuple[str, ...]], mapping: Mapping[str, str], quality: DataQuality
) -> dict[str, str]:
    """Which column is which in this chunk; noted in the report."""
    found = resolve(path, part.columns, fields, mapping)
    quality.columns.update(found)
    used = set(found.values())
    quality.ignored += [name for name in part.columns if name not in used and name not in quality.ignored]
    return found


def require_event_columns(path: Path, found: Mapping[str, str], names: Iterable[str]) -> None:
    """A file of events needs a time, a user and a type; what the type needs is checked per record."""
    if "ts" not in found:
        raise missing(path, "ts", names, "the time")
    if "user_id" not in found and "anon_id" not in found:
        raise missing(path, "user_id", names, "the user")
    if "type" not in found and "stars" not in found:
        error = missing(path, "type", names, "the type of event")
        raise InvalidInput(f"{error.message}, or give all one type: --map type==purchase", field="type")
