"""The engine's own view of a cell, from `engine.jsonl`: what it counted, beside the client's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench.judge.histogram import Histogram, Within, grown
from quantswarm.bench.judge.window import Cut, Window

FILE = "engine.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLatency:
    """A latency by the server's own histogram, over the window: exact mean, quantiles to a bucket.

    `histogram` is what they were read from, for whoever must know how far to trust them.
    """

    n: float
    mean_ms: float
    p50: Within
    p99: Within
    histogram: Histogram

    def as_json(self) -> dict[str, Any]:
        """The form that summaries store; interpolated values carry their bucket."""
        found: dict[str, Any] = {"n": self.n, "mean_ms": self.mean_ms}
        for name, within in (("p50", self.p50), ("p99", self.p99)):
            found[f"{name}_ms"] = within.value_ms
            found[f"{name}_bucket_ms"] = [within.low_ms, within.high_ms]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One answer of the server's `/metrics`, by our names; `values` is None for a gap."""

    ns: int
    values: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineView:
    """What the server says of itself. Each is None where it does not say, or nothing was there.

    `scrapes` and `gaps` count those inside the window, peaks are of those scrapes: what rose and
    fell between two is not seen. `server_tokens` and `client_tokens` cover all requests, warm-up
    and drain too, since a server may count a request only at its end; `unfinished_tokens` is what
    failed requests were still owed. The rest is of the window, to about one scrape.
    """

    scrapes: int
    gaps: int
    server_tokens: float | None
    client_tokens: int
    unfinished_tokens: int
    running_mean: float | None
    running_peak: float | None
    waiting_mean: float | None
    waiting_peak: float | None
    kv_cache_mean: float | None
    kv_cache_peak: float | None
    prefix_hit_rate: float | None
    preemptions: float | None
    ttft_mean_ms: float | None
    itl_mean_ms: float | None
    queue_mean_ms: float | None
    ttft: ServerLatency | None
    itl: ServerLatency | None

    @property
    def token_difference(self) -> float | None:
        """Server's tokens beyond the client's, as a share of the client's; 0.02 is 2 % more."""
        if self.server_tokens is None or not self.client_tokens:
            return None
        return self.server_tokens / self.client_tokens - 1

    @property
    def unexplained_tokens(self) -> float | None:
        """The part of the difference that failed requests cannot account for; never negative."""
        if self.server_tokens is None:
            return None
        beyond = self.server_tokens - self.client_tokens
        return max(-beyond, beyond - self.unfinished_tokens, 0.0)

    def as_json(self) -> dict[str, Any]:
        """The form that summaries store."""
        whole = {name: found and found.as_json() for name, found in self.latencies().items()}
        return {**asdict(self), **whole, "token_difference": self.token_difference}

    def latencies(self) -> dict[str, ServerLatency | None]:
        """By the name of the client's metric that they stand beside."""
        return {"ttft": self.ttft, "itl": self.itl}


ENGINE, ANSWERS = "engine's counters", "answers"
"""Where a share of cached prompt tokens comes from: `/metrics`, or the usage of each answer."""


def prefix_hits(
    view: EngineView | None, cached_share: float | None
) -> tuple[float | None, str | None]:
    """(share of prompt tokens that came from the cache, who says so); the engine's counters before
    what its answers say, (None, None) where neither tells."""
    if view is not None and view.prefix_hit_rate is not None:
        return view.prefix_hit_rate, ENGINE
    return (cached_share, ANSWERS) if cached_share is not None else (None, None)


