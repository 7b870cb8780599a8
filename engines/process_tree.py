"""What a changing set of processes has used; what ended keeps counting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

_MAJOR_FAULTS = 9
"""Place of `majflt` behind the command's name in /proc/PID/stat (proc(5) counts it as 12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeReading:
    """`cpu_s` and `major_faults` are cumulative over live and ended processes; the rest is now.

    `rss_bytes` counts shared pages once in each process; it is None when nothing lives.
    """

    pids: tuple[int, ...]
    cpu_s: float
    major_faults: int
    rss_bytes: int | None


class ProcessTree:
    """Reads the processes that `pids` names, each time anew."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._used: dict[tuple[int, float], tuple[float, int]] = {}
        self._known: dict[int, psutil.Process] = {}

    def read(self) -> TreeReading:
        """All of them now."""
        found = [(pid, rss) for pid in self._pids() if (rss := self._rss(pid)) is not None]
        used = self._used.values()
        return TreeReading(
            pids=tuple(pid for pid, _ in found),
            cpu_s=round(sum((cpu_s for cpu_s, _ in used), 0.0), 3),
            major_faults=sum(faults for _, faults in used),
            rss_bytes=sum(rss for _, rss in found) if found else None,
        )

    def _rss(self, pid: int) -> int | None:
        """RSS of one process, what it used noted; None when it is gone."""
        try:
            process = self._known.get(pid)
            if process is None or not process.is_running():
                process = self._known[pid] = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                spent = times.user + times.system
                self._used[pid, process.create_time()] = spent, _major_faults(pid)
                return int(process.memory_info().rss)
        except psutil.Error:
            self._known.pop(pid, None)
            return None


def descendants_of(pid: int) -> list[int]:
    """`pid` and every live process below it; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        return [pid, *(child.pid for child in root.children(recursive=True))]
    except psutil.Error:
        return []


def _major_faults(pid: int) -> int:
    """Page faults that had to wait for a disk; 0 for a process that has just gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[_MAJOR_FAULTS])
    except (OSError, ValueError, IndexError):
        return 0
