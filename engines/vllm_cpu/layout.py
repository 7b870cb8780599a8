"""How the kernels want weights to lie, and how they get there.

The picture is in `csrc/kernels.h`: blocks of 16 outputs; 8 inputs of them are 64 bytes, one 32-bit
word an output. Inputs are padded to a multiple of 32 and outputs to one of 16, with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

COLUMNS = 16
STEP = 32
"""Inputs that share one activation scale in w4a8; groups are multiples of it."""

NIBBLES = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight inputs each nibble of a word holds, lowest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed4:
    """4-bit weights as the kernels read them.

    `q`: int32 [blocks, inputs / 8, 16]. `scale`: [groups, blocks * 16], float32 or 16 bits wide.
    `zero`: uint8 of the same shape, or None where it is 8 everywhere.
    """

    q: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor | None
    outputs: int

    def size_bytes(self) -> int:
        """All that is kept in memory for these weights."""
        kept = [part for part in (self.q, self.scale, self.zero) if part is not None]
        return sum(part.numel() * part.element_size() for part in kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed8:
    """8-bit weights with one scale an output: int8 [blocks, inputs / 4, 16, 4].

    `sum` has each output's weights added up, which takes the activations' offset off again.
    """

    q: torch.Tensor
    scale: torch.Tensor
    sum: torch.Tensor
    outputs: int


def padded(size: int, multiple: int) -> int:
    """`size`, or the next multiple above it."""
    return -(-size // multiple) * multiple


def refusal(inputs: int, group: int) -> str | None:
    """Why these groups cannot be served; None if they can. A `group` of -1 is one a channel."""
    if group in (-1, inputs):
        return None
    if group <= 0 or group % STEP:
        return f"groups of {group}; they must be multiples of {STEP}"
    if inputs % group:
        return f"groups of {group} do not divide {inputs} inputs"
    return None


def pack4(q: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None, group: int) -> Packed4:
    """From `q` [outputs, inputs] of 0 to 15, and `scale` and `zero` [groups, outputs]."""
    import torch

    outputs, inputs = q.shape
    reason = refusal(inputs, group)
    if reason is not None:
        raise ValueError(reason)
    rows, columns = padded(outputs, COLUMNS), padded(inputs, STEP)
    whole = torch.zeros(rows, columns, dtype=torch.uint8)
    whole[:outputs, :inputs] = q
    lanes = whole.view(rows // COLUMNS, COLUMNS, columns // 8, 8).transpose(1, 2)
    nibbles = lanes[..., list(NIBBLES)]
    pairs = (nibbles[..., 0::2] | (nibbles[..., 1::2] << 4)).contiguous()
    return Packed4(
        q=pairs.view(torch.int32).squeeze(-1),
        scale=_widened(scale, rows),
        zero=None if zero is None else _widened(zero.to(torch.uint8), rows),
        outputs=outputs,
    )


def unpack4(packed: Packed4, inputs: int) -> torch.Tensor:
    """The weights as float32 [outputs, inputs]: what the kernels stand for."""
    import torch

    words = packed.q.contiguous().view(torch.uint8).view(*packed.q.shape, 4)
    nibbles = torch.stack((words & 15, words >> 4), dim=-1).flatten(-2)
    lanes = nibbles[..., [NIBBLES.index(i) for i in range(8)]]
    blocks, eights = packed.q.shape[:2]
    q = lanes.transpose(1, 2).reshape(blocks * COLUMNS, eights * 8).float()
    group = eights * 8 // packed.scale.shape[0]
    zero = torch.tensor(8.0) if packed.zero is None else _spread(packed.zero, group)
    return ((q - zero) * _spread(packed.scale, group))[: packed.outputs, :inputs]


def pack8(q: torch.Tensor, scale: torch.Tensor) -> Packed8:
    """From int8 `q` [outputs, inputs] and one `scale` an output."""
    import torch

    outputs, inputs = q.shape
    rows, columns = padded(outputs, COLUMNS), padded(inputs, STEP)
    whole = torch.zeros(rows, columns, dtype=torch.int8)
    whole[:outputs, :inputs] = q
    blocks = whole.view(rows // COLUMNS, COLUMNS, columns // 4, 4).transpose(1, 2).contiguous()
    return Packed8(
        q=blocks,
        scale=_widened(scale.reshape(1, -1).float(), rows)[0],
        sum=whole.sum(dim=1, dtype=torch.int32),
        outputs=outputs,
    )


def narrowed(scale: torch.Tensor) -> torch.Tensor:
    """Float32 scales in 16 bits where that loses nothing: checkpoints store them so."""
    import torch

    if scale.dtype != torch.float32:
        return scale
    for narrow in (torch.float16, torch.bfloat16):
        if torch.equal(scale.to(narrow).float(), scale):
            return scale.to(narrow)
    return scale


def _spread(values: torch.Tensor, group: int) -> torch.Tensor:
    """[groups, outputs] to [outputs, inputs]."""
    return values.float().t().repeat_interleave(group, dim=1)


def _widened(values: torch.Tensor, rows: int) -> torch.Tensor:
    import torch

    wide = torch.zeros(values.shape[0], rows, dtype=values.dtype)
    wide[:, : values.shape[1]] = values
    return wide
