"""One flat row a cell, for spreadsheets and data frames; and the comma-separated file of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.judge.latency import LATENCIES
from quantswarm.bench.judge.rate import RATES

_FIRST: dict[str, type] = {
    "run_id": str,
    "cell": str,
    "model": str,
    "engine": str,
    "quant": str,
    "users": int,
    "status": str,
    "reason": str,
    "window_s": float,
    "requests": int,
    "failures": int,
}
_LAST: dict[str, type] = {
    "weights_bytes": int,
    "rss_peak_bytes": int,
    "load_s": float,
    "scenario_hash": str,
    "artefact_sha256": str,
    "kernels": str,
    "failures_by_class": str,
    "warnings": str,
    "label": str,
    "round": int,
    "failed_gates": str,
}
_PARTS = ("n", "mean", "p50", "p90", "p95", "p99", "p999", "max")


def fields() -> dict[str, type]:
    """Column names in order, and the type of each; every value may also be None."""
    spread = {
        _spread_key(metric.name, part): int if part == "n" else float
        for metric in LATENCIES
        for part in _PARTS
    }
    return _FIRST | {metric.name: float for metric in RATES} | spread | _LAST


def rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One dict a cell with exactly the keys of `fields()`."""
    return [_row(summary["run_id"], cell) for cell in summary["cells"]]


def as_csv(summary: Mapping[str, Any]) -> str:
    """Comma-separated text with a heading; an unknown value is an empty field."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(fields()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(summary))
    return out.getvalue()


def _spread_key(metric: str, part: str) -> str:
    return f"{metric}_{part}" if part == "n" else f"{metric}_{part}_ms"


def _row(run_id: str, cell: Mapping[str, Any]) -> dict[str, Any]:
    row = {key: cell.get(key) for key in fields()} | {"run_id": run_id}
    row |= {metric.name: cell["rates"].get(metric.name) for metric in RATES}
    for metric in LATENCIES:
        spread = cell["latencies_ms"].get(metric.name) or {}
        row |= {_spread_key(metric.name, part): spread.get(part) for part in _PARTS}
    row["kernels"] = _joined(cell.get("kernels"))
    row["warnings"] = _joined([warning["name"] for warning in cell["warnings"]])
    row["failed_gates"] = _joined(cell.get("failed_gates"))
    row["failures_by_class"] = _joined([f"{k}={v}" for k, v in cell["failures_by_class"].items()])
    return row


def _joined(values: Sequence[str] | None) -> str | None:
    return ";".join(values) if values else None
