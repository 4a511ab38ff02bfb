"""JSON lines: one object per line. Also takes a file that is one JSON list of objects, as many exports are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from endcap.errors import InvalidInput
from endcap.events.adapters.chunks import CHUNK, Broken, Chunk
from endcap.events.adapters.text import ADVICE, is_clean, open_text

MAX_LINE = 1_000_000  # characters


def read_jsonl(path: Path, size: int = CHUNK) -> Iterator[Chunk]:
    """The objects of a file, in order; a line that is none is reported and skipped."""
    with open_text(path) as (text, raw):
        start = text.read(1)
        lines: Iterable[tuple[int, Any]]
        if start == "[":
            lines = enumerate(whole(path, start + text.read()), 1)
        else:
            text.seek(0)
            lines = enumerate(iter(lambda: text.readline(MAX_LINE), ""), 1)
        taken: list[dict[str, Any]] = []
        places: list[int] = []
        broken: list[Broken] = []
        for line, given in lines:
            record = parsed(line, given, broken) if isinstance(given, str) else given
            if isinstance(record, dict):
                taken.append(record)
                places.append(line)
            elif record is not None:
                broken.append(Broken(line, "not_an_object", f"expected an object, got {type(record).__name__}"))
            if len(taken) + len(broken) >= size:
                yield Chunk(places, columns(taken), raw.tell(), broken)
                taken, places, broken = [], [], []
        yield Chunk(places, columns(taken), path.stat().st_size, broken)


def parsed(line: int, text: str, broken: list[Broken]) -> Any:
    """The value of a line; None for an empty or a broken one."""
    if not text.strip():
        return None
    if not is_clean(text):
        broken.append(Broken(line, "bad_encoding", f"not UTF-8; {ADVICE}"))
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as wrong:
        broken.append(Broken(line, "bad_json", f"not JSON: {wrong}"))
        return None


def whole(path: Path, text: str) -> list[Any]:
    """A file that is one list."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as wrong:
        raise InvalidInput(
            f"{path} starts like a JSON list but is none: {wrong}; it may be truncated. Lines of JSON lose only the "
            f"broken ones"
        ) from None
    return list(value)


def columns(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Objects turned into columns, in order of first appearance."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}
