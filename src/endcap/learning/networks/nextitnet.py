"""Training of NextItNet (models/nextitnet.py): dilated causal convolutions in residual blocks.

Idea: a block is two convolutions of width 3 over the past, the second with twice the gaps of the first, each
normalised, and what came in is added (the second kind of block of Yuan et al., WSDM 2019). Loss and data:
learning/networks/windows.py; the softmax is over all items while these are few. Cost: see docs/deep-models.md. Not for:
fewer than ``LEAST`` interactions.
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
from endcap.learning.networks.windows import Reader, fit_reader
from endcap.models.network import Network
from endcap.models.nextitnet import NextItNetSource

MOST = NextItNetSource.most
WIDTH = 3
DILATIONS = (1, 4)
DROPPED = 0.2
RATE = 1e-3


class Layer(nn.Module):
    """A convolution over the past, normalised."""

    def __init__(self, dim: int, dilation: int) -> None:
        super().__init__()
        self.past = (WIDTH - 1) * dilation
        self.dilation = dilation
        self.mix = nn.Conv1d(dim, dim, WIDTH, dilation=dilation)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """[b, n, dim] -> the same."""
        mixed = self.mix(functional.pad(x.transpose(1, 2), (self.past, 0)))
        return torch.relu(self.norm(mixed.transpose(1, 2)))


class NextItNet(Reader):
    """The network."""

    def __init__(self, n_items: int, dim: int) -> None:
        super().__init__()
        self.items, self.out = nn.Embedding(n_items, dim), nn.Embedding(n_items, dim)
        self.bias: nn.Embedding = nn.Embedding(n_items, 1)
        self.layers = nn.ModuleList(Layer(dim, gap) for first in DILATIONS for gap in (first, 2 * first))
        self.dropped = nn.Dropout(DROPPED)
        for table in (self.items, self.out):
            nn.init.normal_(table.weight, std=dim**-0.5)
        nn.init.zeros_(self.bias.weight)

    def read(self, places: Tensor, lengths: Tensor) -> Tensor:
        """As ``Reader``."""
        x: Tensor = self.dropped(self.items(places))
        for first, second in zip(self.layers[::2], self.layers[1::2], strict=True):
            x = x + second(first(x))
        return x


def graph_of(net: NextItNet) -> bytes:
    """The network after its item vectors as ONNX, of which the newest position alone comes out."""
    graph = Graph()
    x, dim = "x", net.items.weight.shape[1]
    for first, second in zip(net.layers[::2], net.layers[1::2], strict=True):
        y = x
        for layer in (first, second):
            assert isinstance(layer, Layer)
            y = graph.op("Unsqueeze", graph.op("Transpose", y), graph.constant(np.zeros(1, np.int64)))
            assert layer.mix.bias is not None
            weight, bias = graph.constant(layer.mix.weight), graph.constant(layer.mix.bias)
            y = graph.op("Conv", y, weight, bias, dilations=[layer.dilation], pads=[layer.past, 0])
            y = graph.op("Transpose", graph.op("Squeeze", y, graph.constant(np.zeros(1, np.int64))))
            y = graph.op("Relu", graph.norm(y, layer.norm))
        x = graph.op("Add", x, y)
    return graph.encoded(graph.flat(graph.last(x)), dim)


def network_of(net: NextItNet, item_ids: list[str], meta: dict[str, Any]) -> Network:
    """What serves."""
    bias: Any = net.bias
    vectors = torch.cat((net.out.weight, bias.weight), dim=1).detach().numpy()
    arrays = {"read": net.items.weight.detach().numpy().copy()}
    return Network("nextitnet", item_ids, vectors, {"user": graph_of(net)}, arrays, meta)


def fit(
    lessons: Lessons, how: DeepConfig, meta: dict[str, Any], progress: Progress = silent,
    checkpoints: Path | None = None,
) -> Network:  # fmt: skip
    """Train. Raises ``TooFewExamples``."""
    net, item_ids, told = fit_reader(
        "nextitnet", lambda n: NextItNet(n, how.dim), RATE, MOST, lessons, how, progress, checkpoints
    )
    assert isinstance(net, NextItNet)
    return network_of(net, item_ids, {**meta, **told})
