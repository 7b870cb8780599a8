"""Stretches of a made-up loop: the test turns both clocks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.load.stretches import SLEPT_NS, BusyStretches

MS = 1_000_000


class Loop:
    """Waits and works as told; `stamps` are those of the segments that it read."""

    def __init__(self) -> None:
        self.now_ns = self.cpu_ns = 0
        self.stretches = BusyStretches(lambda: self.now_ns, lambda: self.cpu_ns)
        self.stamps: list[int] = []

    def wait(self, ms: float) -> Loop:
        self.stretches.sleeps()
        self.now_ns += int(ms * MS)
        self.stretches.wakes()
        return self

    def work(self, ms: float, *, share: float = 1.0) -> Loop:
        self.now_ns += int(ms * MS)
        self.cpu_ns += int(ms * MS * share)
        return self

    def read(self, count: int, ms_each: float) -> Loop:
        for _ in range(count):
            self.work(ms_each)
            self.stamps.append(self.now_ns)
        return self

    def facts(self) -> dict[str, float | None]:
        self.stretches.stop()
        return self.stretches.facts(self.stamps)


def number(value: float | None) -> float:
    assert value is not None
    return value


def test_each_segment_of_a_burst_is_late_by_those_before_it() -> None:
    loop = Loop().wait(10).read(4, 1.0).wait(10)
    loop.stretches.stop()
    assert [loop.stretches.lag_ns(stamp) for stamp in loop.stamps] == [
        (at * MS, at * MS) for at in (1, 2, 3, 4)
    ]


def test_a_stamp_as_old_as_a_wake_up_was_taken_before_it() -> None:
    loop = Loop().wait(1).wait(0.0625).read(1, 1.0).wait(0)
    loop.stretches.stop()
    assert loop.stretches.lag_ns(loop.stamps[0])[0] == int(1.0625 * MS)


def test_a_burst_between_two_looks_of_a_probe_is_seen() -> None:
    """256 tokens of 28 µs every 51.2 ms: a probe every 10 ms meets one burst in ten, if any."""
    loop = Loop()
    for _ in range(40):
        loop.wait(51.2 - 256 * 0.028).read(256, 0.028)
    facts = loop.facts()
    assert number(facts["own_lag_p99_ms"]) == pytest.approx(0.99 * 256 * 0.028, rel=0.02)
    assert number(facts["own_lag_p50_ms"]) == pytest.approx(0.5 * 256 * 0.028, rel=0.02)
    assert number(facts["loop_busy_share"]) == pytest.approx(0.14, abs=0.01)


def test_what_came_while_it_worked_waited_for_that_work_too() -> None:
    """The second wait ended at once: its segment may have been there for the whole stretch."""
    loop = Loop().wait(10).work(6).wait(0.01).read(1, 1.0)
    assert loop.facts()["own_lag_max_ms"] == pytest.approx(7.0, abs=0.05)


def test_what_came_after_a_sleep_waited_for_nothing_before_it() -> None:
    loop = Loop().wait(10).work(6).wait(SLEPT_NS / MS + 0.1).read(1, 1.0)
    assert loop.facts()["own_lag_max_ms"] == 1.0


def test_a_processor_that_was_taken_away_is_not_the_generators_work() -> None:
    facts = Loop().wait(10).work(50, share=0.02).read(1, 0.5).facts()
    assert facts["own_lag_max_ms"] == pytest.approx(1.5)
    assert facts["stamp_lag_max_ms"] == pytest.approx(50.5)


def test_a_wake_up_that_came_late_makes_its_stamps_late() -> None:
    """The host kept a sleeping loop asleep: the probe's instant inside that sleep tells."""
    loop = Loop().wait(10).wait(16).read(2, 1.0)
    loop.stretches.stop()
    dues = [4 * MS, 15 * MS, 20 * MS, 30 * MS]
    assert [loop.stretches.lag_ns(stamp, dues) for stamp in loop.stamps] == [
        (12 * MS, 1 * MS),
        (13 * MS, 2 * MS),
    ]


def test_a_loop_that_never_waits_is_busy_all_the_time_on_half_a_core_too() -> None:
    loop = Loop().wait(1)
    for _ in range(100):
        loop.work(1.0, share=0.5).wait(0.015)
    assert loop.facts()["loop_busy_share"] == 1.0


def test_stamps_of_other_times_do_not_count() -> None:
    loop = Loop()
    loop.stamps.append(loop.now_ns)
    facts = loop.wait(10).read(1, 2.0).facts()
    loop.stamps.append(loop.work(100).now_ns)
    assert loop.stretches.facts(loop.stamps) == facts


@pytest.mark.parametrize(
    "make", [Loop, lambda: Loop().wait(1), lambda: Loop().work(1)], ids=["never", "idle", "begun"]
)
def test_nothing_stamped_is_not_zero(make: Callable[[], Loop]) -> None:
    facts = make().facts()
    assert facts.pop("loop_busy_share") is None or facts
    assert set(facts.values()) == {None}


TURNS = st.lists(
    st.tuples(st.floats(0, 20), st.integers(0, 20), st.floats(0.01, 1)), min_size=1, max_size=30
)


@given(turns=TURNS)
def test_no_segment_is_later_than_is_said(turns: list[tuple[float, int, float]]) -> None:
    """Segments that came at any instant since the loop last asked for events, and were read in
    this turn: the bound holds for the earliest, its own part never exceeds it."""
    loop, earliest_ns = Loop().wait(1), []
    for wait_ms, count, each_ms in turns:
        asked_ns, before = loop.now_ns, len(loop.stamps)
        loop.wait(wait_ms).read(count, each_ms)
        read = len(loop.stamps) - before
        slept = wait_ms * MS > SLEPT_NS
        woke_ns = loop.stamps[before] - int(each_ms * MS) if read else asked_ns
        earliest_ns += [woke_ns if slept else asked_ns] * read
    loop.stretches.stop()
    for stamp, earliest in zip(loop.stamps, earliest_ns, strict=True):
        all_ns, own_ns = loop.stretches.lag_ns(stamp)
        assert 0 <= own_ns <= all_ns
        assert all_ns >= stamp - earliest
