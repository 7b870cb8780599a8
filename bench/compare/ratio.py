"""The ratio of two variants: paired by round, with an interval, and judged against the noise.

Per round, d = log(variant / baseline); the ratio is exp(mean of d). Its 95 % interval is
mean ± max(t(rounds - 1) · s / √rounds, t(blocks) · error within the windows): what the rounds
disagree about, and never less than what already varies inside them. One round knows only the
latter.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from quantswarm.bench.compare.bootstrap import Within, within
from quantswarm.bench.compare.floor import Floor
from quantswarm.bench.compare.measure import Group, Measure

BETTER, WORSE, SAME, UNKNOWN = "better", "worse", "no difference", "not known"
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_Z = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """variant / baseline. `by_round` has the ratio of each round that both have; `low` and `high`
    are None where no interval can be given. `verdict` says which way the variant differs, if it
    does; `block_s` is the longest block of the bootstrap, None without one."""

    variant: str
    baseline: str
    measure: Measure
    value: float
    low: float | None
    high: float | None
    by_round: dict[int, float]
    floor: Floor | None
    verdict: str
    block_s: int | None

    @property
    def same(self) -> bool:
        """Whether no difference was found."""
        return self.verdict == SAME


def ratio(group: Group, baseline: Group, measure: Measure, floor: Floor | None) -> Ratio | None:
    """Compare two groups of the same load; None where they share no round with a value."""
    mine, other = group.known(measure.key), baseline.known(measure.key)
    rounds = [number for number in mine if number in other]
    if not rounds:
        return None
    logs = [math.log(mine[number] / other[number]) for number in rounds]
    errors = [_within(group, baseline, number, measure) for number in rounds]
    middle, half = statistics.fmean(logs), half_width(logs, errors)
    return Ratio(
        variant=group.variant,
        baseline=baseline.variant,
        measure=measure,
        value=math.exp(middle),
        low=None if half is None else math.exp(middle - half),
        high=None if half is None else math.exp(middle + half),
        by_round={number: math.exp(d) for number, d in zip(rounds, logs, strict=True)},
        floor=floor,
        verdict=_verdict(middle, half, floor, measure),
        block_s=max((error.block_s for error in errors if error), default=None),
    )


def half_width(logs: Sequence[float], errors: Sequence[Within | None]) -> float | None:
    """Half of the 95 % interval of the mean log ratio; None where nothing tells it."""
    found = []
    known = [error for error in errors if error is not None]
    if known and len(known) == len(errors):
        # Rounds are independent: their variances add, and so do the blocks behind them.
        error = math.sqrt(math.fsum(e.error**2 for e in known)) / len(known)
        found.append(t95(sum(e.blocks - 1 for e in known)) * error)
    if len(logs) > 1:
        found.append(t95(len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs)))
    return max(found, default=None)


def t95(freedom: int) -> float:
    """Student's t with 2.5 % beyond it: the table up to 10, Fisher's expansion after."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = _Z
    first = (z**3 + z) / 4 / freedom
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96 / freedom**2
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384 / freedom**3
    return z + first + second + third


def _within(group: Group, baseline: Group, number: int, measure: Measure) -> Within | None:
    one, other = (
        next(run.blocks for run in found.runs if run.round == number) for found in (group, baseline)
    )
    return within(one, other, measure)


def _verdict(middle: float, half: float | None, floor: Floor | None, measure: Measure) -> str:
    """Different only when both the interval and the floor say so; unknown when neither can."""
    if half is not None and abs(middle) <= half:
        return SAME
    if floor is not None and abs(middle) <= floor.log:
        return SAME
    if half is None or floor is None:
        return UNKNOWN
    return BETTER if (middle > 0) == measure.larger_is_better else WORSE
