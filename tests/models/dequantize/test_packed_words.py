"""Packed formats against loops that do what the format says, one number at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.models.dequantize import awq, compressed, gptq
from quantswarm.models.dequantize.packed_words import unpack

AWQ_NIBBLES = (0, 2, 4, 6, 1, 3, 5, 7)
SIZES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32 - 1))


def packed(numbers, bits=4, order=None):
    """Rows of numbers into words, number `order[place]` of each eight at `place`."""
    count = 32 // bits
    rows = []
    for row in numbers:
        words = []
        for at in range(0, len(row), count):
            word = 0
            for place in range(count):
                which = order[place] if order else place
                word |= int(row[at + which]) << (bits * place)
            words.append(word)
        rows.append(words)
    return np.array(rows, np.uint32).view(np.int32)


def drawn(sizes, shape, most=15):
    return np.random.default_rng(sizes[2]).integers(0, most + 1, shape)


def scales_of(shape, seed):
    return np.random.default_rng(seed).uniform(0.01, 0.1, shape).astype(np.float32)


@given(SIZES, st.sampled_from([2, 4, 8]), st.sampled_from([0, 1]))
def test_unpacking_is_the_inverse_of_packing(sizes, bits, axis):
    count = 32 // bits
    numbers = drawn(sizes, (3, sizes[0] * count), most=2**bits - 1)
    words = packed(numbers, bits)
    turn = (lambda array: array.T) if axis == 0 else (lambda array: array)
    np.testing.assert_array_equal(unpack(turn(words), bits=bits, axis=axis), turn(numbers))


@given(SIZES, st.booleans(), st.booleans())
def test_gptq(sizes, first_version, with_order):
    groups, outputs, seed = sizes[0], 8 * sizes[1], sizes[2]
    inputs = 16 * groups
    numbers = drawn(sizes, (inputs, outputs))
    zeros = drawn(sizes, (groups, outputs))
    scales = scales_of((groups, outputs), seed)
    of = np.arange(inputs) // 16
    if with_order:
        np.random.default_rng(seed).shuffle(of)
    found = gptq.weight(
        packed(numbers.T).T,
        packed((zeros - 1) % 16 if first_version else zeros),
        scales,
        of if with_order else None,
        stored_less_one=first_version,
    )
    for i in range(inputs):
        for o in range(outputs):
            expected = np.float32(numbers[i, o] - zeros[of[i], o]) * scales[of[i], o]
            assert found[o, i] == expected


@given(SIZES)
def test_awq(sizes):
    groups, outputs, seed = sizes[0], 8 * sizes[1], sizes[2]
    inputs = 4 * groups
    numbers = drawn(sizes, (inputs, outputs))
    zeros = drawn(sizes, (groups, outputs))
    scales = scales_of((groups, outputs), seed)
    found = awq.weight(packed(numbers, order=AWQ_NIBBLES), packed(zeros, order=AWQ_NIBBLES), scales)
    for i in range(inputs):
        for o in range(outputs):
            assert found[o, i] == np.float32(numbers[i, o] - zeros[i // 4, o]) * scales[i // 4, o]


@given(SIZES, st.booleans())
def test_packed_integers_of_compressed_tensors(sizes, symmetric):
    groups, outputs, seed = sizes[0], 8 * sizes[1], sizes[2]
    inputs = 8 * groups
    numbers = drawn(sizes, (outputs, inputs))
    zeros = np.full((outputs, groups), 8) if symmetric else drawn(sizes, (outputs, groups))
    scales = scales_of((outputs, groups), seed)
    stored = None if symmetric else packed(zeros.T).T
    found = compressed.packed(packed(numbers), scales, stored, None, bits=4, inputs=inputs)
    for o in range(outputs):
        for i in range(inputs):
            assert found[o, i] == np.float32(numbers[o, i] - zeros[o, i // 8]) * scales[o, i // 8]


def test_the_bytes_of_e4m3():
    values = compressed.E4M3
    assert values[0x7E] == 448
    assert values[0x38] == 1
    assert values[0x01] == 2**-9
    assert values[0x08] == 2**-6
    assert values[0xFE] == -448
    assert np.isnan(values[[0x7F, 0xFF]]).all()
    assert (np.diff(values[:0x7F]) > 0).all()
