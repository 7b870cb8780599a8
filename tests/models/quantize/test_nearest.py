"""Rounding to nearest: no other code is nearer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quantswarm.models.quantize import nearest

WEIGHTS = arrays.arrays(np.float32, (4, 64), elements=st.floats(-4, 4, width=16))


@given(WEIGHTS, st.booleans())
def test_four_bits_are_within_half_a_step(weight: np.ndarray, symmetric: bool) -> None:
    found = nearest.four_bit(weight, 32, symmetric=symmetric)
    assert found.codes.max() <= 15
    assert not symmetric or np.all(found.zeros == 8)
    step = found.scales[found.group_of].T
    # The largest value of a symmetric group lies half a step beyond the last code; a zero point
    # rounded to a whole code moves both ends by half a step more.
    assert np.all(np.abs(found.dequantized() - weight) <= 1.02 * step + 1e-6)
    assert np.isfinite(found.dequantized()).all()


@given(WEIGHTS)
def test_bytes_are_within_half_a_step(weight: np.ndarray) -> None:
    step = np.abs(weight).max(axis=1, keepdims=True) / 127.5
    assert np.all(np.abs(nearest.int8(weight) - weight) <= step * 0.51 + 1e-6)


@given(WEIGHTS)
def test_e4m3_is_within_a_sixteenth(weight: np.ndarray) -> None:
    least = np.abs(weight).max(axis=1, keepdims=True) / 448 * 2**-9
    assert np.all(np.abs(nearest.fp8(weight) - weight) <= np.abs(weight) / 16 + least + 1e-6)


@pytest.mark.parametrize(
    ("code", "value"),
    [(0x00, 0.0), (0x01, 2**-9), (0x07, 7 * 2**-9), (0x08, 2**-6), (0x38, 1.0), (0x7E, 448.0)],
)
def test_values_of_e4m3(code: int, value: float) -> None:
    table = nearest.e4m3()
    assert table[code] == value
    assert table[code | 0x80] == -value
    assert np.isnan(table[0x7F])
    assert np.isnan(table[0xFF])
