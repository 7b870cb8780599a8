"""The quality documents of a run, as `quantswarm quality` left them, and which one is a cell's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantswarm.bench.compare.entries import variant_of
from quantswarm.bench.judge.manifest import read_object

FOLDER = "quality"
Documents = Mapping[str, Mapping[str, Any]]


def quality_in(run_dir: Path) -> dict[str, dict[str, Any]]:
    """File name without its ending → document; empty where nothing was measured. Raises BadFile."""
    return {path.stem: read_object(path) for path in sorted((run_dir / FOLDER).glob("*.json"))}


def quality_name(documents: Documents, cell: Mapping[str, Any]) -> str | None:
    """The key of the document of a cell's variant and model; None where there is none.

    A document that names no variant is known by its key, and one that names no model is of any.
    """
    wanted = variant_of(cell)
    return next(
        (
            name
            for name, found in documents.items()
            if (found.get("variant") or name) == wanted
            and found.get("model") in (None, cell["model"])
        ),
        None,
    )
