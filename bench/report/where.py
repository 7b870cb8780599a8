"""A run's host and matrix in words: what a reader needs to know first, not every field."""

from __future__ import annotations

from collections.abc import Mapping
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
    users = " and ".join(str(count) for count in matrix.get("users") or ())
    load = offered(matrix) or f"{users} users"
    return (
        f"{matrix.get('name')}: {variants} variant{'' if variants == 1 else 's'} at {load}, "
        f"scenario {matrix.get('scenario')}, seed {matrix.get('seed')}"
    )
