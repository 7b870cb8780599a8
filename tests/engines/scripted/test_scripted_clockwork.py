"""Timers and the clockwork, in a loop of their own."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quantswarm.engines.scripted.clockwork import Clockwork, Run
from quantswarm.engines.scripted.fine_timer import CoarseTimer, KernelTimer
from quantswarm.engines.scripted.ledger import Entry
from quantswarm.engines.scripted.step import END, FREEZE, Step

TIMERS: list[Any] = [CoarseTimer]
if sys.platform == "linux":
    TIMERS.append(KernelTimer)
MS = 1_000_000


def fired_after_ns(kind: Any, plan: Callable[[Any, int], None]) -> tuple[int, int]:
    """How long after the plan a timer called back, and its margin."""

    async def wait() -> tuple[int, int]:
        called = asyncio.Event()
        timer = kind(asyncio.get_running_loop(), called.set)
        start_ns = time.perf_counter_ns()
        plan(timer, start_ns)
        await asyncio.wait_for(called.wait(), 20)
        return time.perf_counter_ns() - start_ns, timer.margin_ns

    return asyncio.run(wait())


@pytest.mark.parametrize("kind", TIMERS)
def test_a_timer_is_never_early_by_more_than_its_margin(kind: Any) -> None:
    waited_ns, margin_ns = fired_after_ns(kind, lambda timer, now: timer.set(now + 20 * MS))
    assert waited_ns >= 20 * MS - margin_ns


@pytest.mark.parametrize("kind", TIMERS)
def test_a_timer_set_again_forgets_the_first_instant(kind: Any) -> None:
    def plan(timer: Any, now: int) -> None:
        timer.set(now + 1 * MS)
        timer.set(None)
        timer.set(now + 30 * MS)

    waited_ns, margin_ns = fired_after_ns(kind, plan)
    assert waited_ns >= 30 * MS - margin_ns


@pytest.mark.parametrize("kind", TIMERS)
def test_an_instant_in_the_past_is_at_once(kind: Any) -> None:
    fired_after_ns(kind, lambda timer, now: timer.set(now - 5_000 * MS))


class Peer:
    """Notes what the clockwork does to a connection."""

    def __init__(self, done: asyncio.Event) -> None:
        self.done = done
        self.seen: list[tuple[str, Any]] = []

    def write(self, data: bytes) -> bool:
        self.seen.append(("write", data))
        return len(data) < 3

    def finish(self, run: Run, act: str) -> None:
        self.seen.append(("finish", act))
        self.done.set()

    def freeze(self, for_ns: int) -> None:
        self.seen.append(("freeze", for_ns))


def test_steps_are_sent_in_order_and_not_before_they_are_due() -> None:
    async def turn() -> tuple[Peer, Entry, Clockwork]:
        clockwork = Clockwork(asyncio.get_running_loop())
        peer, entry = Peer(asyncio.Event()), Entry("x")
        now_ns = time.perf_counter_ns()

        def steps() -> Iterator[Step]:
            yield Step(now_ns, b"h")
            yield Step(now_ns + 5 * MS, b"1", counts=(1,))
            yield Step(now_ns + 6 * MS, b"", act=FREEZE, for_ns=9)
            yield Step(now_ns + 9 * MS, b"234", counts=(2, 1))
            yield Step(now_ns + 9 * MS, b"e", act=END)

        clockwork.start(Run(peer, entry, steps()))
        await asyncio.wait_for(peer.done.wait(), 20)
        return peer, entry, clockwork

    peer, entry, clockwork = asyncio.run(turn())
    assert peer.seen == [
        ("write", b"h"),
        ("write", b"1"),
        ("freeze", 9),
        ("write", b"234"),
        ("write", b"e"),
        ("finish", END),
    ]
    assert entry.counts == [1, 2, 1]
    assert all(b >= a for a, b in zip(entry.scheduled_ns, entry.sent_ns, strict=True))
    assert (entry.tokens, entry.backlogged) == (4, 1)
    assert (clockwork.bursts, clockwork.events, clockwork.spare_ns()) == (2, 3, None)


def test_a_run_that_is_gone_is_dropped() -> None:
    async def turn() -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
        clockwork = Clockwork(asyncio.get_running_loop())
        first, second = Peer(asyncio.Event()), Peer(asyncio.Event())
        now_ns = time.perf_counter_ns()
        for peer, at_ms in ((first, 2), (second, 4)):
            run = Run(peer, Entry("x"), iter([Step(now_ns + at_ms * MS, b"e", act=END)]))
            run.gone = peer is first
            clockwork.start(run)
        await asyncio.wait_for(second.done.wait(), 20)
        return first.seen, second.seen

    gone, kept = asyncio.run(turn())
    assert gone == []
    assert kept == [("write", b"e"), ("finish", END)]
