"""SASRec: self-attention over a shopper's last items says what comes next.

Idea: the newest item asks, all items of the window answer by how much they match the question, and what they answer is
what comes next (Kang and McAuley, ICDM 2018). Order enters by a vector for each place, counted from the newest item;
items are read and scored by the same vectors. Trained in learning/networks/sasrec.py.

Computed anew from the ring at each event: only the newest position of the last block is needed, so one block costs n
keys and values and one row of everything else. That is less than keeping them would save, because places count from
the newest item, which changes them all.

Layout: graph "user" takes item vectors with places added [n, dim], oldest first, and gives [dim]; ``positions`` float32
[most, dim], the newest last. Cost: ~0.1 ms for 50 items of 64 numbers on one core, in onnxruntime. Not for: shoppers
with one event, of whom item-to-item neighbours know as much.
"""

from __future__ import annotations

from typing import Any

from endcap.errors import ArtifactError
from endcap.models.network import Network, NetworkSource, Window
from endcap.models.plugged import opened
from endcap.types import F4

GRAPH = "user"


class SasRecSource(NetworkSource):
    """Proposes what follows the shopper's last items. Silent until ``use`` was called."""

    name = "sasrec"
    most = 50

    def open(self, network: Network) -> None:
        """Load the graph. ``ConfigError`` without onnxruntime, ``ArtifactError`` for one that cannot be used."""
        positions = network.arrays.get("positions")
        if GRAPH not in network.graphs or positions is None or positions.shape != (self.most, network.vectors.shape[1]):
            raise ArtifactError(f"this {network.model} has no graph {GRAPH!r} for {self.most} items; train again")
        self._graph: Any = opened(network.model, network.graphs[GRAPH])
        self._positions: F4 = positions
        self._read: F4 = network.vectors

    def encode(self, window: Window) -> F4 | None:
        """The vector of a window."""
        x = self._read[window.place] + self._positions[-len(window) :]
        found: F4 = self._graph.run(None, {"x": x})[0]
        return found
