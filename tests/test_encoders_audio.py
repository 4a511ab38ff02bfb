"""Sounds: every kind of WAV, what is refused, how much is heard, what is like what."""

from __future__ import annotations

import tracemalloc
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.models.encoders import sounds
from endcap.models.encoders.active import missing
from endcap.models.encoders.audio import SpectrumSounds, SpeechSounds, cepstra, mel_bank
from endcap.protocols import Encoder
from entries import RATE, melody, one_refusal, wav

no_speech = pytest.mark.skipif(bool(missing("audio")), reason='no speech network: pip install "endcap[audio]"')
ENCODERS = [SpectrumSounds(), pytest.param(SpeechSounds(), marks=no_speech)]
both = pytest.mark.parametrize("one", ENCODERS, ids=lambda one: one.id)
DEPTHS = [(8, False), (16, False), (24, False), (32, False), (32, True), (64, True)]
depths = pytest.mark.parametrize(("bits", "floating"), DEPTHS, ids=lambda value: str(value))


# ---------------------------------------------------------------- what is like what


@both
def test_a_sound_with_noise_is_nearer_than_any_other_sound(one: Encoder) -> None:
    clips = [melody(seed) for seed in range(10)]
    noise = np.random.default_rng(7)
    share = 0.1 if one.id == "endcap-mfcc" else 0.03  # 20 and 30 dB below: the speech network minds noise more
    noisy = [clip + noise.normal(0, share * clip.std(), clip.shape) for clip in clips]
    originals, _ = one.encode([wav(clip) for clip in clips])
    found, refusals = one.encode([wav(np.clip(clip, -1, 1)) for clip in noisy])
    assert not refusals
    right = (found @ originals.T).argmax(axis=1) == np.arange(10)
    assert right.mean() >= 0.9


@both
@depths
def test_depth_rate_channels_and_loudness_hardly_count(one: Encoder, bits: int, floating: bool) -> None:
    clip = melody(3)
    plain, _ = one.encode([wav(clip)])
    for rate in (16_000, 44_100, 48_000):
        n = int(clip.shape[0] * rate / RATE)
        same = np.interp(np.arange(n) / rate, np.arange(clip.shape[0]) / RATE, clip)
        stereo = 0.5 * np.stack((same, same), axis=1)
        found, refusals = one.encode([wav(stereo, rate, bits, floating)])
        assert not refusals
        assert found[0] @ plain[0] > 0.97


# ---------------------------------------------------------------- reading


@depths
def test_samples_come_back_as_they_were(bits: int, floating: bool) -> None:
    given_samples = np.stack((melody(1), -0.5 * melody(2)), axis=1)
    found, rate = sounds.from_wav(wav(given_samples, 22_050, bits, floating))
    assert rate == 22_050
    np.testing.assert_allclose(found, given_samples, atol=1.6 / 2 ** (min(bits, 24) - 1))


def test_it_reads_what_the_standard_library_writes(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes((melody(1, rate=8_000) * 32_767).astype("<i2").tobytes())
    found = sounds.sound_of((tmp_path / "a.wav").read_bytes())
    assert found.shape[0] == pytest.approx(1.5 * RATE, rel=0.01)
    assert np.abs(found).max() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 2**31], ids=["none", "endless", "more than there is"])
def test_a_header_that_lies_about_the_length_is_not_believed(size: int) -> None:
    honest, claimed = wav(melody(1)), wav(melody(1), size=size)
    np.testing.assert_array_equal(sounds.sound_of(claimed), sounds.sound_of(honest))
    np.testing.assert_array_equal(sounds.sound_of(honest[:-1_001]), sounds.sound_of(wav(melody(1)[:-501])))


