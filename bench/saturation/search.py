"""The search itself: which rate to try next, from what was seen so far. Nothing is measured here.

A trial passes when its backlog did not grow and the share of its requests that met the objectives
is what was asked for. A rate passes when more of its trials passed than did not; so a tie fails.
The search doubles (or halves) until a rate that passes lies under one that does not, bisects what
is between, and then repeats both ends with other seeds. An end that its repeats overturn becomes
the other end, and the search goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

FIRST_RATE = 1.0
FACTOR = 2.0
HIGHEST = 4096.0
MOST_INVALID = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`low` and `high` None leave the search free to go down to `floor`, and up. `width` is the
    relative distance at which the ends are close enough; each end is tried `repeats` times."""

    share: float
    low: float | None = None
    high: float | None = None
    floor: float = FIRST_RATE / 32
    width: float = 0.05
    repeats: int = 3
    most_trials: int = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial's counts. `valid` False: the generator did not offer what it was to offer, so
    nothing is known. An `unstable` one, whose backlog grew or which was ended before its time,
    fails whatever its share."""

    rate: float
    requests: int
    misses: int
    unstable: bool = False
    valid: bool = True

    def passes(self, share: float) -> bool:
        """Whether it kept up and met the objectives."""
        met = self.requests - self.misses
        return self.requests > 0 and not self.unstable and met >= share * self.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The lowest rate that fails and the highest below it that passes; None where there is none."""

    passing: float | None
    failing: float | None


Trials = Sequence[Trial]


def search(oracle: Callable[[float, int], Trial], settings: Settings) -> list[Trial]:
    """Ask until nothing is left to ask; `oracle` gets a rate and how often it was tried before."""
    trials: list[Trial] = []
    while (rate := next_rate(trials, settings)) is not None:
        trials.append(oracle(rate, len(at(trials, rate))))
    return trials


def at(trials: Trials, rate: float) -> list[Trial]:
    """The trials of one rate."""
    return [trial for trial in trials if trial.rate == rate]


def verdict(trials: Trials, rate: float, share: float) -> bool | None:
    """Whether a rate passes by the majority of its trials; None where none was valid yet, False
    where the generator cannot offer it."""
    found = at(trials, rate)
    valid = [trial.passes(share) for trial in found if trial.valid]
    if valid:
        return 2 * sum(valid) > len(valid)
    return False if len(found) >= MOST_INVALID else None


def ends(trials: Trials, share: float) -> Ends:
    """Where the edge lies by what is known."""
    rates = sorted({trial.rate for trial in trials})
    told = {rate: verdict(trials, rate, share) for rate in rates}
    failing = next((rate for rate in rates if told[rate] is False), None)
    below = [r for r in rates if told[r] and (failing is None or r < failing)]
    return Ends(passing=max(below, default=None), failing=failing)


def next_rate(trials: Trials, settings: Settings) -> float | None:
    """The rate to try now; None when the search is over."""
    if len(trials) >= settings.most_trials:
        return None
    if not trials:
        first = max(FIRST_RATE, settings.floor)
        return settings.low or min(first, settings.high or first)
    last = trials[-1].rate
    if verdict(trials, last, settings.share) is None:
        return last
    found = ends(trials, settings.share)
    return _outward(found, settings) or _inward(found, settings) or _again(trials, found, settings)


def _outward(found: Ends, settings: Settings) -> float | None:
    """Double or halve while one end is missing and may still be looked for."""
    if found.failing is None and found.passing is not None:
        most = settings.high or HIGHEST
        return min(found.passing * FACTOR, most) if found.passing < most else None
    if found.passing is None and found.failing is not None:
        least = settings.low or settings.floor
        return max(found.failing / FACTOR, least) if found.failing > least else None
    return None


def _inward(found: Ends, settings: Settings) -> float | None:
    """The middle of both ends, as a rate that can be read; None when they are close enough."""
    low, high = found.passing, found.failing
    if low is None or high is None or high <= low * (1 + settings.width):
        return None
    middle = float(f"{math.sqrt(low * high):.4g}")
    return middle if low < middle < high else None


def _again(trials: Trials, found: Ends, settings: Settings) -> float | None:
    """The end that was tried less often, the lower first; None when both were tried enough."""
    counts = {
        rate: sum(trial.valid for trial in at(trials, rate))
        for rate in (found.passing, found.failing)
        if rate is not None
    }
    short = {
        rate: count
        for rate, count in counts.items()
        if count < settings.repeats and len(at(trials, rate)) - count < MOST_INVALID
    }
    return min(short, key=lambda rate: short[rate], default=None)
