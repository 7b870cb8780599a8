"""The importance matrix: how much each input of a layer matters, seen on text that the model reads.

llama-imatrix runs the F16 file over calibration text and sums squared activations; llama-quantize
then keeps exact what counts. The matrix is made once a file and sealed like weights. The text is
the standard library without the files that `tiny`'s quality is measured on.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantswarm.models import gguf_tools
from quantswarm.models.errors import BuildFailed
from quantswarm.models.sealed import Contents, file_sha256, sealed_folder

_FILE = "importance.gguf"
_LAST_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """One row a file, drawn by `seed`; the model reads windows of `window_tokens`."""

    rows: int = 64
    row_characters: int = 2048
    window_tokens: int = 512
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """A matrix on disk, and what it was made from."""

    path: Path
    facts: Mapping[str, Any]


def importance(wide: Path, settings: Calibration | None = None) -> Importance:
    """The matrix of an unquantized GGUF file, made first where there is none yet.

    `NotAvailable` without llama-imatrix, `BuildFailed` with its last lines when it fails.
    """
    from quantswarm.models.store import home

    chosen = settings or Calibration()
    tool = gguf_tools.program(gguf_tools.IMPORTANCE)
    text = calibration_text(chosen)
    version = sysconfig.get_python_version()
    facts = {
        **asdict(chosen),
        "text": f"standard library of Python {version}, without the held-out files",
        "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "weights_sha256": file_sha256(wide),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    def build(aside: Path) -> Contents:
        _run(tool, wide, text, aside / _FILE, chosen)
        return Contents(facts=facts)

    asked = f"importance matrix of {wide.name}"
    seal = sealed_folder(home() / "artefacts" / f"importance-{key}", asked=asked, build=build)
    return Importance(path=seal.root / _FILE, facts=seal.facts)


def calibration_text(settings: Calibration, root: Path | None = None) -> str:
    """The rows, one after another; the same ones for the same seed and library."""
    from quantswarm.models.train.corpus import is_held_out, library_files

    library = root or Path(sysconfig.get_path("stdlib"))
    files = [
        path
        for path in library_files(library)
        if not is_held_out(path.relative_to(library).as_posix())
    ]
    chance = random.Random(settings.seed)
    chance.shuffle(files)
    rows: list[str] = []
    for path in files:
        if len(rows) == settings.rows:
            break
        text = path.read_text(encoding="utf-8", errors="ignore")
        if len(text) >= settings.row_characters:
            at = chance.randrange(len(text) - settings.row_characters + 1)
            rows.append(text[at : at + settings.row_characters])
    return "\n".join(rows)


def _run(tool: Path, wide: Path, text: str, out: Path, settings: Calibration) -> None:
    source = out.with_name("calibration.txt")
    source.write_text(text, encoding="utf-8")
    argv = [str(tool), "-m", str(wide), "-f", str(source), "-o", str(out), "--no-ppl"]
    argv += ["-c", str(settings.window_tokens), "-t", str(len(os.sched_getaffinity(0)))]
    # Threads that sleep while they wait: on busy cores spinning ones take many times as long.
    argv += ["--poll", "0"]
    ended = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode != 0 or not out.is_file():
        lines = (ended.stdout + ended.stderr).splitlines()
        raise BuildFailed(
            f"importance matrix of {wide.name}",
            f"{gguf_tools.IMPORTANCE} ended with status {ended.returncode}",
            evidence="\n".join(lines[-_LAST_LINES:]),
            next_step=" ".join(argv),
        )
