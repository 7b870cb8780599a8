"""Arrival traces as they are published: when requests came, how long prompt and answer were.

Three column forms are known by their headers, whatever the file is called:

    TIMESTAMP, ContextTokens, GeneratedTokens             Azure's LLM inference traces
    Timestamp, Model, Request tokens, Response tokens, …  BurstGPT
    {"timestamp", "input_length", "output_length", …}     Mooncake, a JSON object a line, ms
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import chain
from pathlib import Path
from typing import Any

from quantswarm.models.errors import BadFile, UnknownName

FOLDER = Path(__file__).parent.parent / "scenarios"
_NS = 1_000_000_000
_FORMS = (
    ("timestamp", "contexttokens", "generatedtokens"),
    ("timestamp", "request tokens", "response tokens"),
    ("timestamp", "input_length", "output_length"),
)
_MS_A_STAMP = _FORMS[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEntry:
    """One request of a trace; `offset_ns` counts from the earliest one. Lengths are as published,
    0 included (BurstGPT writes it for requests that failed)."""

    offset_ns: int
    prompt_tokens: int
    output_tokens: int


class _Wrong(Exception):
    """A line that is none of ours; becomes a `BadFile` with its number."""


def trace_named(name: str) -> Path:
    """The trace that ships under that name, or the file at that path; `UnknownName` else."""
    shipped = {path.stem: path for path in FOLDER.glob("*.csv")}
    if name in shipped:
        return shipped[name]
    if "/" in name or Path(name).suffix or Path(name).is_file():
        return Path(name)
    raise UnknownName("trace", name, shipped, next_step="give one of these, or a file's path")


def read_trace(path: Path) -> tuple[TraceEntry, ...]:
    """Every request, by time; `BadFile` with the line's number at the first that is none."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            stamped = [_checked(path, number, row) for number, row in _rows(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad(path, f"cannot be read: {error}") from None
    if not stamped:
        raise _bad(path, "it holds no request")
    stamped.sort(key=lambda entry: entry[0])
    first_ns = stamped[0][0]
    return tuple(
        TraceEntry(offset_ns=at_ns - first_ns, prompt_tokens=prompt, output_tokens=output)
        for at_ns, prompt, output in stamped
    )


def _checked(path: Path, number: int, row: Mapping[str, Any] | str) -> tuple[int, int, int]:
    try:
        parsed = json.loads(row) if isinstance(row, str) else row
        return _stamped(parsed if isinstance(parsed, Mapping) else {})
    except (_Wrong, ValueError) as error:
        raise _bad(path, f"line {number}: {error}") from None


def _rows(file: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """Line numbers with rows of a table that has a header, or with lines of JSON."""
    lines = iter(file)
    first = next(lines, "")
    if not first.lstrip().startswith("{"):
        yield from enumerate(csv.DictReader(chain([first], lines)), start=2)
        return
    for number, line in enumerate(chain([first], lines), start=1):
        if line.strip():
            yield number, line


def _stamped(row: Mapping[str, Any]) -> tuple[int, int, int]:
    """Nanoseconds since some origin of the trace's own, and the two lengths."""
    by_name = {str(key).strip().lower(): value for key, value in row.items()}
    for form in _FORMS:
        if all(name in by_name for name in form):
            stamp, prompt, output = (by_name[name] for name in form)
            factor = _NS // 1000 if form is _MS_A_STAMP else _NS
            return _instant_ns(stamp, factor), _length(prompt), _length(output)
    raise _Wrong(f"its columns ({', '.join(by_name)}) are none of the known forms'")


def _instant_ns(stamp: object, factor: int) -> int:
    """A number in the form's own unit, or a date and time of any number of decimals."""
    text = str(stamp).strip()
    try:
        return int(Decimal(text) * factor)
    except InvalidOperation:
        pass
    except (ValueError, OverflowError):
        raise _Wrong(f"{text!r} is no instant") from None
    try:
        return _date_ns(text)
    except ValueError:
        raise _Wrong(f"{text!r} is neither a number nor a date and time") from None


def _date_ns(text: str) -> int:
    """Decimals are read apart, since `datetime` keeps six of them only."""
    whole, _, rest = text.partition(".")
    decimals = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    moment = datetime.fromisoformat(whole + rest[len(decimals) :])
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * _NS + int((decimals + "0" * 9)[:9])


def _length(value: object) -> int:
    try:
        tokens = int(str(value).strip())
    except ValueError:
        raise _Wrong(f"{value!r} is no number of tokens") from None
    if tokens < 0:
        raise _Wrong(f"{tokens} tokens")
    return tokens


def _bad(path: Path, found: str) -> BadFile:
    return BadFile(
        f"trace {path}",
        found,
        evidence="Known columns: " + "; ".join(", ".join(form) for form in _FORMS),
        next_step="give a trace of one of these forms",
    )
