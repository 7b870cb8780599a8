"""The harness's view of itself during the window: how late its loop was, how much CPU it used."""

from __future__ import annotations

import resource
import time
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PERIOD_NS = 5_000_000
_NS_A_MS = 1e6


class LagProbe:
    """Sleeps to absolute instants and notes by how much it woke late, whoever was to blame.

    Runs in the swarm's own loop, where sleeping lets everything else go on. It sees what the loop's
    own work does to it, and what the host does: a processor given to others, a late wake-up.
    `dues_ns` are the instants at which it wanted to wake.
    """

    def __init__(self, sleep_until: Callable[[int], object]) -> None:
        self._sleep_until = sleep_until
        self._lags_ns = array("q")
        self.dues_ns = array("q")
        self._running = False

    def run(self) -> None:
        """Probe until `stop`."""
        self._running = True
        due_ns = time.perf_counter_ns()
        while self._running:
            due_ns += PERIOD_NS
            self._sleep_until(due_ns)
            now_ns = time.perf_counter_ns()
            self.dues_ns.append(due_ns)
            self._lags_ns.append(max(0, now_ns - due_ns))
            due_ns = max(due_ns, now_ns)

    def stop(self) -> None:
        """End after the sleep in progress."""
        self._running = False

    def facts(self) -> dict[str, float | None]:
        """Median, 99th percentile and maximum in milliseconds; None when it never woke."""
        return quantiles_ms("loop_lag", self._lags_ns)


def quantiles_ms(name: str, values_ns: Iterable[int]) -> dict[str, float | None]:
    """`{name}_p50_ms`, `_p99_ms` and `_max_ms`; None each when there is no value."""
    ordered = sorted(values_ns)
    shares = {"p50": 0.50, "p99": 0.99, "max": 1.0}
    return {f"{name}_{which}_ms": _at(ordered, share) for which, share in shares.items()}


def _at(ordered: list[int], share: float) -> float | None:
    """Nearest rank."""
    if not ordered:
        return None
    rank = max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)
    return ordered[rank] / _NS_A_MS


class CpuMeter:
    """What this process used, and what was taken from it, between `start` and `stop`."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._cpu_ns = self._wall_ns = self._lasted_ns = 0
        self._spent_ns: int | None = None
        self._host: Jiffies | None = None
        self._stolen: float | None = None
        self._switches = 0

    def start(self) -> None:
        """Begin counting."""
        self._host, self._switches = jiffies(self._stat), _involuntary_switches()
        self._cpu_ns, self._wall_ns = time.process_time_ns(), time.perf_counter_ns()

    def stop(self) -> None:
        """End counting."""
        self._spent_ns = time.process_time_ns() - self._cpu_ns
        self._lasted_ns = time.perf_counter_ns() - self._wall_ns
        self._switches = _involuntary_switches() - self._switches
        self._stolen = stolen_share(self._host, jiffies(self._stat))

    def facts(self) -> dict[str, Any]:
        """Seconds of CPU, and their share of one core; the share of the host's processor time that
        its hypervisor gave to others, and how often the kernel took this process off a core. None
        when the window never ended, or where the system does not tell."""
        if self._spent_ns is None or not self._lasted_ns:
            nothing = ("cpu_s", "cpu_share", "steal_share", "involuntary_switches")
            return dict.fromkeys(nothing)
        return {
            "cpu_s": self._spent_ns / 1e9,
            "cpu_share": self._spent_ns / self._lasted_ns,
            "steal_share": self._stolen,
            "involuntary_switches": self._switches,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Jiffies:
    """Processor time of the whole host since its start, and what of it was stolen."""

    total: int
    stolen: int


def jiffies(stat: Path) -> Jiffies | None:
    """From the first line of `/proc/stat`; guests' time is counted in users' time already."""
    try:
        name, *fields = stat.read_text(encoding="ascii").partition("\n")[0].split()
        counts = [int(field) for field in fields[:8]]
    except (OSError, ValueError):
        return None
    if name != "cpu" or len(counts) < 8:
        return None
    return Jiffies(total=sum(counts), stolen=counts[7])


def stolen_share(before: Jiffies | None, after: Jiffies | None) -> float | None:
    """None where either is unknown, or no time passed between them."""
    if before is None or after is None or after.total <= before.total:
        return None
    return max(0, after.stolen - before.stolen) / (after.total - before.total)


def _involuntary_switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
