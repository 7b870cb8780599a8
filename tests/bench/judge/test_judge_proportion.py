"""Intervals and counts against published values, and against the law they come from."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.judge.proportion import (
    certifies,
    few_misses,
    requests_to_certify,
    wilson,
)


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (8, 10, 0.4902, 0.9433),
        (495, 500, 0.9768, 0.9957),
    ],
)
def test_wilsons_interval(part: int, whole: int, low: float, high: float) -> None:
    assert wilson(part, whole) == pytest.approx((low, high), abs=1e-4)


def test_a_share_of_nothing_has_no_interval() -> None:
    assert wilson(0, 0) is None


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_interval_holds_the_share(whole: int, share: float) -> None:
    part = round(share * whole)
    found = wilson(part, whole)
    assert found is not None
    assert 0 <= found[0] <= part / whole <= found[1] <= 1
    assert found[0] < found[1]


@pytest.mark.parametrize(
    ("misses", "share", "needed"),
    [(0, 0.99, 459), (1, 0.99, 662), (2, 0.99, 838), (0, 0.95, 90), (0, 0.9, 44), (0, 0.999, 4603)],
)
def test_requests_that_certify_a_share_at_99_per_cent(
    misses: int, share: float, needed: int
) -> None:
    assert requests_to_certify(misses, share) == needed


@given(st.integers(0, 60), st.floats(0.5, 0.999))
def test_the_count_is_the_least_that_certifies(misses: int, share: float) -> None:
    needed = requests_to_certify(misses, share)
    assert certifies(needed, misses, share)
    assert not certifies(needed - 1, misses, share)


@given(st.integers(1, 80), st.integers(0, 80), st.floats(0.05, 0.99))
def test_the_tail_is_the_binomials(requests: int, misses: int, share: float) -> None:
    exact = math.fsum(
        math.comb(requests, k) * (1 - share) ** k * share ** (requests - k)
        for k in range(min(misses, requests) + 1)
    )
    assert few_misses(requests, misses, share) == pytest.approx(exact, rel=1e-9)
