"""What every tool is asked to do: the same number of requests of the same server, case by case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantswarm.bench.selftest.cases import (
    ITL_P50,
    ITL_P99,
    LOCKSTEP,
    MANY_STREAMS,
    ONE_STREAM,
    TPOT,
    TTFT_P50,
    TTFT_P99,
)
from quantswarm.models.errors import UnknownName

FAULT_KINDS = (*("429", "500", "html", "error-event", "malformed", "reset", "close", "truncated"),)
"""Those that end by themselves: how long a tool waits for what never comes is a setting."""
_AFTER_TOKENS = ("error-event", "malformed", "reset", "close", "truncated")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCase:
    """`behaviour` is the server's. `bounds` are those that our own client is held to."""

    name: str
    summary: str
    behaviour: str
    users: int
    requests: int
    output_tokens: int
    lasts_s: float
    api: str = "completions"
    bounds: Mapping[str, float] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()

    @property
    def has_faults(self) -> bool:
        """Whether it is about failures, and its times mean nothing."""
        return bool(self.kinds)


def _faults() -> LoadCase:
    """One request at a time, every second one a fault: so its place says which it met."""
    said = [
        f"fault={kind}@index:{2 * place + 1}{'@token:3' if kind in _AFTER_TOKENS else ''}"
        for place, kind in enumerate(FAULT_KINDS)
    ]
    return LoadCase(
        name="faults",
        summary="1 stream, every second answer a fault, eight kinds",
        behaviour=",".join(["ttft=40ms,itl=5ms", *said]),
        users=1,
        requests=2 * len(FAULT_KINDS) + 1,
        output_tokens=8,
        lasts_s=3.0,
        kinds=FAULT_KINDS,
    )


CASES: tuple[LoadCase, ...] = (
    LoadCase(
        name="one-stream",
        summary="1 stream, TTFT 50 ms, ITL 10 ms, 5 answers of 100 tokens",
        behaviour=ONE_STREAM.behaviour,
        users=1,
        requests=5,
        output_tokens=100,
        lasts_s=5.2,
        bounds={TTFT_P50: 1.0, TTFT_P99: 3.0, ITL_P50: 0.1, ITL_P99: 1.0, TPOT: 0.001},
    ),
    LoadCase(
        name="shapes",
        summary="1 stream of the chat API: early role chunk, 4 tokens an event, usage at the end",
        behaviour="ttft=50ms,itl=10ms,role=early,per_event=4,finish=apart",
        users=1,
        requests=5,
        output_tokens=100,
        lasts_s=5.2,
        api="chat",
        bounds={TTFT_P50: 1.0, TTFT_P99: 3.0, TPOT: 0.001},
    ),
    LoadCase(
        name="64-streams-1000",
        summary=MANY_STREAMS.summary,
        behaviour=MANY_STREAMS.behaviour,
        users=64,
        requests=192,
        output_tokens=32,
        lasts_s=6.2,
        bounds={TTFT_P99: 5.0, ITL_P99: 2.0, TPOT: 0.005},
    ),
    LoadCase(
        name="64-streams-5000-lockstep",
        summary=LOCKSTEP.summary,
        behaviour=LOCKSTEP.behaviour,
        users=64,
        requests=192,
        output_tokens=150,
        lasts_s=5.8,
        bounds={TTFT_P99: 10.0, ITL_P99: 5.0},
    ),
    _faults(),
)


def load_case_named(name: str) -> LoadCase:
    """The case of that name; `UnknownName` with near misses."""
    known = {case.name: case for case in CASES}
    if name not in known:
        raise UnknownName("case", name, known, next_step="quantswarm selftest --peers --case NAME")
    return known[name]
