"""What was sampled over time, as Parquet: processes, cores, GPUs and the engine's own view.

docs/telemetry.md lists every column with its unit and source.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from quantswarm.bench.atomic import write_bytes
from quantswarm.bench.judge.manifest import read_manifest
from quantswarm.models.errors import BadFile

_SAMPLES: Mapping[str, type] = {
    "cpu_s": float,
    "rss_bytes": int,
    "pss_bytes": int,
    "gpu_bytes": int,
    "processes": int,
    "major_faults": int,
    "generator_cpu_s": float,
    "watcher_cpu_s": float,
    "throttled_s": float,
    "cpu_package_joules": float,
    "took_ns": int,
}
_CORES: Mapping[str, type] = {"core": int, "busy_s": float, "steal_s": float}
_GPUS: Mapping[str, type] = {
    "gpu": int,
    "utilization": float,
    "memory_utilization": float,
    "used_bytes": int,
    "tree_bytes": int,
    "power_w": float,
    "sm_mhz": int,
    "memory_mhz": int,
    "temperature_c": int,
    "throttle": str,
    "energy_j": float,
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
    "generation_seconds",
)
_HISTOGRAMS = ("ttft", "itl", "queue_time")
_PARTS = ("sum", "count")
_ENGINE: Mapping[str, type] = {
    "took_ns": int,
    "gap": str,
    **dict.fromkeys(_NUMBERS, float),
    **{f"{name}_{part}": float for name in _HISTOGRAMS for part in _PARTS},
    **{f"{name}_{part}": list for name in _HISTOGRAMS for part in ("le", "cumulative")},
}


COLUMNS = {"samples": _SAMPLES, "cores": _CORES, "gpus": _GPUS, "engine": _ENGINE}
"""File → its columns and their types, after `cell`, `ns` and `t_s`."""


def write_series(run_dir: Path) -> list[Path]:
    """`samples`, `cores`, `gpus` and `engine.parquet` of all cells; returns those written.

    `ns` is CLOCK_MONOTONIC, `t_s` the same in seconds from the start of the cell's window. A file
    that no cell has anything for is not written.
    """
    samples, scrapes = _lines(run_dir, "samples.jsonl"), _lines(run_dir, "engine.jsonl")
    tables = {
        "samples": samples,
        "cores": _inner(samples, "cores"),
        "gpus": _inner(samples, "gpus"),
        "engine": scrapes,
    }
    starts = _starts(run_dir)
    written = []
    for name, lines in tables.items():
        columns = COLUMNS[name]
        rows = [_row(cell, starts.get(cell), raw, columns) for cell, raw in lines]
        if rows:
            written.append(write_bytes(run_dir / f"{name}.parquet", _table(rows, columns)))
    return written


def _starts(run_dir: Path) -> dict[str, int]:
    """Cell → start of its window; a cell without one has no `t_s`."""
    found = {}
    for path in (run_dir / "cells").glob("*/manifest.json"):
        with suppress(BadFile):
            window = read_manifest(path).window
            if window is not None:
                found[path.parent.name] = window.start_ns
    return found


def _lines(run_dir: Path, name: str) -> list[tuple[str, dict[str, Any]]]:
    """(cell, object) of every line; one cut off by a kill is passed over."""
    found = []
    for path in sorted((run_dir / "cells").glob(f"*/{name}")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                raw = json.loads(line)
            except ValueError:
                continue
            if isinstance(raw, dict) and type(raw.get("ns")) is int:
                found.append((path.parent.name, raw))
    return found


def _inner(
    lines: Iterable[tuple[str, dict[str, Any]]], key: str
) -> list[tuple[str, dict[str, Any]]]:
    """One row for each entry of a list inside a sample, with the sample's stamp."""
    return [
        (cell, {**entry, "ns": raw["ns"]}) for cell, raw in lines for entry in raw.get(key) or ()
    ]


def _row(
    cell: str, start_ns: int | None, raw: dict[str, Any], columns: Mapping[str, type]
) -> dict[str, Any]:
    flat = raw | _flat(raw.get("values") or {})
    found = {name: flat.get(name) for name in columns}
    typed = {k: None if v is None else _typed(columns[k], v) for k, v in found.items()}
    t_s = None if start_ns is None else (raw["ns"] - start_ns) / 1e9
    return {"cell": cell, "ns": raw["ns"], "t_s": t_s, **typed}


def _typed(kind: type, value: Any) -> Any:
    """A list of names as one text, so that every tool can read it."""
    return ";".join(value) if kind is str and isinstance(value, list) else kind(value)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Histograms as sum, count, upper edges (the last is infinite) and cumulative counts."""
    flat = {name: value for name, value in values.items() if not isinstance(value, dict)}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{name}_{part}": value.get(part) for part in _PARTS}
            buckets = value.get("buckets") or ()
            flat[f"{name}_le"] = [math.inf if edge is None else edge for edge, _ in buckets]
            flat[f"{name}_cumulative"] = [count for _, count in buckets]
    return flat


def _table(rows: list[dict[str, Any]], columns: Mapping[str, type]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = pa.list_(pa.float64())
    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), list: numbers}
    known = {"cell": str, "ns": int, "t_s": float, **columns}
    schema = pa.schema([(name, types[kind]) for name, kind in known.items()])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return bytes(sink.getvalue().to_pybytes())
