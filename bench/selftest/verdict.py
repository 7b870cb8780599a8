"""Whether a case holds: pure, from the errors of both clients and what the harness said of itself.

On a host that is not quiet every client is late at times. So a bound is one on what the harness
adds: its error less that of the bare socket beside it. A server that was late itself proves
nothing, either way: such a run is void.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from quantswarm.bench.selftest.cases import (
    CPU_SHARE,
    FLAGGED,
    HOLDS_OR_FLAGGED,
    ITL_P50,
    ITL_P99,
    MEASURES,
    THROUGHPUT,
    TPOT,
    TTFT_P50,
    TTFT_P99,
    TimedCase,
)
from quantswarm.bench.selftest.compare_ledger import Errors, joined, quantile

LATEST_SERVER_MS = 1.0
LATEST_HOST_MS = 1.0
"""How much later than by its own work a client's stamps may be: the rest is the host's doing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One client against one server. `flagged` is the harness's own reason for calling the run
    invalid; `miscounts` are sentences, one for each thing that is not the ledger's."""

    errors: Errors
    miscounts: tuple[str, ...]
    cpu_share: float | None
    cpu_us_per_token: float | None
    flagged: str | None = None
    host_lag_p99_ms: float | None = None

    @property
    def server_lateness_p99_ms(self) -> float | None:
        """None when the server sent nothing."""
        return quantile(self.errors.lateness_ms, 0.99)

    @property
    def server_was_late(self) -> bool:
        """Whether the truth itself was too far from its plan."""
        late_ms = self.server_lateness_p99_ms
        return late_ms is None or late_ms > LATEST_SERVER_MS

    @property
    def host_was_busy(self) -> bool:
        """Whether the host kept the client from its core while segments waited."""
        return self.host_lag_p99_ms is not None and self.host_lag_p99_ms > LATEST_HOST_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCheck:
    """One bound, an upper limit for `harness` less `reference`; None: not measured."""

    measure: str
    bound: float
    harness: float | None
    reference: float | None
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One line of the self-test; what does not apply to a case, or was not measured, is None.

    `why` names all that keeps it from being ok, void first.
    """

    name: str
    ok: bool
    void: bool
    why: tuple[str, ...]
    measures: Mapping[str, float | None] = field(default_factory=dict)
    reference: Mapping[str, float | None] = field(default_factory=dict)
    cpu_us_per_token: float | None = None
    cpu_share: float | None = None
    server_lateness_p99_ms: float | None = None
    bounds: tuple[BoundCheck, ...] = ()
    noise_ms: float | None = None
    flagged: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    runs: int = 0

    def as_json(self) -> dict[str, Any]:
        """The form of the JSON document."""
        return {
            "name": self.name,
            **{key: self.measures.get(key) for key in (TTFT_P50, TTFT_P99, ITL_P50, ITL_P99)},
            "throughput_error": self.measures.get(THROUGHPUT),
            "cpu_us_per_token": self.cpu_us_per_token,
            "reference_itl_p99_error_ms": self.reference.get(ITL_P99),
            "ok": self.ok,
            "void": self.void,
            "why": list(self.why),
            "tpot_error": self.measures.get(TPOT),
            "cpu_share": self.cpu_share,
            "server_lateness_p99_ms": self.server_lateness_p99_ms,
            "reference": {key: self.reference.get(key) for key in MEASURES},
            "bounds": [asdict(check) for check in self.bounds],
            "flagged": self.flagged,
            "counts": dict(self.counts),
            "runs": self.runs,
        }


def measures_of(errors: Errors) -> dict[str, float | None]:
    """The numbers that bounds are about; TPOT's is the largest of any request."""
    return {
        TTFT_P50: quantile(errors.ttft_ms, 0.5),
        TTFT_P99: quantile(errors.ttft_ms, 0.99),
        ITL_P50: quantile(errors.itl_ms, 0.5),
        ITL_P99: quantile(errors.itl_ms, 0.99),
        TPOT: max(errors.tpot, default=None),
        THROUGHPUT: errors.throughput,
    }


