"""How many minutes are left: from durations that are known and starts that have been seen."""

from __future__ import annotations

from collections.abc import Iterable

from quantswarm.bench.matrix import Cell

FIRST_GUESS_S = 60.0
"""Seconds to start a server of an engine that has not been started in this run yet."""
CELL_OVERHEAD_S = 6.0
"""Swarm start, drain and decoding, beside warm-up and window."""


class Estimate:
    """Counts cells and starts still to come."""

    def __init__(self, cells: Iterable[Cell], cell_s: float) -> None:
        self._left = list(cells)
        self._cell_s = cell_s + CELL_OVERHEAD_S
        self._start_s: dict[str, float] = {}
        self.total = len(self._left)

    @property
    def number(self) -> int:
        """The number, from 1, of the cell being measured."""
        return self.total - len(self._left) + 1

    def started(self, engine: str, seconds: float) -> None:
        """A server of this engine took so long to start."""
        self._start_s[engine] = seconds

    def finished(self, cell: Cell) -> None:
        """The cell has a result or has failed."""
        self._left.remove(cell)

    def minutes_left(self) -> float:
        """For the cells not finished, their servers' starts included."""
        servers = dict.fromkeys((cell.round, cell.variant) for cell in self._left)
        starts = sum(self._start_s.get(variant.engine, FIRST_GUESS_S) for _, variant in servers)
        return (starts + self._cell_s * len(self._left)) / 60
