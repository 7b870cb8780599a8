"""Named warnings: each looks at one judged cell and says what was seen, the cause and the cure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

from quantswarm.bench.judge.backlog import backlog
from quantswarm.bench.judge.engine_view import EngineView, prefix_hits
from quantswarm.bench.judge.manifest import Manifest
from quantswarm.bench.judge.percentile import (
    Distribution,
    requests_needed,
    samples_needed,
)
from quantswarm.bench.judge.records import INTERRUPTED, Record
from quantswarm.bench.judge.resources import Resources
from quantswarm.bench.judge.steady import steadiness, tokens_by_second
from quantswarm.bench.judge.two_sides import Apart, compared
from quantswarm.bench.judge.window import Cut

SHORTEST_WINDOW_S = 10.0
ROUNDS = 5
CACHED_SHARE = 0.02
COALESCED_SHARE = 0.05
LATE_MS = 2.0
LATE_PART_OF_TTFT = 0.01
BUSY_CORE = 0.8
COUNTED_APART = 0.02
LATE_STAMP_MS = 5.0
STOLEN_SHARE = 0.02
SLOWED_SHARE = 0.05
THROTTLED_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A named warning; the name is stable, the other three are sentences for the reader."""

    name: str
    seen: str
    cause: str
    advice: str

    def as_json(self) -> dict[str, str]:
        """The form that manifests and summaries store."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a check may look at."""

    manifest: Manifest
    cut: Cut
    latencies: Mapping[str, Distribution]
    rates: Mapping[str, float | None]
    truncated: int
    engine: EngineView | None = None
    resources: Resources | None = None


def remarks(evidence: Evidence) -> tuple[Remark, ...]:
    """All remarks on one cell, in a fixed order: first what spoils numbers, then what to know."""
    return tuple(remark for check in CHECKS for remark in check(evidence))


def _failures(e: Evidence) -> Iterator[Remark]:
    failed, started = len(e.cut.failed), len(e.cut.started)
    if failed:
        yield Remark(
            name="failures",
            seen=f"{failed} of {started} requests failed ({failed / started:.1%})",
            cause="see the failure classes and the server's log of this cell",
            advice="do not trust latencies of the survivors alone; mend the cause, measure again",
        )
    outside = sum(not r.ok for r in e.cut.everything) - failed
    if outside:
        yield Remark(
            name="failures-outside-window",
            seen=f"{outside} requests failed in warm-up or drain",
            cause="the server was not ready for this load, or the drain was too short",
            advice="read the server's log; lengthen the drain if the class is 'interrupted'",
        )


def _interrupted(e: Evidence) -> Iterator[Remark]:
    count = sum(record.outcome == INTERRUPTED for record in e.cut.started)
    if count:
        yield Remark(
            name="interrupted-requests",
            seen=f"{count} requests begun in the window were cut off by the client",
            cause="they took longer than the drain, or the run was stopped by hand",
            advice="lengthen the drain, or ask for fewer output tokens",
        )


def _truncated(e: Evidence) -> Iterator[Remark]:
    if e.truncated:
        yield Remark(
            name="truncated-record",
            seen="the last line of records.jsonl is cut off and was left out",
            cause="the recorder was killed while it wrote",
            advice="one request is missing; measure again if the cell is short",
        )


def _few(e: Evidence) -> Iterator[Remark]:
    requests = e.latencies["e2e"].requests
    if requests < samples_needed(0.99):
        missing = "p95 and p99" if requests < samples_needed(0.95) else "p99"
        yield Remark(
            name="too-few-requests-for-p99",
            seen=f"{requests} whole answers; {missing} of request latencies withheld",
            cause=f"p95 needs {samples_needed(0.95)} and p99 {samples_needed(0.99)} requests",
            advice="lengthen the window (DURATION), or read the median only",
        )
    itl = e.latencies["itl"]
    if itl.n and itl.quantiles["p99"] is None:
        yield Remark(
            name="too-few-samples-for-itl-p99",
            seen=f"{itl.n} token gaps of {itl.requests} requests; p99 of ITL withheld",
            cause=f"it needs {samples_needed(0.99)} gaps of {requests_needed(0.99)} requests",
            advice="lengthen the window (DURATION)",
        )


def _short(e: Evidence) -> Iterator[Remark]:
    length_s, median_ms = e.cut.window.length_s, e.latencies["e2e"].quantiles["p50"]
    if length_s < SHORTEST_WINDOW_S:
        found = f"the window is {length_s:.1f} s long, under {SHORTEST_WINDOW_S:.0f} s"
    elif median_ms is not None and length_s < ROUNDS * median_ms / 1e3:
        found = f"the window ({length_s:.0f} s) holds under {ROUNDS} requests a user, one by one"
    else:
        return
    yield Remark(
        name="short-window",
        seen=found,
        cause="start and end of the window weigh too much",
        advice=f"measure at least {SHORTEST_WINDOW_S:.0f} s and {ROUNDS} median request times",
    )


