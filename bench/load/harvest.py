"""What a finished swarm is to those who asked for it: its processes' files made into one result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench.load.combine import combined
from quantswarm.bench.load.convert import Converted, convert
from quantswarm.bench.load.crew import Ended
from quantswarm.bench.load.plan import FACTS, MASTER_FACTS, SPOOL, TALLY, SwarmPlan
from quantswarm.bench.load.schedule import Arrival
from quantswarm.bench.load.share import Share, Split
from quantswarm.bench.load.tally import begun_in
from quantswarm.bench.load.warning import NamedWarning, warnings_of
from quantswarm.models.errors import RunFailed

RECORDS = "records.jsonl"
LOG = "swarm.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Instants of one run (`perf_counter_ns`). `start_ns` and `end_ns` are None where a run was
    stopped before; a stopped window ends when it was stopped."""

    swarm_start_ns: int | None
    start_ns: int | None
    end_ns: int | None
    drained_ns: int | None

    def holds(self, stamp_ns: int) -> bool:
        """Whether an instant lies in the measurement window."""
        if self.start_ns is None or self.end_ns is None:
            return False
        return self.start_ns <= stamp_ns < self.end_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmResult:
    """What a cell's manifest needs of its load.

    `harness` holds the generator's view of itself: cpu_s, cpu_share, cpu_us_per_token,
    {loop,own,stamp}_lag_{p50,p99,max}_ms, client_delay_{p50,p99,max}_ms, loop_busy_share,
    steal_share, involuntary_switches, requests_started, records_missing, prompts_made,
    prompts_late, users_seen, scheduling, processes, processes_reason; of an open loop also
    arrivals_planned, arrivals_dropped, arrivals_digest, most_in_flight, ended_early (a reason),
    dispatch_delay_{p50,p99,max}_ms; of several processes also workers (what `combine` keeps of
    each) and master_cpu_s.
    `invalid_reason` is set when records are missing, or a process of the generator was lost or
    failed: then no number may be published. Whether the numbers of other runs may be is for the
    judge's gates. A run stopped before its first user may leave no records file at all.
    `ended_early` says why a run that could only miss was cut short.
    """

    records: Path
    window: Window
    started: int
    recorded: int
    outcomes: Mapping[str, int]
    harness: Mapping[str, Any]
    warnings: tuple[NamedWarning, ...]
    interrupted: bool
    invalid_reason: str | None
    ended_early: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The schedule of an open loop, and its digest; nothing of either in a closed one."""

    arrivals: Sequence[Arrival]
    digest: str | None

    def missing(self, users: frozenset[int]) -> int:
        """Arrivals that no record is of."""
        return sum(arrival.index not in users for arrival in self.arrivals)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Left:
    """What the processes left behind, together. `started` counts for those also that left no facts;
    `facts` are of those that ended by themselves."""

    started: int
    facts: Sequence[Mapping[str, Any]]

    @property
    def problem(self) -> str | None:
        """The first fault that one of them told of itself."""
        return next((str(one["problem"]) for one in self.facts if one["problem"]), None)

    @property
    def window(self) -> Window:
        """The common start; the earliest end, since then the load was no longer whole."""
        stamps = [one["window"] for one in self.facts]
        found = {
            name: [stamp[name] for stamp in stamps if stamp.get(name) is not None]
            for name in ("swarm_start_ns", "start_ns", "end_ns", "drained_ns")
        }
        return Window(
            swarm_start_ns=min(found["swarm_start_ns"], default=None),
            start_ns=min(found["start_ns"], default=None),
            end_ns=min(found["end_ns"], default=None),
            drained_ns=max(found["drained_ns"], default=None),
        )


def harvest(plan: SwarmPlan, split: Split, ended: Ended, planned: Planned) -> SwarmResult:
    """Write the records and delete what they were made of; `RunFailed` when there is nothing."""
    left = _left(plan.out_dir, split.shares)
    records = plan.out_dir / RECORDS
    spools = [share.path(plan.out_dir, SPOOL) for share in split.shares]
    written = [spool for spool in spools if spool.exists()]
    if written:
        converted = convert(written, records, left.window.holds)
    else:
        converted = Converted(records=0, outcomes={}, window_tokens=0)
    if not ended.interrupted and (not left.facts or (ended.loss and not left.started)):
        raise _failure(plan, ended, left.started, converted.records)
    result = _result(plan, split, left, converted, ended, planned)
    for name in (SPOOL, TALLY):
        for share in split.shares:
            share.path(plan.out_dir, name).unlink(missing_ok=True)
    return result


def _left(folder: Path, shares: Sequence[Share]) -> _Left:
    found = [_facts(share.path(folder, FACTS)) for share in shares]
    return _Left(
        started=sum(begun_in(share.path(folder, TALLY)) for share in shares),
        facts=[facts for facts in found if facts is not None],
    )


def _failure(plan: SwarmPlan, ended: Ended, started: int, kept: int) -> RunFailed:
    """The error for a swarm that ended without leaving anything to judge."""
    loss = ended.loss
    how = f"{loss.name} was lost ({loss.how})" if loss else "it ended without leaving its facts"
    return RunFailed(
        "the swarm",
        f"{how}; {kept} requests of {started} have a record",
        evidence=loss.log_tail if loss else "",
        next_step=f"read {plan.out_dir / LOG}",
    )


def _result(
    plan: SwarmPlan,
    split: Split,
    left: _Left,
    converted: Converted,
    ended: Ended,
    planned: Planned,
) -> SwarmResult:
    stopped = any(facts["interrupted"] for facts in left.facts) and not left.problem
    given_up = ended.given_up if stopped else None
    interrupted = ended.interrupted or (stopped and ended.loss is None and given_up is None)
    missing = max(0, left.started - converted.records)
    whole = ended.loss is None and given_up is None
    if not interrupted and whole:
        missing = max(missing, planned.missing(converted.users))
    harness = {**_harness(plan, split, left, converted), "records_missing": missing}
    if planned.digest is not None:
        harness["arrivals_digest"] = planned.digest
    if given_up is not None:
        harness["ended_early"] = given_up
    asked = max(left.started, len(planned.arrivals) if whole else 0)
    return SwarmResult(
        records=plan.out_dir / RECORDS,
        window=left.window,
        started=left.started,
        recorded=converted.records,
        outcomes=converted.outcomes,
        harness=harness,
        warnings=warnings_of(plan, harness, missing=missing, interrupted=interrupted),
        interrupted=interrupted,
        ended_early=given_up,
        invalid_reason=_invalid_reason(left.problem, ended, missing, asked),
    )


def _harness(plan: SwarmPlan, split: Split, left: _Left, converted: Converted) -> dict[str, Any]:
    """The generator's view of itself: of all its processes, and from the records."""
    harness = combined([facts["harness"] for facts in left.facts], len(plan.cores))
    harness["requests_started"] = left.started
    harness["cpu_us_per_token"] = _cpu_us_per_token(harness, converted)
    harness |= {**converted.delays, "processes": split.processes, "processes_reason": split.reason}
    if split.processes > 1:
        harness["master_cpu_s"] = (_facts(plan.out_dir / MASTER_FACTS) or {}).get("cpu_s")
    return harness


def _invalid_reason(problem: str | None, ended: Ended, missing: int, asked: int) -> str | None:
    without = f"{missing} of {asked} requests left no record"
    if problem is not None:
        return f"the load generator failed: {problem}"
    if ended.loss is not None and not ended.interrupted:
        loss = ended.loss
        said = f"; its log ends: {loss.log_tail}" if loss.log_tail else "; its log is empty"
        return f"{loss.name} was lost ({loss.how}), {without}{said}"
    return without if missing else None


def _cpu_us_per_token(harness: Mapping[str, Any], converted: Converted) -> float | None:
    cpu_s = harness.get("cpu_s")
    if cpu_s is None or not converted.window_tokens:
        return None
    return float(cpu_s) * 1e6 / converted.window_tokens


def _facts(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
