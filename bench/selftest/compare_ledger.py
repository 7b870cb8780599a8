"""What a client recorded against what the server did: pure, joined by request id.

Both sides stamp with one clock of one host, so each error is a difference of two differences: what
the client saw between two instants, less what the server did between the same two.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from quantswarm.bench.judge.records import Record
from quantswarm.bench.judge.window import Window
from quantswarm.models.errors import BadFile

REFUSED = "refused"
READ_TO_THE_END = ("ok", "short", "long", "truncated", "error_event")
LEFT_EARLY = ("reset", "stalled", "timeout", "interrupted")
"""Outcomes after which the client has seen every token that was sent, or perhaps not every one.
Of the others, answers without tokens or with nonsense in the middle, no count can be expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request as the server served it; `outcome` None: the server ended before it."""

    id: str
    model: str | None
    received_ns: int
    prompt_tokens: int | None
    tokens: int
    event_tokens: tuple[int, ...]
    scheduled_ns: tuple[int, ...]
    sent_ns: tuple[int, ...]
    outcome: str | None
    fault: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Absolute errors, one a request or a gap; lateness is the server's own, one a planned instant.

    `throughputs` are pairs of measured and true tokens a second, one a run.
    """

    ttft_ms: tuple[float, ...] = ()
    itl_ms: tuple[float, ...] = ()
    tpot: tuple[float, ...] = ()
    throughputs: tuple[tuple[float, float], ...] = ()
    lateness_ms: tuple[float, ...] = ()

    @property
    def throughput(self) -> float | None:
        """Relative error over all runs together; None when the truth is nothing."""
        true = sum(pair[1] for pair in self.throughputs)
        measured = sum(pair[0] for pair in self.throughputs)
        return abs(measured / true - 1) if true else None


def read_ledger(path: Path) -> tuple[Entry, ...]:
    """The server's file, in order of the requests' ends; raises BadFile."""
    try:
        text = path.read_text(encoding="utf-8")
        return tuple(_entry(json.loads(line)) for line in text.splitlines())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadFile(f"ledger {path}", f"cannot be read: {error}") from error


def _entry(raw: dict[str, Any]) -> Entry:
    return Entry(
        id=raw["id"],
        model=raw.get("model"),
        received_ns=raw["received_ns"],
        prompt_tokens=raw.get("prompt_tokens"),
        tokens=raw["tokens"],
        event_tokens=tuple(raw["event_tokens"]),
        scheduled_ns=tuple(raw["scheduled_ns"]),
        sent_ns=tuple(raw["sent_ns"]),
        outcome=raw["outcome"],
        fault=raw.get("fault"),
    )


def errors_of(
    records: Iterable[Record], entries: Iterable[Entry], window: Window, measured: float | None
) -> Errors:
    """Errors of the whole answers to requests begun in the window, as they are published.

    `measured` is the throughput that the client published; None leaves it out.
    """
    ledger = {entry.id: entry for entry in entries}
    begun = [r for r in records if r.ok and window.holds(r.intended_ns)]
    pairs = [(r, ledger[r.id]) for r in begun if r.id in ledger]
    even = [(r, e) for r, e in pairs if len(r.event_ns) == len(e.sent_ns) > 0]
    return Errors(
        ttft_ms=tuple(ttft_error_ms(record, entry) for record, entry in even),
        itl_ms=tuple(error for record, entry in even for error in itl_errors_ms(record, entry)),
        tpot=tuple(e for record, entry in even if (e := tpot_error(record, entry)) is not None),
        throughputs=() if measured is None else ((measured, true_rate(ledger.values(), window)),),
        lateness_ms=lateness_ms(ledger.values()),
    )


def ttft_error_ms(record: Record, entry: Entry) -> float:
    """|time to first token seen − time from the request's arrival to the first token's leaving|."""
    assert record.sent_ns is not None
    seen = record.event_ns[0] - record.sent_ns
    return abs(seen - (entry.sent_ns[0] - entry.received_ns)) / 1e6


