"""The programs of llama.cpp that models are made with: where each is found on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from quantswarm.models.errors import NotAvailable

QUANTIZE = "llama-quantize"
IMPORTANCE = "llama-imatrix"


def variable(program: str) -> str:
    """The environment variable that names the user's own: `LLAMA_QUANTIZE_BIN`, say."""
    return f"{program.upper().replace('-', '_')}_BIN"


def program(name: str) -> Path:
    """From its variable, beside the user's own quantizer, from `PATH`, from set-up's folder.

    `NotAvailable` where none of them has it.
    """
    from quantswarm.models.store import home

    given = os.environ.get(variable(name))
    if given:
        return _given(name, Path(given))
    quantizer = os.environ.get(variable(QUANTIZE))
    beside = Path(quantizer).with_name(name) if quantizer else None
    on_path = shutil.which(name)
    built = home() / "llama.cpp" / "current" / "bin" / name
    for found in (beside, Path(on_path) if on_path else None, built):
        if found is not None and _runs(found):
            return found
    raise NotAvailable(
        name,
        "this program of llama.cpp is not here",
        evidence=f"Looked at {variable(name)}, PATH and {built}.",
        next_step="make setup",
    )


def _given(name: str, path: Path) -> Path:
    if _runs(path):
        return path
    raise NotAvailable(
        name,
        f"{variable(name)} names {path}, which is no program",
        next_step=f"correct or unset {variable(name)}",
    )


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
