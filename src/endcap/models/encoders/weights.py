"""Weights: the tensors of a file that torch wrote in its old format, read without torch and without running anything.

Idea: such a file is a row of pickles (magic number, protocol, system record, state, storage keys) with the raw numbers
of each storage behind them. A pickle can call any function by name, so the names that this one may use are a list of
four, and those that build tensors only note where the numbers are. Everything else is refused.

Layout: tensors are strided views of their storages; the stored strides are used, for a plain reshape gives other
numbers. Cost: 0.1 s for 19 MB. Not for: files of torch 1.6 and later (zip), which no package in use has.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from endcap.errors import ArtifactError
from endcap.types import F4

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
ITEM_SIZES = {"FloatStorage": 4, "LongStorage": 8}
MOST_DIMENSIONS = 8


class Storage(NamedTuple):
    """A run of numbers that tensors are cut from."""

    kind: str
    key: str
    n: int


class Tensor(NamedTuple):
    """Where a tensor's numbers are."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in numbers, not in bytes


class Names(pickle.Unpickler):
    """An unpickler that knows four names."""

    def find_class(self, module: str, name: str) -> Any:
        """The class or function of a name; ``UnpicklingError`` for all others."""
        known: dict[tuple[str, str], Callable[..., Any] | str] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): placed,
            ("torch", "FloatStorage"): "FloatStorage",
            ("torch", "LongStorage"): "LongStorage",
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, which weights have no need of")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        """A storage by its description."""
        tag, kind, key, _, n, view = pid
        if tag != "storage" or kind not in ITEM_SIZES or not isinstance(key, str) or type(n) is not int or view:
            raise pickle.UnpicklingError(f"a storage is described as {str(pid)[:80]}")
        return Storage(kind, key, n)


def placed(storage: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Tensor:
    """What torch would rebuild a tensor from."""
    return Tensor(storage, offset, shape, strides)


def read_weights(data: bytes) -> dict[str, F4]:
    """Float tensors by name. ``ArtifactError`` for anything that is not such a file, whole and unharmed."""
    try:
        return parsed(io.BytesIO(data))
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError, struct.error,
        UnicodeDecodeError, MemoryError, OverflowError, ImportError,
    ) as wrong:  # fmt: skip
        raise ArtifactError(
            f"these are no weights in torch's old format: {wrong}; install the package again"
        ) from wrong


def parsed(file: io.BytesIO) -> dict[str, F4]:
    """The same, with whatever error comes up."""
    magic, protocol, _ = (Names(file).load() for _ in range(3))
    if magic != MAGIC or protocol != PROTOCOL:
        raise ValueError(f"it begins with {str(magic)[:40]} and {str(protocol)[:40]}")
    state: dict[str, Tensor] = Names(file).load()
    keys: list[str] = Names(file).load()
    kinds = {tensor.storage.key: tensor.storage for tensor in state.values()}
    numbers: dict[str, F4] = {}
    for key in keys:
        storage = kinds[key]
        (n,) = struct.unpack("<q", file.read(8))
        size = n * ITEM_SIZES[storage.kind]
        raw = file.read(size) if n == storage.n and n >= 0 else b""
        if len(raw) != size or n != storage.n:
            raise ValueError(f"storage {key} has {n} numbers or fewer; expected {storage.n}")
        if storage.kind == "FloatStorage":
            numbers[key] = np.frombuffer(raw, "<f4")
    return {
        name: cut(numbers[tensor.storage.key], tensor)
        for name, tensor in state.items()
        if tensor.storage.kind == "FloatStorage"
    }


def cut(numbers: F4, tensor: Tensor) -> F4:
    """A tensor from its storage, in C order."""
    shape, strides = tensor.shape, tensor.strides
    if len(shape) != len(strides) or len(shape) > MOST_DIMENSIONS or min((tensor.offset, *shape, *strides)) < 0:
        raise ValueError(f"a tensor of shape {shape} has strides {strides}")
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if 0 not in shape and last >= numbers.shape[0]:
        raise ValueError(f"a tensor of shape {shape} ends at {last} of {numbers.shape[0]} numbers")
    view = np.lib.stride_tricks.as_strided(
        numbers[tensor.offset :], shape, tuple(4 * stride for stride in strides), writeable=False
    )
    return np.ascontiguousarray(view)
