"""The summary as a plain table for a terminal: aligned, at most 120 columns, warnings beneath."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.report import claimed, compared, gates, saturation
from quantswarm.bench.report.columns import Column, columns_for
from quantswarm.bench.report.grouped import marks_of, rows_of
from quantswarm.bench.report.notes import Note, notes, sentence

WIDTH = 120
GAP = 2
EXAMPLES = 2
ONCE = "One run, no interval: small differences may be noise."


def table(summary: Mapping[str, Any]) -> str:
    """Answers, table and footnotes; ends with a newline. Columns that do not fit are left out in
    their declared order, never cut. A search for saturation has a table of its own."""
    if summary.get("saturation"):
        return _search(summary)
    cells = rows_of(summary)
    marks, footnotes = notes(summary["cells"])
    marks = marks_of(cells, marks)
    columns = _fitting(columns_for(cells), cells, marks)
    rows = [_heads(columns), _units(columns)]
    rows += [_row(columns, cell, marks) for cell in cells]
    lines = _aligned(rows, [column.numeric for column in columns] + [False])
    rule = "─" * max(len(line) for line in lines)
    parts = [lines[0], lines[1], rule, *lines[2:], ""]
    parts += [line for answer in summary["answers"] for line in _wrapped(answer["sentence"])]
    told = gates.sentences(summary["cells"], included=bool(summary.get("include_invalid")))
    parts += [line for text in told for line in _wrapped(text)]
    parts += _wrapped(_honest(summary))
    parts += [line for text in claimed.sentences(summary) for line in _wrapped(text)]
    parts += ["", *_footnotes(footnotes)] if footnotes else []
    return "\n".join(line.rstrip() for line in parts) + "\n"


def plain_table(found: compared.Table) -> str:
    """Any table of texts, aligned."""
    lines = _aligned([list(found.head), *found.rows], found.numeric)
    rule = "─" * max(len(line) for line in lines)
    return "\n".join(line.rstrip() for line in (lines[0], rule, *lines[1:]))


def wrapped(text: str) -> str:
    """A sentence on lines that fit."""
    return "\n".join(_wrapped(text, indent="  "))


def _honest(summary: Mapping[str, Any]) -> str:
    comparison = summary.get("comparison")
    return compared.reading(comparison) if comparison else ONCE


def _search(summary: Mapping[str, Any]) -> str:
    """A search's trials and answer; what was odd about single trials is in the report."""
    rows = [list(saturation.HEAD), list(saturation.UNITS), *saturation.rows(summary)]
    lines = _aligned(rows, [True] * (len(saturation.HEAD) - 1) + [False])
    parts = [lines[0], lines[1], "─" * max(map(len, lines)), *lines[2:], ""]
    parts += [line for text in saturation.sentences(summary) for line in _wrapped(text)]
    return "\n".join(line.rstrip() for line in parts) + "\n"


def _heads(columns: Sequence[Column]) -> list[str]:
    return [column.head for column in columns] + ["notes"]


def _units(columns: Sequence[Column]) -> list[str]:
    return [column.unit for column in columns] + [""]


def _row(
    columns: Sequence[Column], cell: Mapping[str, Any], marks: Mapping[str, tuple[int, ...]]
) -> list[str]:
    return [column.text(cell) for column in columns] + [_span(marks[cell["cell"]])]


def _span(numbers: Sequence[int]) -> str:
    """Numbers with runs of three and more joined: 1-3,7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    texts = [
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(str(number) for number in run)
        for run in parts
    ]
    return ",".join(texts)


def _fitting(
    columns: tuple[Column, ...],
    cells: Sequence[Mapping[str, Any]],
    marks: Mapping[str, tuple[int, ...]],
) -> tuple[Column, ...]:
    """Drop columns, the most dispensable first, until the widest row fits."""
    while True:
        rows = [_heads(columns), _units(columns)] + [_row(columns, c, marks) for c in cells]
        worst = max(columns, key=lambda column: column.drop)
        if sum(_widths(rows)) + GAP * len(columns) <= WIDTH or not worst.drop:
            return columns
        columns = tuple(column for column in columns if column is not worst)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(text) for text in column) for column in zip(*rows, strict=True)]


def _aligned(rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[str]:
    widths = _widths(rows)
    return [
        (" " * GAP).join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        )
        for row in rows
    ]


def _wrapped(text: str, *, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def _footnotes(footnotes: Sequence[Note]) -> list[str]:
    lines = []
    for note in footnotes:
        shown = "; ".join(f"{cell}: {seen}" for cell, seen in note.seen[:EXAMPLES])
        rest = len(note.seen) - EXAMPLES
        text = f"{note.number:>3} {note.name}: {shown}" + (f"; {rest} more" if rest > 0 else "")
        lines += _wrapped(f"{text}. {sentence(note.advice)}".rstrip(), indent="    ")
    return lines
