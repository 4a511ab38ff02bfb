"""``endcap evaluate``: how good the recommendations are, by replay of a log through the engine that serves."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from endcap.cli.files import column_map
from endcap.cli.output import AsJson, ConfigFile, existing, note, print_json, progress_bar

if TYPE_CHECKING:
    from endcap.evaluation.replay import Delay, Trainer, Variant

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="A folder or file of events, or a data directory.")],
    maps: Annotated[
        list[str] | None, typer.Option("--map", metavar="FIELD=COLUMN", help="For a file of no known form; repeatable.")
    ] = None,
    items: Annotated[Path | None, typer.Option(help="The catalogue that belongs to such a file.")] = None,
    protocol: Annotated[str, typer.Option(help="prequential, sessions, temporal or leave-one-out.")] = "prequential",
    target: Annotated[str, typer.Option(help="next, cart, purchase, buy24h or basket.")] = "next",
    delay: Annotated[str, typer.Option(help="How late events are known, comma-separated: 0,1m,1h,24h,inf.")] = "inf",
    limit: Annotated[int, typer.Option(min=0, help="Most queries, a random sample; 0 = all.")] = 15_000,
    tuning: Annotated[bool, typer.Option("--tuning", help="Test on the last tenth of the warm-up instead.")] = False,
    models: Annotated[str, typer.Option(help="Single models to compare with, comma-separated; default: all.")] = "",
    ablate: Annotated[
        str, typer.Option(help="Sources to leave out one at a time, comma-separated, or 'all'; see Evaluating.")
    ] = "",
    deep: Annotated[str, typer.Option(help="Deep models to train and ask as well, comma-separated, or 'all'.")] = "",
    untrained: Annotated[bool, typer.Option("--untrained", help="Keep the fixed-weight ranker.")] = False,
    examples: Annotated[int, typer.Option(min=100, help="Warm-up queries that the ranker learns from.")] = 12_000,
    refreshes: Annotated[int, typer.Option(min=0, help="How often the ranker is trained anew in the test.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the sample and of the bootstrap.")] = 0,
    check: Annotated[bool, typer.Option(help="Prove on a sample that no list knew the future.")] = True,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report to this file.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep it in this data directory, where the console shows it.")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Replay a log on a virtual clock: ask before each event, fold it after, score every model on the same queries."""
    from endcap.config import load_config
    from endcap.evaluation.formats import load
    from endcap.evaluation.leaks import leaks
    from endcap.evaluation.plan import make_plan
    from endcap.evaluation.replay import Replay
    from endcap.evaluation.summary import summarise
    from endcap.learning.vectors import ALWAYS, refit_vectors

    settings, _ = load_config(config)
    networks = deep_models(deep)
    dataset = load(data, mapping=column_map(maps or []), items=items, seed=seed)
    plan = make_plan(dataset, protocol, target, limit=limit, tuning=tuning, seed=seed)
    replay = Replay(
        dataset, plan, settings, trainer=None if untrained else new_trainer(), delays=delays_of(delay),
        variants=variants_of(ablate, untrained, networks), models=[name for name in models.split(",") if name],
        refit=lambda engine: refit_vectors(engine, (*ALWAYS, *networks)), refreshes=refreshes, n_examples=examples,
        seed=seed, deep=networks,
    )  # fmt: skip
    with progress_bar() as step:
        run = replay.run(step)
    verdict = summarise(dataset, run, seed=seed)
    if check:
        verdict["leaks"] = leaks(dataset, run, settings, seed=seed)
    print_table(verdict)
    if report is not None:
        from endcap.evaluation.report import render

        report.write_text(render(verdict, shlex.join(["endcap", *sys.argv[1:]])), "utf-8")
        note(f"report: {report}")
    if save is not None:
        from endcap.evaluation.saved import save as keep
        from endcap.runtime import Runtime

        note(f"kept: {keep(existing(save), verdict, shlex.join(['endcap', *sys.argv[1:]]), Runtime().now())}")
    if as_json:
        print_json(verdict)
    if verdict.get("leaks"):
        note(f"the truncation check failed, the figures above are worthless: {', '.join(verdict['leaks'][:5])} ...")
        raise typer.Exit(1)


def new_trainer() -> Trainer:
    """What learns the hybrid's ranker from the warm-up."""
    from endcap.learning.trainer import RankerTrainer

    return RankerTrainer()