def _not_steady(e: Evidence) -> Iterator[Remark]:
    found = steadiness(tokens_by_second(e.cut))
    if found is None or found.steady:
        return
    if found.trend is not None:
        seen = f"tokens a second changed by {found.trend:+.0%} over the window"
    else:
        seen = f"steady only after {found.settle_s:.0f} of {found.batches} s (MSER-5)"
    yield Remark(
        name="not-steady",
        seen=seen,
        cause="warm-up too short, or something else used the machine",
        advice="lengthen the warm-up, quiet the machine, measure again",
    )


def _unstable(e: Evidence) -> Iterator[Remark]:
    found = backlog(e.cut) if e.cut.open_loop else None
    if found is not None and found.growing:
        first, _, last = found.thirds
        yield Remark(
            name="unstable",
            seen=f"unanswered arrivals grew from {first:.0f} to {last:.0f} through the window",
            cause="more is offered than the server can answer: over its saturation; or answers "
            "take longer than the warm-up",
            advice="latencies here depend on the window's length; offer a lower rate",
        )


def _cached(e: Evidence) -> Iterator[Remark]:
    share = e.rates["cached_share"]
    if not e.manifest.prefix_sharing and share is not None and share > CACHED_SHARE:
        yield Remark(
            name="cached-prompts",
            seen=f"the server answered {share:.0%} of the prompt tokens from its cache",
            cause="prompts share a beginning, or were sent before",
            advice="TTFT is flattered: make prompts unique, or turn prefix caching off",
        )


def _idle_cache(e: Evidence) -> Iterator[Remark]:
    share, source = prefix_hits(e.engine, e.rates["cached_share"])
    if e.manifest.prefix_sharing and share is not None and share <= CACHED_SHARE:
        yield Remark(
            name="prefix-cache-idle",
            seen=f"prompts share their beginnings, and {share:.1%} of their tokens came from the "
            f"cache (by the {source})",
            cause="the engine has no prefix cache, or it is off or too small",
            advice="to measure the cache, see the engine's option prefix_cache",
        )


def _history(e: Evidence) -> Iterator[Remark]:
    """A later turn holds all that was said before, so its prompt is longer than the one before."""
    good = (record for record in e.cut.everything if record.ok)
    by_turn = {(record.conversation, record.turn or 0): record for record in good}
    later = [record for record in e.cut.good if record.follows]
    pairs = [(by_turn.get((r.conversation, (r.turn or 0) - 1)), r) for r in later]
    lost = sum(_shrunk(before, after) for before, after in pairs if before is not None)
    if lost:
        yield Remark(
            name="history-not-kept",
            seen=f"{lost} of {len(pairs)} later turns had a prompt no longer than that of the turn "
            "before, by the server's count",
            cause="the server cuts long conversations, or its chat template leaves messages out",
            advice="its work is not that of the scenario: give it a longer context, or fewer turns",
        )


def _shrunk(before: Record, after: Record) -> bool:
    if before.prompt_tokens is None or after.prompt_tokens is None:
        return False
    return after.prompt_tokens <= before.prompt_tokens


def _token_counts(e: Evidence) -> Iterator[Remark]:
    told = [record for record in e.cut.good if record.output_tokens is not None]
    odd = [record for record in told if record.output_tokens != record.counted_tokens]
    if odd:
        usage = sum(record.output_tokens or 0 for record in told)
        counted = sum(record.counted_tokens for record in told)
        yield Remark(
            name="token-count-mismatch",
            seen=f"{len(odd)} of {len(told)} answers: events hold {counted} tokens in all, "
            f"the server's usage says {usage}",
            cause="several tokens in one event, or tokens without text",
            advice="throughput and ITL follow the events, TPOT the usage; compare with care",
        )
    unknown = len(e.cut.good) - len(told)
    if unknown:
        yield Remark(
            name="no-usage",
            seen=f"{unknown} of {len(e.cut.good)} answers came without the server's token count",
            cause="the server ignores stream_options.include_usage",
            advice="token numbers rest on counted events alone",
        )


def _server_counts(e: Evidence) -> Iterator[Remark]:
    apart = e.engine.unexplained_tokens if e.engine else None
    if e.engine and apart is not None and apart > COUNTED_APART * max(e.engine.client_tokens, 1):
        yield Remark(
            name="server-counts-otherwise",
            seen=f"the server counted {e.engine.server_tokens:,.0f} generated tokens, the client "
            f"{e.engine.client_tokens:,}, over the whole cell",
            cause="tokens without text, other clients of this server, or tokens that were lost",
            advice="see that nothing else uses the server; trust no throughput before it is clear",
        )


