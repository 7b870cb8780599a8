"""A home of its own for each test, and a Llama small enough to convert in milliseconds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from quantswarm.models import shapes, source, synthetic
from quantswarm.models.artefact import ModelSource
from quantswarm.models.shapes import Shape

MICRO = Shape(
    name="micro",
    after="nothing",
    vocabulary=2304,
    width=256,
    feed_forward=256,
    layers=1,
    heads=4,
    kv_heads=2,
    head_size=64,
    context_tokens=512,
)


@pytest.fixture(autouse=True)
def quantswarm_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("QUANTSWARM_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def _micro_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "SHAPES", {**shapes.SHAPES, "micro": MICRO})


@pytest.fixture(scope="session")
def _micro_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("micro")


@pytest.fixture
def micro(_micro_home: Path, monkeypatch: pytest.MonkeyPatch, quantswarm_home: Path) -> ModelSource:
    """A synthetic model of 1.5 M parameters; its weights are written once a session."""
    monkeypatch.setenv("QUANTSWARM_HOME", str(_micro_home))
    made = synthetic.source(MICRO)
    monkeypatch.setenv("QUANTSWARM_HOME", str(quantswarm_home))
    return made


@pytest.fixture
def micro_folder(micro: ModelSource, tmp_path: Path) -> Path:
    """A copy of the micro model that a test may break."""
    import shutil

    assert micro.folder is not None
    return Path(shutil.copytree(micro.folder, tmp_path / "model"))


@pytest.fixture(scope="session")
def tiny_folder() -> Path:
    return source.tiny_folder()


@pytest.fixture
def quantizers(quantswarm_home: Path) -> Path:
    """The quantizers' environment, played by a stub that rounds to nearest (stubs/quantizer.py)."""
    stub = Path(__file__).parent / "stubs" / "quantizer.py"
    python = quantswarm_home / "quantizers" / "current" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {stub} "$@"\n')
    python.chmod(0o755)
    return python