def deep_models(text: str) -> list[str]:
    """'gru4rec,sasrec' or 'all' as names of deep models."""
    from endcap.errors import InvalidInput
    from endcap.models.network import MODELS

    names = list(MODELS) if text == "all" else [name for name in text.split(",") if name]
    for name in names:
        if name not in MODELS:
            raise InvalidInput(f"no deep model {name!r}; known: {', '.join(MODELS)}", field="deep")
    return names


def variants_of(text: str, untrained: bool, deep: list[str]) -> dict[str, Variant]:
    """'covisit,popular' as hybrids that lack one source each, 'deep' as one without any deep model, '+gru4rec' as one
    with no other deep model."""
    from endcap.errors import InvalidInput
    from endcap.evaluation.replay import HYBRID, Variant
    from endcap.models.network import MODELS
    from endcap.sources import SOURCES

    known = {name: frozenset([name]) for name in SOURCES if name not in MODELS or name in deep}
    if deep:
        known["deep"] = frozenset(deep)
    names = list(known) if text == "all" else [name for name in text.split(",") if name]
    known |= {f"+{name}": frozenset(deep) - {name} for name in deep}
    for name in names:
        if name not in known:
            raise InvalidInput(f"no source {name!r} to leave out; known: {', '.join(known)}", field="ablate")
    return {
        f"{HYBRID}{name if name[0] == '+' else '-' + name}": Variant(known[name], None if untrained else new_trainer())
        for name in names
    }


def delays_of(text: str) -> list[Delay]:
    """'0,1m,24h,inf' as delays; 0 is always measured and needs no lane of its own. 'items:1h' delays only others."""
    from endcap.errors import InvalidInput
    from endcap.evaluation.lane import FROZEN
    from endcap.evaluation.replay import Delay

    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        side, _, span = part.rpartition(":")
        if side not in ("", "items"):
            raise InvalidInput(f"delay {part!r}: expected 0, 1m, 24h, inf, or items:1h", field="delay")
        number = span.rstrip("msdh")
        unit = span[len(number) :]
        if span != "inf" and not (number.isdigit() and (unit in UNITS_MS or number == "0")):
            raise InvalidInput(f"delay {part!r}: expected a number with ms, s, m, h or d, or inf", field="delay")
        ms = FROZEN if span == "inf" else int(number) * UNITS_MS.get(unit, 1)
        if ms != 0:
            found.append(Delay(part, ms, "shared" if side else "all"))
    return found


def print_table(verdict: dict[str, Any]) -> None:
    """The verdict for people, on stderr."""
    from rich.console import Console
    from rich.table import Table

    from endcap.evaluation.replay import HYBRID
    from endcap.evaluation.summary import best_single

    names = ("hr@20", "mrr@20", "ndcg@20", "recall@20")
    table = Table("model", *names, "hybrid's gain, hr@20", box=None, pad_edge=False)
    for model, figures in verdict["models"].items():
        cells = []
        for name in names:
            low, high = figures["ci"][name]
            cells.append(f"{figures[name]:.4f} [dim]±{(high - low) / 2:.3f}[/dim]")
        gain = verdict["gains"]["hr@20"].get(model)
        cells.append(f"{gain['mean']:+.4f} [dim]±{(gain['high'] - gain['low']) / 2:.3f}[/dim]" if gain else "")
        table.add_row(model, *cells, style="bold" if model == HYBRID else "")
    console = Console(stderr=True)
    console.print(table)
    for piece in verdict["slices"]:
        if piece["kind"] == "discovery":
            best = max(
                (m for m in piece["models"] if not m.startswith(HYBRID)), key=lambda m: piece["models"][m]["hr@20"]
            )
            hybrid, single = piece["models"][HYBRID], piece["models"][best]
            note(
                f"discovery ({piece['queries']} queries): hybrid {hybrid['hr@20']:.4f} / {hybrid['mrr@20']:.4f}, "
                f"best single {best} {single['hr@20']:.4f} / {single['mrr@20']:.4f}"
            )
    note(
        f"{verdict['candidates']['mean']:.0f} candidates a query, {verdict['candidates']['hr_ceiling']:.4f} of the "
        "queries have a right answer among them"
    )
    note(
        f"{verdict['data']['name']}, {verdict['protocol']}, {verdict['target']}: {verdict['targets']} queries of "
        f"{verdict['users']} users, {verdict['items']} items; best single model {best_single(verdict, 'hr@20')}; "
        f"{verdict['us_per_query']:.0f} us per request, {verdict['seconds']:.1f} s in all"
    )
