"""Run the benchmark and write its figures into the table of README.md.

    python tools/figures.py              every part (about eight minutes on an idle machine)
    python tools/figures.py --quick      the short form
    python tools/figures.py PART ...     only these parts; the other rows keep what they say

The table stands between two marker lines; each row names the command that printed it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
MARKERS = re.compile(r"<!-- figures -->\n.*?<!-- /figures -->", re.DOTALL)
HEAD = """| what | measured | bar | command |
|---|---|---|---|"""

# part, sentence, template, bar
ROWS: list[tuple[str, str, str, str]] = [
    ("serve", "HTTP: recommend, of the bare echo's throughput", "{recommend_over_echo:.2f}", "0.25"),
    ("serve", "HTTP: 1:1 mix with durable events, of the bare echo", "{mix_over_echo:.2f}", "0.30"),
    ("serve", "the same in requests/s: echo, recommend, mix",
     "{echo_rps:,.0f}, {recommend_rps:,.0f}, {mix_rps:,.0f}", ""),
    ("serve", "durable events/s over HTTP, one per request", "{ingest_eps:,.0f}", ""),
    ("serve", "latency at 1,000 requests/s, p50 and p99", "{open_loop_p50_ms:.1f} ms, {open_loop_p99_ms:.1f} ms", ""),
    ("kernel", "one request in process, 100 k items, p50 and p99",
     "{recommend_p50_us:,.0f} us, {recommend_p99_us:,.0f} us", "200 us p50"),
    ("kernel", "the same with 1 M items, p50", "{recommend_1m_p50_us:,.0f} us", "300 us"),
    ("kernel", "session-kNN, 1 M sessions, 500 k items, p50", "{session_knn_p50_us:.0f} us", "40 us"),
    ("kernel", "growth of cost from 10 k to 1 M items", "{growth_10k_to_1m:.2f} x", "2 x"),
    ("fold", "events folded into all statistics, one core", "{events_per_s:,.0f} /s", "200,000 /s"),
    ("fresh", "stale answers in {pairs:,} write-then-read pairs under load", "{stale}", "0"),
    ("fresh", "from acknowledgement to visible, p50 and p99", "{visible_p50_ms:.1f} ms, {visible_p99_ms:.1f} ms", ""),
    ("restart", "from process start to first answer, {events:,} events, snapshot", "{snapshot_s:.1f} s", "3 s"),
    ("restart", "rebuild from the log alone", "{rebuild_eps:,.0f} events/s", ""),
    ("memory", "bytes per user, item, event (log and index)",
     "{bytes_per_user:.0f}, {bytes_per_item:.0f}, {bytes_per_event:.0f}", ""),
    ("feedback", "slates that are logged, of the rate of the same slates that are not", "{logged_over_plain:.2f}", ""),
    ("feedback", "logged slates with two arms and 2 % exploration, of the same", "{explored_over_plain:.2f}", "0.90"),
]  # fmt: skip


def measured(part: str, quick: bool) -> dict[str, Any]:
    """The JSON object that ``endcap bench PART --json`` prints last."""
    command = [sys.executable, "-m", "endcap.cli", "bench", part, "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = msgspec.json.decode(done.stdout.strip().splitlines()[-1])
    return figures


def row(part: str, sentence: str, template: str, bar: str, figures: dict[str, Any]) -> str:
    """One line of the table."""
    return f"| {sentence.format(**figures)} | {template.format(**figures)} | {bar} | `endcap bench {part}` |"


def table(figures: dict[str, dict[str, Any]], before: str) -> str:
    """The table with fresh rows for the parts measured and the old ones for the others."""
    old = [line for line in before.splitlines() if line.startswith("| ") and "`endcap bench" in line]
    lines = []
    for at, (part, sentence, template, bar) in enumerate(ROWS):
        if part in figures:
            lines.append(row(part, sentence, template, bar, figures[part]))
        elif at < len(old):
            lines.append(old[at])
    machine = next(iter(figures.values()))["environment"]
    load = max(float(found["environment"]["load_1min"]) for found in figures.values())
    note = (
        f"Measured on {datetime.now(UTC):%d %B %Y} on {machine['cores']} cores of {machine['cpu']}, Python "
        f"{machine['python']}, load generator on the same machine, load average up to {load:.1f} before a part began. "
        "Rows of parts that were not measured then are from earlier runs. `make figures` measures anew; "
        "[Benchmarks](docs/benchmarks.md) says how to read it."
    )
    return "\n".join(["<!-- figures -->", HEAD, *lines, "", note, "<!-- /figures -->"])


def main() -> None:
    """Measure, then write the table."""
    words = sys.argv[1:]
    quick = "--quick" in words
    parts = [word for word in words if not word.startswith("-")] or list(dict.fromkeys(part for part, *_ in ROWS))
    figures = {part: measured(part, quick) for part in parts}
    text = README.read_text("utf-8")
    README.write_text(MARKERS.sub(lambda found: table(figures, found.group()), text), "utf-8")


if __name__ == "__main__":
    main()
