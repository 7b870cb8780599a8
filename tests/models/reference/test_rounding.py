"""Roundings against the definition: no value of the type is nearer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quantswarm.models.dequantize.compressed import E4M3
from quantswarm.models.reference import rounding

ROWS = arrays.arrays(
    np.float32, (3, 64), elements=st.floats(-500, 500, width=32, allow_subnormal=False)
)
FINITE = np.sort(E4M3[np.isfinite(E4M3)])


@given(ROWS)
def test_e4m3_is_the_nearest_byte(values):
    found = rounding.e4m3(values)
    assert np.isin(found, FINITE).all()
    nearest = np.abs(values[..., None] - FINITE).min(axis=-1)
    np.testing.assert_array_equal(np.abs(values - found), nearest)


def test_e4m3_breaks_ties_to_even():
    np.testing.assert_array_equal(rounding.e4m3(np.array([17, 19, -17], np.float32)), [16, 20, -16])


@given(ROWS)
def test_truncating_never_makes_larger(values):
    inside = np.clip(values, -448, 448)
    found = rounding.e4m3_toward_zero(inside)
    assert np.isin(found, FINITE).all()
    assert (np.abs(found) <= np.abs(inside)).all()


@given(ROWS)
def test_bfloat16_is_off_by_half_a_step_at_most(values):
    found = rounding.bfloat16(values)
    assert not (found.view(np.uint32) & 0xFFFF).any()
    assert (np.abs(found - values) <= np.abs(values) * 2**-8).all()


@given(ROWS)
def test_bytes_keep_the_largest_of_each_row_and_are_off_by_half_a_step(values):
    found = rounding.int8_rows(values)
    step = np.abs(values).max(axis=1, keepdims=True) / 127
    assert (np.abs(found - values) <= step * 0.501 + 1e-6).all()


@given(ROWS)
def test_blocks_are_rounded_apart(values):
    left = rounding.int8_blocks(values)[:, :32]
    np.testing.assert_array_equal(left, rounding.int8_rows(values[:, :32]))


@pytest.mark.parametrize("kind", ["q8_0", "q4_0", "f16", "bf16"])
def test_types_of_ggml_are_rounded_once_and_for_all(kind):
    values = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    once = rounding.named(kind)(values)
    assert 0 < np.abs(once - values).mean() < 0.1
    np.testing.assert_allclose(rounding.named(kind)(once), once, atol=2e-3)


def test_rotating_without_rounding_changes_nothing():
    values = np.random.default_rng(0).normal(size=(2, 3, 128)).astype(np.float32)
    for block in (None, 64):
        found = rounding.rotated(rounding.as_is, block=block)(values)
        np.testing.assert_allclose(found, values, atol=1e-5)


def test_rotating_spreads_an_outlier():
    """One large value costs a block its scale; mixed into 64 it costs less."""
    values = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
    values[:, 5] = 30
    plain = np.abs(rounding.named("q4_0")(values) - values)[:, :32].mean()
    assert np.abs(rounding.named("rotated q4_0")(values) - values)[:, :32].mean() < plain / 2


def test_heads_that_are_no_multiple_of_64_are_not_rotated():
    values = np.random.default_rng(0).normal(size=(4, 96)).astype(np.float32)
    np.testing.assert_array_equal(
        rounding.named("rotated q8_0")(values), rounding.named("q8_0")(values)
    )
