"""The run directory: the interface between measuring and judging. See docs/architecture.md."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from quantswarm.bench.atomic import write_text
from quantswarm.bench.matrix import Matrix
from quantswarm.models.errors import BadFile, UserMistake

SCHEMA = 1
RUNS = Path("runs")
_PACKAGES = ("quantswarm", "locust", "gevent", "numpy", "torch", "tokenizers", "transformers")


def cell_folder(run: Path, cell: str) -> Path:
    """Where a cell's raw records lie."""
    return run / "cells" / cell


def status_of(run: Path, cell: str) -> str | None:
    """The status a cell's manifest gives, or None for a cell never finished."""
    try:
        manifest = json.loads((cell_folder(run, cell) / "manifest.json").read_text())
        return str(manifest["status"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a cell's manifest, the last of its files: its presence says that the cell is whole."""
    write_json(folder / "manifest.json", {"schema": SCHEMA, **manifest})


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """A JSON file that is whole or absent."""
    write_text(path, json.dumps(document, indent=1, allow_nan=False, default=str) + "\n")


def fresh_cell(run: Path, cell: str) -> Path:
    """An empty folder for a cell; what an interrupted attempt left there is removed."""
    folder = cell_folder(run, cell)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def open_run(matrix: Matrix, out: Path | None, *, resume: bool, host: Mapping[str, Any]) -> Path:
    """The directory to measure into: a new one, or with `resume` the one to be completed."""
    run = out or (_latest(matrix) if resume else None) or RUNS / _new_name(matrix)
    known = run / "run.json"
    if known.is_file():
        _check_same(known, matrix, resume=resume)
        return run
    if run.is_dir() and any(run.iterdir()):
        raise UserMistake(
            f"--out {run}",
            "the folder is not empty and holds no run.json",
            next_step="give a new folder, or leave --out out",
        )
    run.mkdir(parents=True, exist_ok=True)
    write_json(
        known,
        {
            "schema": SCHEMA,
            "run_id": run.name,
            "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "matrix": asdict(matrix),
            "matrix_digest": matrix.digest(),
            "cells": [cell.name for cell in matrix.cells()],
            "host": dict(host),
            "versions": versions(),
        },
    )
    return run


def keep_left_out(run: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Say in `run.json` which variants this machine cannot measure; a run that is resumed elsewhere
    says what holds there."""
    known = json.loads((run / "run.json").read_text(encoding="utf-8"))
    if known.get("left_out", []) != list(entries):
        write_json(run / "run.json", {**known, "left_out": list(entries)})


def versions() -> dict[str, str]:
    """Versions of what measures; engines report their own in each cell."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _check_same(known: Path, matrix: Matrix, *, resume: bool) -> None:
    if not resume:
        raise UserMistake(
            f"--out {known.parent}",
            "a run lies there already",
            next_step="add --resume to complete it, or give another folder",
        )
    digest = _digest_in(known)
    if digest is None:
        raise BadFile(
            str(known), "it does not say which matrix was run", next_step="start a new run"
        )
    if digest != matrix.digest():
        raise UserMistake(
            f"--resume {known.parent}",
            "that run was started with another matrix",
            evidence=f"Its digest is {digest}, this matrix's is {matrix.digest()}.",
            next_step="resume with the same matrix, or start a new run",
        )


def _latest(matrix: Matrix) -> Path | None:
    """The newest run of this very matrix under `runs/`, None when there is none."""
    for known in sorted(RUNS.glob("*/run.json"), reverse=True):
        if _digest_in(known) == matrix.digest():
            return known.parent
    return None


def _digest_in(known: Path) -> str | None:
    """The matrix's digest in a `run.json`; None where it cannot be read from it."""
    try:
        return str(json.loads(known.read_text(encoding="utf-8"))["matrix_digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _new_name(matrix: Matrix) -> str:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return f"{stamp}-{matrix.name}"
