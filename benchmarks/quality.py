"""Quality on the development data: every row of docs/quality.md, each by one ``endcap evaluate`` command.

    python benchmarks/quality.py                 all rows into build/quality, the table to stdout
    python benchmarks/quality.py ROW ...         only these (names in the first column)
    python benchmarks/quality.py --write         also rewrites the tables in docs/quality.md
    python benchmarks/quality.py --limit 2000    fewer queries per row, wider intervals

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


def measured(row: Row, out: Path, limit: int | None) -> Verdict:
    """Run one row; its JSON and its report land in ``out``."""
    stem = row.name.replace(" ", "_")
    words = [*row.command(limit), "--json", "--report", str(out / f"{stem}.html")]
    done = subprocess.run([sys.executable, "-m", "endcap.cli", *words], stdout=subprocess.PIPE, check=True, cwd=ROOT)
    (out / f"{stem}.json").write_bytes(done.stdout)
    verdict: Verdict = msgspec.json.decode(done.stdout.splitlines()[-1])
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
    for name, bars in row.sliced.items():
        piece = next((one["models"] for one in verdict["slices"] if one["name"] == name), None)
        for metric, (must, aim) in bars.items() if piece else ():
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


def tables(done: dict[str, tuple[Row, Verdict]]) -> str:
    """All tables in Markdown."""
    head = "| row | metric | hybrid [95 %] | best single model | paired gain [95 %] | must | aim |\n" + "|---" * 7 + "|"
    body = [line for row, verdict in done.values() for line in lines_of(row, verdict)]
    gains = [
        verdict["models"]["hybrid"]["mrr@20"] / verdict["models"][best_single(verdict["models"], "mrr@20")]["mrr@20"]
        - 1
        for _, verdict in done.values()
    ]
    delays = "| row | 0 | 1 min | 1 h | 24 h | never again |\n|---|---|---|---|---|---|"
    fresh = [line for row, verdict in done.values() for line in freshness_lines(row, verdict)]
    commands = [f"* {row.name}: `endcap {' '.join(shown(row))}`" for row, _ in done.values()]
    return "\n".join([
        head, *body, "",
        f"Relative gain in MRR@20 over the best single model: median {median(gains):+.0%}, least {min(gains):+.0%}.",
        "",
        "Hybrid by how late it knows events, HR@20 (how many times better without delay):", "", delays, *fresh, "",
        "Commands:", "", *commands,
    ])  # fmt: skip


def shown(row: Row) -> list[str]:
    """The command with the data folder as a reader has it."""
    return [word.replace(str(DATA), "$ENDCAP_DATA") for word in row.command()]


def main() -> None:
    """Run, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description="Quality on the development data.")
    parser.add_argument("rows", nargs="*", help="names of rows; all without")
    parser.add_argument("--write", action="store_true", help="rewrite the tables in docs/quality.md")
    parser.add_argument("--limit", type=int, help="queries per row")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "quality")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    done: dict[str, tuple[Row, Verdict]] = {}
    for row in ROWS:
        if given.rows and row.name not in given.rows:
            continue
        if not (DATA / row.data).exists():
            print(f"{row.name}: skipped, no {DATA / row.data}; name the folder with ENDCAP_DATA", file=sys.stderr)
            continue
        began = perf_counter()
        print(f"{row.name}: endcap {' '.join(shown(row))}", file=sys.stderr)
        done[row.name] = (row, measured(row, given.out, given.limit))
        print(f"{row.name}: {perf_counter() - began:.0f} s", file=sys.stderr)
    if not done:
        sys.exit("no row was run")
    text = tables(done)
    print(text)
    if given.write:
        page = PAGE.read_text("utf-8")
        marked = re.compile(r"<!-- tables -->\n.*?<!-- /tables -->", re.DOTALL)
        PAGE.write_text(marked.sub(lambda _: f"<!-- tables -->\n{text}\n<!-- /tables -->", page), "utf-8")


if __name__ == "__main__":
    main()
