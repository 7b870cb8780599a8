"""Validity gates: what must hold for a cell's numbers to stand beside others, declared once.

Measuring states facts and judges nothing; the gates are applied here, so that an old run can be
judged again. A gate that cannot be decided (an older run, a server without counters) is neither
passed nor failed. A cell that fails one is invalid and leaves the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from quantswarm.bench.judge.backlog import backlog
from quantswarm.bench.judge.remarks import CACHED_SHARE, COUNTED_APART, LATE_MS, Evidence

SATURATED_CORE = 0.9
"""Linux leaves at most 95 % of a core to programs that go first, as the generator does."""
OWN_LAG_MS = 5.0
OWN_LAG_PART_OF_ITL = 0.1
"""A generator that its own work delays by more than the larger of the two sees no ITL truly."""
KEPT_UP = "kept-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One gate on one cell: the value found, its limit, and the words for when it failed."""

    passed: bool
    value: float
    limit: float
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Declaration of a gate; `of` is None where it does not apply or cannot be decided."""

    name: str
    measures: str
    limit: str
    unit: str
    of: Callable[[Evidence], Reading | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What became of one gate; `passed` is None when it is not known."""

    name: str
    passed: bool | None
    value: float | None
    limit: float | None
    unit: str
    said: str | None

    def as_json(self) -> dict[str, Any]:
        """The form that summaries store."""
        return asdict(self)


def passages(evidence: Evidence) -> tuple[Passage, ...]:
    """Every gate applied to one cell, in their declared order."""
    return tuple(_passage(gate, gate.of(evidence)) for gate in GATES)


def failed(found: Iterable[Passage]) -> tuple[Passage, ...]:
    """Those that were failed for certain."""
    return tuple(passage for passage in found if passage.passed is False)


def _passage(gate: Gate, reading: Reading | None) -> Passage:
    return Passage(
        name=gate.name,
        passed=reading.passed if reading else None,
        value=reading.value if reading else None,
        limit=reading.limit if reading else None,
        unit=gate.unit,
        said=None if reading is None or reading.passed else reading.said,
    )


def _at_most(value: float | None, limit: float, said: str) -> Reading | None:
    if value is None:
        return None
    return Reading(passed=value <= limit, value=value, limit=limit, said=said)


def _records(e: Evidence) -> Reading | None:
    """Started but not recorded, as measuring counted them and as the file shows now."""
    started = e.manifest.harness_number("requests_started")
    told = e.manifest.harness_number("records_missing")
    if started is None and told is None:
        return None
    lost = 0 if started is None else int(started) - len(e.cut.everything) - e.truncated
    missing = max(0, lost, int(told or 0))
    return _at_most(missing, 0, f"{missing} requests were started and have no record")


def _begun(e: Evidence) -> Reading:
    begun = len(e.cut.started)
    said = "no request began inside the measurement window"
    return Reading(passed=begun > 0, value=begun, limit=1, said=said)


def _alive(e: Evidence) -> Reading | None:
    alive = e.manifest.facts.get("server_alive")
    if not isinstance(alive, bool):
        return None
    return _at_most(0 if alive else 1, 0, "the server had ended before the load did")


def _schedule(e: Evidence) -> Reading | None:
    if not e.manifest.open_loop:
        return None
    late_ms = e.manifest.harness_number("dispatch_delay_p99_ms")
    said = f"the schedule was missed: requests left {late_ms or 0:.1f} ms late (p99)"
    return _at_most(late_ms, LATE_MS, f"{said}, over {LATE_MS:g}")


def _users(e: Evidence) -> Reading | None:
    seen = e.manifest.harness.get("users_seen")
    if e.manifest.open_loop or not isinstance(seen, list) or not seen:
        return None
    odd = max(abs(users - e.manifest.users) for users in seen)
    said = f"{min(seen)} to {max(seen)} users in the window, {e.manifest.users} planned"
    return _at_most(odd, 0, said)


def _saturated(e: Evidence) -> Reading | None:
    """The worse of two: a loop that is never done may get little of a core, and a process may
    work in other threads than its loop's."""
    shares = [e.manifest.harness_number(key) for key in ("cpu_share", "loop_busy_share")]
    busy = max((share for share in shares if share is not None), default=None)
    if busy is None:
        return None
    said = f"the load generator was saturated ({busy:.0%} of a core, or of the time)"
    return Reading(passed=busy < SATURATED_CORE, value=busy, limit=SATURATED_CORE, said=said)


def _own_lag(e: Evidence) -> Reading | None:
    """A server that sends in bursts saturates a client in each of them, and leaves it idle in
    between: a share of the whole time does not tell."""
    lag_ms = e.manifest.harness_number("own_lag_p99_ms")
    most_ms = max(OWN_LAG_MS, OWN_LAG_PART_OF_ITL * (e.latencies["itl"].quantiles["p50"] or 0.0))
    said = f"the load generator was behind with its own work by {lag_ms or 0:.0f} ms at p99"
    return _at_most(lag_ms, most_ms, said)


