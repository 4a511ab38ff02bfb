"""A deleted tag of interest leaves the profile, the next list and every restart; what was hidden stays hidden."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from endcap.config import Config
from endcap.engine import Engine
from endcap.types import ActionName, Event, Interaction, InterestChange, Item, Query, TagName
from served import Served, error_of, serving

BRANDS = ("North", "South")


def shop() -> list[Item]:
    return [
        Item(item_id=f"{brand}{k}", title=f"{brand} {k}", brand=brand, categories=[["House > Home", brand]], price=10)
        for brand in BRANDS
        for k in range(8)
    ]


def crowd() -> list[Event]:
    """Visitors who stay within one brand, so that the brand of a history decides what is proposed."""
    return [
        Interaction(type="view", event_id=f"c{n}-{k}", anon_id=f"crowd{n}", item_id=f"{BRANDS[n % 2]}{(n + k) % 8}",
                    ts=at, received_at=at)
        for n in range(40) for k in range(4) for at in [1_760_000_000_000 + n * 100_000 + k * 1_000]
    ]  # fmt: skip


def touched(*items: str, who: str = "ann", action: ActionName = "view", start: int = 0) -> list[Event]:
    begin = 1_760_005_000_000 + start * 60_000
    return [
        Interaction(type=action, event_id=f"{who}{start}{k}", user_id=who, item_id=item, ts=at, received_at=at)
        for k, item in enumerate(items) for at in [begin + k * 9_000]
    ]  # fmt: skip


def removal(tag: TagName, name: str, number: int = 0, who: str = "ann") -> InterestChange:
    return InterestChange(event_id=f"t{number}", ts=1_760_005_900_000, tag=tag, name=name, user_id=who)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    with Engine.open(tmp_path, Config()) as engine:
        engine.put_items(shop())
        engine.observe([*crowd(), *touched("North0", "North1", "South0", "North2")])
    return tmp_path


def brands_of(engine: Engine, who: str = "ann") -> dict[str, float]:
    return {one.name: one.weight for one in engine.interest(who).brands}


NOW = 1_760_006_000_000


def listed(engine: Engine) -> list[str]:
    return [one.item_id for one in engine.recommend(Query(user_id="ann", n=5, ts=NOW)).items]


def test_a_deleted_brand_leaves_the_profile_the_list_and_the_next_start(directory: Path) -> None:
    with Engine.open(directory, Config()) as engine:
        assert set(brands_of(engine)) == {"North", "South"}
        before = listed(engine)
        engine.observe([removal("brand", "North")])
        assert set(brands_of(engine)) == {"South"}
        assert [one.name for one in engine.interest("ann").items] == ["South0"]
        after = listed(engine)
        assert before != after
        assert sum(item.startswith("South") for item in after) > sum(item.startswith("South") for item in before)
        state = engine.state_hash()
    with Engine.open(directory, Config()) as engine:  # from the snapshot
        assert engine.state_hash() == state
        assert listed(engine) == after
        engine.rebuild()  # from the log alone
        assert engine.state_hash() == state
        assert listed(engine) == after


def test_a_list_after_deleting_is_that_of_a_shopper_who_never_showed_the_interest(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "a", Config()) as one, Engine.open(tmp_path / "b", Config()) as other:
        for engine, items in ((one, ("North0", "South0", "North1")), (other, ("South0",))):
            engine.put_items(shop())
            engine.observe([*crowd(), *touched(*items)])
        one.observe([removal("category", "House > Home > North")])
        theirs, own = one.interest("ann"), other.interest("ann")
        assert [entry.name for entry in theirs.items] == [entry.name for entry in own.items] == ["South0"]
        assert (theirs.brands, theirs.price_level, theirs.total_events) == (own.brands, own.price_level, 1)


def test_only_the_item_itself_goes_when_an_item_is_deleted(directory: Path) -> None:
    with Engine.open(directory, Config()) as engine:
        engine.observe([removal("item", "North1")])
        assert {one.name for one in engine.interest("ann").items} == {"North0", "North2", "South0"}
        engine.observe([removal("item", "never-heard-of", 1), removal("brand", "nobody's", 2)])
        assert len(engine.interest("ann").items) == 3


def test_what_was_hidden_stays_hidden_and_the_interest_may_come_back(directory: Path) -> None:
    with Engine.open(directory, Config()) as engine:
        engine.observe([*touched("North3", action="hide", start=1), removal("brand", "North")])
        assert engine.interest("ann").total_events == 2  # the view of South0 and the refusal
        for _ in range(3):
            assert "North3" not in [one.item_id for one in engine.recommend(Query(user_id="ann", n=16, ts=NOW)).items]
        engine.observe(touched("North5", "North6", action="cart_add", start=2))
        assert "North" in brands_of(engine)


def test_nobody_else_loses_an_interest(directory: Path) -> None:
    with Engine.open(directory, Config()) as engine:
        engine.observe(touched("North0", "North1", who="bob"))
        before = engine.interest("bob").items
        engine.observe([removal("brand", "North"), removal("brand", "North", 1, who="nobody-known")])
        assert [one.name for one in engine.interest("bob").items] == [one.name for one in before]


# ---------------------------------------------------------------- over HTTP


@pytest.fixture
def served(directory: Path) -> Iterator[Served]:
    with serving(directory, keys=True) as found:
        yield found


def test_the_route_deletes_a_tag_and_answers_with_the_interest_that_is_left(served: Served) -> None:
    admin = served.headers("admin")
    seen = served.client.get("/v1/users/ann/interest", headers=admin).json()
    assert {one["name"] for one in seen["brands"]} == {"North", "South"}
    left = served.client.delete("/v1/users/ann/interest", params={"tag": "brand", "name": "North"}, headers=admin)
    assert left.status_code == 200, left.text
    assert {one["name"] for one in left.json()["brands"]} == {"South"}
    assert left.json()["offset"] == served.engine.offset
    again = served.client.delete("/v1/users/ann/interest", params={"tag": "brand", "name": "North"}, headers=admin)
    assert "no brand 'North'" in error_of(again, 404)["message"]


def test_the_route_refuses_what_is_no_tag_and_who_may_not(served: Served) -> None:
    admin = served.headers("admin")
    ask = served.client.delete
    assert error_of(ask("/v1/users/ann/interest", headers=admin), 400)["field"] == "tag"
    wrong = ask("/v1/users/ann/interest", params={"tag": "colour", "name": "red"}, headers=admin)
    assert "category, brand, item" in error_of(wrong, 400)["message"]
    assert error_of(ask("/v1/users/ann/interest", params={"tag": "brand"}, headers=admin), 400)["field"] == "name"
    for kind in ("browser", "catalogue", "metrics"):
        answer = ask("/v1/users/ann/interest", params={"tag": "brand", "name": "North"}, headers=served.headers(kind))
        error_of(answer, 403)
    error_of(ask("/v1/users/ann/interest", params={"tag": "brand", "name": "North"}), 401)


def test_an_anonymous_visitor_has_tags_too_and_erasing_takes_the_deletion_along(served: Served) -> None:
    admin = served.headers("admin")
    served.send({"type": "view", "anon_id": "v", "item_id": "North0"}, headers=admin)
    left = served.client.delete(
        "/v1/users/v/interest", params={"tag": "item", "name": "North0", "anon": "1"}, headers=admin
    )
    assert left.json()["items"] == []
    events = served.client.get("/v1/users/v/events", params={"anon": "1"}, headers=admin).json()["events"]
    assert [one["event"]["kind"] for one in events] == ["interest", "interaction"]
    receipt = served.client.delete("/v1/users/v", params={"anon": "1"}, headers=admin).json()
    assert receipt["n_events"] == 2
    assert served.client.get("/v1/users/v/events", params={"anon": "1"}, headers=admin).json() == {"events": []}


def test_the_timeline_is_newest_first_a_page_at_a_time(served: Served) -> None:
    admin, ask = served.headers("admin"), served.client.get
    first = ask("/v1/users/ann/events", params={"n": 3}, headers=admin).json()
    assert [one["event"]["item_id"] for one in first["events"]] == ["North2", "South0", "North1"]
    rest = ask("/v1/users/ann/events", params={"n": 3, "before": first["next"]}, headers=admin).json()
    assert [one["event"]["item_id"] for one in rest["events"]] == ["North0"]
    assert "next" not in rest
    error_of(ask("/v1/users/ann/events", headers=served.headers("server")), 403)


def test_an_anonymous_visitors_events_join_the_timeline_of_whom_they_turn_out_to_be(served: Served) -> None:
    admin = served.headers("admin")
    served.send({"type": "view", "anon_id": "w", "item_id": "South1"}, headers=admin)
    served.send({"type": "view", "anon_id": "w", "user_id": "ann", "item_id": "South2"}, headers=admin)
    events = served.client.get("/v1/users/ann/events", params={"n": 2}, headers=admin).json()["events"]
    assert [one["event"]["item_id"] for one in events] == ["South2", "South1"]
    copy = served.client.get("/v1/users/w/export", params={"anon": "1"}, headers=admin).json()
    assert [one["item_id"] for one in copy["events"]] == ["South1"]
