"""Metrics with one value a cell. Each is None, never 0, where it cannot be known."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from quantswarm.bench.judge import latency
from quantswarm.bench.judge.goodput import GOODPUT_RATES
from quantswarm.bench.judge.metric import Rate
from quantswarm.bench.judge.records import INTERRUPTED, OK, Record
from quantswarm.bench.judge.window import Cut


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def output_throughput(cut: Cut) -> float | None:
    """Tokens stamped inside the window by any request that did not fail, per second of window.

    Begun in the warm-up or finished in the drain, a request counts with the tokens that fall
    inside. So does one that the client itself cut off at the end ("interrupted"); tokens of
    failures do not: nobody could use them.
    """
    if not any(record.ok for record in cut.started):
        return None
    holds = cut.window.holds
    tokens = sum(
        count
        for record in cut.everything
        if record.outcome in (OK, INTERRUPTED)
        for stamp, count in zip(record.event_ns, record.event_tokens, strict=True)
        if holds(stamp)
    )
    return _share(tokens, cut.window.length_s)


def request_throughput(cut: Cut) -> float | None:
    """Whole answers to requests begun in the window, per second of window."""
    return _share(len(cut.good), cut.window.length_s) if cut.good else None


def offered_rate(cut: Cut) -> float | None:
    """Arrivals by the schedule, sent or dropped, per second of window; a closed loop offers none.

    Counted from the records: a run in which an arrival has none is invalid. Later turns of a
    conversation are no arrivals.
    """
    arrivals = sum(not record.follows for record in cut.started)
    return _share(arrivals, cut.window.length_s) if cut.open_loop else None


def achieved_rate(cut: Cut) -> float | None:
    """Requests handed to a socket inside the window, whenever they were due, per second of it."""
    sent = sum(r.sent_ns is not None and cut.window.holds(r.sent_ns) for r in cut.everything)
    return _share(sent, cut.window.length_s) if cut.everything else None


def concurrency(cut: Cut) -> float | None:
    """Mean number of requests in flight over the window, failures among them."""
    window = cut.window
    overlap_ns = sum(
        max(0, min(record.end_ns, window.end_ns) - max(record.sent_ns, window.start_ns))
        for record in cut.everything
        if record.sent_ns is not None
    )
    return _share(overlap_ns / 1e9, window.length_s) if cut.everything else None


def _alone(cut: Cut, of: Callable[[Record], float | None]) -> float | None:
    """Median over whole answers when one user was alone: with more, queueing is in the number."""
    if cut.users != 1:
        return None
    return _median([of(record) for record in cut.good])


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _prefill(record: Record) -> float | None:
    wait_ms = latency.ttft_sent(record)
    if record.prompt_tokens is None or not wait_ms or wait_ms[0] <= 0:
        return None
    return record.prompt_tokens / (wait_ms[0] / 1e3)


def _decode(record: Record) -> float | None:
    tpot_ms = latency.tpot(record)
    return 1e3 / tpot_ms[0] if tpot_ms and tpot_ms[0] > 0 else None


def prefill_rate(cut: Cut) -> float | None:
    """Median of prompt tokens / TTFT from the actual start; at one user only."""
    return _alone(cut, _prefill)


def decode_rate(cut: Cut) -> float | None:
    """Median of 1 / TPOT; at one user only."""
    return _alone(cut, _decode)


def _timing(record: Record, key: str) -> float | None:
    value = (record.server_timings or {}).get(key)
    return float(value) if isinstance(value, int | float) and value > 0 else None


def server_prefill_rate(cut: Cut) -> float | None:
    """Median of the server's own prompt speed, where it reports one (llama-server's `timings`)."""
    return _median([_timing(record, "prompt_per_second") for record in cut.good])


def server_decode_rate(cut: Cut) -> float | None:
    """Median of the server's own speed of generating, by request, where it reports one."""
    return _median([_timing(record, "predicted_per_second") for record in cut.good])


def failure_share(cut: Cut) -> float | None:
    """Failed requests / all requests begun in the window."""
    return _share(len(cut.failed), len(cut.started))


def conn_reused_share(cut: Cut) -> float | None:
    """Share of requests sent over a connection that had served another."""
    return _share(sum(r.conn_reused for r in cut.started), len(cut.started))


def coalesced_share(cut: Cut) -> float | None:
    """Share of events that came in one read with an earlier one: they have no stamp of theirs."""
    events = sum(len(record.event_ns) for record in cut.started)
    return _share(sum(record.coalesced for record in cut.started), events)


