"""A run's host and matrix in words: what a reader needs to know first, not every field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.compare.entries import offered
from quantswarm.bench.report import numerals

_TOLD_ISA = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile")
"""The processor features that change which kernels serve."""


def host_words(host: Mapping[str, Any] | None) -> str:
    """Processor, its features that matter, cores, memory, GPUs; "n/a" where nothing is known."""
    if not host:
        return numerals.NA
    parts = [str(host.get("cpu") or "unknown processor")]
    isa = [flag for flag in _TOLD_ISA if flag in (host.get("isa") or ())]
    if isa:
        parts.append(" ".join(isa))
    if host.get("cores"):
        parts.append(f"{len(host['cores'])} cores")
    if host.get("memory_bytes"):
        parts.append(f"{host['memory_bytes'] / 2**30:.0f} GiB")
    gpus = [str(gpu.get("name")) for gpu in host.get("gpus") or ()]
    parts.append(", ".join(gpus) or "no GPU")
    if host.get("kernel"):
        parts.append(f"Linux {host['kernel']}")
    return ", ".join(parts)


def matrix_words(matrix: Mapping[str, Any] | None) -> str:
    """The matrix's name, size and load; "n/a" for a run without one."""
    if not matrix:
        return numerals.NA
    variants = len(matrix.get("variants") or ())
    rounds = matrix.get("rounds") or 1
    again = f", {rounds} rounds" if rounds > 1 else ""
    return (
        f"{matrix.get('name')}: {variants} variant{'' if variants == 1 else 's'} at "
        f"{_loads(matrix)}{again}, scenario {matrix.get('scenario')}, seed {matrix.get('seed')}"
    )


def _loads(matrix: Mapping[str, Any]) -> str:
    """Users and open loops; older runs with arrivals had no rates, and users that meant nothing."""
    rates, users = matrix.get("rates") or (), matrix.get("users") or ()
    if matrix.get("arrivals") and not rates:
        return offered(matrix)
    loads = [f"{_listed(users)} users"] if users else []
    if rates:
        loads.append(f"{_listed(rates)} req/s, {(matrix.get('arrivals') or {}).get('kind')}")
    return " and at ".join(loads)


def _listed(numbers: Sequence[float]) -> str:
    return " and ".join(f"{number:g}" for number in numbers)
