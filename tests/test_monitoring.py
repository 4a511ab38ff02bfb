"""Dashboard and alert rules against the metrics of a real server: no query names what nobody counts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from endcap.config import Config, ExploreConfig, PlacementConfig
from endcap.types import RungName
from served import serving, view

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
ROOT = Path(__file__).parent.parent
DASHBOARD = ROOT / "deploy/monitoring/dashboard.json"
RULES = ROOT / "deploy/monitoring/endcap.rules.yaml"
SCRAPED = {"instance", "job"}  # labels that Prometheus adds to everything it scrapes
METRIC = re.compile(r"\b(?:endcap|process)_\w+|\bup\b")

Labels = dict[str, dict[str, set[str]]]  # metric -> label -> values


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Every sample of /metrics after traffic of every kind that the queries tell apart."""
    tried = PlacementConfig(sources=["popular"], n=4, explore=ExploreConfig(share=0.5))
    config = Config(placements={**Config().placements, "tried": tried})
    with serving(tmp_path_factory.mktemp("shop"), config=config) as running:
        running.send(*(view(f"a{n % 3}", f"i{n}") for n in range(9)), view("a", "lamp", type="gaze"))
        for n in range(60):
            running.slate(anon_id=f"a{n % 3}", placement="tried")
        running.slate(anon_id="nobody")
        running.client.get("/nothing")
        running.engine.snapshot()
        text = running.client.get("/metrics").text
    found: Labels = {"up": {}}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
            if sample.name == "endcap_explored_slates_total" and sample.labels["placement"] == "tried":
                assert sample.value > 0
    return found


def panel_queries() -> Iterator[tuple[str, str, str]]:
    """Title, query and legend of every panel."""
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


QUERIES = [
    *((title, query) for title, query, _ in panel_queries()),
    *((rule["alert"], rule["expr"]) for rule in rules()),
]


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=[title for title, _ in QUERIES])
def test_a_query_names_metrics_labels_and_values_that_exist(query: str, counted: Labels) -> None:
    names = METRIC.findall(query)
    assert names
    assert not [name for name in names if name not in counted]
    for name, selector in re.findall(r"(\w+)\{([^}]*)\}", query):
        for label, operator, value in re.findall(r'(\w+)(=~|!=|!~|=)"([^"]*)"', selector):
            if label in SCRAPED:
                continue
            assert label in counted[name], f"{name} has no label {label}"
            possible = set(get_args(RungName)) if label == "rung" else counted[name][label]
            if label == "status":  # nothing fails in this test; the statuses are numbers all the same
                assert all(status.isdigit() for status in possible)
                continue
            for one in value.split("|") if operator == "=~" else [value]:
                assert one in possible, f"{name} has no {label} {one!r}"
    known = {label for name in names for label in counted[name]} | SCRAPED | {"le"}
    grouped = {
        label.strip()
        for found in re.findall(r"\b(?:by|ignoring|on)\s*\(([^)]*)\)", query)
        for label in found.split(",")
    }
    assert grouped <= known


def test_a_legend_names_labels_that_its_query_keeps() -> None:
    for title, query, legend in panel_queries():
        for label in re.findall(r"\{\{(\w+)\}\}", legend):
            summed = re.findall(r"\bby\s*\(([^)]*)\)", query)
            assert not summed or any(label in kept for kept in summed), f"{title}: {label}"
            assert summed or label in SCRAPED, f"{title}: {label}"


def test_the_dashboard_has_a_panel_for_what_an_operator_asks_first() -> None:
    shown = " ".join(query for _, query, _ in panel_queries())
    for name in (
        "endcap_slates_total", "endcap_recommend_seconds_bucket", "endcap_requests_total", "endcap_refused_total",
        "process_resident_memory_bytes", "endcap_snapshot_timestamp_seconds", "endcap_explored_slates_total",
        "endcap_model", "endcap_ingest_seconds_bucket",
    ):  # fmt: skip
        assert name in shown
    assert "histogram_quantile(0.5," in shown
    assert "histogram_quantile(0.99," in shown


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["for"]


