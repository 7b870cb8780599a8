"""A good stream of events turned into a bad one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

from quantswarm.engines.scripted.chunks import Renderer
from quantswarm.engines.scripted.fault import Fault
from quantswarm.engines.scripted.step import FREEZE, Event, Step


def with_fault(events: Iterator[Event], fault: Fault | None, renderer: Renderer) -> Iterator[Event]:
    """`events` until the fault's token, then what the fault makes of the rest.

    A fault for a token beyond the answer's end strikes before the first event without text.
    """
    if fault is None or fault.kind == "slow-loris":
        yield from events
        return
    sent = 0
    for event in events:
        begun = event.tokens > 0 or not event.flush
        if begun and (sent >= fault.token or event.tokens == 0):
            yield from _REST[fault.kind](_Moment(event, events, fault, renderer))
            return
        sent += event.tokens
        yield event


class _Moment(NamedTuple):
    """Where a stream is when its fault strikes: the next event, and those after it."""

    event: Event
    rest: Iterator[Event]
    fault: Fault
    renderer: Renderer


def _error(at: _Moment) -> Iterator[Event]:
    message = "the engine failed on purpose"
    yield Event(at.event.due_ns, at.renderer.error(message) + at.renderer.done())


def _malformed(at: _Moment) -> Iterator[Event]:
    yield Event(at.event.due_ns, at.renderer.malformed(), flush=True)
    yield from at.rest


def _cut(at: _Moment) -> Iterator[Event]:
    yield Event(at.event.due_ns, b"", act=at.fault.kind)


def _truncated(at: _Moment) -> Iterator[Event]:
    yield Event(at.event.due_ns, at.renderer.done())


def _stall(at: _Moment) -> Iterator[Event]:
    pause_ns = at.fault.for_ns
    if pause_ns is None:
        yield Event(at.event.due_ns, b"", act="hold")
        return
    for later in chain([at.event], at.rest):
        yield later._replace(due_ns=later.due_ns + pause_ns)


def _freeze(at: _Moment) -> Iterator[Event]:
    yield Event(at.event.due_ns, b"", act=FREEZE, for_ns=at.fault.for_ns or 0)
    yield at.event
    yield from at.rest


_REST: dict[str, Callable[[_Moment], Iterator[Event]]] = {
    "error-event": _error,
    "malformed": _malformed,
    "reset": _cut,
    "close": _cut,
    "exit": _cut,
    "truncated": _truncated,
    "stall": _stall,
    "freeze": _freeze,
}


def dripped(steps: Iterator[Step], fault: Fault | None) -> Iterator[Step]:
    """For a slow loris: after its token, one byte at a time."""
    if fault is None or fault.kind != "slow-loris":
        yield from steps
        return
    sent, at_ns = 0, 0
    for step in steps:
        if sent < fault.token or not step.data:
            yield step
        else:
            at_ns = max(at_ns, step.due_ns)
            yield from _bytewise(step, at_ns, fault.for_ns or 0)
            at_ns += len(step.data) * (fault.for_ns or 0)
        sent += sum(step.counts)


def _bytewise(step: Step, at_ns: int, gap_ns: int) -> Iterator[Step]:
    last = len(step.data) - 1
    for number in range(last):
        yield Step(at_ns + number * gap_ns, step.data[number : number + 1])
    yield step._replace(due_ns=at_ns + last * gap_ns, data=step.data[last:])
