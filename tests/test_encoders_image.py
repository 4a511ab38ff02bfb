"""Pictures: what is decoded, what is refused and on what grounds, what is like what; and the network's construction."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap.errors import ArtifactError
from endcap.models.encoders import efficientnet, pictures, weights
from endcap.models.encoders.active import missing
from endcap.models.encoders.image import DrawnPictures, NetworkPictures
from endcap.protocols import Encoder
from entries import one_refusal, picture, saved

Image = pytest.importorskip("PIL.Image", reason='no Pillow: pip install "endcap[image]"')
no_network = pytest.mark.skipif(bool(missing("image")), reason='no picture network: pip install "endcap[image]"')
NETWORK = NetworkPictures()
ENCODERS = [DrawnPictures(), pytest.param(NETWORK, marks=no_network)]
both = pytest.mark.parametrize("one", ENCODERS, ids=lambda one: one.id)


# ---------------------------------------------------------------- what is like what


def brighter(pixels: Any, factor: float) -> bytes:
    return saved(np.clip(pixels * factor, 0, 255).astype(np.uint8))


COPIES = {
    "resized": lambda pixels: saved(Image.fromarray(pixels).resize((90, 90))),
    "compressed": lambda pixels: saved(pixels, "JPEG", quality=40),
    "brighter": lambda pixels: brighter(pixels, 1.08),
    "darker": lambda pixels: brighter(pixels, 0.8),
    "webp": lambda pixels: saved(pixels, "WEBP", quality=60),
}


@both
@pytest.mark.parametrize("change", COPIES)
def test_a_copy_is_nearer_than_any_other_picture(one: Encoder, change: str) -> None:
    drawn = [picture(seed) for seed in range(12)]
    originals, _ = one.encode([saved(pixels) for pixels in drawn])
    copies, refusals = one.encode([COPIES[change](pixels) for pixels in drawn])
    assert not refusals
    assert (copies @ originals.T).argmax(axis=1).tolist() == list(range(12))


@no_network
@pytest.mark.parametrize(("name", "kinds"), [("flower.jpg", {985}), ("china.jpg", {442, 449, 663, 698, 483})])
def test_the_network_knows_what_the_published_one_knows(name: str, kinds: set[int]) -> None:
    """985 is daisy; the others are bell cote, boathouse, monastery, palace and castle: a temple."""
    onnx, datasets = pytest.importorskip("onnx"), pytest.importorskip("sklearn.datasets")
    model = onnx.load_from_string(efficientnet.graph())
    model.graph.output.append(onnx.helper.make_tensor_value_info("features", 1, ["n", efficientnet.FEATURES]))
    from endcap.models.plugged import opened

    session = opened("the picture network", model.SerializeToString())
    pixels = pictures.square((Path(datasets.__file__).parent / "images" / name).read_bytes(), efficientnet.SIDE)
    given_pixels = ((pixels.astype(np.float32) - 127.0) / 128.0).transpose(2, 0, 1)[None]
    features, vector = session.run(["features", "vector"], {"pixels": given_pixels})
    held = weights.read_weights(efficientnet.published())
    said = held["_fc.weight"] @ features[0] + held["_fc.bias"]
    assert set(np.argsort(-said)[: len(kinds)].tolist()) <= kinds
    np.testing.assert_allclose(efficientnet.directions(held) @ features[0], vector[0], rtol=1e-3, atol=1e-3)


@no_network
def test_the_graph_is_kept_and_a_damaged_one_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = efficientnet.graph()
    (kept,) = (tmp_path / "endcap").iterdir()
    monkeypatch.setattr(efficientnet, "build", lambda _: pytest.fail("built again"))
    assert efficientnet.graph() == made
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept.write_bytes(kept.read_bytes()[:-100])
    assert efficientnet.graph() == made
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    assert efficientnet.graph() == made


# ---------------------------------------------------------------- decoding


def rgb(data: bytes, side: int = 8) -> Any:
    return pictures.square(data, side).astype(int)


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (lambda: Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", (254, 0, 0)),
        (lambda: Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "PNG", (255, 255, 255)),
        (lambda: Image.new("RGBA", (8, 8), (0, 0, 255, 128)), "PNG", (127, 127, 255)),
        (lambda: Image.new("LA", (8, 8), (0, 0)), "PNG", (255, 255, 255)),
        (lambda: Image.fromarray(np.full((8, 8), 40_000, np.uint16)), "PNG", (155, 155, 155)),
        (lambda: Image.new("1", (8, 8), 1), "PNG", (255, 255, 255)),
        (lambda: Image.new("P", (8, 8), 0), "GIF", (0, 0, 0)),
        (lambda: Image.new("L", (8, 8), 90), "BMP", (90, 90, 90)),
    ],
    ids=["cmyk", "clear", "half-clear", "clear-grey", "16-bit", "1-bit", "palette", "grey"],
)  # fmt: skip
def test_odd_pixels_become_rgb(image: Any, kind: str, expected: tuple[int, int, int]) -> None:
    pixels = rgb(saved(image(), kind))
    assert np.abs(pixels - expected).max() <= 4


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "PNG", "WEBP"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.abs(rgb(data) - (255, 0, 0)).max() <= 6, kind


@pytest.mark.parametrize("size", [(40, 10), (1, 5_000), (5_000, 1), (1, 1)])
def test_the_whole_picture_is_pulled_to_a_square(size: tuple[int, int]) -> None:
    assert (rgb(saved(Image.new("RGB", size, (9, 80, 7)))) == (9, 80, 7)).all()


def test_a_camera_on_its_side_is_heeded() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    turned = rgb(saved(pixels, "PNG", exif=exif))
    assert (turned[:3] == 0).all()
    assert (turned[5:] == 255).all()


# ---------------------------------------------------------------- refusals


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds next to nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@both
@pytest.mark.parametrize(
    ("width", "height"), [(10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (5_001, 5_000)]
)
def test_a_huge_picture_is_refused_by_its_header(one: Encoder, width: int, height: int) -> None:
    one.encode([saved(picture(0))])
    tracemalloc.start()
    said = one_refusal(one.encode([png_header(width, height)]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "megapixels" in said or "too large" in said or "broken" in said
    assert peak < 8_000_000


def test_a_jpeg_may_be_larger_unless_it_is_progressive() -> None:
    wide = Image.new("RGB", (6_000, 5_000), "red")  # 30 megapixels
    assert np.abs(rgb(saved(wide, "JPEG"))[2:6] - (254, 0, 0)).max() <= 4
    assert "progressive JPEG" in one_refusal(DrawnPictures().encode([saved(wide, "JPEG", progressive=True)]))
    assert "of a PNG" in one_refusal(DrawnPictures().encode([saved(wide, "PNG")]))


@both
def test_too_many_bytes_are_refused_unread(one: Encoder) -> None:
    assert "expected at most 30,000,000" in one_refusal(one.encode([bytes(pictures.MOST_BYTES + 1)]))


@both
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_a_picture_that_is_cut_off_is_refused(one: Encoder, kind: str) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    whole = saved(picture(3), kind)
    good, refusals = one.encode([whole])
    assert not refusals
    for share in (0.02, 0.5):
        one_refusal(one.encode([whole[: int(len(whole) * share)]]))
    assert np.isfinite(good).all()


@pytest.mark.parametrize("data", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>", b"II*\0"])
def test_formats_that_no_shop_uses_are_not_tried(data: bytes) -> None:
    assert "no picture of a known kind" in one_refusal(DrawnPictures().encode([data]))


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP"]), seed=st.integers(0, 3),
    changes=st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 255)), min_size=1, max_size=8),
)  # fmt: skip
def test_a_damaged_picture_is_refused_or_encoded_but_never_an_error(
    kind: str, seed: int, changes: list[tuple[float, int]]
) -> None:
    data = bytearray(saved(picture(seed, 48), kind))
    for share, value in changes:
        data[int(share * (len(data) - 1))] = value
    vectors, refusals = DrawnPictures().encode([bytes(data)])
    assert np.isfinite(vectors).all()
    assert bool(refusals) == (not vectors.any())


def test_a_picture_of_one_colour_is_told_by_its_colour() -> None:
    batch = [saved(Image.new("RGB", (30, 30), colour)) for colour in ("red", "crimson", "navy")]
    vectors, refusals = DrawnPictures().encode(batch)
    assert not refusals
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


# ---------------------------------------------------------------- weights


class Call:
    """A pickle of it calls a function of the reader's machine."""

    def __reduce__(self) -> Any:
        return print, ("called",)


