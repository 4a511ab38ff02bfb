"""The loop's last arrow over real HTTP: a slate is logged, told, joined, learned from; and who may opt out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from endcap.config import Config, ExploreConfig, FeedbackConfig, PlacementConfig, shop_placements
from endcap.stores.sqlite import SqliteLog
from served import Served, error_of, serving, view

ARMS = {"near": {"sources": ["covisit", "session_knn", "popular"]}, "popular": {"sources": ["popular"]}}


def config(**feedback: object) -> Config:
    tried = PlacementConfig(
        sources=["covisit", "popular"], n=6, arms=ARMS, explore=ExploreConfig(share=0.3, protected=False)
    )
    return Config(
        placements={**shop_placements(), "tried": tried},
        feedback=FeedbackConfig(**feedback),  # type: ignore[arg-type]  # a test's keywords
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("shop"), config=config()) as running:
        items = [{"item_id": f"i{k}", "title": f"Thing {k}", "categories": [["A"]]} for k in range(40)]
        assert running.client.post("/v1/items", json=items).status_code == 200
        running.send(*(view(f"crowd{k % 9}", f"i{(k * 7) % 20}") for k in range(120)))
        yield running


def story(served: Served, request_id: str) -> dict[str, object]:
    answer = served.client.get(f"/v1/requests/{request_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def settle(served: Served) -> None:
    """An acknowledged event stands behind every impression that was submitted before it."""
    served.send(view("settler", "i0"))


def test_a_slate_is_logged_and_its_click_and_purchase_are_joined(served: Served) -> None:
    slate = served.slate(anon_id="ann", placement="tried")
    assert slate["impression"] == "logged"
    assert slate["arm"] in ARMS
    assert 0 < slate["arm_propensity"] <= 1
    first = slate["items"][0]["item_id"]
    click = {
        "type": "click", "anon_id": "ann", "item_id": first, "request_id": slate["request_id"], "placement": "tried",
        "position": 0,
    }  # fmt: skip
    ack = served.send({**click, "event_id": "c1"}, {**click, "event_id": "c1"})
    assert (ack["accepted"], ack["duplicates"]) == (1, 1)
    served.send({"type": "purchase", "anon_id": "ann", "item_id": first, "event_id": "p1"})
    told = story(served, slate["request_id"])
    items = told["items"]
    assert isinstance(items, list)
    assert items[0]["deeds"] == ["click", "purchase"]
    assert all(item["deeds"] == [] for item in items[1:])
    assert [(event["by"], event["event"]["event_id"]) for event in told["events"]] == [  # type: ignore[attr-defined]
        ("request_id", "c1"), ("shopper", "p1"),
    ]  # fmt: skip
    assert told["mature"] is False
    shown = told["impression"]
    assert isinstance(shown, dict)
    assert shown["arm"] == slate["arm"]
    assert shown["versions"]["policy"] == slate["versions"]["policy"]
    assert shown["context_hash"]
    assert shown["items"] == [item["item_id"] for item in slate["items"]]


def test_opting_out_is_possible_and_said(served: Served) -> None:
    query = {"anon_id": "ann", "placement": "tried"}
    quiet = served.client.post("/v1/recommend?shown=0", json=query).json()
    assert quiet.get("impression", "not_asked") == "not_asked"
    ahead = served.client.post("/v1/recommend", json=query, headers={"sec-purpose": "prefetch"}).json()
    assert ahead["impression"] == "prefetch"
    for slate in (quiet, ahead):
        assert slate["arm_propensity"] == 1.0, "nothing is drawn for a slate that nobody logs"
        assert all(item.get("rank") is None for item in slate["items"])
        settle(served)
        error = error_of(served.client.get(f"/v1/requests/{slate['request_id']}"), 404)
        assert "shown=0" in error["message"]


def test_a_machine_is_not_a_shopper(served: Served) -> None:
    served.send(*(view("robot", f"i{k % 40}", event_id=f"bot{k}") for k in range(90)))
    assert served.slate(anon_id="robot")["impression"] == "bot"


def test_exploration_is_told_with_its_probability(served: Served) -> None:
    moved = 0
    for k in range(60):
        slate = served.slate(anon_id=f"visitor{k}", placement="tried")
        for at, item in enumerate(slate["items"]):
            assert 0 < item["propensity"] <= 1
            if item.get("rank") is not None:
                moved += 1
                assert item["rank"] != at
                assert item["propensity"] < 0.5
    assert moved > 10


def test_feedback_that_overtakes_its_slate_or_names_nonsense_is_kept_and_counted(served: Served) -> None:
    slate = served.slate(anon_id="zoe", placement="tried")
    there = {item["item_id"] for item in slate["items"]}
    absent = next(f"i{k}" for k in range(40) if f"i{k}" not in there)
    settle(served)
    before = served.client.get("/v1/placements/tried/feedback").json()["joined"]
    ack = served.send(
        {"type": "click", "anon_id": "zoe", "item_id": absent, "request_id": slate["request_id"]},
        {"type": "click", "anon_id": "zoe", "item_id": "elsewhere", "request_id": "no such request"},
        {"type": "click", "anon_id": "zoe", "item_id": slate["items"][1]["item_id"], "position": 5,
         "request_id": slate["request_id"]},
    )  # fmt: skip
    assert ack["accepted"] == 3
    after = served.client.get("/v1/placements/tried/feedback").json()["joined"]
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        "not_on_slate": 1, "waiting": 1, "by_request": 1, "moved": 1,
    }  # fmt: skip
    error = error_of(served.client.get("/v1/placements/tride/feedback"), 404)
    assert "did you mean 'tried'" in error["message"]
    refused = served.send({"type": "click", "anon_id": "zoe", "item_id": "i1", "position": -1})
    assert refused["rejected"][0]["field"] == "position"


def test_a_placement_tells_what_it_learned(served: Served) -> None:
    for k in range(30):
        slate = served.slate(anon_id=f"buyer{k}", placement="tried", context={"device": "mobile"})
        if slate["items"]:
            served.send({
                "type": "click", "anon_id": f"buyer{k}", "item_id": slate["items"][0]["item_id"],
                "request_id": slate["request_id"],
            })  # fmt: skip
    told = served.client.get("/v1/placements/tried/feedback").json()
    assert {arm["arm"] for arm in told["arms"]} == set(ARMS)
    assert sum(arm["slates"] for arm in told["arms"]) > 20
    assert told["positions"][0]["clicks"] >= 30
    assert told["immature"] == told["slates"] > 30
    explained = served.client.post(
        "/v1/recommend?shown=0", json={"anon_id": "buyer1", "placement": "tried", "explain": True}
    ).json()
    chances = explained["explanation"]["click_probability"]
    assert len(chances) == len(explained["items"])
    assert all(0 <= chance <= 1 for chance in chances)


def test_the_metrics_count_what_was_joined(served: Served) -> None:
    text = served.client.get("/metrics").text
    joined = [line for line in text.splitlines() if line.startswith("endcap_feedback_by_request ")]
    assert float(joined[0].split()[1]) > 0


def test_a_slate_that_waits_for_the_log_is_in_it_when_it_arrives(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("careful"), config=config(wait_for_log=True)) as careful:
        careful.send(*(view(f"crowd{k % 5}", f"i{k % 9}") for k in range(40)))
        for k in range(20):
            slate = careful.slate(anon_id=f"a{k}")
            assert slate["impression"] == "logged"
            assert story(careful, slate["request_id"])["request_id"] == slate["request_id"]


def test_slates_that_linger_are_logged_by_a_stop_and_by_themselves(tmp_path: Path) -> None:
    with serving(tmp_path, config=config()) as stopped:
        stopped.send(*(view(f"crowd{k % 5}", f"i{k % 9}") for k in range(40)))
        alone = stopped.slate(anon_id="a")["request_id"]
        deadline = time.monotonic() + 10
        while stopped.client.get(f"/v1/requests/{alone}").status_code == 404:
            assert time.monotonic() < deadline, "an impression waits for ever"
            time.sleep(0.002)
        ids = [stopped.slate(anon_id=f"a{k}")["request_id"] for k in range(100)]
    log = SqliteLog(tmp_path / "endcap.db")
    assert all(log.find(f"imp:{request_id}") is not None for request_id in ids)
    log.close()


def test_a_slate_that_lingers_does_not_outlive_the_person(tmp_path: Path) -> None:
    with serving(tmp_path, config=config()) as shop:
        shop.send(*(view(f"crowd{k % 5}", f"i{k % 9}") for k in range(40)), view("gone", "i1"))
        for _ in range(5):
            request_id = shop.slate(anon_id="gone")["request_id"]
        erased = shop.client.delete("/v1/users/gone?anon=1")
        assert erased.status_code == 200
        assert erased.json()["n_events"] == 6
        shop.send(view("crowd1", "i2"))
    log = SqliteLog(tmp_path / "endcap.db")
    assert log.find(f"imp:{request_id}") is None
    assert log.events_of(None, ["gone"]) == []
    log.close()


def test_the_arm_of_the_config_that_cannot_be_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    from endcap.engine import Engine
    from endcap.errors import ConfigError

    for arms, words in (({"a": {"sorces": ["popular"]}}, "did you mean"), ({"a": {"arms": {}}}, "belongs to")):
        broken = msgspec.structs.replace(Config(), placements={"home": PlacementConfig(sources=["popular"], arms=arms)})
        with pytest.raises(ConfigError, match=words):
            Engine.open(tmp_path_factory.mktemp("broken"), broken)
