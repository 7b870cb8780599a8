"""The harness's view of itself, with clocks and files that the test makes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from quantswarm.bench.load.probe import CpuMeter, Jiffies, LagProbe, jiffies, stolen_share


class Late:
    """A sleep that ends a known time too late, and ends the probe after some."""

    def __init__(self, late_ns: int, wakes: int = 5) -> None:
        self.probe = LagProbe(self.sleep_until)
        self._late_ns, self._left = late_ns, wakes

    def sleep_until(self, due_ns: int) -> None:
        while time.perf_counter_ns() < due_ns + self._late_ns:
            pass
        self._left -= 1
        if not self._left:
            self.probe.stop()


def test_a_late_wake_up_is_seen() -> None:
    late = Late(15_000_000)
    late.probe.run()
    assert (late.probe.facts()["loop_lag_p50_ms"] or 0) >= 15.0


def test_nothing_probed_is_not_zero() -> None:
    assert set(LagProbe(lambda _: None).facts().values()) == {None}
    assert set(CpuMeter().facts().values()) == {None}


def test_the_share_that_the_hypervisor_took(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 50 800 10 0 5 35 7 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    before = jiffies(stat)
    assert before == Jiffies(total=1_000, stolen=35)
    meter = CpuMeter(stat)
    meter.start()
    stat.write_text("cpu  150 0 50 830 10 0 5 55 9 0\n")
    meter.stop()
    facts = meter.facts()
    assert facts["steal_share"] == pytest.approx(0.2)
    assert facts["cpu_share"] > 0
    assert facts["involuntary_switches"] >= 0


@pytest.mark.parametrize("text", ["", "cpu  1 2 3\n", "intr 1 2 3 4 5 6 7 8\n", "cpu  a b c d\n"])
def test_a_system_that_does_not_tell_is_not_one_without_steal(tmp_path: Path, text: str) -> None:
    stat = tmp_path / "stat"
    assert jiffies(stat) is None
    stat.write_text(text)
    assert jiffies(stat) is None
    assert stolen_share(None, Jiffies(total=1, stolen=0)) is None
    assert stolen_share(Jiffies(total=1, stolen=0), Jiffies(total=1, stolen=0)) is None
