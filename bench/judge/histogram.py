"""A server's histogram over the window: the difference of two scrapes, and what it can tell.

Between two scrapes a cumulative histogram grows by the samples that came in between. A quantile
of them is known only to lie in one bucket; the value given is interpolated linearly inside it, as
Prometheus's `histogram_quantile` does, and the bucket's edges always stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MS = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """A quantile by interpolation, and the edges of its bucket, in ms.

    In the last bucket, which has no upper edge, `high_ms` and `value_ms` are None.
    """

    value_ms: float | None
    low_ms: float
    high_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """`counts[i]` samples lie over `edges[i-1]` and up to `edges[i]`, in seconds; None: no edge."""

    edges: tuple[float | None, ...]
    counts: tuple[float, ...]
    total_s: float

    @property
    def n(self) -> float:
        """Samples in all."""
        return sum(self.counts)

    @property
    def mean_ms(self) -> float | None:
        """Exact, unlike quantiles: a histogram keeps the sum."""
        return self.total_s / self.n * _MS if self.n > 0 else None

    def quantile(self, q: float) -> Within | None:
        """Where quantile `q` lies; None without samples."""
        rank, below, low = q * self.n, 0.0, 0.0
        for edge, count in zip(self.edges, self.counts, strict=True):
            if count > 0 and below + count >= rank:
                return _within(low, edge, (rank - below) / count)
            below += count
            low = low if edge is None else edge
        return None


def grown(before: Any, after: Any) -> Histogram | None:
    """What came between two scrapes of one histogram; None where that cannot be said.

    Either may be of any shape: files of other versions, cut off lines. A histogram that shrank
    belongs to a server that started anew, one with other buckets to another version.
    """
    first, last = _cumulative(before), _cumulative(after)
    if first is None or last is None or [e for e, _ in first] != [e for e, _ in last]:
        return None
    steps = [b - a for (_, a), (_, b) in zip(first, last, strict=True)]
    counts = tuple(b - a for a, b in zip([0.0, *steps], steps, strict=False))
    total_s = float(after["sum"]) - float(before["sum"])
    if min(counts) < 0 or total_s < 0:
        return None
    return Histogram(edges=tuple(edge for edge, _ in last), counts=counts, total_s=total_s)


def _cumulative(raw: Any) -> Sequence[tuple[float | None, float]] | None:
    if not isinstance(raw, Mapping) or "sum" not in raw or not raw.get("buckets"):
        return None
    return [(edge, float(count)) for edge, count in raw["buckets"]]


def _within(low: float, edge: float | None, share: float) -> Within:
    if edge is None:
        return Within(value_ms=None, low_ms=low * _MS, high_ms=None)
    value = low + (edge - low) * min(max(share, 0.0), 1.0)
    return Within(value_ms=value * _MS, low_ms=low * _MS, high_ms=edge * _MS)
