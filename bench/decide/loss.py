"""What a variant lost in quality, from its quality document: how much, and whether it is noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quantswarm.bench.compare.ratio import BETTER, SAME, UNKNOWN, WORSE

Quality = Mapping[str, Any]
NEGLIGIBLE_PERCENT = 0.5
"""Of perplexity. With enough tokens any difference is significant; one whose whole interval is
smaller than this is none in practice (equivalence by the inclusion of the interval: Schuirmann
1987, two one-sided tests)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Against `reference`. Perplexity's increase is exp(Δ NLL) − 1, in per cent, and so are the
    ends of its interval; `verdict` is "no difference" where the interval holds 0, or where all of
    it is negligible."""

    reference: str | None
    perplexity: float | None
    increase_percent: float | None
    low_percent: float | None
    high_percent: float | None
    kl_mean: float | None
    verdict: str

    def as_json(self) -> dict[str, Any]:
        """The form that summaries store."""
        return asdict(self)

    def same_as(self, other: Loss) -> bool | None:
        """Whether two losses cannot be told apart: their intervals meet, or their farthest ends are
        negligibly far from each other. None where one has none.

        Both are against the reference; the pair itself was not compared, so this is cautious.
        """
        mine, its = (self.low_percent, self.high_percent), (other.low_percent, other.high_percent)
        if mine[0] is None or mine[1] is None or its[0] is None or its[1] is None:
            return None
        meet = mine[0] <= its[1] and its[0] <= mine[1]
        return meet or max(mine[1] - its[0], its[1] - mine[0]) < NEGLIGIBLE_PERCENT


def loss_of(quality: Quality | None) -> Loss | None:
    """None for a variant whose quality was not measured."""
    if not quality:
        return None
    interval = quality.get("delta_nll_ci") or (None, None)
    low, high = (_percent(end) for end in interval)
    return Loss(
        reference=None if quality.get("reference") is None else str(quality["reference"]),
        perplexity=quality.get("perplexity"),
        increase_percent=_increase(quality),
        low_percent=low,
        high_percent=high,
        kl_mean=quality.get("kl_mean"),
        verdict=_verdict(low, high),
    )


def _increase(quality: Quality) -> float | None:
    ratio = quality.get("perplexity_ratio")
    return _percent(quality.get("delta_nll")) if ratio is None else 100 * (float(ratio) - 1)


def _percent(delta_nll: float | None) -> float | None:
    return None if delta_nll is None else 100 * math.expm1(delta_nll)


def _verdict(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return UNKNOWN
    if low <= 0 <= high or max(-low, high) < NEGLIGIBLE_PERCENT:
        return SAME
    return WORSE if low > 0 else BETTER
