"""The truth about every request: when each event was due, and when it was handed to the socket."""

from __future__ import annotations

import json
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from quantswarm.engines.scripted.plan import Plan

MOST_KEPT = 20_000
WHOLE_ALL_THE_SAME = ("stall", "slow-loris", "freeze")
"""Faults after which an answer still comes to its proper end."""


class Entry:
    """One request. `outcome` is None while it runs, then one of

    ok (whole), failed (a whole response that is a fault's), cut (broken off by a fault),
    gone (the client left first), refused (a mistake of the client's, answered with 4xx).
    """

    __slots__ = (
        "backlogged",
        "counts",
        "ended_ns",
        "outcome",
        "plan",
        "request_id",
        "scheduled_ns",
        "sent_ns",
        "status",
    )

    def __init__(self, request_id: str, plan: Plan | None = None) -> None:
        self.request_id = request_id
        self.plan = plan
        self.scheduled_ns = array("q")
        self.sent_ns = array("q")
        self.counts: list[int] = []
        self.backlogged = 0
        self.ended_ns: int | None = None
        self.outcome: str | None = None
        self.status: int | None = 200 if plan else None

    def sent(self, due_ns: int, at_ns: int, counts: tuple[int, ...]) -> None:
        """Events with text that left in one write; each gets the write's instants."""
        for count in counts:
            self.scheduled_ns.append(due_ns)
            self.sent_ns.append(at_ns)
            self.counts.append(count)

    @property
    def tokens(self) -> int:
        """How many tokens left."""
        return sum(self.counts)

    def good_or_failed(self) -> str:
        """The outcome of a response that came to its end."""
        fault = self.plan.fault if self.plan else None
        whole = fault is None or fault.kind in WHOLE_ALL_THE_SAME
        return "ok" if whole else "failed"

    def as_json(self) -> dict[str, Any]:
        """The form of a ledger line."""
        return {
            "id": self.request_id,
            **(_planned(self.plan) if self.plan else {"received_ns": self.ended_ns}),
            "tokens": self.tokens,
            "event_tokens": self.counts,
            "scheduled_ns": self.scheduled_ns.tolist(),
            "sent_ns": self.sent_ns.tolist(),
            "ended_ns": self.ended_ns,
            "backlogged": self.backlogged,
            "status": self.status,
            "outcome": self.outcome,
        }


def _planned(plan: Plan) -> dict[str, Any]:
    ask = plan.ask
    return {
        "model": ask.model,
        "index": plan.index,
        "api": ask.api,
        "stream": ask.stream,
        "received_ns": plan.received_ns,
        "started_ns": plan.started_ns,
        "prompt_tokens": ask.prompt_tokens,
        "planned_tokens": plan.tokens,
        "finish_reason": plan.finish,
        "fault": plan.fault.kind if plan.fault else None,
    }


class Ledger:
    """Running and finished entries; the last `MOST_KEPT` finished ones stay in memory.

    Lines go to the file when somebody calls `write`, so that the clockwork can choose a quiet
    moment for it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None
        self._unwritten: deque[Entry] = deque()
        self._watchers: list[Callable[[Entry], None]] = []
        self.running: dict[int, Entry] = {}
        self.finished: deque[Entry] = deque(maxlen=MOST_KEPT)

    def watch(self, watcher: Callable[[Entry], None]) -> None:
        """Have `watcher` called with each entry that ends."""
        self._watchers.append(watcher)

    def open(self, entry: Entry) -> None:
        """A request has arrived."""
        self.running[id(entry)] = entry

    def end(self, entry: Entry, outcome: str, now_ns: int, status: int | None = None) -> None:
        """A request is over; a second end of the same one changes nothing."""
        if entry.outcome is not None:
            return
        entry.outcome, entry.ended_ns = outcome, now_ns
        entry.status = status if status is not None else entry.status
        self.running.pop(id(entry), None)
        self.finished.append(entry)
        if self._file is not None:
            self._unwritten.append(entry)
        for watcher in self._watchers:
            watcher(entry)

    def write(self, most: int | None = None) -> bool:
        """Write at most `most` finished entries; whether any are left."""
        if self._file is None:
            return False
        number = len(self._unwritten) if most is None else min(most, len(self._unwritten))
        for _ in range(number):
            self._file.write(json.dumps(self._unwritten.popleft().as_json()) + "\n")
        self._file.flush()
        return bool(self._unwritten)

    def lines(self) -> Iterator[str]:
        """Every entry in memory, the finished ones first, in order of their end."""
        for entry in (*self.finished, *self.running.values()):
            yield json.dumps(entry.as_json()) + "\n"
