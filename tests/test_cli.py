"""The command line: results on stdout, one clear message and status 2 for mistakes, real data directories."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from endcap.cli import main


class Done(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Call ``endcap`` in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["endcap", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capsys.readouterr()
        return Done(status, out, err)

    return call


@pytest.fixture
def shop(tmp_path: Path, run: Run) -> Path:
    """A data directory with a few shoppers, filled by ``endcap import``."""
    events = tmp_path / "events.csv"
    rows = ["type,user_id,item_id,ts"]
    for k in range(12):
        start = 1_790_000_000_000 + k * 3_600_000
        rows += [f"view,u{k},teapot,{start}", f"view,u{k},teacup,{start + 60_000}"]
    rows.append(f"view,lin,teapot,{start + 120_000}")
    events.write_text("\n".join(rows) + "\n")
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\nteapot,A teapot\nteacup,A teacup\n")
    directory = tmp_path / "data"
    assert run("import", "items", items, "--dir", directory).status == 0
    assert run("import", "events", events, "--dir", directory).status == 0
    return directory


# ---------------------------------------------------------------- the frame


def test_the_version_is_the_installed_one(run: Run) -> None:
    done = run("--version")
    assert (done.status, done.out.split()[0]) == (0, "endcap")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", done.out.split()[1])


def test_every_command_has_help(run: Run) -> None:
    listed = run("--help").out
    commands = (
        "demo", "serve", "import", "recommend", "export", "erase", "backup", "restore", "keys", "config", "doctor",
        "bench",
    )  # fmt: skip
    for command in commands:
        assert command in listed
        done = run(command, "--help")
        assert done.status == 0
        assert "--help" in done.out


def test_an_unknown_command_is_a_usage_error(run: Run) -> None:
    assert run("recomend").status == 2


def test_the_installed_script_shows_no_traceback_for_a_mistake(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("endcap")
    done = subprocess.run([script, "recommend", "--dir", tmp_path / "nowhere"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("endcap: no data directory at")
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- config


def test_config_shows_values_with_their_sources(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endcap.toml").write_text("[server]\nport = 9000\n[placements.home]\nn = 24\n")
    monkeypatch.setenv("ENDCAP_CLEAN__SESSION_GAP_S", "600")
    shown = json.loads(run("config", "--json").out)
    assert shown["server.port"] == {"value": 9000, "source": "endcap.toml"}
    assert shown["clean.session_gap_s"] == {"value": 600, "source": "ENDCAP_CLEAN__SESSION_GAP_S"}
    assert shown["placements.home.n"] == {"value": 24, "source": "endcap.toml"}
    assert shown["server.host"] == {"value": "127.0.0.1", "source": "default"}
    assert "server.port" in run("config").out


def test_config_refuses_an_unknown_key_and_names_the_nearest(run: Run, tmp_path: Path) -> None:
    (tmp_path / "endcap.toml").write_text("[server]\nprt = 9000\n")
    done = run("config")
    assert done.status == 2
    assert "server.prt" in done.err
    assert "server.port" in done.err


# ---------------------------------------------------------------- keys


def test_keys_are_made_listed_rotated_and_revoked(run: Run, tmp_path: Path) -> None:
    where = ("--dir", tmp_path / "data")
    made = json.loads(run("keys", "create", "server", "--label", "backend", "--json", *where).out)
    assert made["key"].startswith("srv_")
    secret = run("keys", "create", "browser", *where).out.strip()
    listed = json.loads(run("keys", "list", "--json", *where).out)
    assert [key["kind"] for key in listed] == ["server", "browser"]
    assert secret not in json.dumps(listed)

    successor = json.loads(run("keys", "rotate", made["id"], "--json", *where).out)
    assert successor["kind"] == "server"
    assert successor["label"] == "backend"
    assert run("keys", "revoke", made["id"], *where).status == 0
    left = {key["id"] for key in json.loads(run("keys", "list", "--json", *where).out)}
    assert left == {secret[:12], successor["id"]}
    assert successor["id"] in run("keys", "list", *where).out


def test_a_key_of_no_known_kind_is_refused(run: Run, tmp_path: Path) -> None:
    done = run("keys", "create", "root", "--dir", tmp_path / "data")
    assert done.status == 2
    assert "browser" in done.err


# ---------------------------------------------------------------- data


def test_an_import_reports_what_it_read(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("what,who,thing,when\nview,ada,teapot,1790000000000\nlook,ada,teapot,1790000000000\n")
    maps = ("--map", "type=what", "--map", "user_id=who", "--map", "item_id=thing", "--map", "ts=when")
    done = run("import", "events", file, *maps, "--dir", tmp_path / "data", "--json")
    report = json.loads(done.out)
    assert done.status == 0
    assert (report["read"], report["accepted"]) == (2, 1)
    assert "look" in done.out


def test_an_import_that_misses_a_column_names_the_remedy(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("colour,size\nred,3\n")
    done = run("import", "events", file, "--dir", tmp_path / "data")
    assert done.status == 2
    assert "--map" in done.err
    assert run("import", "events", file, "--map", "user_id", "--dir", tmp_path / "data").status == 2


def test_recommend_answers_from_what_was_imported(run: Run, shop: Path) -> None:
    done = run("recommend", "--user", "lin", "--n", "5", "--json", "--dir", shop)
    slate = json.loads(done.out)
    assert "teacup" in {placed["item_id"] for placed in slate["items"]}
    shown = run("recommend", "--user", "lin", "--explain", "--dir", shop).out
    assert "A teacup" in shown


def test_a_user_is_exported_and_erased(run: Run, shop: Path) -> None:
    exported = [json.loads(line) for line in run("export", "lin", "--dir", shop).out.splitlines()]
    assert [event["item_id"] for event in exported] == ["teapot"]
    receipt = json.loads(run("erase", "lin", "--yes", "--json", "--dir", shop).out)
    assert receipt["n_events"] == 1
    assert "lin" not in json.dumps(receipt)
    assert run("export", "lin", "--dir", shop).out == ""


def test_a_backup_restores_to_the_same_answers(run: Run, shop: Path, tmp_path: Path) -> None:
    copy, again = tmp_path / "copy.endcap", tmp_path / "again"
    assert run("backup", copy, "--dir", shop).status == 0
    assert json.loads(run("restore", copy, "--dir", again, "--json").out)["events"] >= 25
    question = ("recommend", "--user", "lin", "--json", "--dir")
    before, after = (json.loads(run(*question, where).out) for where in (shop, again))
    assert [placed["item_id"] for placed in before["items"]] == [placed["item_id"] for placed in after["items"]]
    refused = run("restore", copy, "--dir", shop)
    assert refused.status == 2
    assert "holds a log already" in refused.err
    assert run("backup", copy, "--dir", shop).status == 2


def test_a_backup_holds_experiments_and_models_too(run: Run, shop: Path, tmp_path: Path) -> None:
    copy, again = tmp_path / "copy.endcap", tmp_path / "again"
    (shop / "experiments.json").write_text("[]\n")
    for name, data in (
        ("models/000001.endcap", bytes(range(256)) * 70_000), ("models/000002.endcap", b""),
        ("models/serving.json", b'{"ranker": [1]}'), ("experiments/wide.jsonl", b'{"ts": 1}\n'),
        ("reports/one.json", b"{}"),
        ("models/training.log", b"not kept"), ("models/.000003.endcap.part", b"not kept"), ("keys.json", b"not kept"),
    ):  # fmt: skip
        (shop / name).parent.mkdir(exist_ok=True)
        (shop / name).write_bytes(data)
    kept = [
        "experiments.json", "experiments/wide.jsonl", "models/000001.endcap", "models/000002.endcap",
        "models/serving.json", "reports/one.json",
    ]  # fmt: skip
    assert sorted(json.loads(run("backup", copy, "--dir", shop, "--json").out)["files"]) == kept
    assert json.loads(run("restore", copy, "--dir", again, "--json").out)["files"] == kept
    for name in kept:
        assert (again / name).read_bytes() == (shop / name).read_bytes(), name
    assert not (again / "keys.json").exists()
    assert sorted(path.name for path in (again / "models").iterdir()) == [
        "000001.endcap", "000002.endcap", "serving.json",
    ]  # fmt: skip
    with closing(sqlite3.connect(again / "endcap.db")) as log:
        assert log.execute("SELECT count(*) FROM sqlite_master WHERE name = 'enclosed'").fetchone() == (0,)
    assert run("backup", tmp_path / "second.endcap", "--dir", again).status == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE enclosed SET data = x'00' WHERE path = 'experiments.json'", "experiments.json is damaged"),
        ("UPDATE enclosed SET path = '../outside.json'", "'../outside.json', which no backup of ours does"),
        ("UPDATE enclosed SET path = 'models/../keys.json'", "which no backup of ours does"),
        ("UPDATE enclosed SET path = '/etc/x.endcap'", "which no backup of ours does"),
    ],
)
def test_a_damaged_or_foreign_file_in_a_backup_is_refused(
    run: Run, shop: Path, tmp_path: Path, change: str, told: str
) -> None:
    (shop / "experiments.json").write_text("[]\n")
    copy = tmp_path / "copy.endcap"
    assert run("backup", copy, "--dir", shop).status == 0
    with closing(sqlite3.connect(copy)) as backup:
        backup.execute(change)
        backup.commit()
    done = run("restore", copy, "--dir", tmp_path / "again")
    assert done.status == 2
    assert told in done.err
    assert not (tmp_path / "again" / "endcap.db").exists()
    assert not (tmp_path / "outside.json").exists()


def test_a_file_that_is_no_backup_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"no database at all, not even a small one" * 40)
    done = run("restore", tmp_path / "noise", "--dir", tmp_path / "data")
    assert done.status == 2
    assert not (tmp_path / "data" / "endcap.db").exists()


# ---------------------------------------------------------------- doctor


def test_doctor_names_why_a_list_is_generic(run: Run, shop: Path) -> None:
    checks = json.loads(run("doctor", "--user", "nobody-we-know", "--json", "--dir", shop).out)
    named = {check["name"]: check for check in checks}
    assert named["kernels"]["level"] == "ok"
    assert named["log"]["level"] == "ok"
    known = {check["name"] for check in json.loads(run("doctor", "--user", "lin", "--json", "--dir", shop).out)}
    assert set(named) - known, "a stranger's list has a reason to be generic that a known shopper's has not"
    assert "kernels" in run("doctor", "--dir", shop).out


def test_doctor_reports_settings_it_cannot_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "endcap.toml").write_text("[server]\nport = 'many'\n")
    done = run("doctor", "--json", "--dir", tmp_path / "data")
    assert done.status == 1
    assert any(check["name"] == "settings" and check["level"] == "error" for check in json.loads(done.out))


def test_serve_explains_an_engine_that_cannot_be_loaded(run: Run) -> None:
    done = run("serve", "no_such_module:engine")
    assert done.status == 2
    assert "no_such_module" in done.err
    assert run("serve", "no_colon").status == 2


def test_serve_refuses_an_open_server_beyond_loopback(run: Run, tmp_path: Path) -> None:
    done = run("serve", "--open", "--host", "0.0.0.0", "--dir", tmp_path / "data")
    assert done.status == 2
    assert "keys" in done.err
