"""What others report: ratios between two variants of a matrix, as written sources give them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench import config_file
from quantswarm.models.errors import BadFile, UnknownName

_TEXTS = ("source", "statement")
_NEEDED = (*_TEXTS, "theirs", "metric", "variant", "baseline", "users")
_OPTIONAL = ("note",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A source says: with `users`, `metric` of `variant` is `theirs` times that of `baseline`.

    `theirs_most` is the upper end of a reported range ("2 to 3 times"), None for one number.
    `model` is what both variants serve. `note` says what is known to differ there.
    """

    source: str
    statement: str
    theirs: float
    metric: str
    variant: str
    baseline: str
    users: int
    model: str
    theirs_most: float | None = None
    note: str = ""


def claims_in(
    document: Mapping[str, Any],
    models: Sequence[tuple[str, str]],
    users: Sequence[int],
    path: Path,
) -> tuple[Claim, ...]:
    """The claims of a matrix whose variants are `models`, pairs of name and model.

    `UnknownName` with near misses for a key, metric or variant that there is not, `BadFile` for
    values that no claim can have; `path` serves messages only.
    """
    entries = document.get("claim", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _wrong(path, "claims must be tables, each under a line [[claim]]")
    return tuple(_claim(entry, models, users, path) for entry in entries)


def _claim(
    entry: Mapping[str, Any],
    models: Sequence[tuple[str, str]],
    users: Sequence[int],
    path: Path,
) -> Claim:
    config_file.check_keys(entry, (*_NEEDED, *_OPTIONAL), path)
    for key in _NEEDED:
        if key not in entry:
            raise _wrong(path, f"a claim needs {', '.join(_NEEDED)}: {key!r} is missing")
    least, most = _theirs(entry["theirs"], path)
    variant, baseline = (_named(entry, key, models, path) for key in ("variant", "baseline"))
    served = {model for name, model in models if name in (variant, baseline)}
    if variant == baseline or len(served) > 1:
        found = "is one variant" if variant == baseline else "serve different models"
        raise _wrong(path, f"variant and baseline of a claim: {variant}, {baseline} {found}")
    return Claim(
        source=_text(entry, "source", path),
        statement=_text(entry, "statement", path),
        theirs=least,
        theirs_most=most,
        metric=_metric(entry["metric"], path),
        variant=variant,
        baseline=baseline,
        users=_users(entry["users"], users, path),
        model=served.pop(),
        note=str(entry.get("note", "")),
    )


def _text(entry: Mapping[str, Any], key: str, path: Path) -> str:
    value = entry[key]
    if not isinstance(value, str) or not value.strip():
        raise _wrong(path, f"{key} of a claim must be words, found {value!r}")
    return value


def _theirs(value: object, path: Path) -> tuple[float, float | None]:
    """One ratio, or the two ends of a range."""
    ends = [_ratio(end) for end in (value if isinstance(value, list) else [value])]
    least, most = ends[0] if ends else None, ends[-1] if len(ends) == 2 else None
    if least is None or len(ends) > 2 or (len(ends) == 2 and (most is None or most <= least)):
        raise _wrong(
            path, f"theirs must be a ratio above 0, or [least, most] of a range, found {value!r}"
        )
    return least, most


def _ratio(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < math.inf else None


def _metric(value: object, path: Path) -> str:
    from quantswarm.bench.decide.quantities import QUANTITIES

    if value not in QUANTITIES:
        raise UnknownName(
            f"metric of a claim in {path}", str(value), QUANTITIES, next_step="mend the file"
        )
    return str(value)


def _named(
    entry: Mapping[str, Any], key: str, models: Sequence[tuple[str, str]], path: Path
) -> str:
    names = [name for name, _ in models]
    name = str(entry[key])
    if name not in names:
        raise UnknownName(f"{key} of a claim in {path}", name, names, next_step="mend the file")
    if names.count(name) > 1:
        raise _wrong(path, f"{name} of a claim is served with several models: give it a label")
    return name


def _users(value: object, known: Sequence[int], path: Path) -> int:
    if type(value) is not int or value not in known:
        listed = ", ".join(map(str, known)) or "none"
        raise _wrong(path, f"users of a claim must be one of the matrix's ({listed}): {value!r}")
    return value


def _wrong(path: Path, found: str) -> BadFile:
    return config_file.wrong("matrix", path, found)
