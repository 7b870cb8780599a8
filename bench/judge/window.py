"""The measurement window: a request belongs to it by its intended start, never by when it ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quantswarm.bench.judge.records import Record
from quantswarm.bench.slo import Slo


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Stamps of one cell: warm-up until `start_ns`, measured until `end_ns`, drained after it."""

    swarm_start_ns: int | None
    start_ns: int
    end_ns: int
    drained_ns: int | None

    @property
    def length_s(self) -> float:
        """Length of the measured part."""
        return (self.end_ns - self.start_ns) / 1e9

    def holds(self, ns: int) -> bool:
        """Whether an instant lies inside; the start is inside, the end is not."""
        return self.start_ns <= ns < self.end_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The records of a cell, divided.

    `started` began inside the window, whatever became of them, and whenever they ended: a slow
    request that finishes in the drain is as much a sample as a quick one. `everything` also holds
    warm-up and drain, whose tokens may fall inside the window. In an open loop a schedule decided
    when requests began, and `users` says nothing. `slo` is None where nothing was promised.
    """

    window: Window
    users: int
    started: tuple[Record, ...]
    everything: tuple[Record, ...]
    open_loop: bool = False
    slo: Slo | None = None

    @property
    def good(self) -> tuple[Record, ...]:
        """Those begun in the window whose answer was whole."""
        return tuple(record for record in self.started if record.ok)

    @property
    def failed(self) -> tuple[Record, ...]:
        """Those begun in the window that failed, in whatever way."""
        return tuple(record for record in self.started if not record.ok)


def cut(
    records: Iterable[Record],
    window: Window,
    *,
    users: int,
    open_loop: bool = False,
    slo: Slo | None = None,
) -> Cut:
    """Divide records, in any order, by their intended start."""
    everything = tuple(sorted(records, key=lambda record: (record.intended_ns, record.id)))
    return Cut(
        window=window,
        users=users,
        started=tuple(record for record in everything if window.holds(record.intended_ns)),
        everything=everything,
        open_loop=open_loop,
        slo=slo,
    )
