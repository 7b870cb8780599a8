"""Plans of arrivals: pure, seeded, of fixed length, with the statistics their names promise."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantswarm.bench.load.arrivals import (
    CONSTANT,
    GAMMA,
    KINDS,
    POISSON,
    RAMP,
    SPIKE,
    STEPS,
    TRACE,
    Arrivals,
    arrivals_from,
    course_of,
    offsets_ns,
)
from quantswarm.models.errors import UnknownName, UserMistake

S = 1_000_000_000
DRAWN = [kind for kind in KINDS if kind != TRACE]
CHANGING = [STEPS, RAMP, SPIKE]


def arrivals_of(kind: str, rate: float = 20.0, **more: Any) -> Arrivals:
    peak = {"peak_rate": 3 * rate} if kind in CHANGING else {}
    return Arrivals(kind=kind, rate=rate, **{**peak, **more})


def plan(
    arrivals: Arrivals, seed: int = 0, warmup_s: float = 0.0, duration_s: float = 500.0
) -> Any:
    return offsets_ns(arrivals, warmup_s=warmup_s, duration_s=duration_s, seed=seed)


@given(
    kind=st.sampled_from(DRAWN),
    rate=st.floats(0.1, 50),
    seed=st.integers(0, 2**40),
    warmup_s=st.floats(0, 5),
    duration_s=st.floats(0.1, 20),
)
@settings(max_examples=60, deadline=None)
def test_offsets_are_ordered_inside_the_span_and_repeatable(
    kind: str, rate: float, seed: int, warmup_s: float, duration_s: float
) -> None:
    arrivals = arrivals_of(kind, rate)
    offsets = plan(arrivals, seed, warmup_s, duration_s)
    assert offsets == plan(arrivals, seed, warmup_s, duration_s)
    assert list(offsets) == sorted(offsets)
    assert all(type(ns) is int and 0 <= ns < round((warmup_s + duration_s) * S) for ns in offsets)


@given(seed=st.integers(0, 2**40), kind=st.sampled_from([POISSON, GAMMA]))
@settings(max_examples=20, deadline=None)
def test_a_longer_run_begins_like_a_shorter_one(seed: int, kind: str) -> None:
    """What rescaling a drawn sum to the duration would break."""
    short, long = (plan(arrivals_of(kind), seed, duration_s=s) for s in (5.0, 10.0))
    assert long[: len(short)] == short
    assert all(ns >= 5 * S for ns in long[len(short) :])


def test_seed_0_is_a_seed() -> None:
    plans = [plan(arrivals_of(POISSON), seed) for seed in (0, 0, 1, 2)]
    assert plans[0] == plans[1]
    assert len(set(plans)) == 3


def test_the_plan_of_a_seed_is_the_same_everywhere() -> None:
    """Stored runs are compared by it, so it may not change with the version of anything."""
    offsets = plan(Arrivals(kind=POISSON, rate=10.0), 0, duration_s=1.0)
    assert offsets[:3] == (227871416, 283442447, 386244186)


def test_constant_gaps_do_not_drift() -> None:
    offsets = plan(arrivals_of(CONSTANT, 3.0), duration_s=1000.0)
    assert len(offsets) == 3000
    assert offsets[0] == 0
    assert offsets[2999] == round(2999 / 3 * S)


@pytest.mark.parametrize(("burstiness", "spread"), [(1.0, 1.0), (0.25, 2.0), (4.0, 0.5)])
def test_burstiness_is_the_shape_of_the_gaps(burstiness: float, spread: float) -> None:
    """Coefficient of variation 1/√shape, and a mean gap that does not move."""
    offsets = plan(arrivals_of(GAMMA, burstiness=burstiness), 7)
    gaps = [b - a for a, b in itertools.pairwise(offsets)]
    mean = statistics.fmean(gaps)
    assert mean == pytest.approx(S / 20, rel=0.1)
    assert statistics.pstdev(gaps) / mean == pytest.approx(spread, rel=0.1)


def test_the_number_of_poisson_arrivals_is_left_to_chance() -> None:
    counts = [len(plan(arrivals_of(POISSON), seed, duration_s=20.0)) for seed in range(200)]
    assert statistics.fmean(counts) == pytest.approx(400, rel=0.02)
    assert statistics.pvariance(counts) == pytest.approx(400, rel=0.35)


@pytest.mark.parametrize("kind", CHANGING)
def test_rates_follow_their_course(kind: str) -> None:
    """Counted in tenths of the window, against the integral of the rate."""
    arrivals = arrivals_of(kind)
    offsets = [ns / S - 50 for ns in plan(arrivals, 3, warmup_s=50.0, duration_s=1000.0)]
    wanted = {
        STEPS: [2000, 2000, 2667, 3333, 3333, 4667, 4667, 5333, 6000, 6000],
        RAMP: [2200 + 400 * tenth for tenth in range(10)],
        SPIKE: [2000] * 4 + [6000] * 2 + [2000] * 4,
    }[kind]
    for tenth, expected in enumerate(wanted):
        count = sum(100 * tenth <= s < 100 * (tenth + 1) for s in offsets)
        assert abs(count - expected) < 5 * math.sqrt(expected)
    assert sum(s < 0 for s in offsets) == pytest.approx(1000, abs=160)


@pytest.mark.parametrize("kind", DRAWN)
def test_the_course_covers_warm_up_and_window(kind: str) -> None:
    course = course_of(arrivals_of(kind), warmup_s=3.0, duration_s=9.0)
    assert sum(part.length_s for part in course) == pytest.approx(12.0)
    for part in course:
        assert part.instant_s(part.expected) == pytest.approx(part.length_s)
        assert part.instant_s(0) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": None},
        {"rate": 0.0},
        {"rate": -1.0},
        {"rate": math.inf},
        {"peak_rate": 5.0},
        {"kind": RAMP},
        {"kind": GAMMA, "burstiness": 0.0},
        {"burstiness": 2.0},
        {"kind": TRACE},
        {"kind": TRACE, "rate": None},
        {"max_in_flight": 0},
        {"kind": STEPS, "peak_rate": 9.0, "steps": 1},
    ],
)
def test_what_cannot_be_meant(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserMistake):
        replace(Arrivals(rate=4.0), **wrong).check()


def test_unknown_kinds_and_too_many() -> None:
    with pytest.raises(UnknownName, match="poisson"):
        Arrivals(kind="poison", rate=1.0).check()
    with pytest.raises(UserMistake, match="in all"):
        plan(Arrivals(kind=CONSTANT, rate=1e9))


def test_json_and_back() -> None:
    arrivals = arrivals_of(RAMP)
    assert arrivals_from(arrivals.as_json()) == arrivals
