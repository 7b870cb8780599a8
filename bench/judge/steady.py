"""Was the window steady? MSER-5 on batches of one second, and a straight line through them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quantswarm.bench.judge.records import INTERRUPTED, OK
from quantswarm.bench.judge.window import Cut

FEWEST_BATCHES = 10
GROUP = 5
LATE_PART = 0.25
MOVED = 0.05
TREND = 0.10
SIGMAS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """`settle_s` is where MSER-5 says the steady part begins; `moved` is how far the mean of the
    whole window lies from the steady part's; `trend` is the fitted change over the window divided
    by the mean, None where it is within the noise."""

    batches: int
    settle_s: float
    moved: float
    trend: float | None

    @property
    def steady(self) -> bool:
        """False when a late start of the steady part moves the mean, or a trend shows."""
        late = self.settle_s >= LATE_PART * self.batches and abs(self.moved) > MOVED
        return not late and (self.trend is None or abs(self.trend) <= TREND)


def tokens_by_second(cut: Cut) -> list[int]:
    """Tokens that arrived in each whole second of the window; a rest under a second is left out."""
    counts = [0] * int(cut.window.length_s)
    for record in cut.everything:
        if record.outcome not in (OK, INTERRUPTED):
            continue
        for stamp, tokens in zip(record.event_ns, record.event_tokens, strict=True):
            second = (stamp - cut.window.start_ns) // 1_000_000_000
            if 0 <= second < len(counts):
                counts[second] += tokens
    return counts


def steadiness(batches: Sequence[float]) -> Steadiness | None:
    """Judge a series of one-second batches; None when it is too short to tell (under 10)."""
    if len(batches) < FEWEST_BATCHES:
        return None
    group = GROUP if len(batches) >= GROUP * FEWEST_BATCHES else 1
    settle = mser([_mean(batches[i : i + group]) for i in range(0, len(batches), group)]) * group
    after = _mean(batches[settle:])
    return Steadiness(
        batches=len(batches),
        settle_s=float(settle),
        moved=_mean(batches) / after - 1 if after else 0.0,
        trend=_trend(batches),
    )


def mser(values: Sequence[float]) -> int:
    """How many leading values to leave out so that the mean of the rest is known best.

    White 1997: the d that minimises Σ(x − mean)² / (n − d)², with at most three quarters left out,
    because a few last values can look calm by chance.
    """
    scores = [
        math.fsum((x - _mean(values[d:])) ** 2 for x in values[d:]) / (len(values) - d) ** 2
        for d in range(len(values) * 3 // 4 + 1)
    ]
    return scores.index(min(scores))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _trend(values: Sequence[float]) -> float | None:
    """Least-squares change over the series / its mean; None for a slope under 3 standard errors."""
    n, mean = len(values), _mean(values)
    if mean <= 0:
        return None
    centre = (n - 1) / 2
    spread = math.fsum((i - centre) ** 2 for i in range(n))
    slope = math.fsum((i - centre) * (x - mean) for i, x in enumerate(values)) / spread
    rest = math.fsum((x - mean - slope * (i - centre)) ** 2 for i, x in enumerate(values))
    error = math.sqrt(rest / (n - 2) / spread)
    return slope * n / mean if abs(slope) > SIGMAS * error else None
