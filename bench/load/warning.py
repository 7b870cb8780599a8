"""Named warnings about the load itself; those about numbers are the judge's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quantswarm.bench.load.plan import MOST_USERS_A_PROCESS, SwarmPlan

LATE_MS = 2.0
LATE_PART_OF_TTFT = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedWarning:
    """The name is stable; the rest are sentences: what was seen, its likely cause, what to do."""

    name: str
    seen: str
    cause: str
    advice: str

    def as_json(self) -> dict[str, str]:
        """The form that manifests store."""
        return asdict(self)


def warnings_of(
    plan: SwarmPlan, harness: Mapping[str, Any], *, missing: int, interrupted: bool
) -> tuple[NamedWarning, ...]:
    """All that one run deserves, in a fixed order."""
    return (
        *_missing(missing),
        *_interrupted(interrupted),
        *_ended_early(harness),
        *_crowded(plan, harness),
        *_sharing(plan, harness),
        *_dropped(harness),
        *_late(plan, harness),
        *_late_prompts(harness),
        *_changed_users(plan, harness),
    )


def _missing(missing: int) -> Iterator[NamedWarning]:
    if missing:
        yield NamedWarning(
            name="records-missing",
            seen=f"{missing} requests were started and left no record",
            cause="the load generator was killed, or its disk was full",
            advice="the cell is invalid: measure it again",
        )


def _interrupted(interrupted: bool) -> Iterator[NamedWarning]:
    if interrupted:
        yield NamedWarning(
            name="stopped-early",
            seen="the run was stopped before its end",
            cause="Ctrl-C, or a signal",
            advice="use what is there to look around, not to compare",
        )


def _ended_early(harness: Mapping[str, Any]) -> Iterator[NamedWarning]:
    reason = harness.get("ended_early")
    if reason:
        yield NamedWarning(
            name="ended-early",
            seen=f"the run was ended before its time: {reason}",
            cause="more is offered than the server can answer within the objectives",
            advice="its numbers are of a shorter window, and of answers that were cut off",
        )


def _crowded(plan: SwarmPlan, harness: Mapping[str, Any]) -> Iterator[NamedWarning]:
    users = _most_in_one_process(plan, harness)
    if users > MOST_USERS_A_PROCESS:
        yield NamedWarning(
            name="users-over-process-cap",
            seen=f"{users} users in one process; its accuracy was only shown up to "
            f"{MOST_USERS_A_PROCESS}",
            cause="one event loop reads all streams, one after another",
            advice=f"give --processes N, or measure at most {MOST_USERS_A_PROCESS}",
        )


def _most_in_one_process(plan: SwarmPlan, harness: Mapping[str, Any]) -> int:
    processes = harness.get("processes") or 1
    if plan.arrivals is None:
        return -(-plan.users // processes)
    parts = harness.get("workers") or [harness]
    return max(int(part.get("most_in_flight") or 0) for part in parts)


def _sharing(plan: SwarmPlan, harness: Mapping[str, Any]) -> Iterator[NamedWarning]:
    processes, cores = harness.get("processes") or 1, len(plan.cores)
    if 0 < cores < processes:
        on = "core" if cores == 1 else "cores"
        yield NamedWarning(
            name="processes-share-cores",
            seen=f"{processes} processes of the load generator on {cores} {on}",
            cause="so many were asked for with --processes",
            advice="they take turns: each loop has fewer streams to read, but there is no more "
            "processor for them all together, and each has its own fixed cost; give them more "
            "with --client-cores, or leave --processes out",
        )


def _dropped(harness: Mapping[str, Any]) -> Iterator[NamedWarning]:
    dropped, planned = harness.get("arrivals_dropped") or 0, harness.get("arrivals_planned")
    if dropped:
        yield NamedWarning(
            name="arrivals-dropped",
            seen=f"{dropped} of {planned} arrivals were not sent, and count as failures",
            cause="as many requests as may be in flight were unanswered when they came",
            advice="offer a lower rate; a higher --max-in-flight only makes the queue longer",
        )


def _late(plan: SwarmPlan, harness: Mapping[str, Any]) -> Iterator[NamedWarning]:
    late_ms, ttft_ms = harness.get("client_delay_p99_ms"), harness.get("ttft_p50_ms")
    if plan.arrivals is None or late_ms is None:
        return
    part_ms = LATE_PART_OF_TTFT * ttft_ms if ttft_ms is not None else LATE_MS
    if late_ms > min(LATE_MS, part_ms):
        yield NamedWarning(
            name="late-starts",
            seen=f"client delay p99 {late_ms:.2f} ms; the limits are {LATE_MS:g} ms and "
            f"{LATE_PART_OF_TTFT:.0%} of the median TTFT ({part_ms:.2f} ms)",
            cause="the load generator or the machine was busy, or the server slow to connect",
            advice="TTFT from the intended start holds this delay; give the generator a free core",
        )


def _late_prompts(harness: Mapping[str, Any]) -> Iterator[NamedWarning]:
    late = harness.get("prompts_late") or 0
    if late:
        yield NamedWarning(
            name="prompts-made-late",
            seen=f"{late} prompts were made while measuring, since none was left",
            cause="requests were answered faster than prompts could be made beside the load",
            advice="client delays may be larger; use longer answers or fewer users",
        )


def _changed_users(plan: SwarmPlan, harness: Mapping[str, Any]) -> Iterator[NamedWarning]:
    seen = harness.get("users_seen") or []
    if plan.arrivals is None and any(users != plan.users for users in seen):
        yield NamedWarning(
            name="users-changed",
            seen=f"{min(seen)} to {max(seen)} users in the window, {plan.users} planned",
            cause="somebody changed them on Locust's page",
            advice="do not compare this cell with others",
        )
