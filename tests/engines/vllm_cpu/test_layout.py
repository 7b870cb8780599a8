"""Packing keeps every weight, at every shape, in a third of bfloat16's room."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_weights import dequantized, packed4, random_weights

from quantswarm.engines.vllm_cpu import layout

torch = pytest.importorskip("torch")


@settings(max_examples=60, deadline=None)
@given(
    outputs=st.integers(1, 70),
    groups=st.integers(1, 5),
    group=st.sampled_from((32, 64, 128)),
    asymmetric=st.booleans(),
)
def test_what_is_packed_comes_out_again(outputs, groups, group, asymmetric):
    given_weights = random_weights(outputs, groups * group, group, asymmetric)
    packed = packed4(given_weights, group)
    assert torch.equal(layout.unpack4(packed, groups * group), dequantized(given_weights, group))


@settings(max_examples=30, deadline=None)
@given(outputs=st.integers(1, 40), inputs=st.integers(1, 200), asymmetric=st.booleans())
def test_one_group_a_channel_may_have_any_width(outputs, inputs, asymmetric):
    given_weights = random_weights(outputs, inputs, -1, asymmetric)
    packed = packed4(given_weights, -1)
    assert torch.equal(layout.unpack4(packed, inputs), dequantized(given_weights, -1))


@pytest.mark.parametrize("group", [32, 64, 128, -1])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_at_most_a_third_of_bfloat16(group, asymmetric):
    packed = packed4(random_weights(1024, 1024, group, asymmetric), group)
    assert packed.size_bytes() <= 0.35 * 1024 * 1024 * 2


@pytest.mark.parametrize(
    ("inputs", "group", "words"),
    [(128, 48, "multiples of 32"), (128, 0, "multiples of 32"), (160, 64, "do not divide 160")],
)
def test_groups_that_cannot_be_served_are_refused_with_the_reason(inputs, group, words):
    assert words in (layout.refusal(inputs, group) or "")
    q = torch.zeros(16, inputs, dtype=torch.uint8)
    with pytest.raises(ValueError, match=words):
        layout.pack4(q, torch.ones(1, 16), None, group)


def test_scales_are_narrowed_only_where_nothing_is_lost():
    assert layout.narrowed(torch.tensor([[0.5, 1.25]])).dtype == torch.float16
    assert layout.narrowed(torch.tensor([[1e-30, 2.0]]).bfloat16().float()).dtype == torch.bfloat16
    assert layout.narrowed(torch.tensor([[0.1]])).dtype == torch.float32
