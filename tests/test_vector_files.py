"""``endcap vectors``: files of three formats, a real embeddings service on a real socket, and what goes wrong."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from endcap.cli import main
from endcap.errors import ConfigError, InvalidInput
from endcap.events.vector_files import read_vectors
from endcap.models.embeddings import EmbeddingClient, EmbeddingFailed, check_address
from endcap.types import F4

VECTORS: F4 = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
IDS = [f"i{k}" for k in range(5)]


def written(path: Path, ids: list[Any], vectors: list[Any]) -> Path:
    """A file of the format that its name says."""
    frame = pl.DataFrame({"item_id": ids, "vector": pl.Series(vectors, dtype=pl.List(pl.Float32))})
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.name.startswith("stream"):
        frame.write_ipc_stream(path)
    else:
        frame.write_ipc(path)
    return path


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "stream.arrow"])
@pytest.mark.parametrize("size", [2, 100])
def test_rows_come_back_in_order(tmp_path: Path, name: str, size: int) -> None:
    path = written(tmp_path / name, IDS, VECTORS.tolist())
    chunks = list(read_vectors(path, size=size))
    assert [item for chunk in chunks for item in chunk.item_ids] == IDS
    np.testing.assert_array_equal(np.stack([one for chunk in chunks for one in chunk.vectors]), VECTORS)
    assert [chunk.first for chunk in chunks] == list(range(1, 6, size))
    assert {chunk.total for chunk in chunks} == {5}


def test_an_array_with_its_ids(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS.astype(np.float64))
    (tmp_path / "ids.txt").write_text("\n".join(IDS) + "\n")
    (chunk,) = read_vectors(tmp_path / "v.npy", tmp_path / "ids.txt")
    assert chunk.item_ids == IDS
    np.testing.assert_array_equal(np.stack(chunk.vectors), VECTORS)


def test_a_missing_list_has_no_numbers_and_a_missing_number_is_nan(tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet", ["a", None, "c", "d"], [[1.0, None], None, [], [2.0, 3.0]])
    (chunk,) = read_vectors(path)
    assert chunk.item_ids == ["a", "", "c", "d"]
    assert [one.shape[0] for one in chunk.vectors] == [2, 0, 0, 2]
    assert np.isnan(chunk.vectors[0][1])
    assert chunk.vectors[3].tolist() == [2.0, 3.0]


def test_files_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    good, ids = tmp_path / "v.npy", tmp_path / "ids.txt"
    np.save(good, VECTORS)
    ids.write_text("a\nb\n")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.save(tmp_path / "flat.npy", np.zeros(3))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    pl.DataFrame({"item_id": ["a"], "vector": ["x"]}).write_parquet(tmp_path / "text.parquet")
    pl.DataFrame({"item_id": ["a"], "v": [[1.0]]}).write_parquet(tmp_path / "other.parquet")
    cases: list[tuple[str, Path | None, str]] = [
        ("none.npy", ids, "no file at"), ("v.npy", None, "--ids FILE"), ("v.npy", ids, "has 2 ids, .* has 5 rows"),
        ("objects.npy", ids, "cannot be read as a NumPy array"), ("flat.npy", ids, r"array \(3,\)"),
        ("broken.npy", ids, "cannot be read"), ("broken.parquet", None, "cannot be read as Parquet"),
        ("text.parquet", None, "expected lists of numbers"), ("other.parquet", None, "no column 'vector'.*--column"),
        ("ids.txt", None, "expected one ending in .npy"),
    ]  # fmt: skip
    for name, with_ids, says in cases:
        with pytest.raises(InvalidInput, match=says):
            list(read_vectors(tmp_path / name, with_ids))


# ---------------------------------------------------------------- the command


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Any]:
    """``endcap`` in this process on a data directory with five items; gives (status, JSON or text, messages)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, Any, str]:
        monkeypatch.setattr(sys, "argv", ["endcap", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capsys.readouterr()
        return status, json.loads(out) if "--json" in arguments and out else out, err

    titles = ["red mug", "blue mug", "garden lantern", "", "white cushion"]
    records = [
        {"item_id": item, "title": title, "brand": "B" * bool(title)} for item, title in zip(IDS, titles, strict=True)
    ]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert call("import", "items", "items.jsonl")[0] == 0
    return call


def test_import_refuses_row_by_row_and_replaces_on_demand(run: Callable[..., Any], tmp_path: Path) -> None:
    rows = [*VECTORS[:3].tolist(), [0.0, 0.0, 0.0], [1.0], [1.0, 2.0, 3.0]]
    written(tmp_path / "x.parquet", [*IDS, "ghost"], rows)
    status, report, _ = run("vectors", "import", "x.parquet", "--name", "image", "--encoder", "eye", "--json")
    assert (status, report["read"], report["accepted"]) == (0, 6, 3)
    assert report["refused"] == {"bad_vector": 1, "mixed": 1, "no_item": 1}
    assert report["examples"][0].startswith("row 4: the vector is all zeros")
    told = {"name": "image", "encoder": "eye", "version": "1", "dim": 3, "items": 3}
    assert run("vectors", "list", "--json")[1] == [told]

    written(tmp_path / "y.arrow", IDS[:2], [[1.0, 2.0], [2.0, 1.0]])
    again = ("vectors", "import", "y.arrow", "--name", "image", "--encoder", "new", "--json")
    status, _, message = run(*again)
    assert status == 2
    assert "endcap vectors import --replace" in message
    assert run(*again, "--replace")[1]["accepted"] == 2
    assert run("vectors", "list", "--json")[1] == [told | {"encoder": "new", "dim": 2, "items": 2}]

    written(tmp_path / "z.arrow", IDS[:1], [[0.0]])
    assert run("vectors", "import", "z.arrow", "--name", "image", "--encoder", "zero", "--replace")[0] == 2
    assert run("vectors", "list", "--json")[1][0]["items"] == 2, "a useless file must not cost the set that is there"
    assert run("vectors", "drop", "image")[0] == 0
    assert run("vectors", "list", "--json")[1] == []


# ---------------------------------------------------------------- a service


class Service(ThreadingHTTPServer):
    """Answers with what ``script`` says, one entry a request; afterwards with proper vectors."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.stall = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        self.server.keys.append(self.headers.get("authorization"))
        status, headers, content = self.server.script.pop(0) if self.server.script else (200, {}, proper(body["input"]))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        for at in range(0, len(content), 1 << 16):
            self.wfile.write(content[at : at + (1 << 16)])
        if headers.get("x-stall"):
            self.server.stall.wait(10)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def proper(texts: list[str]) -> bytes:
    """A vector for each text, in reversed order: places are told by ``index``."""
    data = [
        {"index": k, "embedding": [float(len(text)), float(text.count("mug")), 1.0]} for k, text in enumerate(texts)
    ]
    return json.dumps({"object": "list", "data": data[::-1], "model": "m", "usage": {}}).encode()


@contextmanager
def service() -> Iterator[tuple[Service, str]]:
    running = Service()
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield running, f"http://127.0.0.1:{running.server_address[1]}/v1/embeddings"
    finally:
        running.stall.set()
        running.shutdown()
        thread.join()
        running.server_close()


def test_texts_become_vectors_in_batches_and_a_second_run_asks_for_the_rest(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret-1")
    with service() as (running, url):
        command = ("vectors", "embed", "--url", url, "--model", "m", "--batch", "3", "--key-env", "MY_KEY", "--json")
        status, report, _ = run(*command)
        assert (status, report["read"], report["accepted"], report["skipped"]) == (0, 4, 4, 1)
        assert [len(one["input"]) for one in running.asked] == [3, 1]
        assert running.asked[0]["input"][0] == "red mug\nB"
        assert (running.asked[0]["model"], set(running.keys)) == ("m", {"Bearer secret-1"})
        assert run("vectors", "list", "--json")[1] == [
            {"name": "text", "encoder": "m", "version": "1", "dim": 3, "items": 4}
        ]
        assert run(*command)[1] == {"read": 0, "accepted": 0, "refused": {}, "examples": [], "skipped": 5}
        assert run(*command, "--again")[1]["accepted"] == 4
        asked = len(running.asked)
        status, _, message = run(*command, "--version", "2")
        assert (status, len(running.asked)) == (2, asked), "nothing is sent when the answer could not be used"
        assert "never mixed" in message


def test_vectors_are_put_in_order_and_have_length_one() -> None:
    with service() as (_, url):
        found, refused = EmbeddingClient(url, "m").encode([b"a mug", b"lamp"])
    assert refused == []
    wanted = np.array([[5, 1, 1], [4, 0, 1]], np.float64)
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), rtol=1e-6)


def test_what_may_go_better_is_tried_again_with_growing_pauses() -> None:
    pauses: list[float] = []
    with service() as (running, url):
        running.script = [(503, {}, b""), (429, {"retry-after": "7"}, b""), (500, {"retry-after": "x"}, b"")]
        client = EmbeddingClient(url, "m", pause=pauses.append)
        assert client.encode([b"mug"])[0].shape == (1, 3)
        assert 0.25 <= pauses[0] <= 0.5
        assert pauses[1] == 7.0
        assert 1.0 <= pauses[2] <= 2.0
        running.script = [(503, {}, b"")] * 5
        with pytest.raises(EmbeddingFailed, match="status 503; gave up after 5 tries"):
            client.encode([b"mug"])
    with pytest.raises(EmbeddingFailed, match="ConnectionRefused"):
        client.encode([b"mug"])


@pytest.mark.parametrize(("status", "headers", "content", "says"), [
    (401, {}, b'{"error": "bad key"}', "refused .status 401.: .*bad key"),
    (302, {"location": "http://127.0.0.1:1/"}, b"", "redirects elsewhere"),
    (200, {}, b"<html>", "something else than embeddings"),
    (200, {}, b'{"data": []}', "0 vectors for 2 texts"),
    (200, {}, b'{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}', "or in no order"),
    (200, {}, b'{"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1, 2]}]}', "different lengths"),
    (200, {}, b'{"data": [{"index": 0, "embedding": []}, {"index": 1, "embedding": []}]}', "different lengths"),
    (200, {}, b'{"data": [{"index": 0, "embedding": [0]}, {"index": 1, "embedding": [1]}]}', "zeros"),
    (200, {}, b" " * 3_000_000, "more than 2000000 bytes"),
])  # fmt: skip
def test_answers_that_cannot_be_used_say_why(status: int, headers: dict[str, str], content: bytes, says: str) -> None:
    with service() as (running, url):
        running.script = [(status, headers, content)]
        client = EmbeddingClient(url, "m", key="secret-2", most_bytes=2_000_000, pause=lambda _: None)
        with pytest.raises(EmbeddingFailed, match=says) as told:
            client.encode([b"mug", b"lamp"])
        assert "secret-2" not in told.value.message
        assert len(running.asked) == 1


def test_a_service_that_stalls_is_given_up() -> None:
    with service() as (running, url):
        running.script = [(200, {"x-stall": "1", "transfer-encoding": "chunked"}, b"5\r\n")]
        client = EmbeddingClient(url, "m", answer_s=0.3, tries=1)
        with pytest.raises(EmbeddingFailed, match=r"imed out|whole answer"):
            client.encode([b"mug"])


@pytest.mark.parametrize(("address", "secure", "allowed", "says"), [
    ("127.0.0.1", False, False, ""), ("::1", False, False, ""), ("::ffff:127.0.0.1", False, False, ""),
    ("93.184.215.14", True, False, ""), ("93.184.215.14", False, False, "by https only"),
    ("93.184.215.14", False, True, "by https only"),
    ("10.0.0.5", True, False, "--allow-private"), ("10.0.0.5", True, True, ""), ("10.0.0.5", False, True, "https only"),
    ("::ffff:192.168.1.1", True, False, "--allow-private"), ("fd00::1", True, True, ""),
    ("169.254.169.254", True, True, "use another host"), ("fe80::1%eth0", True, True, "use another host"),
    ("0.0.0.0", True, False, "not a public one"), ("224.0.0.1", False, False, "https only"),
    ("100.64.0.1", True, False, "not a public one"),
])  # fmt: skip
def test_texts_go_to_public_addresses_by_https_or_stay_here(
    address: str, secure: bool, allowed: bool, says: str
) -> None:
    if not says:
        check_address("host", address, secure, allowed)
        return
    with pytest.raises(ConfigError, match=says):
        check_address("host", address, secure, allowed)


@pytest.mark.parametrize("url", ["ftp://x/", "https://", "https://user:pass@x/", "http://[::1", "http://x:99999/"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="the address"):
        EmbeddingClient(url, "m")


def test_an_unknown_host_is_told(run: Callable[..., Any]) -> None:
    status, _, message = run("vectors", "embed", "--url", "https://nowhere.invalid/v1/embeddings", "--model", "m")
    assert status == 2
    assert "'nowhere.invalid' cannot be found" in message
