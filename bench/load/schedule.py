"""The arrivals of one open-loop run, decided before it and stored with it: `schedule.jsonl`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from quantswarm.bench.load.arrivals import TRACE, offsets_ns
from quantswarm.bench.load.draft import draft_of
from quantswarm.bench.load.lengths import FEWEST_PROMPT_TOKENS
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.traces import read_trace
from quantswarm.models.errors import BadFile, UserMistake

SCHEDULE = "schedule.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One planned request: its number, its start from the swarm's start, its exact lengths.

    Lengths are None where a data set gives them. Later turns of a conversation are not planned:
    they follow the answers.
    """

    index: int
    offset_ns: int
    prompt_tokens: int | None
    output_tokens: int | None


def schedule_of(plan: SwarmPlan) -> tuple[Arrival, ...]:
    """All arrivals of warm-up and window; empty for a closed loop. A pure function of the plan
    and its trace file: lengths a trace gives are used, but for what no prompt or answer can be."""
    if plan.arrivals is None:
        return ()
    if plan.arrivals.kind == TRACE:
        found = _from_trace(plan)
    else:
        offsets = offsets_ns(
            plan.arrivals, warmup_s=plan.warmup, duration_s=plan.duration, seed=plan.seed
        )
        found = [
            (offset, *draft_of(plan.scenario, seed=plan.seed, number=number).turns[0])
            for number, offset in enumerate(offsets)
        ]
    return tuple(
        Arrival(index=index, offset_ns=offset, prompt_tokens=prompt, output_tokens=output)
        for index, (offset, prompt, output) in enumerate(found)
    )


def _from_trace(plan: SwarmPlan) -> list[tuple[int, int | None, int | None]]:
    assert plan.arrivals is not None
    assert plan.arrivals.trace is not None
    if not plan.scenario.is_plain:
        raise UserMistake(
            f"trace {plan.arrivals.trace.name} with scenario {plan.scenario.name}",
            "a trace brings the length of every request, and so does this scenario",
            next_step="give a scenario without prefixes, turns, mix or data (--scenario default)",
        )
    span_ns = round((plan.warmup + plan.duration) * 1e9)
    return [
        (e.offset_ns, max(FEWEST_PROMPT_TOKENS, e.prompt_tokens), max(1, e.output_tokens))
        for e in read_trace(plan.arrivals.trace)
        if e.offset_ns < span_ns
    ]


def check_schedule(plan: SwarmPlan, schedule: Sequence[Arrival]) -> None:
    """`UserMistake` when nothing at all would begin inside the window."""
    warmup_ns = round(plan.warmup * 1e9)
    if not any(arrival.offset_ns >= warmup_ns for arrival in schedule):
        raise UserMistake(
            f"open loop of {len(schedule)} arrivals",
            f"none of them falls into the window of {plan.duration:g} s",
            next_step="raise the rate or the duration, or shorten the warm-up",
        )


def write_schedule(folder: Path, schedule: Sequence[Arrival]) -> str:
    """Store the plan of arrivals in a cell's folder; returns its digest."""
    lines = [json.dumps(asdict(arrival), separators=(",", ":")) + "\n" for arrival in schedule]
    content = "".join(lines).encode()
    (folder / SCHEDULE).write_bytes(content)
    return hashlib.sha256(content).hexdigest()[:16]


def read_schedule(folder: Path) -> tuple[Arrival, ...]:
    """What `write_schedule` stored; empty where a folder holds none, as a closed loop's does."""
    path = folder / SCHEDULE
    if not path.exists():
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return tuple(Arrival(**json.loads(line)) for line in lines)
    except (ValueError, TypeError) as error:
        raise BadFile(f"schedule {path}", f"not a plan of arrivals: {error}") from None
