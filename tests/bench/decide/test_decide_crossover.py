"""Where a lead ends: any series of ratios over loads."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.compare.ratio import BETTER, SAME, WORSE
from quantswarm.bench.decide.crossover import FALLS, RISES, Step, crossings, trend
from quantswarm.bench.decide.lead import GROWS, SHRINKS, changed

LOADS = st.lists(st.integers(1, 512), min_size=1, max_size=8, unique=True)
RATIOS = st.floats(0.05, 20).filter(lambda ratio: abs(ratio - 1) > 1e-6)


@st.composite
def series(draw: st.DrawFn) -> list[Step]:
    return [Step(load=load, ratio=draw(RATIOS)) for load in draw(LOADS)]


@given(series())
def test_a_crossing_lies_between_loads_whose_ratios_lie_on_either_side(steps: list[Step]) -> None:
    known = {step.load: step.ratio for step in steps}
    loads = sorted(known)
    found = crossings(steps)
    changes = sum((known[a] > 1) != (known[b] > 1) for a, b in itertools.pairwise(loads))
    assert len(found) == changes
    for crossing in found:
        assert crossing.after <= crossing.at <= crossing.before
        assert (known[crossing.after] > 1) == (crossing.way == FALLS)
        assert (known[crossing.before] < 1) == (crossing.way == FALLS)


@given(series())
def test_turned_round_it_crosses_at_the_same_places_the_other_way(steps: list[Step]) -> None:
    turned = [Step(load=step.load, ratio=1 / step.ratio) for step in steps]
    for one, other in zip(crossings(steps), crossings(turned), strict=True):
        assert one.at == pytest.approx(other.at)
        assert {one.way, other.way} == {FALLS, RISES}


@given(st.floats(0.2, 3), st.floats(1.5, 200))
def test_a_power_law_crosses_exactly_where_it_is_1(slope: float, at: float) -> None:
    steps = [Step(load=load, ratio=(at / load) ** slope) for load in (1, 256)]
    (found,) = crossings(steps)
    assert found.at == pytest.approx(at)
    assert trend(steps) == pytest.approx(256**-slope)


def test_loads_at_exactly_1_are_passed_over() -> None:
    steps = [Step(load=1, ratio=2.0), Step(load=4, ratio=1.0), Step(load=16, ratio=0.5)]
    (found,) = crossings(steps)
    assert (found.after, found.before) == (1, 16)
    assert found.at == pytest.approx(4.0)
    assert crossings([Step(load=1, ratio=1.0), Step(load=8, ratio=1.0)]) == ()
    assert trend([Step(load=1, ratio=2.0)]) is None


def test_it_is_clear_only_where_both_ends_are() -> None:
    ends = (Step(load=1, ratio=1.5, verdict=BETTER), Step(load=8, ratio=0.9, verdict=WORSE))
    assert crossings(ends)[0].clear
    assert not crossings([ends[0], Step(load=8, ratio=0.98, verdict=SAME)])[0].clear


def test_a_trend_is_told_only_of_intervals_that_do_not_meet() -> None:
    high = Step(load=1, ratio=1.6, low=1.5, high=1.7)
    low = Step(load=8, ratio=1.2, low=1.1, high=1.3)
    wide = Step(load=8, ratio=1.2, low=0.8, high=1.55)
    assert changed([high, low]) == SHRINKS
    assert changed([low, high]) == GROWS
    assert changed([high, wide]) is None
    assert changed([Step(load=1, ratio=1.6), low]) is None
    assert math.isclose(trend([high, low]) or 0, 0.75)
