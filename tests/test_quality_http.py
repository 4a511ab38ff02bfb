"""What the console reads of the catalogue and of evaluations: search, facts of an item, the quality report, reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from endcap.evaluation import saved
from served import Served, error_of, serving, view

DAY_MS = 86_400_000

ITEMS: list[dict[str, Any]] = [
    {"item_id": "mug-1", "title": "Blue mug", "brand": "North", "categories": [["Mugs"]], "price": 5,
     "image_urls": ["https://shop.example/1.png"], "gtin": "400"},
    {"item_id": "mug-2", "title": "Red MUG", "brand": "South", "categories": [["Mugs"]], "price": 6, "gtin": "400"},
    {"item_id": "mug-3", "title": "  ", "brand": "North", "price": 6, "list_price": 4, "stock_qty": 0},
    {"item_id": "pot", "title": "Straße pot", "updated_at": 1},
    {"item_id": "pot-s", "title": "A pot", "group_id": "g", "brand": "B"},
    {"item_id": "pot-l", "title": "A pot", "group_id": "g", "brand": "B"},
    {"item_id": "dup-1", "title": "Same  thing", "brand": "B"},
    {"item_id": "dup-2", "title": "same thing", "brand": "B"},
]  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("quality"), keys=True) as running:
        running.client.headers.update(running.headers("admin"))
        assert running.client.post("/v1/items", json=ITEMS).json()["accepted"] == len(ITEMS)
        running.send(view("a", "mug-1"), view("a", "mug-1"), view("b", "unheard-of"))
        running.send({"type": "gaze", "anon_id": "a"})
        running.send({"type": "cart_add", "anon_id": "b", "item_id": "mug-1"})
        vector = {"vector": [1, 0], "encoder": "e", "version": "1"}
        assert running.client.put("/v1/items/mug-1/vectors/image", json=vector).status_code == 200
        yield running


def found(served: Served, **ask: Any) -> list[str]:
    answer = served.client.get("/v1/items", params=ask)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


@pytest.mark.parametrize(("words", "wanted"), [
    ("mug", ["mug-1", "mug-2", "mug-3"]),  # in a title whatever its case, or how the id begins
    ("north", ["mug-1", "mug-3"]),
    ("mug blue", ["mug-1"]),  # every word, in any order
    ("MUG-2", ["mug-2"]),
    ("ug-2", []),  # an id is matched from its beginning
    ("STRASSE", ["pot"]),
    ("north south", []),
    ("   ", []),
])  # fmt: skip
def test_a_search_finds_words_of_title_and_brand_and_beginnings_of_ids(
    served: Served, words: str, wanted: list[str]
) -> None:
    assert found(served, q=words) == wanted


def test_a_search_goes_on_a_page_at_a_time(served: Served) -> None:
    first = served.client.get("/v1/items", params={"q": "mug", "n": 2}).json()
    assert [item["item_id"] for item in first["items"]] == ["mug-1", "mug-2"]
    last = served.client.get("/v1/items", params={"q": "mug", "n": 2, "after": first["next"]}).json()
    assert [item["item_id"] for item in last["items"]] == ["mug-3"]
    assert "next" not in last


def test_a_search_of_a_large_catalogue_is_cut_and_can_be_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endcap.server.catalogue.READ_AT_MOST", 400)
    with serving(tmp_path) as small:
        items = [{"item_id": f"k{k}", "title": "needle" if k == 777 else "hay"} for k in range(900)]
        assert small.client.post("/v1/items", json=items).json()["accepted"] == 900
        after, pages, hits = "", 0, []
        while True:
            page = small.client.get("/v1/items", params={"q": "needle", **({"after": after} if after else {})}).json()
            pages, hits = pages + 1, hits + [item["item_id"] for item in page["items"]]
            if "next" not in page:
                break
            after = page["next"]
        assert (hits, pages) == (["k777"], 3)


def test_facts_of_an_item_are_its_counts_status_and_vectors(served: Served) -> None:
    facts = served.client.get("/v1/items/mug-1/facts").json()
    assert facts["title"] == "Blue mug"
    assert (facts["status"], facts["on_sale"], facts["vectors"]) == ("listed", True, ["image"])
    assert facts["counts"]["seen"]["7d"] == pytest.approx(1.0, abs=0.01)  # a shopper counts once an hour
    assert facts["counts"]["wanted"]["1h"] == pytest.approx(1.0, abs=0.1)
    assert facts["counts"]["bought"] == {"1h": 0.0, "6h": 0.0, "1d": 0.0, "7d": 0.0}
    assert facts["first_seen"] > 1_700_000_000_000
    assert served.client.get("/v1/items/mug-3/facts").json()["on_sale"] is False
    unlisted = served.client.get("/v1/items/unheard-of/facts").json()
    assert (unlisted["status"], unlisted["title"]) == ("unlisted", None)
    error_of(served.client.get("/v1/items/nowhere/facts"), 404)


def test_the_quality_report_counts_what_is_missing_twice_there_or_unknown(served: Served) -> None:
    report = served.client.get("/v1/quality").json()
    assert (report["listed"], report["unlisted"], report["deleted"]) == (8, 1, 0)
    findings = {one["code"]: (one["n"], one["examples"]) for one in report["findings"]}
    assert findings["unlisted"] == (1, ["unheard-of"])
    assert findings["no_title"] == (1, ["mug-3"])
    assert findings["no_picture"] == (7, [item["item_id"] for item in ITEMS[1:]])
    assert findings["no_price"] == (5, ["pot", "pot-s", "pot-l", "dup-1", "dup-2"])
    assert findings["no_category"][0] == 6
    assert findings["no_brand"] == (1, ["pot"])
    assert findings["price_above_list"] == findings["in_stock_with_none"] == (1, ["mug-3"])
    assert findings["duplicate"] == (2, ["mug-2", "dup-2"])  # one GTIN; one title and brand; a group is no duplicate
    assert findings["stale"] == (1, ["pot"])
    assert findings["without_events"] == (7, [item["item_id"] for item in ITEMS[1:]])
    assert report["refused"] == {"unknown_type": 1}
    assert all(one["n"] <= one["of"] for one in report["findings"])


def test_a_price_far_from_its_category_is_named(tmp_path: Path) -> None:
    with serving(tmp_path) as shop:
        items = [{"item_id": f"m{k}", "categories": [["Mugs"]], "price": 5 + k % 3} for k in range(60)]
        shop.client.post("/v1/items", json=[*items, {"item_id": "typo", "categories": [["Mugs"]], "price": 59900}])
        findings = {one["code"]: one for one in shop.client.get("/v1/quality").json()["findings"]}
        assert findings["price_far"]["examples"] == ["typo"]


def verdict(name: str = "shop") -> dict[str, Any]:
    return {
        "data": {"name": name}, "protocol": "prequential", "target": "next", "targets": 7,
        "models": {"hybrid": {"hr@20": 0.5}},
    }  # fmt: skip


def test_reports_are_listed_newest_first_and_shown(served: Served) -> None:
    directory = served.engine.directory
    assert directory is not None
    assert served.client.get("/v1/reports").json()["reports"] == []
    assert f"--save {directory}" in served.client.get("/v1/reports").json()["command"]
    saved.save(directory, verdict(), "endcap evaluate --data a", 1_000)
    saved.save(directory, verdict("/tmp/../my shop.csv"), "endcap evaluate --data b", 2_000)
    (directory / "reports" / "broken.json").write_text("{")
    lines = served.client.get("/v1/reports").json()["reports"]
    assert [(one["data"], one["saved_at"], one["hr20"]) for one in lines[:2]] == [
        ("/tmp/../my shop.csv", 2_000, 0.5), ("shop", 1_000, 0.5),
    ]  # fmt: skip
    assert "truncated" in lines[2]["error"]
    report = served.client.get(f"/v1/reports/{lines[0]['name']}").json()
    assert report["name"] == lines[0]["name"] == "my-shop-prequential-next-2000"
    assert (report["command"], report["verdict"]["targets"]) == ("endcap evaluate --data b", 7)
    assert "cannot be read" in error_of(served.client.get("/v1/reports/broken"), 400)["message"]


@pytest.mark.parametrize(
    "name", ["..%2Fendcap", "..%2F..%2Fetc%2Fpasswd", "none", ".hidden", "a%00b", "%2Fetc%2Fpasswd"]
)
def test_no_name_leads_out_of_the_folder(served: Served, name: str) -> None:
    directory = served.engine.directory
    assert directory is not None
    (directory / "endcap.json").write_bytes(msgspec.json.encode({"secret": 1}))
    assert "secret" not in error_of(served.client.get(f"/v1/reports/{name}"), 404)["message"]


@pytest.mark.parametrize("path", ["/v1/quality", "/v1/reports", "/v1/reports/x", "/v1/users/a/events"])
def test_only_an_admin_key_reads_them(served: Served, path: str) -> None:
    for kind in ("browser", "server", "catalogue", "metrics"):
        error_of(served.client.get(path, headers=served.headers(kind)), 403)
    error_of(served.client.get(path, headers={"authorization": ""}), 401)
