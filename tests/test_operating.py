"""The walk-through of docs/operating.md, command by command, on a real data directory with a server that runs."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from endcap.cli import main
from served import serving, view

PAGE = Path(__file__).parent.parent / "docs/operating.md"


def walked() -> list[list[str]]:
    """The commands of the section that need no root, without what a timer runs."""
    text = PAGE.read_text("utf-8")
    section = text[text.index("## Backup and restore") : text.index("## Forgetting a person")]
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.startswith("endcap ")]


def test_a_backup_serves_the_same_lists_beside_the_server_it_was_taken_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "backups").mkdir()
    *commands, serve = walked()
    assert [command[1] for command in commands] == ["backup", "restore", "doctor", "keys"]
    with serving(tmp_path / "endcap") as running:
        running.send(*(view(f"a{n % 5}", f"i{n % 7}", event_id=f"e{n}") for n in range(60)))
        before = running.slate(anon_id="a0")
        for command in commands:
            words = [re.sub("^(/var/lib|(?=/backups))", str(tmp_path), word) for word in command]
            monkeypatch.setattr(sys, "argv", words)
            with pytest.raises(SystemExit) as ended:
                main()
            printed, said = capsys.readouterr()
            assert ended.value.code in (0, None), said
        key = {"authorization": f"Bearer {printed.strip()}"}
        restored = tmp_path / Path(serve[serve.index("--dir") + 1]).name
        assert serve[1] == "serve"
        with serving(restored, keys=True) as copy:  # beside the other, which still runs
            assert 60 <= copy.engine.offset <= running.engine.offset
            after = copy.client.post("/v1/recommend", json={"anon_id": "a0"}, headers=key).json()
            repeated = copy.send(view("a0", "i0", event_id="e0"), headers=key)
    assert [placed["item_id"] for placed in after["items"]] == [placed["item_id"] for placed in before["items"]]
    assert repeated["duplicates"] == 1, "what is sent again after a restore counts once"
