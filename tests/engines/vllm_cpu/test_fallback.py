"""PyTorch's operator, which serves where nothing was compiled."""

from __future__ import annotations

import pytest
from made_weights import dequantized, error, random_weights

from quantswarm.engines.vllm_cpu import fallback

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_it_is_the_product_of_the_dequantized_weights(group, asymmetric, rows):
    made = random_weights(64, 256, group, asymmetric)
    x = torch.randn(rows, 256).bfloat16()
    y = fallback.linear(x, fallback.pack(made[0], made[1], made[2], group))
    assert error(y, x, dequantized(made, group)) < 1e-2


def test_other_types_come_back_as_they_went_in():
    made = random_weights(32, 64, 32, False)
    assert (
        fallback.linear(torch.randn(2, 3, 64), fallback.pack(made[0], made[1], made[2], 32)).dtype
        == torch.float32
    )


@pytest.mark.parametrize(
    ("inputs", "outputs", "group", "words"),
    [(256, 64, -1, "groups of -1"), (160, 64, 64, "160 inputs"), (256, 20, 64, "20 outputs")],
)
def test_shapes_it_cannot_read_are_refused(inputs, outputs, group, words):
    assert words in (fallback.refusal(inputs, outputs, group) or "")
