"""The unit that the clockwork runs on: bytes for one segment and the instant they are due."""

from __future__ import annotations

from typing import NamedTuple

END = "end"
"""The answer is whole."""
CUT = ("close", "reset", "hold", "exit")
"""Ends that a fault makes; `hold` is silence with an open connection, `exit` takes the server."""
FREEZE = "freeze"


class Event(NamedTuple):
    """One event of a stream; `tokens` 0 for those without text. `flush`: do not wait for others.

    `act` makes it a turn in the answer's fate instead of bytes to send.
    """

    due_ns: int
    data: bytes
    tokens: int = 0
    flush: bool = False
    act: str | None = None
    for_ns: int = 0


class Step(NamedTuple):
    """`counts` has the number of tokens of each event with text that these bytes complete."""

    due_ns: int
    data: bytes
    counts: tuple[int, ...] = ()
    act: str | None = None
    for_ns: int = 0