def read_scrapes(path: Path) -> tuple[Scrape, ...] | None:
    """In order of time; None without the file. A line that cannot be read is passed over: these
    numbers stand beside a measurement, and must not spoil it."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return tuple(sorted(_scrapes(lines), key=lambda scrape: scrape.ns))


def engine_view(scrapes: Sequence[Scrape] | None, cut: Cut) -> EngineView | None:
    """None for a run without scrapes, as older ones are, and where none gave a number."""
    told = [scrape for scrape in scrapes or () if scrape.values is not None]
    if scrapes is None or not told:
        return None
    inside = [scrape for scrape in scrapes if cut.window.holds(scrape.ns)]
    first, last = _edges(told, cut.window)
    records = cut.everything
    return EngineView(
        scrapes=sum(scrape.values is not None for scrape in inside),
        gaps=sum(scrape.values is None for scrape in inside),
        server_tokens=_grown(*_whole(told, cut), "generation_tokens"),
        client_tokens=sum(record.counted_tokens for record in records),
        unfinished_tokens=sum(
            max(0, (record.expected_output_tokens or 0) - record.counted_tokens)
            for record in records
            if not record.ok
        ),
        running_mean=_mean(inside, "running"),
        running_peak=_peak(inside, "running"),
        waiting_mean=_mean(inside, "waiting"),
        waiting_peak=_peak(inside, "waiting"),
        kv_cache_mean=_mean(inside, "kv_cache_use"),
        kv_cache_peak=_peak(inside, "kv_cache_use"),
        prefix_hit_rate=_hit_rate(first, last),
        preemptions=_grown(first, last, "preemptions"),
        ttft_mean_ms=_mean_ms(first, last, "ttft"),
        itl_mean_ms=_mean_ms(first, last, "itl") or _decode_ms(first, last),
        queue_mean_ms=_mean_ms(first, last, "queue_time"),
        ttft=_latency(first, last, "ttft"),
        itl=_latency(first, last, "itl"),
    )


def _scrapes(lines: Sequence[str]) -> Iterator[Scrape]:
    for line in lines:
        try:
            raw = json.loads(line)
        except ValueError:
            continue
        if isinstance(raw, dict) and type(raw.get("ns")) is int:
            values = raw.get("values")
            yield Scrape(ns=raw["ns"], values=values if isinstance(values, dict) else None)


def _edges(told: Sequence[Scrape], window: Window) -> tuple[Scrape | None, Scrape | None]:
    """The last scrape before the window, or the first in it; the first after it, or the last."""
    before = [scrape for scrape in told if scrape.ns <= window.start_ns]
    after = [scrape for scrape in told if scrape.ns >= window.end_ns]
    inside = [scrape for scrape in told if window.holds(scrape.ns)]
    first = before[-1] if before else next(iter(inside), None)
    last = after[0] if after else next(reversed(inside), None)
    return first, last


def _whole(told: Sequence[Scrape], cut: Cut) -> tuple[Scrape | None, Scrape | None]:
    """Around every request: a scrape before the first was sent and one after the last ended."""
    sent = [record.sent_ns for record in cut.everything if record.sent_ns is not None]
    if not sent:
        return None, None
    ended_ns = max(record.end_ns for record in cut.everything)
    before = [scrape for scrape in told if scrape.ns <= min(sent)]
    after = [scrape for scrape in told if scrape.ns >= ended_ns]
    return (before[-1] if before else None), (after[-1] if after else None)


def _number(scrape: Scrape | None, name: str) -> float | None:
    value = (scrape.values or {}).get(name) if scrape else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _grown(first: Scrape | None, last: Scrape | None, name: str) -> float | None:
    """By how much a counter rose; None when it fell, as after a restart."""
    before, after = _number(first, name), _number(last, name)
    if before is None or after is None or after < before:
        return None
    return after - before


def _peak(inside: Sequence[Scrape], name: str) -> float | None:
    found = [value for scrape in inside if (value := _number(scrape, name)) is not None]
    return max(found, default=None)


def _mean(inside: Sequence[Scrape], name: str) -> float | None:
    """Over scrapes, which are evenly spaced unless the server answered late."""
    found = [value for scrape in inside if (value := _number(scrape, name)) is not None]
    return sum(found) / len(found) if found else None


def _latency(first: Scrape | None, last: Scrape | None, name: str) -> ServerLatency | None:
    before, after = (
        (scrape.values or {}).get(name) if scrape else None for scrape in (first, last)
    )
    found = grown(before, after)
    mean_ms = found.mean_ms if found else None
    p50, p99 = (found.quantile(q) if found else None for q in (0.5, 0.99))
    if found is None or mean_ms is None or p50 is None or p99 is None:
        return None
    return ServerLatency(n=found.n, mean_ms=mean_ms, p50=p50, p99=p99, histogram=found)


def _decode_ms(first: Scrape | None, last: Scrape | None) -> float | None:
    """Time a token where a server keeps sums of requests only; it counts one when it ends."""
    seconds = _grown(first, last, "generation_seconds")
    tokens = _grown(first, last, "generation_tokens")
    return seconds / tokens * 1e3 if seconds is not None and tokens else None


def _hit_rate(first: Scrape | None, last: Scrape | None) -> float | None:
    """Share of prompt tokens from the cache. An engine whose cache is off looks nothing up: then
    the hits are held against the prompt tokens, which proves the nought."""
    hits = _grown(first, last, "prefix_hits")
    if hits is None:
        return None
    computed = _grown(first, last, "computed_prompt_tokens")
    asked = (
        _grown(first, last, "prefix_queries")
        or (hits + computed if computed is not None else None)
        or _grown(first, last, "prompt_tokens")
    )
    return hits / asked if asked else None


def _mean_ms(first: Scrape | None, last: Scrape | None, name: str) -> float | None:
    before, after = (_part(scrape, name) for scrape in (first, last))
    if before is None or after is None or after[1] <= before[1] or after[0] < before[0]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1]) * 1e3


def _part(scrape: Scrape | None, name: str) -> tuple[float, float] | None:
    """(sum, count) of a histogram."""
    found = (scrape.values or {}).get(name) if scrape else None
    if not isinstance(found, dict) or "sum" not in found or "count" not in found:
        return None
    return float(found["sum"]), float(found["count"])
