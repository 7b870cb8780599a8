"""What a cell's server took, from its manifest: the declarations, and what old runs lack."""

from __future__ import annotations

from typing import Any

from quantswarm.bench.judge.manifest import Manifest
from quantswarm.bench.judge.metric import Metric


def footprint_of(manifest: Manifest) -> dict[str, Any] | None:
    """None for a server that was not ours, and in runs from before it was taken."""
    found = manifest.facts.get("footprint")
    return dict(found) if isinstance(found, dict) else None


def _declared(name: str, title: str, unit: str, formula: str, *needs: str) -> Metric:
    return Metric(
        name=f"footprint.{name}",
        title=title,
        unit=unit,
        formula=formula,
        larger_is_better=False,
        needs=needs,
    )


FOOTPRINT: tuple[Metric, ...] = (
    _declared(
        "weights_disk_bytes",
        "weights on disk",
        "bytes",
        "Σ size of the files that hold weights",
        "artefact",
    ),
    _declared(
        "bits_per_weight",
        "bits a weight",
        "bits",
        "8 · Σ bytes of all tensors, scales and zeros among them, / numbers of the model",
        "headers",
    ),
    _declared(
        "memory_after_load_bytes",
        "memory after load",
        "bytes",
        "Σ resident memory (RSS) of the server's processes once it has generated its first token, "
        "before any load",
        "/proc",
    ),
    _declared(
        "memory_peak_bytes",
        "peak memory",
        "bytes",
        "largest Σ RSS of the server's processes among the samples of the cell",
        "samples",
    ),
    _declared(
        "gpu_after_load_bytes",
        "GPU memory after load",
        "bytes",
        "Σ memory of the server's processes on all GPUs, at the same instant as memory after load",
        "NVML",
    ),
    _declared(
        "first_ready_s",
        "time to first ready",
        "s",
        "first answer 200 of the health path − start of the process; asked every 0.1 s",
        "readiness",
    ),
    _declared(
        "load_s",
        "load time",
        "s",
        "first generated token − start of the process",
        "readiness",
    ),
)
