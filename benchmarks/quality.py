"""Quality on the development data: every row of docs/quality.md, each by one ``endcap evaluate`` command.

    python benchmarks/quality.py                 all rows into build/quality, the table to stdout
    python benchmarks/quality.py ROW ...         only these (names in the first column)
    python benchmarks/quality.py --write         also rewrites the tables in docs/quality.md
    python benchmarks/quality.py --limit 2000    fewer queries per row, wider intervals
    python benchmarks/quality.py --saved --write tables from what earlier runs left in build/quality, nothing run

Beside the rows: ``gowalla`` (benchmarks/gowalla.py) and ``ablation SET``, the hybrid without one source at a time.
The data lie in the folder that ENDCAP_DATA names, by default ../shared/data; a row whose set is absent is skipped and
says so. Every row runs with the default settings.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ENDCAP_DATA", ROOT.parent / "shared" / "data"))
PAGE = ROOT / "docs" / "quality.md"
NEW, SIGNED_IN = "new to the shopper", "signed in"  # slices
FRESH = "1m,1h,24h,inf"
GOWALLA, GOWALLA_BARS = "gowalla", {"recall@20": (0.182, 0.187), "ndcg@20": (0.155, 0.158)}

Verdict = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One command and the figures it is held to: metric -> (must, aim)."""

    name: str
    data: str
    words: str
    bars: dict[str, tuple[float, float]]
    limit: int = 15_000
    sliced: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)  # by slice, the same
    note: str = ""

    def command(self, limit: int | None = None) -> list[str]:
        """The words after ``endcap``."""
        return ["evaluate", "--data", str(DATA / self.data), *self.words.split(), "--limit", str(limit or self.limit)]


ROWS = (
    Row(
        "retailrocket next", "retailrocket_mb", f"--delay {FRESH}",
        {"hr@20": (0.128, 0.140), "mrr@20": (0.068, 0.075)},
        sliced={NEW: {"hr@20": (0.089, 0.100), "mrr@20": (0.031, 0.035)}},
    ),
    Row("retailrocket buys", "retailrocket_mb", "--target buy24h", {"hr@20": (0.43, 0.46), "mrr@20": (0.335, 0.36)},
        limit=8_000),
    Row(
        "yoochoose next", "bench_yoochoose_100k", f"--delay {FRESH}",
        {"hr@20": (0.583, 0.60), "mrr@20": (0.300, 0.315)},
    ),
    Row(
        "yoochoose sessions", "bench_yoochoose_100k", "--protocol sessions",
        {"hr@20": (0.695, 0.710), "mrr@20": (0.378, 0.390)}, limit=8_000,
    ),
    Row(
        "online_retail next line", "online_retail", "", {"hr@20": (0.479, 0.52), "mrr@20": (0.242, 0.27)},
        sliced={SIGNED_IN: {"hr@20": (0.479, 0.52), "mrr@20": (0.242, 0.27)}}, limit=8_000,
    ),
    Row(
        "online_retail basket", "online_retail", "--target basket",
        {"ndcg@20": (0.279, 0.30), "recall@20": (0.281, 0.30)},
        sliced={SIGNED_IN: {"ndcg@20": (0.279, 0.30), "recall@20": (0.281, 0.30)}},
    ),
    Row(
        "complete_journey basket", "complete_journey", "--target basket",
        {"ndcg@20": (0.201, 0.22), "recall@20": (0.219, 0.235)}, limit=5_000,
    ),
    Row("amazon_beauty", "amazon_beauty", "--protocol temporal", {"ndcg@20": (0.0, 0.0)},
        limit=8_000, note="must: above every single model"),
)  # fmt: skip


# Without one source at a time; each variant trains a ranker of its own, so fewer queries and no refresh.
ABLATED = tuple(
    Row(
        f"ablation {name}",
        data,
        f"{words} --delay 0 --models covisit --ablate all --refreshes 0 --examples 6000 --no-check".strip(),
        {},
        2_500,
    )
    for name, data, words in (
        ("retailrocket next", "retailrocket_mb", ""),
        ("yoochoose next", "bench_yoochoose_100k", ""),
        ("online_retail basket", "online_retail", "--target basket"),
    )
)


def stem(name: str) -> str:
    """A row's name as a file's."""
    return name.replace(" ", "_")


