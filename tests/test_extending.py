"""CONTRIBUTING says that an engine, and a quantization, is one new file. Here each is added."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def example(heading: str) -> str:
    """The Python block under a heading of CONTRIBUTING: what readers copy is what is tested."""
    section = GUIDE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return section.split("```python\n")[1].split("```")[0]


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """A package `quantswarm` made of links to ours, into which one file more can be put."""
    package = tmp_path / "overlay" / "quantswarm"
    for layer in ("models", "engines", "bench"):
        (package / layer).mkdir(parents=True)
        for entry in (ROOT / layer).iterdir():
            if entry.name not in {"__pycache__", "recipes"}:
                (package / layer / entry.name).symlink_to(entry)
    recipes = package / "models/recipes"
    recipes.mkdir()
    for entry in (ROOT / "models/recipes").iterdir():
        if entry.name != "__pycache__":
            (recipes / entry.name).symlink_to(entry)
    return package


def quantswarm(overlay: Path, *arguments: str) -> Any:
    """Run the command from the overlay, which stands before the installed package."""
    run = (
        "import sys; sys.path.insert(0, sys.argv.pop(1));"
        # The editable install's finder comes first otherwise; the overlay is to win.
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)];"
        "from quantswarm.bench.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", run, str(overlay.parent), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=overlay,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_engine_is_one_new_file(overlay: Path) -> None:
    before = quantswarm(overlay, "engines", "--json")["engines"]
    assert "mine" not in {engine["name"] for engine in before}
    (overlay / "engines/mine.py").write_text(textwrap.dedent(example("Add an engine")))
    engines = {
        engine["name"]: engine for engine in quantswarm(overlay, "engines", "--json")["engines"]
    }
    assert set(engines) == {"mine", *(engine["name"] for engine in before)}
    assert "q8_0" in {quant["name"] for quant in engines["mine"]["quants"]}
    plan = quantswarm(
        overlay,
        "serve",
        "--engine",
        "mine",
        "--quant",
        "q8_0",
        "--model",
        "tiny",
        "--dry-run",
        "--json",
    )
    assert plan["argv"][0] == "my-server"
    assert any(word.endswith(".gguf") for word in plan["argv"])


def test_a_quantization_is_one_new_file(overlay: Path) -> None:
    before = {quant["name"] for quant in quantswarm(overlay, "quants", "--json")["quants"]}
    assert "mine" not in before
    recipe = textwrap.dedent(example("Add a quantization"))
    (overlay / "models/recipes/mine.py").write_text(recipe)
    quants = {quant["name"]: quant for quant in quantswarm(overlay, "quants", "--json")["quants"]}
    assert set(quants) == before | {"mine"}
    assert "vllm" in quants["mine"]["engines"]
    plan = quantswarm(
        overlay,
        "serve",
        "--engine",
        "vllm",
        "--quant",
        "mine",
        "--model",
        "tiny",
        "--dry-run",
        "--json",
    )
    assert plan["argv"][plan["argv"].index("--kv-cache-dtype") + 1] == "fp8"
