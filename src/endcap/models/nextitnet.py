"""NextItNet: dilated causal convolutions over a shopper's last items say what comes next.

Idea: each layer joins an item with two before it, further apart from layer to layer, so four layers see 31 items
without attention or recurrence (Yuan et al., WSDM 2019). Items are read by one table and scored by another with a bias.
Trained in learning/networks/nextitnet.py.

Layout: graph "user" takes item vectors [n, dim], oldest first, and gives [dim]; ``read`` float32 [items, dim]; the
last number of ``vectors`` [items, dim + 1] is an item's bias. Cost: ~0.26 ms for 50 items of 64 numbers on one core, in
onnxruntime, anew at each event. Memory: two tables instead of one. Not for: order over more than 31 items.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from endcap.errors import ArtifactError
from endcap.models.network import Network, NetworkSource, Window
from endcap.models.plugged import opened
from endcap.types import F4

GRAPH = "user"


class NextItNetSource(NetworkSource):
    """Proposes what follows the shopper's last items. Silent until ``use`` was called."""

    name = "nextitnet"
    most = 50

    def open(self, network: Network) -> None:
        """Load the graph. ``ConfigError`` without onnxruntime, ``ArtifactError`` for one that cannot be used."""
        n, wide = network.vectors.shape
        read = network.arrays.get("read")
        if GRAPH not in network.graphs or read is None or read.shape != (n, wide - 1):
            raise ArtifactError(f"this {network.model} has no graph {GRAPH!r} and table for {n} items; train again")
        self._graph: Any = opened(network.model, network.graphs[GRAPH])
        self._read: F4 = read

    def encode(self, window: Window) -> F4 | None:
        """The vector of a window, and 1 for the items' bias."""
        found: F4 = self._graph.run(None, {"x": self._read[window.place]})[0]
        return np.append(found, np.float32(1.0))
