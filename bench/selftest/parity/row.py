"""One tool on one case: what it said beside what was true. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from quantswarm.bench.selftest.compare_ledger import Entry, lateness_ms, quantile
from quantswarm.bench.selftest.parity.peer import METRICS, Peer, Quantiles, Reported, Seen
from quantswarm.bench.selftest.parity.truth import (
    IN_WORDS,
    OURS,
    load_span_ns,
    mean_in_flight,
    most_in_flight,
    true_quantiles,
    true_tokens_per_s,
)
from quantswarm.bench.selftest.parity.watched import Ran

FAILURE, SUCCESS = "failure", "SUCCESS"
RETRIED, UNTOLD = "asked again, SUCCESS", "not told"
"""What a tool made of a request that met a fault. `asked again`: it hid the fault by a second
request; `not told`: its result does not say what became of that one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One metric: as reported, by our definition, and by the tool's own; `called` and `formula` are
    the tool's."""

    called: str
    formula: str
    reported: Quantiles
    true: Quantiles
    true_by_its_own: Quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`not_run` says why there is nothing else. `cpu_us_per_token` is between the first request and
    the last token, `cpu_us_per_token_in_all` with start-up and evaluation. `broken` are bounds of
    ours that did not hold, and none for others."""

    peer: str
    version: str
    turn: int
    not_run: str | None = None
    metrics: Mapping[str, Compared] = field(default_factory=dict)
    tokens: int | None = None
    true_tokens: int | None = None
    tokens_per_s: float | None = None
    true_tokens_per_s: float | None = None
    succeeded: int | None = None
    failed: int | None = None
    true_requests: int | None = None
    true_failures: int | None = None
    faults: Mapping[str, str] = field(default_factory=dict)
    cpu_us_per_token: float | None = None
    cpu_us_per_token_in_all: float | None = None
    most_in_flight: int | None = None
    mean_in_flight: float | None = None
    wall_s: float | None = None
    server_lateness_p99_ms: float | None = None
    broken: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The form of the JSON document; formulas in words."""
        found = asdict(self)
        for metric in found["metrics"].values():
            metric["formula"] = IN_WORDS[metric["formula"]]
        return found


def row_of(peer: Peer, turn: int, reported: Reported, entries: Sequence[Entry], ran: Ran) -> Row:
    """Everything but the bounds."""
    span = load_span_ns(entries)
    tokens = sum(entry.tokens for entry in entries)
    cpu_s = ran.cpu_between_s(*span) if span else None
    rate_span = reported.span_ns or span
    return Row(
        peer=peer.name,
        version=peer.version(),
        turn=turn,
        metrics={metric: _compared(peer, metric, reported, entries) for metric in METRICS},
        tokens=reported.output_tokens,
        true_tokens=sum(entry.tokens for entry in entries if entry.outcome == "ok"),
        tokens_per_s=reported.output_tokens_per_s,
        true_tokens_per_s=true_tokens_per_s(entries, rate_span) if rate_span else None,
        succeeded=reported.succeeded,
        failed=reported.failed,
        true_requests=len(entries),
        true_failures=sum(entry.outcome != "ok" for entry in entries),
        faults=fault_verdicts(reported.requests, entries),
        cpu_us_per_token=None if cpu_s is None or not tokens else cpu_s * 1e6 / tokens,
        cpu_us_per_token_in_all=ran.cpu_s * 1e6 / tokens if tokens else None,
        most_in_flight=most_in_flight(entries),
        mean_in_flight=mean_in_flight(entries),
        wall_s=ran.wall_s,
        server_lateness_p99_ms=quantile(lateness_ms(entries), 0.99),
    )


def _compared(peer: Peer, metric: str, reported: Reported, entries: Sequence[Entry]) -> Compared:
    meaning = peer.meanings[metric]
    return Compared(
        called=meaning.called,
        formula=meaning.formula,
        reported=reported.latencies[metric],
        true=true_quantiles(OURS[metric], entries),
        true_by_its_own=true_quantiles(meaning.formula, entries),
    )


def fault_verdicts(requests: Sequence[Seen], entries: Sequence[Entry]) -> dict[str, str]:
    """By kind of fault, what the tool made of the request that met it."""
    seen = joined(requests, entries)
    asked: dict[str, int] = {}
    for entry in entries:
        asked[entry.id] = asked.get(entry.id, 0) + 1
    found = {}
    for place, entry in enumerate(entries):
        if entry.fault is not None:
            ok = seen.get(place)
            again = asked[entry.id] > 1
            found[entry.fault] = (
                UNTOLD if ok is None else FAILURE if not ok else RETRIED if again else SUCCESS
            )
    return found


def joined(requests: Sequence[Seen], entries: Sequence[Entry]) -> dict[int, bool]:
    """Whether the tool counted it as good, by the entry's place in the ledger.

    By id; what has none on the tool's side goes by the order of the starts, if there are as many
    requests as entries left. A tool that asks again under the same id has one request for both.
    """
    by_id = {one.id: one.ok for one in requests if one.id is not None}
    found = {place: by_id[entry.id] for place, entry in enumerate(entries) if entry.id in by_id}
    known = {entry.id for entry in entries}
    nameless = sorted(
        (one for one in requests if one.id is None or one.id not in known),
        key=lambda one: one.started_s or 0.0,
    )
    left = sorted(set(range(len(entries))) - set(found), key=lambda at: entries[at].received_ns)
    if len(nameless) == len(left):
        found |= {place: one.ok for place, one in zip(left, nameless, strict=True)}
    return found
