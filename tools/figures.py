"""Run the benchmark and write its figures into the table of README.md.

    python tools/figures.py              every part (about eight minutes on an idle machine)
    python tools/figures.py --quick      the short form
    python tools/figures.py PART ...     only these parts; the other rows keep what they say
    python tools/figures.py --translate  nothing is run; the Chinese table is made from the English one

The table stands between two marker lines; each row names the command that printed it. README.zh-CN.md gets the same.
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
CHINESE = ROOT / "README.zh-CN.md"
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

HEAD_ZH = """| 内容 | 实测 | 目标 | 命令 |
|---|---|---|---|"""
SENTENCES_ZH: dict[str, str] = {
    "HTTP: recommend, of the bare echo's throughput": "HTTP：推荐，相当于空回显吞吐量的",
    "HTTP: 1:1 mix with durable events, of the bare echo": "HTTP：与持久化事件 1:1 混合，相当于空回显的",
    "the same in requests/s: echo, recommend, mix": "同上，每秒请求数：回显、推荐、混合",
    "durable events/s over HTTP, one per request": "经 HTTP 每秒持久化事件数，每个请求一个",
    "latency at 1,000 requests/s, p50 and p99": "每秒 1,000 个请求时的延迟，p50 和 p99",
    "one request in process, 100 k items, p50 and p99": "进程内一个请求，10 万件商品，p50 和 p99",
    "the same with 1 M items, p50": "同上，100 万件商品，p50",
    "session-kNN, 1 M sessions, 500 k items, p50": "session-kNN，100 万个会话，50 万件商品，p50",
    "growth of cost from 10 k to 1 M items": "从 1 万件到 100 万件商品，开销增长",
    "events folded into all statistics, one core": "折叠进全部统计的事件，单核",
    "stale answers in {pairs:,} write-then-read pairs under load": "负载下 {pairs} 次先写后读中的过时回答",
    "from acknowledgement to visible, p50 and p99": "从确认到可见，p50 和 p99",
    "from process start to first answer, {events:,} events, snapshot": "从进程启动到首个回答，{events} 个事件，有快照",
    "rebuild from the log alone": "只从日志重建",
    "bytes per user, item, event (log and index)": "每个用户、商品、事件的字节数（日志和索引）",
    "slates that are logged, of the rate of the same slates that are not": "记入日志的列表，相当于不记日志时速率的",
    "logged slates with two arms and 2 % exploration, of the same": "记入日志、两个策略、2 % 探索的列表，同上",
}
UNITS_ZH = {" events/s": " 个事件/秒", " us": " 微秒", " ms": " 毫秒", " /s": " /秒", " s": " 秒"}
NOTE_ZH = (
    "{date}在 {cores} 核 {cpu} 上测得，Python {python}，负载生成器在同一台机器上，每个部分开始前的平均负载最高 {load}。"
    "当时没有测的部分，其行来自更早的测量。`make figures` 重新测量；[性能测试](docs/benchmarks.md)说明怎样解读。"
)
NOTE = re.compile(
    r"Measured on (?P<date>\d+ \w+ \d+) on (?P<cores>\d+) cores of (?P<cpu>.*?), Python (?P<python>[\d.]+), .*?"
    r"load average up to (?P<load>[\d.]+) before"
)


def translated(english: str) -> str:
    """The block between the markers in Chinese; KeyError for a row that has no translation yet."""
    known = {pattern(sentence): words for sentence, words in SENTENCES_ZH.items()}
    lines = []
    for line in english.splitlines():
        if line.startswith("| ") and "`endcap bench" in line:
            what, *cells, command = [cell.strip() for cell in line.strip("|").split("|")]
            matches = [(found, words) for form, words in known.items() if (found := form.fullmatch(what))]
            if not matches:
                raise KeyError(f"no Chinese for the row {what!r}: add it to SENTENCES_ZH")
            found, words = matches[0]
            lines.append(
                f"| {words.format(**found.groupdict())} | {' | '.join(units(cell) for cell in cells)} | {command} |"
            )
        elif said := NOTE.search(line):
            date = datetime.strptime(said["date"], "%d %B %Y")
            parts = {**said.groupdict(), "date": f"{date.year} 年 {date.month} 月 {date.day} 日"}
            lines.append(NOTE_ZH.format(**parts))
        elif line.startswith(("<!--", "|---")) or not line:
            lines.append(line)
    return "\n".join(lines).replace("|---|---|---|---|", HEAD_ZH, 1)


def pattern(sentence: str) -> re.Pattern[str]:
    """A row's sentence as the table holds it, with its figures named."""
    return re.compile(re.sub(r"\\{(\w+):,\\}", r"(?P<\1>[\\d,]+)", re.escape(sentence)))


def units(cell: str) -> str:
    """A cell with its units in Chinese."""
    for unit, words in UNITS_ZH.items():
        cell = re.sub(rf"(?<=[\d.]){re.escape(unit)}\b", words, cell)
    return cell


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
    if "--translate" in words:
        translate()
        return
    quick = "--quick" in words
    parts = [word for word in words if not word.startswith("-")] or list(dict.fromkeys(part for part, *_ in ROWS))
    figures = {part: measured(part, quick) for part in parts}
    text = README.read_text("utf-8")
    README.write_text(MARKERS.sub(lambda found: table(figures, found.group()), text), "utf-8")
    translate()


def translate() -> None:
    """The Chinese table, from the English one."""
    found = MARKERS.search(README.read_text("utf-8"))
    assert found is not None, "README.md has no table between its markers"
    made = translated(found.group())
    CHINESE.write_text(MARKERS.sub(lambda _: made, CHINESE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
