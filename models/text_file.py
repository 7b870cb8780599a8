"""A text of the user's own, read whole."""

from __future__ import annotations

from pathlib import Path

from quantswarm.models.errors import BadFile


def read(path: Path, *, called: str = "text") -> str:
    """Its characters; `BadFile`, which names the file as the user `called` it, where it is missing
    or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(
            f"{called} {path}", f"cannot be read ({error})", next_step="give a text file in UTF-8"
        ) from error
