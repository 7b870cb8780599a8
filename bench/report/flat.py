"""One flat row a cell, for spreadsheets and data frames; and the comma-separated file of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.judge.latency import LATENCIES
from quantswarm.bench.judge.rate import RATES
from quantswarm.bench.report.quality import quality_of

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
_ENGINE: dict[str, tuple[str, type]] = {
    "engine_running_mean": ("running_mean", float),
    "engine_running_max": ("running_peak", float),
    "engine_waiting_mean": ("waiting_mean", float),
    "engine_waiting_max": ("waiting_peak", float),
    "engine_kv_cache_mean": ("kv_cache_mean", float),
    "engine_kv_cache_max": ("kv_cache_peak", float),
    "engine_prefix_hit_rate": ("prefix_hit_rate", float),
    "engine_preemptions": ("preemptions", float),
    "engine_tokens": ("server_tokens", float),
    "engine_queue_mean_ms": ("queue_mean_ms", float),
    "engine_ttft_mean_ms": ("ttft_mean_ms", float),
    "engine_itl_mean_ms": ("itl_mean_ms", float),
}
"""Column → key of the engine's own view, and type."""
_INTERPOLATED = {
    f"engine_{m}_{q}_ms": (m, f"{q}_ms") for m in ("ttft", "itl") for q in ("p50", "p99")
}
"""Column → histogram and key; interpolated inside a bucket, unlike the client's own."""
_RESOURCES: dict[str, type] = {
    "server_cpu_mean": float,
    "server_cpu_max": float,
    "generator_cpu_mean": float,
    "steal_share": float,
    "throttled_share": float,
    "major_faults": float,
    "pss_max_bytes": int,
    "cpu_package_joules": float,
    "gpu_utilization_mean": float,
    "gpu_memory_max_bytes": int,
    "gpu_power_mean_w": float,
    "gpu_power_max_w": float,
    "gpu_joules": float,
    "gpu_sm_min_mhz": int,
    "gpu_temperature_max_c": int,
    "gpu_slowed_share": float,
}
_QUALITY: dict[str, type] = {
    "perplexity": float,
    "bits_per_byte": float,
    "perplexity_ratio": float,
    "delta_nll": float,
    "delta_nll_low": float,
    "delta_nll_high": float,
    "kl_mean": float,
    "kl_p99": float,
    "top1_agreement": float,
    "quality_tokens": int,
}
"""Of the cell's variant: the same on each of its rows."""
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
_CEILING: dict[str, tuple[str, type]] = {
    "ceiling_decode_tok_s": ("decode_tok_s", float),
    "ceiling_prefill_tok_s": ("prefill_tok_s", float),
    "weights_bytes_per_token": ("weights_bytes_per_token", float),
    "kv_bytes_per_token": ("kv_bytes_per_token", float),
    "share_of_decode_ceiling": ("share_of_decode_ceiling", float),
    "share_of_prefill_ceiling": ("share_of_prefill_ceiling", float),
}
"""Column → key of the cell's ceiling, and type."""
_SPENT: dict[str, type] = {
    "cost_per_million": float,
    "currency": str,
    "tokens_per_joule": float,
    "energy_of": str,
}
_FOOTPRINT: dict[str, type] = {
    "memory_after_load_bytes": int,
    "pss_after_load_bytes": int,
    "gpu_after_load_bytes": int,
    "gpu_peak_bytes": int,
    "first_ready_s": float,
    "bits_per_weight": float,
}
"""The rest of a footprint is in older columns: `weights_bytes`, `rss_peak_bytes`, `load_s`."""
_COMPONENTS = ("linear", "embeddings", "lm_head", "norms", "other")
_PHASES: dict[str, tuple[str, type]] = {
    "phase_prefill_tok_s": ("prefill_tok_s", float),
    "phase_decode_tok_s": ("decode_tok_s", float),
}
"""Column → key of the phases at one user, and type; `server_` before it is by its own clock."""
_PARTS = ("n", "mean", "p50", "p90", "p95", "p99", "p999", "max")


def fields() -> dict[str, type]:
    """Column names in order, and the type of each; every value may also be None."""
    spread = {
        _spread_key(metric.name, part): int if part == "n" else float
        for metric in LATENCIES
        for part in _PARTS
    }
    own = {column: kind for column, (_, kind) in _ENGINE.items()} | dict.fromkeys(
        _INTERPOLATED, float
    )
    return (
        _FIRST
        | {metric.name: float for metric in RATES}
        | spread
        | own
        | _RESOURCES
        | _QUALITY
        | _LAST
        | {column: kind for column, (_, kind) in _CEILING.items()}
        | _SPENT
        | _FOOTPRINT
        | {f"{part}_bytes": int for part in _COMPONENTS}
        | {f"{by}{column}": kind for by in ("", "server_") for column, (_, kind) in _PHASES.items()}
        | {"server_phase_source": str}
    )


def rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One dict a cell with exactly the keys of `fields()`."""
    return [
        _row(summary["run_id"], cell) | _quality(quality_of(cell, summary) or {})
        for cell in summary["cells"]
    ]


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
    row |= _watched(cell)
    limits = cell.get("ceiling") or {}
    row |= {column: limits.get(key) for column, (key, _) in _CEILING.items()}
    row |= _footprint(cell.get("footprint") or {}) | _phases(cell.get("phases") or {})
    row["kernels"] = _joined(cell.get("kernels"))
    row["warnings"] = _joined([warning["name"] for warning in cell["warnings"]])
    row["failed_gates"] = _joined(cell.get("failed_gates"))
    row["failures_by_class"] = _joined([f"{k}={v}" for k, v in cell["failures_by_class"].items()])
    return row


def _watched(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's own view and what the window cost; both are absent from older summaries."""
    view, used = cell.get("engine_view") or {}, cell.get("resources") or {}
    quantiles = {c: (view.get(m) or {}).get(key) for c, (m, key) in _INTERPOLATED.items()}
    said = {column: view.get(key) for column, (key, _) in _ENGINE.items()}
    return said | quantiles | {column: used.get(column) for column in _RESOURCES}


def _footprint(found: Mapping[str, Any]) -> dict[str, Any]:
    """Both this and the phases are absent from older summaries."""
    parts = found.get("weight_parts") or ()
    sizes = {
        f"{name}_bytes": sum(part["bytes"] for part in parts if part["part"] == name)
        for name in (_COMPONENTS if parts else ())
    }
    return {column: found.get(column) for column in _FOOTPRINT} | sizes


def _phases(found: Mapping[str, Any]) -> dict[str, Any]:
    own = found.get("server") or {}
    sides = {"": found, "server_": own}
    return {
        f"{by}{column}": said.get(key)
        for by, said in sides.items()
        for column, (key, _) in _PHASES.items()
    } | {"server_phase_source": own.get("source")}


def _quality(found: Mapping[str, Any]) -> dict[str, Any]:
    low, high = found.get("delta_nll_ci") or (None, None)
    renamed = {
        "delta_nll_low": low,
        "delta_nll_high": high,
        "quality_tokens": found.get("tokens"),
    }
    return {column: found.get(column) for column in _QUALITY} | renamed


def _joined(values: Sequence[str] | None) -> str | None:
    return ";".join(values) if values else None
