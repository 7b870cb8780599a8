"""The wheel: complete, and `quantswarm` is the only name it puts into site-packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("models", "engines", "bench")
NOT_SHIPPED = ("__pycache__", "*.pyc", "*.part", ".*")


def files(root: Path) -> set[str]:
    """Every file of the layers, by the name it must have in the wheel."""
    return {
        f"quantswarm/{path.relative_to(root)}"
        for layer in LAYERS
        for path in (root / layer).rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources: building leaves traces beside them."""
    root = tmp_path_factory.mktemp("tree")
    for layer in LAYERS:
        ignore = shutil.ignore_patterns(*NOT_SHIPPED)
        shutil.copytree(ROOT / layer, root / layer, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root / name)
    return root


@pytest.fixture(scope="module")
def wheel(tree: Path) -> zipfile.ZipFile:
    """Built as a packager would, but with the setuptools that is installed here."""
    out = tree / "dist"
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(
        command, cwd=tree, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built)


def test_every_file_is_in_it(wheel: zipfile.ZipFile, tree: Path) -> None:
    missing = files(tree) - set(wheel.namelist())
    assert not missing, "name its folder in pyproject.toml: packages, or package-data"


def test_nothing_else_is_in_it(wheel: zipfile.ZipFile, tree: Path) -> None:
    foreign = [
        name
        for name in set(wheel.namelist()) - files(tree)
        if not name.startswith("quantswarm-") or ".dist-info/" not in name
    ]
    assert not foreign


def test_the_namespace_has_no_file_of_its_own(wheel: zipfile.ZipFile) -> None:
    assert "quantswarm/__init__.py" not in wheel.namelist()


def test_it_installs_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    (scripts,) = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    assert "quantswarm = quantswarm.bench.cli:main" in wheel.read(scripts).decode()
    assert [name for name in wheel.namelist() if name.endswith("licenses/LICENSE")]


def test_it_runs_from_where_it_was_unpacked(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Without the editable install: what is imported comes from the wheel."""
    wheel.extractall(tmp_path)
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r});"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)];"
        "from quantswarm.engines.registry import engines; import quantswarm.models.recipes as r;"
        "print(r.__file__, *engines())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    where, *names = done.stdout.split()
    assert where.startswith(str(tmp_path))
    assert {"vllm", "llamacpp"} <= set(names)
