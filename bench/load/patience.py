"""When an open loop is ended before its time: once it is certain that it misses its objectives.

The generator counts misses that nothing can mend; whoever follows it compares them with what the
whole plan allows. So it holds for any number of generators, whose counts are added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quantswarm.bench.load.capture import Capture, Order
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.progress import Progress
from quantswarm.bench.load.schedule import Arrival
from quantswarm.bench.slo import DEFAULT_SHARE, Slo

GRACE_NS = 250_000_000
"""The last byte of an answer comes after its last token, by which its length is judged."""
LEAST_WAITING = 50
WAITING_PART = 1 / 3
"""Where no limit tells how long an answer may take, this part of all arrivals may wait at once."""
_LATER = ("window", "drain")


class GiveUp(Exception):
    """Raised by whoever follows a swarm to end it; its text is the reason."""


class Misses:
    """Arrivals of the window that are lost: dropped, failed, or older than any limit allows.

    An answer that came, and that only its tokens' stamps can condemn, is not counted here.
    """

    def __init__(self, slo: Slo | None) -> None:
        self._slo = slo
        self._lost = 0
        self._waiting: dict[int, int | None] = {}

    def begun(self, order: Order) -> None:
        """An arrival of the window was sent, or is about to be."""
        longest = self._slo.longest_ms(order.expected_output_tokens) if self._slo else None
        due = None if longest is None else order.intended_ns + round(longest * 1e6) + GRACE_NS
        self._waiting[order.user] = due

    def ended(self, capture: Capture, *, failed: bool) -> None:
        """It came back, in whatever way; one that the generator itself cut off proves nothing."""
        due_ns = self._waiting.pop(capture.user, None)
        if capture.failure != "interrupted":
            late = due_ns is not None and capture.end_ns > due_ns
            self._lost += failed or late

    def count(self, now_ns: int) -> int:
        """Those lost by now."""
        overdue = sum(due is not None and due < now_ns for due in self._waiting.values())
        return self._lost + overdue


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What a plan allows: misses among the `planned` arrivals of its window, and arrivals that
    wait at one time."""

    planned: int
    most_misses: int
    most_waiting: int

    def spent(self, progress: Progress) -> str | None:
        """Why it makes no sense to go on; None while it does. The warm-up proves nothing."""
        if progress.phase not in _LATER:
            return None
        if progress.misses > self.most_misses:
            return (
                f"{progress.misses} requests had missed the objectives; the plan of "
                f"{self.planned} allows {self.most_misses}"
            )
        if progress.users > self.most_waiting:
            return f"{progress.users} requests were unanswered at once, over {self.most_waiting}"
        return None

    def watching(self, on_progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """The same callback, which then raises `GiveUp` when patience is spent."""

        def follow(progress: Progress) -> None:
            on_progress(progress)
            reason = self.spent(progress)
            if reason is not None:
                raise GiveUp(reason)

        return follow


def patience_of(plan: SwarmPlan, schedule: Sequence[Arrival]) -> Patience | None:
    """None for a run that is to be driven to its end, as every closed loop is."""
    if not plan.ends_early or plan.arrivals is None:
        return None
    warmup_ns = round(plan.warmup * 1e9)
    planned = sum(arrival.offset_ns >= warmup_ns for arrival in schedule)
    share = plan.scenario.slo.share if plan.scenario.slo else DEFAULT_SHARE
    return Patience(
        planned=planned,
        most_misses=math.floor((1 - share) * planned + 1e-9),
        most_waiting=max(LEAST_WAITING, math.ceil(WAITING_PART * len(schedule))),
    )
