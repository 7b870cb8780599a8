"""Tokens a joule: what the energy counters of a window say, and why there is no answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Cell = Mapping[str, Any]


def joules(cell: Cell) -> float | None:
    """Energy of the window: CPU packages (RAPL) and GPUs (NVML), as far as they were read.

    On a machine with GPUs their energy has to be known: the packages alone would flatter.
    """
    used = cell.get("resources") or {}
    gpus, packages = used.get("gpu_joules"), used.get("cpu_package_joules")
    if gpus is None and ((cell.get("host") or {}).get("gpus")):
        return None
    known = [value for value in (gpus, packages) if value is not None]
    return sum(known) if known else None


def tokens_per_joule(cell: Cell) -> float | None:
    """Output tokens of the window over its joules; None where either is not known."""
    spent, speed, window_s = joules(cell), cell.get("output_throughput"), cell.get("window_s")
    if not spent or speed is None or window_s is None:
        return None
    return float(speed) * float(window_s) / spent


def counted(cell: Cell) -> str:
    """What the energy is of, or why there is none."""
    used = cell.get("resources") or {}
    keys = {"cpu_package_joules": "CPU packages (RAPL)", "gpu_joules": "GPUs (NVML)"}
    of = [words for key, words in keys.items() if used.get(key) is not None]
    if joules(cell) is not None:
        return " and ".join(of)
    missing = (cell.get("telemetry") or {}).get("missing") or {}
    reasons = [str(missing[key]) for key in ("cpu_energy", "gpu") if missing.get(key)]
    return "; ".join(reasons) or "no energy counter was read"
