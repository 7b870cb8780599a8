"""Quality in a run directory: `quality/<variant>.json`, and `.npz` with the numbers per token."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantswarm.bench.atomic import write_bytes, write_text

FOLDER = "quality"


def stem(variant: str, model: str, main_model: str) -> str:
    """The files' name: the variant's, and its model where the matrix has another for the rest."""
    name = variant if model == main_model else f"{variant}-{model}"
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


def write(run: Path, name: str, document: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Each file whole or absent, the document last."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    if arrays:
        import numpy as np

        content = io.BytesIO()
        np.savez_compressed(content, **arrays)
        write_bytes(folder / f"{name}.npz", content.getvalue())
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False, default=str)
    write_text(folder / f"{name}.json", text + "\n")


def read(run: Path, name: str) -> dict[str, Any] | None:
    """The document of that name; None where there is none that can be read."""
    try:
        found = json.loads((run / FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_all(run: Path) -> dict[str, dict[str, Any]]:
    """Every document that can be read, by its file's name."""
    names = sorted(path.stem for path in (run / FOLDER).glob("*.json"))
    found = {name: read(run, name) for name in names}
    return {name: document for name, document in found.items() if document is not None}
