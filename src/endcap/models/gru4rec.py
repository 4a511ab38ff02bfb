"""GRU4Rec: a recurrent network that has read the running session so far and says what comes next.

Idea: a gated recurrent unit (Cho et al., EMNLP 2014) takes the session's items one by one; its state is the shopper's
vector (Hidasi et al., ICLR 2016; Hidasi and Karatzoglou, CIKM 2018). Items are read and scored by the same vectors. A
session begins with an empty state, as in training. Trained in learning/networks/gru4rec.py.

The state is carried on: when the window is the remembered one and one item more, one step is taken, else the session is
read anew from the ring. Both run the same kernel on the same items, so both give the same numbers, and a session longer
than the ring, whose first items are gone, is always read anew.

Layout: ``w_x`` and ``w_h`` float32 [3 dim, dim] (reset, update, new), ``b_x`` and ``b_h`` [3 dim]; ``vectors`` [n, dim
+ 1], the last number an item's bias. Cost: one event of 64 numbers ~40 us, a whole ring read anew ~0.5 ms. Memory: 4
bytes x dim and 4 per item of the session for a remembered shopper. Not for: what a shopper liked last week.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from endcap.errors import ArtifactError
from endcap.models.network import KEPT, RING, Network, NetworkSource, Window
from endcap.models.vectors import dot
from endcap.types import F4, I4

GAP_S = 1_800  # a longer pause ends a session, if the artifact says nothing else
SHAPES = {"w_x": 2, "w_h": 2, "b_x": 1, "b_h": 1}


@njit(cache=True, nogil=True)
def step(item: F4, w_x: F4, w_h: F4, b_x: F4, b_h: F4, state: F4, after: F4) -> None:
    """``state`` [dim] becomes that after reading an item's vector; ``after`` [dim] is scratch."""
    dim = state.shape[0]
    one = np.float32(1.0)
    for d in range(dim):
        reset = one / (one + np.exp(-(dot(w_x[d], item) + b_x[d] + dot(w_h[d], state) + b_h[d])))
        u, n = dim + d, 2 * dim + d
        update = one / (one + np.exp(-(dot(w_x[u], item) + b_x[u] + dot(w_h[u], state) + b_h[u])))
        new = np.tanh(dot(w_x[n], item) + b_x[n] + reset * (dot(w_h[n], state) + b_h[n]))
        after[d] = (one - update) * new + update * state[d]
    state[:] = after


@njit(cache=True, nogil=True)
def read_items(places: I4, items: F4, w_x: F4, w_h: F4, b_x: F4, b_h: F4, state: F4, after: F4) -> None:
    """The steps over items of a session, oldest first."""
    for place in places:
        step(items[place, : state.shape[0]], w_x, w_h, b_x, b_h, state, after)


class Gru4RecSource(NetworkSource):
    """Proposes what follows in the running session. Silent until ``use`` was called."""

    name = "gru4rec"
    most = RING
    gap_s = GAP_S

    def open(self, network: Network) -> None:
        """Take the weights. ``ArtifactError`` when they do not fit."""
        arrays, dim = network.arrays, network.vectors.shape[1] - 1
        for name, axes in SHAPES.items():
            found = arrays[name].shape if name in arrays else None
            if found != (3 * dim, dim)[:axes]:
                raise ArtifactError(f"{name} of this gru4rec is {found}, expected {(3 * dim, dim)[:axes]}; train again")
        self._weights: tuple[F4, ...] = tuple(np.ascontiguousarray(arrays[name], np.float32) for name in SHAPES)
        self._items: F4 = np.ascontiguousarray(network.vectors, np.float32)
        self._after: F4 = np.zeros(dim, np.float32)
        self._read: dict[int, tuple[I4, F4]] = {}  # by user: items read, state
        self.gap_s = int(network.meta.get("gap_s", GAP_S))

    def encode(self, window: Window) -> F4 | None:
        """The vector of a window: the state after it, and 1 for the items' bias."""
        n, dim = len(window), self._after.shape[0]
        found = self._read.get(window.user) if window.user >= 0 and n < self.most else None
        read, state = 0, np.zeros(dim, np.float32)
        if found is not None and found[0].shape[0] == n - 1 and np.array_equal(found[0], window.place[:-1]):
            read, state = n - 1, found[1].copy()
        w_x, w_h, b_x, b_h = self._weights
        read_items(window.place[read:], self._items, w_x, w_h, b_x, b_h, state, self._after)
        if window.user >= 0:
            self._read.pop(window.user, None)
            if len(self._read) >= KEPT:
                del self._read[next(iter(self._read))]
            self._read[window.user] = (window.place.copy(), state)
        return np.append(state, np.float32(1.0))
