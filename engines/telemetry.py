"""What a cell consumes while it is measured, sampled to a file: server, generator, machine, GPUs.

docs/telemetry.md lists every field with its unit and source.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from quantswarm.engines.gpu import Gpus
from quantswarm.engines.held_memory import on_gpus, pss_bytes
from quantswarm.engines.host_counters import PackageEnergy, core_seconds, throttled_s
from quantswarm.engines.process_tree import ProcessTree, descendants_of

SLOW_PSS_S = 0.02
"""PSS walks page tables in the kernel: where one reading takes longer than this, it is given up."""
INTERVAL_S = 0.5


class Sampler:
    """A background thread over one server's process tree; use it as a context manager.

    Writes one JSON object a line, `ns` on CLOCK_MONOTONIC at the reading's begin; cumulative
    values end in `_s`, `_j` or `_joules`. Other descendants of this process are the generator's.
    `tree` gives the server's pids; by default `pid` and its descendants.
    """

    def __init__(
        self,
        pid: int,
        path: Path | None = None,
        *,
        interval_s: float = INTERVAL_S,
        tree: Callable[[], Iterable[int]] | None = None,
        gpus: Gpus | None = None,
        root: Path = Path("/"),
    ) -> None:
        self._server = ProcessTree(tree or (lambda: descendants_of(pid)))
        self._server_pids: tuple[int, ...] = ()
        self._generator = ProcessTree(self._generator_pids)
        self._cores = sorted(os.sched_getaffinity(0))
        self._path = path
        self._root = root
        self._interval_s = interval_s
        self._gpus = Gpus.opened() if gpus is None else gpus
        self._energy = PackageEnergy(root)
        self._settings = [asdict(one) for one in self._gpus.settings()]
        self._why = {"gpu": self._gpus.reason, "cpu_energy": self._energy.reason}
        self._pss_affordable = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self.samples = 0
        self.peak_rss_bytes: int | None = None
        self.peak_pss_bytes: int | None = None
        self.peak_gpu_bytes: int | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Take a last sample and end; safe to call twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def facts(self) -> dict[str, Any]:
        """How often was sampled, how the GPUs are set up, and why there is no GPU or no CPU energy
        ("" where there is)."""
        return {
            "interval_s": self._interval_s,
            "samples": self.samples,
            "gpus": self._settings,
            "missing": dict(self._why),
        }

    def _run(self) -> None:
        sink = self._path.open("a", encoding="utf-8") if self._path is not None else None
        try:
            due = time.monotonic()
            while not self._stop.is_set():
                self._write(sink)
                due = max(due + self._interval_s, time.monotonic())
                self._stop.wait(due - time.monotonic())
            self._write(sink)
        finally:
            if sink is not None:
                sink.close()
            self._gpus.close()

    def _write(self, sink: IO[str] | None) -> None:
        sample = self.sample()
        if sink is not None and sample["processes"]:
            sink.write(json.dumps(sample) + "\n")
            sink.flush()

    def sample(self) -> dict[str, Any]:
        """Read everything once; peaks are updated."""
        began_ns = time.perf_counter_ns()
        cores = core_seconds(self._cores, self._root)
        server = self._server.read()
        self._server_pids = server.pids
        gpus = self._gpus.read(server.pids)
        sample: dict[str, Any] = {
            "ns": began_ns,
            "cpu_s": server.cpu_s,
            "rss_bytes": server.rss_bytes,
            "pss_bytes": self._pss(server.pids) if server.pids else None,
            "gpu_bytes": on_gpus(gpus),
            "processes": len(server.pids),
            "major_faults": server.major_faults,
            "generator_cpu_s": self._generator.read().cpu_s,
            "watcher_cpu_s": round(time.process_time(), 3),
            "throttled_s": throttled_s(self._root),
            "cpu_package_joules": self._energy.joules(),
            "cores": [asdict(core) for core in cores],
            "gpus": [asdict(gpu) for gpu in gpus],
        }
        sample["took_ns"] = time.perf_counter_ns() - began_ns
        self.samples += 1
        self.peak_rss_bytes = _larger(self.peak_rss_bytes, sample["rss_bytes"])
        self.peak_pss_bytes = _larger(self.peak_pss_bytes, sample["pss_bytes"])
        self.peak_gpu_bytes = _larger(self.peak_gpu_bytes, sample["gpu_bytes"])
        return sample

    def _generator_pids(self) -> list[int]:
        server = {os.getpid(), *self._server_pids}
        return [pid for pid in descendants_of(os.getpid()) if pid not in server]

    def _pss(self, pids: Iterable[int]) -> int | None:
        if not self._pss_affordable:
            return None
        started = time.monotonic()
        found = pss_bytes(pids)
        self._pss_affordable = time.monotonic() - started < SLOW_PSS_S
        return found


def _larger(known: int | None, new: int | None) -> int | None:
    return new if known is None else known if new is None else max(known, new)
