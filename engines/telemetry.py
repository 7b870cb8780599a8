"""What the server's process tree consumes while it serves, sampled to a file."""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil

SLOW_PSS_S = 0.02
"""PSS walks page tables in the kernel: where one reading takes longer than this, it is given up."""


class Sampler:
    """A background thread over one process tree; use it as a context manager.

    Writes `{"ns", "cpu_s", "rss_bytes", "pss_bytes", "gpu_bytes", "processes"}` a line, `ns` on
    CLOCK_MONOTONIC; `cpu_s` is cumulative and keeps the seconds of processes that ended.
    `rss_bytes` counts pages shared between processes once in each; `pss_bytes` divides them.
    `tree` gives the pids; by default `pid` and its descendants.
    """

    def __init__(
        self,
        pid: int,
        path: Path | None = None,
        *,
        interval_s: float = 0.5,
        tree: Callable[[], Iterable[int]] | None = None,
    ) -> None:
        self._tree = tree or (lambda: _tree_of(pid))
        self._path = path
        self._interval_s = interval_s
        self._cpu: dict[tuple[int, float], float] = {}
        self._known: dict[int, psutil.Process] = {}
        self._gpu = GpuMemory()
        self._pss_affordable = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
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
            self._gpu.close()

    def _write(self, sink: IO[str] | None) -> None:
        sample = self.sample()
        if sink is not None and sample["processes"]:
            sink.write(json.dumps(sample) + "\n")
            sink.flush()

    def sample(self) -> dict[str, Any]:
        """Read the tree once; peaks are updated."""
        now_ns = time.perf_counter_ns()
        pids = list(self._tree())
        rss = [value for value in map(self._read, pids) if value is not None]
        sample: dict[str, Any] = {
            "ns": now_ns,
            "cpu_s": round(sum(self._cpu.values()), 3),
            "rss_bytes": sum(rss) if rss else None,
            "pss_bytes": self._pss(pids) if rss else None,
            "gpu_bytes": self._gpu.used_by(pids),
            "processes": len(rss),
        }
        self.peak_rss_bytes = _larger(self.peak_rss_bytes, sample["rss_bytes"])
        self.peak_pss_bytes = _larger(self.peak_pss_bytes, sample["pss_bytes"])
        self.peak_gpu_bytes = _larger(self.peak_gpu_bytes, sample["gpu_bytes"])
        return sample

    def _read(self, pid: int) -> int | None:
        """RSS of one process, its CPU seconds noted; None when it is gone."""
        try:
            process = self._known.get(pid)
            if process is None or not process.is_running():
                process = self._known[pid] = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                self._cpu[pid, process.create_time()] = times.user + times.system
                return int(process.memory_info().rss)
        except psutil.Error:
            self._known.pop(pid, None)
            return None

    def _pss(self, pids: Iterable[int]) -> int | None:
        if not self._pss_affordable:
            return None
        started = time.monotonic()
        total = 0
        for pid in pids:
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            except OSError:
                continue
            total += sum(
                int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")
            )
        self._pss_affordable = time.monotonic() - started < SLOW_PSS_S
        return total * 1024 if total else None


class GpuMemory:
    """GPU memory by process through NVML; says None everywhere without NVML."""

    def __init__(self) -> None:
        self._nvml: Any = None
        try:
            pynvml = importlib.import_module("pynvml")
            pynvml.nvmlInit()
            self._nvml = pynvml
        except Exception:  # no package, no driver, no GPU: nothing to read
            self._nvml = None

    def used_by(self, pids: Iterable[int]) -> int | None:
        """Bytes that these processes hold on all GPUs; None when it cannot be known."""
        if self._nvml is None:
            return None
        wanted = set(pids)
        total = 0
        try:
            for index in range(self._nvml.nvmlDeviceGetCount()):
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                for entry in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                    if entry.pid in wanted:
                        total += int(entry.usedGpuMemory or 0)
        except self._nvml.NVMLError:
            return None
        return total or None

    def close(self) -> None:
        """Let NVML go."""
        if self._nvml is not None:
            self._nvml.nvmlShutdown()
            self._nvml = None


def _larger(known: int | None, new: int | None) -> int | None:
    return new if known is None else known if new is None else max(known, new)


def _tree_of(pid: int) -> list[int]:
    try:
        root = psutil.Process(pid)
        return [pid, *(child.pid for child in root.children(recursive=True))]
    except psutil.Error:
        return []
