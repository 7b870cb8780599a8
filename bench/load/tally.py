"""A count that outlives its process: how many requests were begun, whatever ends the counting."""

from __future__ import annotations

import mmap
from pathlib import Path

_WIDTH = 8


class Tally:
    """`begun` lies in a file that is mapped into memory: to count costs no call to the system, and
    after a SIGKILL the kernel still has the last value. Without a path it is an ordinary number.
    """

    def __init__(self, path: Path | None = None) -> None:
        room: bytearray | mmap.mmap = bytearray(_WIDTH)
        if path is not None:
            path.write_bytes(bytes(_WIDTH))
            with path.open("r+b") as file:
                room = mmap.mmap(file.fileno(), _WIDTH)
        self._cell = memoryview(room).cast("Q")

    @property
    def begun(self) -> int:
        """The count; may be set."""
        return int(self._cell[0])

    @begun.setter
    def begun(self, value: int) -> None:
        self._cell[0] = value


def begun_in(path: Path) -> int:
    """What a tally's file says; 0 where its process never got to making one."""
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return 0
    return int(memoryview(found).cast("Q")[0]) if len(found) == _WIDTH else 0
