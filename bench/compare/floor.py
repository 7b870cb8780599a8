"""The noise floor: how far runs of the same variant under the same load lie apart (A/A).

With rounds, every two runs of a variant under a load are such a pair: servers started anew, other
prompts, another hour. With one round there are only the two halves of each window, which see
neither a new start nor slow drift: a weaker floor, and named so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quantswarm.bench.compare.measure import Group, Load, Measure
from quantswarm.bench.judge.blocks import Blocks
from quantswarm.bench.judge.percentile import quantile

REPEATS, HALVES = "repeats", "halves"
PART = 0.95
ENOUGH = 20
"""Pairs from which on the 95th percentile is taken; of fewer, the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """`log` is the largest (or 95th percentile) |log ratio| of `pairs` A/A pairs of a `kind`."""

    log: float
    pairs: int
    kind: str

    @property
    def share(self) -> float:
        """The same as a part of 1: 0.03 says that a ratio of 1.03 was seen between equals."""
        return math.expm1(self.log)


def floor_of(groups: Iterable[Group], load: Load, measure: Measure) -> Floor | None:
    """The floor of one measure at one load, over all variants; None where there is no pair."""
    mine = [group for group in groups if group.load == load]
    repeats = [gap for group in mine for gap in _repeats(group, measure)]
    if repeats:
        return _floor(repeats, REPEATS)
    halves = [gap for group in mine for gap in _halves(group, measure)]
    return _floor(halves, HALVES) if halves else None


def _floor(gaps: Sequence[float], kind: str) -> Floor:
    ordered = sorted(gaps)
    log = quantile(ordered, PART) if len(ordered) >= ENOUGH else ordered[-1]
    return Floor(log=log, pairs=len(ordered), kind=kind)


def _repeats(group: Group, measure: Measure) -> list[float]:
    logs = [math.log(value) for value in group.known(measure.key).values()]
    return [abs(one - other) for one, other in itertools.combinations(logs, 2)]


def _halves(group: Group, measure: Measure) -> list[float]:
    """|log ratio| of the window's two halves, for runs whose number is given at all."""
    gaps = []
    for run in group.runs:
        if run.blocks is not None and run.values.get(measure.key):
            first, second = _half_values(run.blocks, measure)
            if first and second:
                gaps.append(abs(math.log(first / second)))
    return gaps


def _half_values(blocks: Blocks, measure: Measure) -> tuple[float | None, float | None]:
    half = blocks.seconds // 2
    if measure.quantile is None:
        counts = blocks.counts[measure.source]
        return sum(counts[:half]), sum(counts[half : 2 * half])
    samples = blocks.samples[measure.source]
    pairs = list(zip(samples.values, samples.seconds, strict=True))
    parts = (
        sorted(value for value, second in pairs if begin <= second < begin + half)
        for begin in (0, half)
    )
    first, second = (quantile(part, measure.quantile) if part else None for part in parts)
    return first, second
