"""Is a Python package installed, with what its server imports besides? Nothing is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterable


def installed(distribution: str, needed: Iterable[str]) -> tuple[str | None, str]:
    """(its version, None where it is not installed; what is missing, empty where nothing is)."""
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None, f"{distribution} is not installed"
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    return version, f"its server lacks {', '.join(missing)}" if missing else ""
