"""The kernels' shared library: compiled once, found again by what it is made of.

`build(home)` makes `home/vllm_cpu/<key>/` whole or not at all (`models.sealed`). The key is a hash
of the sources, the flags, the compiler and PyTorch's version. All instruction sets are in one
library, so what is built on one x86 machine runs on another. `find(home)` needs no compiler.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from quantswarm.models.errors import BuildFailed, NotAvailable
from quantswarm.models.sealed import Contents, damage, read_seal, sealed_folder

SOURCES = Path(__file__).resolve().parent / "csrc"
LIBRARY = "libquantswarm_cpu.so"

_AVX2 = ("-mavx2", "-mfma", "-mf16c")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni")
_AMX = (*_AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16", "-mamx-int8")
"""There is no AMX without AVX512-BF16. No file uses -mamx-int8; PyTorch's own kernels want it."""

FILE_FLAGS: Mapping[str, Sequence[str]] = {
    "prepare.cpp": _AVX2,
    "avx2.cpp": _AVX2,
    "narrow_avx2.cpp": _AVX2,
    "vnni.cpp": _AVX512,
    "amx.cpp": _AMX,
    "amx_many.cpp": _AMX,
    "dispatch.cpp": (),  # runs on any processor: it is what looks which one this is
    "operators.cpp": (),
    "fp8_kv_avx2.cpp": _AVX2,
    "fp8_kv_operators.cpp": (),
}
FLAGS = (
    *("-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-fopenmp"),
    *("-fno-math-errno", "-fno-trapping-math"),
)
_ASKED = "the compiled CPU kernels for vLLM"


def build(home: Path, *, compiler: str | None = None, python: Path | None = None) -> Path:
    """The library's path, compiled first where it is missing; about 15 s on two cores.

    `python` is the interpreter whose PyTorch the library is for; the running one by default.
    Raises `NotAvailable` without an x86 processor or a compiler, and `BuildFailed` with its words.
    """
    if platform.machine() not in {"x86_64", "AMD64"}:
        raise NotAvailable(_ASKED, f"they are for x86, and this is {platform.machine()}")
    program = shutil.which(compiler or os.environ.get("CXX") or "c++") or shutil.which("g++")
    if program is None:
        raise NotAvailable(
            _ASKED, "no C++ compiler", next_step="install g++; until then PyTorch's kernel serves"
        )
    torch, version = _torch(python)
    facts = {
        "sources": sources_sha256(),
        "compiler": _first_line((program, "--version")),
        "torch": version,
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    def make(folder: Path) -> Contents:
        _compile(program, torch, folder)
        _run(
            (str(python or sys.executable), "-I", "-c", _TRY.format(str(folder / LIBRARY))),
            "the library was compiled but cannot be loaded",
        )
        return Contents(facts=facts)

    target = home / "vllm_cpu" / key
    sealed_folder(target, asked=_ASKED, build=make)
    return target / LIBRARY


def find(home: Path) -> Path | None:
    """The library built from these sources for the installed PyTorch; None where there is none."""
    wanted = {"sources": sources_sha256(), "torch": importlib.metadata.version("torch")}
    for seal_file in sorted((home / "vllm_cpu").glob("*/seal.json")):
        seal = read_seal(seal_file.parent)
        if seal is None or any(seal.facts.get(name) != value for name, value in wanted.items()):
            continue
        if damage(seal) is None:
            return seal_file.parent / LIBRARY
    return None


def flags() -> frozenset[str]:
    """The instruction sets that a compiler of the library has been shown to know."""
    return frozenset(flag for used in FILE_FLAGS.values() for flag in used)


def compiler_of(library: Path) -> str:
    """The first line that the compiler of a found library says of its version."""
    seal = read_seal(library.parent)
    return "" if seal is None else str(seal.facts.get("compiler", ""))


def sources_sha256() -> str:
    """Stands for everything the library is compiled from, flags included."""
    digest = hashlib.sha256(json.dumps([FLAGS, dict(FILE_FLAGS)]).encode())
    for path in sorted(SOURCES.iterdir()):
        if path.suffix in {".cpp", ".h"}:
            digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


_TRY = "import torch; torch.ops.load_library({!r}); torch.ops.quantswarm_cpu.linear4"


def _torch(python: Path | None) -> tuple[Path, str]:
    """PyTorch's folder and version, for this interpreter or another one; nothing is imported."""
    if python is None:
        found = importlib.util.find_spec("torch")
        if found is None or found.origin is None:
            raise NotAvailable(_ASKED, "PyTorch is not installed", next_step="make setup")
        return Path(found.origin).parent, importlib.metadata.version("torch")
    asked = "import importlib.util as u, importlib.metadata as m;"
    asked += "print(u.find_spec('torch').origin); print(m.version('torch'))"
    origin, version = _run((str(python), "-I", "-c", asked), "PyTorch is not installed").split()
    return Path(origin).parent, version


def _compile(program: str, torch: Path, folder: Path) -> None:
    include = torch / "include"
    headers = ("-isystem", str(include), "-isystem", str(include / "torch/csrc/api/include"))

    def one(name: str) -> str:
        built = folder / f"{name}.o"
        extra = headers if name.endswith("operators.cpp") else ()
        _run(
            (
                program,
                *FLAGS,
                *FILE_FLAGS[name],
                *extra,
                "-c",
                str(SOURCES / name),
                "-o",
                str(built),
            ),
            f"{name} does not compile",
        )
        return str(built)

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        objects = list(pool.map(one, FILE_FLAGS))
    # PyTorch's OpenMP runtime is found by its name: the one in the process is used, not a second.
    libraries = (f"-L{torch / 'lib'}", "-ltorch_cpu", "-Wl,-z,defs")
    _run(
        (program, "-shared", "-fopenmp", "-o", str(folder / LIBRARY), *objects, *libraries),
        "the library cannot be linked",
    )
    for built in objects:
        Path(built).unlink()


def _first_line(argv: Sequence[str]) -> str:
    return _run(argv, "the compiler does not answer").splitlines()[0]


def _run(argv: Sequence[str], failure: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise BuildFailed(_ASKED, failure, evidence=f"{' '.join(argv[:1])}: {said}")
    return done.stdout
