"""Server-sent events without sockets: body bytes in, whole events out, however the bytes were cut.

Follows the event-stream format of the HTML standard: lines end in LF, CR or CR LF, a colon opens a
comment, several `data` lines join with LF, an empty line dispatches. Bytes stay bytes until an
event is whole, so a cut inside a UTF-8 character cannot matter.
"""

from __future__ import annotations

from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One dispatched event; `name` is "" when the stream gave none."""

    data: bytes
    name: str = ""


class Splitter:
    """Feed it pieces of a body; each call returns the events that this piece completed.

    An event ended by CR is dispatched at once; an LF that still belongs to it is swallowed later.
    """

    def __init__(self) -> None:
        self._line = b""
        self._data: list[bytes] = []
        self._name = ""
        self._after_cr = False
        self._at_start = True

    @property
    def pending(self) -> bool:
        """Whether a begun event (or line) still waits for its end."""
        return bool(self._line or self._data)

    def feed(self, piece: bytes) -> list[Event]:
        """Events completed by `piece`, in order."""
        events: list[Event] = []
        for line in self._lines(piece):
            if line:
                self._field(line)
            elif self._data:
                events.append(Event(data=b"\n".join(self._data), name=self._name))
                self._data, self._name = [], ""
            else:
                self._name = ""
        return events

    def _lines(self, piece: bytes) -> list[bytes]:
        """Lines that `piece` ends; the remainder waits in `_line`."""
        if self._after_cr and piece:
            piece = piece[1:] if piece.startswith(b"\n") else piece
            self._after_cr = False
        if not piece:
            return []
        self._after_cr = piece.endswith(b"\r")
        whole = self._without_bom(self._line + piece)
        if b"\r" in whole:
            whole = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = whole.split(b"\n")
        self._line = lines.pop()
        return lines

    def _without_bom(self, whole: bytes) -> bytes:
        if not self._at_start or (len(whole) < len(_BOM) and _BOM.startswith(whole)):
            return whole
        self._at_start = False
        return whole.removeprefix(_BOM)

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._name = value.removeprefix(b" ").decode("utf-8", "replace")
