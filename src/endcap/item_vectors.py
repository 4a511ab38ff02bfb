"""Vectors of items, brought by the shop: checked, then written to the log like every other fact.

``put_vectors`` is for programs and for the command line; the routes of ``server/vectors.py`` use the same checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
from msgspec import Struct

from endcap.engine import Engine
from endcap.errors import InvalidInput, NotFound
from endcap.events.vector_files import VectorChunk
from endcap.models.encoders.entries import text_of
from endcap.models.vector_sets import NO_VERSION, UNNAMED, as_vector, check_space, usable
from endcap.protocols import Encoder
from endcap.types import F4, Ack, Event, Item, Refusal, VectorChange


class VectorSet(Struct, frozen=True, kw_only=True):
    """One set of vectors: what made them and how many there are."""

    name: str
    encoder: str
    version: str
    dim: int
    items: int


class ItemVector(Struct, frozen=True, kw_only=True):
    """An item's vector as it is kept: with length 1."""

    item_id: str
    name: str
    vector: list[float]
    encoder: str
    version: str
    dim: int


def put_vectors(
    engine: Engine, name: str, encoder: str, version: str, item_ids: Sequence[str], vectors: Sequence[F4] | F4
) -> Ack:
    """Set the vectors [n, dim] of items, under a name such as text, image or audio.

    ``encoder`` and ``version`` say what made them. A vector that cannot be used, and one for an item that is not
    there, is in ``Ack.rejected`` by its place; the others are taken. ``InvalidInput`` when none can be: the name is no
    name, or its set has another encoder or version.
    """
    events, refusals = vector_changes(engine, name, encoder, version, item_ids, vectors)
    ack = engine.submit(events).result() if events else Ack(accepted=0, offset=engine.offset)
    return msgspec.structs.replace(ack, rejected=refusals)


def vector_changes(
    engine: Engine, name: str, encoder: str, version: str, item_ids: Sequence[str], vectors: Sequence[F4] | F4
) -> tuple[list[Event], list[Refusal]]:
    """Events for ``Engine.submit``, and what is refused. Raises as ``put_vectors``.

    The first usable vector of a new set says how many numbers the others have.
    """
    check_space(name, encoder, version)
    sets = engine.state.vectors
    events: list[Event] = []
    refusals: list[Refusal] = []
    space = sets.spaces.get(name)
    dim = space.dim if space else 0
    if space is None or (space.encoder, space.version) != (encoder, version):
        refuse(sets.conflict(name, encoder, version, dim))
    for index, (item_id, given) in enumerate(zip(item_ids, vectors, strict=True)):
        vector = np.asarray(given, np.float32)
        why, code = usable(vector), "bad_vector"
        if not why and dim and vector.shape[0] != dim:
            why, code = sets.conflict(name, encoder, version, vector.shape[0]) or differs(vector.shape[0], dim), "mixed"
        if not why and not is_there(engine, item_id):
            why, code = f"no item {item_id[:80]!r} in the catalogue or in any event; send the item first", "no_item"
        if why:
            refusals.append(Refusal(index=index, code=code, message=why, field="vector", value=item_id[:80]))
        else:
            dim = vector.shape[0]
            events.append(vector_change(engine, name, item_id, vector, encoder, version))
    return events, refusals


def differs(dim: int, first: int) -> str:
    """The message for a vector that is of another length than the first of a new set."""
    return f"the vector has {dim} numbers, the first one of this set has {first}; all of a set have the same"


def refuse(why: str) -> None:
    """Raise ``InvalidInput`` if there is a reason to."""
    if why:
        raise InvalidInput(why, field="name")


def is_there(engine: Engine, item_id: str) -> bool:
    """Whether an item may have vectors: it is in the catalogue, or events named it, and it is not deleted."""
    return engine.state.catalogue.is_there(engine.state.items.get(item_id))


def vector_change(
    engine: Engine, name: str, item_id: str | None, vector: F4 | None = None, encoder: str = "", version: str = ""
) -> VectorChange:
    """One event. Without a vector the item's goes; without an item the whole set."""
    now = engine.runtime.now()
    packed = None if vector is None else vector.astype("<f4").tobytes()
    return VectorChange(
        event_id=f"vector:{engine.runtime.new_id()}", name=name, ts=now, received_at=now, item_id=item_id,
        vector=packed, encoder=encoder, version=version,
    )  # fmt: skip


def drop_vectors(engine: Engine, name: str) -> Ack:
    """Drop a whole set, so that another encoder may begin anew under its name. ``NotFound`` when there is none."""
    set_of(engine, name)
    return engine.submit([vector_change(engine, name, None)]).result()


def vector_sets(engine: Engine) -> list[VectorSet]:
    """The sets that there are."""
    sets = engine.state.vectors
    return [
        VectorSet(name=name, encoder=space.encoder, version=space.version, dim=space.dim, items=sets.held(name))
        for name, space in sets.spaces.items()
    ]


