"""Wakes an asyncio loop to the microsecond, where its own timers round up to the millisecond."""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections.abc import Callable
from typing import Protocol

from quantswarm.engines.timerfd import TimerFd

_PR_SET_TIMERSLACK = 29
_COARSE_MARGIN_NS = 1_500_000


class Timer(Protocol):
    """Calls back once, not before the instant last set, less `margin_ns`."""

    margin_ns: int

    def set(self, due_ns: int | None) -> None:
        """Replace the instant; None: never. A past instant means as soon as possible."""


class KernelTimer:
    """Linux's timerfd, watched by the loop."""

    margin_ns = 0

    def __init__(self, loop: asyncio.AbstractEventLoop, fire: Callable[[], None]) -> None:
        self._timer = TimerFd()
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
        loop.add_reader(self._timer, fire)

    def set(self, due_ns: int | None) -> None:
        """Setting also takes back a call that is due: the descriptor is no longer readable."""
        self._timer.set(due_ns)


class CoarseTimer:
    """For systems without timerfd: the loop's own timer, early by its rounding."""

    margin_ns = _COARSE_MARGIN_NS

    def __init__(self, loop: asyncio.AbstractEventLoop, fire: Callable[[], None]) -> None:
        self._loop, self._fire = loop, fire
        self._handle: asyncio.TimerHandle | None = None

    def set(self, due_ns: int | None) -> None:
        """As said by the protocol."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if due_ns is not None:
            delay_ns = due_ns - self.margin_ns - time.perf_counter_ns()
            self._handle = self._loop.call_later(max(0, delay_ns) / 1e9, self._fire)


def timer(loop: asyncio.AbstractEventLoop, fire: Callable[[], None]) -> Timer:
    """The finest one that this system has."""
    try:
        return KernelTimer(loop, fire)
    except (AttributeError, OSError):
        return CoarseTimer(loop, fire)
