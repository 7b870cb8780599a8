"""Where a variant's lead over another one ends as the load grows: the crossing of ratio 1."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from quantswarm.bench.compare.ratio import BETTER, SAME, WORSE

FALLS, RISES = "falls", "rises"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The ratio of throughputs at a number of users (or a rate), above 0, with what is to be
    thought of it; `low` and `high` are its 95 % interval where there is one."""

    load: float
    ratio: float
    low: float | None = None
    high: float | None = None
    verdict: str = SAME

    def as_json(self) -> dict[str, Any]:
        """The form that summaries store."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """The ratio passes 1 between two measured loads, at about `at`: interpolated, the logarithm of
    the ratio over the logarithm of the load. `way` is "falls" or "rises". `clear` says that
    the ratios at both ends differ from 1 by more than the noise."""

    after: float
    before: float
    at: float
    way: str
    clear: bool

    def as_json(self) -> dict[str, Any]:
        """The form that summaries store."""
        return asdict(self)


def crossings(steps: Sequence[Step]) -> tuple[Crossing, ...]:
    """Every passage through 1, from light loads to heavy ones."""
    ordered = sorted(steps, key=lambda step: step.load)
    away = [step for step in ordered if step.ratio != 1]
    return tuple(
        _crossing(one, other)
        for one, other in itertools.pairwise(away)
        if (one.ratio > 1) != (other.ratio > 1)
    )


def _crossing(one: Step, other: Step) -> Crossing:
    low, high = math.log(one.load), math.log(other.load)
    start, end = math.log(one.ratio), math.log(other.ratio)
    at = math.exp(low + (high - low) * start / (start - end))
    return Crossing(
        after=one.load,
        before=other.load,
        at=min(max(at, one.load), other.load),
        way=FALLS if start > 0 else RISES,
        clear={one.verdict, other.verdict} <= {BETTER, WORSE},
    )


def trend(steps: Sequence[Step]) -> float | None:
    """Ratio at the heaviest load over that at the lightest; None for fewer than two loads."""
    ordered = sorted(steps, key=lambda step: step.load)
    return ordered[-1].ratio / ordered[0].ratio if len(ordered) > 1 else None
