"""``endcap train`` and ``endcap models``: what is learned from the log, into service and back."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from endcap.cli.output import (
    DEFAULT_DIRECTORY,
    AsJson,
    ConfigFile,
    Directory,
    existing,
    note,
    print_json,
    progress_bar,
)

if TYPE_CHECKING:
    from endcap.cli.output import Progress
    from endcap.config import Config
    from endcap.learning.gate import Verdict
    from endcap.learning.store import Model
    from endcap.learning.train import Outcome
    from endcap.protocols import EventLog

Number = Annotated[int, typer.Argument(min=1, help="The model's number, from `endcap models list`.")]

app = typer.Typer(name="models", help="Trained models: what there is, what serves.", no_args_is_help=True)


class Part(StrEnum):
    """Kinds of models."""

    RANKER = "ranker"
    FACTORS = "factors"
    CONTENT = "content"
    ALIKE = "alike"
    TWO_TOWER = "two_tower"
    YOUTUBE = "youtube"
    GRU4REC = "gru4rec"
    NEXTITNET = "nextitnet"
    SASREC = "sasrec"
    YOUTUBE_RANKER = "youtube_ranker"  # in service it is a ranker


def train(
    parts: Annotated[
        list[Part] | None,
        typer.Argument(
            help="What to train; without it the ranker, factors, content, alike, and deep models that serve."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let what is trained serve even if the gate says no.")] = False,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE.parquet", help="Write the training table, train nothing.")
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Learn from the log. A server may be running: it swaps within a second of the end."""
    from endcap.config import load_config
    from endcap.learning.store import FOLDER
    from endcap.learning.train import train_and_judge
    from endcap.stores.lock import WriterLock
    from endcap.stores.sqlite import SqliteLog

    settings, _ = load_config(config)
    (existing(directory) / FOLDER).mkdir(exist_ok=True)
    log = SqliteLog(directory / "endcap.db", read_only=True)
    lock = WriterLock(directory / FOLDER / "training.lock")  # one training at a time, whoever starts it
    try:
        with progress_bar() as step:
            if export is None:
                outcome = train_and_judge(log, directory, settings, kinds=parts or (), force=force, progress=step)
            else:
                n_rows, n_queries = write_table(log, directory, settings, export, step)
    finally:
        log.close()
        lock.release()
    if export is not None:
        note(f"{n_rows} rows of {n_queries} requests written to {export}")
    elif as_json:
        print_json(told(outcome))
    else:
        typer.echo(sentence(outcome))


def write_table(log: EventLog, directory: Path, config: Config, file: Path, progress: Progress) -> tuple[int, int]:
    """The training table as Parquet; gives its rows and requests."""
    from endcap.learning.store import ModelStore
    from endcap.learning.table import frame
    from endcap.learning.train import rehearse
    from endcap.sources import TRAINED

    store = ModelStore(directory)
    done = rehearse(log, config, vectors=[kind for kind in TRAINED if store.serving(kind)], progress=progress)
    table = frame(done)
    table.write_parquet(file)
    return table.height, len(done.learned) + len(done.unseen)