def test_the_monitoring_page_explains_every_metric_and_every_alert(counted: Labels) -> None:
    page = (ROOT / "docs/monitoring.md").read_text("utf-8")
    ours = {re.sub(r"_(total|bucket|count|sum|created)$", "", name) for name in counted if name.startswith("endcap_")}
    told = set(re.findall(r"`(endcap_\w+?)(?:_total)?`", page))
    assert {name for name in ours if not name.startswith("endcap_feedback_")} <= told
    assert not {name for name in told if name not in ours and not name.startswith("endcap_feedback_")}
    assert [rule["alert"] for rule in rules()] == re.findall(r"^\| `(Endcap\w+)` \|", page, re.MULTILINE)


PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here: install the package prometheus")
def test_promtool_takes_the_rules_and_every_query_of_the_dashboard(tmp_path: Path) -> None:
    queries = [query for _, query, _ in panel_queries()]
    made = [
        {"record": f"panel:{n}", "expr": query.replace("$__rate_interval", "5m").replace("$instance", ".*")}
        for n, query in enumerate(queries)
    ]
    written = tmp_path / "panels.yaml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}))
    for command in (
        ["check", "rules", str(RULES), str(written)],
        ["check", "config", "--syntax-only", str(ROOT / "deploy/monitoring/prometheus.yaml")],
    ):
        done = subprocess.run([str(PROMTOOL), *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here: install the package prometheus")
def test_alerts_fire_on_what_they_are_for_and_not_on_a_quiet_shop(tmp_path: Path) -> None:
    def series(name: str, values: str) -> dict[str, str]:
        labelled = f"{name[:-1]}," if name.endswith("}") else f"{name}{{"
        return {"series": f'{labelled}instance="s"}}', "values": values}

    def case(alert: str, fires: bool, *inputs: dict[str, str]) -> dict[str, Any]:
        assert alert in {rule["alert"] for rule in rules()}
        firing = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
        expected = [{"labels": "{}", "value": 1}] if fires else []
        asked = {"expr": f"count({firing})", "eval_time": "90m", "exp_samples": expected}
        return {"interval": "1m", "input_series": list(inputs), "promql_expr_test": [asked]}

    accepted, refused = 'endcap_events_total{result="accepted"}', 'endcap_events_total{result="refused"}'
    slates, static = 'endcap_slates_total{rung="full"}', 'endcap_slates_total{rung="static"}'
    steady, none = "0+100x120", "0+0x120"
    known, saved = "endcap_log_offset", "endcap_snapshot_offset"
    cases = [
        case("EndcapEventsRefused", True, series(accepted, steady), series(refused, "0+20x120")),
        case("EndcapEventsRefused", False, series(accepted, steady), series(refused, "0+1x120")),
        case("EndcapNoEvents", True, series(accepted, none), series(slates, steady)),
        case("EndcapNoEvents", False, series(accepted, none), series(slates, none)),
        case("EndcapNoEvents", False, series(accepted, steady), series(slates, steady)),
        case("EndcapDegraded", True, series(slates, steady), series(static, steady)),
        case("EndcapDegraded", False, series(slates, steady), series(static, none)),
        case("EndcapErrors", True, series('endcap_requests_total{status="503"}', steady)),
        case("EndcapErrors", False, series('endcap_requests_total{status="404"}', steady)),
        case("EndcapSnapshotsFail", True, series(known, "0+100000x120"), series(saved, none)),
        case("EndcapSnapshotsFail", False, series(known, "5+0x120"), series(saved, none)),
        case("EndcapDiskFills", True, series("endcap_disk_free_bytes", "1e9+0x120")),
        case("EndcapDiskFills", True, series("endcap_disk_free_bytes", "1e11-1e8x120")),
        case("EndcapDiskFills", False, series("endcap_disk_free_bytes", "1e11+0x120")),
        case("EndcapDown", True, series('up{job="endcap"}', none)),
        case("EndcapDown", False, series('up{job="endcap"}', "1+0x120")),
    ]  # fmt: skip
    written = tmp_path / "alerts.yaml"
    written.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}))
    done = subprocess.run([str(PROMTOOL), "test", "rules", str(written)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
