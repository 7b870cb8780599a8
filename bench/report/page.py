"""The report as one HTML file that needs nothing else: no network, no script to read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantswarm.bench.compare.entries import load_order
from quantswarm.bench.report import (
    beside,
    ceiling,
    claimed,
    compared,
    decided,
    definitions,
    facts,
    gates,
    numerals,
    saturation,
)
from quantswarm.bench.report.columns import Column, columns_for, variant
from quantswarm.bench.report.decision_plots import decision_plots
from quantswarm.bench.report.grouped import marks_of, rows_of
from quantswarm.bench.report.memory_time import memory_time
from quantswarm.bench.report.notes import notes
from quantswarm.bench.report.plots import Plot, plots
from quantswarm.bench.report.raw import cells_file, quality_file, raw_files, raw_of

TEMPLATES = Path(__file__).parent


def as_page(summary: Mapping[str, Any], timelines: Mapping[str, str] | None = None) -> str:
    """The whole page as text. The table can be read, and the details opened, without JavaScript;
    a few lines of it only sort the table. `timelines` are drawings of cells, by the cell's name."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2").render(
        **_content(summary), timelines=timelines or {}, sides_head=beside.SIDES_HEAD
    )


def _content(summary: Mapping[str, Any]) -> dict[str, Any]:
    cells, rows = summary["cells"], rows_of(summary)
    marks, footnotes = notes(cells)
    marks = marks_of(rows, marks)
    columns = columns_for(rows)
    return {
        "summary": summary,
        "models": sorted({str(cell["model"]) for cell in cells}),
        "header": facts.header(summary),
        "answers": [_answer(rows, answer) for answer in summary["answers"]],
        "honest": compared.honest(summary),
        "claims": claimed.table(summary),
        "claims_legend": claimed.LEGEND,
        "claims_told": claimed.sentences(summary),
        "memory_time": memory_time(rows) if summary.get("claims") else None,
        "comparison": compared.tables(summary),
        "comparison_remarks": compared.remarks(summary),
        "ceilings": ceiling.tables(summary),
        "ceilings_told": ceiling.TOLD,
        "saturation": _saturation(summary),
        "decision": _decision(summary),
        "columns": columns,
        "rows": [_row(columns, row, marks[row["cell"]], summary) for row in rows],
        "raw": raw_files(rows),
        "notes": footnotes,
        "gates": gates.sentences(cells, included=bool(summary.get("include_invalid"))),
        "plots": _plots(rows),
        "method": facts.method(cells),
        "details": [
            (cell, facts.details(cell), facts.latency_rows(cell), beside.both_sides(cell))
            for cell in cells
        ],
        "latency_head": facts.LATENCY_HEAD,
        "metrics": definitions.METRICS,
        "tables": [
            ("Names in other tools", _parsed(definitions.elsewhere())),
            ("When a percentile is given", _parsed(definitions.minimums())),
        ],
    }


def _saturation(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the page shows of a search; None for another run."""
    if not summary.get("saturation"):
        return None
    return {
        "sentences": saturation.sentences(summary),
        "head": list(zip(saturation.HEAD, saturation.UNITS, strict=True)),
        "rows": saturation.rows(summary),
        "plot": Plot(
            title=saturation.TITLE, reading=saturation.READING, svg=saturation.plot(summary)
        ),
    }


def _decision(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Table, sentences and plots of the decision; None where there is nothing to choose between."""
    found = summary.get("decision")
    if not found:
        return None
    return {
        "table": decided.beside_table(found),
        "rows": _linked(found),
        "legend": decided.LEGEND,
        "remark": found["remark"],
        "parts": decided.parts(found),
        "plots": decision_plots(found),
    }


def _linked(decision: Mapping[str, Any]) -> list[list[tuple[str, str | None]]]:
    """The rows of the decision's table, each text with where it comes from."""
    table = decided.beside_table(decision)
    found = []
    for row, texts in zip(decision["rows"], table.rows, strict=True):
        sources = {
            "output (tok/s)": cells_file(row["cells"]),
            "Δ perplexity": quality_file(row["quality_name"]),
            "KL": quality_file(row["quality_name"]),
        }
        found.append(list(zip(texts, map(sources.get, table.head), strict=True)))
    return found


def _answer(cells: list[dict[str, Any]], answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer with the figures that its card shows."""
    best = next((cell for cell in cells if cell["cell"] == answer["best"]), None)
    figures = []
    if best is not None:
        figures = [
            ("output", f"{numerals.plain(best['output_throughput'])} tok/s"),
            ("TTFT p50", f"{numerals.plain(best['ttft_p50_ms'])} ms"),
            ("TPOT p50", f"{numerals.plain(best['tpot_p50_ms'])} ms"),
            ("memory", numerals.megabytes(best["rss_peak_bytes"])),
        ]
    names = [variant(row) for row in (best, *_tied(cells, answer)) if row is not None]
    name = " = ".join(names) or "no answer"
    load = answer.get("load") or f"{answer['users']} users"
    return {**answer, "load": load, "figures": figures, "name": name}


def _tied(rows: list[dict[str, Any]], answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that do not differ from the best one."""
    return [row for row in rows if row["cell"] in (answer.get("tied") or ())]


def _row(
    columns: tuple[Column, ...],
    cell: Mapping[str, Any],
    marks: tuple[int, ...],
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    best = any(
        cell["cell"] in (answer["best"], *(answer.get("tied") or ()))
        for answer in summary["answers"]
    )
    texts = [
        (column, column.text(cell), _sort_key(column, cell), raw_of(column, cell, summary))
        for column in columns
    ]
    return {"cell": cell, "texts": texts, "marks": marks, "best": best}


def _sort_key(column: Column, cell: Mapping[str, Any]) -> str:
    """The raw value to sort by; empty for an unknown one, which sorts last."""
    value = cell.get(column.key) or (cell.get("against") or {}).get(column.key)
    if column.key == ceiling.KEY:
        value = ceiling.share(cell)
    if value is None:
        value = (cell.get("quality") or {}).get(column.key)
    if column.key == "users":
        value = _rate(cell)
    hidden = column.text(cell).startswith(numerals.NA)
    return "" if value is None or hidden else str(value)


def _rate(cell: Mapping[str, Any]) -> float:
    """The users, or the rate of an open loop."""
    users, rate, _ = load_order(cell)
    return rate or users


def _plots(cells: list[dict[str, Any]]) -> list[tuple[str, list[Plot]]]:
    """Plots by model: variants of different models do not share an axis."""
    models = list(dict.fromkeys(cell["model"] for cell in cells))
    return [
        (model, plots([cell for cell in cells if cell["model"] == model], prefix=f"p{number}"))
        for number, model in enumerate(models, start=1)
    ]


def _parsed(table: str) -> list[list[str]]:
    """Rows of one of our own Markdown tables, heading first."""
    lines = [line for line in table.splitlines() if not line.startswith("| ---")]
    return [[text.strip().strip("`") for text in line.strip("|").split("|")] for line in lines]
