"""``endcap encode``: vectors for the items of a catalogue, from their texts and from folders of pictures and sounds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from endcap.cli.output import (
    DEFAULT_DIRECTORY,
    AsJson,
    ConfigFile,
    Directory,
    existing,
    object_named,
    opened,
    print_json,
    progress_bar,
)

if TYPE_CHECKING:
    from endcap.cli.output import Progress
    from endcap.engine import Engine
    from endcap.models.content import ContentModel
    from endcap.protocols import Encoder
    from endcap.types import Item

PAGE = 1_000  # records read at once
SHOWN = 20  # refusals printed for people; --json has all

Fetch = Callable[["Item"], bytes | None]


def encode(
    images: Annotated[
        Path | None, typer.Option("--images", metavar="FOLDER", help="Pictures, named by item id: 4711.jpg.")
    ] = None,
    audio: Annotated[
        Path | None, typer.Option("--audio", metavar="FOLDER", help="Sounds, named by item id: 4711.wav.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Titles and descriptions of the catalogue.")] = False,
    own: Annotated[
        str | None,
        typer.Option("--encoder", metavar="MODULE:OBJECT", help="An encoder of your own, for its modality."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Drop vectors that another encoder made under the same name.")
    ] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Encode what items look, sound and read like, on this machine, and keep it. Nothing is fetched from anywhere."""
    from endcap.config import load_config
    from endcap.errors import InvalidInput
    from endcap.models.encoders.active import active

    settings, _ = load_config(config)
    wanted = fetchers(images, audio, text)
    content = serving_content(existing(directory)) if text else None
    given = encoder_named(own) if own else None
    if given is not None and given.modality not in wanted:
        raise InvalidInput(f"{own} encodes {given.modality}; add the option that says what it shall read")
    encoders: list[Encoder] = []
    for modality in wanted:
        encoder = given if given is not None and given.modality == modality else active(modality, content)
        encoder.encode([])  # a missing package is told before the log is opened
        encoders.append(encoder)
    told: dict[str, Any] = {}
    with opened(directory, settings) as engine, progress_bar() as step:
        for encoder in encoders:
            make_room(engine, encoder, replace)
        for encoder in encoders:
            told[encoder.modality] = encode_all(engine, encoder, wanted[encoder.modality], step)
    if as_json:
        print_json(told)
    else:
        for one in told.values():
            typer.echo(sentence(one))


def fetchers(images: Path | None, audio: Path | None, text: bool) -> dict[Any, Fetch]:
    """What gives the bytes of an item, by modality. ``InvalidInput`` for no folder and for nothing to do."""
    from endcap.errors import InvalidInput
    from endcap.models.encoders import pictures, sounds
    from endcap.models.encoders.entries import text_of

    wanted: dict[Any, Fetch] = {}
    if text:
        wanted["text"] = text_of
    if images is not None:
        wanted["image"] = from_folder("image", images, pictures.MOST_BYTES + 1)  # one more shows that it is too large
    if audio is not None:
        wanted["audio"] = from_folder("audio", audio, sounds.MOST_BYTES)  # of a longer one the beginning is heard
    if not wanted:
        raise InvalidInput("nothing to encode; expected one or more of --text, --images FOLDER, --audio FOLDER")
    return wanted


def from_folder(modality: str, folder: Path, most_bytes: int) -> Fetch:
    """Bytes of the file that belongs to an item: named by its id, by its attribute ``modality``, or as in its URL.

    An id with characters that a file name cannot have is written as in a URL: ``a%2Fb.jpg`` is for ``a/b``. Files are
    looked up in a list made once, so no record can name a file outside of the folder.
    """
    from endcap.errors import InvalidInput

    if not folder.is_dir():
        raise InvalidInput(f"no folder at {folder}; expected one with files named by item id")
    found = files_of(folder)
    if not found:
        raise InvalidInput(f"no file in {folder}; expected files named by item id, such as 4711.jpg")

    def fetch(item: Item) -> bytes | None:
        names = [item.item_id]
        if isinstance(named := item.attributes.get(modality), str):
            names.append(named)
        if modality == "image":
            names += [unquote(urlsplit(url).path.rpartition("/")[2]) for url in item.image_urls[:1]]
        place = next((found[name] for name in names if name in found), None)
        if place is None:
            return None
        with place.open("rb") as file:
            return file.read(most_bytes)

    return fetch


