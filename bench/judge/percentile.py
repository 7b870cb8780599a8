"""Percentiles from raw data, and the rule that withholds those the data cannot carry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BEYOND = 4
"""Samples that must be expected beyond a percentile: p90 40, p95 80, p99 400, p99.9 4,000."""
REQUESTS_PART = 10
"""Tokens of one request are alike: their percentiles also need a tenth as many requests."""

QUANTILES: dict[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Percentiles of one metric in one cell; None where withheld or where there is no sample.

    `n` counts samples and `requests` the requests they came from: equal for a metric of requests.
    """

    n: int
    requests: int
    mean: float | None
    low: float | None
    high: float | None
    quantiles: dict[str, float | None]


def quantile(ordered: Sequence[float], q: float) -> float:
    """Quantile `q` of ascending values, interpolating linearly between order statistics.

    Position (n − 1)·q counted from 0 (type 7 of Hyndman and Fan 1996, NumPy's default).
    """
    if not ordered:
        raise ValueError("no values")
    position = (len(ordered) - 1) * q
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    low, high = ordered[below], ordered[above]
    return min(max(low + (high - low) * (position - below), low), high)


def samples_needed(q: float) -> int:
    """How many samples quantile `q` needs; the median is given from the first one on."""
    return 1 if q <= 0.5 else math.ceil(round(BEYOND / (1 - q), 6))


def requests_needed(q: float) -> int:
    """How many requests must stand behind quantile `q` of a metric that has many samples each."""
    return max(1, math.ceil(samples_needed(q) / REQUESTS_PART))


def distribution(groups: Sequence[Sequence[float]]) -> Distribution:
    """Summarise one list of samples a request; requests without a sample count for nothing."""
    filled = [group for group in groups if group]
    ordered = sorted(value for group in filled for value in group)
    n, requests = len(ordered), len(filled)
    return Distribution(
        n=n,
        requests=requests,
        mean=math.fsum(ordered) / n if n else None,
        low=ordered[0] if n else None,
        high=ordered[-1] if n else None,
        quantiles={
            name: quantile(ordered, q) if _carried(q, n, requests) else None
            for name, q in QUANTILES.items()
        },
    )


def _carried(q: float, n: int, requests: int) -> bool:
    return n >= samples_needed(q) and requests >= requests_needed(q)
