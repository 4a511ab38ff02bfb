"""The worked example of the documentation, run as it stands on the page: i1 leads, and time and place move the list."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from endcap.types import Slate

PAGE = Path(__file__).parent.parent / "docs" / "worked-example.md"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    """Everything the page's program defined."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "worked_example"}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


def order(slate: Slate) -> list[str]:
    return [placed.item_id for placed in slate.items]


def test_the_list_leads_with_what_the_stronger_interest_suggests(example: dict[str, Any]) -> None:
    slate: Slate = example["evening_in_beijing"]
    assert set(order(slate)[:2]) == {"a1", "a2"}
    for placed in slate.items[:2]:
        assert "i1" in {reason.item_id for reason in placed.reasons}


def test_what_the_weaker_interest_suggests_follows(example: dict[str, Any]) -> None:
    listed = order(example["evening_in_beijing"])
    assert {"b1", "b2"} <= set(listed)
    assert max(listed.index("a1"), listed.index("a2")) < min(listed.index("b1"), listed.index("b2"))


def test_the_evening_in_beijing_and_the_morning_in_leeds_differ_as_the_crowds_do(example: dict[str, Any]) -> None:
    evening, morning = order(example["evening_in_beijing"]), order(example["morning_in_leeds"])
    assert evening.index("lamp") < evening.index("kettle")
    assert morning.index("kettle") < morning.index("lamp")


def test_the_shopper_leads_in_the_morning_too(example: dict[str, Any]) -> None:
    assert order(example["morning_in_leeds"])[0] in {"a1", "a2"}


def test_the_engine_believes_that_i1_matters_more(example: dict[str, Any]) -> None:
    weights = {item.name: item.weight for item in example["interest"].items}
    assert weights["i1"] > weights["i2"] > 0
