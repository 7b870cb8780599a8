"""llama.cpp held below the host's instruction set: what a lesser processor would run.

It loads the best of the CPU libraries beside its program, so one beside which only the library for
AVX2 lies must take that. Such a folder is made once for each build, under `$QUANTSWARM_HOME`: a
copy of the program, which finds its libraries beside itself, and links to them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from quantswarm.models.errors import UnsupportedPair, UserMistake
from quantswarm.models.sealed import Contents, sealed_folder

OPTION = "isa"
MEANING = "avx2: leave AVX-512 and AMX unused, as a processor without them would"
LIBRARY = "libggml-cpu-haswell.so"
"""llama.cpp's name for its code for AVX2, FMA and F16C; Haswell was the first that had them."""

_ANY = "libggml-cpu"


def asked(given: Mapping[str, str]) -> bool:
    """Whether the option is set. `UserMistake` for a wrong value."""
    value = given.get(OPTION)
    if value not in (None, "avx2"):
        raise UserMistake(
            f"option {OPTION}={value}", "only avx2 can be forced", next_step="--option isa=avx2"
        )
    return value is not None


def place(binary: Path) -> Path:
    """Where the program for AVX2 alone is, or will be; nothing is made. Named by its build: by the
    path, size and time of the program and of its library."""
    from quantswarm.models.store import home

    real = binary.resolve()
    parts = [str(real)]
    for file in (real, real.with_name(LIBRARY)):
        if file.is_file():
            found = file.stat()
            parts.append(f"{found.st_size} {found.st_mtime_ns}")
    key = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]
    return home() / "llama.cpp-avx2" / key / real.name


def require(binary: Path | None) -> None:
    """`UnsupportedPair` for a llama.cpp that has no library of its own for AVX2."""
    if binary is None or (binary.resolve().parent / LIBRARY).is_file():
        return
    beside = sorted(path.name for path in binary.resolve().parent.glob(f"{_ANY}*.so"))
    raise UnsupportedPair(
        f"option {OPTION}=avx2 with {binary}",
        f"this llama.cpp has no {LIBRARY}, its code for AVX2",
        evidence=f"Its CPU libraries: {', '.join(beside) or 'built into the program'}.",
        next_step="unset LLAMA_SERVER_BIN to use set-up's own, which has it; or leave isa out",
    )


def make(binary: Path) -> Path:
    """The program for AVX2 alone, made whole or not at all where it is missing or damaged."""
    require(binary)
    real, target = binary.resolve(), place(binary)

    def build(folder: Path) -> Contents:
        for file in sorted(real.parent.iterdir()):
            if ".so" in file.name and (not file.name.startswith(_ANY) or file.name == LIBRARY):
                (folder / file.name).symlink_to(file)
        shutil.copy2(real, folder / real.name)
        return Contents(facts={"program": str(real)})

    sealed_folder(target.parent, asked="llama.cpp for AVX2 alone", build=build)
    return target
