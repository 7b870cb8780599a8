"""McNemar's test, the paired interval and the smallest difference that could be seen."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantswarm.bench.quality.tasks.paired_items import (
    LEVEL,
    POWER,
    difference_interval,
    mcnemar,
    paired,
    power,
    smallest_detectable,
)
from quantswarm.models.errors import UserMistake

COUNTS = st.integers(0, 60)


def exact(worse: int, better: int) -> float:
    """By whole numbers alone."""
    flips, fewer = worse + better, min(worse, better)
    return min(1.0, float(2 * sum(math.comb(flips, k) for k in range(fewer + 1)) / 2**flips))


@pytest.mark.parametrize(
    ("worse", "better", "expected"),
    [(0, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (10, 1, 0.01171875), (3, 3, 1.0)],
)
def test_p_values_by_hand(worse, better, expected):
    assert mcnemar(worse, better) == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 400), st.integers(0, 400))
def test_p_values_are_those_of_whole_numbers_and_know_no_side(worse, better):
    assert mcnemar(worse, better) == pytest.approx(exact(worse, better), rel=1e-9, abs=1e-300)
    assert mcnemar(worse, better) == mcnemar(better, worse)


PUBLISHED = {
    (36, 12, 2, 0): (0.0569, 0.3404),
    (20, 12, 2, 16): (0.0562, 0.3292),
    (18, 12, 2, 18): (0.0562, 0.3290),
    (36, 14, 0, 0): (0.1528, 0.4167),
    (35, 14, 0, 1): (0.1461, 0.4175),
    (18, 14, 0, 18): (0.1441, 0.3963),
    (2, 97, 1, 0): (0.8721, 0.9854),
    (1, 97, 1, 1): (0.8736, 0.9850),
    (54, 0, 0, 0): (-0.0664, 0.0664),
    (30, 0, 0, 24): (-0.0358, 0.0358),
}
"""Newcombe (1998), table III, method 10: both, first only, second only, neither."""


@pytest.mark.parametrize("table", PUBLISHED)
def test_intervals_are_the_published_ones(table):
    assert difference_interval(*table) == pytest.approx(PUBLISHED[table], abs=1e-4)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_an_interval_holds_the_difference_and_turns_with_the_sides(both, better, worse, neither):
    items = both + better + worse + neither
    if items:
        low, high = difference_interval(both, better, worse, neither)
        assert -1 <= low <= (better - worse) / items + 1e-12
        assert (better - worse) / items - 1e-12 <= high <= 1
        turned = difference_interval(both, worse, better, neither)
        assert turned == pytest.approx((-high, -low), abs=1e-12)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    chance = random.Random(5)
    held, draws = 0, 600
    for _ in range(draws):
        kinds = chance.choices(range(4), weights=(50, 6, 14, 30), k=150)
        low, high = difference_interval(*(kinds.count(kind) for kind in range(4)))
        held += low <= -0.08 <= high
    assert 0.92 < held / draws < 0.985


def test_a_pairing_counts_flips_both_ways():
    reference = {"a": True, "b": True, "c": False, "d": False, "e": True}
    variant = {"a": True, "b": False, "c": True, "d": False, "e": False}
    found = paired(variant, reference)
    assert (found.items, found.worse, found.better) == (5, 2, 1)
    assert found.difference == pytest.approx(-0.2)
    assert found.smallest_detectable is None
    assert "no difference can be said" in found.sentence()


def test_a_clear_loss_is_called_worse():
    reference = {str(n): True for n in range(100)}
    found = paired({str(n): n >= 20 for n in range(100)}, reference)
    assert found.differs
    assert found.sentence().startswith("worse, -20.0 points: 20 items became wrong, 0 right")


def test_the_same_answers_show_no_difference_and_say_what_would_have():
    same = {str(n): n % 2 == 0 for n in range(200)}
    found = paired(same, same)
    assert found.p_value == 1
    assert found.sentence().startswith("no difference shown")
    assert found.smallest_detectable == pytest.approx(0.039, abs=0.001)


@pytest.mark.parametrize(("variant", "reference"), [({"a": True}, {"b": True}), ({}, {})])
def test_other_items_are_refused(variant, reference):
    with pytest.raises(UserMistake, match="not answer the same items"):
        paired(variant, reference)


def test_fewer_than_six_items_can_show_nothing():
    assert [smallest_detectable(items, 0) is None for items in (1, 5, 6)] == [True, True, False]


@settings(deadline=None, max_examples=12)
@given(st.integers(6, 120), st.integers(0, 40), st.integers(2, 6))
def test_more_items_see_smaller_differences_and_more_flips_hide_them(items, flips, more):
    flips = min(flips, items)
    found = smallest_detectable(items, flips)
    wider = smallest_detectable(items * more, flips * more)
    if found is not None:
        assert wider is not None
        assert wider <= found + 1e-4
        assert power(items, flips, found) >= POWER
        noisier = smallest_detectable(items, min(items, flips + more))
        assert noisier is None or noisier >= found - 0.02  # an exact test's power has teeth


def test_power_is_what_simulation_gives():
    chance, items, share, difference = random.Random(3), 200, 0.15, 0.08
    worse, found, draws = (share + difference) / 2, 0, 1500
    for _ in range(draws):
        drawn = [chance.random() for _ in range(items)]
        lost = sum(one < worse for one in drawn)
        found += mcnemar(lost, sum(worse <= one < share for one in drawn)) < LEVEL
    assert power(items, int(share * items), difference) == pytest.approx(found / draws, abs=0.04)


@pytest.mark.parametrize(
    ("worse", "better", "expected"),
    [(4, 9, 0.266845703125), (30, 12, 0.007915897334896727), (200, 230, 0.16188409130586115)],
)
def test_p_values_are_those_of_scipy(worse, better, expected):
    """`scipy.stats.binomtest(worse, worse + better).pvalue`, scipy 1.17.1."""
    assert mcnemar(worse, better) == pytest.approx(expected, rel=1e-9)
