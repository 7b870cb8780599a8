"""The layers hold: models ← engines ← bench, and what may be imported where."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("models", "engines", "bench")
KNOWS = {"models": {"models"}, "engines": {"models", "engines"}, "bench": set(LAYERS)}
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module, and every name taken from one, that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.update({f"{node.module}", *(f"{node.module}.{a.name}" for a in node.names)})
    return frozenset(names)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_look_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(LAYERS)


def test_a_layer_knows_only_those_below_it() -> None:
    upward = [
        (relative(path), name)
        for path in SOURCES
        for name in imported(path)
        if name.startswith("quantswarm.")
        and name.split(".")[1] not in KNOWS[path.relative_to(ROOT).parts[0]]
    ]
    assert not upward


def test_our_modules_are_imported_by_their_full_name() -> None:
    bare = [
        (relative(path), name)
        for path in SOURCES
        for name in imported(path)
        if name.split(".")[0] in LAYERS
    ]
    assert not bare


def test_only_the_swarms_own_modules_import_locust_and_gevent() -> None:
    patching = {
        relative(path)
        for path in SOURCES
        if {name.split(".")[0] for name in imported(path)} & {"locust", "gevent"}
    }
    assert patching == {f"bench/load/{name}.py" for name in ("crowd", "loop", "swarm_user")}


def test_only_the_swarms_own_processes_import_that_module() -> None:
    users = {relative(path) for path in SOURCES if "quantswarm.bench.load.crowd" in imported(path)}
    assert users == {"bench/load/swarm_child.py", "bench/load/swarm_master.py"}
    assert not [
        relative(path)
        for path in SOURCES
        if imported(path)
        & {"quantswarm.bench.load.swarm_child", "quantswarm.bench.load.swarm_master"}
    ]


@pytest.mark.parametrize("folder", ["engines/provision", "engines/scripted"])
def test_what_runs_without_packages_imports_none(folder: str) -> None:
    """Set-up runs before any package exists; the scripted engine has to start in no time."""
    foreign = {
        (relative(path), name)
        for path in (ROOT / folder).rglob("*.py")
        for name in imported(path)
        if name.split(".")[0] not in sys.stdlib_module_names | {"quantswarm"}
    }
    assert not foreign


def test_set_up_depends_on_nothing_of_ours_but_itself_and_what_it_makes() -> None:
    """The errors, sealed folders, how the kernels are compiled, where the quantizers live."""
    allowed = (
        *("quantswarm.engines.provision", "quantswarm.engines.vllm_cpu"),
        *("quantswarm.models.errors", "quantswarm.models.sealed"),
    )
    others = {
        (relative(path), name)
        for path in (ROOT / "engines/provision").rglob("*.py")
        for name in imported(path)
        if name.startswith("quantswarm") and not name.startswith(allowed)
    }
    assert not others


HEAVY = [
    *("gevent", "gguf", "jinja2", "locust", "matplotlib", "numpy", "openai", "pandas", "pyarrow"),
    *("safetensors", "tokenizers", "torch", "transformers", "vllm"),
]


@pytest.mark.parametrize(
    "module", ["quantswarm.models.recipes", "quantswarm.engines.registry", "quantswarm.bench.cli"]
)
def test_importing_the_surface_loads_nothing_heavy(module: str) -> None:
    assert heavy_after(f"import {module}") == []


def test_help_loads_nothing_heavy() -> None:
    """Stands in for a time limit on --help, which a busy machine would break."""
    assert heavy_after("from quantswarm.bench import cli", "cli.main(['--help'])") == []


def test_discovery_loads_nothing_heavy() -> None:
    assert not heavy_after("from quantswarm.engines import registry", "registry.engines()")
    assert not heavy_after("from quantswarm.models import recipes", "recipes.recipes()")


def heavy_after(*statements: str) -> list[str]:
    """Which heavy packages a fresh interpreter has loaded after these statements."""
    script = [
        "import sys",
        "try:",
        *(f"    {statement}" for statement in statements),
        "except SystemExit: pass",
        f"print('LOADED', *[name for name in {HEAVY} if name in sys.modules])",
    ]
    done = subprocess.run(
        [sys.executable, "-I", "-c", "\n".join(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]
