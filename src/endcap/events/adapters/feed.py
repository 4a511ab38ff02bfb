"""Product feeds in XML: RSS 2.0 and Atom, with the elements of Google Merchant in ``g:`` or without a prefix.

Read as a stream, entry by entry, with defusedxml: a feed comes from elsewhere, so it may declare no entities and no
document type. The elements of an entry are columns; ``merchant.py`` says what they mean. Elements that may repeat are
lists, of the others the first counts. A file that breaks off loses what comes after the break, and says so with the
code ``bad_xml``: who cannot accept half a catalogue looks for it.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from endcap.errors import InvalidInput
from endcap.events.adapters.chunks import CHUNK, Broken, Chunk
from endcap.events.adapters.jsonl import columns
from endcap.events.adapters.merchant import REPEATED

GOOGLE = "{http://base.google.com/ns/1.0}"
ENTRIES = frozenset({"item", "entry"})
BROKEN_OFF = "bad_xml"


def read_feed(path: Path, size: int = CHUNK) -> Iterator[Chunk]:
    """The entries of a file, in order; ``lines`` are their numbers. ``InvalidInput`` when the file cannot be opened."""
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    try:
        with path.open("rb") as raw:
            plain = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
            taken: list[dict[str, Any]] = []
            number = 0
            broken: list[Broken] = []
            parents: list[Any] = []
            try:
                for happening, element in iterparse(plain, events=("start", "end"), forbid_dtd=True):
                    if happening == "start":
                        parents.append(element)
                        continue
                    parents.pop()
                    if local(element.tag) not in ENTRIES:
                        continue
                    number += 1
                    taken.append(record(element))
                    if parents:
                        parents[-1].clear()  # what was read is let go, siblings before it included
                    if len(taken) >= size:
                        yield Chunk(range(number - len(taken) + 1, number + 1), columns(taken), raw.tell())
                        taken = []
            except (ParseError, DefusedXmlException, EOFError, gzip.BadGzipFile, UnicodeError) as wrong:
                what = f"not well-formed XML after {number} entries: {wrong or type(wrong).__name__}"
                broken.append(Broken(number + 1, BROKEN_OFF, f"{what}; what comes after is lost, get the file again"))
            lines = range(number - len(taken) + 1, number + 1)
            yield Chunk(lines, columns(taken), path.stat().st_size, broken)
    except OSError as wrong:
        raise InvalidInput(f"{path} cannot be read: {wrong}; check the path") from wrong


def local(tag: Any) -> str:
    """The name of an element without its namespace; comments have none."""
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def record(entry: Any) -> dict[str, Any]:
    """The elements of one entry by name. Google's own go before what RSS or Atom call the same."""
    found: dict[str, Any] = {}
    ours: set[str] = set()
    for element in entry:
        name = local(element.tag)
        text = (element.text or element.get("href") or "").strip()
        if not name or not text or len(element):
            continue
        google = str(element.tag).startswith(GOOGLE)
        if name in REPEATED:
            found.setdefault(name, []).append(text)
        elif name not in found or (google and name not in ours):
            found[name] = text
        if google:
            ours.add(name)
    return found
