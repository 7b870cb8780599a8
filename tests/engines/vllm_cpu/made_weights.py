"""Random quantized weights, what they stand for, and how far a product is from theirs."""

from __future__ import annotations

import pytest

from quantswarm.engines.vllm_cpu import layout

torch = pytest.importorskip("torch")


def random_weights(outputs, inputs, group, asymmetric, seed=0):
    """(q, scale, zero) as checkpoints hold them, unpacked."""
    made = torch.Generator().manual_seed(seed)
    groups = 1 if group == -1 else inputs // group
    q = torch.randint(0, 16, (outputs, inputs), generator=made, dtype=torch.uint8)
    scale = (torch.rand(groups, outputs, generator=made) + 0.1).bfloat16()
    zero = torch.randint(0, 16, (groups, outputs), generator=made) if asymmetric else None
    return q, scale, zero


def packed4(weights, group):
    """The same, as the kernels read them."""
    q, scale, zero = weights
    return layout.pack4(q, scale, zero, group)


def dequantized(weights, group):
    """The weights in float32, by the definition alone."""
    q, scale, zero = weights
    wide = q.shape[1] if group == -1 else group
    offset = torch.full(scale.shape, 8.0) if zero is None else zero.float()
    return (
        q.float() - offset.t().repeat_interleave(wide, 1)
    ) * scale.float().t().repeat_interleave(wide, 1)


def error(y, x, weights):
    """Of all outputs together, relative to what inputs could make: cancelling is no fault."""
    exact = x.double() @ weights.double().t()
    possible = x.double().norm() * weights.double().norm() / weights.shape[1] ** 0.5
    return ((y.double() - exact).norm() / (possible + 1e-30)).item()


def allowed(x, weights, scale, levels):
    """The largest error of an output when 32 inputs are rounded to `levels` steps a side.

    Half a step for each input, a little for sums in float32 (of values up to 16 scales, before
    the zero point is taken off), and the rounding of the result. `levels` None: inputs are kept.
    """
    rows, inputs = x.shape
    wide = torch.nn.functional.pad(x.double(), (0, -inputs % 32)).view(rows, -1, 32)
    steps = wide.abs().amax(-1) / levels if levels else torch.zeros(wide.shape[:2])
    magnitudes = torch.nn.functional.pad(weights.double().abs(), (0, -inputs % 32))
    rounding = steps.double() @ magnitudes.view(weights.shape[0], -1, 32).sum(-1).t() / 2
    sums = 3e-6 * 16 * x.double().abs().sum(1, keepdim=True) * scale.double().amax(0)
    result = (x.double() @ weights.double().t()).abs() * (2**-8 if x.dtype == torch.bfloat16 else 0)
    return rounding * 1.001 + sums + result