def measured(row: Row, out: Path, limit: int | None) -> None:
    """Run one row; its JSON and its report land in ``out``."""
    words = [*row.command(limit), "--json", "--report", str(out / f"{stem(row.name)}.html")]
    done = subprocess.run([sys.executable, "-m", "endcap.cli", *words], stdout=subprocess.PIPE, check=True, cwd=ROOT)
    (out / f"{stem(row.name)}.json").write_bytes(done.stdout)


def gowalla(out: Path) -> None:
    """Run the row that has no times, by its own script."""
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "gowalla.py"], stdout=subprocess.PIPE, check=True)
    (out / f"{GOWALLA}.json").write_bytes(done.stdout)


def saved(name: str, out: Path) -> Verdict | None:
    """What the last run of a row found."""
    path = out / f"{stem(name)}.json"
    if not path.exists():
        return None
    verdict: Verdict = msgspec.json.decode(path.read_bytes().splitlines()[-1])
    return verdict


def best_single(models: dict[str, Any], metric: str) -> str:
    """The strongest model that is no form of the hybrid."""
    return max((name for name in models if not name.startswith("hybrid")), key=lambda name: float(models[name][metric]))


def lines_of(row: Row, verdict: Verdict) -> list[str]:
    """Table lines: row, metric, hybrid with interval, best single, paired gain, must, aim."""
    found = []
    models = verdict["models"]
    for metric, (must, aim) in row.bars.items():
        low, high = models["hybrid"]["ci"][metric]
        single = best_single(models, metric)
        gain = verdict["gains"][metric][single]
        bars = (f"{must:.3f}", f"{aim:.3f}") if must else (row.note, "")
        found.append(
            f"| {row.name} | {metric} | **{models['hybrid'][metric]:.4f}** [{low:.3f}, {high:.3f}] | "
            f"{single} {models[single][metric]:.4f} | {gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}] | "
            f"{bars[0]} | {bars[1]} |"
        )
    for name, held_to in row.sliced.items():
        piece: Any = next((one["models"] for one in verdict["slices"] if one["name"] == name), None)
        for metric, (must, aim) in held_to.items() if piece else ():
            single = best_single(piece, metric)
            found.append(
                f"| {row.name}, {name} | {metric} | **{piece['hybrid'][metric]:.4f}** | "
                f"{single} {piece[single][metric]:.4f} | | {must:.3f} | {aim:.3f} |"
            )
    return found


def freshness_lines(row: Row, verdict: Verdict) -> list[str]:
    """hr@20 of the hybrid by delay, and how many times better no delay is."""
    late = {name: figures["hr@20"] for name, figures in verdict["models"].items() if name.startswith("hybrid@")}
    if len(late) < 2:
        return []
    now = verdict["models"]["hybrid"]["hr@20"]
    cells = [f"{value:.4f} ({now / value:.1f} x)" if value else "0" for value in late.values()]
    return [f"| {row.name} | {now:.4f} | " + " | ".join(cells) + " |"]


def gowalla_lines(verdict: Verdict) -> list[str]:
    """As ``lines_of``, for benchmarks/gowalla.py."""
    found = []
    best, other = verdict["models"]["spectral"], verdict["models"]["factors"]
    for metric, (must, aim) in GOWALLA_BARS.items():
        half = best[metric.replace("@20", "_half")]
        found.append(
            f"| gowalla, LightGCN split | {metric} | spectral **{best[metric]:.4f}** [{best[metric] - half:.3f}, "
            f"{best[metric] + half:.3f}] | factors {other[metric]:.4f} | | {must:.3f} | {aim:.3f} |"
        )
    return found


def ablation_lines(row: Row, verdict: Verdict) -> list[str]:
    """What the hybrid loses without each source, weightiest first."""
    gains = {name.removeprefix("hybrid-"): one for name, one in verdict["gains"]["hr@20"].items() if "hybrid-" in name}
    mrr = verdict["gains"]["mrr@20"]
    return [
        f"| {row.name.removeprefix('ablation ')} | {name} | {-one['mean']:+.4f} [{-one['high']:+.4f}, "
        f"{-one['low']:+.4f}] | {-mrr[f'hybrid-{name}']['mean']:+.4f} [{-mrr[f'hybrid-{name}']['high']:+.4f}, "
        f"{-mrr[f'hybrid-{name}']['low']:+.4f}] |"
        for name, one in sorted(gains.items(), key=lambda pair: -float(pair[1]["mean"]))
    ]


