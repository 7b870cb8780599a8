"""4-bit products without a compiled library: PyTorch's own operator.

PyTorch's operator is fast in bfloat16 and with few rows only, and does not read every shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_GROUPS = (32, 64, 128, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchPacked4:
    """Weights as `aten::_weight_int4pack_mm_for_cpu` reads them, scales and zeros side by side."""

    packed: torch.Tensor
    scales_and_zeros: torch.Tensor
    group: int


def refusal(inputs: int, outputs: int, group: int) -> str | None:
    """Why PyTorch's operator cannot read these weights; None if it can."""
    if group not in _GROUPS or inputs % group:
        return f"groups of {group} in {inputs} inputs; PyTorch's operator has {_GROUPS}"
    if outputs % 16:
        return f"{outputs} outputs, no multiple of 16"
    return None


def pack(
    q: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None, group: int
) -> TorchPacked4:
    """From `q` [outputs, inputs] of 0 to 15, and `scale` and `zero` [groups, outputs]."""
    import torch

    reason = refusal(q.shape[1], q.shape[0], group)
    if reason is not None:
        raise ValueError(reason)
    offset = torch.zeros_like(scale) if zero is None else (8 - zero.to(scale.dtype)) * scale
    both = torch.stack((scale, offset), dim=-1).to(torch.bfloat16).contiguous()
    convert = torch.ops.aten._convert_weight_to_int4pack_for_cpu  # noqa: SLF001
    packed = convert(q.to(torch.int32).contiguous(), 2)
    return TorchPacked4(packed=packed, scales_and_zeros=both, group=group)


def linear(x: torch.Tensor, weights: TorchPacked4) -> torch.Tensor:
    """In bfloat16, given back in `x`'s own type."""
    import torch

    rows = x.reshape(-1, x.shape[-1]).to(torch.bfloat16).contiguous()
    product = torch.ops.aten._weight_int4pack_mm_for_cpu  # noqa: SLF001
    y: torch.Tensor = product(rows, weights.packed, weights.group, weights.scales_and_zeros)
    return y.to(x.dtype).view(*x.shape[:-1], -1)