def cached_share(cut: Cut) -> float | None:
    """Share of prompt tokens that the server says it had cached; None if it says nothing."""
    told = [r for r in cut.good if r.cached_tokens is not None and r.prompt_tokens]
    prompt = sum(record.prompt_tokens or 0 for record in told)
    return _share(sum(record.cached_tokens or 0 for record in told), prompt)


RATES: tuple[Rate, ...] = (
    Rate(
        name="output_throughput",
        title="output throughput",
        unit="tok/s",
        formula="Σ event_tokens[i] with start_ns ≤ event_ns[i] < end_ns, of requests that did not "
        "fail, / (end_ns − start_ns)",
        larger_is_better=True,
        needs=("event_ns", "event_tokens", "window"),
        elsewhere={
            "vLLM bench serve": "output token throughput (tokens of finished requests / duration)",
            "GuideLLM": "output tokens per second",
            "AIPerf": "output_token_throughput",
        },
        of=output_throughput,
    ),
    Rate(
        name="request_throughput",
        title="request throughput",
        unit="req/s",
        formula="whole answers to requests begun in the window / (end_ns − start_ns)",
        larger_is_better=True,
        needs=("intended_ns", "outcome", "window"),
        elsewhere={
            "vLLM bench serve": "request throughput",
            "GuideLLM": "requests per second",
            "AIPerf": "request_throughput",
        },
        of=request_throughput,
    ),
    Rate(
        name="offered_rate",
        title="offered rate, of an open loop",
        unit="req/s",
        formula="arrivals with start_ns ≤ intended_ns < end_ns / (end_ns − start_ns); a "
        "conversation is one, its later turns are not counted",
        larger_is_better=None,
        needs=("intended_ns", "window"),
        elsewhere={"vLLM bench serve": "request rate (as asked for)"},
        of=offered_rate,
    ),
    Rate(
        name="achieved_rate",
        title="achieved rate",
        unit="req/s",
        formula="requests with start_ns ≤ sent_ns < end_ns / (end_ns − start_ns)",
        larger_is_better=None,
        needs=("sent_ns", "window"),
        of=achieved_rate,
    ),
    Rate(
        name="concurrency",
        title="achieved concurrency",
        unit="requests",
        formula="Σ overlap of [sent_ns, end_ns] with the window / (end_ns − start_ns)",
        larger_is_better=None,
        needs=("sent_ns", "end_ns", "window"),
        elsewhere={"GuideLLM": "request concurrency"},
        of=concurrency,
    ),
    Rate(
        name="prefill_rate",
        title="prefill rate, at 1 user",
        unit="tok/s",
        formula="median of prompt_tokens / (event_ns[0] − sent_ns)",
        larger_is_better=True,
        needs=("prompt_tokens", "event_ns", "sent_ns"),
        of=prefill_rate,
    ),
    Rate(
        name="decode_rate",
        title="decode rate, at 1 user",
        unit="tok/s",
        formula="median of 1 / TPOT",
        larger_is_better=True,
        needs=("event_ns", "output_tokens"),
        of=decode_rate,
    ),
    Rate(
        name="server_prefill_rate",
        title="prefill rate by the server's own clock",
        unit="tok/s",
        formula="median of server_timings.prompt_per_second",
        larger_is_better=True,
        needs=("server_timings",),
        elsewhere={"llama-server": "timings.prompt_per_second"},
        of=server_prefill_rate,
    ),
    Rate(
        name="server_decode_rate",
        title="decode rate of a request by the server's own clock",
        unit="tok/s",
        formula="median of server_timings.predicted_per_second",
        larger_is_better=True,
        needs=("server_timings",),
        elsewhere={"llama-server": "timings.predicted_per_second"},
        of=server_decode_rate,
    ),
    Rate(
        name="failure_share",
        title="failed requests",
        unit="share",
        formula="requests begun in the window whose outcome is not ok / requests begun in it",
        larger_is_better=False,
        needs=("outcome", "intended_ns", "window"),
        of=failure_share,
    ),
    Rate(
        name="conn_reused_share",
        title="requests on a reused connection",
        unit="share",
        formula="requests with conn_reused / requests begun in the window",
        larger_is_better=None,
        needs=("conn_reused",),
        of=conn_reused_share,
    ),
    Rate(
        name="coalesced_share",
        title="coalesced events",
        unit="share",
        formula="Σ coalesced / Σ events",
        larger_is_better=False,
        needs=("coalesced", "events"),
        of=coalesced_share,
    ),
    Rate(
        name="cached_share",
        title="prompt tokens answered from a cache",
        unit="share",
        formula="Σ cached_tokens / Σ prompt_tokens",
        larger_is_better=None,
        needs=("cached_tokens", "prompt_tokens"),
        of=cached_share,
    ),
    *GOODPUT_RATES,
)
