"""``endcap import PLATFORM FILE``: recorded shapes from files, a report, and the quarantine for what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from endcap.cli import app
from endcap.cli.files import Kind
from endcap.engine import Engine
from endcap.errors import ConfigError
from foreign import ADAPTERS, cases

FILES = [kind.value for kind in Kind if kind not in (Kind.EVENTS, Kind.ITEMS)]


def run(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["import", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def lines_of(name: str) -> list[Any]:
    """The records of the recorded shapes, as a file of one line each holds them."""
    adapter = ADAPTERS[name]()
    return [record for case in cases(name) for record in adapter.records(case["input"])]


def test_every_platform_can_be_imported() -> None:
    assert set(ADAPTERS) - {"shopify", "shopify_webhook", "woocommerce"} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_recorded_shapes_is_taken_and_its_faults_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "dump.jsonl.gz"
    records = lines_of(name)
    path.write_bytes(
        gzip.compress(
            "\n".join(
                [*map(json.dumps, records), '{"broken": '],
            ).encode()
        )
    )
    report = run(name, str(path), "--dir", str(tmp_path / "data"))
    assert report["read"] == len(records) + 1
    assert report["accepted"] > 0
    assert any(f"dump.jsonl.gz:{len(records) + 1}:" in line for line in report["examples"]["bad_json"])
    again = run(name, str(path), "--dir", str(tmp_path / "data"))
    assert report["types"]
    with Engine.open(tmp_path / "data") as engine:
        kept = {record.source for record in engine.log.quarantine(1_000)}  # type: ignore[attr-defined]
        assert kept <= {name}
        stored = {entry.event.event_id for entry in engine.log.read(0, 10_000)}
    assert again["accepted"] <= sum(not event_id.startswith(("item:", "user:")) for event_id in stored)
    assert again["duplicates"] >= sum(report["types"].values()) - report["refused"]


def test_a_mapping_is_no_option_of_a_platform(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--map belongs to events and items"):
        run("segment", str(tmp_path / "x.jsonl"), "--map", "a=b", "--dir", str(tmp_path))
