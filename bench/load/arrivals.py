"""When requests begin in an open loop: offsets drawn beforehand, a pure function of a seed.

Every kind is a course of the rate over time, and a law for the gaps. Gaps are drawn with a mean of
one and laid out along the integral of the rate, so a varying rate keeps the law's irregularity.
The span is what is fixed; how many arrivals fall into it is left to chance and never corrected.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantswarm.models.errors import UnknownName, UserMistake

CONSTANT, POISSON, GAMMA, STEPS, RAMP, SPIKE, TRACE = (
    "constant",
    "poisson",
    "gamma",
    "steps",
    "ramp",
    "spike",
    "trace",
)
KINDS = (CONSTANT, POISSON, GAMMA, STEPS, RAMP, SPIKE, TRACE)
_CHANGING = (STEPS, RAMP, SPIKE)
DEFAULT_MAX_IN_FLIGHT = 256
SPIKE_BEGINS, SPIKE_ENDS = 0.4, 0.6
"""Part of the window in which a spike stands."""
_NS = 1_000_000_000
_MOST_ARRIVALS = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """How an open loop's requests are spread. `rate` is requests a second, None for a trace.

    `burstiness` is the shape of the gamma law of the gaps: 1 is Poisson, under 1 comes in bursts,
    over 1 is more even; constant gaps ignore it. `steps` (of `steps` equal parts), `ramp` and
    `spike` go from `rate` to `peak_rate` within the window and leave the warm-up at `rate`.
    Arrivals that find `max_in_flight` requests unanswered are dropped, and counted as failures.
    """

    kind: str = POISSON
    rate: float | None = None
    peak_rate: float | None = None
    burstiness: float = 1.0
    steps: int = 4
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT
    trace: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """The form that manifests and plans store."""
        return {**asdict(self), "trace": str(self.trace) if self.trace else None}

    def check(self) -> None:
        """`UnknownName` or `UserMistake` for what cannot be meant."""
        if self.kind not in KINDS:
            raise UnknownName("arrivals", self.kind, KINDS, next_step="choose one of them")
        if (self.kind == TRACE) != (self.trace is not None):
            raise _mistake(f"arrivals {self.kind!r}", "a trace file and no other kind go together")
        if self.kind == TRACE:
            _positive("rate", self.rate, wanted=False)
        else:
            _positive("rate", self.rate, wanted=True)
        _positive("peak rate", self.peak_rate, wanted=self.kind in _CHANGING)
        _positive("burstiness", self.burstiness, wanted=True)
        if self.kind in (CONSTANT, POISSON, TRACE) and self.burstiness != 1:
            raise _mistake(f"burstiness {self.burstiness:g}", f"{self.kind} arrivals have none")
        if self.steps < 2 or self.max_in_flight < 1:
            raise _mistake(
                f"{self.steps} steps, {self.max_in_flight} in flight", "at least 2 and 1 are needed"
            )


def arrivals_from(raw: Mapping[str, Any]) -> Arrivals:
    """What `as_json` gave."""
    trace = raw.get("trace")
    return Arrivals(**{**raw, "trace": Path(trace) if trace else None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of the course: the rate goes in a straight line from `begin` to `end`."""

    length_s: float
    begin: float
    end: float

    @property
    def expected(self) -> float:
        """Mean number of arrivals in it."""
        return self.length_s * (self.begin + self.end) / 2

    def instant_s(self, count: float) -> float:
        """When, from its begin, the mean number of arrivals reaches `count`."""
        if self.begin == self.end:
            return count / self.begin
        slope = (self.end - self.begin) / self.length_s
        root = math.sqrt(max(0.0, self.begin * self.begin + 2 * slope * count))
        return 2 * count / (self.begin + root)


def offsets_ns(
    arrivals: Arrivals, *, warmup_s: float, duration_s: float, seed: int
) -> tuple[int, ...]:
    """Every arrival in warm-up and window, in order, from the swarm's start; not for a trace.

    The same arguments give the same offsets, everywhere; 0 is a seed like any other.
    """
    arrivals.check()
    if arrivals.kind == TRACE:
        raise _mistake("offsets of a trace", "they are in its file")
    course = course_of(arrivals, warmup_s=warmup_s, duration_s=duration_s)
    if sum(part.expected for part in course) > _MOST_ARRIVALS:
        raise _mistake(f"{arrivals.rate:g} arrivals a second", f"over {_MOST_ARRIVALS:,} in all")
    end_ns = round((warmup_s + duration_s) * _NS)
    return tuple(ns for ns in _laid_out(course, _counts(arrivals, seed)) if ns < end_ns)


def course_of(arrivals: Arrivals, *, warmup_s: float, duration_s: float) -> tuple[Stretch, ...]:
    """The rate over warm-up and window, without empty parts."""
    rate = arrivals.rate or 0.0
    parts = [(warmup_s, rate, rate), *_window(arrivals, rate, arrivals.peak_rate or rate)]
    scaled = [parts[0], *((share * duration_s, begin, end) for share, begin, end in parts[1:])]
    return tuple(Stretch(length_s=s, begin=b, end=e) for s, b, e in scaled if s > 0)


def _window(arrivals: Arrivals, rate: float, peak: float) -> list[tuple[float, float, float]]:
    """Shares of the window with the rates at their begin and end."""
    if arrivals.kind == RAMP:
        return [(1.0, rate, peak)]
    if arrivals.kind == SPIKE:
        high = SPIKE_ENDS - SPIKE_BEGINS
        return [(SPIKE_BEGINS, rate, rate), (high, peak, peak), (1 - SPIKE_ENDS, rate, rate)]
    if arrivals.kind == STEPS:
        rise = (peak - rate) / (arrivals.steps - 1)
        levels = [rate + rise * step for step in range(arrivals.steps)]
        return [(1 / arrivals.steps, level, level) for level in levels]
    return [(1.0, rate, rate)]


def _counts(arrivals: Arrivals, seed: int) -> Iterator[float]:
    """Where each arrival lies on the axis of expected arrivals: 0, 1, 2, … where gaps are even."""
    if arrivals.kind == CONSTANT:
        number = 0
        while True:
            yield float(number)
            number += 1
    gap = _gaps(arrivals.burstiness, random.Random(f"arrivals/{seed}"))
    at = 0.0
    while True:
        at += gap()
        yield at


def _gaps(burstiness: float, chance: random.Random) -> Callable[[], float]:
    """Draws of mean 1: exponential at 1, gamma else."""
    if burstiness == 1:
        return lambda: -math.log(1.0 - chance.random())
    return lambda: chance.gammavariate(burstiness, 1 / burstiness)


def _laid_out(course: Sequence[Stretch], counts: Iterator[float]) -> Iterator[int]:
    """Turn expected counts into instants, stretch by stretch, until the course ends."""
    before_s = before = 0.0
    count = next(counts)
    for part in course:
        while count - before < part.expected:
            yield round((before_s + part.instant_s(count - before)) * _NS)
            count = next(counts)
        before_s, before = before_s + part.length_s, before + part.expected


def _positive(name: str, value: float | None, *, wanted: bool) -> None:
    if value is None and not wanted:
        return
    if value is None or not wanted or not 0 < value < math.inf:
        found = "it is missing" if value is None else "it does not belong to this kind"
        raise _mistake(name, found if value is None or not wanted else f"{value:g} is not above 0")


def _mistake(asked: str, found: str) -> UserMistake:
    return UserMistake(asked, found, next_step="quantswarm swarm --rate 4 --arrivals poisson")