def check(measure: str, bound: float, harness: float | None, reference: float | None) -> BoundCheck:
    """What was not measured does not hold; a reference that is missing takes nothing off."""
    added = None if harness is None else harness - (reference or 0.0)
    return BoundCheck(
        measure=measure,
        bound=bound,
        harness=harness,
        reference=reference,
        holds=added is not None and added < bound,
    )


def verdict(
    case: TimedCase, harness: Run, references: Sequence[Run], *, runs: int = 0
) -> CaseResult:
    """Judge one timed case from its last run of the harness and the references around it."""
    seen = {**measures_of(harness.errors), CPU_SHARE: harness.cpu_share}
    bare = measures_of(joined([run.errors for run in references]))
    checks = tuple(
        check(name, bound, seen[name], bare.get(name)) for name, bound in case.bounds.items()
    )
    everyone = [harness, *references]
    late = [run for run in everyone if case.server_must_keep_up and run.server_was_late]
    disturbed = [run for run in everyone if case.bounds and run.host_was_busy]
    void = bool(late or disturbed)
    why = [
        *map(_late, late),
        *map(_disturbed, disturbed),
        *_counted_wrong(everyone),
        *_broken(case, checks, harness.flagged),
    ]
    return CaseResult(
        name=case.name,
        ok=not why,
        void=void,
        why=tuple(why),
        measures=seen,
        reference=bare,
        cpu_us_per_token=harness.cpu_us_per_token,
        cpu_share=harness.cpu_share,
        server_lateness_p99_ms=_worst(run.server_lateness_p99_ms for run in everyone),
        bounds=checks,
        noise_ms=noise_ms(references),
        flagged=harness.flagged,
        runs=runs,
    )


def _late(run: Run) -> str:
    late_ms = run.server_lateness_p99_ms
    said = "sent nothing" if late_ms is None else f"was {late_ms:.1f} ms late at p99"
    return f"void: the server itself {said}, over {LATEST_SERVER_MS:.0f} ms"


def _disturbed(run: Run) -> str:
    return (
        f"void: the host kept the harness from its core, stamps were {run.host_lag_p99_ms:.1f} ms "
        f"late at p99 beyond its own work, over {LATEST_HOST_MS:.0f} ms"
    )


def _counted_wrong(runs: Iterable[Run]) -> list[str]:
    found = [sentence for run in runs for sentence in run.miscounts]
    return [*found[:3], f"and {len(found) - 3} more miscounts"] if len(found) > 3 else found


def _broken(case: TimedCase, checks: Sequence[BoundCheck], flagged: str | None) -> list[str]:
    if case.wants == FLAGGED:
        return [] if flagged else ["saturated on purpose, and the run did not call itself invalid"]
    if flagged:
        return [] if case.wants == HOLDS_OR_FLAGGED else [f"called itself invalid: {flagged}"]
    return [_over(one) for one in checks if not one.holds]


def _over(one: BoundCheck) -> str:
    if one.harness is None:
        return f"{one.measure} was not measured"
    less = f" − {one.reference:.4g} of the reference" if one.reference is not None else ""
    return f"{one.measure} {one.harness:.4g}{less} is not under {one.bound:g}"


def _worst(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def noise_ms(references: Sequence[Run]) -> float | None:
    """How much the p99 error of ITL differs between runs of the same bare client."""
    found = [quantile(run.errors.itl_ms, 0.99) for run in references]
    known = [value for value in found if value is not None]
    return max(known) - min(known) if len(known) > 1 else None


def document(results: Sequence[CaseResult]) -> dict[str, Any]:
    """The self-test's whole answer; `noise_floor_ms` is the largest difference in any case."""
    return {
        "valid": bool(results) and all(result.ok for result in results),
        "noise_floor_ms": _worst(result.noise_ms for result in results),
        "cases": [result.as_json() for result in results],
    }
