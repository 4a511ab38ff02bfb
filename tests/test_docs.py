"""The documentation is true: examples run, generated pages are current, nothing points nowhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from endcap.config import CleanConfig, Config
from endcap.preprocess.validate import validate
from endcap.types import ACTION_WEIGHT, ACTIONS, ITEM_ACTIONS, Ack, Context, Interaction, Refusal, RungName

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md"])
NOW = 1_790_000_000_000


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of one language; the line after the language may carry a title."""
    return re.findall(rf"^```{language}(?: [^\n]*)?\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def generator() -> Any:
    """tools/make_docs.py as a module."""
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["configuration.md", "http.md"])
def test_a_page_made_from_code_is_current(name: str) -> None:
    written = (DOCS / name).read_text("utf-8")
    assert written == generator().PAGES[name](), "run: python tools/make_docs.py"


def test_every_setting_has_a_sentence() -> None:
    for name, (_, entries) in generator().settings_of((ROOT / "src/endcap/config.py").read_text("utf-8")).items():
        if name != "Config":
            assert not [entry for entry, _, comment in entries if not comment and entry != "items"], name


def event_examples() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for text in blocks(DOCS / "events.md", "json"):
        value = msgspec.json.decode(text)
        if isinstance(value, dict) and "accepted" in value:
            continue
        found += value.get("events", [value])
    return found


@pytest.mark.parametrize("example", event_examples(), ids=lambda example: str(example["type"]))
def test_an_event_of_the_events_page_is_accepted(example: dict[str, Any]) -> None:
    known = set(Interaction.__struct_fields__)
    assert set(example) <= known, "an example must not show a field that does not exist"
    assert set(example.get("context", {})) <= set(Context.__struct_fields__)
    event = msgspec.convert(example, Interaction)
    checked = validate(event, now=NOW, config=CleanConfig(), index=0)
    assert not isinstance(checked, Refusal), checked
    assert checked.ts == NOW


def test_the_events_page_shows_an_acknowledgement_that_exists() -> None:
    (answer,) = [text for text in blocks(DOCS / "events.md", "json") if '"accepted"' in text]
    assert set(msgspec.json.decode(answer)) <= set(Ack.__struct_fields__)
    msgspec.json.decode(answer, type=Ack)


def test_the_events_page_names_every_field_and_type_with_its_weight() -> None:
    text = (DOCS / "events.md").read_text("utf-8")
    missing = [name for name in Interaction.__struct_fields__ if f"| `{name}` |" not in text]
    assert not missing
    for code, name in enumerate(ACTIONS):
        row = next(line for line in text.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1])
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1] == ("yes" if name in ITEM_ACTIONS else "no"), name
        names = re.findall(r"`(\w+)`", cells[0])
        weights = [int(weight) for weight in re.findall(r"-?\d+", cells[2].split(";")[0])]
        expected = weights[names.index(name)] if len(weights) == len(names) else weights[0]
        assert expected == int(ACTION_WEIGHT[code]), name


def test_the_operating_page_names_every_rung_in_order() -> None:
    text = (DOCS / "operating.md").read_text("utf-8")
    rungs = re.findall(r"^\| `(\w+)` \|", text[text.index("## The ladder") :], re.MULTILINE)
    assert rungs == list(RungName.__args__)


@pytest.mark.parametrize("page", [DOCS / "index.md", ROOT / "README.md"], ids=lambda page: page.name)
def test_a_python_example_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    examples = blocks(page, "python")
    assert examples
    for code in examples:
        exec(compile(code, page.name, "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.strip() not in ("", "[]")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_or_picture_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def anchors(page: Path) -> set[str]:
    """Heading anchors as the site makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def test_files_named_in_the_loop_exist() -> None:
    text = (DOCS / "the-loop.md").read_text("utf-8")
    for row in re.findall(r"^\| \d \|.*$", text, re.MULTILINE):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        room = ROOT / cells[2].strip("`")
        assert room.is_dir(), room
        for name in re.findall(r"`([\w/]+\.py)`", cells[4]):
            assert (room / name).exists() or (ROOT / "src/endcap" / name).exists(), name


def test_settings_named_in_prose_exist() -> None:
    known = {f"{section}.{field.name}" for section in Config.__struct_fields__ for field in struct_fields(section)}
    sections = {name.split(".")[0] for name in known}
    for page in PAGES:
        for name in re.findall(r"`([a-z_]+\.[a-z_]+)(?: =[^`]*)?`", page.read_text("utf-8")):
            if name.split(".")[0] in sections and not name.endswith((".py", ".md", ".db", ".json", ".toml")):
                assert name in known, f"{page.name}: {name}"


def struct_fields(section: str) -> tuple[Any, ...]:
    """Fields of one section of the settings."""
    default = getattr(Config(), section)
    return msgspec.structs.fields(default) if isinstance(default, msgspec.Struct) else ()


def test_paths_named_in_prose_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`((?:src|tests|tools|docs|benchmarks)/[\w./-]+)`", page.read_text("utf-8")):
            assert (ROOT / name).exists(), f"{page.name}: {name}"
