"""docs/walkthrough.md performed as it is written: its commands, its settings, its lines of HTML, a real browser.

Only the installation is left out, and the ports are free ones. ``ENDCAP_SCREENSHOT=1`` also writes the page's picture.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from endcap.bench.served import free_port
from shop_page import NEEDS_CHROMIUM, chromium

playwright = pytest.importorskip("playwright.sync_api", reason="needs the playwright package")
pytestmark = [*NEEDS_CHROMIUM, pytest.mark.slow]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/walkthrough.md"
PICTURE = ROOT / "docs/images/walkthrough-shelf.png"
CLICKS = ["Alarm Clock Bakelike Red", "Lunch Bag Suki Design"]
START_S = 300  # with kernels to compile


class Follower:
    """Somebody who types what the page says, into a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.text = PAGE.read_text("utf-8")
        self.ports = {"8000": str(free_port()), "8080": str(free_port())}
        tools = folder / "bin"
        tools.mkdir()
        for name, call in (("python", ""), ("endcap", " -m endcap.cli")):
            (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{call} "$@"\n')
            (tools / name).chmod(0o755)
        self.environment = {
            **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src"),
            "ENDCAP_SERVER__PORT": self.ports["8080"],
        }  # fmt: skip
        shutil.copytree(ROOT / "docs/examples/shop", folder / "shop")
        for file in [*(folder / "shop").iterdir()]:
            file.write_text(self.at_ports(file.read_text("utf-8")), "utf-8")

    def at_ports(self, text: str) -> str:
        return re.sub("localhost:(8000|8080)", lambda found: f"localhost:{self.ports[found[1]]}", text)

    def blocks(self, language: str) -> list[str]:
        found = re.findall(rf"^```{language}\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)
        return [self.at_ports(one).replace("http.server 8000", f"http.server {self.ports['8000']}") for one in found]

    def command(self, beginning: str) -> str:
        """The block that begins so; each is asked for once, and at the end none may be left."""
        (found,) = [block for block in self.blocks("sh") if block.startswith(beginning)]
        return found

    def run(self, beginning: str, **more: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", self.command(beginning)], cwd=self.folder, env={**self.environment, **more},
            capture_output=True, text=True, timeout=START_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def start(self, beginning: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            script = f"exec {self.command(beginning)}"
            return subprocess.Popen(
                ["bash", "-c", script], cwd=self.folder, env=self.environment, stdout=out, stderr=out
            )

    def edit(self, key: str) -> None:
        """What the page says to do to the shop's page."""
        line, shelf = self.blocks("html")
        file = self.folder / "shop/index.html"
        page = file.read_text("utf-8")
        assert page.count("</head>") == page.count("<!-- shelf -->") == 1
        page = page.replace("</head>", line.replace("pub_YOUR_KEY", key) + "</head>").replace("<!-- shelf -->", shelf)
        file.write_text(page, "utf-8")


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    return Follower(tmp_path)


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)


def waited(log: Path, words: str, process: subprocess.Popen[bytes], page: Any) -> str:
    for _ in range(START_S * 10):
        text = log.read_text("utf-8")
        if words in text:
            return text
        assert process.poll() is None, text
        page.wait_for_timeout(100)
    raise AssertionError(f"{words!r} was not said: {text}")


def shelf(page: Any) -> list[str]:
    page.wait_for_selector("[data-endcap-placement] > a")
    return list(page.locator("[data-endcap-placement] > a b").all_inner_texts())


def test_the_walk_through_leads_where_it_says(follower: Follower, tmp_path: Path, running: ExitStack) -> None:
    assert follower.command("python3 -m venv").count("docs/examples/shop") == 1
    (settings,) = follower.blocks("toml")
    (tmp_path / "endcap.toml").write_text(settings, "utf-8")
    assert "refused    │ 0" in follower.run("python shop/move_dates.py")

    browser = running.enter_context(chromium(playwright))
    tab = browser.new_context(viewport={"width": 1040, "height": 640}).new_page()
    complaints: list[str] = []
    tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    running.callback(ended, follower.start("python -m http.server", tmp_path / "shop.log"))
    log = tmp_path / "serve.log"
    engine = follower.start("endcap serve", log)
    running.callback(ended, engine)
    said = waited(log, "listening on", engine, tab)
    (admin,) = re.findall(r"adm_\w+", said)
    waited(log, "20 items, 20 written", engine, tab)
    feeds = follower.run("curl -s localhost", ADMIN=admin)
    assert '"status":"fresh"' in feeds
    assert '"items":20' in feeds

    key = re.findall(r"pub_\w+", follower.run("endcap keys create browser"))[0]
    follower.edit(key)
    address = f"http://localhost:{follower.ports['8000']}"
    tab.goto(address)
    shelves = [shelf(tab)]
    for title in CLICKS:
        tab.locator("article").get_by_role("link", name=title).click()
        tab.wait_for_url("**/?look=*")
        shelves.append(shelf(tab))
    assert [len(one) for one in shelves] == [5, 5, 5]
    assert shelves[0] != shelves[1] != shelves[2]
    assert any("Alarm Clock" in title for title in shelves[1])
    assert any("Lunch Bag" in title for title in shelves[2])
    assert all(" " in why for why in tab.locator("a [data-endcap=why]").all_inner_texts())  # a sentence, no code
    if os.environ.get("ENDCAP_SCREENSHOT"):
        tab.screenshot(path=PICTURE)
    tab.locator("article").get_by_role("button").first.click()

    ask = httpx.Client(
        base_url=f"http://localhost:{follower.ports['8080']}", headers={"authorization": f"Bearer {admin}"}
    )
    running.callback(ask.close)
    visitor = tab.evaluate("endcap.id()")
    for _ in range(100):
        interest = ask.get(f"/v1/users/{visitor}/interest", params={"anon": 1}).json()
        if interest.get("total_events", 0) >= 3:
            break
        tab.wait_for_timeout(100)
    known = [one["name"] for one in interest["items"]]
    assert {"22727", "22383", "22423"} <= set(known), interest

    console = browser.new_context().new_page()
    console.goto(f"http://localhost:{follower.ports['8080']}/console")
    console.locator("input[type=password]").fill(admin)
    console.keyboard.press("Enter")
    console.wait_for_selector("text=22383")

    trained = follower.run("endcap train")
    assert "factors, serves from now on" in trained
    assert "NDCG@20" in trained
    waited(log, "model_swapped", engine, tab)
    restored = follower.run("endcap backup")
    assert "Regency" in restored or "Lunch Bag" in restored, restored
    assert complaints == []


def test_every_command_of_the_page_is_performed(follower: Follower) -> None:
    performed = [
        "python3 -m venv",
        "python shop/move",
        "python -m http",
        "endcap serve",
        "curl",
        "endcap keys",
        "endcap train",
        "endcap backup",
    ]
    assert [block.startswith(beginning) for block, beginning in zip(follower.blocks("sh"), performed, strict=True)] == [
        True
    ] * len(performed)
