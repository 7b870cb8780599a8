"""Where each number of the report comes from: paths of raw files, relative to the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from quantswarm.bench.judge.engine_view import ANSWERS
from quantswarm.bench.judge.quality_files import quality_name
from quantswarm.bench.quality.kept import FOLDER
from quantswarm.bench.report import numerals
from quantswarm.bench.report.columns import Column
from quantswarm.bench.report.grouped import members

RECORDS, MANIFEST, SCRAPES = "records.jsonl", "manifest.json", "engine.jsonl"
_FILES: Mapping[str, str] = {
    **dict.fromkeys(("output_throughput", "request_throughput", "requests", "failures"), RECORDS),
    **dict.fromkeys(("ttft_p50_ms", "ttft_p95_ms", "tpot_p50_ms", "itl_p99_ms"), RECORDS),
    **dict.fromkeys(("e2e_p50_ms", "goodput", "slo_attainment", "prefix_hit_rate"), RECORDS),
    **dict.fromkeys(("rss_peak_bytes", "weights_bytes", "load_s"), MANIFEST),
}
"""Column → file in the cell's folder."""
_QUALITY = frozenset(
    {"perplexity", "perplexity_increase_percent", "delta_nll", "kl_mean", "top1_agreement"}
)
_COMPARED = frozenset({"ratio", "interval"})


def raw_of(column: Column, row: Mapping[str, Any], summary: Mapping[str, Any]) -> str | None:
    """The link of one number; None for what is no number of this cell, or is not known. A number
    over several rounds leads to the list of its files, and a ratio to the comparison."""
    if column.text(row).startswith(numerals.NA):
        return None
    if column.key in _COMPARED:
        return "#comparison" if summary.get("comparison") else None
    if column.key in _QUALITY:
        return quality_file(quality_name(summary.get("quality") or {}, row))
    file = _FILES.get(column.key)
    if column.key == "prefix_hit_rate" and row.get("prefix_hit_source") != ANSWERS:
        file = SCRAPES
    return cells_file(members(row), file) if file else None


def cells_file(cells: Sequence[str], file: str = RECORDS) -> str:
    """The file of a single cell; of several, the place on the page where all are listed."""
    return f"#raw-{cells[0]}" if len(cells) > 1 else f"cells/{quote(cells[0])}/{file}"


def quality_file(name: str | None) -> str | None:
    """A quality document; None for None."""
    return None if name is None else f"{FOLDER}/{quote(name)}.json"


def raw_files(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """(name of the place, the records of all its rounds), for rows that have several."""
    return [
        (str(row["cell"]), [cells_file([name]) for name in members(row)])
        for row in rows
        if len(members(row)) > 1
    ]
