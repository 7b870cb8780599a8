"""House rules that a linter does not know."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

_TRUE = re.compile(r"\w+=True")
ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("models", "engines", "bench", "tests", "compose")
    for path in (ROOT / folder).rglob("*.py")
)
OURS = [path for path in SOURCES if "tests" not in path.relative_to(ROOT).parts]
MOST_LINES_A_FILE = 400
MOST_LINES_A_FUNCTION = 60
LONGEST_PAUSE_S = 0.1
NO_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and number of lines of each function in a file."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{relative(path)}: {node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_files_are_short() -> None:
    lines = {relative(path): path.read_text(encoding="utf-8").count("\n") for path in SOURCES}
    assert not {path: count for path, count in lines.items() if count > MOST_LINES_A_FILE}


def test_functions_are_short() -> None:
    lengths = [found for path in SOURCES for found in functions(path)]
    assert not [found for found in lengths if found[1] > MOST_LINES_A_FUNCTION]


def test_most_functions_are_very_short() -> None:
    assert median(lines for path in OURS for _, lines in functions(path)) < 12


def test_names_of_files_say_what_is_inside() -> None:
    named = {path.stem if path.stem != "__init__" else path.parent.name for path in OURS}
    assert not named & NO_NAMES


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    """Run as a script, or beside Locust's file, it would be imported in the other's place."""
    names = {path.stem: relative(path) for path in OURS if not path.stem.startswith("__")}
    assert not [path for name, path in names.items() if name in sys.stdlib_module_names]


def test_every_file_begins_with_what_it_is_for() -> None:
    assert not [relative(path) for path in OURS if not ast.get_docstring(tree_of(path))]


def test_what_crosses_layers_cannot_be_changed_on_the_way() -> None:
    """Public dataclasses are frozen, slotted and keyword-only."""
    loose = []
    for path in OURS:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                made = [
                    text for text in map(ast.unparse, node.decorator_list) if "dataclass" in text
                ]
                loose += [
                    f"{relative(path)}: {node.name}"
                    for text in made
                    if not {"frozen=True", "slots=True", "kw_only=True"} <= set(_TRUE.findall(text))
                ]
    assert not loose


def test_tests_do_not_sleep() -> None:
    """A test waits for a condition with a deadline; the pause between two looks is short."""
    sleeping = [
        f"{relative(path)}: {call}"
        for path in ROOT.glob("tests/**/test_*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        for call in sleeps(node)
    ]
    assert not sleeping


def sleeps(function: ast.FunctionDef) -> Iterator[str]:
    """Calls of `sleep` in a function that are longer than a pause between two looks."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}:
            (pause,) = node.args
            constant = pause.value if isinstance(pause, ast.Constant) else None
            if not isinstance(constant, int | float) or constant > LONGEST_PAUSE_S:
                yield ast.unparse(node)
