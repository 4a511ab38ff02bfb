"""Top n: gather scores by dense id and keep the best, without clearing or sorting anything between queries.

Idea: a retrieval kernel meets a few hundred ids out of millions. ``RowMap`` gives each id it meets a row of a small
compact table (which stays in cache); an id counts as unmet unless its stamp equals the query's generation. ``best``
then keeps the n highest scores in a heap of packed int64 keys: the bits of a positive float32 order like the float
itself, so (bits << 32 | reversed id) is one comparison with ties broken by the smaller id.

Cost: one random access of 8 bytes per meeting; about 2 ns per row to select. Memory: 8 bytes per id and map. One map
serves all sources of one engine thread, for they run one after the other. All of this is scratch, never state.

When not to use it: for more than ``LIMIT`` results, or when most ids are met (a dense array is then better).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from endcap.blocks import grown
from endcap.candidates import CAPACITY
from endcap.types import F4, I4, I8

LIMIT = CAPACITY  # most results of one selection
LAST_ID = 0x7FFFFFFF
INFINITE_BITS = 0x7F800000  # bits of +inf; those of NaN are above, those of negative numbers negative
SIZE_SHIFT = 20  # drops all but 3 bits of a float32's mantissa
N_SIZES = INFINITE_BITS >> SIZE_SHIFT


class RowMap:
    """Which row of a compact table holds an id. ``slots[id]`` is (stamp, row), int32."""

    __slots__ = ("generation", "slots")

    def __init__(self) -> None:
        self.slots: I4 = np.zeros((0, 2), np.int32)
        self.generation = 0

    def begin(self, n_ids: int) -> int:
        """Start a query over ids below n_ids; returns the stamp that marks an id as met."""
        if self.slots.shape[0] < n_ids:
            self.slots = grown(self.slots, n_ids, 0)
        if self.generation >= 2**31 - 2:
            self.slots[:] = 0
            self.generation = 0
        self.generation += 1
        return self.generation


@njit(cache=True, nogil=True)
def offer(heap: I8, size: int, limit: int, key: int) -> int:
    """Put a key into the min-heap of the ``limit`` largest; returns the new size."""
    if size < limit:
        at = size
        while at > 0:
            above = (at - 1) >> 1
            if heap[above] <= key:
                break
            heap[at] = heap[above]
            at = above
        heap[at] = key
        return size + 1
    if key <= heap[0]:
        return size
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= key:
            break
        heap[at] = heap[below]
        at = below
    heap[at] = key
    return size


@njit(cache=True, nogil=True)
def pack(score: float, ident: int) -> int:
    """A positive finite float32 score and an id as one key. Larger score first, then the smaller id."""
    return int((np.int64(np.float32(score).view(np.int32)) << 32) | (LAST_ID - ident))


@njit(cache=True, nogil=True)
def key_id(key: int) -> int:
    """The id inside a key."""
    return LAST_ID - (key & LAST_ID)


@njit(cache=True, nogil=True)
def key_score(key: int) -> float:
    """The score inside a key."""
    return float(np.int32(key >> 32).view(np.float32))


@njit(cache=True, nogil=True)
def best(ids: I4, scores: F4, n_rows: int, limit: int, tally: I4, heap: I8) -> int:
    """Fill ``heap`` with the keys of the ``limit`` best rows, in no particular order; returns how many.

    Scores that are zero, negative, infinite or NaN never enter. First a count by size (``tally``, int32
    [N_SIZES], eight classes per octave) tells in which class the last place falls, so that hardly a row meets the heap
    in vain; a heap alone mispredicts a branch per row.
    """
    tally[:] = 0
    bits = scores.view(np.int32)
    largest = 0
    for row in range(n_rows):
        value = bits[row] if 0 <= bits[row] < INFINITE_BITS else 0
        largest = max(largest, value)
        tally[value >> SIZE_SHIFT] += 1
    places = limit
    least = largest >> SIZE_SHIFT
    while least > 0 and tally[least] < places:
        places -= tally[least]
        least -= 1
    floor = max(1, least << SIZE_SHIFT)
    size = 0
    for row in range(n_rows):
        if floor <= bits[row] < INFINITE_BITS:
            size = offer(heap, size, limit, pack(scores[row], ids[row]))
    return size


def ranked(heap: I8, size: int) -> tuple[I4, F4]:
    """The heap's content as (ids, scores), best first. Allocates; for answers that people read, not for retrieval."""
    keys = np.sort(heap[:size])[::-1]
    ids = (LAST_ID - (keys & LAST_ID)).astype(np.int32)
    return ids, (keys >> 32).astype(np.int32).view(np.float32)
