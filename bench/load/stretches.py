"""How long stamps waited for the load generator itself: its loop's busy stretches, all of them.

A loop waits for events, then works through what came, then waits again. A segment that was there
when the wait ended got its stamp only when its turn came: by then the loop had worked for as long
as the stamp lies behind the end of the wait. If the wait ended at once, the segment may have come
while the stretch before was still worked on, which then counts too. Nothing is sampled, so no burst
falls between two looks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from time import perf_counter_ns, process_time_ns

from quantswarm.bench.load.probe import quantiles_ms

SLEPT_NS = 100_000
"""A wait shorter than this may have found its events already there. Too large, it makes a lag
longer by one stretch; too small, it would hide one."""
ASKING_NS = 20_000
"""What a wait takes that has nothing to wait for, about."""


class BusyStretches:
    """Call `sleeps` when the loop begins to wait and `wakes` when that ends: two clocks a turn."""

    def __init__(
        self,
        clock: Callable[[], int] = perf_counter_ns,
        worked: Callable[[], int] = process_time_ns,
    ) -> None:
        self._clock, self._worked = clock, worked
        self._woke_ns, self._waited_ns, self._worked_ns = array("q"), array("q"), array("q")
        self._asleep_ns: int | None = None
        self._end_ns: int | None = None

    def sleeps(self) -> None:
        """The loop has nothing left to do."""
        self._asleep_ns = self._clock()

    def wakes(self) -> None:
        """Events came, or a timer's time; a stretch of work begins."""
        now_ns = self._clock()
        if self._asleep_ns is not None:
            self._woke_ns.append(now_ns)
            self._waited_ns.append(now_ns - self._asleep_ns)
            self._worked_ns.append(self._worked())

    def stop(self) -> None:
        """The last stretch ends now."""
        self._end_ns = self._clock()
        self._worked_ns.append(self._worked())

    def facts(self, stamps: Sequence[int], dues: Sequence[int] = ()) -> dict[str, float | None]:
        """`own_lag_*_ms` and `stamp_lag_*_ms` of the stamps between the first stretch and `stop`,
        and the share of that time at work; None without any. `dues` ascend."""
        inside = [stamp for stamp in stamps if self._saw(stamp)]
        found = [self.lag_ns(stamp, dues) for stamp in inside]
        return {
            **quantiles_ms("own_lag", [own_ns for _, own_ns in found]),
            **quantiles_ms("stamp_lag", [all_ns for all_ns, _ in found]),
            "loop_busy_share": self.busy_share(),
        }

    def _saw(self, stamp_ns: int) -> bool:
        if self._end_ns is None or not self._woke_ns:
            return False
        return self._woke_ns[0] <= stamp_ns <= self._end_ns

    def lag_ns(self, stamp_ns: int, dues: Sequence[int] = ()) -> tuple[int, int]:
        """By how much a stamp may be late: in all, and at most by the generator's own work.

        Its own is what it worked in that time, at most; for the rest others had the processor.
        Where a wake-up was wanted at an instant of `dues`, waiting any longer was not the loop's
        choice: events of that time came too late to it.
        """
        # A stamp at the very instant of a wake-up was taken before it: reading takes time.
        at = max(0, bisect_left(self._woke_ns, stamp_ns) - 1)
        woke_ns = self._woke_ns[at]
        own_ns = min(stamp_ns - woke_ns, self._work_ns(at))
        if at and self._waited_ns[at] <= SLEPT_NS:
            woke_ns = self._woke_ns[at - 1]
            own_ns += self._work_ns(at - 1)
        return stamp_ns - min(woke_ns, self._due_ns(at, dues)), own_ns

    def _due_ns(self, at: int, dues: Sequence[int]) -> int:
        """When the loop wanted to end the wait before a stretch; when it did, if not before."""
        place = bisect_right(dues, self._woke_ns[at] - self._waited_ns[at])
        return min(self._woke_ns[at], dues[place]) if place < len(dues) else self._woke_ns[at]

    def _work_ns(self, at: int) -> int:
        """Processor time of one stretch, with the asking for events after it."""
        return self._worked_ns[at + 1] - self._worked_ns[at]

    def busy_share(self) -> float | None:
        """Share of the time in which the loop was not waiting for anything.

        1 for a loop that is never done, also where it gets only half a core.
        """
        if self._end_ns is None or not self._woke_ns or self._end_ns <= self._woke_ns[0]:
            return None
        waited_ns = sum(max(0, waited - ASKING_NS) for waited in self._waited_ns[1:])
        return 1 - waited_ns / (self._end_ns - self._woke_ns[0])
