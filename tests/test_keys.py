"""Keys: what is kept of them, how they end, and what each kind may do: the whole matrix over real HTTP."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from endcap.errors import ConfigError, NotFound, StoreError
from endcap.runtime import VirtualClock
from endcap.server.app import App
from endcap.server.foreign import Taken
from endcap.server.keys import ID_LENGTH, KINDS, RECHECK_MS, KeyRing, first_keys
from endcap.server.policy import POLICY, PUBLIC, refuse_unguarded
from endcap.server.requestlog import RequestLog
from endcap.server.routes import ROUTES
from endcap.server.serving import prepare_keys
from served import Served, serving, view

NOW = 1_795_000_000_000


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def ring(tmp_path: Path, clock: VirtualClock) -> KeyRing:
    return KeyRing(tmp_path / "keys.json", clock.now)


def test_a_key_opens_and_its_text_is_nowhere_on_disk(ring: KeyRing) -> None:
    key, secret = ring.create("server", "backend")
    found = ring.find(secret)
    assert found is not None
    assert (found.kind, found.label, found.id) == ("server", "backend", secret[:ID_LENGTH])
    assert secret.startswith("srv_")
    assert len(secret) == 4 + 64
    assert secret.encode() not in ring.path.read_bytes()
    assert secret[ID_LENGTH:].encode() not in ring.path.read_bytes()
    assert ring.all() == [key]


def test_the_key_file_is_readable_by_its_owner_only(ring: KeyRing) -> None:
    ring.create("admin")
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("change", ["last", "first", "cut", "longer", "case", "empty"])
def test_a_text_that_is_nearly_the_key_opens_nothing(ring: KeyRing, change: str) -> None:
    _, secret = ring.create("server")
    last = "0" if secret[-1] != "0" else "1"
    wrong = {
        "last": secret[:-1] + last,
        "first": "x" + secret[1:],
        "cut": secret[:-1],
        "longer": secret + "0",
        "case": secret.upper(),
        "empty": "",
    }[change]
    assert ring.find(wrong) is None


def test_a_revoked_key_opens_nothing_at_once(ring: KeyRing) -> None:
    key, secret = ring.create("server")
    _, other = ring.create("admin")
    ring.revoke(key.id)
    assert ring.find(secret) is None
    assert ring.find(other) is not None
    with pytest.raises(NotFound, match="keys list"):
        ring.revoke(key.id)


def test_rotation_lets_both_keys_work_until_the_overlap_ends(ring: KeyRing, clock: VirtualClock) -> None:
    old, old_secret = ring.create("browser", "page", allow=["rating"], user_ids=True)
    new, new_secret = ring.rotate(old.id, overlap_s=60)
    assert (new.kind, new.label, new.allow, new.user_ids) == ("browser", "page", ["rating"], True)
    assert ring.find(old_secret) is not None
    clock.ts += 60_000
    assert ring.find(old_secret) is None
    assert ring.find(new_secret) is not None


def test_a_running_server_sees_what_another_process_changed(ring: KeyRing, clock: VirtualClock) -> None:
    key, secret = ring.create("server")
    elsewhere = KeyRing(ring.path, clock.now)
    elsewhere.revoke(key.id)
    clock.ts += RECHECK_MS
    assert ring.find(secret) is None


def test_unknown_kinds_and_options_of_other_kinds_are_refused(ring: KeyRing) -> None:
    with pytest.raises(ConfigError, match="browser, server"):
        ring.create("root")
    with pytest.raises(ConfigError, match="options of browser keys"):
        ring.create("server", allow=["purchase"])


def test_a_damaged_key_file_is_an_error_that_names_it_never_an_open_door(ring: KeyRing, clock: VirtualClock) -> None:
    ring.path.write_bytes(b'{"keys": [')
    with pytest.raises(StoreError, match=r"keys\.json"):
        KeyRing(ring.path, clock.now)


def test_first_keys_are_made_once(ring: KeyRing) -> None:
    made = first_keys(ring)
    assert set(made) == set(KINDS)
    assert first_keys(ring) == {}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "shop.example"])
def test_beyond_loopback_nothing_is_bound_without_keys(tmp_path: Path, clock: VirtualClock, host: str) -> None:
    with pytest.raises(ConfigError, match="keys create"):
        prepare_keys(tmp_path, clock.now, host)
    with pytest.raises(ConfigError, match="--open"):
        prepare_keys(tmp_path, clock.now, host, open_=True)
    KeyRing(tmp_path / "keys.json", clock.now).create("server")
    ring, made = prepare_keys(tmp_path, clock.now, host)
    assert ring is not None
    assert made == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_on_loopback_the_first_start_makes_keys_unless_open(tmp_path: Path, clock: VirtualClock, host: str) -> None:
    assert prepare_keys(tmp_path, clock.now, host, open_=True) == (None, {})
    ring, made = prepare_keys(tmp_path, clock.now, host)
    assert ring is not None
    assert len(made) == len(KINDS) == len(ring)


# ---------------------------------------------------------------- what each kind may do


def test_a_route_without_a_policy_stops_the_start(served: Served) -> None:
    refuse_unguarded(route.name for route in ROUTES)
    with pytest.raises(ConfigError, match="GET /v1/secret"):
        refuse_unguarded([*POLICY, "GET /v1/secret"])
    with pytest.raises(ConfigError, match="policies without a route"):
        App(served.server.service, None, RequestLog(), ROUTES[1:])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("keys"), keys=True, allow_origins=["https://shop.example"]) as running:
        running.send(view("a", "i1"), headers=running.headers("server"))
        yield running


BODIES: dict[str, Any] = {
    "POST /v1/events": {"events": []},
    "POST /v1/events/check": {"events": []},
    "POST /v1/recommend": {"anon_id": "a"},
    "POST /v1/tracker": {"anon_id": "a"},
    "POST /v1/feeds/{id}/poll": {},
    "POST /v1/why-not": {"query": {"anon_id": "a"}},
    "POST /v1/items": [],
    "PUT /v1/items/{id}": {"title": "t"},
    "PATCH /v1/items/{id}": {"title": "t"},
    "PUT /v1/items/{id}/vectors/{name}": {"vector": [1.0], "encoder": "e", "version": "1"},
    "PUT /v1/users/{id}": {},
    "POST /v1/models/promote": {"number": 7},
    "POST /v1/experiments": {"name": "x", "placement": "home", "variants": {n: {"weight": 0.5} for n in "ab"}},
}


QUERIES = {
    "GET /v1/tail": {"seconds": "1"},
    "GET /v1/search": {"q": "mug"},
    "DELETE /v1/users/{id}/interest": {"tag": "brand", "name": "acme"},
}


FOREIGN = {route.name for route in ROUTES if route.method == "POST" and route.answer is Taken}


@pytest.mark.parametrize("route", [route.name for route in ROUTES])
@pytest.mark.parametrize("kind", [*KINDS, "none", "unknown"])
def test_a_key_does_what_its_kind_may_and_nothing_else(served: Served, route: str, kind: str) -> None:
    method, path = route.split(" ")
    headers = {
        "none": {},
        "unknown": {"authorization": "Bearer srv_" + "0" * 64},
    }.get(kind) or ({} if kind == "none" else served.headers(kind))
    foreign = {} if route in FOREIGN else None
    body = BODIES.get(route, foreign)
    query = {"userEvent": "{}"} if path.endswith(":collect") else QUERIES.get(route)
    address = path.replace("{id}", "i1").replace("{name}", "image")
    answer = served.client.request(method, address, headers=headers, json=body, params=query)
    allowed = POLICY[route]
    if path.endswith("/webhooks"):
        assert answer.status_code == 401  # they are signed, and a key is no signature
    elif PUBLIC in allowed:
        assert answer.status_code == 200
    elif kind in ("none", "unknown"):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    elif kind not in allowed:
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "forbidden"
    else:
        assert answer.status_code in (200, 404), answer.text


def test_a_key_may_come_in_its_own_header(served: Served) -> None:
    assert served.client.get("/v1/placements", headers={"x-endcap-key": served.secrets["server"]}).status_code == 200


def test_a_key_in_the_address_is_not_read(served: Served) -> None:
    assert served.client.get(f"/v1/placements?key={served.secrets['server']}").status_code == 401


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "purchase", "anon_id": "b", "item_id": "i1"}, "type_not_allowed"),
        ({"type": "refund", "anon_id": "b", "item_id": "i1"}, "type_not_allowed"),
        ({"type": "rating", "anon_id": "b", "item_id": "i1", "value": 1}, "type_not_allowed"),
        ({"type": "view", "user_id": "victim", "item_id": "i1"}, "user_not_allowed"),
        ({"type": "view", "anon_id": "b", "user_id": "victim", "item_id": "i1"}, "user_not_allowed"),
        ({"type": "view", "anon_id": "b", "item_id": "i1", "ts": NOW - 10**9}, "backdated"),
    ],
)
def test_a_browser_key_writes_only_what_a_visitor_can_cause(served: Served, event: dict[str, Any], code: str) -> None:
    ack = served.send(view("b", "i1"), event, headers=served.headers("browser"))
    assert ack["accepted"] + ack["duplicates"] == 1
    assert [(refusal["index"], refusal["code"]) for refusal in ack["rejected"]] == [(1, code)]


def test_options_of_a_browser_key_widen_it(served: Served) -> None:
    assert served.ring is not None
    _, secret = served.ring.create("browser", allow=["purchase"], user_ids=True)
    headers = {"authorization": f"Bearer {secret}"}
    ack = served.send({"type": "purchase", "user_id": "u", "item_id": "i1"}, headers=headers)
    assert ack["accepted"] == 1
    assert served.client.get("/v1/recommend?user_id=u", headers=headers).status_code == 200


@pytest.mark.parametrize("query", [{"user_id": "victim"}, {"anon_id": "a", "explain": True}])
def test_a_browser_key_cannot_ask_for_more_than_its_own_slates(served: Served, query: dict[str, Any]) -> None:
    answer = served.client.post("/v1/recommend", json=query, headers=served.headers("browser"))
    assert answer.status_code == 403
    text = {name: "1" if value is True else value for name, value in query.items()}
    answer = served.client.get("/v1/items/i1/similar", params=text, headers=served.headers("browser"))
    assert answer.status_code == 403


ORIGINS = [
    ("https://shop.example", True),
    ("https://shop.example:443", False),
    ("http://shop.example", False),
    ("https://shop.example.evil.test", False),
    ("https://evilshop.example", False),
    ("https://SHOP.example", False),
    ("https://shop.example/", False),
    ("null", False),
    ("*", False),
    ("", False),
]


@pytest.mark.parametrize(("origin", "good"), ORIGINS)
def test_origins_match_exactly_or_not_at_all(served: Served, origin: str, good: bool) -> None:
    headers = {**served.headers("browser"), "origin": origin}
    answer = served.client.post("/v1/recommend", json={"anon_id": "a"}, headers=headers)
    assert answer.status_code == (200 if good else 403)
    assert answer.headers.get("access-control-allow-origin") == (origin if good else None)
    assert answer.headers.get("access-control-expose-headers") == ("retry-after" if good else None)
    assert answer.headers["vary"] == "origin"
    asked = served.client.options("/v1/recommend", headers={"origin": origin, "access-control-request-method": "POST"})
    assert asked.status_code == (200 if good else 403)
    assert asked.headers.get("access-control-allow-origin") == (origin if good else None)
    assert ("access-control-allow-methods" in asked.headers) == good
