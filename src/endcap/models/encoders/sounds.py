"""Sounds: bytes of unknown goodness to one channel of numbers at 16 kHz, of a bounded length.

Idea: a WAV file is a list of chunks; only the one that describes the format and the beginning of the one with the
numbers are looked at. Of a longer sound the first ``SECONDS`` are heard, whatever its header promises: a recorder that
never stopped writes 0 or 2**32 - 1 as the length, and a file that was cut off is heard as far as it goes. Channels are
averaged, and the loudest number becomes 1, so that loudness does not count. The standard library's reader takes no
floating point, which is why the chunks are read here; other formats (FLAC, Ogg, MP3) are soundfile's work where it is
installed.

Cost: 3 ms for 30 s. Memory: 30 s of the file's own format and of 16 kHz. Not for: telling how loud a thing is.
"""

from __future__ import annotations

import io
import struct
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap.errors import InvalidInput
from endcap.types import F4

RATE = 16_000
SECONDS = 30
MOST_NUMBERS = 12_000_000  # over all channels: 30 s of stereo at 192 kHz
MOST_BYTES = 64_000_000  # of a file that is read at all
LEAST_SECONDS = 0.1
LOWEST_RATE, HIGHEST_RATE = 2_000, 384_000
MOST_CHANNELS = 32
SILENT = 1e-4  # loudest number of a sound that is none, -80 dB
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def sound_of(data: bytes) -> F4:
    """One channel at 16 kHz [up to 480,000], loudest number 1. ``InvalidInput`` says what is wrong with it."""
    if not data:
        raise InvalidInput("the sound is empty (0 bytes)")
    samples, rate = from_wav(data) if data[:4] == b"RIFF" and data[8:12] == b"WAVE" else from_other(data)
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InvalidInput(f"the sound has {rate:,} samples a second; expected {LOWEST_RATE:,} to {HIGHEST_RATE:,}")
    if samples.shape[0] < LEAST_SECONDS * rate:
        raise InvalidInput(f"the sound lasts {samples.shape[0] / rate:.3f} s; expected at least {LEAST_SECONDS} s")
    if not np.isfinite(samples).all():
        raise InvalidInput("the sound holds NaN or infinite numbers; convert it to 16-bit WAV")
    mono = samples.mean(axis=1, dtype=np.float64)
    loudest = float(np.abs(mono).max())
    if loudest < SILENT:
        raise InvalidInput(
            f"the sound is silent: its first {mono.shape[0] / rate:.1f} s stay below {SILENT} of full scale"
        )
    return resampled(mono / loudest, rate)


def resampled(mono: NDArray[np.float64], rate: int) -> F4:
    """At 16 kHz, without what 16 kHz cannot hold."""
    if rate == RATE:
        return mono.astype(np.float32)
    from scipy.signal import resample_poly

    given = round(rate / 50) * 50  # an odd rate would need a filter of millions of numbers; 1 % is not heard
    shared = gcd(given, RATE)
    out: F4 = resample_poly(mono, RATE // shared, given // shared).astype(np.float32)
    return out[: SECONDS * RATE]


# ---------------------------------------------------------------- WAV


def from_wav(data: bytes) -> tuple[F4, int]:
    """(samples [n, channels], rate) of the first ``SECONDS`` of a WAV file."""
    form: tuple[int, int, int, int] | None = None
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        begin = at + 8
        if name == b"fmt ":
            form = format_of(data[begin : begin + min(size, 40)])
        elif name == b"data":
            if form is None:
                raise InvalidInput("the WAV file has numbers before it says what they are; save it again")
            end = len(data) if size in (0, 0xFFFFFFFF) else min(begin + size, len(data))
            return numbers(data[begin:end], *form), form[2]
        at = begin + size + size % 2
    raise InvalidInput(f"the WAV file of {len(data):,} bytes has no {'data' if form else 'format'}: it is cut off")


def format_of(chunk: bytes) -> tuple[int, int, int, int]:
    """(kind, channels, rate, bytes of one number) of a format chunk."""
    if len(chunk) < 16:
        raise InvalidInput("the WAV file says nothing about its format; save it again")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == EXTENSIBLE and len(chunk) >= 26:
        (kind,) = struct.unpack_from("<H", chunk, 24)
    known = (kind == PCM and bits in (8, 16, 24, 32)) or (kind == FLOAT and bits in (32, 64))
    if not known:
        raise InvalidInput(
            f"the WAV file has format {kind} with {bits} bits; expected 8, 16, 24 or 32 bits or 32 or 64 bits of "
            "floating point; convert it to 16-bit WAV"
        )
    if not 1 <= channels <= MOST_CHANNELS:
        raise InvalidInput(f"the WAV file has {channels} channels; expected 1 to {MOST_CHANNELS}")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InvalidInput(f"the sound has {rate:,} samples a second; expected {LOWEST_RATE:,} to {HIGHEST_RATE:,}")
    return kind, channels, rate, bits // 8


def frames_of(channels: int, rate: int) -> int:
    """How many frames are heard."""
    return min(SECONDS * rate, MOST_NUMBERS // channels)


def numbers(raw: bytes, kind: int, channels: int, rate: int, width: int) -> F4:
    """Samples [n, channels] on -1..1; half a frame at the end is left out."""
    n = min(len(raw) // (channels * width), frames_of(channels, rate)) * channels
    raw = raw[: n * width]
    found: NDArray[Any]
    if kind == FLOAT:
        with np.errstate(over="ignore", invalid="ignore"):  # a 64-bit number beyond 32 bits is refused as infinite
            found = np.frombuffer(raw, f"<f{width}").astype(np.float32)
    elif width == 1:
        found = (np.frombuffer(raw, np.uint8).astype(np.float32) - 128.0) / 128.0
    elif width == 3:
        high = np.zeros((n, 4), np.uint8)
        high[:, 1:] = np.frombuffer(raw, np.uint8).reshape(n, 3)
        found = high.view("<i4")[:, 0].astype(np.float32) / 2.0**31
    else:
        found = np.frombuffer(raw, f"<i{width}").astype(np.float32) / 2.0 ** (8 * width - 1)
    return found.astype(np.float32, copy=False).reshape(-1, channels)


# ---------------------------------------------------------------- other formats


def from_other(data: bytes) -> tuple[F4, int]:
    """The same of FLAC, Ogg or MP3."""
    try:
        import soundfile
    except ImportError as missing:
        raise InvalidInput(
            f"these bytes are no WAV file (they begin with {data[:4]!r}); convert it, or for FLAC, Ogg and MP3 run: "
            'pip install "endcap[audio]"'
        ) from missing
    if len(data) > MOST_BYTES:
        data = data[:MOST_BYTES]
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if not (1 <= file.channels <= MOST_CHANNELS and LOWEST_RATE <= file.samplerate <= HIGHEST_RATE):
                raise InvalidInput(
                    f"the sound has {file.channels} channels and {file.samplerate:,} samples a second; expected up to "
                    f"{MOST_CHANNELS} and {LOWEST_RATE:,} to {HIGHEST_RATE:,}"
                )
            samples: F4 = file.read(frames_of(file.channels, file.samplerate), dtype="float32", always_2d=True)
            return samples, int(file.samplerate)
    except (soundfile.SoundFileError, RuntimeError, ValueError, OSError, TypeError) as wrong:
        raise InvalidInput(
            f"these bytes are no sound of a known kind ({str(wrong)[:120]}); expected WAV, FLAC, Ogg or MP3"
        ) from wrong
