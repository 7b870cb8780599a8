"""What was sampled over time, as Parquet: the server's process tree and the engine's own view."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quantswarm.bench.atomic import write_bytes

_SAMPLES: Mapping[str, type] = {
    "cpu_s": float,
    "rss_bytes": int,
    "pss_bytes": int,
    "gpu_bytes": int,
    "processes": int,
}
_NUMBERS = (
    "running",
    "waiting",
    "kv_cache_use",
    "prompt_tokens",
    "computed_prompt_tokens",
    "generation_tokens",
    "prefix_queries",
    "prefix_hits",
    "preemptions",
)
_PARTS = ("sum", "count")
_ENGINE: Mapping[str, type] = {
    "took_ns": int,
    "gap": str,
    **dict.fromkeys(_NUMBERS, float),
    **{f"{name}_{part}": float for name in ("ttft", "itl") for part in _PARTS},
}


def write_series(run_dir: Path) -> list[Path]:
    """`samples.parquet` and `engine.parquet` of all cells, one row a sample, `ns` on
    CLOCK_MONOTONIC; one that no cell has anything for is not written. Returns what was."""
    kinds = {"samples": _SAMPLES, "engine": _ENGINE}
    written = []
    for name, columns in kinds.items():
        rows = [_row(cell, raw, columns) for cell, raw in _lines(run_dir, f"{name}.jsonl")]
        if rows:
            written.append(write_bytes(run_dir / f"{name}.parquet", _table(rows, columns)))
    return written


def _lines(run_dir: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(cell, object) of every line; one cut off by a kill is passed over."""
    for path in sorted((run_dir / "cells").glob(f"*/{name}")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                raw = json.loads(line)
            except ValueError:
                continue
            if isinstance(raw, dict) and type(raw.get("ns")) is int:
                yield path.parent.name, raw


def _row(cell: str, raw: dict[str, Any], columns: Mapping[str, type]) -> dict[str, Any]:
    flat = raw | _flat(raw.get("values") or {})
    found = {name: flat.get(name) for name in columns}
    typed = {k: None if v is None else columns[k](v) for k, v in found.items()}
    return {"cell": cell, "ns": raw["ns"], **typed}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Histograms as their sums and counts; the buckets stay in `engine.jsonl`."""
    flat = {name: value for name, value in values.items() if not isinstance(value, dict)}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{name}_{part}": value.get(part) for part in _PARTS}
    return flat


def _table(rows: list[dict[str, Any]], columns: Mapping[str, type]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    known = {"cell": str, "ns": int, **columns}
    schema = pa.schema([(name, types[kind]) for name, kind in known.items()])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return bytes(sink.getvalue().to_pybytes())