def tables(
    done: dict[str, tuple[Row, Verdict]], left_out: dict[str, tuple[Row, Verdict]], plain: Verdict | None
) -> str:
    """All tables in Markdown: the rows, the ablations, gowalla."""
    head = "| row | metric | hybrid [95 %] | best single model | paired gain [95 %] | must | aim |\n" + "|---" * 7 + "|"
    body = [line for row, verdict in done.values() for line in lines_of(row, verdict)]
    gains = [
        verdict["models"]["hybrid"]["mrr@20"] / verdict["models"][best_single(verdict["models"], "mrr@20")]["mrr@20"]
        - 1
        for _, verdict in done.values()
    ]
    delays = "| row | 0 | 1 min | 1 h | 24 h | never again |\n|---|---|---|---|---|---|"
    fresh = [line for row, verdict in done.values() for line in freshness_lines(row, verdict)]
    commands = [
        f"* {row.name}: `endcap {' '.join(shown(row))}` ({one['targets']} queries, {one['seconds']:.0f} s; a request "
        f"takes {one['latency_us']['p50']:.0f} us, median)"
        for row, one in (*done.values(), *left_out.values())
    ]
    if plain:
        commands.append(f"* gowalla: `python benchmarks/gowalla.py` ({plain['seconds']:.0f} s)")
    lost = [line for row, verdict in left_out.values() for line in ablation_lines(row, verdict)]
    return "\n".join([
        head, *body, *(gowalla_lines(plain) if plain else ()), "",
        f"Relative gain in MRR@20 over the best single model: median {median(gains):+.0%}, least {min(gains):+.0%}."
        if gains else "",
        "",
        "Hybrid by how late it knows events, HR@20 (how many times better without delay):", "", delays, *fresh, "",
        "What the hybrid loses without one source (the ranker trained anew, fewer queries and examples):", "",
        "| row | without | HR@20 [95 %] | MRR@20 [95 %] |\n|---|---|---|---|", *lost, "",
        "Commands:", "", *commands,
    ])  # fmt: skip


def shown(row: Row) -> list[str]:
    """The command with the data folder as a reader has it."""
    return [word.replace(str(DATA), "$ENDCAP_DATA") for word in row.command()]


def run(rows: list[Row], out: Path, limit: int | None, with_gowalla: bool) -> None:
    """Run rows one after the other, say what is done and how long it took."""
    for row in rows:
        if not (DATA / row.data).exists():
            print(f"{row.name}: skipped, no {DATA / row.data}; name the folder with ENDCAP_DATA", file=sys.stderr)
            continue
        began = perf_counter()
        print(f"{row.name}: endcap {' '.join(shown(row))}", file=sys.stderr)
        measured(row, out, limit)
        print(f"{row.name}: {perf_counter() - began:.0f} s", file=sys.stderr)
    if with_gowalla:
        print("gowalla: python benchmarks/gowalla.py", file=sys.stderr)
        gowalla(out)


def main() -> None:
    """Run, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description="Quality on the development data.")
    parser.add_argument("rows", nargs="*", help="names of rows; all without")
    parser.add_argument("--saved", action="store_true", help="run nothing, take the last results")
    parser.add_argument("--write", action="store_true", help="rewrite the tables in docs/quality.md")
    parser.add_argument("--limit", type=int, help="queries per row")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "quality")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    wanted = [row for row in (*ROWS, *ABLATED) if not given.rows or row.name in given.rows]
    if not given.saved:
        run(wanted, given.out, given.limit, not given.rows or GOWALLA in given.rows)
    found = {row.name: (row, one) for row in wanted if (one := saved(row.name, given.out))}
    done = {row.name: found[row.name] for row in ROWS if row.name in found}
    if not found:
        sys.exit("no row was run")
    text = tables(done, {row.name: found[row.name] for row in ABLATED if row.name in found}, saved(GOWALLA, given.out))
    print(text)
    if given.write:
        page = PAGE.read_text("utf-8")
        marked = re.compile(r"<!-- tables -->\n.*?<!-- /tables -->", re.DOTALL)
        PAGE.write_text(marked.sub(lambda _: f"<!-- tables -->\n{text}\n<!-- /tables -->", page), "utf-8")


if __name__ == "__main__":
    main()
