"""README.zh-CN.md keeps step with README.md: the same headings, code, links, list items and figures, in order."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
ENGLISH = (ROOT / "README.md").read_text("utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text("utf-8")
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
FIGURES = re.compile(r"<!-- figures -->\n.*?<!-- /figures -->", re.DOTALL)
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def figures_tool() -> Any:
    spec = importlib.util.spec_from_file_location("figures", ROOT / "tools" / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(text: str) -> str:
    return FIGURES.sub("", FENCED.sub("", text))


def shape(text: str) -> list[str]:
    """What a page is made of, in order: headings by level, list items, pictures, code, table rows."""
    marks = []
    for line in FENCED.sub("```", text).splitlines():
        if found := re.match(r"#+ |\* |!\[|```|<!-- /?figures -->|\|", line):
            marks.append(found.group())
    return marks


def links(text: str) -> list[str]:
    return sorted(re.findall(r"\]\(([^)\s]+)\)", prose(text)))


def code_spans(text: str) -> list[str]:
    return sorted(re.findall(r"`([^`\n]+)`", prose(text)))


def test_each_leads_to_the_other_at_its_top() -> None:
    assert "](README.zh-CN.md)" in ENGLISH.split("\n## ")[0]
    assert "](README.md)" in CHINESE.split("\n## ")[0]


def test_headings_lists_tables_and_pictures_come_in_the_same_order() -> None:
    assert shape(CHINESE) == shape(ENGLISH)
    assert len(re.findall("^## ", CHINESE, re.MULTILINE)) > 4


def test_code_is_the_same() -> None:
    assert FENCED.findall(CHINESE) == FENCED.findall(ENGLISH)
    assert code_spans(CHINESE) == code_spans(ENGLISH)


def test_links_lead_to_the_same_places() -> None:
    assert [link for link in links(CHINESE) if link != "README.md"] == [
        link for link in links(ENGLISH) if link != "README.zh-CN.md"
    ]


def test_figures_are_the_same() -> None:
    english, chinese = FIGURES.findall(ENGLISH), FIGURES.findall(CHINESE)
    assert len(english) == len(chinese) == 1
    assert figures_tool().translated(english[0]) == chinese[0], "run: python tools/figures.py --translate"
    for ours, theirs in zip(rows(english[0]), rows(chinese[0]), strict=True):
        assert [NUMBER.findall(cell) for cell in ours[1:3]] == [NUMBER.findall(cell) for cell in theirs[1:3]]
        assert ours[3] == theirs[3]


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "`endcap" in line]


def test_every_row_the_benchmark_can_write_has_its_chinese() -> None:
    tool = figures_tool()
    assert {sentence for _, sentence, _, _ in tool.ROWS} == set(tool.SENTENCES_ZH)
    with pytest.raises(KeyError, match="SENTENCES_ZH"):
        tool.translated("| something new | 1 | 2 | `endcap bench serve` |")


def test_it_is_chinese() -> None:
    """No line of prose was left in English."""
    left = [line for line in prose(CHINESE).splitlines() if len(line) > 40 and not re.search(r"[\u4e00-\u9fff]", line)]
    assert left == []
