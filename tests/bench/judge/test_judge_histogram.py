"""A server's histogram: what came between two scrapes, held against the samples themselves."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quantswarm.bench.judge.histogram import grown

EDGES = [0.001, 0.005, 0.01, 0.05, 0.1, 1.0]
SECONDS = st.floats(min_value=1e-6, max_value=3.0)


def exposed(values: list[float]) -> dict[str, Any]:
    """As `engine.jsonl` stores it: cumulative counts, the last edge None."""
    edges: list[float | None] = [*EDGES, None]
    cumulative = [[e, float(sum(v <= e for v in values) if e else len(values))] for e in edges]
    return {"sum": sum(values), "count": float(len(values)), "buckets": cumulative}


@given(
    st.lists(SECONDS, max_size=30),
    st.lists(SECONDS, min_size=1, max_size=60),
    st.sampled_from([0.5, 0.9, 0.99]),
)
def test_the_true_quantile_of_what_came_since_lies_in_the_bucket(
    earlier: list[float], later: list[float], q: float
) -> None:
    found = grown(exposed(earlier), exposed(earlier + later))
    assert found is not None
    assert found.n == len(later)
    assert found.mean_ms == pytest.approx(sum(later) / len(later) * 1e3, rel=1e-6, abs=1e-6)
    assume(found.n)
    within = found.quantile(q)
    assert within is not None
    ordered = sorted(later)
    true_ms = ordered[max(0, -(-int(q * 1000) * len(later) // 1000) - 1)] * 1e3
    assert within.low_ms <= true_ms
    if within.high_ms is None:
        assert within.value_ms is None
        assert true_ms > EDGES[-1] * 1e3
    else:
        assert true_ms <= within.high_ms
        assert within.value_ms is not None
        assert within.low_ms <= within.value_ms <= within.high_ms
        assert bisect_left(EDGES, within.value_ms / 1e3 - 1e-12) <= bisect_left(
            EDGES, true_ms / 1e3
        )


def test_the_value_is_interpolated_along_the_bucket() -> None:
    found = grown(exposed([]), exposed([0.02, 0.02, 0.02, 0.02]))
    assert found is not None
    half = found.quantile(0.5)
    assert half is not None
    assert (half.low_ms, half.high_ms) == (10, 50)
    assert half.value_ms == pytest.approx(30)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, exposed([1])),
        (exposed([1]), None),
        (exposed([1, 1]), exposed([1])),
        (exposed([]) | {"buckets": [[0.5, 0.0], [None, 0.0]]}, exposed([1])),
        ({"sum": 1, "count": 1}, {"sum": 2, "count": 2}),
        (3.0, 4.0),
    ],
    ids=["no first", "no last", "restarted", "other buckets", "no buckets", "a number"],
)
def test_what_cannot_be_compared_is_none(before: Any, after: Any) -> None:
    assert grown(before, after) is None


def test_nothing_came_has_no_mean_and_no_quantile() -> None:
    found = grown(exposed([0.5]), exposed([0.5]))
    assert found is not None
    assert found.mean_ms is None
    assert found.quantile(0.5) is None
