"""The walk-through of docs/operating.md, command by command, on a real data directory with a server that runs."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from served import serving, view

PAGE = Path(__file__).parent.parent / "docs/operating.md"


def walked() -> list[str]:
    """The commands of the section that need no root, without what cron needs."""
    text = PAGE.read_text("utf-8")
    section = text[text.index("## Backup and restore") : text.index("## Forgetting a person")]
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.startswith("endcap ")]


def test_a_backup_serves_the_same_lists_beside_the_server_it_was_taken_from(tmp_path: Path) -> None:
    program = tmp_path / "bin/endcap"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m endcap.cli "$@"\n')
    program.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    (tmp_path / "backups").mkdir()
    own = {"/var/lib": str(tmp_path), "/backups": str(tmp_path / "backups"), "8081": str(port)}

    def command(line: str) -> list[str]:
        for old, new in own.items():
            line = line.replace(old, new)
        return ["sh", "-ec", f"exec {line}"]

    *commands, last = walked()
    assert [line.split()[1] for line in commands] == ["backup", "restore", "doctor", "keys"]
    key = ""
    with serving(tmp_path / "endcap") as running:
        running.send(*(view(f"a{n % 5}", f"i{n % 7}", event_id=f"e{n}") for n in range(60)))
        before = running.slate(anon_id="a0", ts=0)
        for line in commands:
            done = subprocess.run(command(line), env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            key = done.stdout.strip()
        offset = running.engine.offset
        restored = subprocess.Popen(command(last), env=environment, stderr=subprocess.DEVNULL)
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {key}"}
            ) as client:
                deadline = time.monotonic() + 120
                while True:
                    try:
                        ready = client.get("/health/ready").json()
                        break
                    except httpx.TransportError:
                        assert restored.poll() is None
                        assert time.monotonic() < deadline
                        time.sleep(0.05)
                after = client.post("/v1/recommend", json={"anon_id": "a0"}).json()
                repeated = client.post("/v1/events", json=view("a0", "i0", event_id="e0")).json()
        finally:
            restored.terminate()
            assert restored.wait(60) == 0
    assert 60 <= ready["offset"] <= offset
    assert [placed["item_id"] for placed in after["items"]] == [placed["item_id"] for placed in before["items"]]
    assert repeated["duplicates"] == 1, "what is sent again after a restore counts once"
