"""What the server says beside what the client saw: where they part by more than they may."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from quantswarm.bench.judge.engine_view import EngineView, ServerLatency
from quantswarm.bench.judge.percentile import Distribution

BESIDE = {"ttft": "ttft_sent", "itl": "itl"}
"""A server's latency → the client's that means the same: a server knows no intended start."""
QUANTILES = {"p50": 0.5, "p99": 0.99}
NETWORK_MS = 2.0
"""Parsing, sockets and the loopback, both ways; what is added over a real network is not known."""
NETWORK_PART = 0.1
SIGMAS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """A quantile that the client saw `client_ms`, and that the server puts between two bounds.

    The bounds hold the bucket's edges and what samples at the window's edges may shift;
    `high_ms` is None where the histogram ends. `allowed_ms` is for network and client.
    """

    metric: str
    quantile: str
    client_ms: float
    low_ms: float
    high_ms: float | None
    allowed_ms: float

    @property
    def beyond(self) -> bool:
        """Whether the client's value lies outside, the allowance included."""
        over = self.high_ms is not None and self.client_ms > self.high_ms + self.allowed_ms
        return over or self.client_ms < self.low_ms - self.allowed_ms


def compared(
    view: EngineView, latencies: Mapping[str, Distribution], client_lag_ms: float | None
) -> Iterator[Apart]:
    """Every quantile that both sides know; `client_lag_ms` is how late the client itself woke."""
    for metric, server in view.latencies().items():
        client = latencies.get(BESIDE[metric])
        if server is None or client is None:
            continue
        for name, q in QUANTILES.items():
            seen = client.quantiles[name]
            if seen is not None:
                low_ms, high_ms = _bounds(server, client, q)
                yield Apart(
                    metric=metric,
                    quantile=name,
                    client_ms=seen,
                    low_ms=low_ms,
                    high_ms=high_ms,
                    allowed_ms=NETWORK_MS + NETWORK_PART * seen + (client_lag_ms or 0.0),
                )


def _bounds(server: ServerLatency, client: Distribution, q: float) -> tuple[float, float | None]:
    """Edges of the buckets that hold `q`, give or take its sampling error and the samples that
    only one side counts, since it cuts the window by scrapes and the other by intended starts."""
    error = SIGMAS * math.sqrt(q * (1 - q) / max(client.requests, 1))
    uneven = abs(server.n - client.n) / max(server.n, client.n, 1)
    low = server.histogram.quantile(max(q - error - uneven, 0.0))
    high = server.histogram.quantile(min(q + error + uneven, 1.0))
    assert low is not None, "a server's latency has samples"
    assert high is not None, "a server's latency has samples"
    return low.low_ms, high.high_ms