def itl_errors_ms(record: Record, entry: Entry) -> Iterator[float]:
    """|gap seen − gap of the server|, a token: an event of n tokens counts n times its part."""
    gaps = zip(
        pairwise(record.event_ns), pairwise(entry.sent_ns), entry.event_tokens[1:], strict=True
    )
    for (seen_a, seen_b), (sent_a, sent_b), tokens in gaps:
        error = abs((seen_b - seen_a) - (sent_b - sent_a)) / 1e6
        yield from [error / tokens] * tokens


def tpot_error(record: Record, entry: Entry) -> float | None:
    """Relative; None where there are no two events, or they left together."""
    true_ns = entry.sent_ns[-1] - entry.sent_ns[0]
    if true_ns <= 0:
        return None
    return abs((record.event_ns[-1] - record.event_ns[0]) / true_ns - 1)


def lateness_ms(entries: Iterable[Entry]) -> tuple[float, ...]:
    """How late each planned instant was met, by the first event that left for it.

    Streams in lockstep share an instant, and one core needs a few microseconds for each of them:
    the later ones of a burst are late by nature, and the ledger says by how much.
    """
    first: dict[int, int] = {}
    for entry in entries:
        for due, sent in zip(entry.scheduled_ns, entry.sent_ns, strict=True):
            first[due] = min(sent, first.get(due, sent))
    return tuple((sent - due) / 1e6 for due, sent in first.items())


def true_rate(entries: Iterable[Entry], window: Window) -> float:
    """Tokens that left inside the window, a second."""
    tokens = sum(
        count
        for entry in entries
        for stamp, count in zip(entry.sent_ns, entry.event_tokens, strict=True)
        if window.holds(stamp)
    )
    return tokens / window.length_s


def joined(parts: Sequence[Errors]) -> Errors:
    """All runs of one client as one."""
    return Errors(
        ttft_ms=tuple(x for part in parts for x in part.ttft_ms),
        itl_ms=tuple(x for part in parts for x in part.itl_ms),
        tpot=tuple(x for part in parts for x in part.tpot),
        throughputs=tuple(x for part in parts for x in part.throughputs),
        lateness_ms=tuple(x for part in parts for x in part.lateness_ms),
    )


def quantile(values: Iterable[float], share: float) -> float | None:
    """Nearest rank; the largest where there are too few for it, None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    rank = -(-round(share * 1000) * len(ordered) // 1000)
    return ordered[max(0, rank - 1)]


def miscounts(records: Sequence[Record], entries: Sequence[Entry]) -> tuple[str, ...]:
    """Every way in which requests or tokens of the records are not exactly the ledger's.

    A request that found no server is in the records alone. An answer that the client did not read
    to its end (a reset drops what waits in the kernel) may have fewer tokens than were sent.
    """
    ledger = {entry.id: entry for entry in entries}
    reached = {record.id: record for record in records if record.outcome != REFUSED}
    found = [f"request {one} is in the ledger and has no record" for one in ledger.keys() - reached]
    found += [f"request {one} has a record and no server saw it" for one in reached.keys() - ledger]
    for name in reached.keys() & ledger.keys():
        found += _token_miscounts(reached[name], ledger[name])
    return tuple(sorted(found))


def _token_miscounts(record: Record, entry: Entry) -> Iterator[str]:
    seen, sent = record.counted_tokens, entry.tokens
    if record.outcome in READ_TO_THE_END and seen != sent:
        yield f"request {record.id}: {seen} tokens recorded, {sent} sent"
    if record.outcome in LEFT_EARLY and seen > sent:
        yield f"request {record.id}: {seen} tokens recorded, only {sent} sent"
    if record.ok and record.output_tokens != sent:
        yield f"request {record.id}: usage of {record.output_tokens} tokens, {sent} sent"
    if record.ok and record.prompt_tokens != entry.prompt_tokens:
        yield f"request {record.id}: a prompt of {record.prompt_tokens}, not {entry.prompt_tokens}"
