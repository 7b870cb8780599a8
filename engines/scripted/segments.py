"""From events to segments: what goes to the socket in one write, framed as HTTP chunks."""

from __future__ import annotations

from collections.abc import Iterator

from quantswarm.engines.scripted.behaviour import Shape
from quantswarm.engines.scripted.step import END, FREEZE, Event, Step

SPLIT_GAP_NS = 2_000_000
"""Between the halves of a split event: long enough that no receiver sees them as one segment."""
LAST_CHUNK = b"0\r\n\r\n"


def segments(events: Iterator[Event], shape: Shape, head: bytes, begin_ns: int) -> Iterator[Step]:
    """Steps that carry the head, the events and the terminator; the last one has an `act`."""
    held = _Held(shape, head)
    if shape.head == "early":
        yield Step(begin_ns, held.take())
    due_ns = begin_ns
    for event in events:
        due_ns = event.due_ns
        if event.act is not None:
            yield from held.written(due_ns)
            yield Step(due_ns, b"", act=event.act, for_ns=event.for_ns)
            if event.act != FREEZE:
                return
            continue
        held.add(event)
        if event.flush or held.full:
            yield from held.written(due_ns)
    counts = held.counts
    yield Step(due_ns, held.take() + LAST_CHUNK, counts=counts, act=END)


class _Held:
    """What waits for the next write."""

    def __init__(self, shape: Shape, head: bytes) -> None:
        self._shape = shape
        self._head = head
        self._events: list[bytes] = []
        self._counts: list[int] = []

    @property
    def full(self) -> bool:
        return len(self._counts) >= self._shape.per_segment

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(self._counts)

    def add(self, event: Event) -> None:
        self._events.append(event.data)
        if event.tokens:
            self._counts.append(event.tokens)

    def take(self) -> bytes:
        """Everything, framed as one chunk; also the head, the first time."""
        head, body = self._head, b"".join(self._events)
        self._head, self._events, self._counts = b"", [], []
        return head + framed(body) if body else head

    def written(self, due_ns: int) -> Iterator[Step]:
        """One step; two where events with text are to be split."""
        counts, head, body = self.counts, self._head, b"".join(self._events)
        self.take()
        at = _cut_of(body, self._shape.split) if counts else 0
        if at:
            yield Step(due_ns, head + framed(body[:at]))
            due_ns, head, body = due_ns + SPLIT_GAP_NS, b"", body[at:]
        if head or body:
            yield Step(due_ns, head + framed(body), counts=counts)


def framed(body: bytes) -> bytes:
    """One HTTP chunk; nothing for nothing, since an empty chunk would end the response."""
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""


def _cut_of(body: bytes, split: str) -> int:
    """Where to split; 0: not at all. Inside the last character of several bytes for `utf8`."""
    if split == "half":
        return len(body) // 2
    if split == "utf8":
        return next((at for at in range(len(body) - 1, 0, -1) if 0x80 <= body[at] < 0xC0), 0)
    return 0
