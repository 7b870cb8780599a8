"""The comparison's document as tables: for a terminal, and as Markdown for the documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from quantswarm.bench.report.numerals import NA, plain, whole
from quantswarm.bench.selftest.peers import OURS

_LATENCIES = (
    ("TTFT p50", "ttft", "p50"),
    ("TTFT p99", "ttft", "p99"),
    ("TPOT p50", "tpot", "p50"),
    ("ITL p50", "itl", "p50"),
    ("ITL p99", "itl", "p99"),
)
HOW_TO_READ = (
    "reported (true), milliseconds; a third number, after a semicolon, is the true value by the"
    " tool's own definition where it has another. CPU: µs a token while tokens came; in all: with"
    " start-up and evaluation."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One case."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def tables(document: Mapping[str, Any]) -> list[Table]:
    """One a case."""
    return [_table(case) for case in document["cases"]]


def as_markdown(document: Mapping[str, Any]) -> str:
    """All tables with date and host."""
    about = (
        f"{document['date']}, load average {document['load_average'][0]:.2f} at the end;"
        f" {HOW_TO_READ}"
    )
    return "\n".join([about, *(line for one in tables(document) for line in _lines(one))]) + "\n"


def _lines(table: Table) -> Iterator[str]:
    yield f"\n**{table.title}**\n"
    yield f"| {' | '.join(table.header)} |"
    yield f"|{'---|' * len(table.header)}"
    for row in table.rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    if table.notes:
        yield ""
    yield from (f"* {note}" for note in table.notes)


def _table(case: Mapping[str, Any]) -> Table:
    ran = [row for row in case["rows"] if row["not_run"] is None]
    header, of = (_fault_header(case), _fault_row) if case["faults"] else (_HEADER, _timed_row)
    ours = _own_cpu(ran)
    return Table(
        title=f"`{case['name']}`: {case['summary']}",
        header=header,
        rows=tuple(of(case, row, ours) for row in ran),
        notes=tuple(_notes(case["rows"])),
    )


_HEADER = (
    *("tool", *(title for title, _, _ in _LATENCIES)),
    *("tok/s", "tokens", "in flight", "CPU", "× ours", "in all"),
)


def _timed_row(_: Mapping[str, Any], row: Mapping[str, Any], ours: float | None) -> tuple[str, ...]:
    cpu = row["cpu_us_per_token"]
    times = cpu / ours if cpu is not None and ours else None
    return (
        _name(row),
        *(_latency(row["metrics"][metric], which) for _, metric, which in _LATENCIES),
        f"{plain(row['tokens_per_s'])} ({plain(row['true_tokens_per_s'])})",
        f"{whole(row['tokens'])} ({whole(row['true_tokens'])})",
        f"{plain(row['mean_in_flight'])}, most {whole(row['most_in_flight'])}",
        plain(cpu),
        plain(times, digits=2),
        plain(row["cpu_us_per_token_in_all"]),
    )


def _latency(compared: Mapping[str, Any], which: str) -> str:
    said, true = compared["reported"][which], compared["true"][which]
    own = compared["true_by_its_own"][which]
    other = "" if _alike(true, own) else f"; {plain(own)}"
    return f"{plain(said)} ({plain(true)}{other})"


def _alike(one: float | None, other: float | None) -> bool:
    """Equal as they are shown."""
    return plain(one) == plain(other)


def _fault_header(case: Mapping[str, Any]) -> tuple[str, ...]:
    return ("tool", *case["faults"], "failed (true)")


def _fault_row(case: Mapping[str, Any], row: Mapping[str, Any], _: float | None) -> tuple[str, ...]:
    return (
        _name(row),
        *(row["faults"].get(kind, NA) for kind in case["faults"]),
        f"{whole(row['failed'])} ({whole(row['true_failures'])})",
    )


def _name(row: Mapping[str, Any]) -> str:
    again = " (again)" if row["peer"] == OURS and row["turn"] > 1 else ""
    return f"{row['peer']} {row['version']}{again}"


def _own_cpu(rows: Iterable[Mapping[str, Any]]) -> float | None:
    """The mean of ours, before and after the others."""
    found = [row["cpu_us_per_token"] for row in rows if row["peer"] == OURS]
    known = [value for value in found if value is not None]
    return fmean(known) if known else None


def _notes(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        if row["not_run"] is not None:
            yield f"{_name(row)}: not run: {' '.join(row['not_run'].split())}"
        if row["broken"]:
            yield f"{_name(row)}: bounds of ours that did not hold: {'; '.join(row['broken'][:3])}"
        late_ms = row["server_lateness_p99_ms"]
        if late_ms is not None and late_ms > 1.0:
            yield f"{_name(row)}: the server itself was {plain(late_ms)} ms late at p99"
