"""The compiled library, built once a session where set-up has not made it."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

import pytest

from quantswarm.engines.vllm_cpu import build, kernels
from quantswarm.models.store import home

sys.path.insert(0, str(Path(__file__).parent))  # made_weights.py


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    found = build.find(home())
    if found is not None:
        return found
    if platform.machine() not in {"x86_64", "AMD64"} or shutil.which("c++") is None:
        pytest.skip("no x86 processor, or no C++ compiler")
    return build.build(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="session")
def runs_here(library: Path) -> frozenset[str]:
    """The kernels that this processor has."""
    return kernels.load(library)
