"""The HTTP interface over real sockets: a click is in the next answer, every id survives its address, limits hold."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from served import Served, error_of, serving, view


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("http"), behind_wait_ms=50) as running:
        for shopper in range(6):
            for item in ("lamp", "shade", "bulb"):
                running.send(view(f"crowd{shopper}", item))
        yield running


# ---------------------------------------------------------------- the loop


def test_an_acknowledged_click_is_in_the_very_next_answer(served: Served) -> None:
    before = served.slate(anon_id="newcomer", n=5)
    assert before.get("warmth", "cold") == "cold"  # a field that has its default value is left out
    ack = served.send(view("newcomer", "lamp"))
    assert (ack["accepted"], ack["duplicates"], ack["rejected"], ack["durable"]) == (1, 0, [], True)
    after = served.slate(anon_id="newcomer", n=5, at_least=ack["offset"])
    assert after["offset"] >= ack["offset"]
    assert after["warmth"] == "warm"
    suggested_by = {reason.get("item_id") for placed in after["items"] for reason in placed["reasons"]}
    assert "lamp" in suggested_by


def test_the_same_event_twice_counts_once(served: Served) -> None:
    event = view("twice", "lamp", event_id="only-once")
    assert served.send(event, event)["duplicates"] == 1
    again = served.send(event)
    assert (again["accepted"], again["duplicates"]) == (0, 1)


def test_one_bad_event_costs_the_others_nothing(served: Served) -> None:
    ack = served.send(
        view("mixed", "lamp"), {"type": "gaze", "anon_id": "mixed", "item_id": "lamp"}, view("mixed", "x" * 300)
    )
    assert ack["accepted"] == 1
    assert [(refusal["index"], refusal["code"]) for refusal in ack["rejected"]] == [
        (1, "unknown_type"),
        (2, "too_long"),
    ]
    kept = served.client.get("/v1/quarantine?n=2").json()["records"]
    assert {record["code"] for record in kept} == {"unknown_type", "too_long"}
    assert any("gaze" in record["raw"] for record in kept)
    following = served.client.get("/v1/quarantine", params={"n": 1, "before": kept[0]["id"]}).json()["records"]
    assert following == kept[1:]


@pytest.mark.parametrize(
    "body", [b'[{"type":"view","anon_id":"f","item_id":"lamp"}]', b'{"type":"view","anon_id":"f","item_id":"lamp"}']
)
def test_events_come_as_a_list_or_alone_too(served: Served, body: bytes) -> None:
    answer = served.client.post("/v1/events", content=body)
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 1


def test_an_answer_is_never_older_than_the_offset_asked_for(served: Served) -> None:
    began = time.monotonic()
    answer = served.client.post("/v1/recommend", json={"anon_id": "a", "at_least": 10**9})
    assert error_of(answer, 503)["code"] == "behind"
    assert int(answer.headers["retry-after"]) >= 1
    assert time.monotonic() - began >= 0.05
    assert error_of(served.client.get("/v1/trending?at_least=1000000000"), 503)["code"] == "behind"


def test_a_question_by_address_gets_the_answer_of_the_same_question_by_body(served: Served) -> None:
    query = {"anon_id": "crowd1", "placement": "product", "n": 3, "ts": 1_795_500_000_000}
    by_body = served.slate(**query, items=["lamp"], exclude=["bulb"], context={"region": "Oslo", "device": "mobile"})
    address = {**query, "item": "lamp", "exclude": "bulb", "region": "Oslo", "device": "mobile"}
    by_address = served.client.get("/v1/recommend", params=address).json()
    assert by_body.pop("request_id") != by_address.pop("request_id")
    assert by_body == by_address
    assert "bulb" not in [placed["item_id"] for placed in by_body["items"]]


@pytest.mark.parametrize(("address", "placement"), [
    ("/v1/items/lamp/similar", "similar"),
    ("/v1/items/lamp/bought-together", "bought_together"),
    ("/v1/trending", "trending"),
])  # fmt: skip
def test_named_shelves_answer_with_slates(served: Served, address: str, placement: str) -> None:
    slate = served.client.get(address, params={"n": 2}).json()
    assert slate["placement"] == placement
    assert len(slate["items"]) <= 2
    assert "lamp" not in [placed["item_id"] for placed in slate["items"]] or placement == "trending"


def test_a_shelf_beside_an_item_nobody_knows_is_not_found(served: Served) -> None:
    assert "unheard" in error_of(served.client.get("/v1/items/unheard/similar"), 404)["message"]


def test_a_slate_that_is_shown_as_it_is_becomes_an_impression_in_the_log(served: Served) -> None:
    start = served.engine.offset
    slate = served.client.post("/v1/recommend", json={"anon_id": "crowd1", "n": 3}).json()
    served.send(view("crowd2", "lamp"))
    logged = [stored.event for stored in served.engine.log.read(start, 10)]
    shown = [event for event in logged if getattr(event, "request_id", None) == slate["request_id"]]
    assert [event.items for event in shown] == [[placed["item_id"] for placed in slate["items"]]]


def test_why_not_names_findings(served: Served) -> None:
    answer = served.client.post("/v1/why-not", json={"query": {"anon_id": "nobody-at-all"}, "item_id": "unheard"})
    assert answer.status_code == 200
    body = answer.json()
    assert body["warmth"] == "cold"
    assert all(finding["code"] and finding["message"] for finding in body["findings"])
    assert body["findings"]


# ---------------------------------------------------------------- catalogue and people

ODD_IDS = [
    "a/b", "a/b/similar", "similar", "/", "//", "../../etc/passwd", "a b", "a+b", "100%", "%2F", "?q=1", "#x",
    "a:b", "'; DROP TABLE events;--", '"', "<script>", "\x00", "a\nb", "\u202eltr", "\ufeff", "\u00e9", "e\u0301",
    "\u6771\u4eac", "\U0001f600", "constructor", "__proto__", "*", "$where", "x" * 256, "\u00e9" * 128, "export",
]  # fmt: skip


@pytest.mark.parametrize("item_id", ODD_IDS)
def test_any_text_can_be_an_item_id(served: Served, item_id: str) -> None:
    address = f"/v1/items/{quote(item_id, safe='')}"
    assert served.client.put(address, json={"title": f"t {item_id}"}).json()["accepted"] == 1
    found = served.client.get(address).json()
    assert (found["item_id"], found["title"]) == (item_id, f"t {item_id}")
    assert served.client.get(f"{address}/similar").status_code == 200
    assert served.client.delete(address).status_code == 200
    assert error_of(served.client.get(address), 404)["code"] == "not_found"


def test_ids_that_look_alike_stay_apart(served: Served) -> None:
    for item_id in ("\u00e9", "e\u0301"):
        served.client.put(f"/v1/items/{quote(item_id, safe='')}", json={"title": ascii(item_id)})
    for item_id in ("\u00e9", "e\u0301"):
        assert served.client.get(f"/v1/items/{quote(item_id, safe='')}").json()["title"] == ascii(item_id)


def test_slashes_may_stand_plainly_in_an_address(served: Served) -> None:
    served.client.put("/v1/items/shelf%2Fa%2F1", json={"title": "plain"})
    assert served.client.get("/v1/items/shelf/a/1").json()["item_id"] == "shelf/a/1"
    assert served.client.get("/v1/items/shelf/a/1/similar").json()["placement"] == "similar"


@pytest.mark.parametrize(
    "address", ["/v1/items/%FF", "/v1/items/%ED%A0%80", f"/v1/items/{'x' * 257}", f"/v1/users/{'%C3%A9' * 129}"]
)
def test_an_id_that_is_not_utf8_or_too_long_is_refused(served: Served, address: str) -> None:
    error_of(served.client.get(address), 400)


def test_an_address_without_an_id_is_not_found(served: Served) -> None:
    error_of(served.client.get("/v1/items/"), 404)
    error_of(served.client.get("/v1/items//similar"), 404)


def test_a_patch_changes_only_what_it_names(served: Served) -> None:
    served.client.put("/v1/items/patched", json={"title": "Lamp", "price": 3, "attributes": {"a": "1", "b": "2"}})
    served.client.patch("/v1/items/patched", json={"price": 4.5, "title": None, "attributes": {"b": None, "c": True}})
    assert served.client.get("/v1/items/patched").json() == {
        "item_id": "patched", "price": 4.5, "attributes": {"a": "1", "c": True},
    }  # fmt: skip
    error_of(served.client.patch("/v1/items/never", json={"price": 1}), 404)


def test_patches_at_the_same_time_are_both_kept(served: Served) -> None:
    served.client.put("/v1/items/raced", json={"title": "t"})
    fields = {f"k{n}": "v" for n in range(12)}
    threads = [
        threading.Thread(
            target=served.client.patch, args=("/v1/items/raced",), kwargs={"json": {"attributes": {key: "v"}}}
        )
        for key in fields
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served.client.get("/v1/items/raced").json()["attributes"] == fields


def test_the_id_of_body_and_address_must_agree(served: Served) -> None:
    assert error_of(served.client.put("/v1/items/a", json={"item_id": "b"}), 400)["field"] == "item_id"
    assert error_of(served.client.put("/v1/users/a", json={"user_id": "b"}), 400)["field"] == "user_id"


GOOD_AND_BAD = [
    {"item_id": "bulk1"},
    {"item_id": "bulk2", "price": -1},
    {"title": "no id"},
    {"item_id": "bulk3", "price": 2},
]


@pytest.mark.parametrize("body", [
    json.dumps(GOOD_AND_BAD), json.dumps({"items": GOOD_AND_BAD}), "\n".join(map(json.dumps, GOOD_AND_BAD)),
    "\r\n".join(map(json.dumps, GOOD_AND_BAD)) + "\r\n\r\n",
], ids=["array", "object", "lines", "crlf lines"])  # fmt: skip
def test_bulk_items_are_taken_one_by_one_in_every_shape(served: Served, body: str) -> None:
    ack = served.client.post("/v1/items", content=body).json()
    assert ack["accepted"] == 2
    assert [refusal["index"] for refusal in ack["rejected"]] == [1, 2]
    assert served.client.get("/v1/items/bulk3").json() == {"item_id": "bulk3", "price": 2.0}


def test_one_line_of_json_lines_is_one_item(served: Served) -> None:
    assert served.client.post("/v1/items", content=b'{"item_id":"alone"}\n').json()["accepted"] == 1


def test_the_list_of_items_gives_each_once_page_by_page(served: Served) -> None:
    served.client.post("/v1/items", json=[{"item_id": f"page{n:02d}"} for n in range(7)])
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = served.client.get("/v1/items", params={"n": 3, **after}).json()
        found += [item["item_id"] for item in page["items"]]
        if "next" not in page:
            break
        after = {"after": page["next"]}
    assert len(found) == len(set(found))
    assert {f"page{n:02d}" for n in range(7)} <= set(found)


def test_an_item_out_of_stock_leaves_every_slate_with_the_acknowledgement(served: Served) -> None:
    served.client.put("/v1/items/bulb", json={"title": "Bulb"})
    ack = served.client.patch("/v1/items/bulb", json={"availability": "out_of_stock"}).json()
    for placement in served.server.service.config.placements:
        slate = served.slate(anon_id="crowd3", placement=placement, items=["lamp"], n=50, at_least=ack["offset"])
        assert "bulb" not in [placed["item_id"] for placed in slate["items"]], placement
    served.client.patch("/v1/items/bulb", json={"availability": None})
    assert "bulb" in [placed["item_id"] for placed in served.slate(anon_id="crowd3", n=50)["items"]]


def test_a_person_can_be_read_copied_and_forgotten(served: Served) -> None:
    served.client.put("/v1/users/ann", json={"traits": {"tier": "gold"}})
    served.send(
        {"type": "view", "user_id": "ann", "item_id": "lamp"}, {"type": "view", "user_id": "bob", "item_id": "lamp"}
    )
    assert served.client.get("/v1/users/ann").json()["traits"] == {"tier": "gold"}
    seen = served.client.get("/v1/users/ann/interest").json()
    assert [item["name"] for item in seen["items"]] == ["lamp"]
    assert {"bob"} <= {user["user_id"] for user in served.client.get("/v1/users/ann/similar").json()["users"]}
    copy = served.client.get("/v1/users/ann/export").json()
    assert copy["user"]["user_id"] == "ann"
    assert [event["kind"] for event in copy["events"]] == ["user", "interaction"]
    receipt = served.client.delete("/v1/users/ann").json()
    assert receipt["n_events"] == 2
    assert "ann" not in json.dumps(receipt)
    error_of(served.client.get("/v1/users/ann"), 404)
    error_of(served.client.get("/v1/users/ann/export"), 404)
    assert served.client.get("/v1/users/bob").status_code == 200


def test_an_anonymous_visitor_can_be_read_and_forgotten(served: Served) -> None:
    served.send(view("ghost", "lamp"))
    assert served.client.get("/v1/users/ghost/interest?anon=1").json()["total_events"] == 1
    served.client.delete("/v1/users/ghost?anon=1")
    assert served.client.get("/v1/users/ghost/interest?anon=1").json()["total_events"] == 0


# ---------------------------------------------------------------- addresses, methods, pages


def test_what_is_not_there_is_said_in_the_one_shape_of_errors(served: Served) -> None:
    error_of(served.client.get("/v2/events"), 404)
    error_of(served.client.get("/v1/itemsx"), 404)
    answer = served.client.put("/v1/events", json={})
    assert error_of(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "OPTIONS, POST"


def test_health_is_at_both_addresses_and_takes_head(served: Served) -> None:
    assert served.client.get("/livez").json() == served.client.get("/health/live").json() == {"status": "live"}
    assert served.client.get("/readyz").json()["status"] == "ready"
    assert served.client.head("/health/ready").status_code == 200
    assert served.client.head("/livez").content == b""


@pytest.mark.parametrize("address", ["/docs", "/static/docs/docs.js", "/static/docs/docs.css"])
def test_pages_carry_the_headers_that_keep_foreign_scripts_and_frames_out(served: Served, address: str) -> None:
    answer = served.client.get(address)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "://" not in answer.text


def test_the_first_address_leads_to_a_page(served: Served) -> None:
    assert served.client.get("/", follow_redirects=True).headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "address", ["/static/../keys.py", "/static/%2e%2e/keys.py", "/static/..%2fkeys.py", "/static//etc/passwd"]
)
def test_no_file_outside_the_static_folder_is_served(served: Served, address: str) -> None:
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) as raw:
        raw.sendall(f"GET {address} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(("headers", "status"), [
    ({"host": "shop.example"}, 403), ({"host": "127.0.0.1.evil.test"}, 403), ({"host": "localhost:1"}, 200),
    ({"host": "[::1]:80"}, 200), ({"origin": "https://evil.test"}, 403), ({"origin": "null"}, 403),
    ({"origin": "http://localhost"}, 403), ({"sec-fetch-site": "cross-site"}, 403), ({"sec-fetch-site": "none"}, 200),
])  # fmt: skip
def test_an_open_server_answers_only_its_own_pages(served: Served, headers: dict[str, str], status: int) -> None:
    assert served.client.get("/v1/placements", headers=headers).status_code == status
    assert served.client.post("/v1/events", json=[], headers=headers).status_code == status


def test_an_open_server_answers_a_page_it_served_itself(served: Served) -> None:
    assert served.client.get("/v1/placements", headers={"origin": served.url}).status_code == 200
