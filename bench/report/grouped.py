"""The rows of the main table: the cells, or, where there are rounds, one row a variant and load."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.compare.entries import load_of, round_of, sound, variant_of
from quantswarm.bench.compare.measure import HEADLINE
from quantswarm.bench.report import ceiling
from quantswarm.bench.report.quality import quality_of

Cell = Mapping[str, Any]
Row = dict[str, Any]

_POOLED = (
    *("output_throughput", "request_throughput"),
    *("ttft_p50_ms", "ttft_p95_ms", "tpot_p50_ms", "itl_p99_ms", "e2e_p50_ms"),
)
_SUMMED = ("requests", "failures")
_LARGEST = ("rss_peak_bytes", "weights_bytes")
_MEDIANS = ("load_s", "prefix_hit_rate")


def rows_of(summary: Mapping[str, Any]) -> list[Row]:
    """What each format tabulates. A row has the keys of a cell; that of several rounds holds the
    geometric means of its sound cells under the name of the first, and `members`, all its cells.
    `against` is the row's pair of the comparison by output throughput, where it is in one, and
    `quality` the document of its variant, where that was measured."""
    cells = summary["cells"]
    merged = cells
    if any(round_of(cell) > 1 for cell in cells):
        groups: dict[tuple[Any, ...], list[Cell]] = {}
        for cell in sorted(cells, key=round_of):
            groups.setdefault((load_of(cell), variant_of(cell)), []).append(cell)
        order = {cell["cell"]: place for place, cell in enumerate(cells)}
        merged = [_pooled(group) for group in groups.values()]
        merged.sort(key=lambda row: min(order[name] for name in row["members"]))
    return [
        {
            **row,
            "against": _against(row, summary.get("comparison")),
            "quality": quality_of(row, summary),
        }
        for row in merged
    ]


def marks_of(rows: Sequence[Cell], marks: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The note numbers of each row: those of all its cells."""
    return {
        row["cell"]: tuple(sorted({n for name in members(row) for n in marks[name]}))
        for row in rows
    }


def members(row: Cell) -> Sequence[str]:
    """The names of the cells behind a row."""
    names: Sequence[str] = row.get("members") or [row["cell"]]
    return names


def _pooled(group: Sequence[Cell]) -> Row:
    good = [cell for cell in group if sound(cell)]
    first = good[0] if good else group[0]
    row = {
        **first,
        "members": [cell["cell"] for cell in group],
        "rounds": len(good),
        "rounds_asked": len(group),
    }
    row |= {key: _mean([cell[key] for cell in good]) for key in _POOLED}
    row |= {key: _over(sum, group, key) for key in _SUMMED}
    row |= {key: _over(max, group, key) for key in _LARGEST}
    row |= {key: _over(statistics.median, group, key) for key in _MEDIANS}
    row["ceiling"] = ceiling.pooled(good)
    row["latencies_ms"] = {
        metric: _spread([cell["latencies_ms"][metric] for cell in good])
        for metric in (first["latencies_ms"] if good else ())
    }
    return row


def _mean(values: Sequence[float | None]) -> float | None:
    """The geometric mean of what is known; the ratio of two such means is the mean ratio."""
    known = [value for value in values if value is not None]
    if not known or min(known) <= 0:
        return statistics.fmean(known) if known else None
    return statistics.geometric_mean(known)


def _over(pool: Any, group: Sequence[Cell], key: str) -> Any:
    known = [cell[key] for cell in group if cell[key] is not None]
    return pool(known) if known else None


def _spread(spreads: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    pooled = {key: _mean([spread[key] for spread in spreads]) for key in spreads[0]}
    return pooled | {key: sum(spread[key] for spread in spreads) for key in ("n", "requests")}


def _against(row: Cell, comparison: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if comparison is None:
        return None
    if variant_of(row) == comparison["baseline"]:
        return {"verdict": "baseline", "ratio": 1.0, "low": None, "high": None}
    load, name = load_of(row), variant_of(row)
    place = (load.model, load.words, name, HEADLINE.key)
    pairs = comparison["pairs"]
    return next(
        (p for p in pairs if (p["model"], p["load"], p["variant"], p["metric"]) == place), None
    )
