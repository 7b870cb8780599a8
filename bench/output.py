"""What commands print: one JSON document, or a plain table whose columns line up."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence


def print_json(document: object) -> None:
    """The one document on stdout; NaN and infinities are refused, absence is null."""
    print(json.dumps(document, indent=2, allow_nan=False, default=str))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Left-aligned columns; the last one wraps under itself where the line would be too long."""
    table = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header) - 1)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
        lead = "".join(f"{cell}  " for cell in cells)
        print(_wrapped(row[-1], lead, " " * len(lead), _width()).rstrip() or lead.rstrip())


def print_findings(findings: Iterable[tuple[str, str, str, str]]) -> None:
    """(name, state, found, cure) each: the texts wrap under each other, a cure has its own line."""
    rows = list(findings)
    names, states = (max(len(row[column]) for row in rows) for column in (0, 1))
    indent = " " * (names + states + 4)
    width = _width()
    for name, state, found, cure in rows:
        lead = f"{name.ljust(names)}  {state.ljust(states)}  "
        print(_wrapped(found or "n/a", lead, indent, width))
        if cure:
            print(_wrapped(cure, f"{indent}cure: ", f"{indent}      ", width))


def _width() -> int:
    """Columns to fill: the terminal's within reason, 120 where there is none."""
    return max(60, min(120, shutil.get_terminal_size((120, 24)).columns))


def _wrapped(text: str, first: str, rest: str, width: int) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def say(text: str) -> None:
    """A line for the person watching, on stderr so that stdout stays a document."""
    print(text, file=sys.stderr, flush=True)
