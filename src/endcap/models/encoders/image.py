"""Image: pictures to vectors, by a small network where it is installed, else by their colours and edges.

``NetworkPictures`` runs EfficientNet-Lite0 (efficientnet.py) in onnxruntime: what a picture shows. ``DrawnPictures``
needs only Pillow: a histogram over hue, saturation and value (Swain and Ballard, IJCV 1991) and histograms of oriented
gradients in 8 x 8 cells (Dalal and Triggs, CVPR 2005), square roots taken so that large parts do not drown small ones.
It finds a picture's copies and things of like colour and outline, and knows nothing of what they are.

Cost on one core, JPEG of 1,000 x 1,000: network 22 ms, drawn 6 ms. Of 140 icons of 14 kinds (chance .07) the nearest
other one is of the same kind for .63 by the network, .59 as drawn; of the three nearest, .54 and .45. Not for: pictures
whose text matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np

from endcap.models.encoders.efficientnet import DIM, SHA256, SIDE, graph
from endcap.models.encoders.entries import as_units, read_each
from endcap.models.encoders.pictures import pillow, square
from endcap.models.plugged import opened
from endcap.types import F4, F8, I8, U1, Refusal

MIDDLE, SPAN = 127.0, 128.0  # what the network was trained with
DRAWN_SIDE, CELLS, ANGLES = 128, 8, 9
HUES, SATURATIONS, VALUES = 8, 4, 4
CALM = 4.0  # grey levels of slope below which a cell counts as flat


class NetworkPictures:
    """EfficientNet-Lite0, one thread."""

    id = "efficientnet-lite0"
    version = f"{SHA256[:8]}-fc{DIM}"
    dim = DIM
    modality: Literal["image"] = "image"

    @cached_property
    def _session(self) -> Any:
        return opened(self.id, graph())

    def encode(self, batch: Sequence[bytes]) -> tuple[F4, list[Refusal]]:
        """Vectors [n, 256] of pictures. ``ConfigError`` when a package of the extra is missing."""
        pillow()
        session = self._session

        def look(entry: bytes) -> F4:
            pixels = (square(entry, SIDE).astype(np.float32) - MIDDLE) / SPAN
            found: F4 = session.run(["vector"], {"pixels": pixels.transpose(2, 0, 1)[None]})[0][0]
            return found

        found, places, refusals = read_each(batch, look)
        return as_units(len(batch), places, stacked(found, self.dim), refusals)


class DrawnPictures:
    """Colour histogram and oriented gradients."""

    id = "endcap-colour-hog"
    version = "1"
    dim = HUES * SATURATIONS * VALUES + CELLS * CELLS * ANGLES
    modality: Literal["image"] = "image"

    def encode(self, batch: Sequence[bytes]) -> tuple[F4, list[Refusal]]:
        """Vectors [n, 704] of pictures. ``ConfigError`` without Pillow."""
        pillow()
        found, places, refusals = read_each(batch, lambda entry: drawn(square(entry, DRAWN_SIDE)))
        return as_units(len(batch), places, stacked(found, self.dim), refusals)


def stacked(found: list[F4], dim: int) -> F4:
    """Rows [n, dim], also for none."""
    return np.stack(found) if found else np.zeros((0, dim), np.float32)


# ---------------------------------------------------------------- colours and edges


def drawn(pixels: U1) -> F4:
    """Colours and edges of RGB pixels, each half of length 1; a flat picture has colours alone."""
    colour = np.sqrt(colours(pixels))
    edge = np.sqrt(edges(pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])))
    halves = [half / max(float(np.linalg.norm(half)), 1e-9) for half in (colour, edge)]
    return np.concatenate(halves).astype(np.float32)


def colours(pixels: U1) -> F8:
    """Shares of pixels by hue, saturation and value [128]; hue and value are shared out to their two nearest levels."""
    images = pillow()
    hsv = np.asarray(images.fromarray(pixels).convert("HSV"), np.float64).reshape(-1, 3) / 256.0
    saturation = np.minimum((hsv[:, 1] * SATURATIONS).astype(np.int64), SATURATIONS - 1)
    turn = hsv[:, 0] * HUES * (saturation > 0)  # grey has no hue worth telling
    hue: I8 = np.floor(turn).astype(np.int64)
    place = hsv[:, 2] * (VALUES - 1)
    value = np.minimum(place.astype(np.int64), VALUES - 2)
    n = HUES * SATURATIONS * VALUES
    counted = np.zeros(n)
    for next_hue, of_hue in ((0, 1.0 - (turn - hue)), (1, turn - hue)):
        cell = ((hue + next_hue) % HUES * SATURATIONS + saturation) * VALUES + value
        counted += np.bincount(cell, of_hue * (1.0 - (place - value)), n)
        counted += np.bincount(cell + 1, of_hue * (place - value), n)
    shares: F8 = counted / hsv.shape[0]
    return shares


@cache
def cell_of() -> Any:
    """The cell of each pixel [DRAWN_SIDE, DRAWN_SIDE]."""
    row = np.arange(DRAWN_SIDE) * CELLS // DRAWN_SIDE
    return row[:, None] * CELLS + row[None, :]


def edges(grey: F8) -> F8:
    """Slopes by cell and direction [576], a direction shared out to its two nearest, a cell weighed by its loudest
    neighbours so that shading of a part does not matter."""
    down, right = np.gradient(grey)
    slope = np.hypot(down, right)
    place = (np.arctan2(down, right) % np.pi) * (ANGLES / np.pi)
    low = np.floor(place).astype(np.int64)
    share = place - low
    n = CELLS * CELLS * ANGLES
    first, second = (cell_of() * ANGLES + (low + k) % ANGLES for k in (0, 1))
    summed = np.bincount(first.ravel(), (slope * (1.0 - share)).ravel(), n)
    summed += np.bincount(second.ravel(), (slope * share).ravel(), n)
    cells = summed.reshape(CELLS, CELLS, ANGLES)
    padded = np.pad(np.linalg.norm(cells, axis=2), 1)
    around = np.max(
        [padded[i : i + CELLS, j : j + CELLS] for i in range(3) for j in range(3)], axis=0
    )  # fmt: skip
    calm = CALM * (DRAWN_SIDE / CELLS) ** 2 / ANGLES
    normal: F8 = (cells / (around[:, :, None] + calm)).ravel()
    return normal
