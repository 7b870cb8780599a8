"""Steps with stamps: which are still to do, doing them in order, one set-up at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantswarm.engines.provision.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One part of set-up.

    `weight_s` is how long it took where it was measured, for the estimate. `inputs` is everything
    that, changed, means doing it again. `stamp` is the file that says it was done, and `present`
    looks whether its result is still there. `work` may find the remains of an interrupted try.
    """

    title: str
    weight_s: float
    inputs: Mapping[str, str]
    stamp: Path
    present: Callable[[], bool]
    work: Callable[[Progress], None]

    def digest(self) -> str:
        """Stands for the inputs in the stamp."""
        return hashlib.sha256(json.dumps(dict(self.inputs), sort_keys=True).encode()).hexdigest()

    def done(self) -> bool:
        """True when the stamp is that of these inputs, and the result is where it should be."""
        try:
            stamped = self.stamp.read_text(encoding="ascii").strip()
        except OSError:
            return False
        return stamped == self.digest() and self.present()


def pending(steps: Sequence[Step]) -> list[Step]:
    """Steps that are not done, in order."""
    return [step for step in steps if not step.done()]


def carry_out(steps: Sequence[Step], progress: Progress) -> None:
    """Do these steps in order. Each stamp is removed before and written after its step's work."""
    for index, step in enumerate(steps):
        progress.begin(index)
        step.stamp.unlink(missing_ok=True)
        step.work(progress)
        write_whole(step.stamp, step.digest() + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file that is either the old one or the new one, whatever happens in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


@contextmanager
def only_one(lock: Path, *, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold a lock among processes; yields its descriptor. `waiting` is called if another has it.

    The kernel frees it when the last process that holds the descriptor ends, so none is ever stale.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
