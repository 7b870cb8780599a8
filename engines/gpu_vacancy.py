"""Is the GPU ours alone, and is it empty again before the next server? Else named, or refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from quantswarm.engines.gpu import ComputeProcess, Gpus
from quantswarm.models.errors import RunFailed

MIB = 1024**2
LEFT_BYTES = 256 * MIB
"""What a driver may keep for itself after a process ended; a model's weights are far more."""
PATIENCE_S = 60.0
LOOK_S = 0.25

Told = dict[str, str]
"""A named warning: name, seen, cause, advice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacancy:
    """How full each GPU was before the first server; `settled` waits until it is so again."""

    gpus: Gpus
    baseline_bytes: Sequence[int | None]
    patience_s: float = PATIENCE_S
    clock: Callable[[], float] = field(default=time.monotonic)
    sleep: Callable[[float], object] = field(default=time.sleep)

    def settled(self) -> tuple[Told, ...]:
        """Wait until the memory of the servers before is free, then name other programs on the
        GPU. `RunFailed`, with their pids, where it is not free at the deadline: the next server
        would find less room than the first one did. To be called while no server of ours runs."""
        deadline = self.clock() + self.patience_s
        while (left := self._left()) and self.clock() < deadline:
            self.sleep(LOOK_S)
        if left:
            raise self._not_freed(left)
        return _shared(self.gpus.processes())

    def _left(self) -> list[tuple[int, int]]:
        """(GPU, bytes above the baseline) of every GPU that is fuller than it was."""
        now = self.gpus.used_bytes()
        pairs = zip(now, self.baseline_bytes, strict=False)
        more = [(i, a - b) for i, (a, b) in enumerate(pairs) if a is not None and b is not None]
        return [(index, size) for index, size in more if size > LEFT_BYTES]

    def _not_freed(self, left: Iterable[tuple[int, int]]) -> RunFailed:
        told = ", ".join(f"GPU {index} holds {size / MIB:,.0f} MiB more" for index, size in left)
        holders = ", ".join(map(_told, self.gpus.processes()))
        return RunFailed(
            "an empty GPU before the next server",
            f"{told} than before the first server, {self.patience_s:g} s long",
            evidence=f"Compute processes there: {holders or 'NVML shows none'}.",
            next_step="see nvidia-smi; end what is left, then measure this variant with --resume",
        )


def vacancy(gpus: Gpus) -> Vacancy:
    """Note how full the GPUs are, before anything of ours runs on them."""
    return Vacancy(gpus=gpus, baseline_bytes=gpus.used_bytes())


def others(gpus: Gpus, tree: Collection[int]) -> tuple[Told, ...]:
    """A warning that names compute processes beside the server's, while it runs.

    Where NVML shows none of the server's own processes, pids are of another namespace (a
    container's), and nothing can be told apart: then only `Vacancy.settled` can find others.
    """
    found = gpus.processes()
    if not any(process.pid in tree for process in found):
        return ()
    return _shared([process for process in found if process.pid not in tree])


def _shared(found: Sequence[ComputeProcess]) -> tuple[Told, ...]:
    if not found:
        return ()
    return (
        {
            "name": "gpu-not-exclusive",
            "seen": "other compute processes: " + ", ".join(map(_told, found)),
            "cause": "the GPU is shared with programs that quantswarm did not start",
            "advice": "end them, or measure when the GPU is free; do not compare this cell",
        },
    )


def _told(process: ComputeProcess) -> str:
    size = process.used_bytes
    held = "" if size is None else f" ({size / MIB:,.0f} MiB)"
    return f"pid {process.pid} on GPU {process.gpu}{held}"
