"""The text `tiny` learns from: the Python standard library, which every user already has.

Files are split by a hash of their path, so the held-out part never depends on order, and nothing
derived from a held-out file (its docstrings as chat turns, say) reaches training.
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

END_OF_TEXT = "<|endoftext|>"
USER = "<|user|>"
ASSISTANT = "<|assistant|>"
END_OF_TURN = "<|end|>"
SPECIAL_TOKENS = (END_OF_TEXT, USER, ASSISTANT, END_OF_TURN)

_SKIPPED_FOLDERS = frozenset(
    {"site-packages", "test", "tests", "idle_test", "encodings", "__pycache__"}
)
_HELD_OUT_SHARE = 0.05
_LONGEST_ANSWER = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Documents for training and documents never trained on."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]


def is_held_out(relative: str) -> bool:
    """Whether the file at this path (relative to the library, `/` separated) is held out."""
    digest = hashlib.sha256(relative.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < _HELD_OUT_SHARE


def library_files(root: Path) -> Iterator[Path]:
    """Every module of the library but its tests and character tables, in a fixed order."""
    for path in sorted(root.rglob("*.py")):
        if not _SKIPPED_FOLDERS.intersection(path.relative_to(root).parts):
            yield path


def chat_turns(source: str) -> Iterator[str]:
    """Question and answer pairs from the docstrings of one module, in the chat template's form."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        doc = ast.get_docstring(node)
        if doc is None or len(doc) < 40:
            continue
        kind = "class" if isinstance(node, ast.ClassDef) else "function"
        yield _turn(f"What does the {kind} {node.name} do?", doc[:_LONGEST_ANSWER])
        code = ast.get_source_segment(source, node)
        if code is not None and kind == "function" and len(code) < _LONGEST_ANSWER:
            first_line = doc.splitlines()[0]
            yield _turn(f"Write the function {node.name}: {first_line}", code)


def _turn(question: str, answer: str) -> str:
    return f"{USER}\n{question}{END_OF_TURN}\n{ASSISTANT}\n{answer}{END_OF_TURN}\n"


def load(root: Path | None = None) -> Corpus:
    """The corpus of the running interpreter's library, or of the one under `root`."""
    base = root or Path(sysconfig.get_path("stdlib"))
    train: list[str] = []
    held_out: list[str] = []
    for path in library_files(base):
        text = path.read_text(encoding="utf-8", errors="ignore")
        if is_held_out(path.relative_to(base).as_posix()):
            held_out.append(text)
        else:
            train.append(text)
            train.extend(chat_turns(text))
    return Corpus(train=tuple(train), held_out=tuple(held_out))
