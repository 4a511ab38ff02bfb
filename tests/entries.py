"""Pictures and sounds made for the tests of encoders."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap.types import F4, Refusal

RATE = 16_000


def picture(seed: int, side: int = 160) -> NDArray[np.uint8]:
    """RGB [side, side, 3]: coloured discs and bars on a light ground, others for every seed."""
    drawn = np.random.default_rng(seed)
    pixels = np.full((side, side, 3), 235, np.uint8)
    down, right = np.mgrid[:side, :side]
    for _ in range(5):
        colour, x, y = drawn.integers(0, 255, 3), drawn.integers(0, side), drawn.integers(0, side)
        size = int(drawn.integers(side // 10, side // 3))
        if drawn.random() < 0.5:
            pixels[(down - y) ** 2 + (right - x) ** 2 < size * size] = colour
        else:
            pixels[abs(down - y) + abs(right - x) // 3 < size // 2] = colour
    return pixels


def saved(pixels: Any, kind: str = "PNG", **settings: Any) -> bytes:
    """A picture's file, from an array or a Pillow image."""
    from PIL import Image

    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def melody(seed: int, seconds: float = 1.5, rate: int = RATE) -> F4:
    """Samples [n] on -1..1: five notes with overtones, others for every seed."""
    drawn = np.random.default_rng(seed)
    n = int(seconds * rate) // 5
    t = np.arange(n) / rate
    notes = []
    for _ in range(5):
        pitch, tones = drawn.uniform(120.0, 900.0), drawn.uniform(0.0, 1.0, 6)
        notes.append(sum(tones[k] * np.sin(2 * np.pi * pitch * (k + 1) * t) for k in range(6)) * np.exp(-4.0 * t))
    joined = np.concatenate(notes)
    return np.asarray(0.8 * joined / np.abs(joined).max(), np.float32)


def wav(
    samples: NDArray[Any], rate: int = RATE, bits: int = 16, floating: bool = False, size: int | None = None
) -> bytes:
    """A WAV file of samples [n] or [n, channels] on -1..1; ``size`` is what the header claims the data to be."""
    frames = samples.reshape(samples.shape[0], -1)
    channels = frames.shape[1]
    if floating:
        raw = frames.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        raw = (np.round(frames * 127) + 128).astype(np.uint8).tobytes()
    else:
        whole = np.round(frames.astype(np.float64) * (2 ** (bits - 1) - 1)).astype("<i8")
        raw = np.ascontiguousarray(whole).view(np.uint8).reshape(-1, 8)[:, : bits // 8].tobytes()
    width = channels * bits // 8
    form = struct.pack("<HHIIHH", 3 if floating else 1, channels, rate, rate * width % 2**32, width, bits)
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    body += b"data" + struct.pack("<I", len(raw) if size is None else size) + raw
    return b"RIFF" + struct.pack("<I", len(body) % 2**32) + body


def one_refusal(answer: tuple[F4, list[Refusal]]) -> str:
    """The message of a batch of one that was refused, whose row must be zeros."""
    vectors, refusals = answer
    assert vectors.shape[0] == 1
    assert not vectors.any()
    (refusal,) = refusals
    assert refusal.index == 0
    return refusal.message
