"""Drive one cell: start the swarm's process, follow it, turn what it caught into records."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench.load.child import Child, Ended
from quantswarm.bench.load.convert import Converted, convert
from quantswarm.bench.load.link import endpoint_of
from quantswarm.bench.load.plan import FACTS, SPOOL, SwarmPlan
from quantswarm.bench.load.progress import Progress
from quantswarm.bench.load.schedule import (
    SCHEDULE,
    Arrival,
    check_schedule,
    schedule_of,
    write_schedule,
)
from quantswarm.bench.load.warning import NamedWarning, warnings_of
from quantswarm.models.errors import BadFile, PortInUse, UserMistake

RECORDS = "records.jsonl"
PLAN = "swarm-plan.json"
LOG = "swarm.log"
"""Names of the parent's files in the plan's folder; those of the child are beside the plan."""


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
    prompts_late, users_seen, scheduling; of an open loop also arrivals_planned, arrivals_dropped,
    arrivals_digest, most_in_flight, dispatch_delay_{p50,p99,max}_ms.
    `invalid_reason` is set when records are missing or the generator itself failed: then no number
    may be published. Whether the numbers of other runs may be is for the judge's gates. A run
    stopped before its first user may leave no records file at all.
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


def drive(plan: SwarmPlan, on_progress: Callable[[Progress], None] | None = None) -> SwarmResult:
    """Run the plan to its end and write `records.jsonl` in its folder.

    `on_progress` is called about once a second. Ctrl-C stops the swarm, keeps what it caught and
    returns with `interrupted`; a second one kills it, and still keeps that. Raises `UserMistake`,
    `PortInUse`, `BadFile` before anything starts, `RunFailed` when the process died by itself.
    """
    check(plan)
    schedule = schedule_of(plan)
    if plan.arrivals is not None:
        check_schedule(plan, schedule)
    _clear(plan.out_dir)
    digest = write_schedule(plan.out_dir, schedule) if plan.arrivals is not None else None
    plan_file = plan.out_dir / PLAN
    plan_file.write_text(plan.dumps(), encoding="utf-8")
    child = Child(plan.out_dir / LOG, plan.warmup + plan.duration + plan.drain)
    ended = child.run(plan_file, on_progress or (lambda _: None))
    return _harvest(plan, child, ended, _Planned(arrivals=schedule, digest=digest))


def check(plan: SwarmPlan) -> None:
    """Everything about a plan that can be known to be wrong before it runs."""
    endpoint_of(plan.base_url)
    if plan.arrivals is not None:
        plan.arrivals.check()
    elif plan.users < 1:
        raise UserMistake(f"{plan.users} users", "a swarm needs one", next_step="give USERS=1")
    for file in (plan.tokenizer, plan.api_key_file):
        if file is not None and not file.exists():
            raise BadFile(f"file {file}", "it does not exist", next_step="check the path")
    if (plan.out_dir / RECORDS).exists():
        raise BadFile(
            f"output folder {plan.out_dir}",
            "it holds records already, and measurements are never overwritten",
            next_step="give another folder, or remove this one",
        )
    if plan.ui_port is not None:
        _check_port(plan.ui_port)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortInUse(
                f"Locust's page on port {port}",
                f"it cannot be opened ({error.strerror})",
                next_step="choose another port with --ui-port",
            ) from None


def _clear(folder: Path) -> None:
    """Leftovers of a run that was killed before its records were written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (SPOOL, FACTS, SCHEDULE, f"{RECORDS}.partial"):
        (folder / name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """The schedule of an open loop, and its digest; nothing of either in a closed one."""

    arrivals: Sequence[Arrival]
    digest: str | None

    def missing(self, users: frozenset[int]) -> int:
        """Arrivals that no record is of."""
        return sum(arrival.index not in users for arrival in self.arrivals)


def _harvest(plan: SwarmPlan, child: Child, ended: Ended, planned: _Planned) -> SwarmResult:
    facts = _facts(plan.out_dir / FACTS)
    stamps = facts["window"] if facts else {}
    window = Window(
        **{k: stamps.get(k) for k in ("swarm_start_ns", "start_ns", "end_ns", "drained_ns")}
    )
    records, spool = plan.out_dir / RECORDS, plan.out_dir / SPOOL
    if spool.exists():
        converted = convert(spool, records, window.holds)
    else:
        converted = Converted(records=0, outcomes={}, window_tokens=0)
    if facts is None and not ended.interrupted:
        raise child.failure(ended, converted.records)
    spool.unlink(missing_ok=True)
    return _result(plan, facts, window, converted, ended, planned)


def _result(
    plan: SwarmPlan,
    facts: dict[str, Any] | None,
    window: Window,
    converted: Converted,
    ended: Ended,
    planned: _Planned,
) -> SwarmResult:
    started = facts["started"] if facts else ended.started
    stopped = bool(facts and facts["interrupted"] and not facts["problem"])
    interrupted = ended.interrupted or stopped
    missing = max(0, started - converted.records)
    if not interrupted:
        missing = max(missing, planned.missing(converted.users))
    harness = dict(facts["harness"]) if facts else {"requests_started": started}
    harness["records_missing"] = missing
    harness["cpu_us_per_token"] = _cpu_us_per_token(harness, converted)
    harness.update(converted.delays)
    if planned.digest is not None:
        harness["arrivals_digest"] = planned.digest
    return SwarmResult(
        records=plan.out_dir / RECORDS,
        window=window,
        started=started,
        recorded=converted.records,
        outcomes=converted.outcomes,
        harness=harness,
        warnings=warnings_of(plan, harness, missing=missing, interrupted=interrupted),
        interrupted=interrupted,
        invalid_reason=_invalid_reason(facts, missing, max(started, len(planned.arrivals))),
    )


def _invalid_reason(facts: dict[str, Any] | None, missing: int, started: int) -> str | None:
    if facts and facts["problem"]:
        return f"the load generator failed: {facts['problem']}"
    return f"{missing} of {started} requests left no record" if missing else None


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
