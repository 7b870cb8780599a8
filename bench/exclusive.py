"""Two measurements at once on one machine spoil each other: the second one is refused."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from quantswarm.models.errors import RunFailed
from quantswarm.models.store import home


@contextmanager
def measuring() -> Iterator[None]:
    """Hold the machine's measuring lock; `RunFailed` names the process that has it."""
    path = home() / "measuring.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise RunFailed(
                "measure on this machine",
                f"process {lock.read().strip() or 'unknown'} is measuring already",
                evidence="Two measurements at once would share cores and spoil both.",
                next_step="wait for it to end, or stop it",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