def test_weights_that_would_call_something_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArtifactError, match=r"it wants builtins\.print"):
        weights.read_weights(pickle.dumps(Call()))
    assert capsys.readouterr().out == ""


@given(garbage=st.binary(max_size=200))
@settings(deadline=None)
def test_bytes_that_are_no_weights_are_refused(garbage: bytes) -> None:
    with pytest.raises(ArtifactError):
        weights.read_weights(garbage)


def test_a_tensor_is_cut_by_its_strides_and_not_beyond_its_storage() -> None:
    numbers = np.arange(24, dtype=np.float32)
    storage = weights.Storage("FloatStorage", "a", 24)
    turned = weights.cut(numbers, weights.Tensor(storage, 0, (4, 3), (1, 4)))
    np.testing.assert_array_equal(turned, numbers[:12].reshape(3, 4).T)
    for tensor in (
        weights.Tensor(storage, 0, (5, 5), (5, 1)), weights.Tensor(storage, -1, (2,), (1,)),
        weights.Tensor(storage, 0, (2,), (-1,)), weights.Tensor(storage, 20, (5,), (1,)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="a tensor of shape"):
            weights.cut(numbers, tensor)


@no_network
def test_other_weights_than_the_published_ones_are_named() -> None:
    held = weights.read_weights(efficientnet.published())
    assert held["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert all(np.isfinite(tensor).all() for tensor in held.values())
    with pytest.raises(ArtifactError, match="not the weights of EfficientNet-Lite0"):
        efficientnet.build(OrderedDict(list(held.items())[:100]))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(224, 3, 2, (0, 1)), (112, 3, 1, (1, 1)), (56, 5, 2, (1, 2)), (7, 1, 1, (0, 0))],
)
def test_padding_is_that_of_tensorflow(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    assert efficientnet.same_padding(size, kernel, stride) == expected


def test_saved_pictures_are_what_they_say() -> None:
    assert Image.open(io.BytesIO(saved(picture(1)))).size == (160, 160)
