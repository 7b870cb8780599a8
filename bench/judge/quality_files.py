"""Which of a run's quality documents is a cell's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantswarm.bench.compare.entries import variant_of

Documents = Mapping[str, Mapping[str, Any]]


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
