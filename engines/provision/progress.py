"""What the user sees while set-up works: step n of m, time gone, and an estimate of the rest."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self, TextIO

TRUSTED_S = 60.0
"""The weights count for this many seconds of experience: one quick step proves little."""


def remaining_s(
    weights_s: Sequence[float], current: int, elapsed_s: float, fraction: float, pace: float
) -> float:
    """Seconds left: what the step at hand still needs, and the later ones' weights at this pace.

    `fraction` of the current step is done, as its own tool counts (0 where it does not count).
    A step that takes longer than expected never reports zero: a tenth of it is always left.
    """
    expected = weights_s[current] * pace
    if fraction > 0.03:
        here = elapsed_s * (1 - fraction) / fraction
    else:
        here = max(expected - elapsed_s, expected / 10)
    return here + sum(weights_s[current + 1 :]) * pace


def pace_of(expected_s: float, taken_s: float) -> float:
    """How much slower this machine is than the weights say; near 1 until minutes have shown it."""
    return (taken_s + TRUSTED_S) / (expected_s + TRUSTED_S)


def spoken(seconds: float) -> str:
    """A duration as people say it; estimates are not worth their seconds."""
    return "less than a minute" if seconds < 50 else f"about {max(1, round(seconds / 60))} min"


class Progress:
    """Prints from a thread of its own, because the tools that set-up runs may be silent for long.

    A terminal gets one line that is rewritten; a log gets a line at each step and every 30 s.
    """

    def __init__(
        self,
        titles: Sequence[str],
        weights_s: Sequence[float],
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._titles, self._weights = list(titles), list(weights_s)
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._began = self._step_began = clock()
        self._current, self._fraction, self._finished_s = 0, 0.0, 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        period_s = 1.0 if self._stream.isatty() else 30.0
        self._thread = threading.Thread(target=self._tick, args=(period_s,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._stream.isatty():
            self._write("\r\x1b[K")

    def begin(self, index: int) -> None:
        """The step at `index` starts now; those before it are finished."""
        with self._lock:
            self._finished_s = sum(self._weights[:index])
            self._current, self._fraction = index, 0.0
            self._step_began = self._clock()
        self._show()

    def advance(self, done: int, total: int) -> None:
        """The current step's tool says that it has done so many of so many."""
        with self._lock:
            self._fraction = done / total if total else 0.0

    def say(self, text: str) -> None:
        """A line that stays: a choice that was made, or something worth knowing later."""
        start = "\r\x1b[K" if self._stream.isatty() else ""
        self._write(f"{start}set-up: {text}\n")

    def line(self) -> str:
        """The status line, without the terminal's control characters."""
        now = self._clock()
        with self._lock:
            pace = pace_of(self._finished_s, self._step_began - self._began)
            here_s = now - self._step_began
            left = remaining_s(self._weights, self._current, here_s, self._fraction, pace)
            share = f" {self._fraction:.0%}" if self._fraction else ""
            gone = int(now - self._began)
            return (
                f"[{self._current + 1}/{len(self._titles)}] {self._titles[self._current]}{share}"
                f" · {gone // 60}:{gone % 60:02d} gone, {spoken(left)} left"
            )

    def _tick(self, period_s: float) -> None:
        while not self._stop.wait(period_s):
            self._show()

    def _show(self) -> None:
        if self._stream.isatty():
            self._write(f"\r\x1b[K{self.line()[:100]}")
        else:
            self._write(f"{self.line()}\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
