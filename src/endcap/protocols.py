"""Every socket of Endcap on one page.

Our own parts use only these; so can yours. Construct an ``Engine`` with the parts you want. All calls are synchronous;
``retrieve``, ``keep``, ``score`` and ``read`` never write to state (law L3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

from endcap.batches import EventBatch
from endcap.candidates import Candidates
from endcap.types import F4, I4, U1, Arrays, Event, Interest, Refusal, Stored

Modality = Literal["text", "image", "audio"]


class EventLog(Protocol):
    """The durable, ordered, idempotent list of facts. When ``append`` returns, the events survive a power cut."""

    durable: bool  # False: an append that returned may be lost with the machine

    def append(self, events: Sequence[Event], refused: Sequence[Refused] = ()) -> list[int]:
        """Store the events in order; gives one offset each, or 0 for an ``event_id`` stored before (a duplicate)."""
        ...

    def read(self, after: int, limit: int) -> list[Stored]:
        """Up to ``limit`` events with offset > ``after``, in order; empty at the end."""
        ...

    def last_offset(self) -> int:
        """The newest offset, 0 for an empty log."""
        ...

    def close(self) -> None:
        """Release files and locks."""
        ...


class Refused(Protocol):
    """A record that was not taken, as the quarantine keeps it."""

    @property
    def refusal(self) -> Refusal: ...
    @property
    def raw(self) -> bytes: ...
    @property
    def received_at(self) -> int: ...
    @property
    def source(self) -> str: ...


class Snapshotter(Protocol):
    """A cache of folded state. Losing it costs time, never data."""

    def save(self, offset: int, arrays: Arrays, schema: str) -> None: ...

    def load(self, schema: str) -> tuple[int, Arrays] | None:
        """The newest usable snapshot with this schema, or None; damaged ones are skipped, never half-read."""
        ...


class Adapter(Protocol):
    """Turns a foreign format into events. A record that cannot be used becomes a refusal; the rest goes on."""

    name: str
    columns: tuple[str, ...]  # of a file of tab-separated values without a header; empty = such files have one

    def records(self, body: Any) -> list[Any]:
        """The records in a decoded body of a request."""
        ...

    def read(self, record: Any, index: int, received_at: int) -> Iterator[Event | Refusal]:
        """What one record says. ``index`` is its place, for refusals; ``received_at`` is epoch ms, 0 for history."""
        ...


class Feature(Protocol):
    """A family of folded numbers: the write half and the read half of one file."""

    def grow(self, n_users: int, n_items: int) -> None:
        """Make room for dense ids below these."""
        ...

    def arrays(self, n_users: int, n_items: int) -> Arrays:
        """The state as named arrays, for snapshots and for the state hash. Views, not copies."""
        ...

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        ...


class Source(Protocol):
    """Proposes candidates."""

    @property
    def name(self) -> str: ...

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Add about ``n`` items with positive scores to ``into`` under ``column``."""
        ...


class Filter(Protocol):
    """Says which candidates may stay."""

    name: str

    def keep(self, items: I4, t_ms: int) -> U1:
        """1 = stays, one entry per item."""
        ...


class Ranker(Protocol):
    """Scores candidates from their feature rows. A row's score depends on that row alone (law L5)."""

    name: str
    terms: tuple[str, ...]

    def score(self, rows: F4) -> F4:
        """rows [n, d] -> scores [n]."""
        ...

    def trace(self, rows: F4) -> F4:
        """rows [n, d] -> contribution of each term [n, len(terms)]; a row's contributions sum to its score."""
        ...


class Encoder(Protocol):
    """Text, pictures or sounds to unit vectors. ``id`` and ``version`` are stored with every vector: vectors of two
    encoders, or of two versions of one, never meet."""

    @property
    def id(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def modality(self) -> Modality: ...

    def encode(self, batch: Sequence[bytes]) -> tuple[F4, list[Refusal]]:
        """(float32 [n, dim] of unit norm, refusals). An entry that cannot be used is refused by its ``index``, and its
        row is zeros; the others are encoded. Text is UTF-8, pictures and sounds are the bytes of their files."""
        ...


class Fold(Protocol):
    """Anything that learns from a batch of clean interactions."""

    def fold(self, batch: EventBatch) -> None: ...
