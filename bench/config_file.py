"""Files that describe something (a matrix, a scenario): found by name or path, read strictly."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from quantswarm.models.errors import BadFile, UnknownName


def find(kind: str, name: str, shipped: Path) -> Path:
    """The file of that name in `shipped` or a folder in it, or `name` as a path.

    `UnknownName` with near misses for what is neither.
    """
    known = {path.stem: path for path in sorted(shipped.rglob("*.toml"))}
    if name in known:
        return known[name]
    if name.endswith(".toml") or "/" in name:
        return Path(name)
    raise UnknownName(
        kind, name, known, next_step="give one of these names, or the path of a .toml file"
    )


def read(kind: str, path: Path) -> dict[str, Any]:
    """The parsed file; `BadFile` where it is missing or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadFile(
            f"{kind} {path}", "no such file", next_step="check the path, or name a shipped one"
        ) from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise wrong(kind, path, f"not readable as TOML: {error}") from None


def check_keys(entry: Mapping[str, Any], allowed: Collection[str], path: Path) -> None:
    """`UnknownName` for the first key that means nothing: a misspelt one must not be ignored."""
    for key in entry:
        if key not in allowed:
            raise UnknownName(f"key in {path}", key, allowed, next_step="mend the file")


def wrong(kind: str, path: Path, found: str) -> BadFile:
    """The error for a file whose content cannot be what was meant."""
    return BadFile(f"{kind} {path}", found, next_step="mend the file")
