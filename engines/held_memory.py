"""The memory that a server's processes hold at one instant: resident, shared out, and on GPUs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from quantswarm.engines.gpu import GpuReading, Gpus
from quantswarm.engines.process_tree import ProcessTree


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMemory:
    """Each is None where the system does not tell. `rss_bytes` counts a page that two processes
    share twice, `pss_bytes` divides it between them."""

    rss_bytes: int | None
    pss_bytes: int | None
    gpu_bytes: int | None


def held_memory(pids: Collection[int], gpus: Gpus | None = None) -> HeldMemory:
    """Of these processes, now; GPUs are asked through NVML, and let go of."""
    opened = Gpus.opened() if gpus is None else gpus
    with closing(opened):
        readings = opened.read(pids)
    return HeldMemory(
        rss_bytes=ProcessTree(lambda: pids).read().rss_bytes,
        pss_bytes=pss_bytes(pids),
        gpu_bytes=on_gpus(readings),
    )


def pss_bytes(pids: Iterable[int]) -> int | None:
    """Resident memory with shared pages divided among those that share them (proc(5),
    smaps_rollup); None where no process could be read."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total * 1024 if total else None


def on_gpus(gpus: Iterable[GpuReading]) -> int | None:
    """Bytes that the asked processes hold on all GPUs; None when no GPU can say."""
    known = [gpu.tree_bytes for gpu in gpus if gpu.tree_bytes is not None]
    return sum(known) if known else None
