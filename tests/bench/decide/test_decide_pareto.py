"""The Pareto front, for any points."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.decide.pareto import Point, dominates, front_of

SCORES = st.tuples(*[st.integers(0, 4).map(float)] * 3)
POINTS = st.lists(SCORES, min_size=1, max_size=9).map(
    lambda found: [Point(name=f"v{i}", scores=scores) for i, scores in enumerate(found)]
)


@given(POINTS)
def test_nobody_on_the_front_is_dominated_and_everybody_else_is_by_one_on_it(
    points: list[Point],
) -> None:
    found, known = front_of(points), {point.name: point for point in points}
    assert found.on
    assert {*found.on, *(lost.name for lost in found.dominated)} == set(known)
    assert not any(dominates(other, known[name]) for name in found.on for other in points)
    for lost in found.dominated:
        assert lost.by in found.on
        assert dominates(known[lost.by], known[lost.name])
        better = [
            a > b for a, b in zip(known[lost.by].scores, known[lost.name].scores, strict=True)
        ]
        assert lost.where == tuple(place for place, is_so in enumerate(better) if is_so)


@given(POINTS, st.integers())
def test_the_order_of_points_does_not_matter(points: list[Point], seed: int) -> None:
    shuffled = random.Random(seed).sample(points, len(points))
    assert set(front_of(shuffled).on) == set(front_of(points).on)


@given(POINTS, st.floats(0.1, 10), st.floats(-5, 5))
def test_units_do_not_matter(points: list[Point], scale: float, shift: float) -> None:
    moved = [
        Point(name=p.name, scores=(scale * p.scores[0] + shift, *p.scores[1:])) for p in points
    ]
    assert front_of(moved).on == front_of(points).on


@given(SCORES)
def test_equals_stand_on_it_together(scores: tuple[float, ...]) -> None:
    assert front_of([Point(name=n, scores=scores) for n in "ab"]).on == ("a", "b")


def test_a_known_one() -> None:
    points = [
        Point(name="fast", scores=(10.0, -3.0)),
        Point(name="small", scores=(4.0, -1.0)),
        Point(name="neither", scores=(3.0, -2.0)),
    ]
    found = front_of(points)
    assert found.on == ("fast", "small")
    assert [(lost.name, lost.by, lost.where) for lost in found.dominated] == [
        ("neither", "small", (0, 1))
    ]
