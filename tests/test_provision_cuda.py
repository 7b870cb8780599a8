"""Set-up of llama.cpp for GPUs: which it is compiled for, and what cmake is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quantswarm.engines.provision import llamacpp_build as build
from quantswarm.engines.provision import machine as machines

MACHINE = machines.Machine(
    architecture="x86_64",
    cores=2,
    cpu_flags=frozenset(),
    gpu=True,
    nvcc=Path("nvcc"),
    compiler=Path("c++"),
    cmake=Path("cmake"),
    ninja=Path("ninja"),
)


def made(*, gpu: bool, cuda_architectures: str) -> build.Recipe:
    return build.recipe_for(replace(MACHINE, gpu=gpu, cuda_architectures=cuda_architectures))


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


@pytest.mark.parametrize("where", ["PATH", "CUDA_HOME", "CUDA_PATH", "installed"])
@pytest.mark.parametrize("headers", ["include", "targets/x86_64-linux/include"])
def test_cudas_compiler_is_found_off_the_path_too(
    where: str, headers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "cuda-13.0"
    nvcc = a_toolkit(root, headers)
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(nvcc.parent) if where == "PATH" else "")
    monkeypatch.setattr(machines, "CUDA_HOME", str(root if where == "installed" else tmp_path))
    if where.startswith("CUDA"):
        monkeypatch.setenv(where, str(root))
    assert machines.cuda_compiler() == (nvcc, "")


def test_a_distributions_toolkit_has_its_headers_beside_the_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = a_toolkit(tmp_path / "lib" / "cuda", None)
    link = tmp_path / "bin" / "nvcc"
    link.parent.mkdir()
    link.symlink_to(real)
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "cublas_v2.h").touch()
    monkeypatch.setenv("PATH", str(link.parent))
    assert machines.cuda_compiler() == (link, "")
    assert machines.toolkit_of(link) == tmp_path


def test_cmake_is_told_of_the_toolkit_and_the_loader_of_its_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the run path llama.cpp's CUDA library is there and does not load."""
    nvcc = a_toolkit(tmp_path, "include")
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "libcublas.so.13").touch()
    monkeypatch.setenv("LDFLAGS", "-Wl,-O1")
    machine = replace(MACHINE, gpu=True, nvcc=nvcc)
    told = build._cuda_for(machine, build.recipe_for(machine))
    assert told == {
        "CUDACXX": str(nvcc),
        "CUDAToolkit_ROOT": str(tmp_path),
        "LDFLAGS": f"-Wl,-O1 -Wl,-rpath,{tmp_path / 'lib64'}",
    }
    plain = replace(machine, gpu=False)
    assert build._cuda_for(plain, build.recipe_for(plain)) == {}


def test_a_compiler_without_cublas_is_passed_over_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, whole = a_toolkit(tmp_path / "bare", None), a_toolkit(tmp_path / "whole", "include")
    monkeypatch.setenv("PATH", str(bare.parent))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "whole"))
    assert machines.cuda_compiler() == (whole, "")
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setattr(machines, "CUDA_HOME", str(tmp_path / "nowhere"))
    nvcc, lacks = machines.cuda_compiler()
    assert nvcc is None
    assert str(bare) in lacks
    assert "cuBLAS" in lacks


def a_toolkit(root: Path, headers: str | None) -> Path:
    """Its compiler; without `headers`, one that lacks cuBLAS."""
    nvcc = root / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.touch(mode=0o755)
    if headers is not None:
        (root / headers).mkdir(parents=True)
        (root / headers / "cublas_v2.h").touch()
    return nvcc
