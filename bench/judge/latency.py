"""Latencies of one request. All are undefined (no sample), never 0, where a stamp is missing."""

from __future__ import annotations

import itertools

from quantswarm.bench.judge.metric import Latency
from quantswarm.bench.judge.records import Record

Samples = tuple[float, ...]


def _ms(later_ns: int, earlier_ns: int | None) -> Samples:
    return () if earlier_ns is None else ((later_ns - earlier_ns) / 1e6,)


def ttft(record: Record) -> Samples:
    """First event with text − intended start: what the user waited, queueing in the client too."""
    return _ms(record.event_ns[0], record.intended_ns) if record.event_ns else ()


def ttft_sent(record: Record) -> Samples:
    """First event with text − the instant the request was handed to the socket."""
    return _ms(record.event_ns[0], record.sent_ns) if record.event_ns else ()


def tpot(record: Record) -> Samples:
    """(last token − first token) / (output tokens − 1), by the server's count where it gave one.

    Undefined under 2 tokens, and when all tokens came in one event: no interval was seen.
    """
    tokens = record.counted_tokens if record.output_tokens is None else record.output_tokens
    if tokens < 2 or len(record.event_ns) < 2:
        return ()
    return ((record.event_ns[-1] - record.event_ns[0]) / 1e6 / (tokens - 1),)


def itl(record: Record) -> Samples:
    """One sample a token after the first event: an event of n tokens gives n times its gap / n.

    The tokens of the first event have no gap that a client can see. An event of no token adds its
    gap to the next one.
    """
    samples: list[float] = []
    before: int | None = None
    for stamp, tokens in zip(record.event_ns, record.event_tokens, strict=True):
        if tokens == 0:
            continue
        if before is not None:
            samples.extend([(stamp - before) / 1e6 / tokens] * tokens)
        before = stamp
    return tuple(samples)


def icl(record: Record) -> Samples:
    """Gaps between events with text, as they came."""
    stamps = record.event_ns
    return tuple((b - a) / 1e6 for a, b in itertools.pairwise(stamps))


def e2e(record: Record) -> Samples:
    """Last event with text − intended start."""
    return _ms(record.event_ns[-1], record.intended_ns) if record.event_ns else ()


def client_delay(record: Record) -> Samples:
    """Actual start − intended start: what the client itself added."""
    return () if record.sent_ns is None else _ms(record.sent_ns, record.intended_ns)


LATENCIES: tuple[Latency, ...] = (
    Latency(
        name="ttft",
        title="TTFT, time to first token",
        unit="ms",
        formula="event_ns[0] − intended_ns",
        larger_is_better=False,
        needs=("event_ns", "intended_ns"),
        elsewhere={
            "vLLM bench serve": "none (its TTFT starts at the sending)",
            "AIPerf": "none (likewise)",
        },
        of=ttft,
    ),
    Latency(
        name="ttft_sent",
        title="TTFT from the actual start",
        unit="ms",
        formula="event_ns[0] − sent_ns",
        larger_is_better=False,
        needs=("event_ns", "sent_ns"),
        elsewhere={
            "vLLM bench serve": "TTFT",
            "GuideLLM": "time to first token",
            "AIPerf": "time_to_first_token",
        },
        of=ttft_sent,
    ),
    Latency(
        name="tpot",
        title="TPOT, time per output token",
        unit="ms",
        formula="(event_ns[-1] − event_ns[0]) / (output_tokens − 1); undefined under 2 tokens",
        larger_is_better=False,
        needs=("event_ns", "output_tokens"),
        elsewhere={
            "vLLM bench serve": "TPOT",
            "GuideLLM": "inter-token latency (a mean by request); its TPOT includes TTFT",
            "AIPerf": "inter_token_latency",
        },
        of=tpot,
    ),
    Latency(
        name="itl",
        title="ITL, inter-token latency",
        unit="ms",
        formula="(event_ns[i] − event_ns[i−1]) / event_tokens[i], event_tokens[i] times, i ≥ 1",
        larger_is_better=False,
        needs=("event_ns", "event_tokens"),
        elsewhere={
            "vLLM bench serve": "none (its ITL is ICL here)",
            "GuideLLM": "none (its ITL is TPOT here)",
        },
        of=itl,
        per_token=True,
    ),
    Latency(
        name="icl",
        title="ICL, inter-chunk latency",
        unit="ms",
        formula="event_ns[i] − event_ns[i−1], i ≥ 1",
        larger_is_better=False,
        needs=("event_ns",),
        elsewhere={"vLLM bench serve": "ITL", "AIPerf": "inter_chunk_latency"},
        of=icl,
        per_token=True,
    ),
    Latency(
        name="e2e",
        title="E2E, end-to-end latency",
        unit="ms",
        formula="event_ns[-1] − intended_ns",
        larger_is_better=False,
        needs=("event_ns", "intended_ns"),
        elsewhere={
            "vLLM bench serve": "E2EL (from the sending)",
            "GuideLLM": "request latency",
            "AIPerf": "request_latency",
        },
        of=e2e,
    ),
    Latency(
        name="client_delay",
        title="client delay",
        unit="ms",
        formula="sent_ns − intended_ns",
        larger_is_better=False,
        needs=("sent_ns", "intended_ns"),
        of=client_delay,
    ),
)
