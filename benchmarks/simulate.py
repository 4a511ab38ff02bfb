"""Every scenario of the simulator: the tables and pictures of docs/feedback.md.

python benchmarks/simulate.py                 all scenarios, pictures into docs/images, tables into the page
python benchmarks/simulate.py arms loop       only these
python benchmarks/simulate.py --saved         tables from what earlier runs left in build/simulate, nothing run
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "feedback.md"
SCENARIOS = ("arms", "switch", "positions", "loop", "price")


def measured(name: str, out: Path) -> None:
    """Run one scenario and keep its verdict."""
    command = [
        sys.executable, "-m", "endcap.cli", "simulate", name, "--json", "--plots", str(ROOT / "docs" / "images"),
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    (out / f"{name}.json").write_bytes(done.stdout)


def cell(value: float | None) -> str:
    """A figure at a readable length."""
    if value is None:
        return "not known"
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.4f}"


def table(verdict: dict[str, Any]) -> str:
    """A verdict in Markdown: rows, notes, bars."""
    rows = verdict["rows"]
    heads = list(next(iter(rows.values())))
    lines = [f"| {verdict['head']} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(cell(value) for value in row.values())} |" for name, row in rows.items()]
    lines += ["", "| bar | measured | must | |", "|---|---|---|---|"]
    for bar in verdict["bars"]:
        held = "holds" if bar["holds"] else "**missed**"
        lines.append(f"| {bar['what']} | {cell(bar['value'])} | {bar['sign']} {bar['bar']:,g} | {held} |")
    notes = "; ".join(verdict["notes"])
    lines += ["", f"{verdict['requests']:,} requests a run, seed {verdict['seed']}{'; ' if notes else ''}{notes}."]
    return "\n".join(lines)


def main() -> None:
    """Run what was asked for and write the page."""
    parser = argparse.ArgumentParser(description="Every scenario of the simulator.")
    parser.add_argument("scenarios", nargs="*", help=f"of {', '.join(SCENARIOS)}; all without")
    parser.add_argument("--saved", action="store_true", help="run nothing, take the last results")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "simulate")
    given = parser.parse_args()
    for name in given.scenarios:
        if name not in SCENARIOS:
            parser.error(f"no scenario {name!r}; expected {', '.join(SCENARIOS)}")
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.scenarios or SCENARIOS:
        if not given.saved:
            measured(name, given.out)
        if not (given.out / f"{name}.json").exists():
            sys.exit(f"no result of {name} in {given.out}; run it first")
        text = table(msgspec.json.decode((given.out / f"{name}.json").read_bytes()))
        marked = re.compile(rf"<!-- {name} -->\n.*?<!-- /{name} -->", re.DOTALL)
        page = PAGE.read_text("utf-8")
        PAGE.write_text(marked.sub(lambda _, n=name, t=text: f"<!-- {n} -->\n{t}\n<!-- /{n} -->", page), "utf-8")


if __name__ == "__main__":
    main()
