"""What this machine has that decides how engines are installed. Looks only; starts nothing."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

_AVX2 = ("sse4_2", "avx", "f16c", "fma", "avx2", "bmi2")
_AVX512 = (*_AVX2, "avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw")

VARIANTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("x64", ()),
    ("sse42", ("sse4_2",)),
    ("sandybridge", ("sse4_2", "avx")),
    ("ivybridge", ("sse4_2", "avx", "f16c")),
    ("piledriver", ("sse4_2", "avx", "f16c", "fma")),
    ("haswell", _AVX2),
    ("alderlake", (*_AVX2, "avx_vnni")),
    ("skylakex", _AVX512),
    ("cannonlake", (*_AVX512, "avx512vbmi")),
    ("cascadelake", (*_AVX512, "avx512_vnni")),
    ("icelake", (*_AVX512, "avx512vbmi", "avx512_vnni")),
    ("cooperlake", (*_AVX512, "avx512_vnni", "avx512_bf16")),
    ("zen4", (*_AVX512, "avx512vbmi", "avx512_vnni", "avx512_bf16")),
    (
        "sapphirerapids",
        (*_AVX512, "avx512vbmi", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8"),
    ),
)
"""ggml's CPU libraries for x86-64 and the flags of /proc/cpuinfo each needs, weakest first."""

CUDA_HOME = "/usr/local/cuda"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What set-up chooses by. `nvcc`, `compiler` and `cmake` are None where there is none;
    `cuda_architectures` is CMake's list of GPUs to compile for ("native": those that are here).
    `nvcc` is one with cuBLAS beside it, or None and `no_nvcc` says what is missing.
    """

    architecture: str
    cores: int
    cpu_flags: frozenset[str]
    gpu: bool
    nvcc: Path | None
    compiler: Path | None
    cmake: Path | None
    ninja: Path | None
    cuda_architectures: str = "native"
    no_nvcc: str = ""


def home() -> Path:
    """Where everything built, downloaded or compiled lives; the same rule as the model store's."""
    return Path(os.environ.get("QUANTSWARM_HOME") or "~/.cache/quantswarm").expanduser().absolute()


def this_machine() -> Machine:
    """The machine that runs this, as far as set-up cares; QUANTSWARM_DEVICE=cpu hides its GPU."""
    wanted = os.environ.get("QUANTSWARM_DEVICE", "")
    nvcc, no_nvcc = cuda_compiler()
    return Machine(
        architecture=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        cpu_flags=_cpu_flags(Path("/proc/cpuinfo")),
        gpu=wanted == "cuda" or (wanted != "cpu" and Path("/proc/driver/nvidia/version").exists()),
        nvcc=nvcc,
        no_nvcc=no_nvcc,
        compiler=_program("c++") or _program("g++") or _program("clang++"),
        cmake=_program("cmake"),
        ninja=_program("ninja"),
        cuda_architectures=os.environ.get("QUANTSWARM_CUDA_ARCHITECTURES") or "native",
    )


def cuda_compiler() -> tuple[Path | None, str]:
    """CUDA's compiler, of a toolkit that has cuBLAS too; else None and what is missing.

    It is looked for on PATH, then where NVIDIA's installers put it, which is seldom on PATH.
    """
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    places = [Path(home) / "bin" / "nvcc" for home in (*homes, CUDA_HOME) if home]
    found = [nvcc for nvcc in (_program("nvcc"), *places) if nvcc is not None and nvcc.is_file()]
    for nvcc in found:
        if toolkit_of(nvcc) is not None:
            return nvcc, ""
    if found:
        return None, f"no cuBLAS (cublas_v2.h) beside {found[0]}"
    return None, "no nvcc"


def toolkit_of(nvcc: Path) -> Path | None:
    """The root of its toolkit: where cuBLAS's headers are, beside it or beside what it links to."""
    for root in (nvcc.parent.parent, nvcc.resolve().parent.parent):
        for headers in ("include", "targets/*/include"):
            if any(root.glob(f"{headers}/cublas_v2.h")):
                return root
    return None


def cpu_variant(flags: frozenset[str] | None = None) -> str:
    """The best of ggml's CPU libraries for these flags (this host's by default)."""
    have = _cpu_flags(Path("/proc/cpuinfo")) if flags is None else flags
    return [name for name, needs in VARIANTS if have.issuperset(needs)][-1]


def variants_to_build(flags: frozenset[str]) -> tuple[str, ...]:
    """The host's own, and `haswell` beside it: with it tests can force AVX2 on a newer host."""
    best = cpu_variant(flags)
    return tuple(dict.fromkeys(("haswell", best))) if flags.issuperset(_AVX2) else (best,)


def _cpu_flags(cpuinfo: Path) -> frozenset[str]:
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return frozenset(value.split())
    return frozenset()


def _program(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None
