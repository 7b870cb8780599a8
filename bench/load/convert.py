"""From the spools of a finished swarm to `records.jsonl`, whole or not at all."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path

from quantswarm.bench.load.decode import decode
from quantswarm.bench.load.probe import quantiles_ms
from quantswarm.bench.load.record import OK, Record
from quantswarm.bench.load.spool import captures
from quantswarm.models.errors import BadFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What was written; `window_tokens` counts tokens stamped inside the window that was given.

    `users` are all that have a record. `delays` are of requests begun in the window: actual minus
    intended start, and the median time from the intended start to the first text.
    """

    records: int
    outcomes: Mapping[str, int]
    window_tokens: int
    users: frozenset[int] = frozenset()
    delays: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def failures(self) -> dict[str, int]:
        """The outcomes other than "ok"."""
        return {name: count for name, count in self.outcomes.items() if name != OK}


def convert(
    spools: Path | Iterable[Path], records: Path, inside: Callable[[int], bool]
) -> Converted:
    """Write one line a capture, in order of completion, then rename into place.

    Existing records are never replaced: `BadFile`. A conversion that fails or is interrupted leaves
    no file of its own. The spools are left for the caller to delete.
    """
    if records.exists():
        raise BadFile(
            f"records {records}",
            "they are there already, and measurements are never overwritten",
            next_step="give another output folder, or remove this cell's folder first",
        )
    unfinished = records.with_name(f"{records.name}.partial")
    try:
        every = (spools,) if isinstance(spools, Path) else tuple(spools)
        converted = _write(every, unfinished, inside)
        unfinished.replace(records)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(records)  # a failed write, on a full disk say, names no file
        raise
    return converted


def _write(spools: Iterable[Path], out: Path, inside: Callable[[int], bool]) -> Converted:
    outcomes: Counter[str] = Counter()
    window_tokens = 0
    users: set[int] = set()
    delays = _Delays()
    with out.open("w", encoding="utf-8") as file:
        for capture in merge(*map(captures, spools), key=lambda capture: capture.end_ns):
            record = decode(capture)
            file.write(record.line() + "\n")
            outcomes[record.outcome] += 1
            window_tokens += _tokens_inside(record, inside)
            users.add(record.user)
            if inside(record.intended_ns):
                delays.add(record)
        file.flush()
        os.fsync(file.fileno())
    return Converted(
        records=outcomes.total(),
        outcomes=dict(outcomes),
        window_tokens=window_tokens,
        users=frozenset(users),
        delays=delays.facts(),
    )


class _Delays:
    """How late the requests of the window were sent, and how long their first text took."""

    def __init__(self) -> None:
        self._sent_ns = array("q")
        self._first_ns = array("q")

    def add(self, record: Record) -> None:
        if record.sent_ns is not None:
            self._sent_ns.append(record.sent_ns - record.intended_ns)
        if record.event_ns:
            self._first_ns.append(record.event_ns[0] - record.intended_ns)

    def facts(self) -> dict[str, float | None]:
        first = quantiles_ms("ttft", self._first_ns)
        return {**quantiles_ms("client_delay", self._sent_ns), "ttft_p50_ms": first["ttft_p50_ms"]}


def _tokens_inside(record: Record, inside: Callable[[int], bool]) -> int:
    pairs = zip(record.event_ns, record.event_tokens, strict=True)
    return sum(tokens for stamp, tokens in pairs if inside(stamp))
