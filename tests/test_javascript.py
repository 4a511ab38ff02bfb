"""The JavaScript client: its types, its package, and what it does in Node and in Chromium, against the real server."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import shutil
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from endcap.server.openapi import document
from endcap.server.routes import ROUTES
from endcap.types import Interaction
from sdks import installed
from served import Served, serving
from test_sdks import arrived, shop

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "clients" / "js"
TOOLS = {"esbuild": "0.25.10", "typescript": "5.9.3"}
MAX_MINIFIED = 4_096  # bytes, gzipped
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"


def run(*command: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **more)


def away() -> str:
    """An address where nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{found.getsockname()[1]}"


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("no node on this machine")
    return found


@pytest.fixture(scope="module")
def tools(node: str) -> Path:
    """A folder with the compilers of ``TOOLS``; the client itself needs none of them."""
    found = installed(TOOLS, "tools")
    if isinstance(found, str):
        pytest.skip(f"the compilers are not there: {found}")
    return found / "node_modules" / ".bin"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("javascript"), keys=True, max_batch=500) as running:
        yield running


# ---------------------------------------------------------------- types and package


def generator() -> Any:
    """tools/make_client_types.py as a module."""
    spec = importlib.util.spec_from_file_location("make_client_types", ROOT / "tools" / "make_client_types.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_types_are_those_of_the_document() -> None:
    made = generator().types(document(ROUTES))
    assert (CLIENT / "schema.d.ts").read_text("utf-8") == made, "run: python tools/make_client_types.py"


def test_a_schema_of_an_unknown_shape_is_refused() -> None:
    make = generator()
    assert make.type_of({"type": ["string", "null"], "default": None}) == "string | null"
    assert (
        make.type_of({"type": "array", "items": {"anyOf": [{"type": "null"}, {"$ref": "#/x/Item"}]}})
        == "(null | Item)[]"
    )
    with pytest.raises(SystemExit, match="unknown shape"):
        make.type_of({"not": {"type": "string"}})


def test_fields_of_answers_are_always_there(served: Served) -> None:
    schemas = document(ROUTES)["components"]["schemas"]
    ack = served.send({"type": "view", "anon_id": "a", "item_id": "i"}, headers=served.headers("server"))
    assert set(ack) == set(schemas["Ack"]["required"]) == set(schemas["Ack"]["properties"])
    answer = served.client.post("/v1/recommend", json={}, headers=served.headers("server"))
    assert set(answer.json()) == set(schemas["Slate"]["required"])
    assert "title" not in schemas["Item"].get("required", ())  # sent by callers too, and left out when it is empty


def test_the_package_is_complete(node: str, tmp_path: Path) -> None:
    told = json.loads((CLIENT / "package.json").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (told["version"], told["license"]) == (project["version"], project["license"])
    assert not {"dependencies", "peerDependencies", "scripts"} & set(told)
    assert (CLIENT / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on this machine")
    done = run(npm, "pack", "--json", "--offline", "--pack-destination", str(tmp_path), cwd=CLIENT)
    assert done.returncode == 0, done.stderr
    (packed,) = json.loads(done.stdout)
    assert sorted(file["path"] for file in packed["files"]) == [
        "LICENSE", "README.md", "endcap.d.ts", "endcap.js", "package.json", "schema.d.ts",
    ]  # fmt: skip
    home = tmp_path / "node_modules" / "endcap-client"
    home.mkdir(parents=True)
    shutil.unpack_archive(tmp_path / packed["filename"], tmp_path / "packed", "gztar", filter="data")
    shutil.copytree(tmp_path / "packed" / "package", home, dirs_exist_ok=True)
    code = 'import { Client, EndcapError } from "endcap-client"; console.log(typeof Client, EndcapError.name)'
    done = run(node, "--input-type=module", "-e", code, cwd=tmp_path)
    assert done.stdout.split() == ["function", "EndcapError"], done.stderr


def test_it_is_small(tools: Path) -> None:
    done = run(str(tools / "esbuild"), "--minify", "--target=es2022", str(CLIENT / "endcap.js"))
    assert done.returncode == 0, done.stderr
    minified, plain = (
        len(gzip.compress(text.encode(), 9)) for text in (done.stdout, (CLIENT / "endcap.js").read_text())
    )
    assert minified <= MAX_MINIFIED
    page = (ROOT / "docs" / "clients.md").read_text("utf-8")
    assert f"{minified / 1000:.1f} kB" in page
    assert f"{plain / 1000:.1f} kB" in page


USES = """
import { Client, EndcapError, type Dropped, type Interaction, type Item, type Slate } from "endcap-client";
const lost: Dropped[] = [];
const client = new Client(new URL("http://localhost:8080"), "key", { timeoutMs: 500, onDrop: (one) => lost.push(one) });
export async function page(anon_id: string): Promise<string[]> {
  const event: Interaction = { type: "view", anon_id, item_id: "i1", price: 2.5, context: { device: "mobile" } };
  client.track(event);
  const ack = await client.send(event, [event]);
  const at: number = ack.offset + ack.rejected.length;
  const filter = { eq: { brand: "x" } };
  const slate: Slate = await client.recommend({ placement: "home", anon_id, at_least: at, filter });
  const like = await client.similar("i1", { by: "text", personalization: false }, { shown: false, default: ["i2"] });
  const items: Item[] = [{ item_id: "i1", availability: "in_stock", attributes: { colour: "red", sizes: ["s"] } }];
  await client.putItems(items);
  await client.patchItem("i1", { title: null, price: 2 });
  await client.erase({ anon_id });
  const learnt = (await client.feedback("home")).arms.map((arm) => arm.reward);
  try { await client.item("i1") } catch (wrong) {
    if (wrong instanceof EndcapError) return [wrong.code, wrong.remedy, String(wrong.status), String(learnt)];
  }
  return [...slate.degraded, ...like.items.map((placed) => placed.item_id), ...placedBy(slate)];
}
const placedBy = (slate: Slate) => slate.items.flatMap((placed) => placed.reasons.map((reason) => reason.code));
// @ts-expect-error  a type that is none
client.track({ type: "vew", item_id: "i1" });
// @ts-expect-error  an event without its type
client.send({ item_id: "i1" });
// @ts-expect-error  one person at a time
client.erase({ anon_id: "a", user_id: "u" });
// @ts-expect-error  shown stands in the options
client.similar("i1", { shown: "0" });
// @ts-expect-error  a way of being alike that does not exist
client.similar("i1", { by: "smell" });
"""


# ---------------------------------------------------------------- documentation

PAGES = [ROOT / "docs" / "clients.md", CLIENT / "README.md"]


def block(page: Path, language: str) -> str:
    """The one fenced block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return str(found)


def package(folder: Path) -> Path:
    """The folder with the client installed in it."""
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "endcap-client").symlink_to(CLIENT)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_backend_does_what_the_page_says(node: str, served: Served, tmp_path: Path, page: Path) -> None:
    code = block(page, "js").replace("http://localhost:8080", served.url)
    (package(tmp_path) / "backend.mjs").write_text(code.replace("srv_YOUR_KEY", served.secrets["server"]), "utf-8")
    before = served.engine.offset
    done = run(node, "backend.mjs", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    new = [stored.event for stored in served.engine.log.read(before, 100)]
    assert any(isinstance(event, Interaction) and event.item_id == "85123A" for event in new)


def test_the_types_hold_the_pages_program_and_one_that_uses_them(tools: Path, tmp_path: Path) -> None:
    (package(tmp_path) / "uses.mts").write_text(USES, "utf-8")
    (tmp_path / "shelf.mts").write_text(block(PAGES[0], "ts"), "utf-8")
    options = "--noEmit --strict --skipDefaultLibCheck --target es2022 --module nodenext"
    done = run(str(tools / "tsc"), *options.split(), "uses.mts", "shelf.mts", cwd=tmp_path)
    assert done.returncode == 0, done.stdout


# ---------------------------------------------------------------- Node


def test_it_does_in_node_what_it_says(node: str, served: Served) -> None:
    environment = {
        "PATH": str(Path(node).parent),
        "ENDCAP_URL": served.url,
        "ENDCAP_KEYS": json.dumps(served.secrets),
        "ENDCAP_AWAY": away(),
    }
    done = run(node, "--test", "--test-reporter=tap", str(CLIENT / "test" / "client.test.js"), env=environment)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr
    assert "\n# fail 0\n" in done.stdout
    assert "\n# skipped 0\n" in done.stdout
    events = [stored.event for stored in served.engine.log.read(0, 10_000)]
    tracked = [event for event in events if event.event_id.startswith("tracked-")]
    assert [event.event_id for event in tracked] == [f"tracked-{n}" for n in range(700)]  # each once, in order


LAST_WORDS = """
import { Client } from "CLIENT/endcap.js";
const client = new Client(process.env.ENDCAP_URL, process.env.ENDCAP_KEY, { everyMs: 20, timeoutMs: 300 });
client.track({ type: "view", anon_id: "goer", item_id: "last" });
"""


def test_a_process_that_ends_sends_what_waits_or_says_that_it_could_not(node: str, served: Served) -> None:
    code = LAST_WORDS.replace("CLIENT", CLIENT.as_uri())
    environment = {"PATH": str(Path(node).parent), "ENDCAP_URL": served.url, "ENDCAP_KEY": served.secrets["server"]}
    done = run(node, "--input-type=module", "-e", code, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    newest = served.engine.log.read(served.engine.offset - 1, 10)[-1].event
    assert isinstance(newest, Interaction)
    assert (newest.anon_id, newest.item_id) == ("goer", "last")
    done = run(node, "--input-type=module", "-e", code, env={**environment, "ENDCAP_URL": away()})
    assert (done.returncode, done.stdout) == (0, "")
    assert "1 events dropped, closed" in done.stderr


# ---------------------------------------------------------------- pages

SHOP = """<!doctype html><title>Shop</title><script type="module">
import { Client } from "/endcap.js";
window.client = new Client("HOST", "KEY", { everyMs: EVERY });
window.ready = true;
</script><a id="next" href="/next">next</a>"""


@pytest.mark.browser
def test_a_page_imports_it_and_what_waits_outlives_the_page(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: install the chromium package")
    with shop(CLIENT, pages := {"/next": "<!doctype html>gone"}) as origin, serving(
        tmp_path, keys=True, allow_origins=[origin]
    ) as served, sync_api.sync_playwright() as playwright:  # fmt: skip
        # an hour between two batches: what arrives left because the page went
        key = served.secrets["browser"]
        pages["/"] = SHOP.replace("HOST", served.url).replace("KEY", key).replace("EVERY", "3600000")
        complaints: list[str] = []
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS.split())
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{origin}/")
        page.wait_for_function("window.ready")
        ack = page.evaluate("client.send({type: 'view', anon_id: 'v', item_id: 'tea'})")
        slate = page.evaluate("client.recommend({anon_id: 'v', n: 3})")
        assert (ack["accepted"], slate["offset"] >= ack["offset"]) == (1, True)
        page.evaluate("client.track({type: 'click', anon_id: 'v', item_id: 'tea', event_id: 'parting'})")
        assert page.evaluate("client.waiting") == 1
        page.click("#next")
        page.wait_for_url("**/next")
        assert [event.event_id for event in arrived(served, 2)][1:] == ["parting"]

        page.goto(f"{origin}/")  # the last thing that happens on a page whose first batch is still under way
        page.wait_for_function("window.ready")
        page.evaluate(
            "client.track({type: 'view', anon_id: 'v', item_id: 'mug', event_id: 'under-way'}), client.flush(), "
            "setTimeout(() => { client.track({type: 'click', anon_id: 'v', item_id: 'mug', event_id: 'last'}); "
            "location = '/next' })"
        )
        page.wait_for_url("**/next")
        assert {event.event_id for event in arrived(served, 4)} >= {"parting", "under-way", "last"}

        example = block(PAGES[0], "html").replace("https://recs.example.com", served.url)
        pages["/example"] = "<!doctype html><body>" + example.replace("pub_YOUR_KEY", key)
        page.goto(f"{origin}/example")
        page.wait_for_selector("body[data-shown]", state="attached", timeout=10_000)
        page.goto(f"{origin}/next")
        assert "85123A" in {event.item_id for event in arrived(served, 5)}

        refused = page.evaluate(
            "(url) => import('/endcap.js').then(({Client}) => new Client(url, '', {attempts: 1}).item('a')"
            ".catch((wrong) => [wrong.status, wrong.code, wrong.remedy.includes('allow_origins')]))",
            away(),
        )
        assert refused == [0, "unreachable", True]
        browser.close()
    assert [text for text in complaints if "CONNECTION_REFUSED" not in text] == []
