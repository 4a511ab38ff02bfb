"""The OpenAPI 3.1 document, generated from the route table, the policy and the types; nothing is written twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from msgspec import inspect

from endcap.server.policy import POLICY, PUBLIC
from endcap.server.routes import Parameter, Route
from endcap.server.wire import ErrorBody

ERRORS = {
    400: "The request cannot be used; the error says what is wrong and where.",
    401: "The key is missing, unknown, revoked or expired.",
    403: "The key's kind may not do this.",
    404: "Nothing has this id.",
    413: "The body or batch is over its limit.",
    415: "The body is compressed, and not by gzip.",
    431: "The address and headers are over 32 KiB together.",
    429: "Too many events wait for the disk; try again after Retry-After seconds.",
    503: "Overloaded, draining, or behind the offset asked for; try again after Retry-After seconds.",
}
RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before trying again."}}
REF = "#/components/schemas/{name}"


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document as JSON-ready data."""
    types = [ErrorBody]
    for route in routes:
        types += [t for t in (*route.body, route.answer) if t is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    for component in components.values():  # the tag is written by us and need not be sent
        if "kind" in component.get("required", ()):
            component["required"].remove("kind")
    for record in told_whole(routes):
        if record.__name__ in components:
            components[record.__name__]["required"] = list(components[record.__name__]["properties"])
    found = iter(schemas[1:])
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        bodies = [next(found) for _ in route.body]
        answer = next(found) if route.answer is not None else None
        if route.id_field:
            bodies = [_without(components[body["$ref"].rpartition("/")[2]], route.id_field) for body in bodies]
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, bodies, answer, schemas[0])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Endcap",
            "version": version("endcap"),
            "summary": "Real-time personalization: send events, ask for slates.",
            "description": (
                "Times are integers of epoch milliseconds in UTC. Ids are opaque text of 1 to 256 bytes. An "
                "acknowledgement carries an offset; a query with that offset as at_least is never answered from older "
                "knowledge."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Endcap-Key"},
            },
        },
    }


def told_whole(routes: Sequence[Route]) -> set[type[msgspec.Struct]]:
    """Records that only answers hold and that leave no field out: each of their fields is always there."""
    answers = records([ErrorBody, *(route.answer for route in routes if route.answer is not None)])
    asked = records(body for route in routes for body in route.body)
    return {record for record in answers - asked if not record.__struct_config__.omit_defaults}


def records(types: Iterable[Any]) -> set[type[msgspec.Struct]]:
    """Every record that values of these types are or hold."""
    found: set[type[msgspec.Struct]] = set()
    seen: set[int] = set()

    def parts(node: Any) -> Iterator[Any]:
        if isinstance(node, tuple):
            yield from node
        elif isinstance(node, inspect.Type | inspect.Field):
            yield from (getattr(node, name) for name in node.__struct_fields__)

    waiting: list[Any] = list(inspect.multi_type_info(types))
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, inspect.StructType):
            found.add(node.cls)
        waiting.extend(parts(node))
    return found


def _operation(route: Route, bodies: list[dict[str, Any]], answer: dict[str, Any] | None, error: Any) -> dict[str, Any]:
    kinds = sorted(POLICY[route.name])
    guarded = PUBLIC not in kinds
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "description": f"Keys: {', '.join(kinds)}." if guarded else "No key needed.",
        "parameters": _parameters(route),
        "responses": _responses(route, answer, error, guarded),
        "security": [{"bearer": []}, {"header": []}] if guarded else [],
        "x-key-kinds": kinds,
    }
    if bodies:
        schema = bodies[0] if len(bodies) == 1 else {"anyOf": bodies}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        if route.body_description:
            operation["requestBody"]["description"] = route.body_description
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    found = [_parameter(parameter) for parameter in route.parameters]
    schemas: dict[str, dict[str, Any]] = {
        "name": {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,31}$"},
        "id": {"type": "string", "minLength": 1, "maxLength": 256},
    }
    for part, schema in schemas.items():
        if f"{{{part}}}" in route.path:
            found.insert(0, {"name": part, "in": "path", "required": True, "schema": schema})
    return found


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "schema": parameter.schema,
        "description": parameter.description,
    }


def _responses(route: Route, answer: dict[str, Any] | None, error: Any, guarded: bool) -> dict[str, Any]:
    schema = answer if answer is not None else {"type": "string"}
    found: dict[str, Any] = {"200": {"description": "Done.", "content": {route.media_type: {"schema": schema}}}}
    for status in sorted({*route.errors, *((401, 403, 431, 503) if guarded else ())}):
        found[str(status)] = {
            "description": ERRORS[status],
            "content": {"application/json": {"schema": error}},
            **({"headers": RETRY} if status in (429, 503) else {}),
        }
    return found


def _operation_id(route: Route) -> str:
    words = (
        route.path.replace("{id}", "one")
        .replace("{name}", "one")
        .replace(".", "-")
        .lstrip("/")
        .replace("/", "_")
        .replace("-", "_")
        .replace(":", "_")
    )
    if not route.path.startswith("/v1/") and route.tag != "operations":
        words = f"{route.tag}_{words}"  # another platform's address may be like one of ours
    return f"{route.method.lower()}_{words.removeprefix('v1_')}"


def _without(component: dict[str, Any], field: str) -> dict[str, Any]:
    """A record's schema without the field that the address gives."""
    return {
        **component,
        "properties": {name: schema for name, schema in component["properties"].items() if name != field},
        "required": [name for name in component.get("required", ()) if name != field],
    }
