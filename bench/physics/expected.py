"""How long prompts and answers of a scenario are on average, before any was sent."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from quantswarm.bench.load.lengths import Length, at
from quantswarm.bench.load.scenario import Scenario

_DRAWS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Tokens of a mean request; a conversation's later prompts hold what was said before."""

    prompt_tokens: float
    output_tokens: float

    @property
    def context_tokens(self) -> float:
        """What the cache holds on average while the answer grows."""
        return self.prompt_tokens + self.output_tokens / 2


def expected(scenario: Scenario) -> Expected | None:
    """None where a data set has the lengths."""
    weights = [weight for weight, _ in scenario.mix] or [1.0]
    found = [_one(part) for part in scenario.components]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    return Expected(
        prompt_tokens=_weighted([one.prompt_tokens for one in known], weights),
        output_tokens=_weighted([one.output_tokens for one in known], weights),
    )


def mean(length: Length) -> float:
    """Of all draws, by evenly spaced quantiles."""
    if isinstance(length, int):
        return float(length)
    return statistics.fmean(at(length, (i + 0.5) / _DRAWS) for i in range(_DRAWS))


def _one(scenario: Scenario) -> Expected | None:
    if scenario.prompt_tokens is None or scenario.output_tokens is None or scenario.data:
        return None
    prompt, output = mean(scenario.prompt_tokens), mean(scenario.output_tokens)
    a_turn_more = prompt - scenario.shared_prefix_tokens + output
    return Expected(
        prompt_tokens=prompt + (mean(scenario.turns) - 1) / 2 * a_turn_more, output_tokens=output
    )


def _weighted(values: list[float], weights: list[float]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
