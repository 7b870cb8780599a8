"""Goodput: which requests met the objectives, and what share of all that were begun they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from quantswarm.bench.judge import latency
from quantswarm.bench.judge.metric import Rate
from quantswarm.bench.judge.proportion import wilson
from quantswarm.bench.judge.records import Record
from quantswarm.bench.judge.window import Cut
from quantswarm.bench.slo import Slo

_OF: dict[str, Callable[[Record], latency.Samples]] = {
    "ttft": latency.ttft,
    "tpot": latency.tpot,
    "e2e": latency.e2e,
}


def keeps(record: Record, name: str, limit_ms: float) -> bool:
    """Whether a whole answer kept one limit. Undefined, as TPOT of one token is, does not."""
    samples = _OF[name](record)
    return record.ok and bool(samples) and samples[0] <= limit_ms


def met(record: Record, slo: Slo) -> bool:
    """Whether a request succeeded and kept every limit; failures of any class did not."""
    return record.ok and all(keeps(record, name, limit) for name, limit in slo.limits.items())


def met_count(cut: Cut) -> int | None:
    """Requests begun in the window that met everything; None where nothing was promised."""
    return None if cut.slo is None else sum(met(record, cut.slo) for record in cut.started)


def goodput(cut: Cut) -> float | None:
    """Requests begun in the window that met every objective, per second of window; 0 is one."""
    good = met_count(cut) if cut.started else None
    return None if good is None else good / cut.window.length_s


def slo_attainment(cut: Cut) -> float | None:
    """Their share of all requests begun in the window."""
    good = met_count(cut)
    return good / len(cut.started) if good is not None and cut.started else None


def _kept_share(cut: Cut, *, name: str) -> float | None:
    """Share that succeeded and kept this one limit, whatever became of the others."""
    limit = cut.slo.limits.get(name) if cut.slo else None
    if limit is None or not cut.started:
        return None
    return sum(keeps(record, name, limit) for record in cut.started) / len(cut.started)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attainment:
    """Objectives of a cell and how many requests met them; `low` and `high` are Wilson's 95 %.

    `of` says of which requests. A closed loop offers no rate: its users ask less often where
    answers take longer, so its share says nothing about a load that is offered.
    """

    slo: Slo
    met: int
    begun: int
    low: float
    high: float
    of: str

    def as_json(self) -> dict[str, Any]:
        """The form that summaries store."""
        return asdict(self)


def attainment(cut: Cut) -> Attainment | None:
    """None where no objective was set, or nothing began in the window."""
    good = met_count(cut)
    interval = None if good is None else wilson(good, len(cut.started))
    if cut.slo is None or good is None or interval is None:
        return None
    users = f"{cut.users} user{'' if cut.users == 1 else 's'}"
    return Attainment(
        slo=cut.slo,
        met=good,
        begun=len(cut.started),
        low=interval[0],
        high=interval[1],
        of="offered by the schedule" if cut.open_loop else f"asked by {users} in a closed loop",
    )


GOODPUT_RATES: tuple[Rate, ...] = (
    Rate(
        name="goodput",
        title="goodput",
        unit="req/s",
        formula="requests begun in the window, whole and within every SLO, / (end_ns − start_ns)",
        larger_is_better=True,
        needs=("outcome", "event_ns", "intended_ns", "output_tokens", "slo", "window"),
        elsewhere={
            "vLLM bench serve": "request goodput (its TTFT and E2E start at the sending)",
            "AIPerf": "goodput (likewise)",
        },
        of=goodput,
    ),
    Rate(
        name="slo_attainment",
        title="SLO attainment",
        unit="share",
        formula="requests begun in the window, whole and within every SLO, / requests begun in it",
        larger_is_better=True,
        needs=("outcome", "event_ns", "intended_ns", "output_tokens", "slo", "window"),
        of=slo_attainment,
    ),
    *(
        Rate(
            name=f"slo_attainment_{name}",
            title=f"SLO attainment, {name.upper()} alone",
            unit="share",
            formula=f"requests begun in the window, whole and with {name} ≤ its limit, "
            "/ requests begun in it",
            larger_is_better=True,
            needs=("outcome", *needs, "slo", "window"),
            of=partial(_kept_share, name=name),
        )
        for name, needs in (
            ("ttft", ("event_ns", "intended_ns")),
            ("tpot", ("event_ns", "output_tokens")),
            ("e2e", ("event_ns", "intended_ns")),
        )
    ),
)
