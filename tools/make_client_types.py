"""Write clients/js/schema.d.ts: the types of the OpenAPI document, as TypeScript.

python tools/make_client_types.py          write it
python tools/make_client_types.py --check  exit 1 when it is out of date (tests/test_javascript.py does the same)

One interface per schema of the document, and one per operation that has a query string, named by its operation id.
Only what our own document uses is known here; a schema of another shape is an error, not a guess.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "clients" / "js" / "schema.d.ts"
HEAD = "// Made by tools/make_client_types.py from the server's OpenAPI document. Change the server, not this file.\n"
PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
# what stands beside a type and says nothing that TypeScript could hold
SILENT = {
    "title", "description", "default", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "pattern", "format", "contentEncoding", "discriminator",
}  # fmt: skip


def type_of(schema: dict[str, Any]) -> str:
    """A schema as a TypeScript type."""
    said = {name: value for name, value in schema.items() if name not in SILENT}
    match said:
        case {"$ref": reference}:
            return str(reference).rpartition("/")[2]
        case {"enum": values}:
            return " | ".join(json.dumps(value) for value in values)
        case {"const": value}:
            return json.dumps(value)
        case {"anyOf": options} | {"oneOf": options}:
            return " | ".join(dict.fromkeys(type_of(option) for option in options))
        case {"type": "array", "prefixItems": places}:
            return f"[{', '.join(type_of(place) for place in places)}]"
        case {"type": "array"}:
            inner = type_of(said.get("items", {}))
            return f"({inner})[]" if " " in inner else f"{inner}[]"
        case {"type": "object", "properties": _}:
            return "\n".join(["{", *fields(schema), "}"])
        case {"type": "object"}:
            return f"Record<string, {type_of(said.get('additionalProperties') or {})}>"
        case {"type": list(names)}:
            return " | ".join(PLAIN[name] for name in names)
        case {"type": str(name)} if name in PLAIN:
            return PLAIN[name]
        case _ if not said:
            return "unknown"
    raise SystemExit(f"a schema of an unknown shape: {json.dumps(schema)}; teach it to tools/make_client_types.py")


def fields(schema: dict[str, Any]) -> Iterator[str]:
    """The lines of an object's fields."""
    required = set(schema.get("required", ()))
    for name, inner in schema.get("properties", {}).items():
        key = name if name.isidentifier() else json.dumps(name)
        if text := inner.get("description"):
            yield f"  {comment(text)}"
        yield f"  {key}{'' if name in required else '?'}: {type_of(inner)};"


def comment(text: str) -> str:
    return f"/** {' '.join(text.split()).replace('*/', '* /')} */"


def interface(name: str, schema: dict[str, Any]) -> list[str]:
    """One schema with its name."""
    lines = [comment(schema["description"])] if schema.get("description") else []
    if schema.get("type") != "object" or "properties" not in schema:
        return [*lines, f"export type {name} = {type_of(schema)};", ""]
    return [*lines, f"export interface {name} {{", *fields(schema), "}", ""]


def questions(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What may stand behind the question mark of an address, by the operation's name."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found = [one for one in operation["parameters"] if one["in"] == "query"]
            if not found:
                continue
            words = re.sub(r"(?:^|_)(\w)", lambda first: first[1].upper(), operation["operationId"])
            properties = {one["name"]: widened(one) for one in found}
            yield f"{words}Query", {
                "type": "object", "properties": properties, "description": f"Query string of {method.upper()} {path}",
                "required": [one["name"] for one in found if one["required"]],
            }  # fmt: skip


def widened(parameter: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema; a flag takes true and false too, which the client writes as 1 and 0."""
    schema = dict(parameter["schema"], description=parameter.get("description", ""))
    if set(schema.get("enum", ())) == {"0", "1", "true", "false"}:
        schema = {"type": "boolean", "description": schema["description"]}
    return schema


def types(document: dict[str, Any]) -> str:
    """The whole file."""
    lines = [HEAD]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += interface(name, schema)
    for name, schema in sorted(questions(document)):
        lines += interface(name, schema)
    return "\n".join(lines)


def main() -> int:
    """Write or check; gives the exit status."""
    from endcap.server.openapi import document
    from endcap.server.routes import ROUTES

    text = types(document(ROUTES))
    if TARGET.exists() and TARGET.read_text("utf-8") == text:
        print("the types are current", file=sys.stderr)
        return 0
    if "--check" in sys.argv:
        print("out of date: run python tools/make_client_types.py", file=sys.stderr)
        return 1
    TARGET.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
