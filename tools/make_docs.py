"""Write the pages made from code: docs/configuration.md from config.py, docs/http.md from the OpenAPI document.

python tools/make_docs.py          write both
python tools/make_docs.py --check  exit 1 when a page is out of date (tests/test_docs.py does the same)
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from endcap import config as config_module
from endcap.config import Config, shop_placements

ROOT = Path(__file__).resolve().parent.parent
CONFIG_SOURCE = ROOT / "src" / "endcap" / "config.py"

CONFIGURATION_HEAD = """\
# Configuration

Endcap runs without any settings. What differs from the defaults below goes into `endcap.toml` in the working directory
(or the file named with `--config`); a single value can be overridden from the environment as `ENDCAP_SECTION__KEY`:

```toml
[server]
port = 9000

[clean]
session_gap_s = 3600

[placements.home]
n = 24
category_cap = 3
```

```sh
ENDCAP_SERVER__PORT=9001 endcap serve
```

Unknown keys are refused, with the nearest known name. `endcap config` prints the effective table and the source of
every value. Changing a setting under `clean`, `covisit`, `session_knn` or `user_knn` changes what is learnt from the
log, so the next start ignores older snapshots and folds the log anew.

This page is made from the comments in `src/endcap/config.py`.
"""


def settings_of(source: str) -> dict[str, tuple[str, list[tuple[str, str, str]]]]:
    """Class name -> (docstring, fields as (name, type, comment)), read from the source text."""
    lines = source.splitlines()
    found: dict[str, tuple[str, list[tuple[str, str, str]]]] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields = []
        for entry in node.body:
            if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name):
                comment = re.search(r"#\s*(.*)$", lines[(entry.end_lineno or entry.lineno) - 1])
                kind = ast.unparse(entry.annotation)
                fields.append((entry.target.id, kind, comment.group(1) if comment else ""))
        found[node.name] = (ast.get_docstring(node) or "", fields)
    return found


def default_of(struct: type[msgspec.Struct], name: str) -> str:
    """A field's default as TOML or JSON would write it, empty when it must be given."""
    field = next(field for field in msgspec.structs.fields(struct) if field.name == name)
    if field.default is not msgspec.NODEFAULT:
        value = field.default
    elif field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    else:
        return ""
    return "" if value is None else f"`{msgspec.json.encode(value).decode()}`"


def cell(text: str) -> str:
    """Text that stands in a table cell."""
    return text.replace("|", "\\|")


def table(struct: type[msgspec.Struct], fields: list[tuple[str, str, str]]) -> list[str]:
    """A Markdown table of one section's settings."""
    rows = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for name, kind, comment in fields:
        rows.append(f"| `{name}` | `{cell(kind)}` | {cell(default_of(struct, name))} | {cell(comment)} |")
    return rows


def configuration() -> str:
    """The whole of docs/configuration.md."""
    classes = settings_of(CONFIG_SOURCE.read_text("utf-8"))
    out = [CONFIGURATION_HEAD]
    own: list[tuple[str, str, str]] = []
    for name, kind, comment in classes["Config"][1]:
        if kind not in classes:
            own.append((name, kind, comment))
            continue
        text, fields = classes[kind]
        out += [f"## [{name}]", "", text, "", *table(getattr(config_module, kind), fields), ""]
    own = [entry for entry in own if entry[0] not in ("placements", "rules", "feeds")]
    out += ["## Top level", "", *table(Config, own), ""]
    text, fields = classes["PlacementConfig"]
    laid_over = "What a file says is laid over the defaults, field by field; a new name makes a new placement."
    placement = table(config_module.PlacementConfig, fields)
    out += ["## [placements.NAME]", "", f"{text} {laid_over}", "", *placement, ""]
    out += ["The placements there from the start:", "", *placements_table(), ""]
    text, fields = classes["Rule"]
    out += ["## [[rules]]", "", text, "", *table(config_module.Rule, fields)]
    text, fields = classes["FeedConfig"]
    out += ["", "## [[feeds]]", "", f"{text} See [Feeds](feeds.md).", "", *table(config_module.FeedConfig, fields)]
    return "\n".join(out) + "\n"


def placements_table() -> list[str]:
    """The preset's surfaces."""
    rows = ["| placement | sources | n | seen | diversity | category cap |", "|---|---|---|---|---|---|"]
    for name, placement in shop_placements().items():
        rows.append(
            f"| `{name}` | {', '.join(placement.sources)} | {placement.n} | {placement.seen} | "
            f"{placement.diversity} | {placement.category_cap or 'none'} |"
        )
    return rows


HTTP_HEAD = """\
# HTTP interface

JSON over HTTP/1.1, versioned path. A running server shows the same, with schemas, at `/docs` (offline) and
`/openapi.json`. This page is made from that document.

* Send the key as `Authorization: Bearer KEY` or `X-Endcap-Key: KEY`. Which kind of key may call what stands with each
  route. `endcap serve --open` accepts calls without a key on loopback, for development.
* Bad input is refused record by record: the others of a batch are taken, and each refusal says what was wrong. Errors
  have one shape: `{"error": {"code": "...", "message": "...", "field": "..."}}`.
* 429 and 503 carry `Retry-After` in seconds. Repeating an event with the same `event_id` is always safe.
* The `offset` of an acknowledgement, passed back as `at_least`, makes sure that the answer knows that event.
"""


def http() -> str:
    """The whole of docs/http.md."""
    from endcap.server.openapi import document
    from endcap.server.routes import ROUTES

    spec = document(ROUTES)
    out = [HTTP_HEAD]
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            out += route(method.upper(), path, operation)
    return "\n".join(out).rstrip() + "\n"


def route(method: str, path: str, operation: dict[str, Any]) -> list[str]:
    """One route: what it does, its parameters, body and answers."""
    lines = [f"## {method} {path}", "", operation["summary"], ""]
    if description := operation.get("description"):
        lines += [description, ""]
    parameters = operation.get("parameters", [])
    if parameters:
        lines += ["| parameter | in | type | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{p['name']}` | {p['in']} | {type_of(p.get('schema', {}))} | {cell(p.get('description', ''))} |"
            for p in parameters
        ]
        lines.append("")
    if body := operation.get("requestBody"):
        lines += [f"Body: {contents(body)}", ""]
    answers = [
        f"{status}: {cell(answer.get('description', ''))} {contents(answer)}".strip()
        for status, answer in operation["responses"].items()
    ]
    return [*lines, *(f"* {answer}" for answer in answers), ""]


def contents(holder: dict[str, Any]) -> str:
    """The schemas of a body or an answer, by media type."""
    return ", ".join(
        f"`{media}` {type_of(entry.get('schema', {}))}" for media, entry in holder.get("content", {}).items()
    )


def type_of(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if reference := schema.get("$ref"):
        return f"`{reference.rsplit('/', 1)[1]}`"
    for joined in ("anyOf", "oneOf"):
        if joined in schema:
            return " or ".join(type_of(option) for option in schema[joined])
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


PAGES = {"configuration.md": configuration, "http.md": http}


def main() -> int:
    """Write or check every page; gives the exit status."""
    stale = []
    for name, make in PAGES.items():
        page, text = ROOT / "docs" / name, make()
        if page.exists() and page.read_text("utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            page.write_text(text, "utf-8")
    print(f"out of date: {', '.join(stale)}" if stale else "every page is current", file=sys.stderr)
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
