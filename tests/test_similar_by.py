"""Similar by text, picture, sound, behaviour or all of them, over HTTP; and what is said where there is no vector."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from served import Served, error_of, serving

TITLES = ("Blue ceramic vase", "Blue ceramic bowl", "Steel garden spade", "Steel garden rake", "Wool winter scarf")
PICTURES = ((1.0, 0.0), (0.0, 1.0), (0.9, 0.1), (0.1, 0.9), (-1.0, 0.0))  # i0 looks like i2, i1 like i3


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(Path(tmp_path_factory.mktemp("alike"))) as running:
        records = [{"item_id": f"i{k}", "title": title} for k, title in enumerate(TITLES)]
        assert running.client.post("/v1/items", json=records).status_code == 200
        for k, numbers in enumerate(PICTURES[:4]):
            body = {"vector": list(numbers), "encoder": "eye", "version": "1"}
            assert running.client.put(f"/v1/items/i{k}/vectors/image", json=body).status_code == 200
        now = int(1_000 * time.time())
        events = [
            {"type": "view", "anon_id": f"a{n}", "item_id": item, "ts": now - 60_000 + 1_000 * step}
            for n in range(4)
            for step, item in enumerate(("i0", "i4"))
        ]
        assert running.client.post("/v1/events", json=events).json()["accepted"] == len(events)
        yield running


def ids(served: Served, item: str, by: str) -> list[str]:
    answer = served.client.get(f"/v1/items/{item}/similar", params={"by": by, "n": 3, "shown": "0"})
    assert answer.status_code == 200, answer.text
    return [one["item_id"] for one in answer.json()["items"]]


@pytest.mark.parametrize(("by", "first"), [("text", "i1"), ("image", "i2"), ("behaviour", "i4")])
def test_each_way_has_its_own_nearest(served: Served, by: str, first: str) -> None:
    found = ids(served, "i0", by)
    assert found[0] == first
    assert "i0" not in found


def test_all_ways_together_know_each_of_them(served: Served) -> None:
    assert set(ids(served, "i0", "all")) == {"i1", "i2", "i4"}


def test_reasons_say_what_it_is_like(served: Served) -> None:
    answer = served.client.get("/v1/items/i0/similar", params={"by": "image", "shown": "0"}).json()
    reason: dict[str, Any] = answer["items"][0]["reasons"][0]
    assert (reason["code"], answer["items"][0]["sources"]) == ("similar_to", ["image"])


def test_what_is_gone_is_not_shown(served: Served) -> None:
    assert ids(served, "i1", "image")[0] == "i3"
    assert served.client.put("/v1/items/i3", json={"title": TITLES[3], "availability": "out_of_stock"}).is_success
    assert "i3" not in ids(served, "i1", "image")
    assert served.client.put("/v1/items/i3", json={"title": TITLES[3]}).is_success


def test_an_item_without_a_vector_says_what_to_do(served: Served) -> None:
    answer = served.client.get("/v1/items/i4/similar", params={"by": "image"})
    assert "vectors/image" in error_of(answer, 404)["message"]


def test_a_way_that_does_not_exist_is_refused(served: Served) -> None:
    answer = served.client.get("/v1/items/i0/similar", params={"by": "smell"})
    assert error_of(answer, 400)["field"] == "by"