def test_of_an_endless_sound_the_beginning_is_heard() -> None:
    minutes = np.tile(melody(1), 400)  # ten minutes
    data = wav(minutes)
    tracemalloc.start()
    found = sounds.sound_of(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape[0] == sounds.SECONDS * RATE
    assert peak < 30_000_000
    assert SpectrumSounds().encode([data])[1] == []


@pytest.mark.parametrize("rate", [2_000, 8_000, 11_025, 22_050, 37_123, 384_000])
def test_any_rate_becomes_sixteen_thousand(rate: int) -> None:
    tone = np.sin(2 * np.pi * 440.0 * np.arange(rate) / rate)
    found = sounds.sound_of(wav(tone, rate))
    assert found.shape[0] == pytest.approx(RATE, rel=0.015)
    loudest = np.abs(np.fft.rfft(found)).argmax() * RATE / found.shape[0]
    assert loudest == pytest.approx(440.0, rel=0.02)


# ---------------------------------------------------------------- refusals


@both
@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "is empty"), (b"RIFF\0\0\0\0WAVE", "no format"),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01", "about its format"),
        (wav(np.zeros(RATE)), "is silent"), (wav(np.full(RATE, 1e-5), bits=32), "is silent"),
        (wav(melody(1)[:800]), "lasts 0.050 s"), (wav(np.zeros((RATE, 33))), "33 channels"),
        (wav(melody(1), rate=1_000), "1,000 samples a second"), (wav(melody(1), rate=2**31), "samples a second"),
        (wav(np.full(RATE, np.nan), bits=32, floating=True), "NaN"),
        (wav(np.full(RATE, 1e300), bits=64, floating=True), "NaN or infinite"),
        (wav(melody(1))[:20] + b"\x06" + wav(melody(1))[21:], "format 6"), (wav(melody(1))[:44], "no data"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_sound_that_cannot_be_heard_says_why(one: Encoder, data: bytes, complaint: str) -> None:
    assert complaint in one_refusal(one.encode([data]))


@both
def test_what_is_no_sound_is_refused(one: Encoder) -> None:
    for data in (b"\x89PNG\r\n\x1a\n" + bytes(100), b"<html>", b"\0" * 1_000):
        assert "these bytes are no" in one_refusal(one.encode([data]))


@settings(deadline=None, max_examples=80)
@given(
    changes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 3_000), floating=st.booleans(),
)  # fmt: skip
def test_a_damaged_file_is_refused_or_encoded_but_never_an_error(
    changes: list[tuple[int, int]], cut: int, floating: bool
) -> None:
    data = bytearray(wav(melody(1, 0.2), bits=32, floating=floating))
    for place, value in changes:
        data[place] = value
    vectors, refusals = SpectrumSounds().encode([bytes(data[: len(data) - cut])])
    assert np.isfinite(vectors).all()
    assert bool(refusals) == (not vectors.any())


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3"])
def test_other_formats_are_read_where_soundfile_is(kind: str, tmp_path: Path) -> None:
    soundfile: Any = pytest.importorskip("soundfile", reason='no soundfile: pip install "endcap[audio]"')
    clip = melody(2, 3.0)
    soundfile.write(tmp_path / "clip", clip, RATE, format=kind)
    data = (tmp_path / "clip").read_bytes()
    one = SpectrumSounds()
    found, refusals = one.encode([data, wav(clip), data[: len(data) // 2], data[:30]])
    assert {refusal.index for refusal in refusals} <= {2, 3}
    assert 3 in {refusal.index for refusal in refusals}
    assert found[0] @ found[1] > 0.9


# ---------------------------------------------------------------- spectrum


def test_a_tone_is_loudest_in_the_band_around_it() -> None:
    from scipy.fft import dct

    bank = mel_bank()
    tone = np.sin(2 * np.pi * 1_000.0 * np.arange(RATE) / RATE)
    power = np.abs(np.fft.rfft(tone[:400] * np.hanning(400), 512)) ** 2 @ bank.T
    centre = (bank @ np.arange(257)) / bank.sum(axis=1) * RATE / 512
    assert centre[power.argmax()] == pytest.approx(1_000.0, rel=0.06)
    heard = np.log(np.maximum(power, 1e-3 * power.max()))
    first = cepstra(tone)[0]
    np.testing.assert_allclose(first, dct(heard, norm="ortho")[1:21], atol=0.2)


def test_many_channels_at_a_high_rate_are_heard_for_less_long() -> None:
    found, rate = sounds.from_wav(wav(np.zeros((400_000, 32)), 384_000, 8))
    assert (found.shape, rate) == ((sounds.MOST_NUMBERS // 32, 32), 384_000)
