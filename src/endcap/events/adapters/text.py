"""Opening text files of unknown making: UTF-8 with or without a mark, UTF-16 by its mark, gzip by its name.

Bytes that are not valid become lone surrogates, so that only the records that hold them are refused.
"""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from endcap.errors import InvalidInput

ADVICE = "convert the file, for example: iconv -f latin1 -t utf-8 OLD > NEW"
LONE = "endcap.lone_surrogate"


def _lone(wrong: UnicodeError) -> tuple[str, int]:
    """What stands for bytes that are no text; ``surrogateescape`` knows those above 127 alone, UTF-16 has others."""
    assert isinstance(wrong, UnicodeDecodeError)
    return "\udc80" * (wrong.end - wrong.start), wrong.end


codecs.register_error(LONE, _lone)


@contextmanager
def open_text(path: Path, newline: str | None = None) -> Iterator[tuple[TextIO, BinaryIO]]:
    """The text of a file, and the raw file whose ``tell`` shows the progress."""
    try:
        with path.open("rb") as raw:
            plain = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
            mark = plain.read(2)
            plain.seek(0)
            encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
            with io.TextIOWrapper(plain, encoding, errors=LONE, newline=newline) as text:
                yield text, raw
    except FileNotFoundError:
        raise InvalidInput(f"no file at {path}; check the path") from None
    except (OSError, EOFError) as wrong:
        raise InvalidInput(f"{path} cannot be read: {wrong}; it may be truncated, copy it again") from wrong


def is_clean(text: str) -> bool:
    """False when the text holds bytes that were not UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
