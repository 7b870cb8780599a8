import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.judge.percentile import (
    distribution,
    quantile,
    requests_needed,
    samples_needed,
)

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=300)
SHARES = st.floats(0, 1)


@given(VALUES, SHARES)
def test_quantiles_are_numpys(values: list[float], q: float) -> None:
    assert quantile(sorted(values), q) == pytest.approx(np.quantile(values, q), rel=1e-9, abs=1e-9)


@given(VALUES, SHARES, SHARES)
def test_quantiles_rise_and_stay_inside(values: list[float], a: float, b: float) -> None:
    ordered = sorted(values)
    low, high = quantile(ordered, min(a, b)), quantile(ordered, max(a, b))
    assert ordered[0] <= low <= high or low == pytest.approx(high)
    assert high <= ordered[-1]


def test_minimums_are_those_of_the_documentation() -> None:
    needed = [samples_needed(q) for q in (0.5, 0.9, 0.95, 0.99, 0.999)]
    assert needed == [1, 40, 80, 400, 4000]
    assert [requests_needed(q) for q in (0.5, 0.95, 0.99, 0.999)] == [1, 8, 40, 400]


@pytest.mark.parametrize(
    ("name", "needed"), [("p50", 1), ("p90", 40), ("p95", 80), ("p99", 400), ("p999", 4000)]
)
def test_a_percentile_appears_with_its_last_needed_request(name: str, needed: int) -> None:
    values = [[float(i)] for i in range(needed)]
    assert distribution(values).quantiles[name] is not None
    assert distribution(values[1:]).quantiles[name] is None


def test_many_tokens_of_few_requests_carry_no_p99() -> None:
    few = distribution([[1.0] * 1000] * 39)
    enough = distribution([[1.0] * 1000] * 40)
    assert few.n == 39_000
    assert few.quantiles["p99"] is None
    assert enough.quantiles["p99"] == 1.0


def test_requests_without_a_sample_count_for_nothing() -> None:
    found = distribution([(), (3.0,), ()])
    assert (found.n, found.requests, found.mean) == (1, 1, 3.0)


def test_nothing_is_none_and_not_zero() -> None:
    found = distribution([])
    assert (found.mean, found.low, found.high) == (None, None, None)
    assert set(found.quantiles.values()) == {None}
