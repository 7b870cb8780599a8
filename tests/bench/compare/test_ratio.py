"""Ratios: equals are called equal about as often as promised, and a real difference is found."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import group, made, run

from quantswarm.bench.compare.floor import HALVES, REPEATS, Floor, floor_of
from quantswarm.bench.compare.measure import MEASURES, Measure
from quantswarm.bench.compare.ratio import BETTER, SAME, UNKNOWN, WORSE, Ratio, ratio, t95

BY_KEY = {measure.key: measure for measure in MEASURES}
OUTPUT, TTFT = BY_KEY["output_throughput"], BY_KEY["ttft_p50_ms"]
TINY = Floor(log=1e-9, pairs=9, kind=REPEATS)


def pair(chance: random.Random, measure: Measure, rounds: int, **other: Any) -> Ratio:
    """Variant b, with what is `other` about it, against variant a."""
    b = group(*(run(chance, "b", n, **other) for n in range(1, rounds + 1)))
    a = group(*(run(chance, "a", n) for n in range(1, rounds + 1)))
    found = ratio(b, a, measure, floor_of((a, b), a.load, measure))
    assert found is not None
    return found


def covers(found: Ratio, truth: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= truth <= found.high


@pytest.mark.parametrize("measure", [OUTPUT, TTFT], ids=lambda measure: measure.key)
@pytest.mark.parametrize("rounds", [1, 4])
def test_the_interval_of_equals_covers_one_as_often_as_it_says(
    measure: Measure, rounds: int
) -> None:
    chance, times = random.Random(5), 120
    covered = sum(covers(pair(chance, measure, rounds), 1.0) for _ in range(times))
    assert 0.88 <= covered / times <= 1.0


def test_rounds_that_differ_by_more_than_their_seconds_widen_the_interval() -> None:
    """Every server start has its own luck here; what varies within windows does not show it."""
    chance, times, covered = random.Random(6), 120, 0
    for _ in range(times):
        b, a = (
            group(*(run(chance, v, n, speed=math.exp(chance.gauss(0, 0.1))) for n in range(1, 5)))
            for v in "ba"
        )
        found = ratio(b, a, OUTPUT, None)
        assert found is not None
        covered += covers(found, 1.0)
    assert 0.88 <= covered / times <= 1.0


@pytest.mark.parametrize("rounds", [1, 4])
def test_ten_per_cent_are_found(rounds: int) -> None:
    chance = random.Random(7)
    found = [pair(chance, OUTPUT, rounds, speed=1.1, seconds=40, sd=0.02) for _ in range(20)]
    assert sum(one.verdict == BETTER for one in found) >= 18
    assert all(one.value == pytest.approx(1.1, rel=0.05) for one in found)
    slower = pair(chance, TTFT, rounds, speed=1 / 1.3, seconds=40, sd=0.02)
    assert slower.verdict == WORSE


def test_equals_are_called_equal() -> None:
    chance = random.Random(8)
    found = [pair(chance, OUTPUT, 4).verdict for _ in range(40)]
    assert found.count(SAME) >= 39


def test_the_same_records_give_the_same_interval() -> None:
    one, other = (pair(random.Random(9), TTFT, 2) for _ in range(2))
    assert (one.value, one.low, one.high) == (other.value, other.low, other.high)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 5.0))
def test_a_pair_turned_round_is_the_inverse(seed: int, speed: float) -> None:
    chance = random.Random(seed)
    b = group(run(chance, "b", 1, speed=speed, seconds=12), run(chance, "b", 2, seconds=12))
    a = group(run(chance, "a", 1, seconds=12), run(chance, "a", 2, seconds=12))
    there, back = ratio(b, a, OUTPUT, TINY), ratio(a, b, OUTPUT, TINY)
    assert there is not None
    assert back is not None
    assert there.value == pytest.approx(1 / back.value)
    assert there.low == pytest.approx(1 / (back.high or 1))
    assert {there.verdict, back.verdict} in ({SAME}, {BETTER, WORSE})


def test_only_rounds_that_both_have_are_paired() -> None:
    chance = random.Random(1)
    b = group(run(chance, "b", 1), run(chance, "b", 3))
    a = group(run(chance, "a", 2), run(chance, "a", 3))
    found = ratio(b, a, OUTPUT, None)
    assert found is not None
    assert list(found.by_round) == [3]
    assert ratio(group(run(chance, "b", 1)), group(run(chance, "a", 2)), OUTPUT, None) is None


def test_what_is_withheld_is_not_compared() -> None:
    chance = random.Random(1)
    one = run(chance, "b")
    silent = dataclasses.replace(one, values={"ttft_p50_ms": None})
    assert ratio(group(silent), group(run(chance, "a")), TTFT, None) is None


def test_a_lead_inside_the_floor_is_no_difference() -> None:
    steady = [500.0] * 20
    b = group(made("b", 1, [x * 1.02 for x in steady], []))
    a = group(made("a", 1, steady, []))
    wide = Floor(log=0.03, pairs=4, kind=HALVES)
    verdicts = [ratio(b, a, OUTPUT, floor) for floor in (wide, TINY, None)]
    assert [found.verdict for found in verdicts if found] == [SAME, BETTER, UNKNOWN]


def test_one_short_window_has_no_interval_and_no_verdict() -> None:
    b, a = (group(made(name, 1, [speed] * 5, [])) for name, speed in (("b", 600.0), ("a", 500.0)))
    found = ratio(b, a, OUTPUT, TINY)
    assert found is not None
    assert (found.low, found.high, found.verdict) == (None, None, UNKNOWN)


def test_t_is_students() -> None:
    known = {1: 12.706, 3: 3.182, 10: 2.228, 11: 2.201, 30: 2.042, 1000: 1.962}
    for freedom, value in known.items():
        assert t95(freedom) == pytest.approx(value, abs=2e-3)