def files_of(folder: Path) -> dict[str, Path]:
    """Regular files of a folder and those below it, by stem, by name and by path inside; hidden ones left out."""
    found: dict[str, Path] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            place = Path(parent, name)
            if not name.startswith(".") and place.is_file():
                for key in (unquote(place.stem), name, place.relative_to(folder).as_posix()):
                    found.setdefault(key, place)
    return found


def encoder_named(spec: str) -> Encoder:
    """The object that ``module:attribute`` names: an encoder, or what makes one."""
    from endcap.errors import ConfigError

    found: Encoder = object_named(spec, "encoder")
    lacks = [part for part in ("id", "version", "dim", "modality", "encode") if not hasattr(found, part)]
    if lacks:
        raise ConfigError(f"{spec} is no encoder: it has no {', '.join(lacks)}; docs/encoders.md shows one")
    return found


def serving_content(directory: Path) -> ContentModel | None:
    """The catalogue's fit that serves, for the fallback of text."""
    from endcap.learning.store import ModelStore
    from endcap.models.content import ContentModel

    store = ModelStore(directory)
    number = store.serving("content")
    return ContentModel.load(store.path(number)) if number else None


def make_room(engine: Engine, encoder: Encoder, replace: bool) -> None:
    """See that the encoder's vectors may enter their set, before time is spent on making them."""
    from endcap.errors import InvalidInput
    from endcap.item_vectors import drop_vectors

    sets = engine.state.vectors
    why = sets.conflict(encoder.modality, encoder.id, encoder.version, encoder.dim)
    if not why:
        return
    if not replace or encoder.modality not in sets.spaces:
        raise InvalidInput(f"{why}; here: endcap encode --replace")
    drop_vectors(engine, encoder.modality)


def encode_all(engine: Engine, encoder: Encoder, fetch: Fetch, step: Progress) -> dict[str, Any]:
    """Go through the catalogue; what was encoded, what had nothing to encode, what was refused and why."""
    from endcap.item_vectors import put_vectors
    from endcap.models.encoders.entries import vectors_of

    total = len(engine.state.items)
    encoded, done = 0, 0
    refused: list[dict[str, str]] = []
    for part in vectors_of(records(engine), encoder, fetch):
        if part.item_ids:
            ack = put_vectors(engine, encoder.modality, encoder.id, encoder.version, part.item_ids, part.vectors)
            encoded += ack.accepted
            refused += [{"item_id": one.value or "", "message": one.message} for one in ack.rejected]
        refused += [{"item_id": one.value or "", "message": one.message} for one in part.refusals]
        done = part.done
        step(f"encoding {encoder.modality}", done, max(total, done))
    return {
        "modality": encoder.modality, "encoder": encoder.id, "version": encoder.version, "dim": encoder.dim,
        "encoded": encoded, "without": done - encoded - len(refused), "refused": refused,
    }  # fmt: skip


def records(engine: Engine) -> Iterator[Item]:
    """The catalogue, a page at a time."""
    after: str | None = None
    while page := engine.items(after, PAGE):
        yield from page
        after = page[-1].item_id


def sentence(told: dict[str, Any]) -> str:
    """One modality for people."""
    made_by = f"{told['encoder']} {told['version']}, {told['dim']} numbers"
    counts = f"{told['encoded']:,} items encoded, {told['without']:,} without, {len(told['refused']):,} refused"
    lines = [f"{told['modality']}: {counts} ({made_by})"]
    lines += [f"  {one['item_id']}: {one['message']}" for one in told["refused"][:SHOWN]]
    if len(told["refused"]) > SHOWN:
        lines.append(f"  ... and {len(told['refused']) - SHOWN:,} more; --json prints all")
    return "\n".join(lines)
