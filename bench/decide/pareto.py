"""The Pareto front: what nothing else beats in one respect without losing in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A name and its scores, of which larger is better in each."""

    name: str
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dominated:
    """`by` is on the front, no worse in anything, and better in the scores at `where`."""

    name: str
    by: str
    where: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Names on the front in the order given, and the others with one that dominates each."""

    on: tuple[str, ...]
    dominated: tuple[Dominated, ...]


def dominates(one: Point, other: Point) -> bool:
    """No worse in any score and better in at least one: a strict partial order."""
    pairs = list(zip(one.scores, other.scores, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def front_of(points: Sequence[Point]) -> Front:
    """The front of any number of points; equals are on it together."""
    on = [point for point in points if not any(dominates(other, point) for other in points)]
    beaten = [point for point in points if point not in on]
    return Front(
        on=tuple(point.name for point in on),
        dominated=tuple(_dominated(point, on) for point in beaten),
    )


def _dominated(point: Point, on: Sequence[Point]) -> Dominated:
    """By the one on the front that leads in the most respects: there is one, since the relation
    is transitive and the points are finite."""
    leads = [
        Dominated(
            name=point.name,
            by=other.name,
            where=tuple(
                place
                for place, (a, b) in enumerate(zip(other.scores, point.scores, strict=True))
                if a > b
            ),
        )
        for other in on
        if dominates(other, point)
    ]
    return max(leads, key=lambda lead: len(lead.where))
