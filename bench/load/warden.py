"""Ends requests that wait longer than they may: one look at all of them, ten times a second.

A deadline at the socket would cost an object made, started and cancelled for every read, which was
a third of the client's time at thousands of tokens a second. So sockets wait for ever, and whoever
is overdue has its connection hung up: that wakes its read at once.
"""

from __future__ import annotations

import time
from typing import Protocol

LOOK_S = 0.1


class Waiting(Protocol):
    """Something that must not wait for ever."""

    def expire(self, now_ns: int) -> None:
        """Stop waiting if that has lasted too long."""


class Warden:
    """Those who wait now. `run` looks after them until `stop`, beside them in the loop, or in a
    thread."""

    def __init__(self) -> None:
        self._waiting: set[Waiting] = set()
        self._over = False

    def watch(self, one: Waiting) -> None:
        """From now on."""
        self._waiting.add(one)

    def forget(self, one: Waiting) -> None:
        """It waits no more, or never did."""
        self._waiting.discard(one)

    def look(self) -> None:
        """Once at all of them."""
        now_ns = time.perf_counter_ns()
        for one in tuple(self._waiting):
            one.expire(now_ns)

    def run(self) -> None:
        """Look again and again."""
        while not self._over:
            time.sleep(LOOK_S)
            self.look()

    def stop(self) -> None:
        """`run` returns after its next look."""
        self._over = True
