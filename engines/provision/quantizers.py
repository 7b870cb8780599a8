"""The quantizers' own environment, under `$QUANTSWARM_HOME`: their needs clash with vLLM's.

`quantizers/<digest of the lists>` holds it, `quantizers/current` points to it, and the recipes look
only there. Removing `quantizers` is all it takes to have it made anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path

from quantswarm.engines.provision.environment import (
    HERE,
    PIP,
    PIP_ENV,
    TORCH,
    Place,
    install_torch,
    make_environment,
    mend,
)
from quantswarm.engines.provision.progress import Progress
from quantswarm.engines.provision.steps import Step

TITLE = "quantizers"
VARIABLE = "QUANTSWARM_QUANTIZERS"
"""`no` leaves them out: rounding to nearest and GGUF need none of them."""
_PACKAGES = HERE / "quantizers.txt"
_BUILT = HERE / "quantizers-built.txt"
_WEIGHT_S = 150


def quantizers_steps(place: Place) -> list[Step]:
    """The one step, or none where it is not wanted."""
    return [] if os.environ.get(VARIABLE) == "no" else [quantizers_step(place)]


def quantizers_step(place: Place) -> Step:
    """GPTQModel and llmcompressor in an environment of their own, with torch as vLLM has it."""
    inputs = {
        "python": sys.version.split()[0],
        "pip": PIP,
        "torch": TORCH,
        "gpu": str(place.machine.gpu),
        "list": hashlib.sha256(_PACKAGES.read_bytes() + _BUILT.read_bytes()).hexdigest(),
    }
    base = place.home / "quantizers"
    key = hashlib.sha256(repr(sorted(inputs.items())).encode()).hexdigest()[:12]
    inner = replace(place, own_venv=base / key)
    return Step(
        title=TITLE,
        weight_s=_WEIGHT_S,
        inputs=inputs,
        stamp=inner.stamp(TITLE),
        present=lambda: _is_current(inner),
        work=lambda progress: _install(inner, progress),
    )


def _is_current(place: Place) -> bool:
    current = place.venv.parent / "current"
    return current.resolve() == place.venv.resolve() and place.python.is_file()


def _install(place: Place, progress: Progress) -> None:
    place.venv.parent.mkdir(parents=True, exist_ok=True)
    make_environment(place, progress)
    place.pip(TITLE, "install", "--no-deps", "-r", _PACKAGES)
    progress.advance(4, 10)
    if place.machine.gpu:
        place.pip(TITLE, "install", TORCH)
    else:
        install_torch(place, progress)
    progress.advance(7, 10)
    _install_built(place)
    mend(place, TITLE)
    _make_current(place.venv)


def _install_built(place: Place) -> None:
    """GPTQModel's kernels serve models on CUDA; here it only quantizes, which needs none."""
    argv = (place.python, "-I", "-m", "pip", "install", "--no-deps", "--no-build-isolation")
    env = {
        **PIP_ENV,
        "BUILD_CUDA_EXT": "0",
        "PATH": f"{place.venv / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    place.run((*argv, "-r", _BUILT), log=place.log(TITLE), env=env)


def _make_current(folder: Path) -> None:
    """A link that is renamed into place: whoever looks finds the old environment or the new one."""
    link = folder.parent / f"current.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(folder.parent / "current")
