"""CSV with a header line: commas, semicolons, tabs or bars; quoted fields; any line ends.

The standard library's reader, because it goes on after a broken line and knows the number of each.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from endcap.errors import InvalidInput
from endcap.events.adapters.chunks import CHUNK, Broken, Chunk
from endcap.events.adapters.text import ADVICE, is_clean, open_text

MAX_LINE = 1_000_000  # characters
SEPARATORS = ",;\t|"


def read_csv(path: Path, size: int = CHUNK, names: Sequence[str] = ()) -> Iterator[Chunk]:
    """The records of a file, in order. ``InvalidInput`` when it has no usable header.

    With ``names`` the file has no header: its lines hold these columns between tabs, quotes are part of the text.
    """
    with open_text(path, newline="") as (text, raw):
        header, rows = (list(names), unquoted(text)) if names else opened(path, text)
        taken: list[list[str]] = []
        lines: list[int] = []
        broken: list[Broken] = []
        for line, row in numbered(rows, broken):
            if not row:
                continue
            if len(row) != len(header):
                message = f"{len(row)} fields, the header has {len(header)}; quote fields that hold the separator"
                broken.append(Broken(line, "wrong_columns", message))
            elif not is_clean("".join(row)):
                broken.append(Broken(line, "bad_encoding", f"not UTF-8; {ADVICE}"))
            else:
                taken.append(row)
                lines.append(line)
            if len(taken) + len(broken) >= size:
                yield chunk(header, taken, lines, raw.tell(), broken)
                taken, lines = [], []
                broken.clear()
        yield chunk(header, taken, lines, path.stat().st_size, broken)


def opened(path: Path, text: TextIO) -> tuple[list[str], Any]:
    """The names of the columns, and the reader behind them."""
    first = text.readline(1_000_000)
    if not first.strip():
        raise InvalidInput(f"{path} is empty; expected a header line with the names of the columns")
    if not is_clean(first) or "\x00" in first:
        raise InvalidInput(f"{path}: the header line is not UTF-8 text; {ADVICE}")
    separator = max(SEPARATORS, key=first.count)
    header = [name.strip() for name in next(csv.reader([first], delimiter=separator))]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise InvalidInput(f"{path}: the column {twice[0]!r} stands twice in the header; rename one")
    return header, csv.reader(text, delimiter=separator)


class unquoted:  # noqa: N801  # stands beside csv.reader
    """Lines of tab-separated values as they are."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self.line_num = -1

    def __iter__(self) -> unquoted:
        return self

    def __next__(self) -> list[str]:
        line = self._text.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.line_num += 1
        return line.rstrip("\r\n").split("\t")


def numbered(rows: Any, broken: list[Broken]) -> Iterator[tuple[int, list[str]]]:
    """Rows with their lines, counting the header; what the reader cannot split goes to ``broken``."""
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as wrong:
            broken.append(
                Broken(rows.line_num + 1, "bad_csv", f"not readable as CSV ({wrong}); is a quote open before it?")
            )
            continue
        yield rows.line_num + 1, row


def chunk(header: list[str], taken: list[list[str]], lines: list[int], done: int, broken: list[Broken]) -> Chunk:
    """Rows turned into columns; an empty field is no value."""
    columns: dict[str, Any] = {}
    for name, values in zip(header, zip(*taken, strict=True) if taken else [()] * len(header), strict=True):
        columns[name] = [value or None for value in values]
    return Chunk(lines, columns, done, list(broken))