def told(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON."""
    network = outcome.network
    more: dict[str, Any] = {}
    if network is not None:
        more["youtube_ranker"] = network if isinstance(network, str) else told(network)
    if outcome.why_no_trees:
        more["ranker"] = outcome.why_no_trees
    return {
        "model": outcome.number, "promoted": outcome.promoted, "gate": outcome.verdict, "meta": outcome.meta,
        "worth": outcome.worth, **outcome.vectors, **more,
    }  # fmt: skip


def sentence(outcome: Outcome) -> str:
    """An outcome for people."""
    lines = []
    for kind, found in outcome.vectors.items():
        worth = outcome.worth.get(kind)
        if isinstance(found, str):
            lines.append(f"{kind}: {found}")
        elif worth is None:
            lines.append(f"model {found}: {kind}, serves from now on")
        else:
            lines.append(f"model {found}: {kind}, {about_worth(worth, found)}")
    lines += [f"ranker: {outcome.why_no_trees}"] if outcome.why_no_trees else about_ranker(outcome)
    if isinstance(outcome.network, str):
        lines.append(f"youtube_ranker: {outcome.network}")
    elif outcome.network is not None:
        lines += about_ranker(outcome.network)
    return "\n".join(lines)


def about_ranker(outcome: Outcome) -> list[str]:
    """What a new ranker learned from, how good it is, and what that led to."""
    verdict, meta = outcome.verdict, outcome.meta
    if verdict is None:
        return []
    kinds, name = meta["examples"], meta.get("network", "trees")
    learned = (
        f"{meta['queries']} examples learned from ({kinds['slates']} of logged slates, {kinds['replay']} of what "
        f"shoppers did next) and {meta['as_new']} of these read again with items taken for new, "
        f"{verdict.queries} judged by, {meta['seconds']} s"
    )
    judged = (
        f"NDCG@20 {verdict.new:.4f}, the serving ranker {verdict.old:.4f} (give or take {verdict.standard_error:.4f})"
    )
    lines = [f"model {outcome.number} ({name}): {learned}", f"{judged}: {verdict.why}", *about_slates(meta)]
    if outcome.promoted:
        lines.append("it serves from now on; go back with: endcap models rollback")
    else:
        lines.append(f"it is stored and does not serve; insist with: endcap models promote {outcome.number}")
    return lines


def about_worth(worth: Verdict, number: int) -> str:
    """What a deep model brings the ranker, and what that led to."""
    told = (
        f"NDCG@20 {worth.old:.4f} without it, {worth.new:.4f} with it (give or take {worth.standard_error:.4f}, "
        f"{worth.queries} requests)"
    )
    if worth.passed:
        return f"{told}: serves from now on"
    return f"{told}: stored and does not serve; insist with: endcap models promote {number}"


LEFT_OUT = {
    "immature": "too young",
    "named_items": "asked on the page of an item",
    "interleaved": "of two interleaved variants",
    "places_unknown": "clicked at places whose attention is unknown (set explore.share)",
    "unclean": "of machines or late",
    "asked_otherwise": "asked in a way the log does not say",
    "placement_gone": "of a placement that is no longer configured",
    "not_found": "of items that no source finds any more",
    "refused": "broken",
}


def about_slates(meta: dict[str, Any]) -> list[str]:
    """What logged slates taught, and why others did not."""
    counts = meta["slates"]
    if not counts.get("shown"):
        return []
    left = [f"{counts[reason]} {words}" for reason, words in LEFT_OUT.items() if counts.get(reason)]
    told = f"of {counts['shown']} logged slates of the window {counts['teach']} teach"
    return [f"{told}; left out: {', '.join(left)}" if left else told, *meta["refused"]]


@app.command("list")
def list_models(directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """Everything stored, oldest first; a star marks what serves."""
    from endcap.learning.store import ModelStore

    models = ModelStore(existing(directory)).models(served_columns())
    if as_json:
        print_json({"models": models})
        return
    if not models:
        note("no trained model yet: endcap train")
    for model in models:
        typer.echo(line_of(model))


def line_of(model: Model) -> str:
    """One stored ranker."""
    mark = "*" if model.serving else " "
    if model.error is not None:
        return f"{mark} {model.number:4d}  unusable: {model.error}"
    meta, gate = model.meta, model.meta.get("gate")
    facts = [f"{name} {meta[name]}" for name in ("network", "pairs", "records", "queries", "file") if name in meta]
    facts.append(f"log to offset {meta.get('last_offset', meta.get('offset', '?'))}")
    if gate:
        facts.append(f"NDCG@20 {gate['new']:.4f} (before: {gate['old']:.4f})")
    return f"{mark} {model.number:4d}  {model.kind:8}  {', '.join(facts)}"


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="An ONNX file.")],
    columns: Annotated[
        Path | None,
        typer.Option("--columns", help="JSON: names of the feature columns it takes, in order; all if left out."),
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Store a ranker of your own, as ONNX. It serves after `endcap models promote`."""
    import msgspec

    from endcap.errors import InvalidInput
    from endcap.learning.rankers import save_onnx
    from endcap.learning.store import ModelStore
    from endcap.models.plugged import OnnxGraph, plug_onnx

    try:
        graph = file.read_bytes()
        names = msgspec.json.decode(columns.read_bytes(), type=list[str]) if columns else list(served_columns())
    except OSError as wrong:
        raise InvalidInput(f"cannot read {wrong.filename}: {wrong.strerror}") from wrong
    except msgspec.MsgspecError as wrong:
        raise InvalidInput(f'{columns} is no list of names: {wrong}; expected ["src:covisit", "price_fit"]') from wrong
    model = OnnxGraph(graph, tuple(names))
    plug_onnx(file.name, model, served_columns())
    number = ModelStore(existing(directory)).save(lambda path: save_onnx(path, model, {"file": file.name}))
    typer.echo(f"model {number} is stored; let it serve with: endcap models promote {number}")


@app.command()
def promote(number: Number, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Let a stored model serve."""
    from endcap.learning.store import ModelStore

    kind = ModelStore(existing(directory)).promote(number, served_columns())
    typer.echo(f"model {number} ({kind}) serves; a running server swaps within a second")


@app.command()
def rollback(
    part: Annotated[Part, typer.Argument(help="Of what.")] = Part.RANKER, directory: Directory = DEFAULT_DIRECTORY
) -> None:
    """Return to what served before."""
    from endcap.learning.store import ModelStore

    kind = Part.RANKER if part is Part.YOUTUBE_RANKER else part
    number = ModelStore(existing(directory)).rollback(served_columns(), kind.value)
    nothing = "the fixed weights serve again" if kind is Part.RANKER else f"no {kind.value} serves any more"
    typer.echo(f"model {number} serves again" if number else nothing)


def served_columns() -> tuple[str, ...]:
    """The feature list of this version."""
    from endcap.features.rows import columns
    from endcap.sources import SOURCES

    return columns(SOURCES)
