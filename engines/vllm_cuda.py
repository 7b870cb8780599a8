"""vLLM on a GPU: its share of the memory, linear kernels, graphs or not, and what its log says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from quantswarm.engines import options
from quantswarm.engines.base import ServeSpec
from quantswarm.models.errors import UserMistake

SHARE = "gpu_memory_utilization"
BACKEND = "linear_backend"
DEFAULT_SHARE = 0.9
OPTIONS = {
    SHARE: f"share of the GPU's memory that vLLM takes, 0 to 1 ({DEFAULT_SHARE:g})",
    BACKEND: "vLLM's --linear-backend on a GPU: auto, marlin, machete, cutlass … (auto)",
}


def flags(given: Mapping[str, str], spec: ServeSpec, reasons: dict[str, str]) -> tuple[str, ...]:
    """Arguments for a GPU alone. `UserMistake` for a share outside 0 to 1."""
    share = options.number(given, SHARE)
    if share is not None and not 0 < share <= 1:
        raise UserMistake(
            f"option {SHARE}={given[SHARE]}",
            "a share of the GPU's memory is more than 0 and at most 1",
            next_step=f"--option {SHARE}={DEFAULT_SHARE:g}",
        )
    if share is None:
        reasons[SHARE] = f"{DEFAULT_SHARE:g}: weights, then cache for as many tokens as fit in it"
    else:
        reasons[SHARE] = f"--option {SHARE}={share:g}"
    if not spec.eager:
        reasons["eager"] = "compiled, and CUDA graphs captured: vLLM's own default on a GPU"
    found = ("--gpu-memory-utilization", f"{share or DEFAULT_SHARE:g}")
    backend = given.get(BACKEND)
    if backend is None:
        return found
    reasons[BACKEND] = f"--option {BACKEND}={backend}: the kernels that the log names tell if so"
    return (*found, "--linear-backend", backend)


def facts(log: str) -> dict[str, Any]:
    """`cuda_graphs`: how many GiB of the GPU's memory the captured ones took, as the log tells;
    empty where none were captured."""
    found = re.search(r"Graph capturing finished in \d+ secs, took (-?[\d.]+) GiB", log)
    return {"cuda_graphs_gib": float(found[1])} if found else {}
