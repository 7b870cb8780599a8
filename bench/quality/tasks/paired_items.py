"""Two variants on the same items: flips both ways, McNemar's exact test, and what could be seen.

Items on which both are right, or both wrong, say nothing of a difference; only flips do. Without a
difference a flip goes either way with probability one half (McNemar 1947, the exact form).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from quantswarm.bench.judge.proportion import wilson
from quantswarm.models.errors import UserMistake

LEVEL, POWER = 0.05, 0.8
"""Two-sided level of the test; the chance with which `smallest_detectable` would be found."""
_FAR = 8.0
"""Standard deviations of the number of flips that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Counts of items. `worse`: the reference is right and the variant wrong; `better`: reversed.

    `difference` is the variant's accuracy less the reference's, `interval` its 95 %;
    `smallest_detectable` the size of difference that this many items find in 80 % of samples, by
    the test at 5 %, two-sided; None where so few could never show any.
    """

    items: int
    worse: int
    better: int
    difference: float
    interval: tuple[float, float]
    p_value: float
    smallest_detectable: float | None

    @property
    def differs(self) -> bool:
        """Whether the test says so, at 5 %."""
        return self.p_value < LEVEL

    def sentence(self) -> str:
        """What may be said, in words; never "equal"."""
        change = f"{100 * self.difference:+.1f} points"
        flips = f"{self.worse} items became wrong, {self.better} right (p = {self.p_value:.3g})"
        if self.differs:
            return f"{'worse' if self.difference < 0 else 'better'}, {change}: {flips}"
        if self.smallest_detectable is None:
            return f"no difference can be said: {flips}; {self.items} items could show none"
        seen = f"{100 * self.smallest_detectable:.1f} points"
        return f"no difference shown, {change}: {flips}; {seen} would have been, 4 times in 5"


def paired(variant: Mapping[str, bool], reference: Mapping[str, bool]) -> Pairing:
    """By item id → right. `UserMistake` where the two did not answer the same items."""
    _check_same(variant, reference)
    items = len(variant)
    worse = sum(reference[name] and not right for name, right in variant.items())
    better = sum(right and not reference[name] for name, right in variant.items())
    both = sum(right and reference[name] for name, right in variant.items())
    return Pairing(
        items=items,
        worse=worse,
        better=better,
        difference=(better - worse) / items,
        interval=difference_interval(both, better, worse, items - both - better - worse),
        p_value=mcnemar(worse, better),
        smallest_detectable=smallest_detectable(items, worse + better),
    )


def _check_same(variant: Mapping[str, bool], reference: Mapping[str, bool]) -> None:
    only, missing = variant.keys() - reference.keys(), reference.keys() - variant.keys()
    if variant and not only and not missing:
        return
    raise UserMistake(
        "compare two variants by item",
        f"they did not answer the same items: {len(only)} only the variant, {len(missing)} only "
        f"the reference, {len(variant.keys() & reference.keys())} both",
        evidence="For example: " + (", ".join(sorted(only | missing)[:3]) or "no items at all"),
        next_step="run both with the same tasks, text, tokenizer, --items and --seed",
    )


def mcnemar(worse: int, better: int) -> float:
    """Two-sided exact p-value: of flips as uneven as these, or more, by fair coin."""
    flips, fewer = worse + better, min(worse, better)
    if worse == better:
        return 1.0
    return min(1.0, 2.0 * _at_most(flips, fewer, 0.5))


def difference_interval(both: int, better: int, worse: int, neither: int) -> tuple[float, float]:
    """95 % interval of the difference of two paired shares.

    Newcombe (1998), Statistics in Medicine 17, 2635-2650, method 10: Wilson's intervals of both
    shares, joined with the correlation that the fourfold table shows. Approximate: where it and
    the exact test disagree, the test decides.
    """
    items = both + better + worse + neither
    first, second = both + better, both + worse
    ranges = wilson(first, items), wilson(second, items)
    if ranges[0] is None or ranges[1] is None:
        raise ValueError("no items")
    (low1, high1), (low2, high2) = ranges[0], ranges[1]
    share1, share2 = first / items, second / items
    phi = _correlation(both, better, worse, neither)

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))

    difference = share1 - share2
    low = difference - reach(share1 - low1, high2 - share2)
    return max(-1.0, low), min(1.0, difference + reach(high1 - share1, share2 - low2))


def _correlation(both: int, better: int, worse: int, neither: int) -> float:
    """Phi of the table, lessened for continuity where positive, as the method has it."""
    sides = (both + better) * (worse + neither) * (both + worse) * (better + neither)
    if sides == 0:
        return 0.0
    product = float(both * neither - better * worse)
    if product > 0:
        product = max(product - (both + better + worse + neither) / 2, 0.0)
    return product / math.sqrt(sides)


def smallest_detectable(items: int, flips: int) -> float | None:
    """The difference in accuracy that the test finds with 80 % power, two-sided at 5 %.

    The share of items that flip is taken as it was seen; a difference larger than that share needs
    more flips, which then all go one way. Power by summing over the number of flips and how they
    fall (Connor 1987 has the approximation), to 0.0001.
    """
    if power(items, flips, 1.0) < POWER:
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if power(items, flips, middle) >= POWER else (middle, high)
    return high


def power(items: int, flips: int, difference: float) -> float:
    """Chance that the test at 5 % finds a true difference of this size in either direction."""
    share = min(1.0, max(flips / items, difference))
    if share == 0:
        return 0.0
    one_way = (1 + difference / share) / 2
    middle, spread = items * share, _FAR * math.sqrt(items * share * (1 - share)) + 1
    counts = np.arange(max(0, int(middle - spread)), min(items, math.ceil(middle + spread)) + 1)
    if share == 1:
        return _found(items, one_way)
    weights = np.exp(_log_pmf(items, counts, share))
    found = (_found(int(count), one_way) for count in counts)
    return math.fsum(float(weight) * one for weight, one in zip(weights, found, strict=True))


def _found(flips: int, one_way: float) -> float:
    """Chance of a significant split of so many flips, each falling one way so often."""
    most = _most_other_way(flips)
    return 0.0 if most < 0 else _at_most(flips, most, one_way) + _at_most(flips, most, 1 - one_way)


@lru_cache(maxsize=20_000)
def _most_other_way(flips: int) -> int:
    """The most flips in the rarer direction that still are significant; -1 where none can be."""
    most, low, high = -1, 0, (flips - 1) // 2
    while low <= high:
        middle = (low + high) // 2
        if mcnemar(middle, flips - middle) < LEVEL:
            most, low = middle, middle + 1
        else:
            high = middle - 1
    return most


def _at_most(trials: int, most: int, share: float) -> float:
    """Binomial probability of at most so many, by logarithms: thousands of items stay exact."""
    if share <= 0 or share >= 1:
        return float(share <= 0 or most >= trials)
    return float(np.exp(_log_pmf(trials, np.arange(most + 1), share)).sum())


def _log_pmf(trials: int, counts: NDArray[np.int64], share: float) -> NDArray[np.float64]:
    logs = _log_factorials(1 << max(10, trials.bit_length()))
    choose = logs[trials] - logs[counts] - logs[trials - counts]
    found: NDArray[np.float64] = (
        choose + counts * math.log(share) + (trials - counts) * math.log1p(-share)
    )
    return found


@lru_cache(maxsize=16)
def _log_factorials(size: int) -> NDArray[np.float64]:
    """Logarithms of 0! to (size - 1)!."""
    made: NDArray[np.float64] = np.concatenate(
        [[0.0], np.cumsum(np.log(np.arange(1, size, dtype=np.float64)))]
    )
    return made
