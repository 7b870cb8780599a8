"""The share of the way: exact without noise, unbiased with it, and honest about its error."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.verify.distance import between, of, share

PROMPTS, VALUES = 12, 40


def drawn(seed: int, size: float):
    chance = np.random.default_rng(seed)
    return [chance.normal(0, size, VALUES).astype(np.float32) for _ in range(PROMPTS)]


def moved(base, along, share_of, noise):
    return [b + share_of * a + n for b, a, n in zip(base, along, noise, strict=True)]


@given(st.floats(-1, 2), st.integers(0, 2**31))
def test_without_noise_the_share_is_exact(wanted, seed):
    base, along = drawn(seed, 1), drawn(seed + 1, 0.1)
    served = moved(base, along, wanted, drawn(0, 0))
    found = share(served, base, moved(base, along, 1, drawn(0, 0)))
    assert found is not None
    assert abs(found.value - wanted) < 1e-3
    assert found.error < 1e-3


def test_noise_of_twice_the_difference_still_tells_variant_from_original():
    """The mean error cannot: both are as far from what is served."""
    hits = 0
    for seed in range(100):
        base, along, noise = drawn(seed, 1), drawn(seed + 1000, 0.1), drawn(seed + 2000, 0.2)
        found = share(moved(base, along, 0, noise), base, moved(base, along, 1, drawn(0, 0)))
        assert found is not None
        hits += abs(found.value) < 2 * found.error
        assert found.surely_below(0.5)
    assert hits >= 85


def test_equal_references_have_no_way_between_them():
    base = drawn(0, 1)
    assert share(base, base, base) is None
    assert share(base[:1], base[:1], drawn(1, 1)[:1]) is None


def test_a_distance_over_nothing_is_absent_and_not_zero():
    assert of(np.array([], np.float32)).mean is None
    assert between(drawn(0, 1), drawn(0, 1)).largest == 0
