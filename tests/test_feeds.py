"""Feeds that the server reads by itself: a real web server whose feed changes, and the slates that follow."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from endcap.config import Config, FeedConfig
from endcap.errors import ConfigError, InvalidInput
from endcap.server.feeds import check
from endcap.server.fetch import fetch, is_public, suffix_of
from served import Served, error_of, serving

HEAD = '<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel>'
TAIL = "</channel></rss>"


def entry(name: str, **fields: str) -> str:
    given = {"title": name.title(), "link": f"https://shop.example/{name}", "price": "10.00 EUR", **fields}
    return f"<item><g:id>{name}</g:id>{''.join(f'<g:{key}>{value}</g:{key}>' for key, value in given.items())}</item>"


class Publisher:
    """A web server with one feed, its validators, and a note of what was asked."""

    def __init__(self) -> None:
        self.body = b""
        self.etag = ""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self.pause_s = 0.0
        self.asked: list[dict[str, str]] = []
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked.append({name.lower(): value for name, value in self.headers.items()})
                if publisher.etag and self.headers.get("if-none-match") == publisher.etag:
                    self.send_response(304)
                    self.end_headers()
                    return
                self.send_response(publisher.status)
                for name, value in publisher.headers.items():
                    self.send_header(name, value)
                if publisher.etag:
                    self.send_header("etag", publisher.etag)
                length = len(publisher.body) if publisher.length is None else publisher.length
                self.send_header("content-length", str(length))
                self.end_headers()
                for at in range(0, len(publisher.body), 65_536):
                    time.sleep(publisher.pause_s)
                    try:
                        self.wfile.write(publisher.body[at : at + 65_536])
                    except OSError:
                        return

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/feed"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def publish(self, *entries: str, tail: str = TAIL) -> None:
        self.body = (HEAD + "".join(entries) + tail).encode()
        self.etag = f'"{hash(self.body)}"'
        self.headers = {}

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    opened = Publisher()
    yield opened
    opened.close()


def settings(publisher: Publisher, **more: Any) -> Config:
    feed = FeedConfig(name="main feed", url=publisher.url, **{"allow_private": True, "every_min": 1e6, **more})
    return msgspec.structs.replace(Config(), feeds=[feed])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Publisher]]:
    publisher = Publisher()
    publisher.publish(*TEN)
    with serving(tmp_path_factory.mktemp("feeds"), config=settings(publisher)) as served:
        wait(served)
        yield served, publisher
    publisher.close()


TEN = [entry(f"p{n}") for n in range(10)]


def wait(served: Served) -> dict[str, Any]:
    """The state once the server has read the feed by itself."""
    for _ in range(500):
        (state,) = served.client.get("/v1/feeds").json()["feeds"]
        if state["status"] != "waiting":
            return dict(state)
        time.sleep(0.02)
    raise AssertionError("the feed was not read")


def poll(served: Served, force: bool = False) -> dict[str, Any]:
    answer = served.client.post("/v1/feeds/main%20feed/poll", json={"force": force})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def fresh(shop: tuple[Served, Publisher]) -> tuple[Served, Publisher]:
    """The shared server, its catalogue as the feed of ten says."""
    served, publisher = shop
    publisher.status, publisher.length, publisher.pause_s = 200, None, 0.0
    publisher.publish(*TEN)
    assert poll(served, force=True)["status"] == "fresh"
    return served, publisher


def item(served: Served, name: str) -> dict[str, Any]:
    found: dict[str, Any] = served.client.get(f"/v1/items/{name}").json()
    return found


def slate(served: Served) -> set[str]:
    return {one["item_id"] for one in served.slate(anon_id="somebody", placement="trending", n=50)["items"]}


def test_a_server_reads_its_feed_and_a_change_is_in_the_next_slate(shop: tuple[Served, Publisher]) -> None:
    served, publisher = fresh(shop)
    assert slate(served) >= {f"p{n}" for n in range(10)}
    publisher.publish(entry("p0", availability="out_of_stock"), entry("p1", price="8.50 EUR"), *TEN[2:], entry("new"))
    state = poll(served)
    assert (state["status"], state["items"], state["written"], state["vanished"]) == ("fresh", 11, 3, 0)
    after = slate(served)
    assert "p0" not in after
    assert {"p1", "new"} <= after
    assert item(served, "p1")["price"] == 8.5
    filtered = served.slate(anon_id="somebody", placement="trending", n=50, filter={"lt": {"price": 9}})["items"]
    assert [one["item_id"] for one in filtered] == ["p1"]


def test_what_did_not_change_is_not_fetched_and_not_written(shop: tuple[Served, Publisher]) -> None:
    served, publisher = fresh(shop)
    offset = served.engine.offset
    state = poll(served)
    assert (state["status"], state["items"]) == ("unchanged", 10)
    assert publisher.asked[-1]["if-none-match"] == publisher.etag
    publisher.etag = '"another"'  # the same feed under another validator is read, and nothing differs
    assert poll(served)["written"] == 0
    assert served.engine.offset == offset


def test_an_item_that_left_the_feed_goes_out_of_stock_and_may_come_back(shop: tuple[Served, Publisher]) -> None:
    served, publisher = fresh(shop)
    publisher.publish(*TEN[1:])
    assert poll(served)["vanished"] == 1
    assert item(served, "p0")["availability"] == "out_of_stock"
    assert "p0" not in slate(served)
    publisher.publish(*TEN)
    assert poll(served)["written"] == 1
    assert "p0" in slate(served)


def test_what_the_interface_said_of_an_item_stays(shop: tuple[Served, Publisher]) -> None:
    served, publisher = fresh(shop)
    served.client.patch("/v1/items/p3", json={"vectors": {"own": [0.5, 0.25]}, "stock_qty": 4, "title": "By hand"})
    publisher.publish(*TEN[:9])
    poll(served)
    found, vector = item(served, "p3"), served.client.get("/v1/items/p3/vectors/own").json()["vector"]
    assert (found["stock_qty"], found["title"]) == (4, "P3")
    assert vector[0] == pytest.approx(2 * vector[1])


@pytest.mark.parametrize(
    ("entries", "tail", "said"),
    [
        (TEN[:6], TAIL, "lost 40%"),
        ([], TAIL, "no usable item"),
        (TEN, "<item><g:id>half", "breaks off"),
        ([entry(f"p{n}", price="much") for n in range(10)], TAIL, "no usable item"),
    ],
)
def test_a_feed_that_looks_half_written_changes_nothing(
    shop: tuple[Served, Publisher], entries: list[str], tail: str, said: str
) -> None:
    served, publisher = fresh(shop)
    before, offset = slate(served), served.engine.offset
    publisher.publish(*entries, tail=tail)
    for _ in range(2):  # nor the second time: it is not taken for what was there before
        state = poll(served)
        assert state["status"] == "refused"
        assert said in state["message"]
    assert slate(served) >= before
    assert [s.event for s in served.engine.log.read(offset, 100) if type(s.event).__name__ == "ItemChange"] == []
    if said.startswith("lost"):
        assert "force" in state["message"]
        assert poll(served, force=True)["vanished"] == 4
        assert "p9" not in slate(served)


def test_a_refused_record_costs_itself_and_goes_to_the_quarantine(shop: tuple[Served, Publisher]) -> None:
    served, publisher = fresh(shop)
    publisher.publish(entry("p0", price="ask us"), entry("p1", price="7 EUR"), *TEN[2:])
    state = poll(served)
    assert (state["status"], state["refused"], state["written"], state["vanished"]) == ("fresh", 1, 1, 0)
    assert (item(served, "p0")["price"], item(served, "p1")["price"]) == (10.0, 7.0)
    record = served.client.get("/v1/quarantine?n=1").json()["records"][0]
    assert (record["code"], record["raw"]) == ("wrong_type", "feed main feed, record 1")
    assert "'ask us' is not a number" in record["message"]


@pytest.mark.parametrize("by", ["encoding", "name"])
def test_a_compressed_feed_is_unpacked(shop: tuple[Served, Publisher], by: str) -> None:
    served, publisher = fresh(shop)
    publisher.publish(*TEN, entry("zipped"))
    publisher.body = gzip.compress(publisher.body)
    publisher.headers = {"content-encoding": "gzip"} if by == "encoding" else {"content-type": "application/gzip"}
    assert poll(served)["status"] == "fresh"
    assert item(served, "zipped")["title"] == "Zipped"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": 500}, "answers 500"),
        ({"status": 404}, "answers 404"),
        ({"length": 10**7}, "broke off"),
        ({"status": 302, "headers": {"location": "/feed"}}, "redirects more than 5 times"),
        ({"status": 302, "headers": {"location": "file:///etc/passwd"}}, "no web address"),
        ({"headers": {"content-encoding": "br"}}, "sent as br"),
        ({"headers": {"content-encoding": "gzip"}}, "broke off"),
    ],
)
def test_a_feed_that_cannot_be_had_is_told_and_tried_again(
    shop: tuple[Served, Publisher], change: dict[str, Any], said: str
) -> None:
    served, publisher = fresh(shop)
    publisher.publish(*TEN, entry("later"))
    for name, value in change.items():
        setattr(publisher, name, value)
    state = poll(served)
    assert (state["status"], said in state["message"]) == ("failed", True), state
    assert len(slate(served)) >= 10
    publisher.status, publisher.length, publisher.headers = 200, None, {}
    assert poll(served)["status"] == "fresh"


def test_no_feed_of_that_name(shop: tuple[Served, Publisher]) -> None:
    assert "main feed" in error_of(shop[0].client.post("/v1/feeds/other/poll"), 404)["message"]


def test_other_kinds_are_told_by_their_first_bytes_and_vanished_items_may_be_deleted(
    tmp_path: Path, publisher: Publisher
) -> None:
    publisher.body = b"id\ttitle\tlink\tprice\na\tA\thttps://s/a\t1 EUR\nb\tB\thttps://s/b\t2 EUR\n"
    with serving(tmp_path, config=settings(publisher, vanished="delete", max_shrink=0.5)) as served:
        assert wait(served)["items"] == 2
        publisher.body = b'[{"@type": "Product", "sku": "a", "name": "A", "offers": {"price": 3}}]'
        assert poll(served)["vanished"] == 1
        assert item(served, "a")["price"] == 3.0
        error_of(served.client.get("/v1/items/b"), 404)
    asked = len(publisher.asked)
    with serving(tmp_path, config=settings(publisher, vanished="delete")) as again:  # the state outlives the server
        (state,) = again.client.get("/v1/feeds").json()["feeds"]
        assert (state["status"], state["items"], len(publisher.asked)) == ("fresh", 1, asked)


# ---------------------------------------------------------------- fetching


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("127.0.0.1", False), ("10.1.2.3", False), ("192.168.0.9", False), ("172.16.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False), ("::1", False), ("fe80::1%eth0", False), ("fc00::1", False), ("::ffff:10.0.0.1", False),
        ("100.64.0.1", False), ("224.0.0.1", False), ("93.184.215.14", True), ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
    ],
)  # fmt: skip
def test_addresses_of_private_networks_are_known(text: str, public: bool) -> None:
    assert is_public(text) is public


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "[::1]", "0x7f.1"])
def test_a_feed_may_not_lead_inside_unless_it_is_meant(tmp_path: Path, publisher: Publisher, host: str) -> None:
    with pytest.raises(InvalidInput, match=r"allow_private|not known|cannot be reached"):
        fetch(publisher.url.replace("127.0.0.1", host), tmp_path / "x")
    assert publisher.asked == []


@pytest.mark.parametrize(
    "url", ["ftp://shop.example/x", "file:///etc/passwd", "http://", "//x", "http://[::1", "nonsense"]
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput):
        fetch(url, tmp_path / "x", allow_private=True)


def test_size_holds_for_what_comes_out_and_time_for_the_whole(tmp_path: Path, publisher: Publisher) -> None:
    publisher.body = gzip.compress(bytes(20_000_000))
    publisher.headers = {"content-encoding": "gzip"}
    with pytest.raises(InvalidInput, match="over 1000000 bytes"):
        fetch(publisher.url, tmp_path / "x", allow_private=True, max_bytes=1_000_000)
    publisher.body, publisher.headers, publisher.pause_s = bytes(3_000_000), {}, 0.02
    with pytest.raises(InvalidInput, match=r"took more than 0\.2 s"):
        fetch(publisher.url, tmp_path / "x", allow_private=True, max_s=0.2)


def test_a_password_is_sent_and_not_told(tmp_path: Path, publisher: Publisher) -> None:
    url = publisher.url.replace("http://", "http://shop:pass%20word@") + "?token=secret"
    publisher.body = b"x"
    fetch(url, tmp_path / "x", allow_private=True)
    assert publisher.asked[-1]["authorization"] == "Basic c2hvcDpwYXNzIHdvcmQ="
    publisher.status = 403
    with pytest.raises(InvalidInput) as refused:
        fetch(url, tmp_path / "x", allow_private=True)
    assert "pass" not in refused.value.message
    assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"\xef\xbb\xbf<?xml version='1.0'?><rss>", ".xml"), (b"<feed>", ".xml"), (b"<!DOCTYPE html><html>", ".html"),
        (b'{"@context": "https://schema.org"}', ".jsonld"), (b'{"item_id": "a"}\n', ".jsonl"),
        (b"PAR1....", ".parquet"),
        (b"id\ttitle\n", ".csv"), (b"", ".csv"),
    ],
)  # fmt: skip
def test_a_file_is_known_by_its_first_bytes(tmp_path: Path, head: bytes, suffix: str) -> None:
    (tmp_path / "x").write_bytes(head)
    assert suffix_of(tmp_path / "x") == suffix


@pytest.mark.parametrize(
    "feeds",
    [
        [FeedConfig(name="", url="http://a")],
        [FeedConfig(name="a b", url="http://a"), FeedConfig(name="a-b", url="http://b")],
        [FeedConfig(name="a", url="ftp://a")],
        [FeedConfig(name="a", url="http://a", every_min=0)],
        [FeedConfig(name="a", url="http://a", max_shrink=1.5)],
    ],
)
def test_settings_that_cannot_be_meant_stop_the_start(tmp_path: Path, feeds: list[FeedConfig]) -> None:
    with pytest.raises(ConfigError):
        check(feeds, tmp_path)
    with pytest.raises(ConfigError, match="data directory"):
        check(feeds, None)


def test_the_command_line_reads_a_web_address(tmp_path: Path, publisher: Publisher) -> None:
    publisher.publish(*TEN[:3], entry("bad", price="much"))
    command = [sys.executable, "-m", "endcap.cli", "import", "items", publisher.url]
    command += ["--dir", str(tmp_path / "data"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert (report["accepted"], report["refused_by_code"], report["columns"]["url"]) == (3, {"wrong_type": 1}, "link")
    with serving(tmp_path / "data") as served:
        assert slate(served) == {"p0", "p1", "p2"}
        assert [one["code"] for one in served.client.get("/v1/quarantine").json()["records"]] == ["wrong_type"]
