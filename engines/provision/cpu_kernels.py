"""The compiled 4-bit and INT8 kernels that vLLM's plugin serves with on x86 CPUs."""

from __future__ import annotations

from pathlib import Path

from quantswarm.engines.provision.environment import TORCH, Place
from quantswarm.engines.provision.progress import Progress
from quantswarm.engines.provision.steps import Step
from quantswarm.engines.vllm_cpu import build
from quantswarm.models.sealed import read_seal


def cpu_kernel_steps(place: Place) -> list[Step]:
    """One step; none where a GPU serves, and none without a compiler or another processor than x86:
    the plugin then takes PyTorch's own 4-bit operator."""
    machine = place.machine
    x86 = machine.architecture in {"x86_64", "AMD64"}
    if machine.gpu or machine.compiler is None or not x86:
        return []

    def work(_: Progress) -> None:
        build.build(place.home, compiler=str(machine.compiler), python=place.python)

    inputs = {"sources": build.sources_sha256(), "torch": TORCH, "home": str(place.home)}
    return [
        Step(
            title="CPU kernels for vLLM",
            weight_s=20,
            inputs=inputs,
            stamp=place.stamp("cpu-kernels"),
            present=lambda: _is_there(place.home),
            work=work,
        )
    ]


def _is_there(home: Path) -> bool:
    """Whether a library of these sources is; for which PyTorch, the step's stamp says."""
    seals = map(read_seal, (path.parent for path in (home / "vllm_cpu").glob("*/seal.json")))
    wanted = build.sources_sha256()
    return any(seal is not None and seal.facts.get("sources") == wanted for seal in seals)
