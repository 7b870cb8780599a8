"""The report as Markdown: the same facts as the page, without plots, for an issue or a README."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from quantswarm.bench.report import (
    beside,
    ceiling,
    claimed,
    compared,
    decided,
    definitions,
    facts,
    gates,
    saturation,
)
from quantswarm.bench.report.columns import columns_for
from quantswarm.bench.report.grouped import marks_of, rows_of
from quantswarm.bench.report.notes import Note, notes, sentence


def as_markdown(summary: Mapping[str, Any]) -> str:
    """The whole report as text."""
    cells = summary["cells"]
    rows = rows_of(summary)
    marks, footnotes = notes(cells)
    parts = [
        f"# {_title(summary)}",
        _bullets(facts.header(summary)),
        "## Answer",
        "\n".join(f"* {_escaped(answer['sentence'])}" for answer in summary["answers"]),
        *_saturation(summary),
        compared.honest(summary),
        "## Results",
        main_table(rows, marks_of(rows, marks)),
        *_claims(summary),
        *_decision(summary),
        *_comparison(summary),
        *_ceilings(summary),
        "## Warnings",
        "\n".join(_note(note) for note in footnotes) or "None.",
        "## Validity gates",
        _items(gates.sentences(cells, included=bool(summary.get("include_invalid")))),
        "## How it was measured",
        _bullets(facts.method(cells)),
        "## Cells",
        *(_details(cell) for cell in cells),
        "## Formulas",
        definitions.formulas().rstrip(),
        "### Names in other tools",
        definitions.elsewhere().rstrip(),
        "### When a percentile is given",
        definitions.minimums().rstrip(),
    ]
    return "\n\n".join(parts) + "\n"


def main_table(
    cells: list[dict[str, Any]], marks: Mapping[str, tuple[int, ...]] | None = None
) -> str:
    """The table of all cells alone, without its footnotes when no `marks` are given."""
    columns = columns_for(cells)
    head = [f"{c.head}{f' ({c.unit})' if c.unit else ''}" for c in columns]
    align = ["---:" if c.numeric else "---" for c in columns]
    rows = [[column.text(cell) for column in columns] for cell in cells]
    if marks is not None:
        head, align = [*head, "notes"], [*align, "---"]
        rows = [
            [*row, ", ".join(str(number) for number in marks[cell["cell"]])]
            for row, cell in zip(rows, cells, strict=True)
        ]
    return _table(head, align, rows)


def _claims(summary: Mapping[str, Any]) -> Iterator[str]:
    """The table and sentences that docs/reproductions quote; who was left out, also without it."""
    table, told = claimed.table(summary), claimed.sentences(summary)
    if table is not None:
        yield f"## {table.title}"
        yield _table(
            table.head, ["---:" if number else "---" for number in table.numeric], table.rows
        )
        yield claimed.LEGEND
    elif told:
        yield "## Left out"
    if told:
        yield _items(told)


def _decision(summary: Mapping[str, Any]) -> Iterator[str]:
    found = summary.get("decision")
    if not found:
        return
    table = decided.beside_table(found)
    yield "## Decision"
    yield f"### {_escaped(table.title)}"
    yield _table(table.head, ["---:" if number else "---" for number in table.numeric], table.rows)
    yield _escaped(decided.LEGEND)
    if found["remark"]:
        yield _escaped(sentence(found["remark"]))
    for title, texts in decided.parts(found):
        yield f"### {title}"
        yield _items(texts)


def _comparison(summary: Mapping[str, Any]) -> Iterator[str]:
    found = compared.tables(summary)
    if found:
        yield "## Comparison"
    for table in found:
        yield f"### {_escaped(table.title)}"
        align = ["---:" if numeric else "---" for numeric in table.numeric]
        yield _table(table.head, align, table.rows)
    yield from (
        f"**{remark['name']}**: {_escaped(_told(remark))}" for remark in compared.remarks(summary)
    )


def _ceilings(summary: Mapping[str, Any]) -> Iterator[str]:
    found = ceiling.tables(summary)
    if found:
        yield "## Ceilings"
        yield ceiling.TOLD
    for table in found:
        yield f"### {_escaped(table.title)}"
        align = ["---:" if numeric else "---" for numeric in table.numeric]
        yield _table(table.head, align, table.rows)


def _saturation(summary: Mapping[str, Any]) -> list[str]:
    """Answer and trials of a search; nothing for another run."""
    if not summary.get("saturation"):
        return []
    head = [
        f"{name}{f' ({unit})' if unit else ''}"
        for name, unit in zip(saturation.HEAD, saturation.UNITS, strict=True)
    ]
    align = ["---:"] * (len(head) - 1) + ["---"]
    told = "\n".join(f"* {_escaped(text)}" for text in saturation.sentences(summary))
    return [told, "## Saturation", _table(head, align, saturation.rows(summary))]


def _title(summary: Mapping[str, Any]) -> str:
    models = sorted({str(cell["model"]) for cell in summary["cells"]})
    return f"Which engine and quantization for {_escaped(', '.join(models))}?"


def _details(cell: Mapping[str, Any]) -> str:
    head = f"### {cell['cell']}: {cell['status']}"
    parts = [head, _bullets(facts.details(cell))]
    if cell["latencies_ms"]:
        align = ["---"] + ["---:"] * (len(facts.LATENCY_HEAD) - 1)
        parts.append(_table(facts.LATENCY_HEAD, align, facts.latency_rows(cell)))
    if sides := beside.both_sides(cell):
        parts.append(_table(beside.SIDES_HEAD, ["---", "---:", "---:"], sides))
    parts += [f"**{warning['name']}**: {_escaped(_told(warning))}" for warning in cell["warnings"]]
    return "\n\n".join(parts)


def _told(warning: Mapping[str, Any]) -> str:
    parts = [("", "seen"), ("Likely cause: ", "cause"), ("What to do: ", "advice")]
    told = [(lead, str(warning.get(key) or "").rstrip(".")) for lead, key in parts]
    return " ".join(f"{lead}{text}." for lead, text in told if text)


def _note(note: Note) -> str:
    seen = "; ".join(f"`{cell}`: {_escaped(text)}" for cell, text in note.seen)
    advice = _escaped(sentence(note.advice))
    return f"{note.number}. **{note.name}**: {seen}. {advice}".rstrip()


def _items(texts: Iterable[str]) -> str:
    return "\n".join(f"* {_escaped(text)}" for text in texts)


def _bullets(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"* {name}: {_escaped(text)}" for name, text in pairs)


def _table(head: Sequence[str], align: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, align, *([_escaped(text) for text in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _escaped(text: str) -> str:
    """Text that Markdown would not read as a table, markup, emphasis or several lines."""
    flat = " ".join(text.split())
    for sign in "\\|<*`":
        flat = flat.replace(sign, "\\" + sign)
    return flat
