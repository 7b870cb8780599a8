"""What a tool should have said, by our definitions and by its own, from the ledger. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from quantswarm.bench.judge.percentile import quantile
from quantswarm.bench.selftest.compare_ledger import Entry
from quantswarm.bench.selftest.parity.peer import ITL, TPOT, TTFT, Quantiles

OURS: Mapping[str, str] = {TTFT: "ttft", TPOT: "tpot", ITL: "itl"}
"""The formula of each metric as this project defines it."""


def tpot_ms(stamps: Sequence[int], tokens: int) -> list[float]:
    """(last − first) / (tokens − 1); nothing where no interval was seen."""
    if tokens < 2 or len(stamps) < 2:
        return []
    return [(stamps[-1] - stamps[0]) / 1e6 / (tokens - 1)]


def itl_ms(stamps: Sequence[int], tokens: Sequence[int] | None = None) -> list[float]:
    """Gaps; with the tokens of each event, an event of n counts n times with the n-th part."""
    counts = [1] * len(stamps) if tokens is None else tokens
    gaps = ((later - earlier) / 1e6 for earlier, later in pairwise(stamps))
    return [gap / n for gap, n in zip(gaps, counts[1:], strict=True) for _ in range(n)]


def _ttft(entry: Entry) -> list[float]:
    return [(entry.sent_ns[0] - entry.received_ns) / 1e6] if entry.sent_ns else []


def _with_ttft(entry: Entry) -> list[float]:
    if not entry.sent_ns or not entry.tokens:
        return []
    return [(entry.sent_ns[-1] - entry.received_ns) / 1e6 / entry.tokens]


FORMULAS: Mapping[str, Callable[[Entry], list[float]]] = {
    "ttft": _ttft,
    "tpot": lambda entry: tpot_ms(entry.sent_ns, entry.tokens),
    "tpot-with-ttft": _with_ttft,
    "itl": lambda entry: itl_ms(entry.sent_ns, entry.event_tokens),
    "chunk-gaps": lambda entry: itl_ms(entry.sent_ns),
    "request-means": lambda entry: tpot_ms(entry.sent_ns, entry.tokens) * max(0, entry.tokens - 1),
}
"""Milliseconds of one whole answer. `request-means` is a mean a request, once for each token."""

IN_WORDS: Mapping[str, str] = {
    "ttft": "first token − request",
    "tpot": "(last − first) / (n − 1)",
    "tpot-with-ttft": "(last − request) / n",
    "itl": "gap / n, n times, for each event of n tokens",
    "chunk-gaps": "gaps between events",
    "request-means": "a request's (last − first) / (n − 1)",
}


def quantiles(values: Iterable[float]) -> Quantiles:
    """Median and 99th percentile, interpolated as NumPy does; of nothing, None.

    Unlike a report, p99 is given of few values too: both sides are quantiles of as many.
    """
    ordered = sorted(values)
    if not ordered:
        return Quantiles(p50=None, p99=None)
    return Quantiles(p50=quantile(ordered, 0.5), p99=quantile(ordered, 0.99))


def true_quantiles(formula: str, entries: Iterable[Entry]) -> Quantiles:
    """Of all whole answers."""
    of = FORMULAS[formula]
    return quantiles(value for entry in entries if entry.outcome == "ok" for value in of(entry))


def load_span_ns(entries: Iterable[Entry]) -> tuple[int, int] | None:
    """From the first request's arrival to the last token; None when nothing was sent."""
    kept = [entry for entry in entries if entry.sent_ns]
    if not kept:
        return None
    return min(e.received_ns for e in kept), max(e.sent_ns[-1] for e in kept)


def true_tokens_per_s(entries: Sequence[Entry], span_ns: tuple[int, int]) -> float | None:
    """Tokens that left inside the span (its end included), a second."""
    begin, end = span_ns
    tokens = sum(
        count
        for entry in entries
        for stamp, count in zip(entry.sent_ns, entry.event_tokens, strict=True)
        if begin <= stamp <= end
    )
    return tokens * 1e9 / (end - begin) if end > begin else None


def most_in_flight(entries: Iterable[Entry]) -> int:
    """Answers under way at once, by the server's own stamps."""
    spans = [(e.received_ns, e.sent_ns[-1]) for e in entries if e.sent_ns]
    steps = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def mean_in_flight(entries: Sequence[Entry]) -> float | None:
    """Time in flight over the span of the load."""
    span = load_span_ns(entries)
    if span is None or span[1] <= span[0]:
        return None
    flight = sum(e.sent_ns[-1] - e.received_ns for e in entries if e.sent_ns)
    return flight / (span[1] - span[0])
