"""What the swarm's process tells its parent once a second: one JSON line a tick, through a pipe."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

PHASES = ("preparing", "warm-up", "window", "drain")
_COUNTS = ("users", "started", "finished", "failures", "tokens", "misses")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Counts since the swarm began. `failures` and `tokens` are quick looks, not the records'.
    `misses` are arrivals of an open loop's window that cannot meet their objectives any more.

    `phase` is one of `PHASES`; `elapsed_s` counts from the first user.
    """

    phase: str
    elapsed_s: float
    users: int
    started: int
    finished: int
    failures: int
    tokens: int
    misses: int = 0

    def line(self) -> bytes:
        """Its line on the pipe."""
        return json.dumps(asdict(self)).encode() + b"\n"


def progress_from(line: bytes) -> Progress | None:
    """What a line says; None when it is cut or foreign."""
    try:
        return Progress(**json.loads(line))
    except (ValueError, TypeError):
        return None


def together(told: Sequence[Progress | None]) -> Progress:
    """What several processes told last, as one; None for one that has told nothing yet."""
    heard = [progress for progress in told if progress is not None]
    silent = len(heard) < len(told) or not heard
    first = min((PHASES.index(progress.phase) for progress in heard), default=0)
    return Progress(
        phase=PHASES[0 if silent else first],
        elapsed_s=max((progress.elapsed_s for progress in heard), default=0.0),
        **{name: sum(getattr(progress, name) for progress in heard) for name in _COUNTS},
    )


class Teller:
    """Writes progress without ever waiting: a full pipe loses a tick; a closed one is noticed."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self.nobody_listens = False

    def tell(self, progress: Progress) -> None:
        """Send one tick."""
        try:
            os.write(self._descriptor, progress.line())
        except BlockingIOError:
            pass
        except OSError:
            self.nobody_listens = True
