"""A Python environment of its own for a tool, under `$QUANTSWARM_HOME`, made at its first use.

An environment cannot be moved into place when it is whole, as artefacts are: its scripts hold its
path. So it carries a stamp instead, removed before anything is installed and written after all is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from quantswarm.engines.provision.progress import Progress
from quantswarm.engines.provision.steps import Step, carry_out, only_one
from quantswarm.engines.provision.tools import Run, runner
from quantswarm.models.errors import BuildFailed, NotAvailable
from quantswarm.models.store import home

USUAL_S = 90.0
_PIP_ENV = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_PROGRESS_BAR": "off"}


def python_with(
    name: str,
    wanted: tuple[str, ...],
    folder: Path,
    say: Callable[[str], None],
    *,
    run: Run | None = None,
) -> Path:
    """The interpreter of `folder`, where pip has installed `wanted`; made first where it is not.

    `name` is the tool's, for messages. `NotAvailable` with the cause where that is not possible.
    """
    lock = folder.with_name(f".{folder.name}.lock")
    with only_one(lock, waiting=lambda: say(f"{name}: another process installs it; waiting")):
        step = _step(name, wanted, folder, run or runner())
        if not step.done():
            say(f"{name}: installing {wanted[0]} into {folder}, once")
            _make(step)
    return folder / "bin" / "python"


def is_made(name: str, wanted: tuple[str, ...], folder: Path) -> bool:
    """Whether `python_with` would find it whole."""
    return _step(name, wanted, folder, runner()).done()


def folder_for(kind: str, requirement: str) -> Path:
    """`KIND/NAME-VERSION`, so that another version is another environment."""
    return home() / kind / re.sub(r"[^\w.]+", "-", requirement)


def _step(name: str, wanted: tuple[str, ...], folder: Path, run: Run) -> Step:
    python = folder / "bin" / "python"
    return Step(
        title=name,
        weight_s=USUAL_S,
        inputs={"python": sys.version.split()[0], "wanted": " ".join(wanted), "at": str(folder)},
        stamp=folder / ".whole",
        present=python.is_file,
        work=lambda progress: _install(folder, wanted, run, progress),
    )


def _make(step: Step) -> None:
    try:
        with Progress([step.title], [step.weight_s]) as progress:
            carry_out([step], progress)
    except BuildFailed as error:
        raise NotAvailable(
            f"{step.title}",
            "its environment could not be made",
            evidence=error.evidence,
            next_step="give pip a way to its index, then the same command again",
        ) from error


def _install(folder: Path, wanted: tuple[str, ...], run: Run, progress: Progress) -> None:
    log = folder.with_name(f"{folder.name}.log")
    seen = 0

    def count(line: str) -> None:
        nonlocal seen
        if line.startswith("Collecting"):
            seen += 1
            progress.advance(seen, max(120, seen + 1))

    run((sys.executable, "-I", "-m", "venv", "--clear", folder), log=log)
    python = folder / "bin" / "python"
    run((python, "-I", "-m", "pip", "install", *wanted), log=log, env=_PIP_ENV, on_line=count)
