"""4-bit layouts: packing loses nothing, and the bits lie where the formats say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quantswarm.models.quantize import grouped
from quantswarm.models.quantize.grouped import AWQ_ORDER, IN_ORDER, Grouped

ORDERS = pytest.mark.parametrize("order", [IN_ORDER, AWQ_ORDER])


def nibbles(rows: int, columns: int) -> st.SearchStrategy[np.ndarray]:
    return arrays.arrays(np.uint8, (rows, columns), elements=st.integers(0, 15))


@st.composite
def layers(draw: st.DrawFn) -> Grouped:
    size = draw(st.sampled_from([8, 32]))
    groups, outputs = draw(st.integers(1, 3)), 8 * draw(st.integers(1, 3))
    scale = st.floats(2**-10, 1, width=16)
    return Grouped(
        codes=draw(nibbles(groups * size, outputs)),
        zeros=draw(nibbles(groups, outputs)),
        scales=draw(arrays.arrays(np.float16, (groups, outputs), elements=scale)),
        group_of=grouped.group_of(groups * size, groups),
    )


def same(one: Grouped, other: Grouped) -> bool:
    return (
        np.array_equal(one.codes, other.codes)
        and np.array_equal(one.zeros, other.zeros)
        and np.array_equal(one.scales, other.scales)
        and np.array_equal(one.group_of, other.group_of)
        and np.array_equal(one.dequantized(), other.dequantized())
    )


@ORDERS
@given(values=st.integers(1, 4).flatmap(lambda n: nibbles(3, 8 * n)))
def test_unpacking_undoes_packing(order: tuple[int, ...], values: np.ndarray) -> None:
    words = grouped.pack(values, order)
    assert words.dtype == np.int32
    assert words.shape == (3, values.shape[1] // 8)
    assert np.array_equal(grouped.unpack(words, order), values)


@ORDERS
@given(words=arrays.arrays(np.int32, (2, 3)))
def test_packing_undoes_unpacking(order: tuple[int, ...], words: np.ndarray) -> None:
    assert np.array_equal(grouped.pack(grouped.unpack(words, order), order), words)


def test_the_first_value_is_in_the_lowest_bits() -> None:
    assert grouped.pack(np.array([[1, 2, 3, 4, 5, 6, 7, 8]])).tolist() == [[0x87654321 - 2**32]]


def test_autoawqs_words_take_even_places_first() -> None:
    """From the highest bits down: values 7 5 3 1 6 4 2 0."""
    word = grouped.pack(np.array([[0, 1, 2, 3, 4, 5, 6, 7]]), AWQ_ORDER)
    assert f"{word.item():08x}" == "75316420"


@given(layers())
def test_gptq_gives_back_the_layer(layer: Grouped) -> None:
    tensors = grouped.to_gptq(layer)
    assert tensors["qweight"].shape == (layer.codes.shape[0] // 8, layer.codes.shape[1])
    assert same(grouped.from_gptq(tensors), layer)


@given(layers())
def test_awq_gives_back_the_layer(layer: Grouped) -> None:
    tensors = grouped.to_awq(layer)
    assert tensors["qweight"].shape == (layer.codes.shape[0], layer.codes.shape[1] // 8)
    assert same(grouped.from_awq(tensors), layer)


@given(layers())
def test_compressed_tensors_is_the_same_layer_transposed(layer: Grouped) -> None:
    tensors = {
        "weight_packed": grouped.pack(np.ascontiguousarray(layer.codes.T)),
        "weight_scale": layer.scales.T,
        "weight_zero_point": grouped.pack(layer.zeros).T,
        "weight_shape": np.array(layer.codes.T.shape),
    }
    assert same(grouped.from_packed(tensors), layer)


def test_gptqs_symmetric_zero_is_stored_as_seven() -> None:
    layer = Grouped(
        codes=np.full((8, 8), 11, np.uint8),
        zeros=np.full((1, 8), 8, np.uint8),
        scales=np.full((1, 8), 0.5, np.float16),
        group_of=grouped.group_of(8, 1),
    )
    tensors = grouped.to_gptq(layer)
    assert f"{tensors['qzeros'].item():08x}" == "77777777"
    assert np.all(layer.dequantized() == 1.5)
    second = {**tensors, "qzeros": grouped.pack(layer.zeros)}
    assert same(grouped.from_gptq(second, stored_less_one=False), layer)


def test_gptqs_columns_may_belong_to_groups_in_any_order() -> None:
    layer = Grouped(
        codes=np.full((16, 8), 9, np.uint8),
        zeros=np.full((2, 8), 8, np.uint8),
        scales=np.array([[1.0] * 8, [2.0] * 8], np.float16),
        group_of=np.array([0, 1] * 8),
    )
    found = grouped.from_gptq(grouped.to_gptq(layer))
    assert found.dequantized()[0].tolist() == [1.0, 2.0] * 8
