"""Graphs: networks as ONNX, written node by node.

A trained network is a dozen operations; writing these down gives a small graph that is the same for the same weights,
and needs none of the machinery that traces PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from endcap.errors import ConfigError

OPSET, IR = 17, 8
INPUT = "x"


class Graph:
    """A graph with one input ``x`` float32 [n, dim]."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError as missing:
            raise ConfigError(
                "a network is stored as ONNX, which needs onnx; install it with: pip install 'endcap[torch]'"
            ) from missing
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operation; gives the name of its output."""
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, values: Tensor | NDArray[Any]) -> str:
        """Add numbers; gives their name."""
        array = values.detach().numpy() if isinstance(values, Tensor) else values
        name = f"c{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def linear(self, x: str, layer: nn.Linear) -> str:
        """A layer of PyTorch."""
        return self.op("Add", self.op("MatMul", x, self.constant(layer.weight.T)), self.constant(layer.bias))

    def norm(self, x: str, layer: nn.LayerNorm) -> str:
        """Layer normalisation over the last axis."""
        weight, bias = self.constant(layer.weight), self.constant(layer.bias)
        return self.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=layer.eps)

    def last(self, x: str) -> str:
        """The last row [1, dim] of [n, dim]."""
        ends = (np.array([value], np.int64) for value in (-1, np.iinfo(np.int64).max, 0))
        return self.op("Slice", x, *(self.constant(one) for one in ends))

    def flat(self, x: str) -> str:
        """[1, dim] -> [dim]."""
        return self.op("Reshape", x, self.constant(np.array([-1], np.int64)))

    def encoded(self, output: str, dim: int) -> bytes:
        """The graph that gives ``output``, checked, as bytes."""
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes, "user", [helper.make_tensor_value_info(INPUT, kind, ["n", dim])],
            [helper.make_tensor_value_info(output, kind, [None])], self._constants,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        self._onnx.checker.check_model(model)
        data: bytes = model.SerializeToString()
        return data
