"""What this machine is: processor, cores this process may use, memory, GPUs. It decides nothing."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ISA_FLAGS = (
    "avx",
    "avx2",
    "f16c",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_bf16",
    "avx512_vnni",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "amx_fp16",
    "asimd",
    "sve",
)
"""Processor features that decide which kernels an engine can use, as /proc/cpuinfo names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as NVML sees it; `compute_capability` is major.minor."""

    index: int
    name: str
    memory_bytes: int
    driver: str
    compute_capability: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine as this process may use it.

    `cores` are the logical cores of this process's affinity mask; `core_groups` the same, grouped
    by physical core. `no_gpu_reason` is empty when there are GPUs. `cpu_quota_cores` is the
    control group's limit in cores, None without one.
    """

    cpu: str
    isa: tuple[str, ...]
    cores: tuple[int, ...]
    core_groups: tuple[tuple[int, ...], ...]
    memory_bytes: int | None
    gpus: tuple[Gpu, ...] = ()
    no_gpu_reason: str = ""
    kernel: str = ""
    python: str = ""
    machine: str = ""
    cpu_quota_cores: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-serialisable, for manifests."""
        return asdict(self)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _nvml_gpus() -> tuple[Gpu, ...]:
    pynvml: Any = importlib.import_module("pynvml")

    def text(value: str | bytes) -> str:
        return value.decode() if isinstance(value, bytes) else value

    pynvml.nvmlInit()
    try:
        driver = text(pynvml.nvmlSystemGetDriverVersion())
        gpus = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
            gpus.append(
                Gpu(
                    index=index,
                    name=text(pynvml.nvmlDeviceGetName(handle)),
                    memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                    driver=driver,
                    compute_capability=f"{major}.{minor}",
                )
            )
        return tuple(gpus)
    finally:
        pynvml.nvmlShutdown()


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Where the facts come from; tests put their own here."""

    read: Callable[[Path], str | None] = _read
    affinity: Callable[[], Iterable[int]] = field(default=lambda: os.sched_getaffinity(0))
    gpus: Callable[[], tuple[Gpu, ...]] = _nvml_gpus


def host(readers: Readers | None = None) -> Host:
    """Look at this machine; takes milliseconds and starts nothing."""
    source = readers or Readers()
    cpuinfo = _fields(source.read(Path("/proc/cpuinfo")) or "")
    cores = tuple(sorted(source.affinity()))
    gpus, reason = gpus_or_reason(source)
    return Host(
        cpu=cpuinfo.get("model name") or platform.processor() or platform.machine(),
        isa=_isa(cpuinfo),
        cores=cores,
        core_groups=_groups(cores, source.read),
        memory_bytes=_memory_bytes(source.read),
        gpus=gpus,
        no_gpu_reason=reason,
        kernel=platform.release(),
        python=sys.version.split()[0],
        machine=platform.machine(),
        cpu_quota_cores=_quota(source.read),
    )


def gpus_or_reason(readers: Readers | None = None) -> tuple[tuple[Gpu, ...], str]:
    """The GPUs, or an empty tuple and the reason why none can be used."""
    source = readers or Readers()
    try:
        found = source.gpus()
    except ImportError:
        return (), "nvidia-ml-py is not installed, so no GPU can be asked for"
    except Exception as error:  # NVML's errors share no importable base without NVML
        return (), f"NVML: {error}"
    return found, "" if found else "NVML answers and lists no GPU"


def _fields(cpuinfo: str) -> Mapping[str, str]:
    """The first processor's lines of /proc/cpuinfo."""
    first = cpuinfo.strip().split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _isa(cpuinfo: Mapping[str, str]) -> tuple[str, ...]:
    present = set(cpuinfo.get("flags", cpuinfo.get("Features", "")).split())
    return tuple(flag for flag in ISA_FLAGS if flag in present)


def _groups(
    cores: tuple[int, ...], read: Callable[[Path], str | None]
) -> tuple[tuple[int, ...], ...]:
    """Logical cores that share a physical one stand together; unknown topology counts as none."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for core in cores:
        topology = Path(f"/sys/devices/system/cpu/cpu{core}/topology")
        siblings = read(topology / "thread_siblings_list")
        key = ("shared", siblings.strip()) if siblings else ("alone", str(core))
        groups.setdefault(key, []).append(core)
    return tuple(tuple(group) for group in groups.values())


def _memory_bytes(read: Callable[[Path], str | None]) -> int | None:
    """Physical memory, or the control group's limit where that is lower."""
    meminfo = read(Path("/proc/meminfo")) or ""
    total = None
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) * 1024
    limit = (read(Path("/sys/fs/cgroup/memory.max")) or "").strip()
    if limit.isdigit():
        return min(int(limit), total) if total is not None else int(limit)
    return total


def _quota(read: Callable[[Path], str | None]) -> float | None:
    words = (read(Path("/sys/fs/cgroup/cpu.max")) or "").split()
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
        return int(words[0]) / int(words[1])
    return None
