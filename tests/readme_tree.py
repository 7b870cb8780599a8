"""The tree in README.md, made from the first line of every module's docstring.

`python tests/readme_tree.py` writes it; tests/test_readme.py holds the README to it.
"""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- tree -->\n", "<!-- /tree -->\n"
_WIDEST = 110
_OTHERS = {
    "bench/matrices/": "what the main job measures: one TOML file a matrix",
    "bench/scenarios/": "what a user asks for: lengths and windows, one TOML file each",
    "compose/": "containers: one file an engine, one for the swarm",
    "docs/": "architecture, metrics, choosing, decisions (adr/), reproductions, results",
    "models/tiny/": "the embedded model: weights, tokenizer, card",
    "tests/": "mirrors the packages; `engines` marks what needs real servers",
}


def tree() -> str:
    """Folders in order, each file with the first sentence of its docstring."""
    paths = [
        Path(line) for line in _tracked() if line.split("/")[0] in {"models", "engines", "bench"}
    ]
    modules = [path for path in paths if path.suffix == ".py"]
    lines: list[str] = []
    for folder in sorted({path.parent for path in modules}):
        lines.append(f"{folder}/".ljust(28) + _sentence(folder / "__init__.py"))
        files = sorted(path for path in modules if path.parent == folder)
        lines += [
            f"  {path.name}".ljust(28) + _sentence(path)
            for path in files
            if path.name != "__init__.py"
        ]
    lines += [f"{path.ljust(28)}{words}" for path, words in _OTHERS.items()]
    return "\n".join(map(_cut, lines))


def _cut(line: str) -> str:
    """At most `_WIDEST` characters, in whole words."""
    if len(line) <= _WIDEST:
        return line.rstrip()
    return line[:_WIDEST].rpartition(" ")[0].rstrip(",;( ") + " …"


def _tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if (ROOT / line).exists()]


def _sentence(path: Path) -> str:
    file = ROOT / path
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) if file.exists() else None
    first = (doc or "").split("\n\n")[0].replace("\n", " ")
    return first.split(": ")[0].split(". ")[0].rstrip(".")


def in_readme(text: str) -> str:
    """The README with its tree made anew."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}```\n{tree()}\n```\n{END}{after}"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(in_readme(readme.read_text(encoding="utf-8")), encoding="utf-8")
