"""llama.cpp without a C++ compiler: the `xllamacpp` wheel, put where the compiled one would be."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from quantswarm.engines.provision.environment import Place
from quantswarm.engines.provision.progress import Progress
from quantswarm.engines.provision.steps import Step, write_whole

XLLAMACPP = "xllamacpp==2026.10.11549"

_SCRIPT = """#!/bin/sh
# llama-server out of the xllamacpp wheel; made by set-up, which found no C++ compiler.
exec '{python}' -m quantswarm.engines.xllama_server "$@"
"""


def wheel_step(place: Place) -> Step:
    """Install the wheel, and a `llama-server` that runs it."""
    owner = hashlib.sha256(str(place.python).encode()).hexdigest()[:8]
    folder = place.home / "llama.cpp" / f"{XLLAMACPP.replace('==', '-')}-{owner}"

    def work(progress: Progress) -> None:
        progress.say(
            f"no C++ compiler: llama.cpp comes ready-made, as {XLLAMACPP}. It has AVX2 code only"
            " and no llama-quantize. To compile it instead: sudo apt install g++, then make setup"
        )
        place.pip("xllamacpp", "install", "--no-deps", XLLAMACPP)
        _write_server(folder, place.python)
        point_at(folder)

    return Step(
        title="llama.cpp (ready wheel)",
        weight_s=10,
        inputs={"wheel": XLLAMACPP},
        stamp=place.stamp("xllamacpp"),
        present=lambda: (folder.parent / "current").resolve() == folder.resolve(),
        work=work,
    )


def _write_server(folder: Path, python: Path) -> None:
    server = folder / "bin" / "llama-server"
    write_whole(server, _SCRIPT.format(python=python))
    server.chmod(0o755)
    manifest = {"schema": 1, "version": XLLAMACPP, "variants": ["haswell"], "cuda": False}
    write_whole(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")


def point_at(folder: Path) -> None:
    """Make `current` name this folder, at once: no moment without a `current`."""
    link = folder.parent / f"current.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(folder.parent / "current")
