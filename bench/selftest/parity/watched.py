"""Runs a tool to its end and counts the processor time of everything it started.

`/proc` is read a few times a second from outside: every process of the tool's session and their
descendants, user and system time, ended children included. Nothing is subtracted, and every tool is
counted alike.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantswarm.bench.selftest.parity.peer import Start
from quantswarm.models.errors import RunFailed

LOOK_S = 0.2
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_LOG_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """`samples` are (CLOCK_MONOTONIC ns, processor seconds so far); `cpu_s` is all of it, start-up
    and evaluation included, as the kernel tells the parent at the end. A tool may end with a status
    other than 0 because requests failed: that is for its result to say."""

    samples: tuple[tuple[int, float], ...]
    cpu_s: float
    wall_s: float
    exit_code: int

    def cpu_between_s(self, begin_ns: int, end_ns: int) -> float | None:
        """Processor seconds between two instants, interpolated; None outside of the samples."""
        at = [_interpolated(self.samples, instant) for instant in (begin_ns, end_ns)]
        return None if at[0] is None or at[1] is None else at[1] - at[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The fields of `/proc/PID/stat` that are needed; ticks are the process's and its reaped
    children's."""

    pid: int
    parent: int
    session: int
    ticks: int


def watch(start: Start, *, cores: Sequence[int], log: Path, limit_s: float) -> Ran:
    """Run on these cores (none: anywhere) with the output in `log`; `RunFailed` where it does not
    end within the limit. Nothing of it is left running."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    samples: list[tuple[int, float]] = []
    begun_s = time.monotonic()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            start.argv,
            env={**os.environ, **start.env},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            if cores:
                os.sched_setaffinity(process.pid, cores)
            ended = _follow(process, samples, begun_s + limit_s)
        finally:
            _end(process)
    if not ended:
        raise failure(log, f"not done after {limit_s:.0f} s")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wall_s = time.monotonic() - begun_s
    return Ran(samples=tuple(samples), cpu_s=spent_s, wall_s=wall_s, exit_code=process.returncode)


def _follow(
    process: subprocess.Popen[bytes], samples: list[tuple[int, float]], until_s: float
) -> bool:
    """Sample until it ends, and once after: what nobody has reaped yet still has its account.

    False when that takes too long.
    """
    while time.monotonic() < until_s:
        how = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        ticks = session_ticks(process.pid, statuses())
        if ticks:
            samples.append((time.perf_counter_ns(), ticks / _TICKS_A_SECOND))
        if how is not None:
            return True
        time.sleep(LOOK_S)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """The tool's whole group, before its leader is reaped: until then the number is its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def failure(log: Path, found: str) -> RunFailed:
    """The error for a tool that gave no result, with the end of what it printed."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = "\n".join(f"    {line}" for line in lines[-_LOG_LINES:])
    return RunFailed("run it", found, evidence=f"The end of its output:\n{told}")


def statuses() -> list[Status]:
    """Every process there is; one that ends meanwhile is left out."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found.append(
                    parsed((folder / "stat").read_text(encoding="ascii", errors="replace"))
                )
            except OSError:
                continue
    return found


def parsed(line: str) -> Status:
    """One line of `/proc/PID/stat`; the program's name in it may hold spaces and brackets."""
    head, _, rest = line.rpartition(")")
    fields = rest.split()
    return Status(
        pid=int(head.partition(" ")[0]),
        parent=int(fields[1]),
        session=int(fields[3]),
        ticks=sum(map(int, fields[11:15])),
    )


def session_ticks(leader: int, found: Sequence[Status]) -> int:
    """Ticks of the session's processes and of all that descends from them."""
    by_parent: dict[int, list[Status]] = {}
    for one in found:
        by_parent.setdefault(one.parent, []).append(one)
    waiting = [one for one in found if one.session == leader]
    counted: dict[int, int] = {}
    while waiting:
        one = waiting.pop()
        if one.pid not in counted:
            counted[one.pid] = one.ticks
            waiting += by_parent.get(one.pid, [])
    return sum(counted.values())


def _interpolated(samples: Sequence[tuple[int, float]], instant_ns: int) -> float | None:
    place = bisect_left(samples, (instant_ns, 0.0))
    if place == 0 or place == len(samples):
        return None
    (before_ns, before_s), (after_ns, after_s) = samples[place - 1], samples[place]
    share = (instant_ns - before_ns) / (after_ns - before_ns)
    return before_s + share * (after_s - before_s)