def _usage(e: Evidence) -> Reading | None:
    """By answers that came to their end: whole ones, and those of another length than asked."""
    ended = (r for r in e.cut.started if r.outcome in ("ok", "short", "long"))
    told = [(r.counted_tokens, r.output_tokens) for r in ended if r.output_tokens is not None]
    counted = sum(mine for mine, _ in told)
    if not counted:
        return None
    apart = sum(abs(mine - theirs) for mine, theirs in told) / counted
    theirs = sum(theirs for _, theirs in told)
    said = f"the server's usage says {theirs:,} tokens where its events hold {counted:,}"
    return _at_most(apart, COUNTED_APART, said)


def _alone(e: Evidence) -> Reading | None:
    """By events or by the answers' own usage, whichever explains more: that these two may be apart
    is for another gate."""
    view = e.engine
    if view is None or view.server_tokens is None or view.unexplained_tokens is None:
        return None
    told = sum(
        r.counted_tokens if r.output_tokens is None else r.output_tokens for r in e.cut.everything
    )
    beyond = view.server_tokens - told
    apart = min(view.unexplained_tokens, max(-beyond, beyond - view.unfinished_tokens, 0.0))
    said = (
        f"the server generated {view.server_tokens:,.0f} tokens in all, and "
        f"{view.client_tokens:,} came here"
    )
    return _at_most(apart / max(view.client_tokens, 1), COUNTED_APART, said)


def _cached(e: Evidence) -> Reading | None:
    """By the answers or by the server's counters, whichever says more."""
    if _cache_is_meant(e.manifest.facts.get("scenario")):
        return None
    told = (e.rates["cached_share"], e.engine.prefix_hit_rate if e.engine else None)
    share = max((found for found in told if found is not None), default=None)
    said = f"{share or 0:.0%} of the prompt tokens came from the server's cache"
    return _at_most(share, CACHED_SHARE, said)


def _cache_is_meant(scenario: Any) -> bool:
    """Whether a scenario's prompts begin alike on purpose, its own or those of a mix."""
    if not isinstance(scenario, dict):
        return False
    if scenario.get("shared_prefix_tokens") or scenario.get("turns", 1) != 1:
        return True
    parts = (part for value in scenario.values() if isinstance(value, list) for part in value)
    return any(_cache_is_meant(part) for part in parts)


def _kept_up(e: Evidence) -> Reading | None:
    found = backlog(e.cut) if e.cut.open_loop else None
    if found is None:
        return None
    first, _, last = found.thirds
    said = f"unstable: unanswered arrivals grew from {first:.0f} to {last:.0f} through the window"
    return Reading(passed=not found.growing, value=last - first, limit=0.0, said=said)


GATES: tuple[Gate, ...] = (
    Gate(
        name="records-complete",
        measures="requests that were started, or planned, and have no record",
        limit="0",
        unit="requests",
        of=_records,
    ),
    Gate(
        name="requests-begun",
        measures="requests begun in the measurement window",
        limit="at least 1",
        unit="requests",
        of=_begun,
    ),
    Gate(
        name="server-alive",
        measures="servers that quantswarm started and that ended before the load did",
        limit="0",
        unit="servers",
        of=_alive,
    ),
    Gate(
        name="server-alone",
        measures="tokens by the server's own counter that no request of this cell accounts for, "
        "or that are missing there, as a share of those that came",
        limit=f"{COUNTED_APART:.0%}",
        unit="share",
        of=_alone,
    ),
    Gate(
        name="schedule-kept",
        measures="how late the generator sent arrivals off, p99; open loop",
        limit=f"{LATE_MS:g} ms",
        unit="ms",
        of=_schedule,
    ),
    Gate(
        name="users-as-planned",
        measures="users in the window more or fewer than planned; closed loop",
        limit="0",
        unit="users",
        of=_users,
    ),
    Gate(
        name="generator-not-saturated",
        measures="the generator's processor time, as a share of a core, or the share of the window "
        "in which its loop never waited, whichever is more",
        limit=f"under {SATURATED_CORE:.0%}",
        unit="share",
        of=_saturated,
    ),
    Gate(
        name="own-lag",
        measures="how long segments waited for their stamp because of the generator's own work, "
        "p99 of all segments",
        limit=f"{OWN_LAG_MS:g} ms, or {OWN_LAG_PART_OF_ITL:.0%} of the median ITL if that is more",
        unit="ms",
        of=_own_lag,
    ),
    Gate(
        name="token-counts",
        measures="tokens by which the server's usage and the events apart, by answer, as a share",
        limit=f"{COUNTED_APART:.0%}",
        unit="share",
        of=_usage,
    ),
    Gate(
        name="prompts-not-cached",
        measures="prompt tokens answered from the server's cache, by its answers or its counters; "
        "not where the scenario is about that cache",
        limit=f"{CACHED_SHARE:.0%}",
        unit="share",
        of=_cached,
    ),
    Gate(
        name=KEPT_UP,
        measures="growth of the number of unanswered arrivals from the first to the last third of "
        "the window, where it is more than chance; open loop",
        limit="no growth; percentiles are withheld",
        unit="requests",
        of=_kept_up,
    ),
)
