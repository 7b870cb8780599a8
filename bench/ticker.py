"""A cell's progress for the person watching: not every tick, only what is news."""

from __future__ import annotations

from collections.abc import Callable

from quantswarm.bench.load.progress import Progress

EVERY_S = 5.0


class Ticker:
    """Call it with each tick; it says one when the phase changes, or every five seconds."""

    def __init__(self, say: Callable[[str], None], label: str) -> None:
        self._say = say
        self._label = label
        self._phase = ""
        self._said_s = 0.0

    def __call__(self, progress: Progress) -> None:
        """Say the tick, or keep silent."""
        if progress.phase == self._phase and progress.elapsed_s - self._said_s < EVERY_S:
            return
        self._phase, self._said_s = progress.phase, progress.elapsed_s
        self._say(f"{self._label}: {line(progress)}")


def line(progress: Progress) -> str:
    """One tick in words."""
    return (
        f"{progress.phase}, {progress.elapsed_s:.0f} s, {progress.users} users, "
        f"{progress.finished} requests finished, {progress.failures} failed"
    )
