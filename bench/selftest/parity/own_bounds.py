"""The bounds of our own client in this comparison; others have none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from quantswarm.bench.judge.records import Record, read_records
from quantswarm.bench.judge.window import Window
from quantswarm.bench.selftest.compare_ledger import Entry, errors_of, miscounts
from quantswarm.bench.selftest.parity.load_cases import LoadCase
from quantswarm.bench.selftest.parity.peer import Seen
from quantswarm.bench.selftest.parity.row import SUCCESS, fault_verdicts
from quantswarm.bench.selftest.verdict import measures_of


def broken_bounds(case: LoadCase, folder: Path, entries: Sequence[Entry]) -> tuple[str, ...]:
    """What does not hold of a run of ours, each in a sentence."""
    records = read_records(folder / "records.jsonl").records
    return (
        *miscounts(records, entries),
        *_hidden(records, entries),
        *_over(case.bounds, records, entries),
    )


def _hidden(records: Sequence[Record], entries: Sequence[Entry]) -> Iterator[str]:
    seen = [Seen(id=record.id, ok=record.ok) for record in records]
    for kind, verdict in fault_verdicts(seen, entries).items():
        if verdict == SUCCESS:
            yield f"fault {kind} counts as a success"


def _over(
    bounds: Mapping[str, float], records: Sequence[Record], entries: Sequence[Entry]
) -> Iterator[str]:
    """Errors are paired token by token, as in the self-test, and nothing is taken off."""
    always = Window(swarm_start_ns=None, start_ns=0, end_ns=2**63 - 1, drained_ns=None)
    measures = measures_of(errors_of(records, entries, always, None))
    for name, bound in bounds.items():
        value = measures[name]
        if value is None:
            yield f"{name} was not measured"
        elif value >= bound:
            yield f"{name} {value:.4g} is not under {bound:g}"
