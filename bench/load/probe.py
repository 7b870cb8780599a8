"""The harness's view of itself during the window: how late its loop was, how much CPU it used."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable
from typing import Any

PERIOD_S = 0.01
OWN_PART = 0.5
"""Of a late wake-up, the part that the loop must have worked for its work to be the cause."""
_NS_A_MS = 1e6


class LagProbe:
    """Sleeps to absolute instants and notes by how much it woke late.

    Runs in the swarm's own loop, where `sleep` lets everything else go on; a late wake-up is what a
    token that arrived at that instant would have suffered. Where the loop's own work was in the
    way, what it worked is the harness's own part of the lateness (`own_lag_p99_ms`); where the
    processor was taken away, all of it is the host's.
    """

    def __init__(
        self,
        sleep: Callable[[float], object] = time.sleep,
        cpu_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._sleep = sleep
        self._cpu_ns = cpu_ns
        self._lags_ns = array("q")
        self._own_ns = array("q")
        self._running = False

    def run(self) -> None:
        """Probe until `stop`."""
        self._running = True
        due_ns = time.perf_counter_ns()
        used_ns = self._cpu_ns()
        while self._running:
            due_ns += int(PERIOD_S * 1e9)
            self._sleep(max(0.0, (due_ns - time.perf_counter_ns()) / 1e9))
            now_ns = time.perf_counter_ns()
            before_ns, used_ns = used_ns, self._cpu_ns()
            self._note(max(0, now_ns - due_ns), used_ns - before_ns)
            due_ns = max(due_ns, now_ns)

    def _note(self, lag_ns: int, worked_ns: int) -> None:
        self._lags_ns.append(lag_ns)
        self._own_ns.append(min(lag_ns, worked_ns) if worked_ns >= OWN_PART * lag_ns else 0)

    def stop(self) -> None:
        """End after the sleep in progress."""
        self._running = False

    def facts(self) -> dict[str, float | None]:
        """Median, 99th percentile and maximum in milliseconds; None when it never woke."""
        own_ms = quantiles_ms("own_lag", self._own_ns)["own_lag_p99_ms"]
        return {**quantiles_ms("loop_lag", self._lags_ns), "own_lag_p99_ms": own_ms}


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
    """CPU time of this process, all threads, between `start` and `stop`."""

    def __init__(self) -> None:
        self._cpu_ns = self._wall_ns = 0
        self._spent_ns: int | None = None
        self._lasted_ns = 0

    def start(self) -> None:
        """Begin counting."""
        self._cpu_ns, self._wall_ns = time.process_time_ns(), time.perf_counter_ns()

    def stop(self) -> None:
        """End counting."""
        self._spent_ns = time.process_time_ns() - self._cpu_ns
        self._lasted_ns = time.perf_counter_ns() - self._wall_ns

    def facts(self) -> dict[str, Any]:
        """Seconds of CPU, and their share of one core; None when the window never ended."""
        if self._spent_ns is None or not self._lasted_ns:
            return {"cpu_s": None, "cpu_share": None}
        return {"cpu_s": self._spent_ns / 1e9, "cpu_share": self._spent_ns / self._lasted_ns}
