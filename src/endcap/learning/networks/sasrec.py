"""Training of SASRec (models/sasrec.py): self-attention over the last items, with a sampled softmax.

Idea: each position attends to those before it and itself and says what comes next (Kang and McAuley, ICDM 2018); items
are read and compared by the same vectors. The loss of the paper, one drawn item against the right one, is what made it
look weak; with a softmax over a few hundred it is level with anything later (eSASRec, RecSys 2025).

Data and loss: learning/networks/windows.py. Positions count from the newest item. Cost: see docs/deep-models.md. Not
for: fewer than ``LEAST`` interactions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from endcap.config import DeepConfig
from endcap.engine import Progress, silent
from endcap.learning.networks import Lessons
from endcap.learning.networks.graphs import Graph
from endcap.learning.networks.windows import FAR, Reader, fit_reader
from endcap.models.network import Network
from endcap.models.sasrec import SasRecSource

MOST = SasRecSource.most
BLOCKS = 1
DROPPED = 0.2
RATE = 1e-3
WEIGHTS = ("q", "k", "v", "o", "up", "down")


class Block(nn.Module):
    """Attention and two layers for each position, one head."""

    def __init__(self, dim: int, dropped: float) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.q, self.k, self.v, self.o, self.up, self.down = (nn.Linear(dim, dim) for _ in WEIGHTS)
        self.dropped = nn.Dropout(dropped)

    def forward(self, x: Tensor) -> Tensor:
        """[b, n, dim] -> the same."""
        q = self.before(x)
        mixed = functional.scaled_dot_product_attention(
            self.q(q), self.k(x), self.v(x), is_causal=True, dropout_p=self.dropped.p if self.training else 0.0
        )
        x = self.between(q + self.o(mixed))
        found: Tensor = x + self.dropped(self.down(self.dropped(torch.relu(self.up(x)))))
        return found


class SasRec(Reader):
    """The network."""

    def __init__(
        self, n_items: int, dim: int, most: int = MOST, blocks: int = BLOCKS, dropped: float = DROPPED
    ) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, dim)
        self.out, self.bias = self.items, None
        self.positions = nn.Embedding(most, dim)
        self.blocks = nn.ModuleList(Block(dim, dropped) for _ in range(blocks))
        self.after = nn.LayerNorm(dim)
        self.dropped = nn.Dropout(dropped)
        for weights in self.parameters():
            if weights.dim() > 1:
                nn.init.xavier_normal_(weights)

    def read(self, places: Tensor, lengths: Tensor) -> Tensor:
        """As ``Reader``."""
        most = self.positions.weight.shape[0]
        at = most - lengths[:, None] + torch.arange(places.shape[1])[None, :]
        x = self.dropped(self.dropped(self.items(places)) + self.positions(at.clamp(0, most - 1)))
        for block in self.blocks:
            x = block(x)
        found: Tensor = self.after(x)
        return found


def graph_of(net: SasRec) -> bytes:
    """The network after its item vectors and positions as ONNX, of which the newest position alone comes out."""
    graph = Graph()
    x, dim = "x", net.items.weight.shape[1]
    for n, block in enumerate(net.blocks):
        assert isinstance(block, Block)
        q = graph.norm(x, block.before)
        k, v = graph.linear(x, block.k), graph.linear(x, block.v)
        ends = n == len(net.blocks) - 1
        q = graph.last(q) if ends else q
        scale = graph.constant(np.array(dim**-0.5, np.float32))
        match = graph.op("Mul", graph.op("MatMul", graph.linear(q, block.q), graph.op("Transpose", k)), scale)
        if not ends:
            far = graph.op("Mul", graph.op("Sub", match, match), scale)
            far = graph.op("Add", far, graph.constant(np.array(FAR, np.float32)))
            match = graph.op("Add", match, graph.op("Trilu", far, graph.constant(np.array(1, np.int64)), upper=1))
        mixed = graph.linear(graph.op("MatMul", graph.op("Softmax", match, axis=-1), v), block.o)
        x = graph.norm(graph.op("Add", q, mixed), block.between)
        x = graph.op("Add", x, graph.linear(graph.op("Relu", graph.linear(x, block.up)), block.down))
    return graph.encoded(graph.flat(graph.norm(x, net.after)), dim)


def network_of(net: SasRec, item_ids: list[str], meta: dict[str, Any]) -> Network:
    """What serves."""
    vectors = net.items.weight.detach().numpy().copy()
    arrays = {"positions": net.positions.weight.detach().numpy().copy()}
    return Network("sasrec", item_ids, vectors, {"user": graph_of(net)}, arrays, meta)


def fit(
    lessons: Lessons, how: DeepConfig, meta: dict[str, Any], progress: Progress = silent,
    checkpoints: Path | None = None,
) -> Network:  # fmt: skip
    """Train. Raises ``TooFewExamples``."""
    net, item_ids, told = fit_reader(
        "sasrec", lambda n: SasRec(n, how.dim), RATE, MOST, lessons, how, progress, checkpoints
    )
    assert isinstance(net, SasRec)
    return network_of(net, item_ids, {**meta, **told})
