"""Did the server keep up with an open loop? Unanswered arrivals, followed through the window."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from quantswarm.bench.judge.window import Cut

DROPPED = "dropped"
LOOKS = 60
GROWTH = 0.02
"""Part of the arrivals. Growth is watched over two thirds of the window: 3 % too much is found."""
LEAST = 5.0
SIGMAS = 3.0
LASTING = 0.25
"""Part of the growth that must fall into the window's second half: a system that only fills up,
since the warm-up was short, comes to rest."""
BATCHES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Mean number of unanswered arrivals in the first, middle and last third of the window.

    `dispersion` is the variance of the arrivals in a stretch of time over their mean: 0 where they
    are even, 1 where they are Poisson, more in bursts.
    """

    thirds: tuple[float, float, float]
    arrivals: int
    dispersion: float = 1.0

    @property
    def growing(self) -> bool:
        """Grew from third to third, by more than 2 % of what arrived and more than chance allows.

        Two chances: an unanswered request is about as often there as not, so a steady number
        scatters like its root; and where the server is all but busy, the backlog wanders as far as
        the arrivals do. docs/saturation.md has how often this is right on either side of capacity.
        """
        first, middle, last = self.thirds
        growth = last - first
        steady = SIGMAS * math.sqrt(max(first, 0.0))
        wander = math.sqrt(self.dispersion * self.arrivals)
        lasting = first < middle < last and last - middle > LASTING * growth
        return lasting and growth > max(LEAST, steady, wander, GROWTH * self.arrivals)


def backlog(cut: Cut) -> Backlog | None:
    """Count at evenly spaced instants; a dropped arrival is never answered. None when too short."""
    if len(cut.started) < LOOKS:
        return None
    begun = sorted(record.intended_ns for record in cut.everything)
    ended = sorted(record.end_ns for record in cut.everything if record.outcome != DROPPED)
    window = cut.window
    step = (window.end_ns - window.start_ns) / LOOKS
    looks = [int(window.start_ns + step * (look + 0.5)) for look in range(LOOKS)]
    counts = [bisect_right(begun, at) - bisect_left(ended, at) for at in looks]
    third = LOOKS // 3
    means = [sum(counts[i : i + third]) / third for i in range(0, LOOKS, third)]
    return Backlog(
        thirds=(means[0], means[1], means[2]),
        arrivals=len(cut.started),
        dispersion=_dispersion(cut),
    )


def _dispersion(cut: Cut) -> float:
    window = cut.window
    batch_ns = (window.end_ns - window.start_ns) / BATCHES
    counts = [0] * BATCHES
    for record in cut.started:
        counts[min(BATCHES - 1, int((record.intended_ns - window.start_ns) / batch_ns))] += 1
    return statistics.variance(counts) / statistics.mean(counts)
