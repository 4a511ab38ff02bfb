"""Blocks: many small growing lists in one flat pool, so that a list costs what it holds.

Idea: owner ``o`` (a user, an item) holds a contiguous block of a shared pool. Blocks have power-of-two sizes; a full
block moves to one of twice the size and its old place goes on a free stack of its size class, to be taken by the next
owner that grows to that size. A cold item holds 4 entries, a hot one up to ``max_cap``.

Layout, one row per owner: ``start`` int64 (-1 = no block yet), ``length`` int32, ``cap`` int32, side by side in one
cache line (the three arrays are views of one table: a random owner costs one miss, not three). The pool itself is
a set of parallel arrays owned by the feature ("columns"): this file only hands out places. Because places depend on
nothing but the order of events, a replay gives byte-identical arrays.

Cost: O(1) amortised per append, one copy per doubling. Memory: at most 2x the entries, plus what waits on free stacks.

Kernels never allocate: before a kernel runs, ``Blocks.reserve`` makes room, and a kernel that finds the pool full
returns the index of the event at which it stopped so that the caller can enlarge and go on.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from endcap.types import I4, I8, Arrays

MIN_CLASS = 2  # smallest block: 4 entries
N_CLASSES = 16
LINE = 64  # bytes of a cache line
FREE_SLOTS = 4096  # free blocks remembered per class; more are left unused, never corrupted

T = TypeVar("T", bound=np.generic)


@njit(cache=True, nogil=True)
def take(start: I8, cap: I4, owner: int, tail: I8, free: I8, n_free: I8, pool_size: int) -> int:
    """Give ``owner`` a block of twice its present capacity (4 for a first one).

    Returns the new start, or -1 when the pool is full: then nothing has changed. ``cap[owner]`` is updated; copying
    the old entries and setting ``start[owner]`` is the caller's, who alone knows the columns. The old block goes on
    the free stack.
    """
    old_cap = cap[owner]
    new_class = MIN_CLASS
    while (1 << new_class) <= old_cap:
        new_class += 1
    size = 1 << new_class
    if n_free[new_class] > 0:
        n_free[new_class] -= 1
        place = free[new_class, n_free[new_class]]
        free[new_class, n_free[new_class]] = 0  # no traces: a loaded snapshot and a live process stay byte-identical
    else:
        if tail[0] + size > pool_size:
            return -1
        place = tail[0]
        tail[0] += size
    if old_cap > 0:
        old_class = new_class - 1
        if n_free[old_class] < FREE_SLOTS:
            free[old_class, n_free[old_class]] = start[owner]
            n_free[old_class] += 1
    cap[owner] = size
    return int(place)


@njit(cache=True, nogil=True)
def give(start: I8, length: I4, cap: I4, owner: int, free: I8, n_free: I8) -> None:
    """Take ``owner``'s block away, for good: it goes on the free stack and the list is empty."""
    if cap[owner] > 0:
        old_class = MIN_CLASS
        while (1 << old_class) < cap[owner]:
            old_class += 1
        if n_free[old_class] < FREE_SLOTS:
            free[old_class, n_free[old_class]] = start[owner]
            n_free[old_class] += 1
    start[owner] = -1
    length[owner] = 0
    cap[owner] = 0


PLACE = np.dtype([("start", np.int64), ("length", np.int32), ("cap", np.int32)])
NO_PLACE = np.array((-1, 0, 0), PLACE)


class Blocks:
    """The places of one feature's lists. Arrays are public: kernels take them by name."""

    __slots__ = ("_places", "cap", "free", "length", "max_cap", "n_free", "start", "tail")

    start: I8
    length: I4
    cap: I4

    def __init__(self, max_cap: int) -> None:
        """``max_cap``: largest block, a power of two; lists never grow beyond it."""
        self.max_cap = max_cap
        self.hold(np.full(0, NO_PLACE))
        self.tail: I8 = np.zeros(1, np.int64)
        self.free: I8 = np.zeros((N_CLASSES, FREE_SLOTS), np.int64)
        self.n_free: I8 = np.zeros(N_CLASSES, np.int64)

    def grow(self, n_owners: int) -> None:
        """Make room for owners 0..n_owners-1."""
        if n_owners > self._places.shape[0]:
            self.hold(grown(self._places, n_owners, NO_PLACE))

    def hold(self, places: NDArray[Any]) -> None:
        """Let the places stand in ``places`` [owners] of dtype PLACE: a feature may keep them among its own rows."""
        self._places = places
        self.start, self.length, self.cap = places["start"], places["length"], places["cap"]

    def arrays(self, n_owners: int) -> Arrays:
        """What a snapshot keeps."""
        return {
            "start": self.start[:n_owners],
            "length": self.length[:n_owners],
            "cap": self.cap[:n_owners],
            "tail": self.tail,
            "free": self.free[:, : max(1, int(self.n_free.max()))],
            "n_free": self.n_free,
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""
        places = np.zeros(arrays["start"].shape[0], PLACE)
        for name in ("start", "length", "cap"):
            places[name] = arrays[name]
        self.hold(places)
        self.tail = np.array(arrays["tail"])
        self.free[:, : arrays["free"].shape[1]] = arrays["free"]
        self.n_free = np.array(arrays["n_free"])


def grown(array: NDArray[T], n: int, fill: Any) -> NDArray[T]:
    """``array`` with at least n rows: the same object when large enough, else a copy of 1.5x the size or more.

    New rows hold ``fill``: a number, or a record for a structured array.
    """
    old = array.shape[0]
    if n <= old:
        return array
    size = max(n, old + old // 2, 1024)
    out = aligned((size, *array.shape[1:]), array.dtype)
    out[old:] = fill
    out[:old] = array
    return out


def aligned(shape: tuple[int, ...], dtype: np.dtype[T]) -> NDArray[T]:
    """An array, not yet filled, that begins with a cache line: rows of 64 or 128 bytes then span no line too many."""
    n_bytes = math.prod(shape) * dtype.itemsize
    room = np.empty(n_bytes + LINE, np.uint8)
    skip = -room.ctypes.data % LINE
    return room[skip : skip + n_bytes].view(dtype).reshape(shape)