def set_of(engine: Engine, name: str) -> VectorSet:
    """One set. ``NotFound`` names those that there are."""
    found = vector_sets(engine)
    for one in found:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in found) or "none so far"
    raise NotFound(f"no set of vectors called {name[:64]!r}; there are: {known}")


def vector_of(engine: Engine, name: str, item_id: str) -> ItemVector:
    """An item's vector. ``NotFound`` when the set is none or the item has no vector in it."""
    found = set_of(engine, name)
    vector = engine.state.vectors.vector(name, engine.state.items.get(item_id))
    if vector is None:
        raise NotFound(
            f"item {item_id[:80]!r} has no vector called {name!r}; send one: PUT /v1/items/{{id}}/vectors/{name}"
        )
    return ItemVector(
        item_id=item_id, name=name, vector=vector.tolist(), encoder=found.encoder, version=found.version, dim=found.dim
    )


def check_record_vectors(engine: Engine, item: Item) -> None:
    """``InvalidInput`` when the vectors in an item's record cannot be used or do not fit their sets."""
    for name, numbers in item.vectors.items():
        check_space(name, UNNAMED, NO_VERSION)
        why = usable(as_vector(numbers)) or engine.state.vectors.conflict(name, UNNAMED, NO_VERSION, len(numbers))
        if why:
            raise InvalidInput(f"vectors.{name}: {why}", field="vectors")


class VectorReport(Struct, kw_only=True):
    """What became of the rows of a file or of the items of a catalogue."""

    read: int = 0
    accepted: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict)  # code -> count
    examples: list[str] = msgspec.field(default_factory=list)  # the first refusals, in words
    skipped: int = 0  # items that needed no vector, or have no text to make one from

    def refuse(self, place: str, refusal: Refusal) -> None:
        """Count a refusal."""
        self.refused[refusal.code] = self.refused.get(refusal.code, 0) + 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(f"{place}: {refusal.message}")


MOST_EXAMPLES = 10


def import_vectors(
    engine: Engine, chunks: Iterable[VectorChunk], name: str, encoder: str, version: str, *, replace: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> VectorReport:  # fmt: skip
    """Store the vectors of a file. ``replace``: drop what is under the name first, once a usable vector was seen.

    Raises as ``put_vectors``; then nothing was stored.
    """
    check_space(name, encoder, version)
    report = VectorReport()
    for chunk in chunks:
        if replace and name in engine.state.vectors.spaces and any(not usable(one) for one in chunk.vectors):
            drop_vectors(engine, name)
        replace = replace and not any(not usable(one) for one in chunk.vectors)
        ack = put_vectors(engine, name, encoder, version, chunk.item_ids, chunk.vectors)
        report.read += len(chunk.item_ids)
        report.accepted += ack.accepted
        for refusal in ack.rejected:
            report.refuse(f"row {chunk.first + refusal.index}", refusal)
        progress(report.read, chunk.total)
    return report


def embed_items(
    engine: Engine, encoder: Encoder, name: str, *, again: bool = False, batch: int = 64,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> VectorReport:  # fmt: skip
    """Have an encoder make vectors of the texts of the catalogue and store them, batch by batch.

    Items that have a vector under the name are left out, so an interrupted run goes on where it was; ``again`` takes
    them all. Raises what the encoder raises; what was stored until then stays.
    """
    check_space(name, encoder.id, encoder.version)
    sets, report = engine.state.vectors, VectorReport()
    space = sets.spaces.get(name)
    if space is not None and (space.encoder, space.version) != (encoder.id, encoder.version):
        refuse(sets.conflict(name, encoder.id, encoder.version, space.dim))
    waiting: list[tuple[str, bytes]] = []
    for item in engine.items(n=len(engine.state.items)):
        text = text_of(item)
        if text and (again or not sets.has(name, engine.state.items.get(item.item_id))):
            waiting.append((item.item_id, text))
        else:
            report.skipped += 1
    for begin in range(0, len(waiting), batch):
        some = waiting[begin : begin + batch]
        vectors, refused = encoder.encode([text for _, text in some])
        report.read += len(some)
        for refusal in refused:
            report.refuse(f"item {some[refusal.index][0]}", refusal)
        bad = {refusal.index for refusal in refused}
        kept = [k for k in range(len(some)) if k not in bad]
        if not kept:
            continue
        ids = [some[k][0] for k in kept]
        ack = put_vectors(engine, name, encoder.id, encoder.version, ids, vectors[kept])
        report.accepted += ack.accepted
        for refusal in ack.rejected:
            report.refuse(f"item {ids[refusal.index]}", refusal)
        progress(report.read, len(waiting))
    return report
