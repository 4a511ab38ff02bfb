"""Endcap behind a proxy: the shipped nginx configuration in front of a real server, and what it lets through."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from endcap.config import Config
from endcap.server.pages import pages
from endcap.server.policy import POLICY, PUBLIC
from served import serving

ROOT = Path(__file__).parent.parent
NGINX_CONF = ROOT / "deploy/proxy/nginx.conf"
CADDYFILE = ROOT / "deploy/proxy/Caddyfile"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
OPENSSL, CADDY = shutil.which("openssl"), shutil.which("caddy")


def inside(file: Path) -> re.Pattern[str]:
    """The addresses that a proxy keeps to the networks of its owner."""
    (found,) = re.findall(r"(?:location ~|path_regexp) (\S+)", file.read_text("utf-8"))
    return re.compile(found)


@pytest.mark.parametrize("file", [NGINX_CONF, CADDYFILE], ids=["nginx", "caddy"])
def test_a_proxy_lets_through_what_browser_keys_may_and_keeps_the_rest_inside(file: Path) -> None:
    kept, text = inside(file), file.read_text("utf-8")
    browser: dict[str, bool] = {}
    for route, kinds in POLICY.items():
        address = route.partition(" ")[2].replace("{id}", "some-id").replace("{name}", "text")
        browser[address] = browser.get(address, False) or bool(kinds & {"browser", PUBLIC})
    for address, may in browser.items():
        fenced = bool(kept.search(address)) or (address == "/v1/tail" and "location = /v1/tail" in text)
        assert fenced != may, address
    for page in pages():
        address = str(getattr(page, "path", "")).replace("{address:path}", "live")
        assert bool(kept.search(address)) == address.startswith("/console"), address


def test_the_proxies_take_bodies_as_large_as_endcap_does() -> None:
    (nginx,) = re.findall(r"client_max_body_size (\d+)m;", NGINX_CONF.read_text("utf-8"))
    assert int(nginx) * 2**20 >= Config().server.max_body_bytes
    (caddy,) = re.findall(r"max_size (\d+)MB", CADDYFILE.read_text("utf-8"))
    assert int(caddy) * 10**6 >= Config().server.max_body_bytes


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def proxied(place: Path, port: int, own_network: bool) -> Iterator[str]:
    """nginx with the shipped file, its ports and certificate replaced; gives its address."""
    key, certificate = place / "key.pem", place / "certificate.pem"
    subprocess.run(
        [str(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    plain, tls = free_port(), free_port()
    text = NGINX_CONF.read_text("utf-8")
    for old, new in (
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl", f"listen 127.0.0.1:{tls} ssl"),
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{port};"),
        ("/etc/ssl/endcap/fullchain.pem", str(certificate)),
        ("/etc/ssl/endcap/privkey.pem", str(key)),
        ("127.0.0.1/32 0;", f"127.0.0.1/32 {int(not own_network)};"),
    ):
        assert old in text
        text = text.replace(old, new)
    whole = place / "nginx.conf"
    temporary = "".join(
        f"{kind}_temp_path {place}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole.write_text(
        f"pid {place}/pid;\nerror_log stderr;\ndaemon off;\nmaster_process off;\nevents {{}}\n"
        f"http {{ access_log off;\n{temporary}{text}}}\n"
    )
    checked = subprocess.run([str(NGINX), "-t", "-p", place, "-c", whole], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    running = subprocess.Popen([str(NGINX), "-p", place, "-c", whole], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            assert running.poll() is None
            assert time.monotonic() < deadline
            try:
                socket.create_connection(("127.0.0.1", tls), timeout=1).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        yield f"https://127.0.0.1:{tls}"
    finally:
        running.terminate()
        running.wait()


@pytest.mark.skipif(NGINX is None or OPENSSL is None, reason="nginx or openssl is not here")
def test_nginx_serves_shoppers_and_keeps_the_rest_to_its_own_network(tmp_path: Path) -> None:
    with serving(tmp_path / "data", keys=True) as running:
        port = running.client.base_url.port
        assert port is not None
        (tmp_path / "outside").mkdir()
        with proxied(tmp_path / "outside", port, False) as url, httpx.Client(base_url=url, verify=False) as client:
            browser, admin = running.headers("browser"), running.headers("admin")
            page = {**browser, "origin": url}
            sent = client.post("/v1/events", json={"type": "view", "anon_id": "a", "item_id": "lamp"}, headers=page)
            assert sent.status_code == 200, sent.text  # the origin is compared with the host the browser named
            assert client.post("/v1/recommend", json={"anon_id": "a"}, headers=page).status_code == 200
            foreign = client.post("/v1/recommend", json={}, headers={**browser, "origin": "https://elsewhere.example"})
            assert foreign.status_code == 403
            for address in ("/metrics", "/v1/quarantine", "/v1/tail", "/console", "/v1/users/a"):
                assert "nginx" in client.get(address, headers=admin).text, address
            assert client.post("/v1/events", content=b"x" * 5_000_000, headers=browser).status_code == 413
            statuses = {client.get("/health/live").status_code for _ in range(120)}
            assert statuses == {200, 429}
        (tmp_path / "own").mkdir()
        with proxied(tmp_path / "own", port, True) as url, httpx.Client(base_url=url, verify=False) as client:
            assert {client.get("/health/live").status_code for _ in range(120)} == {200}
            assert "endcap_events_total" in client.get("/metrics", headers=running.headers("metrics")).text
            with client.stream("GET", "/v1/tail", headers=running.headers("admin")) as tail:
                assert tail.status_code == 200
                assert next(tail.iter_raw()), "events come as they happen, not when a buffer is full"


@pytest.mark.skipif(CADDY is None, reason="caddy is not here")
def test_caddy_takes_its_file() -> None:
    done = subprocess.run(
        [str(CADDY), "validate", "--adapter", "caddyfile", "--config", CADDYFILE], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
