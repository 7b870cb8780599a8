"""Sends every step at its due instant, all streams from one heap and one timer."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Iterator
from itertools import count
from typing import Protocol

from quantswarm.engines.scripted.fine_timer import timer
from quantswarm.engines.scripted.ledger import Entry
from quantswarm.engines.scripted.step import FREEZE, Step

DEFAULT_SPIN_NS = 60_000
"""Waited awake before each instant: about what an event loop needs to get from its wait to us."""


class Peer(Protocol):
    """The connection of a run."""

    def write(self, data: bytes) -> bool:
        """Hand bytes to the socket at once; False when some had to be kept for later."""

    def finish(self, run: Run, act: str) -> None:
        """The run is over, in the way that `act` says."""

    def freeze(self, for_ns: int) -> None:
        """Stop the whole server for that long."""


class Run:
    """A response in progress. Its next step is always ready before it is due."""

    __slots__ = ("entry", "gone", "peer", "step", "steps")

    def __init__(self, peer: Peer, entry: Entry, steps: Iterator[Step]) -> None:
        self.peer = peer
        self.entry = entry
        self.steps = steps
        self.step = next(steps)
        self.gone = False

    def send(self) -> None:
        """Stamp, then write: the client cannot have the bytes before the stamp."""
        step = self.step
        if step.counts:
            self.entry.sent(step.due_ns, time.perf_counter_ns(), step.counts)
        if step.data and not self.peer.write(step.data):
            self.entry.backlogged += 1

    def turn(self) -> bool:
        """Do what the step says beside sending and make the next one ready; False: it was the last.

        Separate from `send`, so that a burst is sent before anything is prepared.
        """
        act = self.step.act
        if act == FREEZE:
            self.peer.freeze(self.step.for_ns)
        elif act is not None:
            self.peer.finish(self, act)
            return False
        self.step = next(self.steps)
        return True


class Clockwork:
    """`bursts` counts the instants at which events with text were sent, `events` those events."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spin_ns: int = DEFAULT_SPIN_NS) -> None:
        self._timer = timer(loop, self._fire)
        self._spin_ns = spin_ns + self._timer.margin_ns
        self._heap: list[tuple[int, int, Run]] = []
        self._order = count()
        self.bursts = 0
        self.events = 0

    def start(self, run: Run) -> None:
        """Take charge of a run."""
        self._push(run)
        self._set()

    def spare_ns(self) -> int | None:
        """Time until the next instant; None when nothing is planned."""
        return self._heap[0][0] - time.perf_counter_ns() if self._heap else None

    def _push(self, run: Run) -> None:
        heapq.heappush(self._heap, (run.step.due_ns, next(self._order), run))

    def _set(self) -> None:
        self._timer.set(self._heap[0][0] - self._spin_ns if self._heap else None)

    def _fire(self) -> None:
        """One burst; then back to the loop, which has requests to read, whatever is due next."""
        heap = self._heap
        while heap and heap[0][2].gone:
            heapq.heappop(heap)
        if heap:
            due_ns = heap[0][0]
            now_ns = time.perf_counter_ns()
            if now_ns + self._spin_ns >= due_ns:
                while now_ns < due_ns:
                    now_ns = time.perf_counter_ns()
                self._burst(now_ns)
        self._set()

    def _burst(self, now_ns: int) -> None:
        heap, due = self._heap, []
        while heap and heap[0][0] <= now_ns:
            run = heapq.heappop(heap)[2]
            if not run.gone:
                due.append(run)
                run.send()
        events = sum(len(run.step.counts) for run in due)
        self.events += events
        self.bursts += events > 0
        for run in due:
            if not run.gone and run.turn():
                self._push(run)
