"""Which waiting jobs are computed next: together, as a static batch, or one alone."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from quantswarm.engines.onnx_serve.jobs import Job


class Waiting:
    """The jobs that nobody computes yet, first come, first served.

    A batch takes nobody in once it runs, so beginning one for the first that comes would leave the
    others of a group behind: after a batch, as many are waited for as were there last, `wait_s` at
    most. Where one was alone before, nothing is waited for.
    """

    def __init__(
        self, slots: int, wait_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._slots, self._wait_s, self._clock = slots, wait_s, clock
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._expected = 1
        self._until = 0.0

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> bool:
        """From any thread; False once closed, as nobody would compute it."""
        with self._changed:
            if not self._closed:
                self._jobs.append(job)
                self._changed.notify()
            return not self._closed

    def close(self) -> list[Job]:
        """No more batches; the jobs that waited."""
        with self._changed:
            self._closed = True
            dropped = list(self._jobs)
            self._jobs.clear()
            self._changed.notify()
            return dropped

    def ended(self, count: int) -> None:
        """A batch of so many is done: by its users' next requests it is known who is there."""
        with self._changed:
            self._expected = min(self._slots, count + len(self._jobs))
            self._until = self._clock() + self._wait_s

    def batch(self) -> list[Job]:
        """The next jobs, as soon as there are any; empty once closed."""
        with self._changed:
            while not self._closed:
                self._drop_cancelled()
                left = self._until - self._clock()
                if self._jobs and (len(self._jobs) >= self._expected or left <= 0):
                    return self._taken()
                self._changed.wait(left if self._jobs else None)
            return []

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._jobs if job.cancelled]:
            self._jobs.remove(job)

    def _taken(self) -> list[Job]:
        """The first, and those after it that can be computed with it."""
        first = self._jobs.popleft()
        if first.alone:
            return [first]
        taken = [first]
        while self._jobs and len(taken) < self._slots and not self._jobs[0].alone:
            taken.append(self._jobs.popleft())
        return taken
