"""The values of a scenario file, key by key: each is read by one function, or refused by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quantswarm.bench import config_file
from quantswarm.bench.load.lengths import FEWEST_PROMPT_TOKENS, Length, Unfit, length_from
from quantswarm.bench.slo import Slo, slo_from
from quantswarm.models.errors import BadFile, UserMistake

APIS = ("completions", "chat")


def _length(least: int) -> Callable[[Mapping[str, Any], str, Path], Length]:
    def read(document: Mapping[str, Any], key: str, path: Path) -> Length:
        try:
            return length_from(document[key], least)
        except Unfit as error:
            raise mistake(path, f"{key} {error}") from None

    return read


def _whole(least: int) -> Callable[[Mapping[str, Any], str, Path], int]:
    def read(document: Mapping[str, Any], key: str, path: Path) -> int:
        value = document[key]
        if type(value) is not int or value < least:
            raise mistake(
                path, f"{key} must be a whole number of at least {least}, found {value!r}"
            )
        return value

    return read


def _api(document: Mapping[str, Any], key: str, path: Path) -> str:
    if document[key] not in APIS:
        raise mistake(path, f"api {document[key]!r} is none of {', '.join(APIS)}")
    return str(document[key])


def _data(document: Mapping[str, Any], key: str, path: Path) -> str:
    if not isinstance(document[key], str):
        raise mistake(path, f"data must be the path of a file, found {document[key]!r}")
    return str((path.parent / document[key]).resolve())


def seconds(document: Mapping[str, Any], key: str, path: Path) -> float:
    """A time, 0 included."""
    value = document[key]
    if type(value) not in (int, float) or not 0 <= value < 1e6:
        raise mistake(path, f"{key} must be seconds, found {value!r}")
    return float(value)


def objectives(table: object, path: Path) -> Slo | None:
    """The table `[slo]`; None where a scenario has none."""
    if table is None:
        return None
    if not isinstance(table, dict):
        raise mistake(path, f"slo must be a table, found {table!r}")
    try:
        return slo_from(table, "slo")
    except UserMistake as error:
        raise mistake(path, f"[slo] {error.found}") from None


READERS: Mapping[str, Callable[[Mapping[str, Any], str, Path], Any]] = {
    "api": _api,
    "prompt_tokens": _length(FEWEST_PROMPT_TOKENS),
    "output_tokens": _length(1),
    "shared_prefix_tokens": _whole(FEWEST_PROMPT_TOKENS),
    "prefixes": _whole(1),
    "turns": _length(1),
    "think_time_s": seconds,
    "data": _data,
    "longest_prompt_tokens": _whole(FEWEST_PROMPT_TOKENS),
}
"""What asks something of the server; none of it belongs to a mix, whose components have it."""


def sha256_of(file: Path) -> str:
    """Of a data set's content; where it moves to does not matter, what is in it does."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise BadFile(
            f"data set {file}", f"cannot be read: {error.strerror}", next_step="check the path"
        ) from None


def mistake(path: Path, found: str) -> BadFile:
    """The error for a scenario file that cannot be what was meant."""
    return config_file.wrong("scenario", path, found)
