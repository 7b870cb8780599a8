"""Where the quantizing libraries are: an environment of their own, made by set-up."""

from __future__ import annotations

import os
from pathlib import Path

from quantswarm.models.errors import NotAvailable


def python(asked: str) -> Path:
    """The interpreter of that environment; `NotAvailable` where set-up has not made it."""
    from quantswarm.models.store import home

    found = home() / "quantizers" / "current" / "bin" / "python"
    if os.access(found, os.X_OK):
        return found
    raise NotAvailable(
        asked,
        "the environment of the quantizing libraries is not here",
        evidence=f"Looked for {found}.",
        next_step="make setup",
    )
