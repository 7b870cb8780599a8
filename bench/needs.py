"""Variants that need a GPU, or a CPU alone: left out by name where their server has another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantswarm.bench.matrix import Matrix, Variant
from quantswarm.engines.hardware import Host
from quantswarm.engines.registry import engine_named
from quantswarm.models.errors import NotAvailable

ELSEWHERE = "the same command measures it there"


def lacking(variant: Variant, host: Host) -> str | None:
    """Why this machine cannot measure a variant that needs certain hardware; None where it can."""
    if variant.needs is None:
        return None
    if variant.needs == "cuda" and not host.gpus:
        return f"needs an NVIDIA GPU, and there is none ({host.no_gpu_reason}); {ELSEWHERE}"
    found = engine_named(variant.engine).probe()
    computes_on = "cuda" if host.gpus and found.device == "cuda" else "cpu"
    if not found.available or computes_on == variant.needs:
        return None
    if variant.needs == "cuda":
        return (
            f"needs an NVIDIA GPU, and the installed {variant.engine} computes on the CPU;"
            f" make setup installs the build for the {host.gpus[0].name}"
        )
    return (
        f"needs a CPU to compute on, and the installed {variant.engine} computes on the"
        f" {host.gpus[0].name}; {ELSEWHERE} where there is no GPU"
    )


def left_out(matrix: Matrix, host: Host) -> dict[Variant, str]:
    """The variants that this machine cannot measure, each with its reason.

    `NotAvailable` where it can measure none of them: there would be nothing to report.
    """
    reasons = {variant: lacking(variant, host) for variant in matrix.variants}
    absent = {variant: reason for variant, reason in reasons.items() if reason is not None}
    if len(absent) == len(matrix.variants):
        raise NotAvailable(
            f"matrix {matrix.name}",
            "none of its variants can be measured here",
            evidence="\n".join(dict.fromkeys(absent.values())),
            next_step="quantswarm doctor tells what this machine has",
        )
    return absent


def documents(absent: Mapping[Variant, str]) -> list[dict[str, Any]]:
    """What `run.json` and the summary hold of them, and reports print."""
    return [
        {
            "variant": variant.name,
            "engine": variant.engine,
            "quant": variant.quant,
            "model": variant.model,
            "needs": variant.needs,
            "reason": reason,
            "sentence": f"{variant.name} was not measured: it {reason}.",
        }
        for variant, reason in absent.items()
    ]
