"""Set-up of llama.cpp for GPUs: which it is compiled for, and what cmake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantswarm.engines.provision import llamacpp_build as build
from quantswarm.engines.provision import machine as machines


def made(*, gpu: bool, cuda_architectures: str) -> build.Recipe:
    return build.recipe_for(
        machines.Machine(
            architecture="x86_64",
            cores=2,
            cpu_flags=frozenset(),
            gpu=gpu,
            nvcc=Path("nvcc"),
            compiler=Path("c++"),
            cmake=Path("cmake"),
            ninja=Path("ninja"),
            cuda_architectures=cuda_architectures,
        )
    )


def test_the_gpus_to_compile_for_are_those_here_or_those_that_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine without a GPU can compile for one that it does not have."""
    monkeypatch.delenv("QUANTSWARM_CUDA_ARCHITECTURES", raising=False)
    here = machines.this_machine().cuda_architectures
    monkeypatch.setenv("QUANTSWARM_CUDA_ARCHITECTURES", "90-real")
    there = machines.this_machine().cuda_architectures
    assert (here, there) == ("native", "90-real")
    native, hopper = (made(gpu=True, cuda_architectures=listed) for listed in (here, there))
    assert "CMAKE_CUDA_ARCHITECTURES=native" in native.flags
    assert {"CMAKE_CUDA_ARCHITECTURES=90-real", "GGML_CUDA_GRAPHS=ON"} <= set(hopper.flags)
    assert native.name != hopper.name


def test_without_a_gpu_cmake_hears_nothing_of_cuda() -> None:
    plain = made(gpu=False, cuda_architectures="90-real")
    assert not [flag for flag in plain.flags if "CUDA" in flag]
