"""The OpenAPI document: complete, well formed, and true of the running server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from endcap.evaluation.saved import SavedReport
from endcap.server.openapi import document
from endcap.server.policy import POLICY, PUBLIC
from endcap.server.routes import ROUTES
from served import Served, serving, view

DOCUMENT: dict[str, Any] = json.loads(json.dumps(document(ROUTES)))
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}

EXPERIMENT: dict[str, Any] = {
    "name": "made", "placement": "cart", "share": 0.3, "variants": {"a": {"weight": 0.5}, "b": {"weight": 0.5}},
}  # fmt: skip


def references(tree: Any) -> Iterator[str]:
    """Every ``$ref`` in a tree."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from references(value)


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    assert set(OPERATIONS) == {route.name for route in ROUTES} == set(POLICY)


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert found
    for reference in found:
        node: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        assert isinstance(node, dict)


def test_operation_ids_are_unique_and_usable_as_names() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(ids) == len(set(ids))
    assert all(name.isidentifier() for name in ids)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_operation_says_what_it_takes_gives_and_needs(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert len(operation["tags"]) == 1
    assert operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    in_path = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", name))
    names = [parameter["name"] for parameter in operation["parameters"]]
    assert len(names) == len(set(names))
    assert ("requestBody" in operation) == (name.split()[0] in ("POST", "PUT", "PATCH"))
    assert bool(operation["security"]) == (PUBLIC not in POLICY[name])
    responses = operation["responses"]
    assert "200" in responses
    assert {"401", "403", "503"} <= set(responses) or PUBLIC in POLICY[name]
    for status, response in responses.items():
        assert response["description"]
        if int(status) >= 400:
            assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
        assert ("headers" in response) == (status in ("429", "503"))


def test_every_schema_is_a_valid_json_schema() -> None:
    jsonschema_rs = pytest.importorskip("jsonschema_rs", reason="jsonschema_rs comes with: make test-all")
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})
        assert schema.get("description") or "enum" in schema, f"{name} has no description"


def test_the_address_gives_the_id_that_the_body_need_not() -> None:
    schema = OPERATIONS["PUT /v1/items/{id}"]["requestBody"]["content"]["application/json"]["schema"]
    assert "item_id" not in schema["properties"]
    assert "item_id" not in schema["required"]
    assert "title" in schema["properties"]


REQUESTS: list[str] = []  # ids of slates that were logged


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("openapi")
    (directory / "reports").mkdir()
    report = SavedReport(name="lamp", saved_at=1, command="endcap evaluate", verdict={})
    (directory / "reports" / "lamp.json").write_bytes(msgspec.json.encode(report))
    with serving(directory) as running:
        running.client.put("/v1/items/lamp", json={"title": "Lamp", "categories": [["Home", "Light"]], "price": 3})
        running.client.put("/v1/items/lamp/vectors/image", json={"vector": [3, 4], "encoder": "e", "version": "1"})
        running.send(view("a", "lamp"), {"type": "view", "user_id": "u", "item_id": "lamp"})
        running.client.post("/v1/experiments", json=EXPERIMENT | {"name": "lamp", "placement": "home"})
        running.send({"type": "gaze", "anon_id": "a", "item_id": "lamp"})
        REQUESTS.append(running.slate(anon_id="a")["request_id"])
        running.send(view("a", "lamp"))  # acknowledged behind the slate
        yield running


def test_the_server_gives_out_the_document(served: Served) -> None:
    assert served.client.get("/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize(
    "name", sorted({name for name in OPERATIONS if name.startswith("GET")} - {"GET /metrics", "GET /v1/tail"})
)
def test_answers_are_what_the_document_says(served: Served, name: str) -> None:
    path = name.split()[1]
    given = {"/v1/users": "u", "/v1/placements": "home", "/v1/requests": REQUESTS[0]}
    path = path.replace("{id}", given.get(path[: path.find("/{")], "lamp")).replace("{name}", "image")
    event = '{"eventType": "home-page-view", "visitorId": "v"}'
    needed = {"userEvent": event} if "collect" in path else {"q": "lamp"} if path == "/v1/search" else None
    answer = served.client.get(path, params=needed)
    assert answer.status_code == 200, answer.text
    check(answer.content, name)


@pytest.mark.parametrize(("name", "body"), [
    ("POST /v1/events", {"events": [view("a", "lamp"), {"type": "?"}]}),
    ("POST /v1/events/check", [view("a", "lamp"), {"type": "?"}]),
    ("POST /v1/recommend", {"anon_id": "a", "explain": True}),
    ("POST /v1/why-not", {"query": {"anon_id": "a"}, "item_id": "lamp"}),
    ("POST /v1/items", [{"item_id": "b"}, {}]),
    ("PUT /v1/items/{id}", {"title": "t"}),
    ("PATCH /v1/items/{id}", {"title": "t"}),
    ("PUT /v1/items/{id}/vectors/{name}", {"vector": [1, 0], "encoder": "e", "version": "1"}),
    ("PUT /v1/users/{id}", {"traits": {"a": 1}}),
    ("POST /v1/experiments", EXPERIMENT),
    ("POST /v1/experiments/{id}/stop", {"reason": "enough"}),
])  # fmt: skip
def test_answers_to_bodies_are_what_the_document_says(served: Served, name: str, body: Any) -> None:
    method, path = name.split()
    answer = served.client.request(method, path.replace("{id}", "made").replace("{name}", "image"), json=body)
    assert answer.status_code == 200, answer.text
    check(answer.content, name)


def check(body: bytes, name: str) -> None:
    """Raise when an answer does not fit the route's type, or its schema where a validator is installed."""
    (route,) = [route for route in ROUTES if route.name == name]
    assert msgspec.json.decode(body, type=route.answer) is not None
    try:
        import jsonschema_rs
    except ImportError:
        return
    schema = OPERATIONS[name]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]}).validate(json.loads(body))
