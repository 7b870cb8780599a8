"""Did the server keep up with an open loop? Unanswered arrivals, followed through the window."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from quantswarm.bench.judge.window import Cut

DROPPED = "dropped"
LOOKS = 60
GROWTH = 0.05
LEAST = 5.0
SIGMAS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Mean number of unanswered arrivals in the first, middle and last third of the window."""

    thirds: tuple[float, float, float]
    arrivals: int

    @property
    def growing(self) -> bool:
        """Grew from third to third, by more than 5 % of what arrived and more than chance allows.

        An unanswered request is about as often there as not, so its number scatters like its root.
        """
        first, middle, last = self.thirds
        growth = last - first
        chance = max(LEAST, SIGMAS * math.sqrt(max(first, 0.0)))
        return first < middle < last and growth > max(chance, GROWTH * self.arrivals)


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
    return Backlog(thirds=(means[0], means[1], means[2]), arrivals=len(cut.started))
