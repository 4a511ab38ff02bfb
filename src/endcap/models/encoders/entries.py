"""Entries: what all encoders do with a batch, one entry at a time, so that a bad one costs only itself.

``vectors_of`` takes catalogue records through any encoder, of ours or of the shop, and checks what comes out. Nothing
here opens a connection: pictures and sounds are bytes that the caller hands over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from endcap.errors import EndcapError, InvalidInput
from endcap.protocols import Encoder
from endcap.types import F4, I4, Item, Refusal

T = TypeVar("T")

CHUNK = 32  # records whose bytes are held at once
LEAST_LENGTH = 1e-6  # of a vector before it is made a unit vector
ROUNDING = 1e-3  # how far from 1 the length of a given unit vector may be


def read_each(batch: Sequence[bytes], read: Callable[[bytes], T]) -> tuple[list[T], I4, list[Refusal]]:
    """(values, their places in the batch, refusals of the others); an entry is refused by an error of ours."""
    values: list[T] = []
    places: list[int] = []
    refusals: list[Refusal] = []
    for index, entry in enumerate(batch):
        try:
            values.append(read(entry))
        except EndcapError as wrong:
            refusals.append(Refusal(index=index, code=wrong.code, message=wrong.message))
        else:
            places.append(index)
    return values, np.array(places, np.int32), refusals


def as_units(n: int, places: I4, found: F4, refusals: list[Refusal]) -> tuple[F4, list[Refusal]]:
    """Unit vectors [n, dim]: ``found`` [m, dim] at ``places`` [m], else zeros. What has no direction is refused."""
    length = np.linalg.norm(found.astype(np.float64), axis=1)
    good = np.isfinite(length) & (length > LEAST_LENGTH)
    out = np.zeros((n, found.shape[1]), np.float32)
    out[places[good]] = found[good] / length[good, None]
    for place in places[~good].tolist():
        said = "nothing in it says anything: its vector has no direction; expected words, shapes or sound"
        refusals.append(Refusal(index=place, code=InvalidInput.code, message=said))
    return out, sorted(refusals, key=lambda refusal: refusal.index)


# ---------------------------------------------------------------- records


class Encoded(NamedTuple):
    """Some records' vectors. A refusal's index counts all records of the call, its value is the item's id."""

    item_ids: list[str]
    vectors: F4  # [n, dim], unit norm
    refusals: list[Refusal]
    done: int  # records so far, those without anything to encode included


def text_of(item: Item) -> bytes | None:
    """What a record says in words: its title on the first line, then brand, category, tags and description."""
    categories = " > ".join(item.categories[0]) if item.categories else None
    about = (item.brand, categories, ", ".join(item.tags), item.description)
    rest = ". ".join(part.strip() for part in about if part and part.strip())
    text = f"{' '.join((item.title or '').split())}\n{rest}".strip()
    return text.encode("utf-8", "replace") or None


def vectors_of(
    records: Iterable[Item], encoder: Encoder, fetch: Callable[[Item], bytes | None] = text_of
) -> Iterator[Encoded]:
    """Vectors of records, ``CHUNK`` at a time, so that memory stays small however many there are.

    ``fetch`` gives the bytes of a record's text, picture or sound, None when it has none; what it raises of
    ``EndcapError`` or ``OSError`` refuses that record alone. Raises ``InvalidInput`` when the encoder itself is broken:
    wrong shape, numbers that are not finite, or rows of another length than 1.
    """
    waiting = iter(records)
    done = 0
    while chunk := list(islice(waiting, CHUNK)):
        batch: list[bytes] = []
        places: list[int] = []
        refusals: list[Refusal] = []
        for k, item in enumerate(chunk):
            try:
                entry = fetch(item)
            except (EndcapError, OSError) as wrong:
                code = wrong.code if isinstance(wrong, EndcapError) else "unreadable"
                refusals.append(Refusal(index=k, code=code, message=str(wrong)))
                continue
            if entry is not None:
                batch.append(entry)
                places.append(k)
        vectors, refused = encoder.encode(batch) if batch else (np.zeros((0, encoder.dim), np.float32), [])
        bad = {refusal.index for refusal in refused}
        kept = [k for k in range(len(batch)) if k not in bad]
        check_units(encoder, len(batch), vectors, kept)
        refusals += [msgspec.structs.replace(refusal, index=places[refusal.index]) for refusal in refused]
        yield Encoded(
            [chunk[places[k]].item_id for k in kept], vectors[kept],
            [told(refusal, done, chunk) for refusal in sorted(refusals, key=lambda one: one.index)], done + len(chunk),
        )  # fmt: skip
        done += len(chunk)


def told(refusal: Refusal, before: int, chunk: list[Item]) -> Refusal:
    """A refusal with the item's id and its place among all records."""
    return msgspec.structs.replace(refusal, index=before + refusal.index, value=chunk[refusal.index].item_id[:80])


def check_units(encoder: Encoder, n: int, vectors: F4, kept: list[int]) -> None:
    """``InvalidInput`` unless the rows that an encoder vouches for are what the socket promises."""
    if vectors.shape != (n, encoder.dim) or vectors.dtype != np.float32:
        raise InvalidInput(
            f"the encoder {encoder.id} gave {vectors.dtype} {vectors.shape} for {n} entries; "
            f"expected float32 {(n, encoder.dim)}"
        )
    lengths = np.linalg.norm(vectors[kept], axis=1)
    if not (np.abs(lengths - 1.0) <= ROUNDING).all():
        raise InvalidInput(
            f"the encoder {encoder.id} gave a vector of length {lengths[np.abs(lengths - 1.0).argmax()]:.6g}; "
            "expected 1; divide by the norm, and refuse what has none"
        )
