"""What encoding costs: milliseconds per item and memory of every encoder that is installed, each in a process of its
own.

    python benchmarks/encoders.py [--items 200]

Texts are titles of the bundled shop; pictures are drawn JPEG files of 1,000 x 1,000; sounds are 10 s of notes as 16-bit
WAV at 44.1 kHz. Time is that of the processor, so that what else runs on the machine counts little. "alone" is the
median of one call per item, "together" a batch of all divided by their number. Memory is what the process holds after
encoding beyond what it held after importing NumPy, SciPy and Endcap's encoders.
"""

from __future__ import annotations

import argparse
import io
import os
import struct
import subprocess
import sys
from statistics import median
from time import process_time

import numpy as np

NAMES = ("Sentences", "Terms", "NetworkPictures", "DrawnPictures", "SpeechSounds", "SpectrumSounds")


def titles(n: int) -> list[bytes]:
    """Of the bundled sample."""
    from endcap.data import online_retail

    found = [item.title.encode() for item in online_retail.load_items() if item.title]
    return (found * (1 + n // len(found)))[:n]


def pictures(n: int) -> list[bytes]:
    """Discs of many colours on a light ground."""
    from PIL import Image

    drawn, files = np.random.default_rng(0), []
    down, right = np.mgrid[:1000, :1000]
    for _ in range(n):
        pixels = np.full((1000, 1000, 3), 235, np.uint8)
        for _ in range(6):
            x, y, size = drawn.integers(0, 1000), drawn.integers(0, 1000), drawn.integers(50, 300)
            pixels[(down - y) ** 2 + (right - x) ** 2 < size * size] = drawn.integers(0, 255, 3)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=85)
        files.append(file.getvalue())
    return files


def sounds(n: int) -> list[bytes]:
    """Ten seconds of notes each."""
    rate, drawn, files = 44_100, np.random.default_rng(0), []
    t = np.arange(rate) / rate
    for _ in range(n):
        pitches = drawn.uniform(120, 900, 10)
        notes = np.concatenate([np.sin(2 * np.pi * pitch * t) * np.exp(-3 * t) for pitch in pitches])
        raw = (notes * 30_000).astype("<i2").tobytes()
        form = struct.pack("<8sIHHIIHH", b"WAVEfmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
        head = struct.pack("<4sI", b"RIFF", 36 + len(raw)) + form + struct.pack("<4sI", b"data", len(raw))
        files.append(head + raw)
    return files


def resident_mb() -> float:
    """What this process holds in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(name: str, n: int) -> str:
    """One encoder, in this process."""
    import scipy.fft
    import scipy.signal  # noqa: F401  # held before the count begins

    from endcap.models.encoders import audio, image, text

    made = next(getattr(module, name)() for module in (text, image, audio) if hasattr(module, name))
    batch = {"text": titles, "image": pictures, "audio": sounds}[made.modality](n)
    before = resident_mb()
    began = process_time()
    made.encode(batch[:1])
    first = process_time() - began
    alone = []
    for entry in batch:
        began = process_time()
        made.encode([entry])
        alone.append(process_time() - began)
    began = process_time()
    _, refusals = made.encode(batch)
    together = (process_time() - began) / n
    assert not refusals
    costs = f"alone {median(alone) * 1e3:6.2f} ms  together {together * 1e3:6.2f} ms"
    held = f"memory {resident_mb() - before:4.0f} MB"
    return f"{made.modality:6} {made.id:40} {made.dim:4} numbers  first {first:5.2f} s  {costs}  {held}"


def main() -> None:
    """Print a line for each."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--items", type=int, default=200)
    asked.add_argument("--only", choices=NAMES, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.only:
        print(measure(given.only, given.items))
        return
    for name in NAMES:
        call = [sys.executable, __file__, "--items", str(given.items), "--only", name]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        print(done.stdout.strip() or f"{name}: {done.stderr.strip().splitlines()[-1]}", flush=True)


if __name__ == "__main__":
    main()
