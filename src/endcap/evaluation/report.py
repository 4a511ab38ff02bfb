"""The report: one HTML file without references to anything outside, from the verdict that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from endcap.evaluation import plots
from endcap.evaluation.beyond import __doc__ as beyond_text
from endcap.evaluation.replay import HYBRID
from endcap.evaluation.summary import COMPARED, best_single

STYLE = """
:root{--ink:#1b1f24;--dim:#5b6570;--line:#d8dee4;--page:#fff;--s0:#0b6e4f;--s1:#6b7785;--s2:#b3541e;--s3:#3564b0;
--s4:#8a3f8f;--s5:#8c7a00}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--dim:#98a2ad;--line:#343b43;--page:#15181c;--s0:#4cc79a;
--s1:#8f9aa6;--s2:#e58b53;--s3:#7aa5ec;--s4:#cf8fd4;--s5:#d8c54a}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:60rem;margin:2rem auto;
padding:0 1rem}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}p.dim,caption{color:var(--dim)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.86rem}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}tr.strong{font-weight:600}small{color:var(--dim);font-weight:400}
svg{width:100%;height:auto;font:12px system-ui,sans-serif}svg text{fill:var(--ink)}svg text.tick{fill:var(--dim)}
svg text.strong{font-weight:600}.grid{stroke:var(--line)}.line{stroke-width:3;opacity:.5}
.curve{fill:none;stroke-width:2}
""" + "".join(f".s{k}{{stroke:var(--s{k})}}.dot.s{k}{{fill:var(--s{k});stroke:none}}" for k in range(plots.N_COLOURS))

Verdict = Mapping[str, Any]


def render(verdict: Verdict, command: str) -> str:
    """The page. ``command`` is what makes it again."""
    title = f"{verdict['data']['name']}: {verdict['protocol']}, {verdict['target']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        facts(verdict),
        "<h2>Models</h2>",
        models_plot(verdict, "hr@20"),
        models_plot(verdict, "mrr@20"),
        models_table(verdict),
        "<h2>What the hybrid gains</h2>",
        gains_table(verdict),
        *freshness(verdict),
        *over_time(verdict),
        *ablation(verdict),
        "<h2>Slices</h2>",
        slices_table(verdict),
        "<h2>Beyond accuracy</h2>",
        beyond_table(verdict),
        f"<details><summary>Definitions</summary><pre>{escape(beyond_text or '')}</pre></details>",
        "<h2>Cost</h2>",
        cost(verdict),
        f"<h2>Do it again</h2><pre>{escape(command)}</pre>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def facts(verdict: Verdict) -> str:
    """What was measured, in a paragraph."""
    counts = ", ".join(f"{reason} {n}" for reason, n in verdict["data"].items() if reason not in ("name", "hash"))
    evidence = "" if verdict["evidence"] else "<p><strong>Not evidence: this protocol knows the future.</strong></p>"
    return (
        f"{evidence}<p>{verdict['targets']:,} queries of {verdict['users']:,} users; {verdict['items']:,} items, all "
        f"ranked. Means over queries; in small type 95 % intervals by resampling users. The hybrid ranked "
        f"{verdict['candidates']['mean']:.0f} candidates a query; {verdict['candidates']['hr_ceiling']:.4f} of the "
        f"queries had a right answer among them. {leak_line(verdict)}</p>"
        f"<p class=dim>Data {escape(verdict['data']['hash'])}: "
        f"{escape(counts)}. Endcap {escape(verdict['version'])}.</p>"
    )


def leak_line(verdict: Verdict) -> str:
    """What the truncation check said."""
    if "leaks" not in verdict:
        return "The truncation check was not made."
    if verdict["leaks"]:
        return f"<strong>The truncation check failed: {escape(', '.join(verdict['leaks'][:5]))}.</strong>"
    return "An engine that was never shown later events made the same lists (checked on a sample)."


def table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], strong: Sequence[str] = ()) -> str:
    """Rows of a name and cells; cells may hold markup."""
    body = "".join(
        f"<tr{' class=strong' if name in strong else ''}><td>{escape(name)}</td>"
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for name, cells in rows
    )
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def models_plot(verdict: Verdict, metric: str) -> str:
    """Dots with intervals, best first."""
    models = verdict["models"]
    rows = [(name, figures[metric], *figures["ci"][metric]) for name, figures in models.items()]
    rows.sort(key=lambda row: -row[1])
    return plots.intervals(rows, f"{metric} of every model with its interval", strong=[HYBRID])


def models_table(verdict: Verdict) -> str:
    """Every metric of every model."""
    names = [*verdict["models"][HYBRID]["ci"], "recall_pooled@20"]
    rows = []
    for model, figures in verdict["models"].items():
        cells = []
        for name in names:
            low, high = figures["ci"].get(name, (None, None))
            small = f" <small>{low:.3f}-{high:.3f}</small>" if low is not None else ""
            cells.append(f"{figures[name]:.4f}{small}")
        rows.append((model, cells))
    return table(["model", *names], rows, strong=[HYBRID])


def gains_table(verdict: Verdict) -> str:
    """Paired differences to every other model."""
    others = list(verdict["gains"][COMPARED[0]])
    rows = []
    for model in others:
        cells = []
        for name in COMPARED:
            gain = verdict["gains"][name][model]
            cells.append(
                f"{gain['mean']:+.4f} <small>{gain['low']:+.3f} {gain['high']:+.3f}, p {gain['p_holm']:.3f}</small>"
            )
        rows.append((model, cells))
    return (
        "<p class=dim>Hybrid minus model on the same queries; p two-sided, corrected over the models (Holm).</p>"
        + table(["against", *COMPARED], rows)
    )


def freshness(verdict: Verdict) -> list[str]:
    """What it costs to know events late."""
    late = [name for name in verdict["models"] if name.startswith(f"{HYBRID}@")]
    if not late:
        return []
    now = verdict["models"][HYBRID]["hr@20"]
    rows = [
        (name, [f"{figures['hr@20']:.4f}", f"{figures['mrr@20']:.4f}", f"{figures['hr@20'] / now:.2f}" if now else "-"])
        for name in (HYBRID, *late)
        for figures in (verdict["models"][name],)
    ]
    curve = plots.lines(
        range(len(rows)), [("hr@20", [verdict["models"][name]["hr@20"] for name, _ in rows])],
        [name.partition("@")[2] or "0" for name, _ in rows], "hr@20 of the hybrid by how late it knows events",
    )  # fmt: skip
    return ["<h2>Freshness</h2>", curve, table(["events known after", "hr@20", "mrr@20", "relative"], rows)]


def over_time(verdict: Verdict) -> list[str]:
    """The hybrid and the strongest others along the test window."""
    curve = verdict["curve"]
    if len(curve["ts"]) < 2:
        return []
    chosen = list(dict.fromkeys([HYBRID, best_single(verdict, "hr@20"), "popular_1d", f"{HYBRID}@inf"]))
    series = [(name, curve["models"][name]["hr@20"]) for name in chosen if name in curve["models"]]
    days = [datetime.fromtimestamp(ts / 1000, UTC).strftime("%Y-%m-%d %H:%M") for ts in curve["ts"]]
    label = f"hr@20 over time, steps of {curve['step_h']} h"
    return [f"<h2>{label}</h2>", plots.lines(curve["ts"], series, days, label)]


def ablation(verdict: Verdict) -> list[str]:
    """What sources contribute: the hybrid without one, or with one deep model alone, minus the hybrid."""
    names = [name for name in verdict["models"] if name.startswith((f"{HYBRID}-", f"{HYBRID}+"))]
    if not names:
        return []
    said = {"-": "without", "+": "of deep models only"}
    rows = [
        (f"{said[name[len(HYBRID)]]} {name[len(HYBRID) + 1 :]}", -verdict["gains"]["hr@20"][name]["mean"])
        for name in names
    ]
    return ["<h2>One source less</h2>", plots.bars(rows, "change of hr@20 when a source is left out")]


def slices_table(verdict: Verdict) -> str:
    """The hybrid against the best single model in every slice."""
    rows = []
    for piece in verdict["slices"]:
        models = piece["models"]
        singles = [name for name in models if not name.startswith(HYBRID)]
        best = max(singles, key=lambda name: models[name]["hr@20"]) if singles else HYBRID
        rows.append(
            (
                f"{piece['kind']}: {piece['name']}",
                [
                    f"{piece['queries']:,}",
                    *(f"{models[HYBRID][name]:.4f}" for name in ("hr@20", "mrr@20")),
                    escape(best),
                    *(f"{models[best][name]:.4f}" for name in ("hr@20", "mrr@20")),
                ],
            )
        )
    return table(["slice", "queries", "hybrid hr@20", "mrr@20", "best single", "hr@20", "mrr@20"], rows)


def beyond_table(verdict: Verdict) -> str:
    """Coverage and its kin."""
    names = list(verdict["models"][HYBRID]["beyond"])
    rows = [
        (model, [f"{figures['beyond'].get(name, float('nan')):.3f}" for name in names])
        for model, figures in verdict["models"].items()
    ]
    return table(["model", *names], rows, strong=[HYBRID])


def cost(verdict: Verdict) -> str:
    """Time and memory."""
    latency = ", ".join(f"{name} {value:.0f} us" for name, value in verdict["latency_us"].items())
    fits = ", ".join(f"{fit['seconds']:.1f} s" for fit in verdict["fits"]) or "none"
    return (
        f"<p>One request of the hybrid, in process: {latency}. The whole run: {verdict['seconds']:.1f} s, "
        f"{verdict['cpu_seconds']:.1f} s of CPU, {verdict['peak_rss_mb']:,} MB at most. The ranker learned from "
        f"{verdict['examples']:,} queries; fits: {fits}.</p>"
    )
