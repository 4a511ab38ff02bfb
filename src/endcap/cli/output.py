"""How commands speak: JSON or text on stdout, progress on stderr, and the options that several commands share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

if TYPE_CHECKING:
    from endcap.config import Config
    from endcap.engine import Engine

Directory = Annotated[Path, typer.Option("--dir", help="The data directory.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A TOML file; without it ./endcap.toml when there is one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]

DEFAULT_DIRECTORY = Path("endcap-data")

Progress = Callable[[str, int, int], None]  # stage, done, total (0 = not known)


def print_json(value: Any) -> None:
    """One JSON document on one line."""
    typer.echo(msgspec.json.encode(value).decode())


def note(text: str) -> None:
    """A message for people, on stderr."""
    typer.echo(text, err=True)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr, one line per stage. Silent where nobody looks.

    A server that starts a command hears of its progress by a file that ``ENDCAP_PROGRESS`` names.
    """
    if file := os.environ.get("ENDCAP_PROGRESS"):
        yield told_in(Path(file))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def step(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=None)
            bar.update(tasks[stage], completed=done, total=total or None)

        yield step


def told_in(file: Path) -> Progress:
    """Progress as a line of JSON, at most twice a second within a stage. Whoever reads may meet half a line."""
    last = ("", 0.0)

    def step(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if stage != last[0] or now - last[1] > 0.5:
            last = (stage, now)
            file.write_bytes(msgspec.json.encode({"stage": stage, "done": done, "total": total}))

    return step


@contextmanager
def opened(directory: Path, config: Config) -> Iterator[Engine]:
    """The engine of a data directory, closed at the end whatever happens."""
    from endcap.engine import Engine

    with progress_bar() as step:
        engine = Engine.open(directory, config, progress=step)
    try:
        use_trained(engine, directory)
        yield engine
    finally:
        engine.close()


def use_trained(engine: Engine, directory: Path) -> None:
    """Serve what the server of this directory would; a model that cannot be used is named, and left."""
    from endcap.errors import EndcapError
    from endcap.learning.store import KINDS, ModelStore, use

    store = ModelStore(directory)
    for kind in KINDS:
        try:
            if number := store.serving(kind):
                use(engine, kind, number, store)
        except EndcapError as wrong:
            note(f"the trained {kind} is not used: {wrong.message}")


def existing(directory: Path) -> Path:
    """A data directory that is there: reading commands must not create an empty one after a typing mistake."""
    from endcap.errors import NotFound

    if not directory.is_dir():
        raise NotFound(
            f"no data directory at {directory}; expected the folder that `endcap serve` or `endcap import` made; "
            "name it with --dir"
        )
    return directory


def object_named(spec: str, what: str) -> Any:
    """The object that ``module:attribute`` names; a class or a function is called for it. ``what``: engine, encoder."""
    from endcap.errors import ConfigError

    module, _, attribute = spec.partition(":")
    if not module or not attribute:
        raise ConfigError(f"cannot use {spec!r} as an {what}; expected module:attribute, for example shop:{what}")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as missing:
        raise ConfigError(
            f"cannot load the {what} {spec!r}: {missing}; the module must be importable from here"
        ) from missing
    return found() if callable(found) else found