def _server_times(e: Evidence) -> Iterator[Remark]:
    if e.engine is None:
        return
    lag_ms = e.manifest.harness_number("loop_lag_p99_ms")
    beyond = [found for found in compared(e.engine, e.latencies, lag_ms) if found.beyond]
    if beyond:
        yield Remark(
            name="server-times-otherwise",
            seen="; ".join(map(_told, beyond)),
            cause="time in the server's front end, the network or the client, which the server's "
            "own clock does not see; or tokens sent several at once",
            advice="users feel what the client saw; look at loop lag, coalesced events and the "
            "cores that server and generator share",
        )


def _told(found: Apart) -> str:
    bounds = (
        f"over {found.low_ms:g}"
        if found.high_ms is None
        else (f"{found.low_ms:g} to {found.high_ms:g}")
    )
    return (
        f"{found.metric.upper()} {found.quantile}: the client saw {found.client_ms:.1f} ms, the "
        f"server's histogram says {bounds} ms (allowed beyond: {found.allowed_ms:.1f} ms)"
    )


def _slowed(e: Evidence) -> Iterator[Remark]:
    used = e.resources
    if used is not None and (used.gpu_slowed_share or 0.0) > SLOWED_SHARE:
        yield Remark(
            name="gpu-slowed-down",
            seen=f"in {used.gpu_slowed_share:.0%} of the samples a GPU held its clocks down: "
            f"{', '.join(used.gpu_slowed_by)}",
            cause="its power or temperature limit was reached",
            advice="the number is true for this limit; cool it, or compare at the same power limit",
        )
    if used is not None and (used.throttled_share or 0.0) > THROTTLED_SHARE:
        yield Remark(
            name="cpu-quota-reached",
            seen=f"the control group was stopped for {used.throttled_share:.1%} of the window",
            cause="its CPU quota is smaller than what server and generator want",
            advice="raise the quota: each stop lasts tens of milliseconds and lands in p99",
        )


def _late_client(e: Evidence) -> Iterator[Remark]:
    seen = list(_lateness(e))
    if seen:
        yield Remark(
            name="client-could-not-keep-up",
            seen="; ".join(seen),
            cause="the load generator had too little processor, or shares cores with the server",
            advice="give it cores of its own, fewer users a process, or a quieter machine",
        )


def _lateness(e: Evidence) -> Iterator[str]:
    delay, ttft_ms = e.latencies["client_delay"], e.latencies["ttft_sent"].quantiles["p50"]
    worst = delay.quantiles["p99"] if delay.quantiles["p99"] is not None else delay.high
    if worst is not None and worst > max(LATE_MS, LATE_PART_OF_TTFT * (ttft_ms or 0.0)):
        which = "p99" if delay.quantiles["p99"] is not None else "largest"
        yield f"client delay {which} {worst:.1f} ms"
    lag_ms = e.manifest.harness_number("loop_lag_p99_ms")
    if lag_ms is not None and lag_ms > LATE_MS:
        yield f"event loop lag p99 {lag_ms:.1f} ms"
    late_ms = e.manifest.harness_number("stamp_lag_p99_ms")
    if late_ms is not None and late_ms > LATE_STAMP_MS:
        own_ms = e.manifest.harness_number("own_lag_p99_ms") or 0.0
        yield f"segments stamped late p99 {late_ms:.1f} ms, {own_ms:.1f} ms by its own work"
    busy = e.manifest.harness_number("cpu_share")
    if busy is not None and busy > BUSY_CORE:
        yield f"the generator used {busy:.0%} of a core"


def _stolen(e: Evidence) -> Iterator[Remark]:
    share = e.manifest.harness_number("steal_share")
    if share is not None and share > STOLEN_SHARE:
        yield Remark(
            name="stolen-processor",
            seen=f"{share:.1%} of the host's processor time in the window went to other machines",
            cause="this is a virtual machine, and its neighbours were busy",
            advice="compare only with cells measured beside it, or measure on a quieter host",
        )


def _coalesced(e: Evidence) -> Iterator[Remark]:
    share = e.rates["coalesced_share"]
    if share is not None and share > COALESCED_SHARE:
        yield Remark(
            name="coalesced-events",
            seen=f"{share:.0%} of the events arrived together with an earlier one",
            cause="the server or the network sends several events at once, or the client was late",
            advice="ITL has gaps of 0 and gaps too long; TPOT and throughput are sound",
        )


CHECKS: tuple[Callable[[Evidence], Iterator[Remark]], ...] = (
    _failures,
    _interrupted,
    _truncated,
    _late_client,
    _stolen,
    _unstable,
    _not_steady,
    _short,
    _few,
    _cached,
    _idle_cache,
    _history,
    _token_counts,
    _server_counts,
    _server_times,
    _slowed,
    _coalesced,
)
