"""The loop's own probe, with a clock of CPU time that the test sets."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from quantswarm.bench.load.probe import OWN_PART, LagProbe


class Loop:
    """A loop that wakes late, busy for a part of that time."""

    def __init__(self, late_s: float, busy_part: float, wakes: int = 5) -> None:
        self.probe = LagProbe(self.sleep, self.cpu_ns)
        self._late_s, self._busy_part, self._left = late_s, busy_part, wakes
        self._used_ns = 0

    def cpu_ns(self) -> int:
        return self._used_ns

    def sleep(self, _wanted_s: float) -> None:
        end_s = time.perf_counter() + self._late_s
        while time.perf_counter() < end_s:
            pass
        self._left -= 1
        if not self._left:
            self.probe.stop()
        # From the plan to here at least the sleep has passed; a busy loop worked through all of it.
        self._used_ns += int(self._late_s * 1e9 * 1e3 * self._busy_part)


def own_lag_ms(make: Callable[[], Loop]) -> float:
    loop = make()
    loop.probe.run()
    facts = loop.probe.facts()
    lag_ms, own_ms = facts["loop_lag_p99_ms"], facts["own_lag_p99_ms"]
    assert lag_ms is not None
    assert own_ms is not None
    assert 0 <= own_ms <= lag_ms
    return own_ms


def test_a_loop_that_worked_is_late_by_its_own_fault() -> None:
    assert own_lag_ms(lambda: Loop(0.015, busy_part=1.0)) > 0


def test_a_loop_whose_processor_was_taken_is_not() -> None:
    assert own_lag_ms(lambda: Loop(0.015, busy_part=0.0)) == 0


def test_nothing_probed_is_not_zero() -> None:
    assert set(LagProbe().facts().values()) == {None}


@pytest.mark.parametrize(
    ("part", "own_ms"), [(2.0, 10.0), (OWN_PART, 10.0 * OWN_PART), (OWN_PART / 2, 0.0)]
)
def test_what_was_worked_is_its_own_if_it_is_most_of_the_lateness(
    part: float, own_ms: float
) -> None:
    probe = LagProbe()
    probe._note(10_000_000, int(part * 10_000_000))
    assert probe.facts()["own_lag_p99_ms"] == own_ms
