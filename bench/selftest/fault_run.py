"""Faults of a server, met by the harness: each its own class, none a success, none unnoticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from quantswarm.bench.cell import plan_for
from quantswarm.bench.judge.records import OK, Record, read_records
from quantswarm.bench.load.capture import Limits
from quantswarm.bench.load.swarm import drive
from quantswarm.bench.selftest.cases import FaultCase
from quantswarm.bench.selftest.compare_ledger import REFUSED, Entry, miscounts
from quantswarm.bench.selftest.segment import (
    Place,
    known_server,
    ledger_of,
    scenario_of,
    subject_of,
)
from quantswarm.bench.selftest.verdict import CaseResult

OUTPUT_TOKENS = 8
LIMITS = Limits(connect_s=2.0, first_byte_s=0.8, stall_s=0.8, total_s=2.0)
LONGEST_S = 3.0
"""More than any request may last under these limits: the longest, and time to notice it."""


def run_faults(case: FaultCase, place: Place) -> CaseResult:
    """Drive the case once; counts and classes do not depend on how busy the host is."""
    with known_server(place) as server:
        subject = subject_of(server, case.behaviour, place)
        plan = plan_for(
            subject,
            scenario=scenario_of(case.name, OUTPUT_TOKENS),
            users=case.users,
            out_dir=place.folder,
            cell=case.name,
            warmup_s=0.0,
            duration_s=case.duration_s,
            drain_s=LONGEST_S,
            limits=LIMITS,
        )
        result = drive(plan)
    records = read_records(result.records).records
    entries = ledger_of(place, case.behaviour)
    why = [*_lost(result.invalid_reason), *complaints(case, records, entries)]
    return CaseResult(
        name=case.name,
        ok=not why,
        void=False,
        why=tuple(why),
        counts=dict(sorted(Counter(record.outcome for record in records).items())),
        runs=1,
    )


def _lost(reason: str | None) -> list[str]:
    return [] if reason is None else [reason]


def complaints(
    case: FaultCase, records: Sequence[Record], entries: Sequence[Entry]
) -> tuple[str, ...]:
    """Everything that is not as it has to be; pure."""
    ledger = {entry.id: entry for entry in entries}
    found = [*_unmet(case, entries), *miscounts(records, entries)]
    for record in records:
        found += _misjudged(case, record, ledger.get(record.id))
    return tuple(found)


def _unmet(case: FaultCase, entries: Sequence[Entry]) -> Iterator[str]:
    """Each fault has to have struck exactly once, or nothing was shown."""
    struck = Counter(entry.fault for entry in entries)
    for kind in case.kinds:
        if struck[kind] != 1:
            yield f"fault {kind} struck {struck[kind]} times, not once"


def _misjudged(case: FaultCase, record: Record, entry: Entry | None) -> Iterator[str]:
    allowed = _allowed(case, entry)
    if record.outcome not in allowed:
        fault = (entry.fault or "none") if entry else "unreachable server"
        wanted = " or ".join(allowed)
        yield f"request {record.id} (fault: {fault}) is {record.outcome}, not {wanted}"
    lasted_s = (record.end_ns - record.intended_ns) / 1e9
    if lasted_s > LONGEST_S:
        yield f"request {record.id} hung for {lasted_s:.1f} s"


def _allowed(case: FaultCase, entry: Entry | None) -> tuple[str, ...]:
    if entry is None:
        return (REFUSED,) if case.server_dies else ()
    return (OK,) if entry.fault is None else case.classes_of(entry.fault)
